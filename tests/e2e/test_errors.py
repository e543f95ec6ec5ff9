"""What goes wrong at a user's desk is one line that says what to do, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from support import job, journal

from mailarchive._cli import main
from mailarchive.state import JobLock
from mailarchive.testing.dovecot import free_port

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from mailarchive.testing.dovecot import Dovecot


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the single line on standard error, without its prefix.

    That a vault is made is told before what a run only finds out then.
    """
    said = capsys.readouterr().err
    if said.startswith("No vault is at "):
        said = said.partition("\n")[2]
    assert said.startswith("mailarchive: ")
    assert said.count("\n") == 1
    assert "Traceback" not in said
    return said.removeprefix("mailarchive: ")


def test_a_wrong_password(
    server: Dovecot, mailbox: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused at once, and neither name nor password is shown."""
    file = job.write(tmp_path, server, mailbox)
    (tmp_path / "secret").write_text("hunter2")

    assert main(["run", str(file), "--quiet"]) == 1
    said = one_line(capsys)
    assert "password" in said
    assert "hunter2" not in said
    assert mailbox not in said


def test_tls_on_a_plain_port(
    server: Dovecot, mailbox: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The suggestion names the setting that would work."""
    file = job.write(tmp_path, server, mailbox)
    file.write_text(file.read_text().replace(str(server.imaps_port), str(server.imap_port)))

    assert main(["run", str(file), "--quiet"]) == 2
    assert "starttls" in one_line(capsys)


def test_an_unknown_authority(
    server: Dovecot, mailbox: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The suggestion is to name the authority, not to stop checking."""
    file = job.write(tmp_path, server, mailbox)
    kept = [line for line in file.read_text().splitlines() if not line.startswith("ca_file")]
    file.write_text("\n".join(kept))

    assert main(["run", str(file), "--quiet"]) == 2
    assert "ca_file" in one_line(capsys)


def test_a_missing_folder(
    server: Dovecot, mailbox: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that was asked for and is not there stops the run before it begins."""
    file = job.write(tmp_path, server, mailbox)
    file.write_text(file.read_text().replace("[users]", 'folders = ["Jornal"]\n[users]'))

    assert main(["run", str(file), "--quiet"]) == 1
    assert "folder" in one_line(capsys)


def test_a_second_run_at_the_same_time(
    server: Dovecot, mailbox: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two runs of one job never overlap."""
    file = job.write(tmp_path, server, mailbox)
    with JobLock(tmp_path / "acme.vault.lock"):
        assert main(["run", str(file), "--quiet"]) == 1
    assert "another run" in one_line(capsys)


def command(file: Path, *before: str) -> subprocess.CompletedProcess[str]:
    """Run the real command behind another one."""
    words = [*before, sys.executable, "-m", "mailarchive", "run", str(file), "--quiet"]
    return subprocess.run(words, capture_output=True, check=False, text=True, timeout=120)


def test_a_closed_port(server: Dovecot, mailbox: str, tmp_path: Path) -> None:
    """Nobody listens there; that is said at once."""
    file = job.write(tmp_path, server, mailbox)
    file.write_text(file.read_text().replace(str(server.imaps_port), str(free_port())))
    done = command(file)

    assert done.returncode == 1
    assert done.stderr.startswith("mailarchive: ")
    assert "port" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_place_that_may_not_be_written(server: Dovecot, mailbox: str, tmp_path: Path) -> None:
    """The line says which setting and which right; it is found before the server is asked."""
    file = job.write(tmp_path, server, mailbox)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    file.write_text(file.read_text().replace("acme.vault", "locked/acme.vault"))
    powerless = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
    done = command(file, *(powerless if os.geteuid() == 0 else []))

    assert done.returncode == 2
    assert done.stderr.startswith("mailarchive: ")
    assert "[vault] path: this user may not write to locked" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_full_disk(server: Dovecot, mailbox: str, tmp_path: Path) -> None:
    """No receipt and no checkpoint is given; with room again the next run archives all."""
    server.put(mailbox, [mail.raw for mail in journal.mailbox(5)])
    file = job.write(tmp_path, server, mailbox)
    full = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync"]
    done = command(file, *full, "-e", "inject=fdatasync:error=ENOSPC")

    assert done.returncode == 1
    told, said = done.stderr.splitlines()
    assert told.startswith("No vault is at ")
    assert "room" in said
    again = command(file)
    assert again.returncode == 0
    assert "5  newly archived" in again.stdout
