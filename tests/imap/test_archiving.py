"""Faults seen from the archive: a whole run on a real or a lying server, into a vault."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define, evolve, field
from support.imap import QUICK, Mailbox, PlainMailbox, scripted
from support.world import LocalParts, mail
from typing_extensions import override

from mailarchive import Archiver, Batching, Failed, UserId, Vault
from mailarchive.auth import OAuth
from mailarchive.quarantine import QuarantineFolder
from mailarchive.state import SqliteCheckpoints
from mailarchive.testing.imap_lies import (
    Poison,
    either,
    expiring,
    is_body_fetch,
    poisoned,
    renumbered,
    throttled,
)
from mailarchive.testing.imap_server import ImapServer, honest

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive import Outcome, RunReport
    from mailarchive.abc import Source
    from mailarchive.events import Event
    from mailarchive.testing.cyrus import Cyrus
    from mailarchive.testing.dovecot import Dovecot
    from mailarchive.testing.imap_server import Command, Lie, Talk

RAWS = [mail(number, size=number * 200) for number in range(1, 21)]


@define
class Archive:
    """A vault and everything that a run remembers, kept from one run to the next."""

    folder: Path
    events: list[Event] = field(factory=list)
    outcomes: list[Outcome] = field(factory=list)

    def run(self, source: Source, **settings: Any) -> RunReport:
        """Run once into the vault."""
        with Vault(self.folder / "vault", keys=None) as vault:
            plan = Archiver(
                source,
                vault,
                LocalParts(),
                state=SqliteCheckpoints(self.folder / "state.db"),
                quarantine=QuarantineFolder(self.folder / "quarantine"),
                **settings,
            )
            with plan.outcomes() as run:
                self.outcomes = list(run)
                assert run.report.adds_up
                return run.report

    def seen(self, user: str = "bob") -> list[bytes]:
        """What a user sees."""
        with Vault(self.folder / "vault") as vault:
            return sorted(each.content() for each in vault.view(UserId(user)).messages())

    def is_whole(self) -> bool:
        """Whether the user sees every message once, to the byte."""
        return self.seen() == sorted(RAWS)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An empty archive."""
    return Archive(tmp_path)


def renumber(mailbox: Mailbox, number: int) -> None:
    """Give the inbox another UIDVALIDITY, as a restored backup has."""
    options = ("--uid-validity", str(number))
    mailbox.server.doveadm("mailbox", "update", "-u", mailbox.user, *options, "INBOX")


def test_a_folder_that_was_numbered_anew_is_listed_again_and_seen_once(
    mailbox: Mailbox, archive: Archive
) -> None:
    """On a real server, into a real vault: no second visible copy, and the report says why."""
    mailbox.put(RAWS[:15])
    first = archive.run(mailbox.source())
    renumber(mailbox, 4711)
    mailbox.put(RAWS[15:])
    second = archive.run(mailbox.source())
    third = archive.run(mailbox.source())

    assert (first.stored, [folder.name for folder in first.relisted]) == (15, [])
    assert [folder.name for folder in second.relisted] == ["INBOX"]
    assert second.listed == len(RAWS)
    assert (third.listed, third.relisted, third.ok) == (0, (), True)
    assert archive.is_whole()


def test_a_folder_that_was_renamed_is_archived_as_another_and_seen_once(
    mailbox: Mailbox, archive: Archive
) -> None:
    """Each message has a new entry, which says where it is now, and is seen once."""
    mailbox.put(RAWS, "Work")
    archive.run(mailbox.source())
    mailbox.server.doveadm("mailbox", "rename", "-u", mailbox.user, "Work", "Done")
    second = archive.run(mailbox.source())

    assert (second.stored, second.present, second.relisted) == (len(RAWS), 0, ())
    assert archive.is_whole()


def test_a_folder_numbered_anew_in_the_middle_of_a_run_is_seen_once(archive: Archive) -> None:
    """What was read under the old numbers is not shown again under the new ones."""
    lie = renumbered(2, at="UID FETCH")
    with ImapServer({"INBOX": RAWS}, lie) as server:
        source = scripted(server, limits=evolve(QUICK, page=5))
        archive.run(source)
        archive.run(scripted(server))

    assert archive.is_whole()


@pytest.mark.parametrize("how", list(Poison))
def test_a_poison_waits_on_the_retry_list_while_the_run_goes_on(
    how: Poison, archive: Archive
) -> None:
    """It is the one failure; when the server has mended, the next run that may has it."""
    impatient = evolve(QUICK, read_timeout=0.15)
    with ImapServer({"INBOX": RAWS}, poisoned(7, how)) as server:
        report = archive.run(scripted(server, limits=impatient))
        failed = [each for each in archive.outcomes if isinstance(each, Failed)]
        assert (report.stored, report.failed, report.waiting) == (len(RAWS) - 1, 1, 1)
        assert [each.ref.key for each in failed] == ["1.7"]
        assert not report.ok
    with ImapServer({"INBOX": RAWS}) as server:
        source = scripted(server)
        source.name = report.source  # the same mailbox, whatever port it has today
        again = archive.run(source, retry_now=True)

    assert (again.retried, again.stored, again.waiting, again.ok) == (1, 1, 0, True)
    assert archive.is_whole()


