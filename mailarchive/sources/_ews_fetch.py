"""Messages: GetItem for MIME, in chunks of a bounded size, each item accounted for.

An answer is read as a stream, and an item is handed over as soon as its own response
message has ended; what then breaks off harms only those behind it, and only those are
asked for again.  Errors come without an id, so items are told by their position.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING

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
            left = list(chunk)
            failed: Transient | None = None
            again: list[MessageRef] = []
            try:
                for reply in self._ask(chunk):
                    yield from self._hand_over(left.pop(0), reply, again, alone=len(chunk) == 1)
            except (SourceUnavailable, Throttled) as error:
                failed = error
            yield from self._after(left, again, failed)

    def _ask(self, chunk: list[MessageRef]) -> Iterator[Node]:
        """Yield the response message of each item, in the order of the items."""
        body = get_mime(ref.key for ref in chunk)
        asked = {ref.key for ref in chunk}
        for position, reply in enumerate(self._line.stream(body, _FETCHING)):
            if position == len(chunk):
                raise broken(self._line.place, "the answer has more parts than were asked for")
            self._passing(reply)
            if not _is_of(reply, chunk[position], asked):
                raise broken(self._line.place, "the answer is about another item")
            yield reply

    def _passing(self, reply: Node) -> None:
        """Raise what a code says of the server rather than of the item."""
        code = code_of(reply)
        if code in PASSING - _OF_THE_ITEM:
            raise refusal(self._line.place, _FETCHING, code, back_off_of(reply))

    def _hand_over(
        self, ref: MessageRef, reply: Node, again: list[MessageRef], *, alone: bool
    ) -> Iterator[SourceMessage | Unavailable]:
        code = code_of(reply)
        if succeeded(reply):
            yield from self._message(ref, reply, again)
        elif code in GONE:
            self._patience.progress()
        elif code in _OF_THE_ITEM or (code in TOO_MUCH and not alone):
            yield from self._once_more(ref, code, again)
        else:
            self._patience.progress()
            permanent = code in UNREADABLE
            yield Unavailable(ref, f"the server does not hand it over: {code}", permanent)

    def _message(
        self, ref: MessageRef, reply: Node, again: list[MessageRef]
    ) -> Iterator[SourceMessage | Unavailable]:
        item = _item_in(reply)
        content = None if item is None else item.find("MimeContent")
        mime = None if content is None else content.mime
        if item is None or mime is None:
            yield from self._once_more(ref, "the server sent no MIME", again)
            return
        raw = mime.finish()
        if mime.oversized:
            limit = self._line.limits.message_octets
            yield Unavailable(ref, f"larger than the limit of {limit} octets", permanent=True)
        elif mime.damage is not None or not raw:
            yield from self._once_more(ref, mime.damage or "the server sent empty MIME", again)
        else:
            self._patience.progress()
            yield SourceMessage(ref, raw, _received_at(item), _flags(item))

    def _once_more(
        self, ref: MessageRef, why: str, again: list[MessageRef]
    ) -> Iterator[Unavailable]:
        """Ask for an item again, alone; after so many times it is unavailable for now."""
        tries = self._tries[ref.key] = self._tries.get(ref.key, 0) + 1
        if tries >= _TRIES:
            yield from self._give_up(ref, why)
        else:
            again.append(ref)

    def _after(
        self,
        left: list[MessageRef],
        again: list[MessageRef],
        failed: Transient | None,
    ) -> Iterator[Unavailable]:
        """Put back what has no answer yet, and wait where the server needs it."""
        chunks_left = [left] if left else []
        if failed is None and left:
            failed = broken(self._line.place, "the answer has fewer parts than were asked for")
        if isinstance(failed, Throttled):
            chunks_left = _halved(left)
        elif failed is not None and left:
            first, rest = left[0], left[1:]
            breaks = self._breaks[first.key] = self._breaks.get(first.key, 0) + 1
            chunks_left = [[first], rest] if rest else [[first]]
            if breaks >= _TRIES and self._is_its_own_fault(first):
                yield from self._give_up(first, "the answer breaks off at it")
                chunks_left, failed = chunks_left[1:], None
        if failed is None and again:
            failed = broken(self._line.place, "the server sent damaged messages")
        self._work.extendleft(reversed([[ref] for ref in again] + chunks_left))
        if failed is not None and self._work:
            self._patience.after(failed)

    def _is_its_own_fault(self, ref: MessageRef) -> bool:
        """Return whether the server answers as long as the item's MIME is not asked for."""
        try:
            (reply,) = self._line.stream(get_states([ref.key]), _FETCHING)
            self._passing(reply)
        except (SourceUnavailable, Throttled, ValueError):
            return False
        return True

    def _give_up(self, ref: MessageRef, why: str) -> Iterator[Unavailable]:
        self._patience.progress()
        yield Unavailable(ref, why)


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
