"""Listing a folder: what came after a token, a page at a time, each with the next token.

A token is the folder's UIDVALIDITY and the last UID that was listed: `7.500`.  Where some
messages wait until they are ripe it names those below it too, `7.500+77,80:90`, so that
the resume point passes none of them.
"""

from __future__ import annotations

import re
from collections import deque
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from attrs import evolve, field, frozen
from typing_extensions import override

from mailarchive._model import MessageRef, Page
from mailarchive.errors import SourceError
from mailarchive.sources._imap_commands import (
    Seen,
    Status,
    look,
    opened,
    status,
    uids_from,
)
from mailarchive.sources._imap_errors import RENUMBERED, invalid_token, no_folder
from mailarchive.sources._imap_syntax import LARGEST_NUMBER, uid_set, uid_sets

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime, timedelta

    from mailarchive._model import Folder
    from mailarchive.sources._imap_line import Line
    from mailarchive.sources._imap_session import Selected, Session

_T = TypeVar("_T")

LISTED_AT_ONCE = 2_000
"""Messages in one look at their sizes."""

_TOKEN_OCTETS = 1 << 20
_MOST_WAITING = 1_000_000

_TOKEN = re.compile(r"(\d{1,10})\.(\d{1,10})(?:\+([\d,:]+))?\Z", re.ASCII)

_RANGE = re.compile(r"(\d{1,10})(?::(\d{1,10}))?\Z", re.ASCII)


def _flags(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)


@frozen(kw_only=True)
class Ripe:
    """When a message is ready to be archived; until then it waits, and each run looks again.

    All that are set must hold.  A message whose date or flags the server does not tell is
    ripe: better early than never.
    """

    older_than: timedelta | None = None
    """How long ago it must have arrived (its INTERNALDATE)."""

    with_flags: frozenset[str] = field(default=frozenset(), converter=_flags)
    """Flags that it must have, as `\\Seen`; letters of either case."""

    without_flags: frozenset[str] = field(default=frozenset(), converter=_flags)
    """Flags of which it may have none, as `\\Draft`."""

    def holds(self, seen: Seen | None, now: datetime) -> bool:
        """Whether a message is ripe, by what the server says of it now."""
        if seen is None or self._is_young(seen.received_at, now):
            return seen is None
        if seen.flags is None:
            return True
        flags = {flag.lower() for flag in seen.flags}
        return self.with_flags <= flags and not self.without_flags & flags

    def _is_young(self, received_at: datetime | None, now: datetime) -> bool:
        if self.older_than is None or received_at is None:
            return False
        return received_at > now - self.older_than


def _expand(text: str, *, below: int) -> tuple[int, ...] | None:
    """Return the UIDs that a set names, ascending; `None` where it is none of ours."""
    uids: list[int] = []
    for part in text.split(","):
        found = _RANGE.match(part)
        if found is None:
            return None
        first, last = int(found[1]), int(found[2] or found[1])
        if not (uids[-1] if uids else 0) < first <= last < below or last - first >= _MOST_WAITING:
            return None
        uids += range(first, last + 1)
    return tuple(uids) if len(uids) <= _MOST_WAITING else None


@frozen
class Token:
    """How far a folder is listed; `waiting` are the UIDs up to `last` that are not ripe."""

    epoch: int
    last: int
    waiting: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Token | None:
        """Read a token; `None` for what is none."""
        found = _TOKEN.match(text) if len(text) <= _TOKEN_OCTETS else None
        if found is None or max(int(found[1]), int(found[2])) > LARGEST_NUMBER:
            return None
        waiting = _expand(found[3], below=int(found[2])) if found[3] else ()
        return None if waiting is None else cls(int(found[1]), int(found[2]), waiting)

    @override
    def __str__(self) -> str:
        """Write the token."""
        own = f"{self.epoch}.{self.last}"
        return f"{own}+{uid_set(self.waiting).decode('ascii')}" if self.waiting else own


