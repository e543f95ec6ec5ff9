"""The laws of removal: nothing without proof, and nothing left behind for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from typing_extensions import override

from mailarchive import Decoded, Durability, Envelope, SourceCapabilities
from mailarchive.archiver import Removal
from mailarchive.errors import MalformedReport, ReceiptMismatch, SourceUnavailable, Unsupported
from mailarchive.testing.fuse import Crash, Fuse
from mailarchive.testing.memory import MemorySink

if TYPE_CHECKING:
    from support.world import World

    from mailarchive import ArchiveEntry, Receipt

REMOVE = Removal.when_archived()


def test_nothing_is_removed_unless_asked(world: World) -> None:
    """The default is never to remove."""
    messages = world.fill(12)
    world.run()

    assert messages == world.source.contents()


def test_what_is_archived_and_read_back_is_removed(world: World) -> None:
    """Every archived message is gone from the source, and was read back before."""
    world.fill(25)

    report = world.run(removal=REMOVE)

    assert (report.stored, report.removed, report.kept) == (25, 25, 0)
    assert world.source.contents() == []
    assert world.sink.calls.count("read") == 25
    assert world.state.saved[-1].removing == ()


def test_the_intent_is_saved_before_the_first_removal(world: World) -> None:
    """(2) A checkpoint with the receipts is durable before anything is removed."""
    world.fill(3)
    saved: list[int] = []

    def fuse(step: str) -> None:
        if step == "source: remove":
            saved.append(len(world.state.saved[-1].removing))

    world.source.fuse = fuse
    world.run(removal=REMOVE)

    assert saved == [3, 3, 3]


def test_a_flagged_message_stays(world: World) -> None:
    """Somebody who flagged a message still wants it there."""
    ref = world.source.add(world.mail(1), flags=["\\Flagged"])
    world.fill(2)

    report = world.run(removal=REMOVE)

    assert (report.removed, report.kept) == (2, 1)
    assert [world.mail(1)] == world.source.contents()
    assert frozenset({"\\Flagged"}) == world.source.flags(ref)


def test_a_message_changed_since_it_was_read_stays(world: World) -> None:
    """The source checks that the item is still the one that the receipt is of."""
    ref = world.source.add(world.mail(1))

    def fuse(step: str) -> None:
        if step == "source: remove":
            world.source.change(ref, b"other bytes")

    world.source.fuse = fuse
    report = world.run(removal=REMOVE)

    assert (report.removed, report.kept) == (0, 1)
    assert world.source.contents() == [b"other bytes"]


def quarantining(raw: bytes, /) -> Decoded:
    """Refuse every other message, and call one unexpected."""
    if b"Subject: 1\r" in raw:
        raise MalformedReport("no original")
    stray = "no journal report" if b"Subject: 2\r" in raw else None
    return Decoded(Envelope(), unexpected=stray)


def test_quarantined_and_unexpected_messages_stay(world: World) -> None:
    """What could not be archived as what it should be is never removed; it is listed."""
    messages = world.fill(4)

    report = world.run(removal=REMOVE, decoder=quarantining)

    assert messages[1:3] == world.source.contents()
    assert (report.quarantined, report.unexpected) == (1, 1)
    assert report.unexpected_refs[0].key == "1.3"


class Forgetful(MemorySink):
    """A sink that gives back something else than was put."""

    @override
    def _read(self, receipt: Receipt) -> bytes:
        return super()._read(receipt)[:-1]


def test_bytes_that_do_not_come_back_stop_the_run_and_remove_nothing(world: World) -> None:
    """(2) The read-back is compared, not believed."""
    world.sink = Forgetful()
    messages = world.fill(3)
    with pytest.raises(ReceiptMismatch):
        world.run(removal=REMOVE)

    assert messages == world.source.contents()


class Buffered(MemorySink):
    """A sink whose receipts promise less than its capabilities."""

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        return evolve(super()._put(entry), durability=Durability.BUFFERED)


def test_a_receipt_of_too_little_durability_removes_nothing(world: World) -> None:
    """The policy looks at each receipt, not at the sink's general promise."""
    world.sink = Buffered()
    messages = world.fill(3)
    report = world.run(removal=REMOVE)

    assert (report.stored, report.removed) == (3, 0)
    assert messages == world.source.contents()


def test_removal_is_refused_for_a_sink_that_cannot_be_read_back(world: World) -> None:
    """Said at construction, before anything is touched."""
    world.sink = MemorySink(reads=False)
    with pytest.raises(Unsupported, match="read back"):
        world.archiver(removal=REMOVE)


def test_removal_is_refused_for_a_sink_that_promises_too_little(world: World) -> None:
    """Said at construction too."""
    world.sink = MemorySink(durability=Durability.PROCESS)
    with pytest.raises(Unsupported, match="durability"):
        world.archiver(removal=REMOVE)


def test_removal_is_refused_for_a_source_that_cannot_remove(world: World) -> None:
    """Known once it is open, and still before anything is read."""
    world.source.capabilities = SourceCapabilities(removes=False)
    world.fill(1)
    with pytest.raises(Unsupported, match="remove"):
        world.run(removal=REMOVE)

    assert world.sink.entries == {}


def test_a_removal_that_was_cut_short_is_finished_by_the_next_run(world: World) -> None:
    """(2) The intent is carried until it is confirmed: nothing is left behind for good."""
    world.fill(5)
    world.source.fuse = Fuse(6)  # open, folders, scan, fetch, remove, remove, crash
    with pytest.raises(Crash):
        world.run(removal=REMOVE)
    assert len(world.source.contents()) == 3

    world.source.fuse = lambda step: None
    report = world.run(removal=REMOVE)

    assert world.source.contents() == []
    assert report.removed == 3


def test_an_intent_survives_runs_without_removal(world: World) -> None:
    """A run that may not remove carries the intent along and touches nothing."""
    world.fill(5)
    world.source.fuse = Fuse(4)  # at the first removal
    with pytest.raises(Crash):
        world.run(removal=REMOVE)
    world.source.fuse = lambda step: None
    world.source.add(world.mail(9))

    world.run()
    assert len(world.source.contents()) == 6
    assert len(world.state.saved[-1].removing) == 5

    world.run(removal=REMOVE)
    assert [world.mail(9)] == world.source.contents()


def test_a_source_that_breaks_while_removing_loses_no_intent(world: World) -> None:
    """The folder is reported as failed, and the next run finishes."""
    world.fill(5)

    def fuse(step: str) -> None:
        if step == "source: remove":
            raise SourceUnavailable("gone")

    world.source.fuse = fuse
    report = world.run(removal=REMOVE)
    assert report.failures[0].code == "source-unavailable"
    assert len(world.state.saved[-1].removing) == 5

    world.source.fuse = lambda step: None
    assert world.run(removal=REMOVE).removed == 5
