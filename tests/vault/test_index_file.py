"""The index is removed while processes have the vault open: nobody writes by the old one."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.vaults import entries, entry, mail, receipts

from mailarchive import Receipt, UserId
from mailarchive._model import Stored
from mailarchive.errors import SinkError
from mailarchive.vault import FileKeys, Selection, Vault

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.vaults import OpenVault

BOB = UserId("bob")
ALONE, WITH_LOG = "index.db", "index.db*"
"""What whoever removes an index removes: its file, or those that SQLite keeps beside it too."""

WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from support.vaults import entries
from mailarchive.errors import SinkError
from mailarchive.vault import Vault
left = entries(90, start=int(sys.argv[3]))
while left:
    try:
        with Vault(sys.argv[2], pack_size=9000) as vault:
            while left:
                vault.put_many(left[:2])
                del left[:2]
                print(len(left), flush=True)
    except SinkError:  # an index that goes while it is opened is any error of SQLite's
        pass
"""


def _remove(folder: Path, what: str) -> None:
    for file in folder.rglob(what):
        file.unlink()


def _acts(vault: Vault) -> dict[str, Callable[[], object]]:
    return {
        "put": lambda: vault.put(entry(mail(9), key="9")),
        "put again": lambda: vault.put(entry(mail(0), key="0")),
        "auditor": lambda: vault.auditor("Ada", "to look"),
        "hold": lambda: vault.keeper("Ada", "a case").hold("m", Selection()),
        "rebuild": vault.rebuild,
    }


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("what", [ALONE, WITH_LOG])
@pytest.mark.parametrize("act", ["put", "put again", "auditor", "hold", "rebuild"])
def test_who_has_the_old_index_writes_nothing(
    open_vault: OpenVault, folder: Path, act: str, what: str, *, again: bool
) -> None:
    """It is told so, and what it wrote before is there; with a new index in its place or not."""
    old = open_vault()
    old.put_many(entries(3))
    _remove(folder, what)
    if again:
        open_vault().put_many(entries(1, start=3))
    packs = {pack: pack.read_bytes() for pack in folder.rglob("*.tar")}

    with pytest.raises(SinkError, match="since it was opened here"):
        _acts(old)[act]()

    assert {pack: pack.read_bytes() for pack in folder.rglob("*.tar")} == packs
    new = open_vault()
    assert new.view(BOB).count() == 3 + again
    assert new.verify("content").ok


@pytest.mark.parametrize("what", [ALONE, WITH_LOG])
def test_both_go_on_with_one_index(folder: Path, what: str) -> None:
    """Who opens the vault again goes on, with numbers and rows of one index for all."""
    with Vault(folder, keys=None) as old:
        old.put_many(entries(3))
        _remove(folder, what)
        with Vault(folder) as new:
            new.put_many(entries(3, start=3))
            with pytest.raises(SinkError):
                old.put_many(entries(3, start=6))
            with Vault(folder) as reopened:
                reopened.put_many(entries(3, start=6))
            new.put_many(entries(3, start=9))
    with Vault(folder) as vault:  # the old one has closed: it took no file of the new one along
        answers = receipts(vault.put_many(entries(12)))
        assert {each.outcome for each in answers} == {Stored.PRESENT}
        assert vault.verify("content").ok


def test_an_encrypted_vault_is_no_other(folder: Path, tmp_path: Path) -> None:
    """Its index in memory follows the one on the disk."""
    keys = FileKeys.create(tmp_path / "keys")
    with Vault(folder, keys=keys) as old:
        old.put_many(entries(3))
        _remove(folder, WITH_LOG)
        with Vault(folder, keys=keys) as new:
            new.put_many(entries(3, start=3))
            with pytest.raises(SinkError, match="since it was opened here"):
                old.put_many(entries(3, start=6))
            assert new.verify("content").ok
            assert new.view(BOB).count() == 6


@pytest.mark.parametrize("what", [ALONE, WITH_LOG])
def test_nothing_acknowledged_is_lost_or_there_twice(folder: Path, what: str) -> None:
    """Two processes write, and somebody removes the index under them again and again."""
    with Vault(folder, keys=None):
        pass
    tests = str(Path(__file__).parents[1])
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, tests, str(folder), str(start)])
        for start in (0, 100)
    ]
    for _ in range(10):
        time.sleep(0.07)
        _remove(folder, what)

    assert [writer.wait(60) for writer in writers] == [0, 0]
    put = entries(90) + entries(90, start=100)
    with Vault(folder) as vault:
        assert vault.verify("content").ok
        assert vault.view(BOB).count() == len(put)
        answers = vault.put_many(put)
        assert all(isinstance(it, Receipt) and it.outcome is Stored.PRESENT for it in answers)
