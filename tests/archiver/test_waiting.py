"""What waits on a folder's retry list: what failed, and for a while what was gone."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mailarchive.errors import SourceUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest
    from support.world import World

    from mailarchive import MessageRef, SourceMessage, Unavailable
    from mailarchive.archiver import RunReport
    from mailarchive.testing.memory import MemorySource


def lose_first(source: MemorySource, patch: pytest.MonkeyPatch, *, then: bool) -> None:
    """Have no first message when it is read; `then` the place breaks at the second page."""
    fetch = source._fetch
    pages = iter(range(100))

    def lossy(refs: Iterable[MessageRef]) -> Iterable[SourceMessage | Unavailable]:
        page = next(pages)
        if page == 1 and then:
            raise SourceUnavailable("gone", suggestions=["come back"])
        return list(fetch(tuple(refs)[1:] if page == 0 else tuple(refs)))

    patch.setattr(source, "_fetch", lossy)


def run(world: World, patch: pytest.MonkeyPatch, *, then: bool) -> RunReport:
    """Run while the first message is away."""
    world.source._page_size = 2
    with patch.context() as inner:
        lose_first(world.source, inner, then=then)
        return world.run()


def test_what_was_gone_is_looked_for_after_a_run_that_broke_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(1) Also by one whose clock was set back; and nothing is owed then."""
    messages = world.fill(6)
    report = run(world, monkeypatch, then=True)
    assert (report.vanished, report.failed, report.waiting, report.ok) == (1, 0, 1, False)
    assert [(each.attempts, each.reason) for each in world.state.saved[-1].retry] == [
        (0, "gone before it was read")
    ]

    world.now -= timedelta(days=400)
    report = world.run()

    assert (report.retried, report.waiting, report.ok) == (1, 0, True)
    assert sorted(messages) == sorted(world.archived())
    assert world.state.saved[-1].retry == ()


def test_a_folder_that_was_listed_to_the_end_owes_nothing_for_what_was_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that what somebody deleted costs no later run anything, and no run is unwell."""
    world.fill(6)

    report = run(world, monkeypatch, then=False)

    assert (report.vanished, report.waiting, report.ok) == (1, 0, True)
    assert world.run().retried == 0


def test_a_dry_run_lets_nothing_go(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It saves nothing, so what was owed before is owed after it."""
    world.fill(6)
    run(world, monkeypatch, then=True)
    before = list(world.state.saved)

    world.run(dry_run=True)

    assert before == world.state.saved


def test_a_folder_of_which_nothing_can_be_read_fails(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of a million would be saved with each page."""
    monkeypatch.setattr("mailarchive._waiting.AT_MOST", 5)
    world.source._page_size = 2
    for number in range(10):
        ref = world.source.add(world.mail(number))
        world.source.break_item(ref, "no")

    report = world.run()

    (failure,) = report.failures
    assert "more than 5 messages" in failure.message
    assert len(world.state.saved[-1].retry) == 4
    assert not report.ok


def test_a_folder_that_is_emptied_meanwhile_does_not_fail(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much somebody takes away, one page of it is owed at a time, and then nothing."""
    monkeypatch.setattr("mailarchive._waiting.AT_MOST", 1)
    monkeypatch.setattr(world.source, "_fetch", lambda refs: [])
    world.source._page_size = 2
    world.fill(10)

    report = world.run()

    assert (report.vanished, report.waiting, report.ok) == (10, 0, True)
    assert [len(each.retry) for each in world.state.saved] == [2, 2, 2, 2, 2, 0]


def test_what_was_gone_is_owed_until_a_page_was_listed_after_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(1) Not a page of retries: the token that names it still stands then."""
    world.fill(6)
    run(world, monkeypatch, then=True)
    monkeypatch.setattr(world.source, "_fetch", lambda refs: [])

    world.run()

    saved = [(each.token, len(each.retry)) for each in world.state.saved[1:]]
    assert saved == [("1.2", 1), ("1.4", 2), ("1.6", 2), ("1.6", 0)]
