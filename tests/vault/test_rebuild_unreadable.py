"""`rebuild` makes the index anew whatever stands in its place, and no crash of it is any harm."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest
from support.vaults import entries, everything

from mailarchive import UserId
from mailarchive.errors import SinkCorrupt, SinkError, SinkNotWritable, SinkUnavailable
from mailarchive.testing.fuse import Crash, Fuse
from mailarchive.vault import FileKeys, FileSigner, Vault
from mailarchive.vault._index import Index

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BOB = UserId("bob")


@pytest.fixture
def filled(folder: Path) -> Path:
    """A vault of several packs with a full text and a seal; returns the folder of its index."""
    with Vault(folder, keys=None, pack_size=5000) as vault:
        for start in range(0, 12, 4):
            vault.put_many(entries(4, start=start))
        vault.update_search()
        vault.seal(FileSigner(folder.with_name("signer")))
    return folder / "volumes" / "0001"


def _newest(volume: Path) -> Path:
    (found,) = (pack for pack in volume.rglob("*.tar") if b'"sequence":3,' in pack.read_bytes())
    return found


def _garbage(file: Path) -> None:
    file.write_bytes(b"no database" * 1000)


def _bad_header(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(b"x" * 100 + data[100:])


def _cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _cut_short(file: Path) -> None:
    os.truncate(file, 50)


def _empty(file: Path) -> None:
    os.truncate(file, 0)


def _inside(file: Path) -> None:
    """The header stays, and so does the first page: SQLite opens it, and fails later."""
    data = file.read_bytes()
    file.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))


def _no_text(file: Path) -> None:
    """A schema that cannot be read as text."""
    with closing(sqlite3.connect(file)) as index:
        index.execute("CREATE TABLE odd_name (x)")
        index.execute("PRAGMA writable_schema = ON")
        index.execute(
            "UPDATE sqlite_master SET sql = CAST(x'ff6f' AS TEXT) WHERE name = 'odd_name'"
        )
        index.commit()


def _trigger(file: Path) -> None:
    with closing(sqlite3.connect(file)) as index:
        index.execute("CREATE TRIGGER t AFTER INSERT ON entry BEGIN DELETE FROM owner; END")
        index.commit()


def _other_vault(file: Path) -> None:
    other = file.parents[2].with_name("other")
    with Vault(other, keys=None) as vault:
        vault.put_many(entries(1))
    shutil.copy(other / "volumes" / "0001" / "index.db", file)


def _directory(file: Path) -> None:
    file.unlink()
    (file / "inside").mkdir(parents=True)
    (file / "inside" / "notes.txt").write_text("somebody's")


def _link(file: Path) -> None:
    elsewhere = file.parents[2].with_name("elsewhere")
    shutil.move(file, elsewhere)
    file.symlink_to(elsewhere)


def _dangling(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.parents[2].with_name("nowhere"))


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _wal_folder(file: Path) -> None:
    file.with_name("index.db-wal").mkdir()


def _wal_link(file: Path) -> None:
    file.with_name("index.db-wal").symlink_to(file)


def _wal_garbage(file: Path) -> None:
    file.with_name("index.db-wal").write_bytes(os.urandom(50_000))


def _shm_pipe(file: Path) -> None:
    os.mkfifo(file.with_name("index.db-shm"))


REFUSED = [
    _garbage,
    _bad_header,
    _cut,
    _cut_short,
    _inside,
    _no_text,
    _trigger,
    _other_vault,
    _directory,
    _link,
    _dangling,
    _pipe,
    _wal_folder,
    _wal_link,
    _shm_pipe,
]
"""What keeps a vault from being opened, or is no index that could be believed."""


@pytest.mark.parametrize("spoil", [*REFUSED, _empty, _wal_garbage])
def test_the_index_is_made_anew(filled: Path, folder: Path, spoil: Callable[[Path], None]) -> None:
    """Everything is there as before, and may be written to."""
    with Vault(folder) as vault:
        before = everything(vault)
    spoil(filled / "index.db")

    Vault(folder).rebuild()

    with Vault(folder) as vault:
        assert everything(vault) == before
        assert vault.verify("log").ok
        vault.put_many(entries(2, start=20))
        assert vault.view(BOB).count() == 14
        assert vault.verify("content").ok


@pytest.mark.parametrize("spoil", REFUSED)
def test_nobody_but_a_rebuild_touches_it(filled: Path, spoil: Callable[[Path], None]) -> None:
    """To open the vault refuses it, names the way out, and leaves it as it is."""
    spoil(filled / "index.db")
    before = sorted((each.name, each.lstat().st_ino) for each in filled.iterdir())

    with pytest.raises(SinkCorrupt) as raised, Vault(filled.parents[1]):
        pass

    assert any("mailarchive rebuild" in words for words in raised.value.suggestions)
    assert sorted((each.name, each.lstat().st_ino) for each in filled.iterdir()) == before


def test_what_is_no_file_of_ours_is_kept(filled: Path, folder: Path) -> None:
    """A folder is put aside with what is in it, and of a link only the name goes."""
    _directory(filled / "index.db")
    elsewhere = folder.with_name("elsewhere")
    elsewhere.write_bytes(b"somebody's")
    (filled / "fts.db").unlink()
    (filled / "fts.db").symlink_to(elsewhere)

    Vault(folder).rebuild()

    (aside,) = filled.glob("index.db.aside-*")
    assert (aside / "inside" / "notes.txt").read_text() == "somebody's"
    assert elsewhere.read_bytes() == b"somebody's"


@pytest.mark.parametrize("spoil", [_garbage, _cut, _empty, _directory, _link, _dangling, _pipe])
def test_the_full_text_is_made_anew(
    filled: Path, folder: Path, spoil: Callable[[Path], None]
) -> None:
    """It is thrown away, whatever stands in its place, and made by the next search."""
    spoil(filled / "fts.db")

    Vault(folder).rebuild()

    assert not os.path.lexists(filled / "fts.db")
    with Vault(folder) as vault:
        assert vault.view(BOB).count(words="message") == 12
        assert vault.verify("content").ok


def test_a_sound_index_stays_the_same_file(filled: Path, folder: Path) -> None:
    """Whoever has the vault open goes on with it, as with a rebuild of an open vault."""
    with Vault(folder) as other:
        before = filled.joinpath("index.db").stat().st_ino
        Vault(folder).rebuild()
        assert filled.joinpath("index.db").stat().st_ino == before
        other.put_many(entries(2, start=20))
        assert other.verify("content").ok


def test_who_has_the_damaged_one_open_writes_nothing(filled: Path, folder: Path) -> None:
    """It is told to open the vault again."""
    with Vault(folder) as other:
        filled.joinpath("index.db").write_bytes(b"no database" * 1000)
        Vault(folder).rebuild()
        with pytest.raises(SinkError):
            other.put_many(entries(2, start=20))
    with Vault(folder) as vault:
        assert vault.view(BOB).count() == 12
        assert vault.verify("content").ok


def test_a_sound_index_still_tells_what_is_missing(filled: Path, folder: Path) -> None:
    """What it alone knows of is not forgotten, unless it is told to be."""
    newest = _newest(filled)
    newest.unlink()

    with pytest.raises(SinkCorrupt, match="is missing, or ends before"):
        Vault(folder).rebuild()
    with Vault(folder, read_only=True) as vault:
        assert "missing-pack" in {each.kind for each in vault.verify().findings}


def test_what_the_log_says_is_missing_is_told(filled: Path, folder: Path) -> None:
    """A damaged index knows of no pack; the checkpoint knows how much there was."""
    _newest(filled).unlink()
    _garbage(filled / "index.db")

    with pytest.raises(SinkCorrupt, match="were signed"):
        Vault(folder).rebuild()
    with pytest.raises(SinkCorrupt):
        Vault(folder).rebuild(without_missing=True)  # the log is not what was signed: it stays
    with Vault(folder) as vault:
        assert 0 < vault.view(BOB).count() < 12


def test_an_encrypted_vault_needs_no_keys_for_it(folder: Path, tmp_path: Path) -> None:
    """The index of one is derived from what stands in clear."""
    keys = FileKeys.create(tmp_path / "keys")
    with Vault(folder, keys=keys) as vault:
        vault.put_many(entries(3))
        before = everything(vault)
    _garbage(folder / "volumes" / "0001" / "index.db")

    Vault(folder).rebuild()

    with Vault(folder, keys=keys) as vault:
        assert everything(vault) == before
        assert vault.verify("content").ok


def test_reading_alone_rebuilds_nothing(filled: Path, folder: Path) -> None:
    """Nothing is touched, and where there is no vault none is made."""
    _garbage(filled / "index.db")
    with pytest.raises(SinkNotWritable):
        Vault(folder, read_only=True).rebuild()
    assert filled.joinpath("index.db").read_bytes().startswith(b"no database")

    with pytest.raises(SinkError, match="no vault at this path"):
        Vault(folder.with_name("none"), keys=None).rebuild()
    assert not folder.with_name("none").exists()


@pytest.mark.parametrize("error", [SinkUnavailable("busy"), SinkNotWritable("not yours")])
def test_what_only_hinders_is_no_damage(
    filled: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, error: SinkError
) -> None:
    """An index that another program holds, or that this user may not read, stays."""

    def refuse(*_: object) -> Index:
        raise error

    before = filled.joinpath("index.db").stat().st_ino
    monkeypatch.setattr(Index, "usable", refuse)

    with pytest.raises(type(error)):
        Vault(folder).rebuild()
    assert filled.joinpath("index.db").stat().st_ino == before


@pytest.mark.parametrize("spoil", [_garbage, _directory, _link, _wal_folder])
def test_a_crash_on_the_way_is_no_harm(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    """After one at each step in turn the next rebuild, or opening, has everything."""

    def made(n: int) -> Path:
        here = tmp_path / str(n) / "v"
        shutil.copytree(folder, here)
        spoil(here / "volumes" / "0001" / "index.db")
        return here

    with Vault(folder, keys=None, pack_size=9000) as vault:
        vault.put_many(entries(6))
        vault.update_search()
    count = made(-1)
    steps = Fuse().count(lambda fuse: Vault(count, fuse=fuse).rebuild())
    assert steps > 5

    for n in range(steps):
        here = made(n)
        with pytest.raises(Crash):
            Vault(here, fuse=Fuse(n)).rebuild()
        if n % 2:
            with suppress(SinkCorrupt), Vault(here):  # it may be there as it was
                pass
        Vault(here).rebuild()
        with Vault(here) as vault:
            assert vault.view(BOB).count() == 6
            assert vault.verify("content").ok
