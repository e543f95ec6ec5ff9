"""The mailboxes of an organisation: which there are, and which of them are archived.

A directory says what each account is; a choice says what to take; `plan` puts the two
together and touches nothing.  What is left out is in the plan with its reason: that an
organisation has rooms, guests and people who left is no error::

    directory = GraphDirectory(tokens)
    made = plan(directory.mailboxes(), MailboxChoice())
    sources = [GraphSource(each.key, tokens) for each in made.taken]
"""

from __future__ import annotations

import fnmatch
import re
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive._bounds import several
from mailarchive._model import Address, AddressKind
from mailarchive.errors import ConfigurationError, MailboxNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mailarchive.abc import Directory

__all__ = [
    "Excluded",
    "Mailbox",
    "MailboxChoice",
    "MailboxKind",
    "Plan",
    "mailboxes_of",
    "plan",
]


class MailboxKind(StrEnum):
    """What an account is, as far as the directory tells."""

    USER = "user"
    """A person with a mailbox."""
    SHARED = "shared"
    """A mailbox of several people, which nobody logs in to."""
    ROOM = "room"
    EQUIPMENT = "equipment"
    DISABLED = "disabled"
    """An account that nobody can log in to; the mailbox of somebody who left, or unknown."""
    UNLICENSED = "unlicensed"
    """An account without a mailbox here: no licence, or it is on premises."""
    GUEST = "guest"
    """Somebody of another organisation, whose mail is there."""
    UNADDRESSED = "unaddressed"
    """Somebody in a list of users that gives no address, by which a mailbox could be named."""


TAKEN = frozenset({MailboxKind.USER, MailboxKind.SHARED, MailboxKind.ROOM, MailboxKind.EQUIPMENT})
"""The kinds that are archived unless a choice says otherwise."""


@frozen
class Mailbox:
    """An account of the directory; `key` names it to the server for good."""

    key: str
    address: Address | None
    kind: MailboxKind
    aliases: tuple[Address, ...] = field(default=(), repr=lambda them: f"<{len(them)}>")

    @property
    def addresses(self) -> frozenset[Address]:
        """Every address that is this mailbox's."""
        return frozenset(self.aliases) | ({self.address} if self.address else set())


def _texts(names: Iterable[str]) -> tuple[str, ...]:
    return several("patterns of mailboxes", names, 'a list, as in without=["info@*"]')


def _kinds(kinds: Iterable[MailboxKind]) -> frozenset[MailboxKind]:
    return frozenset(kinds)


@frozen
class MailboxChoice:
    """Which mailboxes are taken: all of the usual kinds, or less, or more.

    Patterns are addresses, of any letters and with `*` for any text; an alias counts like
    the primary address.  What `only` names without a `*` is taken whatever kind it is of,
    unless it can have no mailbox.  Raises `ConfigurationError` for a choice of nothing, and
    for a text, whose letters would be the patterns.
    """

    only: tuple[str, ...] | None = field(default=None, repr=lambda it: f"<{len(it or ())}>")
    without: tuple[str, ...] = field(
        default=(), converter=_texts, repr=lambda them: f"<{len(them)}>"
    )
    kinds: frozenset[MailboxKind] = field(default=TAKEN, converter=_kinds)

    def __attrs_post_init__(self) -> None:
        """Refuse a choice of nothing, which is nearly always a mistake."""
        if self.only is not None:
            _texts(self.only)
        if self.only == () or not self.kinds:
            raise ConfigurationError(
                "a choice of mailboxes that takes none",
                suggestions=["name the mailboxes, or choose all of them"],
            )


@frozen
class Excluded:
    """A mailbox that is not archived, and why."""

    mailbox: Mailbox
    why: str


@frozen
class Plan:
    """What is archived, in a stable order, and what is not; together everything there is.

    `unmatched` has the patterns of the choice that fit no mailbox.  One of them may be
    misspelt: it takes nothing, or leaves out nothing.
    """

    taken: tuple[Mailbox, ...]
    excluded: tuple[Excluded, ...]
    unmatched: tuple[str, ...] = field(default=(), repr=lambda them: f"<{len(them)}>")


