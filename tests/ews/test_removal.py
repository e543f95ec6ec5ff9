"""Removal takes exactly what has a receipt and is still the same, and says why it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from support.ews import Desk, listed, numbered, read, receipt_for

from mailarchive import Archived, Kept, Removed, SourceMessage, Vanished
from mailarchive.archiver import Archiver, Removal, RunReport
from mailarchive.errors import SourceUnavailable, Throttled
from mailarchive.sources.ews import Contents, Disposal, FolderChoice, Store
from mailarchive.testing import ews_faults as faults
from mailarchive.testing.memory import MemoryCheckpoints, MemoryQuarantine, MemorySink, NoUsers

if TYPE_CHECKING:
    from mailarchive.testing.ews_server import Call


def archived(desk: Desk, count: int) -> list[Archived]:
    """Deliver and read messages, and return their receipts in the order they were delivered."""
    desk.deliver(count)
    with desk.source() as source:
        items = [item for item in read(source) if isinstance(item, SourceMessage)]
    order = list(desk.mailbox.folder("inbox").items)
    return sorted(map(receipt_for, items), key=lambda each: order.index(each.ref.key))


def left(desk: Desk, folder: str = "inbox") -> set[bytes]:
    """What a folder holds."""
    return {item.raw for item in desk.mailbox.folder(folder).items.values()}


@pytest.mark.parametrize(
    ("disposal", "place"),
    [
        (Disposal.DELETED_ITEMS, "deleteditems"),
        (Disposal.SOFT, "recoverableitemsdeletions"),
        (Disposal.HARD, None),
    ],
)
def test_removed_items_go_where_they_are_told(
    desk: Desk, disposal: Disposal, place: str | None
) -> None:
    """To Deleted Items unless something else is chosen."""
    items = archived(desk, 5)
    with desk.source(disposal=disposal) as source:
        results = source.remove(items[:3])

    assert set(results) == {Removed(each.ref) for each in items[:3]}
    assert len(left(desk)) == 2
    assert place is None or len(left(desk, place)) == 3


def test_a_changed_item_stays(desk: Desk) -> None:
    """Its change key is another one: somebody edited, read or filed it since."""
    items = archived(desk, 3)
    desk.mailbox.change(desk.mailbox.folder("inbox").items[items[0].ref.key], b"other")
    desk.mailbox.read(desk.mailbox.folder("inbox").items[items[1].ref.key])
    with desk.source() as source:
        results = {result.ref: result for result in source.remove(items)}

    assert isinstance(results[items[0].ref], Kept)
    assert isinstance(results[items[1].ref], Kept)
    assert results[items[2].ref] == Removed(items[2].ref)


def test_an_item_that_changes_at_the_last_moment_stays(desk: Desk) -> None:
    """The change key is named in the request, so that the server can refuse."""
    items = archived(desk, 2)
    target = desk.mailbox.folder("inbox").items[items[0].ref.key]

    def meddle(call: Call) -> bool:
        if call.operation == "DeleteItem":
            desk.mailbox.change(target)
        return False

    desk.server.fault = meddle
    with desk.source() as source:
        kept, removed = source.remove(items)

    assert kept == Kept(items[0].ref, "changed while it was about to be removed")
    assert removed == Removed(items[1].ref)


def test_a_refused_removal_is_kept_with_the_code(desk: Desk) -> None:
    """Such as an item on hold."""
    items = archived(desk, 2)
    desk.server.fault = faults.on("DeleteItem", faults.item_error("ErrorCannotDeleteObject"))
    with desk.source() as source:
        results = source.remove(items)

    assert {result for result in results if isinstance(result, Kept)} == set(results)
    assert len(left(desk)) == 2
    assert all("ErrorCannotDeleteObject" in r.why for r in results if isinstance(r, Kept))


def test_a_removal_that_was_done_and_not_heard_of_is_a_removal(desk: Desk) -> None:
    """The connection broke after the server had removed them; asked again, they are gone."""
    items = archived(desk, 4)
    desk.server.fault = faults.on("DeleteItem", faults.times(1, faults.hang_up(0)))
    with desk.source() as source:
        results = source.remove(items)

    assert set(results) == {Removed(each.ref) for each in items}
    assert left(desk) == set()


def test_what_others_took_has_vanished(desk: Desk) -> None:
    """Before we asked, or between the look and the removal."""
    items = archived(desk, 3)
    desk.mailbox.delete(desk.mailbox.folder("inbox").items[items[0].ref.key])
    with desk.source() as source:
        results = {result.ref: result for result in source.remove(items)}

    assert results[items[0].ref] == Vanished(items[0].ref)
    assert results[items[1].ref] == Removed(items[1].ref)


@pytest.mark.parametrize("operation", ["GetItem", "DeleteItem"])
def test_throttling_is_waited_for(desk: Desk, operation: str) -> None:
    """As long as it says, and nothing is left out."""
    items = archived(desk, 3)
    desk.server.fault = faults.on(operation, faults.times(2, faults.busy(milliseconds=2_000)))
    with desk.source() as source:
        results = source.remove(items)

    assert set(results) == {Removed(each.ref) for each in items}
    assert desk.clock.waits == [2.0, 2.0]


def test_a_server_that_never_answers_leaves_everything_open(desk: Desk) -> None:
    """Raised, so that the intent stays in the checkpoint."""
    items = archived(desk, 1)
    for fault, kind in [
        (faults.busy(milliseconds=1), Throttled),
        (faults.item_error("ErrorMailboxMoveInProgress"), SourceUnavailable),
    ]:
        desk.server.fault = faults.on("DeleteItem", fault)
        with pytest.raises(kind), desk.source() as source:
            source.remove(items)
    assert len(left(desk)) == 1


def test_an_item_without_a_change_key_is_never_removed(desk: Desk) -> None:
    """Nothing could tell that it is still the same."""
    (item,) = archived(desk, 1)
    nameless = evolve(item, ref=evolve(item.ref, revision=None))
    with desk.source() as source:
        (result,) = source.remove([nameless])
        assert len(listed(source)) == 1

    assert isinstance(result, Kept)


@pytest.mark.parametrize("disposal", list(Disposal))
def test_a_run_over_everything_with_removal_ends(desk: Desk, disposal: Disposal) -> None:
    """What was removed comes up where removed items go, and is left there."""
    desk.deliver(7)
    desk.mailbox.deliver(b"Subject: deleted before\r\n\r\n", "deleteditems")
    state, sink = MemoryCheckpoints(), MemorySink()
    contents = Contents(stores=(Store.PRIMARY, Store.RECOVERABLE))

    def run() -> RunReport:
        return Archiver(
            desk.source(disposal=disposal, folders=FolderChoice.everything(), contents=contents),
            sink,
            NoUsers(),
            state=state,
            quarantine=MemoryQuarantine(),
            removal=Removal.when_archived(),
        ).run()

    first, second = run(), run()
    assert first.ok
    assert not left(desk)
    assert (second.listed, second.removed) == (0, 0)
    assert first.listed <= 2 * 8
    assert {entry.raw for entry in sink.entries.values()} >= set(numbered(7))
