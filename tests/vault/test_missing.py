"""An index is made anew while something of the vault is not there: no number is given twice."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from support.vaults import entries, entry, mail, receipts

from mailarchive import UserId
from mailarchive.errors import HistoryChanged, SinkCorrupt
from mailarchive.vault import FileSigner, Selection, Vault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BOB = UserId("bob")
SMALL = 4_000
MISSING = "while something of the vault was missing"


def _fill(folder: Path, *, start: int = 0) -> None:
    """Begin three volumes, one after the other."""
    for n in range(start, start + 9, 3):
        with Vault(folder, keys=None, pack_size=SMALL, volume_size=SMALL) as vault:
            vault.put_many(entries(3, start=n))


def _without_index(folder: Path) -> None:
    for file in folder.rglob("index.db*"):
        file.unlink()


@pytest.fixture(params=["middle", "newest"])
def away(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Path:
    """A volume that is not mounted, of a vault without an index; the newest one is sealed."""
    _fill(folder)
    volumes = sorted((folder / "volumes").iterdir())
    gone = volumes[1] if request.param == "middle" else volumes[-1]
    if request.param == "newest":
        with Vault(folder) as vault:
            vault.seal(FileSigner(tmp_path / "signer"))
    shutil.move(gone, tmp_path / gone.name)
    _without_index(folder)
    return tmp_path / gone.name


def _bring_back(away: Path, folder: Path) -> None:
    shutil.move(away, folder / "volumes" / away.name)


WRITES: list[Callable[[Vault], object]] = [
    lambda vault: vault.put(entry(mail(50))),
    lambda vault: vault.auditor("Ada", "to look"),
    lambda vault: vault.keeper("Ada", "a case").hold("m", Selection()),
    lambda vault: vault.keeper("Ada", "on request").retain(Selection(), days=1),
]


@pytest.mark.parametrize("write", WRITES)
def test_what_is_known_to_be_missing_is_waited_for(
    folder: Path, away: Path, write: Callable[[Vault], object]
) -> None:
    """Nothing is written, by nobody who opens it; all goes on once it is there again."""
    for _ in range(2):
        with Vault(folder, pack_size=SMALL, volume_size=SMALL) as vault:
            assert vault.view(BOB).count() == 6
            assert not vault.verify().ok
            with pytest.raises(SinkCorrupt, match=MISSING):
                write(vault)
    _bring_back(away, folder)

    with Vault(folder, pack_size=SMALL, volume_size=SMALL) as vault:
        write(vault)
        assert vault.verify("log").ok
        assert vault.verify("content").ok
        assert vault.view(BOB).count() >= 9


def test_what_is_lost_for_good_is_given_up_by_word_alone(folder: Path, away: Path) -> None:
    """Then the vault takes mail again, also when it is opened the next time."""
    sealed = (folder / "volumes/0001/log").exists()
    with Vault(folder) as vault:
        with pytest.raises(HistoryChanged if sealed else SinkCorrupt):
            vault.rebuild()
        with pytest.raises(SinkCorrupt, match=MISSING):
            vault.put(entry(mail(50)))
        if sealed:
            with pytest.raises(HistoryChanged):
                vault.rebuild(without_missing=True)
        else:
            vault.rebuild(without_missing=True)
        receipts([vault.put(entry(mail(50)))])
    with Vault(folder) as vault:
        receipts([vault.put(entry(mail(51), key="51"))])
    assert away.exists()


def test_a_replica_brings_it_back(folder: Path, away: Path, tmp_path: Path) -> None:
    """A repair is no writing of mail: it may be done, and all goes on."""
    replica = tmp_path / "replica"
    shutil.copytree(folder, replica)
    shutil.copytree(away, replica / "volumes" / away.name)
    with Vault(replica) as whole:
        assert whole.verify().ok
    with Vault(folder) as vault, Vault(replica, read_only=True) as other:
        plan = vault.plan_repair(other)
        vault.repair(plan, other, actor="Ada", reason="a disk less")
        receipts([vault.put(entry(mail(50)))])
        assert vault.verify("content").ok


def test_what_seems_erased_is_kept_while_something_is_missing(
    folder: Path, tmp_path: Path
) -> None:
    """An entry in the missing volume may need the bytes of another one that was erased."""
    same = mail(77)
    with Vault(folder, keys=None, pack_size=SMALL, volume_size=SMALL) as vault:
        vault.put(entry(same, key="first"))
        vault.put_many(entries(3))
    with Vault(folder, pack_size=SMALL, volume_size=SMALL) as vault:
        vault.put(entry(same, key="second"))
        vault.put_many(entries(3, start=10))
    _fill(folder, start=20)
    with Vault(folder, pack_size=SMALL, volume_size=SMALL) as vault:
        vault.keeper("Ada", "on request").erase(entry(same, key="first").id)
    second = next(it for it in sorted((folder / "volumes").iterdir()) if it.name != "0001")
    shutil.move(second, tmp_path / second.name)
    _without_index(folder)

    with Vault(folder) as vault, pytest.raises(SinkCorrupt, match=MISSING):
        vault.keeper("Ada", "on request").erase(entry(mail(20), key="20").id)
    _bring_back(tmp_path / second.name, folder)

    with Vault(folder) as vault:
        assert same in {each.content() for each in vault.view(BOB).messages()}
        assert vault.verify("content").ok
