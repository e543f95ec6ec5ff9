"""The how-to about backing up: what it copies of a vault in use is whole, and has all of it."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.vaults import entries

from mailarchive import Checkpoint, Receipt, UserId
from mailarchive._cli._graph import SEEN
from mailarchive._model import Stored
from mailarchive.sources.graph import SeenIds
from mailarchive.state.sqlite import SqliteCheckpoints
from mailarchive.vault import FileKeys, FileSigner, Vault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailarchive import ArchiveEntry

BOB = UserId("bob")
TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "howto" / "back-up-a-vault.md"

WRITER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from support.vaults import entries
from mailarchive.vault import FileKeys, Vault
keys = FileKeys(sys.argv[4]) if sys.argv[4] else None
n = int(sys.argv[3])
with Vault(sys.argv[2], keys=keys, pack_size=20_000, volume_size=90_000) as vault:
    while True:
        vault.put_many(entries(3, start=n))
        n += 3
        print(n, flush=True)
        time.sleep(0.01)  # so that the others get a turn, too
"""


class Writer:
    """A process that writes without end, and says how far it has come."""

    def __init__(self, folder: Path, start: int, keys: Path | None, told: Path) -> None:
        """Write messages from number `start` on."""
        self.start, self._told = start, told
        words = [sys.executable, "-c", WRITER, str(TESTS), str(folder), str(start)]
        with told.open("wb") as out:
            self._process = subprocess.Popen([*words, str(keys or "")], stdout=out)

    def count(self) -> int:
        """Return for how many it has receipts, at least."""
        lines = self._told.read_text().rpartition("\n")[0].split()
        return int(lines[-1]) - self.start if lines else 0

    def acknowledged(self) -> list[ArchiveEntry]:
        """Return what it has receipts for, at least."""
        return entries(self.count(), start=self.start)

    def wait_for(self, count: int) -> None:
        """Return once it has receipts for so many."""
        ends = time.monotonic() + 60
        while self.count() < count:
            assert self._process.poll() is None, "the writer has ended"
            assert time.monotonic() < ends
            time.sleep(0.01)

    def end(self) -> None:
        """Kill it, wherever it is."""
        self._process.kill()
        self._process.wait()


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The program that the page shows."""
    (code,) = re.findall(r"```python\n# back_up\.py\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path / "back_up.py"
    path.write_text(code)
    return path


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """The key file of a vault that is encrypted, or none."""
    if not request.param:
        return None
    FileKeys.create(tmp_path / "keys")
    return tmp_path / "keys"


def _opened(folder: Path, keys: Path | None) -> Vault:
    return Vault(folder, keys=None if keys is None else FileKeys(keys))


@pytest.fixture
def writers(folder: Path, keys: Path | None, tmp_path: Path) -> Iterator[list[Writer]]:
    """Two processes that write to the vault."""
    with _opened(folder, keys):
        pass
    with ExitStack() as stack:
        found = [Writer(folder, n * 10_000, keys, tmp_path / f"told{n}") for n in range(2)]
        for each in found:
            stack.callback(each.end)
        yield found


def _check(copy: Path, keys: Path | None, acknowledged: list[ArchiveEntry]) -> None:
    """The copy opens, is whole, and has what was acknowledged."""
    with _opened(copy, keys) as vault:
        assert vault.verify("content").findings == ()
        assert vault.verify("log").findings == ()
        answers = vault.put_many(acknowledged)
        assert all(isinstance(it, Receipt) and it.outcome is Stored.PRESENT for it in answers)
        assert vault.view(BOB).count() >= len(acknowledged)


def test_a_copy_of_a_vault_in_use_is_whole(
    folder: Path, keys: Path | None, writers: list[Writer], program: Path, tmp_path: Path
) -> None:
    """Also where the same copy is brought up to date, and the vault is sealed meanwhile."""
    copy, signer = tmp_path / "copy", FileSigner(tmp_path / "signer")
    for turn in range(1, 5):
        for writer in writers:
            writer.wait_for(30 * turn)
        with _opened(folder, keys) as vault:
            vault.seal(signer)
            (gone,) = entries(1, start=turn)
            vault.keeper("Ada", "on request").erase(gone.id)
        there = [each for writer in writers for each in writer.acknowledged()]
        subprocess.run([sys.executable, str(program), str(folder), str(copy)], check=True)
        erased = {each.id for each in entries(turn, start=1)}
        _check(copy, keys, [each for each in there if each.id not in erased])


def test_a_copy_by_tools_is_whole(
    folder: Path, keys: Path | None, writers: list[Writer], tmp_path: Path
) -> None:
    """Under the lock, and without the index; also where it is brought up to date."""
    (commands,) = re.findall(r"```text\n(flock .*?)```", PAGE.read_text(), re.DOTALL)
    for _ in range(3):
        for writer in writers:
            writer.wait_for(writer.count() + 30)
        there = [each for writer in writers for each in writer.acknowledged()]
        subprocess.run(["sh", "-ec", commands], check=True, cwd=tmp_path)
        _check(tmp_path / "copy.vault", keys, there)


@pytest.mark.parametrize("words", [["nowhere", "copy"], ["here"], []])
def test_a_wrong_path_copies_nothing_and_is_said(
    words: list[str], program: Path, tmp_path: Path
) -> None:
    """In a line, and with a status that whoever calls the program sees."""
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run(
        [sys.executable, str(program), *words], cwd=tmp_path, capture_output=True, check=False
    )

    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_no_checkpoint_is_ahead_of_the_copy(folder: Path, program: Path, tmp_path: Path) -> None:
    """State is taken first: what it says is archived is in the packs that are taken after."""
    code = program.read_text()
    assert code.index("in (STATE, *other") < code.index("new_files(vault, copy)")
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(3))
        SqliteCheckpoints(folder / "state.db").save(Checkpoint("source", "INBOX", token="3"))
        subprocess.run([sys.executable, str(program), folder, tmp_path / "copy"], check=True)
    found = SqliteCheckpoints(tmp_path / "copy" / "state.db").load("source", "INBOX")

    assert found == Checkpoint("source", "INBOX", token="3")


@pytest.mark.parametrize("name", [SEEN, "sinks/handed-over.db"])
def test_any_database_beside_the_archive_is_copied_as_one(
    folder: Path, program: Path, tmp_path: Path, name: str
) -> None:
    """Also where the copy is brought up to date once its writer has ended."""
    copy, here = tmp_path / "copy", folder / name
    with Vault(folder, keys=None):
        pass
    here.parent.mkdir(exist_ok=True)
    for page, others in enumerate((30_000, 50, 30_000)):
        seen = SeenIds(here)
        listed = [(f"{page} {each}", "r") for each in range(others)]
        seen.folder("source", "INBOX", "epoch", page).add(listed, page + 1)
        if page != 1:
            seen.close()  # else a run is under way
        for path in folder.rglob("*"):
            os.utime(path, (page, page))  # long ago: what has not changed is not copied again
        if page:
            subprocess.run([sys.executable, str(program), folder, copy], check=True)
        seen.close()
    assert not list(copy.rglob("*-wal"))
    with closing(sqlite3.connect(copy / name)) as base:
        assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert base.execute("SELECT count(*) FROM seen").fetchone() == (60_050,)
