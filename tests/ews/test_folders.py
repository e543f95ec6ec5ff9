"""Which folders and items a mailbox has, and which of them are archived."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from support.ews import ALICE, Desk, listed, pages, raws, read

from mailarchive import FolderRole, SourceMessage
from mailarchive.errors import ConfigurationError, MailboxNotFound, SourceError
from mailarchive.sources.ews import Access, Contents, EwsLimits, FolderChoice, Store

ALL = FolderChoice.everything()


def names(desk: Desk, **settings: object) -> tuple[set[str], set[str]]:
    """The folders that are archived, and those that are left out."""
    with desk.source(**settings) as source:
        taken = {folder.name for folder in source.folders()}
        return taken, {folder.name for folder in source.left_out}


def test_a_mailbox_is_its_mail_folders(desk: Desk) -> None:
    """Drafts, junk and deleted items, calendars, contacts and tasks are named as left out."""
    projects = desk.mailbox.add_folder("Projects")
    desk.mailbox.add_folder("Alpha", projects)
    desk.mailbox.add_folder("Hidden", hidden=True)
    desk.mailbox.add_folder("Searches", search=True)
    taken, left_out = names(desk, folders=FolderChoice())

    assert taken == {"Inbox", "Sent Items", "Outbox", "Projects", "Projects/Alpha"}
    assert left_out >= {"Drafts", "Junk Email", "Deleted Items", "Calendar", "Contacts", "Tasks"}
    assert left_out >= {"Hidden", "Searches"}


def test_roles_come_from_the_server_and_not_from_names(desk: Desk) -> None:
    """A folder is what it is for, however it is called and wherever it is."""
    desk.mailbox.folder("sentitems").name = "Odeslaná pošta"
    desk.mailbox.add_folder("Sent Items")
    with desk.source(folders=ALL) as source:
        roles = {folder.name: folder.role for folder in source.folders()}

    assert roles["Odeslaná pošta"] is FolderRole.SENT
    assert roles["Sent Items"] is None
    assert roles["Inbox"] is FolderRole.INBOX
    assert roles["Deleted Items"] is FolderRole.TRASH


def test_every_kind_of_folder_can_be_chosen(desk: Desk) -> None:
    """A folder without a class, as migrations leave them, is one of mail."""
    desk.mailbox.add_folder("Migrated", folder_class="")
    desk.mailbox.add_folder("Hidden", hidden=True)
    desk.mailbox.add_folder("Search", search=True)
    taken, _ = names(desk, folders=ALL)
    everything, left_out = names(
        desk, folders=ALL, contents=Contents(folder_classes=("*",), hidden_folders=True)
    )

    assert "Migrated" in taken
    assert everything > {"Migrated", "Hidden", "Calendar", "Contacts", "Tasks"}
    assert left_out == {"Search"}


def test_the_archive_and_recoverable_items_are_stores_of_their_own(desk: Desk) -> None:
    """Under paths that no folder of the mailbox has."""
    box = desk.mailbox
    old = box.add_folder("2019", "archivemsgfolderroot")
    box.deliver(b"Subject: old\r\n\r\n", old)
    box.deliver(b"Subject: gone\r\n\r\n", "recoverableitemsdeletions")
    stores = Contents(stores=tuple(Store)[:4])
    with desk.source(folders=ALL, contents=stores) as source:
        found = {folder.name for folder in source.folders()}
        archived = read(source, "In-Place Archive/2019")
        recovered = read(source, "Recoverable Items/Deletions")

    assert raws(archived) == [b"Subject: old\r\n\r\n"]
    assert raws(recovered) == [b"Subject: gone\r\n\r\n"]
    assert "In-Place Archive Recoverable Items/Deletions" in found
    assert names(desk, folders=ALL)[0].isdisjoint(found - {f for f in found if "/" not in f})


def test_public_folders_are_read_a_level_at_a_time(desk: Desk) -> None:
    """The only way that Exchange lists them."""
    public = desk.server.world.public
    forum = public.add_folder("Forum", desk.server.public_top)
    public.deliver(b"Subject: post\r\n\r\n", public.add_folder("Board", forum))
    contents = Contents(stores=(Store.PUBLIC,))
    with desk.source(folders=ALL, contents=contents) as source:
        assert {f.name for f in source.folders()} == {
            "Public Folders/Forum",
            "Public Folders/Forum/Board",
        }
        assert raws(read(source, "Public Folders/Forum/Board")) == [b"Subject: post\r\n\r\n"]


def test_a_mailbox_without_an_archive_is_archived_and_the_gap_is_named(desk: Desk) -> None:
    """One setting serves a whole organisation; where nothing is left it is an error."""
    for each in list(desk.mailbox.folders.values()):
        if each.distinguished == "archivemsgfolderroot":
            del desk.mailbox.folders[each.id]
    with desk.source(contents=Contents(stores=(Store.PRIMARY, Store.ARCHIVE))) as source:
        assert [folder.name for folder in source.folders()] == ["Inbox"]
        (gap,) = source.gaps()
        assert (gap.code, "archive" in gap.message) == ("store-missing", True)
    with pytest.raises(MailboxNotFound):
        names(desk, contents=Contents(stores=(Store.ARCHIVE,)))


def test_messages_beside_every_folder_are_found(desk: Desk) -> None:
    """The top of a store is a folder too, where it holds something."""
    desk.mailbox.deliver(b"Subject: lost\r\n\r\n", "msgfolderroot")
    with desk.source(folders=ALL) as source:
        assert raws(read(source, "Top of Information Store")) == [b"Subject: lost\r\n\r\n"]


def test_hidden_and_other_items_are_a_choice(desk: Desk) -> None:
    """Rules and views are messages too; only who asks for them gets them."""
    desk.mailbox.deliver(b"Subject: mail\r\n\r\n")
    desk.mailbox.deliver(b"Subject: rule\r\n\r\n", associated=True, item_class="IPM.Rule")
    desk.mailbox.deliver(b"Subject: task\r\n\r\n", item_class="IPM.Task")
    desk.mailbox.deliver(b"Subject: x\r\n\r\n", item_class="IPM.Unheard.Of")
    counts = []
    for contents in (
        Contents(),
        Contents(item_classes=("IPM.Note*",)),
        Contents(associated=True),
    ):
        with desk.source(contents=contents) as source:
            counts.append(len(read(source)))

    assert counts == [3, 1, 4]


def test_what_changes_is_listed_again_and_what_is_read_is_not(desk: Desk) -> None:
    """Another revision is another copy; a message that somebody read is the same one."""
    first, second, third = (desk.mailbox.deliver(b"Subject: %d\r\n\r\n" % n) for n in range(3))
    with desk.source() as source:
        before = {ref.key: ref for ref in listed(source)}
        token = pages(source)[-1].token
        desk.mailbox.change(first, b"Subject: edited\r\n\r\n")
        desk.mailbox.read(second)
        desk.mailbox.delete(third)
        news = [ref for page in pages(source, token) for ref in page.refs]
        items = list(source.fetch(news))

    assert [ref.key for ref in news] == [first.id]
    assert news[0].revision != before[first.id].revision
    assert raws(items) == [b"Subject: edited\r\n\r\n"]


def test_state_of_an_item_comes_as_flags(desk: Desk) -> None:
    """Read and flagged, as IMAP would tell them; the time is UTC, fraction or not."""
    when = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    item = desk.mailbox.deliver(b"Subject: x\r\n\r\n", received_at=when)
    desk.mailbox.read(item)
    desk.mailbox.flag(item)
    for fraction in ("", ".1234567"):
        desk.server.world.fraction = fraction
        with desk.source() as source:
            (message,) = read(source)
        assert isinstance(message, SourceMessage)
        assert message.flags == {"\\Seen", "\\Flagged"}
        assert message.received_at is not None
        assert message.received_at.replace(microsecond=0) == when


def test_mime_that_is_made_anew_on_each_request_is_one_message(desk: Desk) -> None:
    """Bytes are no part of a rendered message's identity; the source says that they are so."""
    counter = iter(range(100))
    desk.server.world.render = lambda raw: b"X-Made: %d\r\n" % next(counter) + raw
    desk.deliver(1)
    with desk.source() as source:
        first, second = read(source), read(source)
        assert source.capabilities.fidelity == "rendered"

    assert raws(first) != raws(second)
    assert first[0].ref == second[0].ref