def mailboxes_of(directory: Directory) -> tuple[Mailbox, ...]:
    """Return a mailbox for each user of a directory that knows of users alone.

    It is named by the user's first SMTP address, which should be the primary one; users
    who share it share the mailbox.  Raises `DirectoryError`.
    """
    found: dict[str, Mailbox] = {}
    for user in directory.users():
        mine = [each for each in user.addresses if each.kind is AddressKind.SMTP]
        if not mine:
            found[user.id] = Mailbox(user.id, None, MailboxKind.UNADDRESSED)
        else:
            found.setdefault(
                mine[0].normal, Mailbox(mine[0].spec, mine[0], MailboxKind.USER, tuple(mine[1:]))
            )
    return tuple(found.values())


def plan(mailboxes: Iterable[Mailbox], choice: MailboxChoice) -> Plan:
    """Return what becomes of each mailbox; raises `MailboxNotFound`.

    A name without a `*` that no mailbox has is an error: the mailbox that was meant would
    be archived by nobody, or archived although it was to be left out.
    """
    every = sorted(mailboxes, key=lambda each: (each.address is None, _sorted_by(each)))
    named = [frozenset(address.normal for address in each.addresses) for each in every]
    asked, barred = _fitting(choice.only or (), named), _fitting(choice.without, named)
    idle = [
        *_idle("mailboxes", choice.only or (), asked),
        *_idle("without_mailboxes", choice.without, barred),
    ]
    taken: list[Mailbox] = []
    excluded: list[Excluded] = []
    for each, by, against in zip(every, asked, barred, strict=True):
        why = _why_not(each, choice, by, against)
        if why is None:
            taken.append(each)
        else:
            excluded.append(Excluded(each, why))
    return Plan(tuple(taken), tuple(excluded), tuple(dict.fromkeys(idle)))


def _fitting(patterns: Sequence[str], named: Iterable[frozenset[str]]) -> list[list[str]]:
    """Return for each mailbox, given by its addresses, the patterns that fit it.

    A pattern is read once, whatever the number of mailboxes.
    """
    read = [(pattern, _reader(pattern)) for pattern in patterns]
    return [[pattern for pattern, fits in read if any(map(fits, names))] for names in named]


def _reader(pattern: str) -> Callable[[str], bool]:
    wanted = Address.parse(pattern).normal
    glob = re.compile(fnmatch.translate(pattern.lower())).match
    return lambda name: name == wanted or glob(name) is not None


def _idle(setting: str, patterns: Sequence[str], fitting: Iterable[Sequence[str]]) -> list[str]:
    """Return the patterns that fit no mailbox; raises `MailboxNotFound` for whole names.

    These are told by their places in the list: an address is not for a log.
    """
    used = frozenset(chain.from_iterable(fitting))
    idle = [
        (place, pattern) for place, pattern in enumerate(patterns, start=1) if pattern not in used
    ]
    lacking = [str(place) for place, pattern in idle if "*" not in pattern]
    if lacking:
        raise MailboxNotFound(
            f"{setting}: the directory has no mailbox for entry {', '.join(lacking)} of the list",
            suggestions=[f"mend it in {setting}, or drop it where nobody has it any more"],
        )
    return [pattern for _, pattern in idle]


def _why_not(
    mailbox: Mailbox, choice: MailboxChoice, asked: Sequence[str], barred: Sequence[str]
) -> str | None:
    """Return why a mailbox is not taken, or `None` where it is.

    `asked` and `barred` are what fits it in `only` and in `without`.
    """
    if mailbox.kind in _WITHOUT_MAIL:
        return _WITHOUT_MAIL[mailbox.kind]
    if barred:
        return "left out by name"
    if choice.only is not None:
        if not asked:
            return "not asked for"
        if any("*" not in pattern for pattern in asked):
            return None
    return None if mailbox.kind in choice.kinds else f"{mailbox.kind}: not asked for"


_WITHOUT_MAIL = {
    MailboxKind.UNLICENSED: "no mailbox here: no licence, or it is on premises",
    MailboxKind.GUEST: "a guest, whose mailbox is elsewhere",
    MailboxKind.UNADDRESSED: "the list of users gives no address, so no mailbox",
}


def _sorted_by(mailbox: Mailbox) -> str:
    return mailbox.key if mailbox.address is None else mailbox.address.normal
