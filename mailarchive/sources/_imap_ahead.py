"""The next page asked for while this one is read, so that the server never waits for us.

Which page comes next only a scan knows, and whether it will be read at all only its reader:
a page that was asked for in vain costs a connection.  That happens twice at most, then one
page is asked for after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive.sources._imap_body import wanted
from mailarchive.sources._imap_syntax import uid_set, uid_sets

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from mailarchive._model import MessageRef
    from mailarchive.sources._imap_limits import ImapLimits
    from mailarchive.sources._imap_session import Session

_MOST_UIDS = 1_000
_MOST_IN_VAIN = 2


@frozen
class Some:
    """Messages of one folder, by UID, as they are asked for: many at a time, large ones alone."""

    folder: str
    epoch: int
    refs: Mapping[int, MessageRef] = field(repr=False)

    def batches(self, limits: ImapLimits) -> tuple[list[list[int]], list[int]]:
        """Return the UIDs that one command each asks for, and those to be read in pieces."""
        most = limits.partial_octets
        large = {uid for uid, ref in self.refs.items() if (ref.size or 0) > most}
        small = [uid for uid in self.refs if uid not in large]
        sets = uid_sets(small, limits.command_octets, _MOST_UIDS)
        return [list(uids) for _, uids in sets], sorted(large)


@frozen
class Asked:
    """A command under way: which messages of which folder it will give, over which session."""

    session: Session
    tag: bytes
    folder: str
    epoch: int
    uids: Sequence[int] = field(repr=False)


class Ahead:
    """What one source has asked for ahead of its reader: at most one command."""

    def __init__(self, limits: ImapLimits) -> None:
        """Nothing is known yet of what comes next."""
        self._limits = limits
        self._in_vain = 0 if limits.in_flight > 1 else _MOST_IN_VAIN
        self._page: Collection[int] = ()
        self._next: Some | None = None
        self._asked: Asked | None = None
        self._ready = False

    def expect(self, page: Collection[int], following: Some) -> None:
        """Take note that these UIDs are a page, and what the one behind it will be."""
        self._page, self._next = page, following

    def stop(self) -> None:
        """Ask for nothing ahead any more: other commands come between two pages."""
        self._in_vain = _MOST_IN_VAIN

    def ask(self, session: Session, reading: Some) -> bool:
        """Ask for the next page, where these are the whole of the one before; whether it did.

        Exchange is given one command at a time: some versions of it lose their place.
        """
        following, self._next = self._next, None
        if following is None or self._in_vain >= _MOST_IN_VAIN or session.exchange:
            return False
        place = following.folder, following.epoch
        if place != (reading.folder, reading.epoch) or list(reading.refs) != list(self._page):
            return False
        batches, _ = following.batches(self._limits)
        if batches:
            tag = session.ask(*wanted(uid_set(batches[0])))
            self._asked, self._ready = Asked(session, tag, *place, batches[0]), False
        return bool(batches)

    def ready(self) -> None:
        """Take note that the answer before was read to its end: what follows is the next."""
        self._ready = True

    def failed(self) -> None:
        """Take note that what was asked for ahead, or beside it, did not come as it should."""
        self._asked = None
        self._in_vain += 1

    def take(self, some: Some, uids: Sequence[int]) -> Asked | None:
        """Return the command that asked for exactly these, if its answer comes next."""
        asked, self._asked = self._asked, None
        if asked is None:
            return None
        ours = (asked.folder, asked.epoch) == (some.folder, some.epoch) and asked.uids == uids
        if ours and self._ready and asked.session.owes(asked.tag):
            return asked
        self._in_vain += 1
        return None
