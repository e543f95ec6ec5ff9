"""Whatever a command prints to, it is one line of trouble at most, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mailarchive import UserId, Vault
from mailarchive._cli import main

ME = [sys.executable, "-m", "mailarchive"]
SHOW = ["show", "acme.vault", "--user", "alice"]
COMMANDS = {
    "help": ["--help"],
    "demo": ["demo", "--folder", "another"],
    "run": ["run", "archive.toml"],
    "dry run": ["run", "archive.toml", "--dry-run"],
    "retries": ["retries", "archive.toml"],
    "verify": ["verify", "acme.vault", "--level", "quick"],
    "verify as JSON": ["verify", "acme.vault", "--level", "quick", "--json"],
    "show": SHOW,
    "show a message": [*SHOW, "--message", "KEY"],
    "audit": ["show", "acme.vault", "--auditor", "Ann", "--reason", "a test"],
    "export": ["export", "acme.vault", "--user", "alice", "--to", "out"],
    "quarantine": ["quarantine", "acme.vault"],
    "decode": ["decode", "FILE"],
    "decode as JSON": ["decode", "FILE", "--json"],
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the demo leaves behind."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    assert main(["demo", "--folder", str(folder)]) == 0
    return folder


def command(demo: Path, name: str, tmp_path: Path) -> list[str]:
    """The words of a command, with what only the archive knows put in."""
    with Vault(demo / "acme.vault", read_only=True) as vault:
        key = next(vault.view(UserId("alice")).messages()).key
    file = next(each for each in (demo / "journal").rglob("*") if each.is_file())
    new = str(tmp_path / "new")
    known = {"KEY": key, "FILE": str(file), "another": new, "out": new}
    return [*ME, *(known.get(word, word) for word in COMMANDS[name])]


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_one_line_and_no_success(demo: Path, name: str, tmp_path: Path) -> None:
    """`> /dev/full`: what was printed is lost, which is said, and the status is 1."""
    words = command(demo, name, tmp_path)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(words, cwd=demo, stdout=full, stderr=subprocess.PIPE, check=False)

    last = done.stderr.decode().splitlines()[-1]
    assert last == "mailarchive: the output could not be written (ENOSPC)"
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert done.returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_reader_who_has_seen_enough_changes_nothing(
    demo: Path, name: str, tmp_path: Path
) -> None:
    """`| head -0`: the command does its work to the end, and its status is that of the work."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            command(demo, name, tmp_path),
            cwd=demo,
            stdout=write,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(write)

    assert b"mailarchive:" not in done.stderr
    assert b"Error" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert done.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run", "show", "show a message", "verify"])
def test_no_output_at_all_is_no_error(demo: Path, name: str, tmp_path: Path) -> None:
    """`>&- 2>&-`: a job that was given nothing to print to does its work."""
    words = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command(demo, name, tmp_path)]

    assert subprocess.run(words, cwd=demo, check=False).returncode == 0


@pytest.mark.slow
def test_a_failure_is_not_hidden_by_a_reader_who_left(demo: Path) -> None:
    """A pipe that closed says nothing of whether the work was done."""
    words = 'exec 3>&1; { "$@"; echo $? >&3; } 2>/dev/null | true'
    lost = [*ME, "show", "no.vault", "--user", "alice"]
    done = subprocess.run(
        ["sh", "-c", words, "sh", *lost], cwd=demo, capture_output=True, text=True, check=False
    )

    assert done.stdout.strip() == "2"


@pytest.mark.slow
def test_a_terminal_that_knows_few_letters_gets_their_numbers(demo: Path) -> None:
    """No subject in another script stops a list."""
    for encoding in ("ascii", "latin-1"):
        done = subprocess.run(
            [*ME, "show", "acme.vault", "--user", "alice", "--limit", "500"],
            cwd=demo,
            env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        done.stdout.decode(encoding)
