"""A crash at any step: what got its 250 is in the archive, and what comes again is there once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import journal
from support.smtp import receiving

from mailarchive import UserId, Vault
from mailarchive.decoding import JournalMailbox
from mailarchive.quarantine import QuarantineFolder
from mailarchive.testing.fuse import Crash, Fuse
from mailarchive.testing.reports import report
from mailarchive.users import StaticMap

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive.testing.fuse import Fuse as AnyFuse

MAILS = tuple(journal.mailbox(3))
BROKEN = report(subject="broken", defects=["original_missing"])
RAWS = [*(mail.raw for mail in MAILS), BROKEN]
USERS = StaticMap({each: user for user, all_ in journal.USERS.items() for each in all_})
STEPS = 40
"""More than a receiver has for these; a test says so."""


def deliver(folder: Path, raws: list[bytes], fuse: AnyFuse) -> list[bytes]:
    """Send what a relay has in its queue, and return what stays there: no 250, no mercy."""
    left = list(raws)
    with Vault(folder / "vault", keys=None):
        pass  # that making one may crash is a law of its own
    with receiving(
        open_sink=lambda: Vault(folder / "vault", fuse=fuse),
        users=USERS,
        decoder=JournalMailbox(),
        quarantine=QuarantineFolder(folder / "quarantine", fuse=fuse),
        fuse=fuse,
    ) as running:
        for raw in raws:
            if running.error is not None:
                break
            try:
                with running.raw() as client:
                    if client.hello().envelope().data(raw + b".\r\n").startswith(b"250"):
                        left.remove(raw)
            except (AssertionError, OSError):
                continue  # it is not there any more
    assert running.error is None or isinstance(running.error, Crash)
    return left


def check(folder: Path, left: list[bytes]) -> None:
    """Once the rest came again all is there, once."""
    assert deliver(folder, left, Fuse()) == []
    with Vault(folder / "vault") as vault:
        entries = list(vault.auditor("test", "checking").entries())
        assert sorted(e.raw() for e in entries) == sorted(mail.raw for mail in MAILS)
        assert vault.verify("content").ok
        for user in journal.USERS:
            mine = [mail for mail in MAILS if user in mail.users]
            assert vault.view(UserId(user)).count() == len(mine)
    quarantine = QuarantineFolder(folder / "quarantine")
    assert [quarantine.read(held.id).raw for held in quarantine.list()] == [BROKEN]


def test_the_steps_are_all_walked(tmp_path: Path) -> None:
    """The numbers below reach past the last step, and each answer is a step."""
    fuse = Fuse()
    assert deliver(tmp_path, RAWS, fuse) == []

    assert STEPS // 2 < len(fuse.steps) < STEPS
    assert fuse.steps.count("answer") == len(RAWS)


@pytest.mark.parametrize("at", range(STEPS))
def test_a_crash_at_any_step_loses_nothing(at: int, tmp_path: Path) -> None:
    """Between the receipt and the 250 too: then it comes again, and is there once."""
    left = deliver(tmp_path, RAWS, Fuse(at))

    check(tmp_path, left)
