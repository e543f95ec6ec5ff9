"""What a removal removes, and what it never touches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from support.imap import archived

from mailarchive import Archived, Digest, Kept, Removed, SourceMessage, Vanished
from mailarchive.errors import MailboxNotFound
from mailarchive.sources.imap import Recheck

if TYPE_CHECKING:
    from collections.abc import Iterable

    from support.imap import Mailbox, Numbered

    from mailarchive.sources.imap import ImapSource


def read(source: ImapSource, numbers: Iterable[int]) -> list[Archived]:
    """The n-th messages of the inbox, archived."""
    (page,) = source.scan(source.folders()[0])
    found = [item for item in source.fetch(page.refs) if isinstance(item, SourceMessage)]
    return [archived(found[number]) for number in numbers]


def uids(mailbox: Mailbox, folder: str = "INBOX") -> list[int]:
    """The UIDs that are in a folder."""
    return [int(line.split(b"UID ")[1].split()[0]) for line in mailbox.state(folder)]


def test_exactly_what_has_a_receipt_is_removed(mailbox: Mailbox, numbered: Numbered) -> None:
    """The others stay, those that somebody else marked as deleted included."""
    mailbox.put(numbered(6))
    mailbox.put(numbered(1), flags=[r"\Deleted"])
    with mailbox.source() as source:
        items = read(source, [1, 3])

        results = source.remove(items)

    assert results == (Removed(items[0].ref), Removed(items[1].ref))
    assert uids(mailbox) == [1, 3, 5, 6, 7]


def test_removing_again_is_harmless(mailbox: Mailbox, numbered: Numbered) -> None:
    """What is gone has vanished, and nothing else goes in its place."""
    mailbox.put(numbered(3))
    with mailbox.source() as source:
        items = read(source, [0, 1])
        source.remove(items)

        assert source.remove(items) == tuple(Vanished(item.ref) for item in items)

    assert uids(mailbox) == [3]


def test_a_flagged_message_stays(mailbox: Mailbox, numbered: Numbered) -> None:
    """Somebody wants to come back to it."""
    mailbox.put(numbered(2), flags=[r"\Flagged"])
    with mailbox.source() as source:
        items = read(source, [0, 1])

        assert source.remove(items) == tuple(Kept(item.ref, "flagged") for item in items)

    assert len(mailbox.state()) == 2


def test_a_message_with_other_bytes_than_the_receipt_stays(
    mailbox: Mailbox, numbered: Numbered
) -> None:
    """The bytes are read once more and compared with what the archive says it has."""
    mailbox.put(numbered(2))
    with mailbox.source() as source:
        first, second = read(source, [0, 1])
        other = Archived(
            first.ref, evolve(first.receipt, stored_digest=Digest.of(b"something else"))
        )

        results = source.remove([other, second])

    assert {type(result) for result in results} == {Kept, Removed}
    assert uids(mailbox) == [1]


def test_a_message_of_another_size_stays(mailbox: Mailbox, numbered: Numbered) -> None:
    """Where bytes are not compared, the size that was listed still must be the same."""
    mailbox.put(numbered(2))
    with mailbox.source(recheck=Recheck.SIZE) as source:
        first, second = read(source, [0, 1])
        other = Archived(evolve(first.ref, size=7), first.receipt)

        results = source.remove([other, second])

    assert results == (
        Kept(other.ref, "changed: it has another size"),
        Removed(second.ref),
    )


def test_a_folder_that_was_numbered_anew_keeps_everything(
    mailbox: Mailbox, numbered: Numbered
) -> None:
    """The UIDs of a receipt name other messages by then."""
    mailbox.put(numbered(2))
    with mailbox.source() as source:
        items = read(source, [0, 1])
    mailbox.server.doveadm(
        "mailbox", "update", "-u", mailbox.user, "--uid-validity", "99", "INBOX"
    )
    with mailbox.source() as source:
        results = source.remove(items)

    assert all(isinstance(result, Kept) for result in results)
    assert len(mailbox.state()) == 2


def test_what_an_earlier_attempt_marked_is_finished(mailbox: Mailbox, numbered: Numbered) -> None:
    """A crash between marking and expunging leaves nothing behind for good."""
    mailbox.put(numbered(2))
    with mailbox.source() as source:
        items = read(source, [0])
        with mailbox.raw() as other:
            other.command("SELECT INBOX")
            other.command(r"UID STORE 1 +FLAGS.SILENT (\Deleted)")

        assert source.remove(items) == (Removed(items[0].ref),)

    assert uids(mailbox) == [2]


def test_messages_can_be_moved_instead(mailbox: Mailbox, numbered: Numbered) -> None:
    """They are whole in the other folder, which is not archived itself."""
    raws = numbered(3)
    mailbox.put(raws)
    mailbox.put([], "Done/Archived")
    with mailbox.source(remove_to="Done/Archived") as source:
        assert "Done/Archived" not in {folder.name for folder in source.folders()}
        items = read(source, [0, 2])

        assert source.remove(items) == tuple(Removed(item.ref) for item in items)

    assert uids(mailbox) == [2]
    assert len(mailbox.state("Done/Archived")) == 2


def test_a_folder_to_move_to_that_is_not_there_is_told(
    mailbox: Mailbox, numbered: Numbered
) -> None:
    """Nothing is removed, and the setting is named."""
    mailbox.put(numbered(1))
    with mailbox.source() as source:
        items = read(source, [0])
    with (
        mailbox.source(remove_to="Nowhere") as source,
        pytest.raises(MailboxNotFound, match="not there") as caught,
    ):
        source.remove(items)

    assert "remove_to" in caught.value.suggestions[0]
    assert len(mailbox.state()) == 1


def test_a_mailbox_that_was_removed_from_is_read_on(mailbox: Mailbox, numbered: Numbered) -> None:
    """Removing a page between two pages of a scan does not disturb the scan."""
    mailbox.put(numbered(9))
    with mailbox.source(limits=evolve(mailbox.source()._limits, page=2)) as source:
        seen = 0
        for page in source.scan(source.folders()[0]):
            found = [item for item in source.fetch(page.refs) if isinstance(item, SourceMessage)]
            seen += len(found)
            assert all(
                isinstance(result, Removed)
                for result in source.remove([archived(item) for item in found])
            )

    assert seen == 9
    assert mailbox.state() == []
