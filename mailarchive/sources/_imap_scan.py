"""Listing a folder: what came after a token, a page at a time, each with the next token.

A token is the folder's UIDVALIDITY and the last UID that was listed: `7.500`.  Where some
messages wait until they are ripe it names those below it too, `7.500+77,80:90`, so that
the resume point passes none of them.  Where they wait for a flag and the server has
CONDSTORE (RFC 7162) it says when they were looked at, `7.500+77,80:90~4711.0f1e2d3c`, so
that only those are looked at again that have changed.  Then the last UID may be one that
waits, too, since the newest messages need not be listed again; and where nothing is ripe
and the token is another one all the same, it comes with a page of no messages.
"""

from __future__ import annotations

import hashlib
import re
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from attrs import field, frozen
from typing_extensions import override

from mailarchive._bounds import several
from mailarchive._model import MessageRef, Page
from mailarchive.errors import ConfigurationError, SourceError
from mailarchive.sources._imap_ahead import Some
from mailarchive.sources._imap_commands import (
    Seen,
    Status,
    changed_since,
    opened,
    status,
    uids_from,
)
from mailarchive.sources._imap_errors import (
    RENUMBERED,
    WENT_BACK,
    invalid_token,
    no_folder,
    none_listed,
)
from mailarchive.sources._imap_looking import LISTED_AT_ONCE, Looking
from mailarchive.sources._imap_syntax import LARGEST_NUMBER, uid_set, uid_sets

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime, timedelta

    from mailarchive._model import Folder
    from mailarchive.sources._imap_ahead import Ahead
    from mailarchive.sources._imap_line import Line
    from mailarchive.sources._imap_session import Selected, Session

_T = TypeVar("_T")

_TOKEN_OCTETS = 1 << 20
_MOST_WAITING = 1_000_000

_TOKEN = re.compile(
    r"(\d{1,10})\.(\d{1,10})(?:\+([\d,:]+)(?:~(\d{1,19})\.([0-9a-f]{8}))?)?\Z", re.ASCII
)

_RANGE = re.compile(r"(\d{1,10})(?::(\d{1,10}))?\Z", re.ASCII)


def _flags(names: Iterable[str]) -> frozenset[str]:
    flags = several("flags to wait for", names, r'a list, as in with_flags=["\Seen"]')
    return frozenset(flag.lower() for flag in flags)


@frozen(kw_only=True)
class Ripe:
    """When a message is ready to be archived; until then it waits, and each run looks again.

    All that are set must hold.  A message whose date or flags the server does not tell is
    ripe: better early than never.  Raises `ConfigurationError` for a flag that is wanted and
    unwanted, and for a text, whose letters would be the flags.
    """

    older_than: timedelta | None = None
    """How long ago it must have arrived (its INTERNALDATE)."""

    with_flags: frozenset[str] = field(default=frozenset(), converter=_flags)
    """Flags that it must have, as `\\Seen`; letters of either case."""

    without_flags: frozenset[str] = field(default=frozenset(), converter=_flags)
    """Flags of which it may have none, as `\\Draft`."""

    def __attrs_post_init__(self) -> None:
        """Refuse what no message ever is: all would wait, and every run would be well."""
        if both := self.with_flags & self.without_flags:
            raise ConfigurationError(
                f"no message can have and lack a flag: {', '.join(sorted(both))}",
                suggestions=["take it out of with_flags, or out of without_flags"],
            )

    @property
    def condition(self) -> str | None:
        """A word for what is asked of flags; `None` where time alone can make one ripe."""
        if self.older_than is not None:
            return None
        words = [*sorted(self.with_flags), "", *sorted(self.without_flags)]
        return hashlib.sha256("\n".join(words).encode("utf-8", "replace")).hexdigest()[:8]

    def holds(self, seen: Seen | None, now: datetime) -> bool:
        """Whether a message is ripe, by what the server says of it now."""
        if seen is None or self.is_too_young(seen.received_at, now):
            return seen is None
        if seen.flags is None:
            return True
        flags = {flag.lower() for flag in seen.flags}
        return self.with_flags <= flags and not self.without_flags & flags

    def is_too_young(self, received_at: datetime | None, now: datetime) -> bool:
        """Whether a message of that date, where one is told, must wait for its age."""
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
    """How far a folder is listed; `waiting` are the UIDs up to `last` that are not ripe.

    `last` itself waits only where `since` is set: that is the folder's mod-sequence when they
    were looked at, and `condition` the word for what they wait for.
    """

    epoch: int
    last: int
    waiting: tuple[int, ...] = ()
    since: int | None = None
    condition: str | None = None

    @classmethod
    def parse(cls, text: str) -> Token | None:
        """Read a token; `None` for what is none."""
        found = _TOKEN.match(text) if len(text) <= _TOKEN_OCTETS else None
        if found is None or max(int(found[1]), int(found[2])) > LARGEST_NUMBER:
            return None
        below = int(found[2]) + (found[4] is not None)
        waiting = _expand(found[3], below=below) if found[3] else ()
        if waiting is None:
            return None
        since = int(found[4]) if found[4] else None
        return cls(int(found[1]), int(found[2]), waiting, since, found[5])

    @override
    def __str__(self) -> str:
        """Write the token."""
        text = f"{self.epoch}.{self.last}"
        if self.waiting:
            text += f"+{uid_set(self.waiting).decode('ascii')}"
            if self.since is not None:
                text += f"~{self.since}.{self.condition}"
        return text


