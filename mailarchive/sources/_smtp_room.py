"""Where messages wait between the thread that receives and the thread that stores."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, final

from attrs import define, field

from mailarchive.errors import SinkFull

if TYPE_CHECKING:
    import asyncio

    from mailarchive._model import Archived, Quarantined, SourceMessage
    from mailarchive.errors import MailArchiveError


class Memory:
    """Messages and octets that may be held at once; who asks for more than is left gets none.

    Messages are counted too, because the least of them takes some room of its own, and one
    whose client has left is held until it is stored.
    """

    def __init__(self, octets: int, messages: int = 1_000) -> None:
        """Begin with all of them free."""
        self._free = octets
        self._places = messages
        self._lock = threading.Lock()

    def enter(self, octets: int) -> bool:
        """Take a place for a message, and so many octets, or nothing."""
        with self._lock:
            if self._places < 1 or octets > self._free:
                return False
            self._places -= 1
            self._free -= octets
            return True

    def leave(self, octets: int) -> None:
        """Let a message's place go, and so many octets."""
        with self._lock:
            self._places += 1
            self._free += octets

    def take(self, octets: int) -> bool:
        """Take so many, or none."""
        with self._lock:
            if octets > self._free:
                return False
            self._free -= octets
            return True


@define
class Share:
    """What one message holds of the memory: its place, and octets, which grow with it."""

    _memory: Memory
    octets: int = 0
    _inside: bool = False

    def enter(self, octets: int) -> bool:
        """Hold a place, and so many octets from the start; false where there is no room."""
        self._inside = self._memory.enter(octets)
        self.octets = octets if self._inside else 0
        return self._inside

    def grow_to(self, octets: int) -> bool:
        """Hold so many; false where they are not to be had, and then as many as before."""
        more = octets - self.octets
        if more > 0:
            if not self._memory.take(more):
                return False
            self.octets = octets
        return True

    def let_go(self) -> None:
        """Hold nothing."""
        if self._inside:
            self._inside, octets = False, self.octets
            self.octets = 0
            self._memory.leave(octets)


@final
@define(eq=False)
class Waiting:
    """A message whose client waits for an answer; gone from memory once it is given.

    The client may have left meanwhile; then nobody hears the answer, and it comes again.
    """

    message: SourceMessage
    _share: Share
    _loop: asyncio.AbstractEventLoop
    _reply: asyncio.Future[str] = field(repr=False)

    def accept(self, outcome: Archived | Quarantined) -> None:
        """It is held durably: 250."""
        self._answer(f"250 2.0.0 kept as {outcome.receipt.entry_id.hex[:16]}")

    def put_off(self, error: MailArchiveError) -> None:
        """It is not: 451, or 452 where there is no room; the client tries again."""
        if isinstance(error, SinkFull):
            self._answer("452 4.3.1 the archive has no room, try again later")
        else:
            self._answer("451 4.3.0 not archived, try again later")

    def _answer(self, reply: str) -> None:
        self._share.let_go()
        with suppress(RuntimeError):  # the receiver has closed: nobody is there to hear
            self._loop.call_soon_threadsafe(self._set, reply)

    def _set(self, reply: str) -> None:
        if not self._reply.done():
            self._reply.set_result(reply)


class WaitingRoom:
    """Messages in the order of their arrival, until `end`."""

    def __init__(self) -> None:
        """Begin empty."""
        self._waiting: deque[Waiting] = deque()
        self._changed = threading.Condition()
        self._ended = False

    def enter(self, waiting: Waiting) -> None:
        """Let one more wait."""
        with self._changed:
            self._waiting.append(waiting)
            self._changed.notify()

    def end(self) -> None:
        """No more will come."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def next_batch(self, messages: int, octets: int) -> list[Waiting]:
        """Return those that wait, within the bounds but at least one; empty at the end."""
        with self._changed:
            while not self._waiting and not self._ended:
                self._changed.wait()
            batch: list[Waiting] = []
            size = 0
            while self._waiting and len(batch) < messages:
                size += len(self._waiting[0].message.raw)
                if batch and size > octets:
                    break
                batch.append(self._waiting.popleft())
            return batch
