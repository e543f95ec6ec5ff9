"""Journal mailboxes whose whole truth is known: reports, originals, and who may see what."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from attrs import frozen

from mailarchive import Role
from mailarchive.testing.messages import message
from mailarchive.testing.reports import recipient, report

if TYPE_CHECKING:
    from collections.abc import Iterator

USERS = {
    f"u{number}": (f"u{number}@corp.example", f"alias{number}@corp.example") for number in range(8)
}
"""Each user and all addresses that are theirs."""

CSV = "id,name,addresses\n" + "".join(
    f"{user},Some One,{'; '.join(addresses)}\n" for user, addresses in USERS.items()
)


@frozen
class Journaled:
    """One report: its bytes, the original's, and the users that it names."""

    raw: bytes
    original: bytes
    users: frozenset[str]
    senders: frozenset[str]
    bcc: bool


def mailbox(count: int, seed: int = 1) -> Iterator[Journaled]:
    """Yield so many different reports, the same for the same seed."""
    chance = random.Random(seed)
    for number in range(count):
        yield _journaled(number, seed, chance)


def _journaled(number: int, seed: int, chance: random.Random) -> Journaled:
    chosen = chance.sample(sorted(USERS), chance.randint(1, 5))
    sender, *others = [chance.choice(USERS[user]) for user in chosen]
    inbound = chance.random() < 0.3 or not others
    if inbound:
        others, sender = [sender, *others], f"ann{number}@elsewhere.example"
    roles = [Role.RECIPIENT if inbound else _role(at, chance) for at in range(len(others))]
    lists = chance.random() < 0.2
    lines = [
        recipient(each, role, expanded="everybody@corp.example" if lists else None)
        for each, role in zip(others, roles, strict=True)
    ]
    shown = [each for each, role in zip(others, roles, strict=True) if role is not Role.BCC]
    hidden = [each for each, role in zip(others, roles, strict=True) if role is Role.BCC]
    original = message(
        sender=sender,
        to=["everybody@corp.example"] if lists else shown or ["undisclosed-recipients:;"],
        bcc=hidden,
        subject=f"Mail {seed}.{number}",
        body=f"This is number {number}.\r\n" + "x" * chance.randint(0, 3000) + "\r\n",
    )
    named = frozenset(chosen)
    wrote = frozenset() if inbound else frozenset(chosen[:1])
    return Journaled(report(original, recipients=lines), original, named, wrote, bool(hidden))


def _role(at: int, chance: random.Random) -> Role:
    return Role.TO if at == 0 else chance.choice([Role.TO, Role.CC, Role.BCC])
