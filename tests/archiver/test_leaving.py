"""How a run ends that is not gone through: its thread goes, and the first error is told."""

from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from typing_extensions import override

from mailarchive import Archived
from mailarchive.errors import AuthenticationFailed, MailArchiveError, SinkUnavailable
from mailarchive.retry import RetryingSource
from mailarchive.testing.memory import MemorySource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.world import World

    from mailarchive import MessageRef, SourceMessage, Unavailable
    from mailarchive.abc import Source


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Have what is in a circle stay until a test says otherwise."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def readers() -> list[threading.Thread]:
    """Return the threads that read for a run."""
    return [each for each in threading.enumerate() if each.name.startswith("mailarchive-source")]


@pytest.mark.usefixtures("no_collector")
def test_a_run_that_is_dropped_goes_at_once(world: World) -> None:
    """(9) A loop that ends early; its thread would keep the process from ending, for ever."""
    messages = world.fill(25)

    for outcome in world.archiver().outcomes():
        assert isinstance(outcome, Archived)
        break

    assert readers() == []
    assert world.source.calls[-1] == "close"
    world.run()
    assert messages == world.archived()


class Watched(MemorySource):
    """A source whose sixth page is read once somebody said so; then Python collects."""

    def __init__(self) -> None:
        super().__init__(page_size=1)
        self.pages = 0
        self.dropped = threading.Event()

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        self.pages += 1
        if self.pages == 6:
            assert self.dropped.wait(20)
            gc.collect()
        return super()._fetch(refs)


@pytest.mark.usefixtures("no_collector")
def test_a_run_that_is_collected_while_it_reads_goes_as_well(world: World) -> None:
    """(9) It is the reading thread that finds it: that one must not wait for itself."""
    world.source = source = Watched()
    messages = world.fill(25)
    run = world.archiver().outcomes()
    next(run)
    (reader,) = readers()
    circle: list[object] = [run]
    circle.append(circle)
    del run, circle

    source.dropped.set()

    reader.join(20)
    assert not reader.is_alive()
    assert source.calls[-1] == "close"
    assert 6 <= source.pages < 25
    world.run()
    assert messages == world.archived()


class Clinging(MemorySource):
    """A source that cannot be closed, nor perhaps opened."""

    def __init__(self, error: MailArchiveError | None) -> None:
        super().__init__()
        self.error = error
        self.closed = 0

    @override
    def _open(self) -> None:
        if self.error is not None:
            raise self.error

    @override
    def _close(self) -> None:
        self.closed += 1
        raise KeyError


@pytest.mark.parametrize("retrying", [False, True])
def test_a_source_that_fails_to_open_says_why(world: World, *, retrying: bool) -> None:
    """It is closed once, and what comes of that is not what a person must know."""
    source = Clinging(AuthenticationFailed("the password is wrong"))
    tried: Source = RetryingSource(source) if retrying else source
    archiver = evolve(world.archiver(), source=tried)

    with pytest.raises(AuthenticationFailed):
        archiver.run()

    assert source.closed == 1
    assert readers() == []


def test_a_source_that_cannot_be_closed_hides_no_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive is what a person must mend."""
    world.source = source = Clinging(None)
    world.fill(3)

    def away(_: object) -> object:
        raise SinkUnavailable("the archive is away")

    monkeypatch.setattr(world.sink, "_put_many", away)

    with pytest.raises(SinkUnavailable):
        world.run()

    assert source.closed == 1


def test_a_source_is_closed_whatever_ends_its_summing_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as somebody who wants the program to end at once."""

    def stop() -> Iterator[object]:
        raise KeyboardInterrupt

    monkeypatch.setattr(world.source, "_gaps", stop)

    with pytest.raises(KeyboardInterrupt):
        world.run()

    assert world.source.calls[-1] == "close"
