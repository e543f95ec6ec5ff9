"""What a server will not do is told by its reason, and what it will do later is done later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve, field, frozen
from support.imap import QUICK, Mailbox, archived, read_all, scripted
from support.world import LocalParts, mail

from mailarchive import Archiver, Kept, Removal, Removed
from mailarchive.errors import SourceError
from mailarchive.testing.dovecot import Dovecot, dovecot
from mailarchive.testing.imap_server import CAPABILITIES, ImapServer
from mailarchive.testing.memory import MemoryCheckpoints, MemoryQuarantine, MemorySink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.imap import Numbered

    from mailarchive import RunReport
    from mailarchive.sources.imap import ImapSource
    from mailarchive.testing.imap_server import Command, Talk

STRICT = """
mail_plugins = acl
protocol imap {
  mail_plugins = acl imap_acl
  imap_max_line_length = 1024
}
plugin {
  acl = vfile
}
"""


@pytest.fixture(scope="module")
def strict() -> Iterator[Dovecot]:
    """A real Dovecot with access control, which takes short commands only."""
    with dovecot(extra=STRICT) as running:
        yield running


MAY_NOT = "this login may not remove here (it needs the rights t and e)"


def grant(mailbox: Mailbox, *rights: str) -> None:
    """Let the owner do so much with the inbox and no more."""
    mailbox.server.doveadm("acl", "set", "-u", mailbox.user, "INBOX", "owner", *rights)


def test_who_may_not_mark_is_told_so_and_not_that_something_changed(
    strict: Dovecot, numbered: Numbered
) -> None:
    """A real server answers OK to a mark that it does not set: it is asked for the rights."""
    mailbox = Mailbox(strict, strict.new_user())
    mailbox.put(numbered(3))
    grant(mailbox, "lookup", "read", "write", "write-seen")
    with mailbox.source() as source:
        gone = [archived(each) for each in read_all(source)]
        session = source._line.session()
        before = session.commands
        results = list(source.remove(gone))
        assert session.commands - before == 1

    assert {each.why for each in results if isinstance(each, Kept)} == {MAY_NOT}
    assert len(results) == 3
    assert not [line for line in mailbox.state() if b"Deleted" in line]


def test_a_server_that_marks_nothing_and_does_not_tell_rights_is_found_out(
    numbered: Numbered,
) -> None:
    """It answers OK to the mark, and is not told to expunge."""

    def lie(talk: Talk, command: Command) -> bool:
        if command.name != "UID STORE":
            return False
        talk.ok(command)
        return True

    with (
        ImapServer({"INBOX": numbered(2)}, lie) as server,
        scripted(server) as source,
    ):
        results = list(source.remove([archived(each) for each in read_all(source)]))
        names = {command.name for command in server.commands}

    assert {each.why for each in results if isinstance(each, Kept)} == {
        "the server takes no mark: this login may not remove here"
    }
    assert "UID EXPUNGE" not in names


def test_who_may_remove_is_asked_once_a_run(strict: Dovecot, numbered: Numbered) -> None:
    """A real server tells the rights; they cost one command, and nothing stays."""
    mailbox = Mailbox(strict, strict.new_user())
    mailbox.put(numbered(3))
    counts = []
    with mailbox.source() as source:
        gone = [archived(one) for one in read_all(source)]
        for each in gone:
            before = source._line.session().commands
            assert [type(one) for one in source.remove([each])] == [Removed]
            counts.append(source._line.session().commands - before)

    asked = set(source._rights._known)
    assert (asked, counts[1]) == ({"INBOX"}, counts[2])
    assert not mailbox.state()


def test_a_folder_that_takes_nothing_is_told_before_a_message_is_read(
    strict: Dovecot, numbered: Numbered
) -> None:
    """What cannot be moved there is not compared for it, and stays as it is."""
    mailbox = Mailbox(strict, strict.new_user())
    mailbox.put(numbered(2))
    with mailbox.raw() as connection:
        connection.command("CREATE Done")
    rights = ("lookup", "read", "write", "write-seen")
    mailbox.server.doveadm("acl", "set", "-u", mailbox.user, "Done", "owner", *rights)
    with mailbox.source(remove_to="Done") as source:
        results = list(source.remove([archived(each) for each in read_all(source)]))

    whys = {each.why for each in results if isinstance(each, Kept)}
    assert whys == {"this login may not put messages into the folder of remove_to (the right i)"}
    assert len(mailbox.state()) == 2


@pytest.mark.parametrize(
    ("words", "answer", "kept"),
    [
        ("ACL RIGHTS=texk", b'* MYRIGHTS "INBOX" lrs\r\n', True),
        ("ACL RIGHTS=texk", b"* MYRIGHTS INBOX lrstei\r\n", False),
        ("ACL RIGHTS=texk", b"* MYRIGHTS INBOX lrsid\r\n", True),
        ("ACL", b"* MYRIGHTS INBOX lrsid\r\n", False),
        ("ACL", b'* MYRIGHTS INBOX ""\r\n', True),
        ("ACL", b"* MYRIGHTS INBOX (d)\r\n", False),
        ("ACL", b"* MYRIGHTS\r\n", False),
        ("ACL", b"", False),
        ("ACL", None, False),
        ("", b"* MYRIGHTS INBOX lrs\r\n", False),
    ],
)
def test_rights_are_read_as_the_server_means_them(
    words: str, answer: bytes | None, kept: bool
) -> None:
    """In both versions of ACL; one that says nothing of use, or has none, is tried."""

    def lie(talk: Talk, command: Command) -> bool:
        if command.name != "MYRIGHTS":
            return False
        if answer is None:
            talk.no(command)
        else:
            talk.send(answer)
            talk.ok(command)
        return True

    boxes = {"INBOX": [mail(number) for number in range(3)]}
    with ImapServer(boxes, lie, capabilities=f"{CAPABILITIES} {words}") as server:
        with scripted(server) as source:
            gone = [archived(each) for each in read_all(source)]
            before = len(server.commands)
            results = [*source.remove(gone[:1]), *source.remove(gone[1:])]
        names = [command.name for command in server.commands[before:]]

    assert [type(each) for each in results] == [Kept if kept else Removed] * 3
    assert names.count("MYRIGHTS") == bool(words)
    assert ("UID FETCH" in names) == (not kept)


def test_a_pause_that_is_asked_for_is_kept_before_the_rights_are(numbered: Numbered) -> None:
    """It is no answer about rights, and the question is asked again."""
    busy = [True]

    def lie(talk: Talk, command: Command) -> bool:
        if command.name != "MYRIGHTS":
            return False
        if busy and busy.pop():
            talk.no(command, b"Request is throttled. Suggested Backoff Time: 1 milliseconds")
        else:
            talk.send(b"* MYRIGHTS INBOX lr\r\n")
            talk.ok(command)
        return True

    with (
        ImapServer({"INBOX": numbered(1)}, lie, capabilities=f"{CAPABILITIES} ACL") as server,
        scripted(server) as source,
    ):
        (result,) = source.remove([archived(each) for each in read_all(source)])

    assert isinstance(result, Kept)
    assert result.why == MAY_NOT


def test_a_server_that_takes_short_commands_only_names_the_limit_to_lower(
    strict: Dovecot, numbered: Numbered
) -> None:
    """And with it everything is read and removed."""
    mailbox = Mailbox(strict, strict.new_user())
    mailbox.put(numbered(600))
    with mailbox.raw() as connection:
        connection.command("SELECT INBOX")
        for first in range(1, 600, 100):
            odd = ",".join(str(uid) for uid in range(first, first + 100, 2))
            connection.command(f"UID STORE {odd} +FLAGS.SILENT (\\Deleted)")
        connection.command("EXPUNGE")

    with mailbox.source() as source, pytest.raises(SourceError) as caught:
        read_all(source)
    assert any("command_octets" in each for each in caught.value.suggestions)

    with mailbox.source(limits=evolve(QUICK, command_octets=900)) as source:
        results = list(source.remove([archived(each) for each in read_all(source)]))
    assert [type(each) for each in results] == [Removed] * 300


@frozen
class Memory:
    """What one run after the other remembers."""

    sink: MemorySink = field(factory=MemorySink)
    state: MemoryCheckpoints = field(factory=MemoryCheckpoints)

    def run(self, source: ImapSource) -> RunReport:
        """Archive and remove."""
        removal = Removal.when_archived()
        plan = Archiver(
            source,
            self.sink,
            LocalParts(),
            state=self.state,
            quarantine=MemoryQuarantine(),
            removal=removal,
        )
        return plan.run()


@pytest.mark.parametrize("code", ["UNAVAILABLE", "INUSE", "SERVERBUG"])
@pytest.mark.parametrize("name", ["UID STORE", "UID COPY", "UID EXPUNGE", "UID MOVE"])
def test_what_a_server_cannot_remove_now_is_removed_by_the_next_run(name: str, code: str) -> None:
    """It is still to be removed, and the report says that the folder is not done."""
    busy = [True]

    def lie(talk: Talk, command: Command) -> bool:
        if command.name != name or not busy[0]:
            return False
        talk.no(command, b"[%b] later" % code.encode())
        return True

    can = CAPABILITIES if name == "UID MOVE" else CAPABILITIES.replace(" MOVE", "")
    raws = [mail(number) for number in range(3)]
    with ImapServer({"INBOX": raws, "Done": []}, lie, capabilities=can) as server:
        memory = Memory()
        first = memory.run(scripted(server, remove_to="Done"))
        busy[0] = False
        second = memory.run(scripted(server, remove_to="Done"))
        boxes = {key: sorted(each.raw for each in box.items) for key, box in server.boxes.items()}

    assert [(each.code, first.kept) for each in first.failures] == [("source-unavailable", 0)]
    assert (second.removed, second.kept, second.ok) == (3, 0, True)
    assert boxes == {"INBOX": [], "Done": raws}


def test_a_report_counts_what_was_not_removed_by_its_reason() -> None:
    """Each in the words of the source."""
    raws = [mail(number) for number in range(3)]

    def lie(talk: Talk, command: Command) -> bool:
        if command.name != "UID MOVE":
            return False
        talk.no(command, b"[OVERQUOTA] full")
        return True

    with ImapServer({"INBOX": raws, "Done": []}, lie) as server:
        server.boxes["INBOX"].items[0].flags.add(b"\\Flagged")
        report = Memory().run(scripted(server, remove_to="Done"))

    refused = ("the server refuses: NO [OVERQUOTA]", 2)
    assert (report.kept, report.kept_because) == (3, (refused, ("flagged", 1)))
