"""What a removal removes, and what it never touches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from support.imap import archived, scripted

from mailarchive import Archived, Digest, Kept, Removed, SourceMessage, Vanished
from mailarchive.errors import MailboxNotFound
from mailarchive.sources.imap import Recheck
from mailarchive.testing.imap_server import CAPABILITIES, ImapServer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from support.imap import Mailbox, Numbered

    from mailarchive.sources.imap import ImapSource
    from mailarchive.testing.imap_server import Command, Talk


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


def test_a_message_that_is_another_one_after_the_mark_stays() -> None:
    """The last look is at what will go, and not only at whether it is marked."""

    def swap(talk: Talk, command: Command) -> bool:
        if command.name == "UID STORE" and b"+FLAGS" in command.arguments:
            talk.boxes["INBOX"].items[0].raw = b"Subject: another one\r\n\r\n"
        return False

    with ImapServer({"INBOX": [b"Subject: a\r\n\r\n"] * 2}, swap) as server:
        with scripted(server) as source:
            items = read(source, [0, 1])
            results = source.remove(items)
        left = server.boxes["INBOX"].items

    assert {type(result) for result in results} == {Kept, Removed}
    assert [(item.uid, item.flags) for item in left] == [(1, set())]


def test_without_a_size_or_bytes_to_compare_nothing_is_removed() -> None:
    """A number alone does not tell that it is still the same message."""
    with ImapServer({"INBOX": [b"Subject: a\r\n\r\n"]}) as server:
        with scripted(server, recheck=Recheck.SIZE) as source:
            (item,) = read(source, [0])
            unsized = Archived(evolve(item.ref, size=None), item.receipt)
            (result,) = source.remove([unsized])
        with scripted(server) as source:
            assert source.remove([unsized]) == (Removed(unsized.ref),)

    why = "it was listed without a size, and there is nothing to compare"
    assert result == Kept(unsized.ref, why)


@pytest.mark.parametrize("silent_from", [1, 2, 3])
@pytest.mark.parametrize("can", [CAPABILITIES, CAPABILITIES.replace(" MOVE", "")])
def test_what_a_server_lists_and_says_nothing_of_is_not_gone(silent_from: int, can: str) -> None:
    """At the first look, after the mark, or after an expunge that it has only said to do."""
    looks: list[Command] = []

    def silent(talk: Talk, command: Command) -> bool:
        look = command.name == "UID FETCH" and b"RFC822.SIZE" in command.arguments
        if look and talk.writable:
            looks.append(command)
        hushed = len(looks) >= silent_from
        if (look and hushed and talk.writable) or command.name in {"UID EXPUNGE", "UID MOVE"}:
            talk.ok(command)
            return True
        return False

    folders = {"INBOX": [b"Subject: a\r\n\r\n"], "Old": []}
    with (
        ImapServer(folders, silent, capabilities=can) as server,
        scripted(server, remove_to="Old") as source,
    ):
        items = read(source, [0])
        (result,) = source.remove(items)

    assert isinstance(result, Kept)
