"""A sample journal mailbox: a few hundred reports of a small firm, the same every time."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from attrs import frozen

from mailarchive._model import Role
from mailarchive.testing.messages import attachment, message
from mailarchive.testing.reports import recipient, report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mailarchive._model import Recipient

FIRM = "acme.example"
PEOPLE = {
    "alice": ("Alice Adams", "alice", "a.adams"),
    "bob": ("Bob Brown", "bob", "bobby"),
    "carol": ("Carol Clark", "carol"),
    "dave": ("Dave Davis", "dave", "sales"),
    "erin": ("Erin Evans", "erin", "e.evans", "hr"),
}
"""Each user's name and the local parts of the addresses; the first is the primary one."""

OUTSIDE = ("ann@customer.example", "info@supplier.example", "news@list.example")
SUBJECTS = ("Offer", "Invoice", "Minutes", "Contract", "Holidays", "Größe der Lieferung", "Plan")
START = datetime(2026, 1, 5, 8, tzinfo=UTC)
ORDINARY = 280
"""Reports beside the special ones."""


@frozen
class _Mail:
    """What happens to one ordinary message of the sample."""

    number: int
    sender: str
    to: tuple[str, ...]
    bcc: tuple[str, ...] = ()
    lines: tuple[Recipient, ...] = ()


def write(folder: Path) -> int:
    """Write the Maildir `journal` and `users.csv` into the folder; return how many messages."""
    rows = [
        f"{user},{name},{'; '.join(f'{local}@{FIRM}' for local in locals_)}"
        for user, (name, *locals_) in PEOPLE.items()
    ]
    (folder / "users.csv").write_text("\n".join(["id,name,addresses", *rows, ""]), "utf-8")
    maildir = folder / "journal"
    for name in ("new", "cur", "tmp"):
        (maildir / name).mkdir(parents=True)
    count = 0
    for count, raw in enumerate(mailbox(), 1):
        (maildir / "cur" / f"{count:05}.sample:2,").write_bytes(raw)
    return count


def mailbox() -> Iterator[bytes]:
    """Yield every message of the journal mailbox, in order."""
    chance = random.Random(2026)  # noqa: S311 - the same sample every time is the point
    for number in range(ORDINARY):
        yield _report(_mail(number, chance), chance)
    yield from _forked()
    yield _to_nobody_known()
    yield _newsletter()
    yield report(subject="Cut off on the way", defects=["original_missing"])


def _address(local: str) -> str:
    return f"{local}@{FIRM}"


def _mail(number: int, chance: random.Random) -> _Mail:
    """Choose who writes to whom; each seventh message has something special about it."""
    us = [_address(local) for _, *locals_ in PEOPLE.values() for local in locals_]
    sender, *others = chance.sample(us, 4)
    to = tuple(others[: chance.randint(1, 2)])
    match number % 7:
        case 0:  # from outside: the report does not say in which role
            outside = chance.choice(OUTSIDE)
            return _Mail(number, outside, to, lines=_lines(to, Role.RECIPIENT))
        case 1:  # to somebody outside
            to = (*to, chance.choice(OUTSIDE))
            return _Mail(number, sender, to, lines=_lines(to))
        case 2:  # with a blind copy, which Exchange also writes into the original
            blind = (others[2],)
            return _Mail(number, sender, to, blind, _lines(to) + _lines(blind, Role.BCC))
        case 3:  # to a list, which Exchange expands
            to = (_address("everybody"),)
            members = (_address(each[1]) for each in PEOPLE.values())
            return _Mail(number, sender, to, lines=_lines(members, expanded=to[0]))
        case 4:  # to a mailbox that forwards
            gone = _address("frank")
            return _Mail(number, sender, (gone,), lines=_lines(to[:1], forwarded=gone))
        case _:
            return _Mail(number, sender, to, lines=_lines(to))


def _lines(
    addresses: Iterable[str],
    role: Role = Role.TO,
    *,
    expanded: str | None = None,
    forwarded: str | None = None,
) -> tuple[Recipient, ...]:
    made = (recipient(each, role, expanded=expanded, forwarded=forwarded) for each in addresses)
    return tuple(made)


def _report(mail: _Mail, chance: random.Random) -> bytes:
    subject = f"{SUBJECTS[mail.number % len(SUBJECTS)]} {mail.number + 1}"
    body = "Hello,\r\n\r\n" + "\r\n".join(_words(chance) for _ in range(chance.randint(2, 40)))
    files = [attachment(chance.randbytes(chance.randint(500, 60_000)), "scan.pdf")]
    original = message(
        sender=mail.sender,
        to=mail.to,
        bcc=mail.bcc,
        subject=subject,
        body=body + "\r\n",
        date=START + timedelta(minutes=37 * mail.number),
        attachments=files if chance.random() < 0.3 else (),  # noqa: PLR2004 - about a third
    )
    return report(original, recipients=mail.lines)


def _words(chance: random.Random) -> str:
    return " ".join(chance.choices(("please", "find", "the", "offer", "for", "next", "week"), k=9))


def _forked() -> Iterator[bytes]:
    """One message on two ways: two reports, each with its own recipients and Received line."""
    for way, local in enumerate(("bob", "carol"), 1):
        original = message(
            sender=_address("alice"),
            to=[_address("bob"), _address("carol")],
            subject="On two ways",
            message_id=f"<on-two-ways@{FIRM}>",
            headers=[("Received", f"from a by way-{way}.{FIRM}; Mon, 5 Jan 2026 08:00:00 +0000")],
        )
        yield report(original, recipients=[recipient(_address(local))])


def _to_nobody_known() -> bytes:
    to = _address("long.gone")
    original = message(sender=OUTSIDE[0], to=[to], subject="Is anybody there?")
    return report(original, recipients=[recipient(to, Role.RECIPIENT)])


def _newsletter() -> bytes:
    """Ordinary mail that somebody sent to the journal mailbox itself."""
    return message(sender=OUTSIDE[2], to=[_address("journal")], subject="Buy our journal")
