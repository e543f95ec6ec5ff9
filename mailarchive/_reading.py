"""One thread on which every call to a source runs, reading ahead into a bounded queue.

A client bound to one thread stays happy, and reading overlaps storing.  The queue is
bounded in bytes; one message larger than the bound passes alone.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

from attrs import field, frozen

from mailarchive._model import SourceMessage, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import Self

    from mailarchive._model import Folder, MessageRef
    from mailarchive.abc import Source

T = TypeVar("T")


@frozen
class PageBegins:
    """The items of these refs follow; `token` is `None` for a page of retries."""

    refs: tuple[MessageRef, ...] = field(repr=False)
    token: str | None


@frozen
class PageEnds:
    """No item of the page follows; what did not come is gone."""


Read = PageBegins | SourceMessage | Unavailable | PageEnds


def read_folder(
    source: Source, folder: Folder, after: str | None, due: tuple[MessageRef, ...]
) -> Iterator[Read]:
    """Yield the retries that are due as a page, then every page after the token."""
    if due:
        yield PageBegins(due, None)
        yield from source.fetch(due)
        yield PageEnds()
    for page in source.scan(folder, after):
        yield PageBegins(page.refs, page.token)
        if page.refs:
            yield from source.fetch(page.refs)
        yield PageEnds()


def size_of(item: Read) -> int:
    """Return how many bytes an item holds in the queue."""
    return len(item.raw) if isinstance(item, SourceMessage) else 0


class _Abandoned(Exception):
    """The consumer has gone; raised in the worker so that it stops reading."""


class _Queue(Generic[T]):
    """Items in order, at most `bound` bytes of them unless there is only one."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._items: deque[tuple[T, int]] = deque()
        self._size = 0
        self._ended = False
        self._abandoned = False
        self._changed = threading.Condition()

    def put(self, item: T, size: int) -> None:
        with self._changed:
            while self._items and self._size + size > self._bound and not self._abandoned:
                self._changed.wait()
            if self._abandoned:
                raise _Abandoned
            self._items.append((item, size))
            self._size += size
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def abandon(self) -> None:
        with self._changed:
            self._abandoned = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                while not self._items and not self._ended:
                    self._changed.wait()
                if not self._items:
                    return
                item, size = self._items.popleft()
                self._size -= size
                self._changed.notify_all()
            yield item


class Worker:
    """The one thread.  A context manager; leaving it joins the thread.

    Where a run is forgotten and Python collects it, the thread itself may be the one that
    does so: then it waits for nothing, least of all for itself, and does what is left when
    it has put down what it reads.
    """

    def __init__(self, read_ahead: int) -> None:
        """Read at most `read_ahead` bytes more than have been taken."""
        self._read_ahead = read_ahead
        self._idents: list[int] = []
        self._left: list[Callable[[], object]] = []
        self._threads = ThreadPoolExecutor(
            1,
            thread_name_prefix="mailarchive-source",
            initializer=_note_ident,
            initargs=(self._idents,),
        )

    def __enter__(self) -> Self:
        """Return the worker; its thread starts with the first call."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Join the thread."""
        elsewhere = not self._is_here()
        self._threads.shutdown(wait=elsewhere, cancel_futures=elsewhere)

    def _is_here(self) -> bool:
        return threading.get_ident() in self._idents

    def call(self, work: Callable[[], T]) -> T:
        """Run `work` on the thread and return what it returns or raise what it raises."""
        return self._threads.submit(work).result()

    def last(self, work: Callable[[], object]) -> None:
        """Run `work` on the thread, after all else, and raise what it raises."""
        if self._is_here():
            self._left.append(work)
        else:
            self.call(work)

    def stream(
        self, make: Callable[[], Iterator[T]], size: Callable[[T], int], pause: type | None = None
    ) -> Generator[T]:
        """Yield what the iterator yields, which runs on the thread, ahead of the reader.

        After an item of the type `pause` it waits until the next one is asked for, so that
        the reader may `call` in between; without `pause` the reader must not.
        """
        items = self._threads.submit(make).result()
        paused = True
        try:
            while paused:
                queue: _Queue[T] = _Queue(self._read_ahead)
                try:
                    pumping = self._threads.submit(self._pump, items, queue, size, pause)
                    yield from queue
                finally:
                    queue.abandon()
                paused = pumping.result()
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                self.last(close)

    def _pump(
        self,
        items: Iterator[T],
        queue: _Queue[T],
        size: Callable[[T], int],
        pause: type | None,
    ) -> bool:
        """Fill the queue; return whether it stopped for a pause rather than at the end."""
        try:
            for item in items:
                queue.put(item, size(item))
                if pause is not None and isinstance(item, pause):
                    return True
        except _Abandoned:
            pass
        finally:
            queue.end()
            for work in self._left:
                with suppress(Exception):  # nobody is there to hear of it
                    work()
        return False


def _note_ident(idents: list[int]) -> None:
    idents.append(threading.get_ident())
