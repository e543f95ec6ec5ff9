"""A folder that gives numbers again: it lost mail that is archived, and gets other mail."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from support.imap import Mailbox, inbox_of, read_all, scripted
from support.world import mail

from mailarchive import Archiver
from mailarchive.errors import CheckpointInvalid
from mailarchive.testing.dovecot import dovecot
from mailarchive.testing.imap_server import ImapServer
from mailarchive.testing.memory import MemoryCheckpoints, MemoryQuarantine, MemorySink
from mailarchive.users import StaticMap

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive import RunReport
    from mailarchive.abc import Source
    from mailarchive.testing.imap_server import Command, Talk

RAWS = [mail(number) for number in range(1, 11)]


class Archive:
    """A sink, and what a run remembers."""

    def __init__(self) -> None:
        """Begin empty."""
        self.sink, self.state = MemorySink(), MemoryCheckpoints()

    def run(self, source: Source) -> RunReport:
        """Run once."""
        nobody, quarantine = StaticMap({}), MemoryQuarantine()
        return Archiver(source, self.sink, nobody, state=self.state, quarantine=quarantine).run()

    def raws(self) -> list[bytes]:
        """What is archived, each once."""
        return sorted({entry.raw for entry in self.sink.entries.values()})


def test_a_mailbox_that_was_restored_from_a_backup_has_its_new_mail_archived(
    tmp_path: Path,
) -> None:
    """On a real server, whose UIDVALIDITY is in the backup too and stays what it was."""
    archive = Archive()
    with dovecot() as server:
        mailbox = Mailbox(server, server.new_user())
        home, backup = server.folder / "home", tmp_path / "backup"
        mailbox.put(RAWS[:3])
        shutil.copytree(home, backup)
        mailbox.put(RAWS[3:7])
        archive.run(mailbox.source())
        _restore(home, backup)
        mailbox.put(RAWS[7:9])
        second = archive.run(mailbox.source())
        third = archive.run(mailbox.source())

    assert [folder.name for folder in second.relisted] == ["INBOX"]
    assert archive.raws() == sorted(RAWS[:9])
    assert (third.listed, third.relisted, third.ok) == (0, (), True)


def _restore(home: Path, backup: Path) -> None:
    """Put a backup in the place of all mail, with the owner that the mail had."""
    owner = home.stat()
    shutil.rmtree(home)
    shutil.copytree(backup, home)
    for each in (home, *home.rglob("*")):
        shutil.chown(each, owner.st_uid, owner.st_gid)


@pytest.mark.parametrize("others", [[], ["Work"]], ids=["open", "another open"])
def test_a_number_that_no_message_has_hides_none_that_come_later(others: list[str]) -> None:
    """A server that once lists the highest of all numbers costs one more listing."""
    lies = [b"* SEARCH 1 2 4294967295\r\n"]

    def lie(talk: Talk, command: Command) -> bool:
        if command.name != "UID SEARCH" or not lies:
            return False
        talk.send(lies.pop())
        talk.ok(command)
        return True

    archive = Archive()
    with ImapServer({"INBOX": RAWS[:2], **{name: [] for name in others}}, lie) as server:
        archive.run(scripted(server))
        server.boxes["INBOX"].add(RAWS[2])
        second = archive.run(scripted(server))

    assert [folder.name for folder in second.relisted] == ["INBOX"]
    assert archive.raws() == sorted(RAWS[:3])


def test_a_folder_that_was_restored_to_nothing_is_noticed_at_once() -> None:
    """Once more mail has come than there was, nobody could tell."""
    with ImapServer({"INBOX": RAWS[:4]}) as server, scripted(server) as source:
        (page,) = inbox_of(source)
        box = server.boxes["INBOX"]
        box.items, box.uidnext = [], 1

        with pytest.raises(CheckpointInvalid, match="after a restore"):
            list(source.scan(source.folders()[0], page.token))


@pytest.mark.parametrize("breaks", [False, True], ids=["empty", "broken off"])
def test_a_folder_that_gave_numbers_again_is_listed_anew_though_nothing_was_read(
    breaks: bool,
) -> None:
    """A run saw it and archived nothing; by the next one there is more mail than before."""
    away = [False]

    def lie(talk: Talk, command: Command) -> bool:
        if command.name == "UID SEARCH" and away[0]:
            talk.no(command, b"not now")
            return True
        return False

    archive = Archive()
    with ImapServer({"INBOX": RAWS[:3]}, lie) as server:
        archive.run(scripted(server))
        box = server.boxes["INBOX"]
        box.items, box.uidnext = [], 1
        if breaks:
            box.add(RAWS[3])
            away[0] = True
        seen = archive.run(scripted(server))
        away[0] = False
        for raw in RAWS[3 + breaks : 9]:
            box.add(raw)
        after = archive.run(scripted(server))

    assert [folder.name for folder in seen.relisted] == ["INBOX"]
    assert (seen.ok, after.ok, after.relisted) == (not breaks, True, ())
    assert archive.raws() == sorted(RAWS[:9])


def test_a_count_that_lags_behind_is_no_sign_of_a_restore() -> None:
    """What STATUS tells may be old; the folder itself says how far its numbers go."""

    def lag(talk: Talk, command: Command) -> bool:
        if command.name != "STATUS":
            return False
        talk.send(b"* STATUS INBOX (MESSAGES 2 UIDNEXT 3 UIDVALIDITY 1)\r\n")
        talk.ok(command)
        return True

    with ImapServer({"INBOX": RAWS[:4]}, lag) as server:
        with scripted(server) as source:
            (page,) = inbox_of(source)
        with scripted(server) as source:
            assert list(source.scan(source.folders()[0], page.token)) == []
            server.boxes["INBOX"].add(RAWS[4])
            assert len(read_all(source)) == 5
