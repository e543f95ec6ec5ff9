"""A crash at every write of a whole run into a real vault, singly and in pairs."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from support import journal

from mailarchive import Archiver, Removal, UserId, Vault
from mailarchive.decoding import JournalMailbox
from mailarchive.quarantine import QuarantineFolder
from mailarchive.state import SqliteCheckpoints
from mailarchive.testing.fuse import Crash, Fuse
from mailarchive.testing.memory import MemorySource
from mailarchive.testing.reports import report
from mailarchive.users import StaticMap

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAILS = tuple(journal.mailbox(3))
BROKEN = report(subject="broken", defects=["original_missing"])
USERS = StaticMap({each: user for user, all_ in journal.USERS.items() for each in all_})


class Case:
    """A source in memory, which outlives a crash as a server does, and a vault on disk."""

    def __init__(self, folder: Path) -> None:
        self.vault = folder / "vault"
        self.source = MemorySource(page_size=2)
        for raw in (*(mail.raw for mail in MAILS), BROKEN):
            self.source.add(raw)

    def run(self, fuse: Callable[[str], None]) -> None:
        """Run with removal, everything that writes on one fuse."""
        self.source.fuse = fuse
        with Vault(self.vault, keys=None, fuse=fuse) as vault:
            Archiver(
                self.source,
                vault,
                USERS,
                decoder=JournalMailbox(),
                removal=Removal.when_archived(),
                state=SqliteCheckpoints(self.vault / "state.db", fuse=fuse),
                quarantine=QuarantineFolder(self.vault / "quarantine", fuse=fuse),
            ).run()

    def crash(self, at: int) -> None:
        """Run until the crash at a step."""
        with suppress(Crash):
            self.run(Fuse(at))

    def check(self) -> None:
        """After one clean run all is there once, readable, and removed where it may be."""
        self.run(lambda step: None)
        with Vault(self.vault) as vault:
            entries = list(vault.auditor("test", "checking").entries())
            assert sorted(e.raw() for e in entries) == sorted(mail.raw for mail in MAILS)
            assert vault.verify("content").ok
            for user in journal.USERS:
                mine = [mail for mail in MAILS if user in mail.users]
                assert vault.view(UserId(user)).count() == len(mine)
        quarantine = QuarantineFolder(self.vault / "quarantine")
        assert [quarantine.read(held.id).raw for held in quarantine.list()] == [BROKEN]
        assert self.source.contents() == [BROKEN]
        (checkpoint,) = SqliteCheckpoints(self.vault / "state.db").all()
        assert (checkpoint.removing, checkpoint.retry) == ((), ())


STEPS = 80
"""More than a run has; a test says so."""


def test_the_steps_of_a_run_are_all_walked(tmp_path: Path) -> None:
    """The numbers in the tests below reach past the last step."""
    steps = Fuse().count(Case(tmp_path).run)

    assert STEPS // 2 < steps < STEPS


@pytest.mark.parametrize("at", range(STEPS))
def test_a_crash_at_any_write_loses_nothing(at: int, tmp_path: Path) -> None:
    """One clean run after it leaves the same as if nothing had happened."""
    case = Case(tmp_path)
    case.crash(at)

    case.check()


@pytest.mark.parametrize("first", range(STEPS))
def test_two_crashes_in_a_row_lose_nothing(first: int, tmp_path: Path) -> None:
    """Nor does a crash of the run that repairs the first, at every seventh of its steps."""
    for second in range(first % 7, STEPS, 7):
        case = Case(tmp_path / str(second))
        case.crash(first)
        case.crash(second)

        case.check()
