"""`fts.db`: no link at its place is followed, nothing of what was erased is left, damage shows."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from support.vaults import entry, mail

from mailarchive import UserId
from mailarchive.errors import SinkCorrupt, SinkUnavailable
from mailarchive.testing.fuse import Crash
from mailarchive.vault._database import Database
from mailarchive.vault._disk import open_folder
from mailarchive.vault._errors import erased

if TYPE_CHECKING:
    from pathlib import Path

    from support.vaults import OpenVault

    from mailarchive import ArchiveEntry
    from mailarchive.vault import Vault
    from mailarchive.vault._index import Line
    from mailarchive.vault._record import Record

BOB = UserId("bob")
BIRDS = ("albatross", "bittern", "cormorant", "dunlin")


def _birds() -> list[ArchiveEntry]:
    return [
        entry(mail(n, body=f"a {bird} in the marsh\r\n".encode()), key=bird)
        for n, bird in enumerate(BIRDS)
    ]


def _counts(vault: Vault, *words: str) -> list[int]:
    return [vault.view(BOB).count(words=each) for each in words]


def _held(file: Path) -> bytes:
    return b"".join(each.read_bytes() for each in file.parent.glob("fts.db*"))


@pytest.fixture
def file(folder: Path) -> Path:
    """Where the full text of the vault is."""
    return folder / "volumes" / "0001" / "fts.db"


# -- links --------------------------------------------------------------------------------


@pytest.mark.parametrize("there", [True, False])
def test_a_link_put_there_later_is_not_followed(
    vault: Vault, file: Path, tmp_path: Path, *, there: bool
) -> None:
    """Nothing is written or made outside of the vault, and the link is named."""
    vault.put_many(_birds())
    assert vault.update_search() == len(BIRDS)
    for each in file.parent.glob("fts.db*"):
        each.unlink()
    outside = tmp_path / "outside.txt"
    if there:
        outside.touch()
    file.symlink_to(outside)

    with pytest.raises(SinkCorrupt, match=r"fts\.db"):
        _counts(vault, "marsh")

    assert outside.exists() == there
    assert not there or outside.read_bytes() == b""
    assert [each.kind for each in vault.verify("content").findings] == ["fulltext"]


def test_what_is_open_is_the_file_of_the_folder(file: Path, tmp_path: Path) -> None:
    """Also where the folder at the path is another one by now, or a link put in between."""
    file.parent.mkdir(parents=True)
    elsewhere = open_folder(str(tmp_path))
    try:
        with pytest.raises((SinkCorrupt, sqlite3.Error)):
            Database(file, lambda: elsewhere).connect()
        file.touch()
        with pytest.raises(SinkCorrupt):
            Database(file, lambda: elsewhere).connect()
    finally:
        os.close(elsewhere)
    assert file.read_bytes() == b""


# -- erasing ------------------------------------------------------------------------------


def test_nothing_of_what_was_erased_is_left(open_vault: OpenVault, file: Path) -> None:
    """No byte of its words, and all others are found still, without reading them again."""
    vault = open_vault()
    vault.put_many(some := _birds())
    vault.update_search()
    inode = file.stat().st_ino
    vault.keeper("a", "b").erase(some[1].id, some[3].id)

    held = _held(file)
    # A term shares its beginning with the one before it, so its end is looked for.
    assert [bird.encode()[-5:] in held for bird in BIRDS] == [True, False, True, False]
    assert file.stat().st_ino == inode
    assert vault.update_search() == 0
    assert _counts(vault, *BIRDS, "marsh") == [1, 0, 1, 0, 2]
    assert vault.verify("content").ok


def test_what_a_crash_left_in_it_is_taken_out(
    open_vault: OpenVault, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An erasure that broke off is finished by the next opening, its words included."""

    def crash(_: object) -> None:
        raise Crash

    with open_vault() as vault:
        vault.put_many(some := _birds())
        vault.update_search()
        keeper = vault.keeper("a", "b")
        monkeypatch.setattr(vault._readable().fulltext, "erase", crash)
        with pytest.raises(Crash):
            keeper.erase(some[1].id)
    assert b"ttern" in _held(file)
    with open_vault():
        pass

    held = _held(file)
    assert b"ttern" not in held
    assert b"tross" in held


