"""Giving mail to its owners later: the fact that does so, and who is still to be asked for."""

from __future__ import annotations

from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING

from attrs import frozen

from mailarchive import _asking
from mailarchive._model import Ownership, one_spelling
from mailarchive.attribution import own
from mailarchive.vault import _knowledge, _loading, _record
from mailarchive.vault._manifest import GRANTED, Fact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailarchive._model import Digest, Envelope, Owner, Role
    from mailarchive.abc import UserMap
    from mailarchive.vault._index import Line
    from mailarchive.vault._reading import Reading
    from mailarchive.vault._record import Json

_AT_ONCE = 500
"""Entries whose addresses are asked for in one question."""


@frozen
class Grant:
    """That an entry belongs to these users too, from the time `at` on.

    `fork` is the entry's, so that the message is shown as one with its other copies.
    """

    entry: Digest
    owners: tuple[Owner, ...]
    fork: Digest
    at: datetime

    def fact(self) -> Fact:
        """Return the grant as a fact."""
        return Fact(
            GRANTED,
            {
                "entry": self.entry.hex,
                "owners": [_record.dump_owner(owner) for owner in self.owners],
                "fork": self.fork.hex,
                "at": self.at.isoformat(),
            },
        )

    @classmethod
    def load(cls, fact: Fact) -> Grant:
        """Return the grant that a fact holds; raises one of `BAD_JSON`."""
        return cls(
            _loading.digest(fact.body["entry"]),
            tuple(_loading.load_owner(each) for each in fact.body["owners"]),
            _loading.digest(fact.body["fork"]),
            datetime.fromisoformat(fact.body["at"]),
        )


@frozen
class Granted:
    """What follows from a grant for the index: the entry `n`, and its further owners.

    `at` is the time by which they list it, `folder` whether they may know its folder, and
    `resolved` how many addresses belong to somebody now.
    """

    n: int
    at: int
    raw: Digest
    fork_key: Digest
    envelope: Envelope
    shown: tuple[Role | None, ...]
    ownership: Ownership
    folder: bool
    resolved: int

    @classmethod
    def of(
        cls, grant: Grant, new: list[Owner], n: int, raw: Digest, *, owners: int, summary: Json
    ) -> Granted:
        """Put together a grant to `new` owners and its entry, which has `owners` already."""
        known = _loading.load_summary(summary)
        addresses = frozenset(chain(*(owner.addresses for owner in new)))
        return cls(
            n,
            _knowledge.sorting_time(known, _knowledge.moment(grant.at)),
            raw,
            grant.fork,
            known.envelope,
            known.shown,
            Ownership(tuple(new)),
            not owners and _knowledge.folder_is_known(new),
            len(addresses),
        )


def grants(reading: Reading, users: UserMap, now: datetime) -> Iterator[list[Grant]]:
    """Yield what gives entries to those whom the user map knows by now.

    One list for every few hundred entries in which an address belongs to nobody yet.
    Raises `DirectoryError`, `SinkError`.
    """
    after = 0
    while lines := _waiting(reading, after):
        after = lines[-1].n
        strangers = {line: reading.ownership(line).unresolved for line in lines}
        addresses = frozenset(chain(*strangers.values()))
        known = _asking.resolve(users, addresses) if addresses else {}
        yield [
            grant
            for line, addresses in strangers.items()
            for grant in _grant(reading, line, own(addresses, known).owners, now)
        ]


def _waiting(reading: Reading, after: int) -> list[Line]:
    return reading.index.lines(
        f"t.unresolved > 0 AND t.n > ? ORDER BY t.n LIMIT {_AT_ONCE}", (after,)
    )


def _grant(
    reading: Reading, line: Line, owners: tuple[Owner, ...], now: datetime
) -> Iterator[Grant]:
    there = reading.ownership(line).users
    new = tuple(owner for owner in owners if one_spelling(owner.user) not in there)
    if new:
        record = reading.record(line)
        if not reading.index.is_erased(line):  # asked afterwards: then it was read whole
            yield Grant(record.id, new, record.fork_key, now)
