"""The laws of volumes that roll: bounded, found wherever they are, and one archive together."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.vaults import Clock, entries, receipts

from mailarchive import Stored, UserId
from mailarchive.errors import SinkCorrupt, Unsupported
from mailarchive.vault import FileKeys, Vault, _mounts, _schema
from mailarchive.vault._volumes import following, is_volume
from mailarchive.vault.signing import FileSigner

if TYPE_CHECKING:
    from datetime import datetime

PACK, VOLUME = 4_000, 9_000
BATCH = 3_000
"""Roughly the bytes of a batch of one message."""

CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support.vaults import entries
from mailarchive.vault import Vault
start = int(sys.argv[3])
with Vault(sys.argv[2], keys=None, pack_size=4000, volume_size=9000) as vault:
    for each in entries(12, start=start):
        vault.put(each)
"""


def _filled(folder: Path, count: int = 12) -> Vault:
    clock = Clock()

    def ticking() -> datetime:
        clock.advance(seconds=1)
        return clock()

    with Vault(folder, keys=None, pack_size=PACK, volume_size=VOLUME, clock=ticking) as vault:
        for each in entries(count):
            vault.put(each)
    return vault


@pytest.fixture
def filled(folder: Path) -> Path:
    """A vault of twelve messages in several volumes."""
    _filled(folder)
    return folder


def _volumes(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "volumes").iterdir())


def _kinds(folder: Path, level: str = "stored") -> set[str]:
    with Vault(folder, read_only=True) as vault:
        return {each.kind for each in vault.verify(level).findings}


def _rows(vault: Vault) -> dict[str, list[tuple[object, ...]]]:
    index = vault._opened().index
    return {table: index.rows(query) for table, query in _schema.CONTENTS.items()}


def test_a_volume_that_is_full_is_never_added_to(filled: Path) -> None:
    """Volumes are numbered without a gap, and hold no more than they may and a pack."""
    names = _volumes(filled)

    assert names == [f"{n:04}" for n in range(1, len(names) + 1)]
    assert len(names) > 2
    for name in names:
        packs = (filled / "volumes" / name / "packs").iterdir()
        assert 0 < sum(pack.stat().st_size for pack in packs) <= VOLUME + PACK + BATCH


def test_they_are_one_archive(filled: Path) -> None:
    """Every message is seen, verified, proven and given the place that its receipt names."""
    with Vault(filled) as vault:
        seen = {each.content() for each in vault.view(UserId("bob")).messages()}
        again = receipts(vault.put_many(entries(12)))
        sealed = vault.seal(FileSigner(filled.parent / "signer")).checkpoint
        assert vault.verify("content").ok
        assert vault.verify("log", checkpoints=[sealed]).ok

        assert seen == {each.raw for each in entries(12)}
        assert {each.location.split("/")[0] for each in again} == set(_volumes(filled))
        for receipt in again:
            assert receipt.outcome is Stored.PRESENT
            volume, pack, _ = receipt.location.split("/", 2)
            assert (filled / "volumes" / volume / "packs" / pack).exists()
            assert vault.read(receipt)


def test_a_rebuilt_index_is_the_same(filled: Path) -> None:
    """Whether it is made while the volumes fill or afterwards, from them alone."""
    with Vault(filled) as vault:
        before = _rows(vault)
        vault.rebuild()
        assert _rows(vault) == before
    for file in (filled / "volumes" / "0001").glob("index.db*"):
        file.unlink()
    last = _volumes(filled)[-1]
    with Vault(filled, pack_size=PACK, volume_size=VOLUME) as vault:
        assert _rows(vault) == before
        (receipt,) = receipts([vault.put(entries(1, start=99)[0])])
    assert receipt.location.split("/")[0] >= last


def test_tar_and_zstd_read_every_volume(filled: Path, tmp_path: Path) -> None:
    """Nothing but the two programs is needed, one volume after the other."""
    for pack in sorted(filled.glob("volumes/*/packs/*.tar")):
        subprocess.run(["tar", "xf", pack, "-C", tmp_path], check=True, stderr=subprocess.DEVNULL)
    subprocess.run(["zstd", "-dq", *(tmp_path / "b").iterdir()], check=True)

    found = {each.read_bytes() for each in (tmp_path / "b").glob("*[!t]") if not each.suffix}
    assert found == {each.raw for each in entries(12)}


def test_a_volume_that_is_gone_is_named_and_restored(filled: Path, tmp_path: Path) -> None:
    """Its packs are missing, the others healthy; a replica brings it back to the byte."""
    shutil.copytree(filled, tmp_path / "replica")
    shutil.rmtree(filled / "volumes" / "0002")

    with Vault(filled) as vault:
        found = vault.verify("stored").findings
        assert {each.kind for each in found} >= {"missing-pack"}
        gone = {pack.stem for pack in (tmp_path / "replica/volumes/0002/packs").iterdir()}
        missing = [each for each in found if each.kind == "missing-pack"]
        assert {each.pack for each in missing} == gone
        assert all("volume 0002" in each.words for each in missing)
        with Vault(tmp_path / "replica", read_only=True) as replica:
            plan = vault.plan_repair(replica)
            vault.repair(plan, replica, actor="Ada", reason="a disk less")
        assert vault.verify("content").ok
    restored = {pack.stem for pack in (filled / "volumes/0002/packs").glob("*.tar")}
    assert restored == gone