class Scanning:
    """The listing of one folder; every step of it may be done again after a break."""

    def __init__(
        self,
        line: Line,
        folder: Folder,
        *,
        ripe: Ripe | None,
        clock: Callable[[], datetime],
        epochs: dict[str, int],
    ) -> None:
        """Take what to list, and when a message is ready; the folder's epoch is noted."""
        self._line, self._folder, self._ripe, self._clock = line, folder, ripe, clock
        self._epochs = epochs
        self._limits = line.limits

    def pages(self, after: str | None) -> Iterator[Page]:
        """Yield what came after a token and what has become ripe since; oldest first.

        Raises `CheckpointInvalid` where the token means nothing any more.
        """
        token = None if after is None else self._parse(after)
        if not self._run(partial(self._has_news, token)):
            return
        epoch, new = self._run(partial(self._news, token))
        self._epochs[self._folder.key] = epoch
        start = token or Token(epoch, 0)
        state = _Progress(evolve(start, epoch=epoch))
        for uids in chain(_blocks(start.waiting), _blocks(new)):
            seen = self._run(partial(self._look, epoch, uids))
            now = self._clock()
            for uid in uids:
                if self._ripe is not None and not self._ripe.holds(seen.get(uid), now):
                    state.wait(uid)
                    continue
                state.take(uid, self._ref(epoch, uid, seen.get(uid)))
                if len(state.refs) == self._limits.page:
                    yield self._page(state)
        if state.refs:
            yield self._page(state)

    def _ref(self, epoch: int, uid: int, seen: Seen | None) -> MessageRef:
        size = seen.size if seen is not None else None
        return MessageRef(self._line.place.name, self._folder.key, f"{epoch}.{uid}", size)

    def _page(self, state: _Progress) -> Page:
        token = state.token()
        text = str(token)
        if len(text) > _TOKEN_OCTETS or len(token.waiting) > _MOST_WAITING:
            raise SourceError(
                f"{self._line.place}: too many messages of a folder wait for being ripe",
                suggestions=["let fewer messages wait, by age rather than by flags"],
            )
        refs, state.refs = tuple(state.refs), []
        return Page(self._folder, refs, text)

    def _run(self, step: Callable[[Session], _T]) -> _T:
        return self._line.run(step, "listing a folder", no_folder)

    def _parse(self, text: str) -> Token:
        token = Token.parse(text)
        if token is None:
            raise invalid_token(self._line.place, "it is not of this source")
        return token

    def _has_news(self, token: Token | None, session: Session) -> bool:
        """Whether there may be something to list; one round trip where there is not."""
        told = self._status(token, session)
        if token is None:
            return told.messages != 0
        if told.uidvalidity not in {None, token.epoch}:
            raise invalid_token(self._line.place, RENUMBERED)
        if token.waiting:
            return True
        return told.messages != 0 and (told.uidnext is None or told.uidnext > token.last + 1)

    def _status(self, token: Token | None, session: Session) -> Status:
        selected = session.selected
        if selected is None or selected.key != self._folder.key:
            return status(session, self._folder.key)
        # An open folder is as it was when it was opened; STATUS is not for it (RFC 3501,
        # 6.3.10), and opening it again tells more.
        session.selected = None
        selected = self._opened(None if token is None else token.epoch, session)
        return Status(selected.uidvalidity, selected.uidnext, selected.exists)

    def _opened(self, epoch: int | None, session: Session) -> Selected:
        selected = opened(session, self._line.place, self._folder.key)
        if epoch is not None and selected.uidvalidity != epoch:
            raise invalid_token(self._line.place, RENUMBERED)
        return selected

    def _news(self, token: Token | None, session: Session) -> tuple[int, array[int]]:
        selected = self._opened(None if token is None else token.epoch, session)
        last = 0 if token is None else token.last
        return selected.uidvalidity, uids_from(session, last + 1, self._limits)

    def _look(self, epoch: int, uids: Sequence[int], session: Session) -> dict[int, Seen]:
        self._opened(epoch, session)
        found: dict[int, Seen] = {}
        for text, some in uid_sets(uids, self._limits.command_octets, LISTED_AT_ONCE):
            found |= look(session, text, len(some), closely=self._ripe is not None)
        return found


class _Progress:
    """How far a scan is: what it has for the next page, and the token behind that."""

    def __init__(self, start: Token) -> None:
        self._epoch, self._last = start.epoch, start.last
        self._old = deque(start.waiting)
        self._unripe: list[int] = []
        self.refs: list[MessageRef] = []

    def take(self, uid: int, ref: MessageRef) -> None:
        self._looked_at(uid)
        self._last = max(self._last, uid)
        self.refs.append(ref)

    def wait(self, uid: int) -> None:
        self._looked_at(uid)
        self._unripe.append(uid)

    def _looked_at(self, uid: int) -> None:
        if self._old and self._old[0] == uid:
            self._old.popleft()

    def token(self) -> Token:
        # What waits above the last UID is listed again anyway.
        waiting = [uid for uid in (*self._unripe, *self._old) if uid < self._last]
        return Token(self._epoch, self._last, tuple(sorted(waiting)))


def _blocks(uids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(uids), LISTED_AT_ONCE):
        yield uids[start : start + LISTED_AT_ONCE]
