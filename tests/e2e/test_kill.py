"""The real command, killed with SIGKILL at its system calls while it empties a real mailbox."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from support import job, journal
from support.inbox import contents
from support.powerloss import unmeasured

from mailarchive import UserId, Vault
from mailarchive._cli import _vaults
from mailarchive.testing.reports import report

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive.testing.dovecot import Dovecot

CALLS = "write,pwrite64,fsync,fdatasync,rename,renameat2,unlink,mkdir,ftruncate,sendto,flock"
"""Everything with which a run changes a disk or speaks to a server."""

PLACES = 60
MAILS = tuple(journal.mailbox(6))
BROKEN = report(subject="broken", defects=["original_missing"])


def run(file: Path, *strace: str) -> int:
    """Run the real command, under strace where it is told to; return the exit status."""
    tracer = ["strace", "-f", "-qq", "-e", f"trace={CALLS}", *strace] if strace else []
    command = [*tracer, sys.executable, "-m", "mailarchive", "run", str(file), "--quiet"]
    return subprocess.run(
        command, capture_output=True, check=False, timeout=120, env=unmeasured()
    ).returncode


def scene(folder: Path, server: Dovecot) -> tuple[Path, str]:
    """A fresh mailbox with a few reports, and a job that empties it."""
    mailbox = server.new_user()
    server.put(mailbox, [*(mail.raw for mail in MAILS), BROKEN])
    return job.write(folder, server, mailbox, security="plain", remove=True), mailbox


def check(folder: Path, server: Dovecot, mailbox: str) -> None:
    """Everything is archived once, and only what could not be is left at the server."""
    with Vault(folder / "acme.vault") as vault:
        stored = [entry.raw() for entry in vault.auditor("test", "checking").entries()]
        assert sorted(stored) == sorted(mail.raw for mail in MAILS)
        assert vault.verify("content").ok
        for user in journal.USERS:
            mine = [mail for mail in MAILS if user in mail.users]
            assert vault.view(UserId(user)).count() == len(mine)
    quarantine = _vaults.quarantine_of(folder / "acme.vault")
    assert [quarantine.read(held.id).raw for held in quarantine.list()] == [BROKEN]
    assert contents(server, mailbox) == [BROKEN]


@pytest.fixture(scope="session")
def points(server: Dovecot, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int]]:
    """Each system call of a whole run by its name and number; threads are counted apart.

    (strace counts for each thread: the one that reads from the server sends, the others
    write to the disk.)
    """
    folder = tmp_path_factory.mktemp("counting")
    file, mailbox = scene(folder, server)
    log = folder / "calls"
    assert run(file, "-o", str(log)) == 0
    check(folder, server, mailbox)
    made = Counter(re.findall(r"^(\d+) +(\w+)\(", log.read_text(), re.MULTILINE))
    most: dict[str, int] = {}
    for (_, call), count in made.items():
        most[call] = max(count, most.get(call, 0))
    return [(call, number) for call in sorted(most) for number in range(1, most[call] + 1)]


@pytest.mark.parametrize("place", range(PLACES))
def test_kill_at_any_place_loses_nothing(
    place: int, points: list[tuple[str, int]], server: Dovecot, tmp_path: Path
) -> None:
    """After the kill and one clean run: nothing lost, nothing twice, nothing left behind."""
    assert len(points) > PLACES
    file, mailbox = scene(tmp_path, server)
    call, number = points[place * len(points) // PLACES]
    status = run(file, "-o", "/dev/null", "-e", f"inject={call}:signal=SIGKILL:when={number}")
    assert status in {-9, 137}

    assert run(file) == 0
    check(tmp_path, server, mailbox)