def test_packs_in_another_volume_are_named_and_read_all_the_same(filled: Path) -> None:
    """Two packs that changed places are found by every level, and lose nobody a message."""
    one, two = (filled / "volumes" / name / "packs" for name in ("0001", "0002"))
    first, second = min(one.iterdir()), min(two.iterdir())
    first.rename(two / first.name)
    second.rename(one / second.name)

    assert _kinds(filled, "quick") == _kinds(filled, "content") == {"misplaced"}
    with Vault(filled) as vault:
        for receipt in receipts(vault.put_many(entries(12))):
            assert receipt.outcome is Stored.PRESENT
            assert vault.read(receipt)


def test_a_volume_by_another_name_is_named(filled: Path) -> None:
    """Its messages are still there, and each pack of it says where it was written."""
    (filled / "volumes" / "0002").rename(filled / "volumes" / "0077")

    assert _kinds(filled) == {"misplaced"}


def test_a_pack_that_is_there_twice_is_named(filled: Path) -> None:
    """A copy that was left behind counts for nothing, and is told."""
    pack = min((filled / "volumes" / "0001" / "packs").iterdir())
    shutil.copy(pack, filled / "volumes" / "0002" / "packs" / pack.name)

    assert _kinds(filled) == {"misplaced"}
    with Vault(filled) as vault:
        assert len(list(vault.view(UserId("bob")).messages())) == 12


@pytest.mark.parametrize(
    ("name", "after"),
    [("0001", "0002"), ("9999", "10000"), ("00000009", "0010"), ("99999999", "99999999")],
)
def test_what_comes_after_a_volume_is_one(name: str, after: str) -> None:
    """The last name there can be has none after it, and no pack goes where none is found."""
    assert following(name) == after
    assert is_volume(after)


@pytest.mark.parametrize("name", ["backup", "0000", "2", "lost+found", "123456789"])
def test_other_folders_are_left_alone(filled: Path, name: str) -> None:
    """What has no name of a volume is none."""
    (filled / "volumes" / name / "packs").mkdir(parents=True)
    before = _volumes(filled)

    with Vault(filled, pack_size=PACK, volume_size=1) as vault:
        vault.put_many(entries(1, start=50))
        assert vault.verify("content").ok
    assert set(_volumes(filled)) - set(before) == {f"{len(before):04}"}
    assert not any((filled / "volumes" / name / "packs").iterdir())


def test_an_empty_volume_that_a_crash_left_is_gone_on_with(filled: Path) -> None:
    """With or without its folder for packs."""
    newest = _volumes(filled)[-1]
    coming = f"{int(newest) + 1:04}"
    (filled / "volumes" / coming).mkdir()
    assert _kinds(filled) == set()

    with Vault(filled, pack_size=PACK, volume_size=1) as vault:
        (receipt,) = receipts([vault.put(entries(1, start=50)[0])])

    assert receipt.location.startswith(coming)
    assert _kinds(filled, "content") == set()


def test_a_link_is_no_volume(filled: Path, tmp_path: Path) -> None:
    """A volume is never looked for behind a link, which anybody could have made."""
    (filled / "volumes" / "0002").rename(tmp_path / "elsewhere")
    (filled / "volumes" / "0002").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(SinkCorrupt, match="link"), Vault(filled):
        pass


def test_a_volume_on_a_network_file_system_is_refused(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each may lie on a disk of its own, and none on another machine's."""
    table = tmp_path / "mounts"
    table.write_text(f"1 0 0:1 / {filled}/volumes/0002 rw - nfs4 server:/x rw\n")
    monkeypatch.setattr(_mounts, "MOUNTS", str(table))

    with pytest.raises(Unsupported, match="nfs4"), Vault(filled):
        pass
    table.write_text(f"1 0 0:1 / {filled}/volumes/0002 rw - ext4 /dev/sdb rw\n")
    with Vault(filled) as vault:
        assert vault.verify("stored").ok


def test_two_processes_roll_together(folder: Path) -> None:
    """Each finds the newest volume of both; nothing is lost, numbered twice or skipped."""
    words = [sys.executable, "-c", CHILD, str(Path(__file__).parents[1]), str(folder)]
    running = [subprocess.Popen([*words, str(start)]) for start in (0, 100)]
    assert [each.wait(timeout=60) for each in running] == [0, 0]

    names = _volumes(folder)
    assert names == [f"{n:04}" for n in range(1, len(names) + 1)]
    assert len(names) > 2
    with Vault(folder) as vault:
        assert vault.verify("content").ok
        seen = {each.content() for each in vault.view(UserId("bob")).messages()}
    assert seen == {each.raw for each in [*entries(12), *entries(12, start=100)]}


def test_erasing_reaches_every_volume(filled: Path) -> None:
    """The bytes of what was erased are overwritten wherever they are."""
    with Vault(filled) as vault:
        ids = [each.id for each in vault.auditor("me", "why").entries()][:8]
        vault.keeper("Ada", "request").erase(*ids)
        assert vault.verify("content").ok
        assert len(list(vault.view(UserId("bob")).messages())) == 4


def test_an_encrypted_vault_rolls(folder: Path, tmp_path: Path) -> None:
    """Its keys stay in one place, and its packs go where those of others go."""
    keys = FileKeys.create(tmp_path / "acme.key")
    with Vault(folder, pack_size=PACK, volume_size=VOLUME, keys=keys) as vault:
        for each in entries(9):
            vault.put(each)
    assert len(_volumes(folder)) > 1
    with Vault(folder, keys=keys) as vault:
        assert vault.verify("content").ok
        assert len(list(vault.view(UserId("bob")).messages())) == 9
