"""The laws of trying again: only what is transient, as long as was asked, nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from support.world import World
from typing_extensions import override

from mailarchive import Folder, SourceMessage
from mailarchive.errors import (
    AuthenticationFailed,
    SinkUnavailable,
    SourceUnavailable,
    Throttled,
)
from mailarchive.retry import RetryingSink, RetryingSource, RetryPolicy
from mailarchive.testing.memory import MemorySink, MemorySource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mailarchive import MessageRef, Unavailable
    from mailarchive.errors import MailArchiveError

INBOX = Folder("INBOX", ("INBOX",))


def failing(step: str, *errors: MailArchiveError) -> Callable[[str], None]:
    """A fuse that raises these errors, one each time the step comes, and then no more."""
    left = list(errors)

    def fuse(point: str) -> None:
        if point == step and left:
            raise left.pop(0)

    return fuse


@pytest.fixture
def waits() -> list[float]:
    """What was slept."""
    return []


@pytest.fixture
def policy(waits: list[float]) -> RetryPolicy:
    """Four tries, no chance and no real sleep."""
    return RetryPolicy(tries=4, sleep=waits.append, chance=lambda: 1.0)


def filled(fuse: Callable[[str], None]) -> MemorySource:
    """A source with a few pages."""
    source = MemorySource(page_size=2, fuse=fuse)
    for number in range(5):
        source.add(bytes([number]))
    return source


def read(source: RetryingSource) -> list[bytes]:
    """Everything in the source."""
    with source:
        source.folders()
        return [
            item.raw
            for page in source.scan(INBOX)
            for item in source.fetch(page.refs)
            if isinstance(item, SourceMessage)
        ]


@pytest.mark.parametrize("step", ["folders", "scan", "fetch"])
def test_a_transient_error_is_tried_again(
    step: str, policy: RetryPolicy, waits: list[float]
) -> None:
    """After it all is as if nothing had happened, and the waits have doubled."""
    source = filled(failing(f"source: {step}", *[SourceUnavailable("gone")] * 3))

    assert read(RetryingSource(source, policy)) == [bytes([number]) for number in range(5)]
    assert waits == [1.0, 2.0, 4.0]


def test_there_is_an_end_to_it(policy: RetryPolicy, waits: list[float]) -> None:
    """After the last try the error goes to the caller."""
    source = filled(failing("source: scan", *[SourceUnavailable("gone")] * 4))
    with pytest.raises(SourceUnavailable):
        read(RetryingSource(source, policy))
    assert len(waits) == 3


def test_opening_is_tried_once(policy: RetryPolicy, waits: list[float]) -> None:
    """Whoever named a wrong port hears of it at once."""
    source = filled(failing("source: open", SourceUnavailable("gone")))
    with pytest.raises(SourceUnavailable):
        read(RetryingSource(source, policy))
    assert waits == []


def test_any_other_error_is_not_tried_again(policy: RetryPolicy, waits: list[float]) -> None:
    """A refused login would lock the account."""
    source = filled(failing("source: open", AuthenticationFailed("no")))
    with pytest.raises(AuthenticationFailed):
        read(RetryingSource(source, policy))
    assert waits == []


def test_a_wait_that_was_asked_for_is_kept_to_the_letter(
    policy: RetryPolicy, waits: list[float]
) -> None:
    """No jitter and no doubling is added to it."""
    source = filled(failing("source: scan", Throttled("busy", retry_after=178.755)))
    read(RetryingSource(source, policy))

    assert waits == [178.755]


def test_a_wait_beyond_patience_goes_to_the_caller(
    policy: RetryPolicy, waits: list[float]
) -> None:
    """Nobody sits for a day; the next run goes on."""
    source = filled(failing("source: scan", Throttled("busy", retry_after=86400)))
    with pytest.raises(Throttled):
        read(RetryingSource(source, policy))
    assert waits == []


class Hiccuping(MemorySource):
    """A source that breaks off after each message."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        yield from super()._fetch(refs[:1])
        if len(refs) > 1:
            raise SourceUnavailable("gone")


def test_progress_starts_the_count_anew(waits: list[float]) -> None:
    """A long page survives more hiccups in all than one message may have."""
    source = Hiccuping(page_size=9)
    for number in range(9):
        source.add(bytes([number]))

    found = read(RetryingSource(source, RetryPolicy(tries=2, sleep=waits.append)))

    assert found == [bytes([number]) for number in range(9)]
    assert len(waits) == 8


def test_jitter_only_shortens(waits: list[float]) -> None:
    """The wait lies between half of the plan and all of it."""
    half = RetryPolicy(tries=2, sleep=waits.append, chance=lambda: 0.0)
    read(RetryingSource(filled(failing("source: scan", SourceUnavailable("gone"))), half))

    assert waits == [0.5]


def test_a_sink_is_tried_again_too(policy: RetryPolicy, waits: list[float]) -> None:
    """Opening, putting and reading; what was stored before is stored once."""
    sink = MemorySink(fuse=failing("sink: stored", SinkUnavailable("gone")))
    world = World(sink=sink)
    world.fill(3)
    with RetryingSink(sink, policy) as retrying:
        report = evolve(world.archiver(), sink=retrying).run()

    assert len(sink.entries) == 3
    assert report.archived == 3
    assert waits == [1.0]
