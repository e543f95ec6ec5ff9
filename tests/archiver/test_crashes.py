"""A crash at every boundary of a run, singly and in pairs, loses nothing and repeats nothing."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from mailarchive import Decoded, Envelope
from mailarchive.archiver import Removal
from mailarchive.errors import MalformedReport
from mailarchive.testing.fuse import Crash, Fuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.world import World

MESSAGES = 7


def decoder(raw: bytes, /) -> Decoded:
    """Send one message to the quarantine."""
    if b"Subject: 3\r" in raw:
        raise MalformedReport("no original")
    return Decoded(Envelope())


def fresh(world: World) -> World:
    """A filled world: two folders, small pages, one message that cannot be read."""
    made = type(world)()
    made.source._page_size = 3
    for number in range(MESSAGES):
        made.source.add(made.mail(number), folder="A" if number < 5 else "B")
    return made


def run(world: World, fuse: Callable[[str], None]) -> None:
    """Run with removal, every part on one fuse."""
    for part in (world.source, world.sink, world.state, world.quarantine):
        part.fuse = fuse
    world.run(decoder=decoder, removal=Removal.when_archived())


def check(world: World) -> None:
    """After one clean run everything is archived once, and only the quarantined one stays."""
    run(world, lambda step: None)
    expected = [world.mail(number) for number in range(MESSAGES) if number != 3]
    assert sorted(expected) == sorted(world.archived())
    assert [world.mail(3)] == [message.raw for message, _ in world.quarantine.held.values()]
    assert [world.mail(3)] == world.source.contents("A") + world.source.contents("B")
    for folder in "AB":
        checkpoint = world.state.load("memory", folder)
        assert checkpoint is not None
        assert checkpoint.removing == ()


def accounted(world: World) -> None:
    """No checkpoint has passed a message that is neither archived nor held."""
    kept = set(world.archived()) | {m.raw for m, _ in world.quarantine.held.values()}
    for checkpoint in world.state.saved:
        last = int((checkpoint.token or "1.0").partition(".")[2])
        start = 0 if checkpoint.folder == "A" else 5
        assert {world.mail(start + n) for n in range(last)} <= kept


STEPS = 40
"""More than a run has; the test below says so."""


def test_the_steps_of_a_run_are_all_walked(world: World) -> None:
    """The numbers in the tests below reach past the last step."""
    assert 25 < Fuse().count(lambda fuse: run(fresh(world), fuse)) < STEPS


@pytest.mark.parametrize("at", range(STEPS))
def test_a_crash_at_any_step_loses_nothing(world: World, at: int) -> None:
    """One clean run after it leaves the same as if nothing had happened."""
    broken = fresh(world)
    with suppress(Crash):
        run(broken, Fuse(at))
    accounted(broken)

    check(broken)


@pytest.mark.parametrize("first", range(0, STEPS, 2))
def test_two_crashes_in_a_row_lose_nothing(world: World, first: int) -> None:
    """Nor does a crash of the run that repairs the first one, at any of its steps."""
    for second in range(STEPS):
        broken = fresh(world)
        with suppress(Crash):
            run(broken, Fuse(first))
        with suppress(Crash):
            run(broken, Fuse(second))
        accounted(broken)

        check(broken)