def test_pages_of_folders_are_followed_to_the_end(desk: Desk) -> None:
    """Exchange tells at most so many at once."""
    for number in range(600):
        desk.mailbox.add_folder(f"f{number:03}")
    taken, _ = names(desk, folders=FolderChoice.only("f*"))

    assert len(taken) == 600


def test_more_folders_than_the_limit_are_an_error(desk: Desk) -> None:
    """And not a loop without end."""
    with pytest.raises(SourceError):
        names(desk, limits=EwsLimits(folders=5))


def test_a_folder_that_was_asked_for_and_is_not_there_is_an_error(desk: Desk) -> None:
    """A misspelt name must not archive nothing."""
    with pytest.raises(MailboxNotFound):
        names(desk, folders=FolderChoice.only("Inbx"))


def test_an_impersonating_service_reads_every_mailbox_it_may(desk: Desk) -> None:
    """It needs no mailbox of its own, and each is checked to be the right one."""
    desk.server.add_user("svc", password="s", impersonates=True)
    desk.deliver(2)
    from mailarchive.auth import Password

    with desk.source(auth=Password("svc", "s"), access=Access.IMPERSONATION) as source:
        assert len(read(source)) == 2
    anchors = [call for call in desk.server.transcript if ALICE.encode() in call[0]]
    assert anchors


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "imap.example.com"},
        {"url": "ftp://example.com/"},
        {"url": "https://user:secret@example.com/"},
        {"url": "https://[::1/"},
        {"allow_plaintext": False},
        {"access": "owner"},
        {"mailbox": ""},
        {"mailbox": "EXAMPLE\\alice"},
        {"mailbox": "a\nb@example.com"},
        {"method": "digest"},
        {"disposal": "Shred"},
        {"ca_file": "/nowhere.pem", "url": "https://localhost/"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_wrong_settings_are_said_before_anything_is_connected(
    desk: Desk, settings: dict[str, object]
) -> None:
    """With the setting to change, and no secret."""
    with pytest.raises(ConfigurationError) as caught:
        desk.source(**settings)

    assert caught.value.suggestions
    assert "secret" not in str(caught.value)
    assert desk.server.calls == []


def test_a_choice_of_stores_must_be_one() -> None:
    """Named as the settings name them."""
    with pytest.raises(ConfigurationError):
        Contents(stores=("attic",))
    with pytest.raises(ConfigurationError):
        Contents(stores=())