def test_what_a_server_cannot_now_waits_on_no_retry_list(archive: Archive) -> None:
    """The run tells of the folder, and the next one takes everything."""

    def not_now(talk: Talk, command: Command) -> bool:
        if is_body_fetch(command):
            talk.no(command, b"[UNAVAILABLE] not now")
        return is_body_fetch(command)

    with ImapServer({"INBOX": RAWS}, not_now) as server:
        report = archive.run(scripted(server))
        assert not report.ok
        assert (report.failed, report.waiting, report.stored) == (0, 0, 0)
        server.lie = honest
        again = archive.run(scripted(server))

    assert (again.retried, again.stored, again.ok) == (0, len(RAWS), True)
    assert archive.is_whole()


@pytest.mark.parametrize(
    "lie",
    [
        expiring(3, connections=2),
        throttled(10, times=2),
        throttled(10, times=2, at="EXAMINE"),
        either(throttled(10), expiring(5)),
    ],
)
def test_a_server_that_interrupts_makes_no_difference(lie: Lie, archive: Archive) -> None:
    """Everything is there once, and nothing failed."""
    with ImapServer({"INBOX": RAWS}, lie) as server:
        report = archive.run(scripted(server))

    assert (report.stored, report.ok) == (len(RAWS), True)
    assert archive.is_whole()


@define
class Interrupting:
    """Breaks the connection at the first batch that is stored."""

    server: Dovecot
    user: str
    done: bool = False

    def __call__(self, event: Event) -> None:
        """Kick the user once."""
        if not self.done and type(event).__name__ == "BatchStored":
            self.done = True
            self.interrupt()

    def interrupt(self) -> None:
        """Have the server disconnect the user."""
        self.server.kick(self.user)


@define
class Expiring(Interrupting):
    """Lets the token expire as well."""

    @classmethod
    def token(cls, number: int) -> str:
        """The name of a token."""
        return f"expiring-{number}"

    @override
    def interrupt(self) -> None:
        """The old token is worth nothing any more, and the session ends."""
        self.server.tokens[self.token(2)] = self.user
        del self.server.tokens[self.token(1)]
        super().interrupt()


@define
class Killing(Interrupting):
    """Kills the process that serves the user."""

    @override
    def interrupt(self) -> None:
        """In the middle of whatever it does."""
        for process in self.server.processes(self.user):
            os.kill(process, signal.SIGKILL)


LARGE = [mail(number, size=100_000) for number in range(40)]
SMALL_STEPS = Batching(max_messages=4, max_bytes=300_000, read_ahead=300_000)


@pytest.mark.parametrize("kind", [Interrupting, Killing])
def test_a_real_server_that_breaks_off_in_the_middle_of_a_run_makes_no_difference(
    kind: type[Interrupting], mailbox: Mailbox, archive: Archive
) -> None:
    """The run connects anew and goes on inside the page."""
    mailbox.put(LARGE)
    observer = kind(mailbox.server, mailbox.user)
    report = archive.run(mailbox.source(), observer=observer, batching=SMALL_STEPS)

    assert observer.done
    assert (report.stored, report.listed, report.ok) == (len(LARGE), len(LARGE), True)
    assert archive.seen() == sorted(LARGE)


def test_a_token_that_expires_on_a_real_server_is_replaced_under_way(
    mailbox: Mailbox, archive: Archive
) -> None:
    """Dovecot asks whose each token is; the callable is asked on every connect."""
    mailbox.put(LARGE)
    mailbox.server.tokens[Expiring.token(1)] = mailbox.user
    used: list[str] = []

    def token() -> str:
        used.append(Expiring.token(len(used) + 1))
        return used[-1]

    observer = Expiring(mailbox.server, mailbox.user)
    source = mailbox.source(auth=OAuth(mailbox.user, token))
    report = archive.run(source, observer=observer, batching=SMALL_STEPS)

    assert used == [Expiring.token(1), Expiring.token(2)]
    assert (report.stored, report.ok) == (len(LARGE), True)
    assert archive.seen() == sorted(LARGE)


PIECES = evolve(QUICK, partial_octets=200_000, piece_octets=64_000)


def huge() -> list[bytes]:
    """Messages around the bound, and one of many pieces."""
    sizes = [199_000, 200_500, 64_000 * 4, 2_000_000]
    return [mail(number, size=size) for number, size in enumerate(sizes)]


def test_a_huge_message_comes_in_pieces_from_a_real_server(
    mailbox: Mailbox, archive: Archive
) -> None:
    """Each is asked for in parts (RFC 3501, 6.4.5), and comes back to the byte."""
    raws = huge()
    mailbox.put(raws)
    source = mailbox.source(limits=PIECES)
    with source:
        session = source._line.session()
        before = session.commands
        (page,) = source.scan(source.folders()[0])
        list(source.fetch(page.refs))
        assert session.commands - before > 2_000_000 / PIECES.piece_octets
    archive.run(source)

    assert archive.seen() == sorted(raws)


def test_a_huge_message_comes_in_pieces_from_another_real_server(
    cyrus_server: Cyrus, archive: Archive
) -> None:
    """The second opinion."""
    raws = huge()
    mailbox = PlainMailbox(cyrus_server, cyrus_server.new_user())
    mailbox.put(raws)
    archive.run(mailbox.source(limits=PIECES))

    assert archive.seen() == sorted(raws)
