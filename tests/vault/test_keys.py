"""`keys.db`: what is lost, swapped or put back is named, and no put closes anything for good."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from support.vaults import entries, entry, mail

from mailarchive import Receipt, UserId
from mailarchive.errors import KeyUnavailable
from mailarchive.testing.fuse import Crash
from mailarchive.vault import FileKeys, Vault

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive import ArchiveEntry

ALICE, BOB, ZOE = map(UserId, ("alice", "bob", "zoe"))
HERS = {"zoe": ("zoe@example.com",)}
MINE = "(SELECT tag FROM owner WHERE tag <> x'' ORDER BY tag LIMIT 1)"

OTHERS = "(SELECT wrapped FROM owner WHERE tag <> x'' ORDER BY tag DESC LIMIT 1)"


def _zoes(n: int) -> ArchiveEntry:
    return entry(mail(n), key=str(n), owners=HERS)


@pytest.fixture
def keys(tmp_path: Path) -> FileKeys:
    """Keys in a file, elsewhere than the vault."""
    return FileKeys.create(tmp_path / "acme.key")


@pytest.fixture
def filled(folder: Path, keys: FileKeys) -> Path:
    """A closed vault with mail of three users."""
    with Vault(folder, keys=keys) as vault:
        vault.put_many([*entries(3), _zoes(7)])
    return folder


def _change(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "keys" / "keys.db")) as db, db:
        for each in statements:
            db.execute(each)


def _count(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "keys" / "keys.db")) as db:
        return int(db.execute("SELECT count(*) FROM wrap").fetchone()[0])


def _named(folder: Path, keys: FileKeys) -> list[str]:
    with Vault(folder, keys=keys, read_only=True) as vault:
        found = vault.verify("content").findings
    assert {each.kind for each in found} <= {"key"}
    return [each.words for each in found]


# -- what is named ------------------------------------------------------------------------


def test_whole_keys_are_accused_of_nothing(filled: Path, keys: FileKeys) -> None:
    """Also after an erasure, of which no key is left."""
    with Vault(filled, keys=keys) as vault:
        vault.keeper("a", "b").erase(_zoes(7).id)

    assert _named(filled, keys) == []


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM wrap WHERE owner <> x''",
        "UPDATE wrap SET wrapped = x'00' WHERE owner <> x''",
        "UPDATE wrap SET wrapped = 'abc' WHERE owner <> x''",
        f"DELETE FROM owner WHERE tag IN {MINE}",
        f"UPDATE owner SET wrapped = x'00' WHERE tag IN {MINE}",
        f"UPDATE owner SET wrapped = {OTHERS} WHERE tag IN {MINE}",
    ],
)
def test_an_owner_who_cannot_open_is_named(filled: Path, keys: FileKeys, change: str) -> None:
    """Whichever half of their keys is lost, damaged or another's; also in an open vault."""
    with Vault(filled, keys=keys) as vault:
        assert vault.verify("content").ok
        _change(filled, change)
        assert {each.kind for each in vault.verify("content").findings} == {"key"}

    (words,) = _named(filled, keys)
    assert "owner of an entry cannot open it" in words


@pytest.mark.parametrize("change", ["DELETE FROM wrap", "UPDATE wrap SET wrapped = x'00'"])
def test_what_nobody_can_open_is_named(filled: Path, keys: FileKeys, change: str) -> None:
    """The vault's own keys are lost, and so nobody can tell whose the mail is."""
    _change(filled, f"{change} WHERE owner = x''")

    assert _named(filled, keys) == [
        "the keys of 4 entries are not in keys.db: restore it from a copy"
    ]


def test_keys_of_what_was_erased_are_named(filled: Path, keys: FileKeys, tmp_path: Path) -> None:
    """An older keys.db that is put back opens it again, until it is opened for writing."""
    shutil.copy(filled / "keys" / "keys.db", tmp_path / "old.db")
    with Vault(filled, keys=keys) as vault:
        vault.keeper("a", "b").erase(_zoes(7).id)
        left = _count(filled)
    shutil.copy(tmp_path / "old.db", filled / "keys" / "keys.db")

    (words,) = _named(filled, keys)

    assert words.startswith("the keys of 1 entries that were erased")
    with Vault(filled, keys=keys) as vault:
        assert vault.verify("content").ok
    assert _count(filled) == left


def test_an_erasure_that_broke_off_is_not_accused(folder: Path, keys: FileKeys) -> None:
    """Until the next opening finishes it the keys are there still, as a crash left them."""
    with Vault(folder, keys=keys) as vault:
        vault.put_many(entries(2))

        def fuse(step: str) -> None:
            if step == "commit keys":
                raise Crash(step)

        vault._disk.fuse = fuse
        with pytest.raises(Crash):
            vault.keeper("a", "b").erase(entries(1)[0].id)

    assert _named(folder, keys) == []


# -- what is destroyed --------------------------------------------------------------------


def test_a_key_is_destroyed_whatever_entry_it_is_said_to_be_of(
    filled: Path, keys: FileKeys
) -> None:
    """The line in the pack names the key; `verify` names the one that is said to be another's."""
    before = _count(filled)
    _change(filled, "UPDATE wrap SET entry = zeroblob(32)")
    assert any("of other entries" in each for each in _named(filled, keys))

    with Vault(filled, keys=keys) as vault:
        vault.keeper("a", "b").erase(_zoes(7).id)

    assert _count(filled) == before - 2


def test_an_erasure_that_would_destroy_no_key_says_so(filled: Path, keys: FileKeys) -> None:
    """The key is elsewhere, as in a copy: nothing is on record of an erasure in name alone."""
    _change(filled, "DELETE FROM wrap")

    with Vault(filled, keys=keys) as vault:
        with pytest.raises(KeyUnavailable, match="keys of 1 entries"):
            vault.keeper("a", "b").erase(_zoes(7).id)
        assert vault.verify("stored").erased == 0


# -- what is made -------------------------------------------------------------------------


def test_no_new_key_takes_the_place_of_one_that_was_lost(
    filled: Path, keys: FileKeys, tmp_path: Path
) -> None:
    """A put for that user is refused; with the copy put back it succeeds, and all is read."""
    shutil.copy(filled / "keys" / "keys.db", tmp_path / "copy.db")
    _change(filled, "DELETE FROM owner WHERE tag <> x''")
    with Vault(filled, keys=keys) as vault:
        with pytest.raises(KeyUnavailable, match="key of a user"):
            vault.put(_zoes(8))
        new = entry(mail(9), key="9", owners={"newcomer": ("new@example.com",)})
        assert isinstance(vault.put(new), Receipt)

    copy = f"ATTACH '{tmp_path / 'copy.db'}' AS copy"
    _change(filled, copy, "INSERT OR REPLACE INTO owner SELECT * FROM copy.owner")
    with Vault(filled, keys=keys) as vault:
        vault.put(_zoes(8))
        assert [each.content() for each in vault.view(ZOE).messages()]
        assert vault.view(ZOE).count() == 2
