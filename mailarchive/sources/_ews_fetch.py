"""Messages: GetItem for MIME, in chunks of a bounded size, each item accounted for.

An answer is read as a stream, and an item is handed over as soon as its own response
message has ended; what then breaks off harms only those behind it, and only those are
asked for again.  Errors come without an id, so items are told by their position.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from attrs import define, field

from mailarchive._model import SourceMessage, Unavailable
from mailarchive.errors import SourceUnavailable, Throttled, Transient
from mailarchive.sources._ews_errors import (
    GONE,
    PASSING,
    TOO_MUCH,
    UNREADABLE,
    back_off_of,
    broken,
    code_of,
    refusal,
)
from mailarchive.sources._ews_folders import extended
from mailarchive.sources._ews_line import succeeded
from mailarchive.sources._ews_requests import (
    FLAG_STATUS,
    LAST_VERB,
    MESSAGE_FLAGS,
    get_mime,
    get_states,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mailarchive._model import MessageRef
    from mailarchive.sources._ews_answer import Node
    from mailarchive.sources._ews_line import Line

_UNKNOWN_OCTETS = 64 << 10
"""What an item counts whose size nobody told."""

_TRIES = 3
"""Answers that break off at one item, or leave it out, before it is given up for now."""

_OF_THE_ITEM = frozenset(
    {
        "ErrorInternalServerError",
        "ErrorInternalServerTransientError",
        "ErrorBatchProcessingStopped",
    }
)
"""Passing codes that may be about one item alone."""

_READ, _UNSENT = 0x1, 0x8
_FLAGGED = 2
_REPLIED = frozenset({102, 103})
_FETCHING = "reading messages"


@define
class _Round:
    """One GetItem: what of it has no answer yet, and what is to be asked for again."""

    left: list[MessageRef]
    alone: bool
    again: list[MessageRef] = field(factory=list)
    """Items that came damaged."""
    postponed: list[MessageRef] = field(factory=list)
    """Items for which the server asked for patience."""
    asked: Transient | None = None
    """What it said of them."""
    answered: bool = False
    """Whether any item of it is done."""


class Fetching:
    """The reading of some items, through every fault that can be survived."""

    def __init__(self, line: Line, refs: Sequence[MessageRef]) -> None:
        """Take what to read."""
        self._line = line
        self._tries: dict[str, int] = {}
        self._breaks: dict[str, int] = {}
        self._patience = line.patience()
        limits = line.limits
        self._work = deque(chunks(refs, limits.items, limits.chunk_octets))

    def __iter__(self) -> Iterator[SourceMessage | Unavailable]:
        """Yield each message, or why it cannot be had; what is gone is left out."""
        while self._work:
            chunk = self._work.popleft()
            turn = _Round(list(chunk), alone=len(chunk) == 1)
            failed: Transient | None = None
            try:
                for reply in self._ask(chunk):
                    yield from self._hand_over(turn.left.pop(0), reply, turn)
            except (SourceUnavailable, Throttled) as error:
                failed = error
            yield from self._after(turn, failed)

    def _ask(self, chunk: list[MessageRef]) -> Iterator[Node]:
        """Yield the response message of each item, in the order of the items."""
        body = get_mime(ref.key for ref in chunk)
        asked = {ref.key for ref in chunk}
        for position, reply in enumerate(self._line.stream(body, _FETCHING)):
            if position == len(chunk):
                raise broken(self._line.place, "the answer has more parts than were asked for")
            if not _is_of(reply, chunk[position], asked):
                raise broken(self._line.place, "the answer is about another item")
            yield reply

    def _hand_over(
        self, ref: MessageRef, reply: Node, turn: _Round
    ) -> Iterator[SourceMessage | Unavailable]:
        code = code_of(reply)
        if succeeded(reply):
            yield from self._message(ref, reply, turn)
        elif code in PASSING - _OF_THE_ITEM:
            error = refusal(self._line.place, _FETCHING, code, back_off_of(reply))
            turn.postponed.append(ref)
            turn.asked = turn.asked or (error if isinstance(error, Transient) else None)
        elif code in _OF_THE_ITEM or (code in TOO_MUCH and not turn.alone):
            yield from self._once_more(ref, code, turn)
        else:
            self._done(turn)
            if code not in GONE:
                why = f"the server does not hand it over: {code}"
                yield Unavailable(ref, why, code in UNREADABLE)

    def _message(
        self, ref: MessageRef, reply: Node, turn: _Round
    ) -> Iterator[SourceMessage | Unavailable]:
        item = _item_in(reply)
        content = None if item is None else item.find("MimeContent")
        mime = None if content is None else content.mime
        if item is None or mime is None:
            yield from self._once_more(ref, "the server sent no MIME", turn)
            return
        raw = mime.finish()
        if mime.oversized:
            limit = self._line.limits.message_octets
            self._done(turn)
            yield Unavailable(ref, f"larger than the limit of {limit} octets", permanent=True)
        elif mime.damage is not None or not raw:
            yield from self._once_more(ref, mime.damage or "the server sent empty MIME", turn)
        else:
            self._done(turn)
            yield SourceMessage(ref, raw, _received_at(item), _flags(item))

    def _done(self, turn: _Round) -> None:
        turn.answered = True
        self._patience.progress()

    def _once_more(self, ref: MessageRef, why: str, turn: _Round) -> Iterator[Unavailable]:
        """Ask for an item again, alone; after so many times it is unavailable for now."""
        tries = self._tries[ref.key] = self._tries.get(ref.key, 0) + 1
        if tries >= _TRIES:
            self._done(turn)
            yield Unavailable(ref, why)
        else:
            turn.again.append(ref)

    def _after(self, turn: _Round, failed: Transient | None) -> Iterator[Unavailable]:
        """Put back what has no answer yet, and wait where the server needs it."""
        rest = [turn.left] if turn.left else []
        if failed is None and turn.left:
            failed = broken(self._line.place, "the answer has fewer parts than were asked for")
        if isinstance(failed, Throttled):
            rest = _halved(turn.left)
        elif failed is not None and turn.left:
            rest = [turn.left[:1], turn.left[1:]]
            if self._breaks_everything(turn.left[0]):
                self._done(turn)
                yield Unavailable(rest.pop(0)[0], "the answer breaks off at it")
                failed = None
        chunks_left = [[ref] for ref in turn.again] + [turn.postponed, *rest]
        self._work.extendleft(reversed([chunk for chunk in chunks_left if chunk]))
        if (wait := failed or self._wanted(turn)) is not None and self._work:
            self._patience.after(wait)

    def _wanted(self, turn: _Round) -> Transient | None:
        """Return what a round without a failure asks to wait for.

        A server that did some items, and puts off the others without naming a pause, only
        does so many at once.
        """
        if turn.asked is not None:
            at_once = turn.answered and turn.asked.retry_after is None
            return None if at_once else turn.asked
        return broken(self._line.place, "the server sent damaged messages") if turn.again else None

    def _breaks_everything(self, ref: MessageRef) -> bool:
        """Return whether an item is at fault when answers break off at it.

        It is, after so many times, if the server answers as long as its MIME is not wanted.
        """
        breaks = self._breaks[ref.key] = self._breaks.get(ref.key, 0) + 1
        if breaks < _TRIES:
            return False
        try:
            replies = list(self._line.stream(get_states([ref.key]), _FETCHING))
        except (SourceUnavailable, Throttled):
            return False
        return len(replies) == 1 and code_of(replies[0]) not in PASSING


def chunks(refs: Iterable[MessageRef], items: int, octets: int) -> Iterator[list[MessageRef]]:
    """Yield the items in their order, packed to so many and so large; a larger one alone."""
    chunk: list[MessageRef] = []
    size = 0
    for ref in refs:
        own = _UNKNOWN_OCTETS if ref.size is None else ref.size
        if chunk and (len(chunk) == items or size + own > octets):
            yield chunk
            chunk, size = [], 0
        chunk.append(ref)
        size += own
    if chunk:
        yield chunk


def _halved(chunk: list[MessageRef]) -> list[list[MessageRef]]:
    """Return a smaller request, and what is left for another."""
    middle = (len(chunk) + 1) // 2
    return [part for part in (chunk[:middle], chunk[middle:]) if part]


def _item_in(reply: Node) -> Node | None:
    items = reply.find("Items")
    return items.children[0] if items is not None and items.children else None


def _is_of(reply: Node, ref: MessageRef, asked: set[str]) -> bool:
    """Return whether a response message is of the item, as far as it says of which.

    A server may write an id in another way than it listed it; then the change key tells.
    """
    item = _item_in(reply)
    id_ = None if item is None else item.find("ItemId")
    if id_ is None or id_.attributes.get("Id") == ref.key:
        return True
    told = id_.attributes.get("ChangeKey")
    return id_.attributes.get("Id") not in asked and told is not None and told == ref.revision


def _received_at(item: Node) -> datetime | None:
    """Return when it came, in UTC; when it was sent or made, where nobody tells."""
    for name in ("DateTimeReceived", "DateTimeSent", "DateTimeCreated"):
        try:
            when = datetime.fromisoformat(item.at(name) or "")
        except ValueError:
            continue
        try:
            return when.replace(tzinfo=when.tzinfo or UTC).astimezone(UTC)
        except OverflowError:
            continue
    return None


def _flags(item: Node) -> frozenset[str]:
    """Return the item's state as the flags that IMAP would tell."""
    told = extended(item)
    flags, status, verb = (_integer(told.get(int(tag, 16))) for tag in _STATE)
    found = {
        "\\Seen": bool(flags & _READ),
        "\\Draft": bool(flags & _UNSENT),
        "\\Flagged": status == _FLAGGED,
        "\\Answered": verb in _REPLIED,
    }
    return frozenset(name for name, holds in found.items() if holds)


_STATE = (MESSAGE_FLAGS, FLAG_STATUS, LAST_VERB)


def _integer(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 12 else 0  # noqa: PLR2004  # 32 bits