class Scanning:
    """The listing of one folder; every step of it may be done again after a break."""

    def __init__(
        self,
        line: Line,
        folder: Folder,
        ripe: tuple[Ripe | None, Callable[[], datetime]],
        noted: tuple[dict[str, int], Ahead],
    ) -> None:
        """Take what to list, when a message is ready, and where to note what comes next."""
        self._line, self._folder = line, folder
        self._ripe, self._clock = ripe
        self._epochs, self._ahead = noted
        self._limits = line.limits
        self._condition = None if self._ripe is None else self._ripe.condition
        self._modseq: int | None = None
        self._token: str | None = None
        self.waiting = 0
        """How many are not ripe, once all pages were taken."""

    def pages(self, after: str | None) -> Iterator[Page]:
        """Yield what came after a token and what has become ripe since; oldest first.

        Raises `CheckpointInvalid` where the token means nothing any more.
        """
        token = None if after is None else self._parse(after)
        self._token = after
        self.waiting = 0 if token is None else len(token.waiting)
        if not self._run(partial(self._has_news, token)):
            return
        epoch, new = self._run(partial(self._news, token))
        self._epochs[self._folder.key] = epoch
        start = token or Token(epoch, 0)
        due = self._run(partial(self._to_look_at, start)) if start.waiting else ()
        looking = self._looking(epoch)
        state = _Progress(start, due, Token(epoch, 0, (), self._modseq, self._condition))
        left = len(due) + len(new)
        for uids in chain(_blocks(due), _blocks(new)):
            ripe = self._ripe_ones(epoch, uids, looking)
            left -= len(uids)
            yield from self._of_block(state, uids, ripe, last=not left)
        self.waiting = state.waiting
        yield from self._last_page(state, new[-1] if new else 0)

    def _last_page(self, state: _Progress, newest: int) -> Iterator[Page]:
        """Yield what is left; a page of nothing where only the token is another one.

        Without it the next run would look again at what has been looked at just now.
        """
        told = self._modseq is not None
        reach = newest if told and _fits(state.token(newest)) else 0
        if state.refs or (told and str(state.token(reach)) != self._token):
            yield self._page(state, {}, reach)

    def _looking(self, epoch: int) -> Looking:
        opened = partial(self._opened, epoch)
        return Looking(self._line, self._folder.key, opened, closely=self._ripe is not None)

    def _ripe_ones(
        self, epoch: int, uids: Sequence[int], looking: Looking
    ) -> dict[int, MessageRef]:
        seen = looking.at(uids)
        if self._ripe is not None:
            now = self._clock()
            uids = [uid for uid in uids if self._ripe.holds(seen.get(uid), now)]
        return {uid: self._ref(epoch, uid, seen.get(uid)) for uid in uids}

    def _of_block(
        self, state: _Progress, uids: Sequence[int], ripe: dict[int, MessageRef], *, last: bool
    ) -> Iterator[Page]:
        """Yield the pages that are full; the page behind each is known while the block lasts."""
        size, coming = self._limits.page, list(ripe)
        behind = size - len(state.refs)
        for uid in uids:
            if uid not in ripe:
                state.wait(uid)
                continue
            state.take(uid, ripe[uid])
            if len(state.refs) == size:
                following = coming[behind : behind + size]
                behind += size
                whole = last or len(following) == size
                yield self._page(state, {each: ripe[each] for each in following if whole})

    def _ref(self, epoch: int, uid: int, seen: Seen | None) -> MessageRef:
        size = seen.size if seen is not None else None
        return MessageRef(self._line.place.name, self._folder.key, f"{epoch}.{uid}", size)

    def _page(self, state: _Progress, following: dict[int, MessageRef], reach: int = 0) -> Page:
        token = state.token(reach)
        self._token = str(token)
        if not _fits(token):
            raise SourceError(
                f"{self._line.place}: too many messages of a folder wait for being ripe",
                suggestions=["let fewer messages wait, by age rather than by flags"],
            )
        page, state.refs = state.refs, {}
        self._ahead.expect(page, Some(self._folder.key, token.epoch, following))
        return Page(self._folder, tuple(page.values()), self._token)

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
        if token.waiting and not self._is_as_it_was(token, told.highest_modseq):
            return True
        if told.uidnext is not None and told.uidnext <= token.last:
            return True  # numbers never go back (RFC 3501, 2.3.1.1): opening it tells more
        return told.messages != 0 and told.uidnext != token.last + 1

    def _status(self, token: Token | None, session: Session) -> Status:
        selected = session.selected
        if selected is None or selected.key != self._folder.key:
            changes = token is not None and token.since is not None
            return status(session, self._folder.key, changes=changes)
        # An open folder is as it was when it was opened; STATUS is not for it (RFC 3501,
        # 6.3.10), and opening it again tells more.
        session.selected = None
        selected = self._opened(None if token is None else token.epoch, session)
        return Status(
            selected.uidvalidity, selected.uidnext, selected.exists, selected.highest_modseq
        )

    def _opened(self, epoch: int | None, session: Session) -> Selected:
        changes = self._condition is not None
        selected = opened(session, self._line.place, self._folder.key, changes=changes)
        if epoch is not None and selected.uidvalidity != epoch:
            raise invalid_token(self._line.place, RENUMBERED)
        return selected

    def _news(self, token: Token | None, session: Session) -> tuple[int, array[int]]:
        selected = self._opened(None if token is None else token.epoch, session)
        last = 0 if token is None else token.last
        if selected.uidnext is not None and selected.uidnext <= last:
            # What comes now gets numbers below the token, and would never be listed.
            raise invalid_token(self._line.place, WENT_BACK)
        if self._condition is not None and "CONDSTORE" in session.capabilities:
            self._modseq = selected.highest_modseq
        new = uids_from(session, last + 1, self._limits)
        if selected.exists and not new and not last:
            self._check_empty(session)
        return selected.uidvalidity, new

    def _check_empty(self, session: Session) -> None:
        """Look again whether the folder is empty by now, where none of its messages was listed."""
        session.selected = None
        if self._opened(None, session).exists:
            raise none_listed(self._line.place)

    def _is_as_it_was(self, token: Token, modseq: int | None) -> bool:
        """Whether nothing that messages wait for can have come since."""
        asked = self._condition is not None and token.condition == self._condition
        return asked and modseq is not None and modseq == token.since

    def _to_look_at(self, token: Token, session: Session) -> Sequence[int]:
        """Return which of the waiting messages may be ripe by now, or gone."""
        self._opened(token.epoch, session)
        since = token.since
        if self._is_as_it_was(token, self._modseq):
            return ()
        if since is None or self._modseq is None or self._modseq < since:
            return token.waiting
        if token.condition != self._condition:
            return token.waiting
        found: list[int] = []
        for text, some in uid_sets(token.waiting, self._limits.command_octets, LISTED_AT_ONCE):
            there, changed = changed_since(session, text, some, since)
            found += [uid for uid in some if uid in changed or uid not in there]
        return found