def test_what_is_erased_while_it_is_taken_in_is_passed_over(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the list of what is new and the reading of it somebody may erase."""
    vault.put_many(some := _birds())
    reading = vault._readable().fulltext._reading
    honest = reading.record

    def record(line: Line) -> Record:
        if (found := honest(line)).id == some[1].id:
            raise erased()
        return found

    monkeypatch.setattr(reading, "record", record)

    assert _counts(vault, *BIRDS) == [1, 0, 1, 1]


def test_others_go_on_searching_while_something_is_erased(open_vault: OpenVault) -> None:
    """A search in another opening gives what is there, and no error."""
    open_vault().put_many(some := _birds())
    wrong: list[object] = []
    done = threading.Event()

    def search() -> None:
        vault = open_vault()
        try:
            while not done.is_set():
                wrong.extend(each for each in _counts(vault, "albatross") if each != 1)
        except Exception as error:  # noqa: BLE001 - what the test looks for
            wrong.append(error)

    thread = threading.Thread(target=search)
    thread.start()
    keeper = open_vault().keeper("a", "b")
    for each in some[1:]:
        keeper.erase(each.id)
    done.set()
    thread.join()

    assert wrong == []


@pytest.mark.parametrize("what", ["an older version", "damaged", "another numbering"])
def test_a_file_of_no_use_is_thrown_away_by_an_erasure(
    vault: Vault, file: Path, what: str
) -> None:
    """Whatever stands in it, nothing of what is erased stays."""
    vault.put_many(some := _birds())
    vault.update_search()
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if what == "an older version":
            db.execute("UPDATE about SET version = 2")
        else:
            db.execute("UPDATE about SET entry = x'00'")
    if what == "damaged":
        file.write_bytes(file.read_bytes()[:4096] + b"junk" * 3000)

    vault.keeper("a", "b").erase(some[1].id)

    held = _held(file)
    assert b"ittern" not in held
    assert _counts(vault, *BIRDS) == [1, 0, 1, 1]


def test_a_file_that_goes_away_again_and_again_is_worth_another_try(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is ours and names no path."""
    vault.put_many(_birds())

    def gone(_: Database) -> None:
        raise FileNotFoundError(2, "no such file", str(vault))

    monkeypatch.setattr(vault._readable().fulltext, "_attach", gone)

    with pytest.raises(SinkUnavailable) as caught:
        _counts(vault, "marsh")

    assert "thrown away" in str(caught.value)


# -- damage -------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["words_data", "words_config", "about"])
def test_a_damaged_full_text_is_named(vault: Vault, file: Path, table: str) -> None:
    """`content` says so, and that deleting it mends it; the other levels do not look."""
    vault.put_many(_birds())
    vault.update_search()
    with closing(sqlite3.connect(file)) as db, db:
        db.execute(f"DELETE FROM {table}" if table != "about" else "DROP TABLE about")

    (finding,) = vault.verify("content").findings
    assert finding.kind == "fulltext"
    assert vault.verify("log").ok
    for each in file.parent.glob("fts.db*"):
        each.unlink()
    assert _counts(vault, *BIRDS) == [1, 1, 1, 1]
    assert vault.verify("content").ok


def test_a_full_text_is_looked_at_where_nothing_may_be_written(
    open_vault: OpenVault, file: Path
) -> None:
    """Nothing is written to it."""
    with open_vault() as vault:
        vault.put_many(_birds())
        vault.update_search()
    data = file.read_bytes()

    assert open_vault(read_only=True).verify("content").ok
    assert file.read_bytes() == data


@pytest.mark.parametrize("read_only", [True, False])
def test_damage_that_sqlite_quotes_is_an_error_of_ours(
    open_vault: OpenVault, file: Path, *, read_only: bool
) -> None:
    """What it says then need not be text; the full text is made anew, or passed over."""
    with open_vault() as vault:
        vault.put_many(some := _birds())
        vault.update_search()
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute(
            "UPDATE sqlite_master SET name = CAST(x'90' AS TEXT), sql = CAST(x'9099' AS TEXT)"
            " WHERE name = 'about'"
        )
    vault = open_vault(read_only=read_only)

    assert [each.kind for each in vault.verify("content").findings] == ["fulltext"]
    assert _counts(vault, *BIRDS) == [1, 1, 1, 1]
    if not read_only:
        vault.keeper("a", "b").erase(some[1].id)
        assert _counts(vault, *BIRDS) == [1, 0, 1, 1]
