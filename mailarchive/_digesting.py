"""The digests of a batch, several messages at a time: SHA-256 lets other threads run."""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive._model import Digested, Span
from mailarchive._portions import AT_ONCE, portions, threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import ThreadPoolExecutor
    from typing import Self, TypeAlias

    from mailarchive._model import Digest, Original

    _Message: TypeAlias = tuple[bytes, Sequence[Original]]


@frozen
class Digests:
    """What is taken of the bytes of a message: once, before anything is done with it."""

    raw: Digested
    fork_key: Digest

    @classmethod
    def of(
        cls, raw: bytes, originals: Sequence[Original], fork_key: Callable[[bytes], Digest]
    ) -> Digests:
        """Return the digest of a record, and the key of the message in it that people read."""
        first = originals[0] if originals else raw
        content = first.of(raw) if isinstance(first, Span) else first
        return cls(Digested(raw), fork_key(content))


@frozen
class Digesting:
    """Takes digests in threads of its own, or without any on the caller's.

    A context manager; leaving it ends the threads.
    """

    _threads: ThreadPoolExecutor | None = field(default=None, alias="threads")

    @classmethod
    def in_threads(cls) -> Self:
        """Return one with a thread for each processor; none is started before it is needed."""
        return cls(threads("sha256", spared=1))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """End the threads."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    def all(
        self, messages: Iterable[_Message], fork_key: Callable[[bytes], Digest]
    ) -> Iterator[Digests]:
        """Return the digests of each record, given with its originals, in order."""
        some = list(portions(messages, _size))
        little = len(some) == 1 and sum(map(_size, some[0])) < AT_ONCE
        work = map if self._threads is None or little else self._threads.map
        return chain.from_iterable(work(_digests, some, repeat(fork_key)))


def _digests(portion: Sequence[_Message], fork_key: Callable[[bytes], Digest]) -> list[Digests]:
    return [Digests.of(*each, fork_key) for each in portion]


def _size(message: _Message) -> int:
    return len(message[0])