class _Progress:
    """How far a scan is: what it has for the next page, and the token behind that."""

    def __init__(self, start: Token, due: Iterable[int], looked: Token) -> None:
        """Take where it begins, who is to be looked at again, and as of when that will be."""
        self._start, self._looked = start, looked
        self._last = start.last
        self._waiting, self._due = set(start.waiting), set(due)
        self.refs: dict[int, MessageRef] = {}

    def take(self, uid: int, ref: MessageRef) -> None:
        self._due.discard(uid)
        self._waiting.discard(uid)
        self._last = max(self._last, uid)
        self.refs[uid] = ref

    def wait(self, uid: int) -> None:
        self._due.discard(uid)
        self._waiting.add(uid)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def token(self, reach: int = 0) -> Token:
        """Return the token; while some are due for a look it is as of the look before.

        With `reach`, all up to that UID were looked at, and none of them is listed again.
        """
        as_of = self._start if self._due else self._looked
        last = max(self._last, reach)
        while as_of.since is None and last in self._waiting:
            last -= 1  # what waits above the last UID is listed again anyway
        waiting = tuple(sorted(uid for uid in self._waiting if uid <= last))
        since = as_of.since if waiting else None
        condition = as_of.condition if since is not None else None
        return Token(self._looked.epoch, last, waiting, since, condition)


def _fits(token: Token) -> bool:
    return len(token.waiting) <= _MOST_WAITING and len(str(token)) <= _TOKEN_OCTETS


def _blocks(uids: Sequence[int]) -> Iterator[Sequence[int]]:
    start, size = 0, LISTED_AT_ONCE // 4
    while start < len(uids):
        yield uids[start : start + size]
        start, size = start + size, LISTED_AT_ONCE
