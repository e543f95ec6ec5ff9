"""Trying again what may succeed later, and nothing else.

`RetryingSource` and `RetryingSink` wrap another of their kind.  Only a `Transient` error
is tried again; a wait that the other side asked for is kept to the letter; the clock's
sleep and the jitter's chance are parameters.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, TypeVar

from attrs import define, field, frozen
from attrs.validators import ge
from typing_extensions import override

from mailarchive._bounds import PAUSE, Bounds, backoff
from mailarchive.abc import Sink, Source
from mailarchive.errors import Transient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mailarchive._model import (
        Address,
        Archived,
        ArchiveEntry,
        CoverageGap,
        Folder,
        MessageRef,
        Page,
        Receipt,
        Rejected,
        RemovalResult,
        SinkCapabilities,
        SourceCapabilities,
        SourceMessage,
        Unavailable,
    )
    from mailarchive.events import SourceNotice

T = TypeVar("T")


@frozen
class RetryPolicy:
    """How often and when: waits of `first`, twice that, ... `longest` seconds, jittered.

    `tries` counts the first one.  A wait that the other side asked for is kept exactly,
    unless it is longer than `patience` seconds: then the error goes to the caller.
    With a `patience` of infinity every such wait is kept.
    """

    tries: int = field(default=5, validator=ge(1))
    first: float = field(default=1.0, validator=PAUSE)
    longest: float = field(default=60.0, validator=PAUSE)
    patience: float = field(default=600.0, validator=Bounds(0))
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    chance: Callable[[], float] = field(default=random.random, repr=False)

    def attempt(self) -> Attempts:
        """Return a fresh count of attempts."""
        return Attempts(self)


@define
class Attempts:
    """The attempts at one thing."""

    policy: RetryPolicy
    failed: int = 0

    def wait(self, error: Transient) -> None:
        """Wait until it is time to try again; raises the error where there is no more time."""
        self.failed += 1
        if self.failed >= self.policy.tries:
            raise error
        if error.retry_after is not None:
            if error.retry_after > self.policy.patience:
                raise error
            self.policy.sleep(error.retry_after)
            return
        longest = backoff(self.policy.first, 2.0, self.failed, self.policy.longest)
        self.policy.sleep(longest * (0.5 + self.policy.chance() / 2))

    def succeeded(self) -> None:
        """Start counting anew: there was progress."""
        self.failed = 0

    def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, trying again as the policy says."""
        while True:
            try:
                return work()
            except Transient as error:
                self.wait(error)


class RetryingSource(Source):
    """A source whose transient errors are tried again; what was handed over stays so.

    Opening is tried once: a wrong port looks like a server that is away, and whoever set it
    is waiting for the answer.
    """

    def __init__(self, source: Source, policy: RetryPolicy | None = None) -> None:
        """Wrap `source`."""
        self._source = source
        self._policy = policy or RetryPolicy()
        self.name: str = source.name
        self.mailbox: Address | None = source.mailbox
        self.capabilities: SourceCapabilities = source.capabilities
        self.left_out: tuple[Folder, ...] = source.left_out
        self.unmatched: tuple[str, ...] = source.unmatched
        self.notices: tuple[SourceNotice, ...] = source.notices

    @override
    def _open(self) -> None:
        self._source.__enter__()
        self.capabilities = self._source.capabilities

    @override
    def _close(self) -> None:
        self._source.__exit__(None, None, None)

    @override
    def _folders(self) -> Iterable[Folder]:
        found = self._policy.attempt().run(self._source.folders)
        self.left_out, self.unmatched = self._source.left_out, self._source.unmatched
        return found

    @override
    def _gaps(self) -> Iterable[CoverageGap]:
        return self._source.gaps()

    @override
    def _unripe(self) -> int:
        return self._source.unripe()

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        attempts = self._policy.attempt()
        while True:
            try:
                for page in self._source.scan(folder, after):
                    yield page
                    after = page.token
                    attempts.succeeded()
            except Transient as error:
                attempts.wait(error)
            else:
                return

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        attempts = self._policy.attempt()
        left = dict.fromkeys(refs)
        while True:
            try:
                for item in self._source.fetch(tuple(left)):
                    del left[item.ref]
                    yield item
                    attempts.succeeded()
            except Transient as error:
                attempts.wait(error)
            else:
                return

    @override
    def _remove(self, archived: Sequence[Archived]) -> Iterable[RemovalResult]:
        return self._policy.attempt().run(lambda: self._source.remove(archived))


class RetryingSink(Sink):
    """A sink whose transient errors are tried again; putting twice stores once."""

    def __init__(self, sink: Sink, policy: RetryPolicy | None = None) -> None:
        """Wrap `sink`."""
        self._sink = sink
        self._policy = policy or RetryPolicy()
        self.name: str = sink.name
        self.capabilities: SinkCapabilities = sink.capabilities

    @override
    def _open(self) -> None:
        self._policy.attempt().run(self._sink.__enter__)
        self.name = self._sink.name
        self.capabilities = self._sink.capabilities

    @override
    def _close(self) -> None:
        self._sink.__exit__(None, None, None)

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        raise AssertionError  # put_many is overridden and never calls it

    @override
    def _put_many(self, entries: Sequence[ArchiveEntry]) -> Iterable[Receipt | Rejected]:
        return self._policy.attempt().run(lambda: self._sink.put_many(entries))

    @override
    def _foresee(self, entries: Sequence[ArchiveEntry]) -> None:
        self._sink.foresee(entries)  # once: the put that follows is what counts

    @override
    def _read(self, receipt: Receipt) -> bytes:
        return self._policy.attempt().run(lambda: self._sink.read(receipt))
