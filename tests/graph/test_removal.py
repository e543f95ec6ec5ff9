"""Removing at the source: softly, and only what is still the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.graph import Archive, mail, read_all

from mailarchive import (
    Archived,
    Digest,
    Kept,
    Receipt,
    Removal,
    Removed,
    SourceMessage,
    Vanished,
)
from mailarchive.errors import AccessDenied, MailboxNotFound
from mailarchive.sources.graph import FolderChoice
from mailarchive.testing.graph_server import Fault, refused

if TYPE_CHECKING:
    from support.graph import GraphWorld

    from mailarchive import Unavailable
    from mailarchive.testing.graph_server import Answer, Request


def archived(world: GraphWorld, count: int = 2) -> list[Archived]:
    """So many messages with receipts."""
    world.deliver(mail(count))
    with world.source() as source:
        return [_with_receipt(item) for item in read_all(source)]


def _with_receipt(item: SourceMessage | Unavailable) -> Archived:
    assert isinstance(item, SourceMessage)
    digest = Digest.of(item.raw)
    return Archived(item.ref, Receipt("test", digest, digest, "somewhere"))


def test_a_message_is_moved_to_where_its_user_can_recover_it(world: GraphWorld) -> None:
    """Deleted Items, unless another folder is named; or deleted, which is as soft."""
    first, second, third = archived(world, 3)
    with world.source() as source:
        source.remove([first])
    with world.source(remove_to="archive") as source:
        source.remove([second])
    with world.source(remove_to=None) as source:
        source.remove([third])

    for each, box in ((first, "deleteditems"), (second, "archive")):
        assert [item.id for item in world.store.contents(box)] == [each.ref.key]
    deletions = world.store.contents("recoverableitemsdeletions")
    assert [item.id for item in deletions] == [third.ref.key]


def test_a_message_that_changed_stays(world: GraphWorld) -> None:
    """Its change key is another than the one that was archived."""
    first, second = archived(world)
    world.store.change(first.ref.key, read=True)
    with world.source() as source:
        kept, removed = source.remove([first, second])

    assert kept == Kept(first.ref, "changed since it was archived")
    assert removed == Removed(second.ref)


def test_a_message_that_changes_while_it_is_removed_stays(world: GraphWorld) -> None:
    """The server compares the version once more (If-Match)."""
    first, _ = archived(world)

    def change(_: Request, honest: Answer) -> Answer:
        world.store.change(first.ref.key, read=True)
        return honest

    world.server.faults.append(Fault("messages/[^/]*$", change))
    with world.source() as source:
        assert source.remove([first]) == (Kept(first.ref, "changed while it was removed"),)


def test_a_message_that_somebody_moved_is_left_where_it_is(world: GraphWorld) -> None:
    """It is not in this folder any more."""
    first, _ = archived(world)
    world.store.move(first.ref.key, "sentitems")
    with world.source() as source:
        assert source.remove([first]) == (Vanished(first.ref),)

    assert [item.id for item in world.store.contents("sentitems")] == [first.ref.key]


def test_without_the_right_to_write_the_permission_is_named(world: GraphWorld) -> None:
    """Reading needs less."""
    first, _ = archived(world)
    world.server.faults.append(refused("/move", 403, "ErrorAccessDenied"))
    with world.source() as source, pytest.raises(AccessDenied) as caught:
        source.remove([first])

    assert "Mail.ReadWrite" in " ".join(caught.value.suggestions)


def test_an_answer_that_is_lost_removes_nothing_else(world: GraphWorld) -> None:
    """The move was done; asked again, the message has gone."""
    first, _ = archived(world)

    def lost(_: Request, honest: Answer) -> Answer:
        from attrs import evolve

        return evolve(honest, body=b"", length=10, hangup=True)

    world.server.faults.append(Fault("/move", lost))
    with world.source() as source:
        (result,) = source.remove([first])

    assert result.ref == first.ref
    assert len(world.store.contents()) == 1


def test_a_run_with_removal_leaves_nothing_behind_and_loses_nothing(world: GraphWorld) -> None:
    """Everything is in the archive and in Deleted Items."""
    world.deliver(mail(12))
    archive = Archive(world)
    report = archive.run(removal=Removal.when_archived())

    assert (report.stored, report.removed) == (12, 12)
    assert world.store.contents() == []
    assert len(world.store.contents("deleteditems")) == 12
    assert sorted(archive.raws) == sorted(mail(12))
    assert archive.run(removal=Removal.when_archived()).listed == 0


def test_a_message_that_is_where_removed_ones_go_stays(world: GraphWorld) -> None:
    """Moving it there would change nothing, and be told as a removal."""
    world.store.deliver(mail(1)[0], "deleteditems")
    with world.graph(folders=FolderChoice.everything()) as source:
        (item,) = read_all(source, "Deleted Items")
        (result,) = source.remove([_with_receipt(item)])

    assert result == Kept(item.ref, "it is where removed messages go")


def test_a_folder_to_move_to_that_is_not_there_is_told(world: GraphWorld) -> None:
    """And nothing is removed."""
    first, _ = archived(world)
    with world.source(remove_to="AAMkNowhere=") as source, pytest.raises(MailboxNotFound):
        source.remove([first])

    assert len(world.store.contents()) == 2
