"""A whole mailbox with every fault mixed in: each message is accounted for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from support.graph import QUICK, Archive, mail

from mailarchive.testing.graph_server import (
    Answer,
    Fault,
    html_page,
    no_json,
    no_message,
    refused,
    silent_refusal,
    throttled,
    truncated,
)

if TYPE_CHECKING:
    from pathlib import Path

    from support.graph import GraphWorld

    from mailarchive.testing.graph_server import Item, Request

COUNT = 10_000
VALUE = r"/\$value\Z"
DELTA = r"/delta\Z"


def break_some(items: list[Item]) -> None:
    """Make some messages bad for good: for reading, for listing, for everybody."""
    items[77].refused = (500, "ErrorMimeContentConversionFailed")
    items[2_077].refused = (500, "ErrorSomethingNew")
    items[4_077].refused = (403, "ErrorAccessDenied")
    items[9_877].breaks = frozenset({"delta", "list"})


def every_fault(world: GraphWorld, items: list[Item]) -> list[Fault]:
    """What happens to requests under way."""
    away, moved = iter(items[9_001:9_003]), iter(items[9_003:9_005])

    def expire(_: Request, honest: Answer) -> Answer:
        world.server.expire_token()
        return honest

    def lose(_: Request, honest: Answer) -> Answer:
        world.store.lose(next(away).id)
        return honest

    def move(_: Request, honest: Answer) -> Answer:
        world.store.move(next(moved).id, "sentitems")
        return honest

    def come_and_go(_: Request, honest: Answer) -> Answer:
        world.store.move_away_and_back(items[9_500].id)
        return honest

    return [
        Fault(VALUE, lose, times=2, every=1_000),
        Fault(VALUE, move, times=2, every=1_100),
        Fault(VALUE, come_and_go, times=1, every=1_200),
        Fault(VALUE, expire, times=9, every=997),
        throttled(VALUE, "17", times=3, every=1_499),
        throttled(VALUE, "Wed, 25 Nov 2026 12:05:00 GMT", every=301),
        throttled(DELTA, "5", every=7),
        silent_refusal(VALUE, 503, times=9, every=701),
        silent_refusal(VALUE, 403, times=2, every=2_003),
        silent_refusal(DELTA, 504, times=2, every=11),
        truncated(VALUE, times=20, every=311),
        truncated(DELTA, times=2, every=13),
        html_page(VALUE, times=20, every=401),
        html_page(DELTA, every=17),
        no_message(times=15, every=503),
        no_json(DELTA, times=2, every=5),
        refused(DELTA, 410, "SyncStateNotFound", every=9),
    ]


@pytest.mark.slow
def test_ten_thousand_messages_with_every_fault_mixed_in_are_all_accounted_for(
    world: GraphWorld, tmp_path: Path
) -> None:
    """Archived, or waiting with a reason, or gone; the next run has what can be had."""
    world = evolve(world, seen=tmp_path / "seen.db")
    world.deliver(mail(COUNT))
    items = world.store.contents()
    break_some(items)
    inbox = world.store.box("inbox")
    assert inbox is not None
    world.server.faults = every_fault(world, items)
    limits = evolve(QUICK, page=500)
    archive = Archive(world)
    report = archive.run(world.source(limits=limits))

    assert [fault for fault in world.server.faults if fault.times > 0] == []
    assert report.finished
    assert [folder.name for folder in report.relisted] == ["Inbox"]
    waiting = {retry.ref.key for retry in archive.state.saved[-1].retry}
    assert waiting >= {items[77].id, items[2_077].id, items[4_077].id}
    assert report.waiting == len(waiting) == report.failed
    archived = {entry.copy.key for entry in archive.sink.entries.values()}
    assert archived | waiting >= {item.id for item in inbox.items.values()}
    assert not archived & waiting

    for item in items:
        item.refused, item.breaks = None, frozenset()
    inbox.closes_early = 1
    last = archive.run(world.source(limits=limits), retry_now=True)

    assert last.ok
    gone = {item.raw for item in items if item.id not in inbox.items}
    assert set(mail(COUNT)) - set(archive.raws) <= gone
    assert len(set(archive.raws)) == len(archive.raws)
