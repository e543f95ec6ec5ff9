"""Which folders there are, what each is for, and which are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.graph import Archive, mail, read_all

from mailarchive import FolderRole
from mailarchive.errors import ConfigurationError, MailboxNotFound
from mailarchive.sources.graph import FolderChoice, GraphSource

if TYPE_CHECKING:
    from support.graph import GraphWorld

EVERYTHING = FolderChoice.everything()


def test_a_mailbox_is_read_without_drafts_junk_and_trash_unless_asked_for(
    world: GraphWorld,
) -> None:
    """What is left out is said."""
    with world.graph() as source:
        taken = [folder.name for folder in source.folders()]

    assert taken == ["Inbox", "Sent Items", "Archive"]
    assert {f.name for f in source.left_out} == {"Drafts", "Junk Email", "Deleted Items"}


def test_roles_are_told_whatever_a_folder_is_called(world: GraphWorld) -> None:
    """A well-known name means the same in every language."""
    inbox = world.store.box("inbox")
    assert inbox is not None
    inbox.name = "Posteingang"
    with world.graph(folders=EVERYTHING) as source:
        roles = {folder.name: folder.role for folder in source.folders()}

    assert roles["Posteingang"] is FolderRole.INBOX
    assert roles["Deleted Items"] is FolderRole.TRASH
    assert None not in roles.values()


def test_folders_below_folders_are_found_on_every_page(world: GraphWorld) -> None:
    """A listing comes in pages, and each folder may have others in it."""
    inbox = world.store.box("inbox")
    assert inbox is not None
    made = [world.store.make_folder(f"{number}", parent=inbox.id) for number in range(120)]
    world.store.make_folder("deep", parent=made[-1].id)
    with world.graph(folders=FolderChoice.only("Inbox/*")) as source:
        names = {folder.name for folder in source.folders()}

    assert names == {f"Inbox/{number}" for number in range(120)} | {"Inbox/119/deep"}


def test_hidden_folders_are_read_where_that_is_asked_for(world: GraphWorld) -> None:
    """And are not even named where it is not."""
    secret = world.store.make_folder("Hidden", hidden=True)
    world.store.make_folder("deeper", parent=secret.id, hidden=True)
    with world.graph(folders=EVERYTHING) as source:
        plain = {folder.name for folder in source.folders()}
    with world.graph(folders=EVERYTHING, hidden=True) as source:
        every = {folder.name for folder in source.folders()}

    assert every - plain == {"Hidden", "Hidden/deeper"}


def test_a_search_folder_is_never_read(world: GraphWorld) -> None:
    """What is in it is in another folder."""
    world.store.make_folder("Unread Mail", search=True)
    with world.graph(folders=EVERYTHING) as source:
        assert "Unread Mail" not in {folder.name for folder in source.folders()}


def test_recoverable_items_are_read_where_that_is_asked_for(world: GraphWorld) -> None:
    """What a user has deleted twice can be archived all the same."""
    item = world.store.deliver(mail(1)[0])
    world.store.move(item.id, "recoverableitemsdeletions")
    with world.graph(recoverable=True) as source:
        (read,) = read_all(source, "Deletions")
    with world.graph(folders=EVERYTHING) as source:
        assert "Deletions" not in {folder.name for folder in source.folders()}

    assert read.ref.key == item.id


def test_a_folder_that_is_not_there_is_told(world: GraphWorld) -> None:
    """A misspelt name would archive nothing for years."""
    with (
        world.graph(folders=FolderChoice.only("Inbx")) as source,
        pytest.raises(MailboxNotFound),
    ):
        source.folders()


def test_a_mailbox_without_an_archive_folder_is_read(world: GraphWorld) -> None:
    """Not every mailbox has every well-known folder."""
    archive = world.store.box("archive")
    assert archive is not None
    del world.store.boxes[archive.id]
    with world.graph() as source:
        assert [folder.name for folder in source.folders()] == ["Inbox", "Sent Items"]


def test_what_mail_cannot_reach_is_in_the_report(world: GraphWorld) -> None:
    """An in-place archive is another mailbox, which Graph's mail does not have."""
    report = Archive(world).run()

    assert "in-place-archive" in {gap.code for gap in report.gaps}


@pytest.mark.parametrize("mailbox", ["", "a b@c", "../x", "a/b", "a?b", "a#b", "\x00", "x" * 400])
def test_what_cannot_be_a_mailbox_is_refused(mailbox: str) -> None:
    """Before it is part of an address."""
    with pytest.raises(ConfigurationError):
        GraphSource(mailbox, lambda scope, refused=None: scope)


def test_times_and_flags_come_with_a_message(world: GraphWorld) -> None:
    """As IMAP names them."""
    world.store.deliver(mail(1)[0], read=True, flagged=True)
    with world.source() as source:
        (item,) = read_all(source)

    assert getattr(item, "flags", None) == {"\\Seen", "\\Flagged"}
    assert getattr(item, "received_at", None) is not None
