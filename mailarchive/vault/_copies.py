"""What one user may know of a message: from every copy of it that is theirs, however many.

Two copies that say the same, as those of a mailbox that was crawled again do, are looked
at once; the others cost what they hold, so that a message costs no more than its copies.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from mailarchive.vault import _knowledge, _loading
from mailarchive.vault._errors import index_disagrees
from mailarchive.vault._manifest import BAD_JSON

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from mailarchive._model import Recipient
    from mailarchive.vault._index import Index
    from mailarchive.vault._record import Summary

USER = "(SELECT n FROM user WHERE id = ?)"
"""The number of a user, in a query."""
_AT_ONCE = 200
"""Copies that are in memory at a time."""
_ROWS = (
    "SELECT o.entry, o.copy, o.sender, o.folder, o.own, e.summary"  # noqa: S608 - only constants
    f" FROM owner o JOIN entry e ON e.n = o.entry WHERE o.user = {USER}"
    " AND o.head = ? AND o.entry > ? ORDER BY o.entry LIMIT ?"
)


@frozen
class _Copy:
    """One entry behind a message, and what this user may know of it."""

    counts: bool
    sender: bool
    folder: bool
    own: frozenset[int]
    summary: Summary

    @property
    def withheld(self) -> bool:
        """Whether the user may not read it."""
        return _knowledge.is_withheld(self.summary, self.own, sender=self.sender)

    @property
    def redacted(self) -> bool:
        """Whether the user may not read all of it."""
        return self.withheld or (self.summary.private > 0 and not self.sender)

    @property
    def size(self) -> int:
        """How many bytes the user may read."""
        whole = self.summary.content_size or 0
        cut = 0 if self.sender else self.summary.private
        return 0 if self.withheld else whole - cut


@define
class Known:
    """What all of a user's copies of a message let the user know.

    `first` is the summary of the first one, and `size` that copy's; recipient lines and
    folders are those of any, each once; something is `redacted` or `withheld` if it is so
    in at least one of those that count.
    """

    first: Summary
    size: int
    redacted: bool = False
    withheld: bool = False
    _recipients: dict[Recipient, None] = field(factory=dict, repr=False)
    _folders: dict[str, None] = field(factory=dict, repr=False)

    @property
    def recipients(self) -> tuple[Recipient, ...]:
        """The recipients that this user may know, and of each as much."""
        return tuple(self._recipients)

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders that are this user's to know."""
        return tuple(self._folders)

    @classmethod
    def of(cls, index: Index, user: bytes, head: int) -> Known | None:
        """Return what the user may know of the message `head`; `None` where no copy is left."""
        found: Known | None = None
        for copy in _copies(index, user, head):
            found = found or cls(copy.summary, copy.size)
            found.add(copy)
        return found

    def add(self, copy: _Copy) -> None:
        """Take in what one more copy lets the user know."""
        lines = _knowledge.recipients_for(
            copy.summary.envelope, copy.summary.shown, copy.own, sender=copy.sender
        )
        self._recipients.update(dict.fromkeys(lines))
        if copy.folder:
            self._folders["/".join(copy.summary.folder)] = None
        self.redacted = self.redacted or (copy.counts and copy.redacted)
        self.withheld = self.withheld or (copy.counts and copy.withheld)


def _copies(index: Index, user: bytes, head: int) -> Iterator[_Copy]:
    """The copies in the order of archiving, a few in memory at a time."""
    after, more = 0, True
    while more:
        rows = index.rows(_ROWS, (user, head, after, _AT_ONCE))
        more = len(rows) == _AT_ONCE
        after = rows[-1][0] if rows else after
        yield from map(_loaded, dict.fromkeys(row[1:] for row in rows))


def _loaded(row: Iterable[Any]) -> _Copy:
    counts, sender, folder, own, summary = row
    try:
        return _Copy(
            bool(counts),
            bool(sender),
            bool(folder),
            frozenset(json.loads(own)),
            _loading.load_summary(json.loads(summary)),
        )
    except BAD_JSON as error:
        raise index_disagrees("a summary that cannot be read") from error
