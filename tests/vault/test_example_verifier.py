"""A short program with no word of ours finds what was changed, from a kept checkpoint alone."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import frozen
from support import forged
from support.vaults import entries, entry, journaled, mail, to

from mailarchive import Fidelity, Provenance
from mailarchive.vault import FileSigner, Vault

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = Path(__file__).parents[2] / "docs" / "examples" / "verify_vault.py"


@frozen
class Kept:
    """A vault, and what was kept elsewhere: a checkpoint and the key."""

    folder: Path
    checkpoint: Path
    key: str

    def copy(self, folder: Path) -> Kept:
        """Return the same with another copy of the vault."""
        shutil.copytree(self.folder, folder)
        return Kept(folder, self.checkpoint, self.key)

    def says(self, *, key: bool = True) -> tuple[int, str]:
        """Return what the program says, and how it ends."""
        words = [sys.executable, "-I", str(PROGRAM), str(self.folder), str(self.checkpoint)]
        done = subprocess.run(
            [*words, *([self.key] if key else [])],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A vault with every kind of line, sealed, and with more behind the seal."""
    top = tmp_path_factory.mktemp("example")
    signer = FileSigner(top / "signer")
    with Vault(top / "v", keys=None, pack_size=20_000, volume_size=30_000) as vault:
        vault.put_many(entries(30))
        vault.put(journaled(mail(50), [to("bob@example.com")], key="50"))
        vault.put(journaled(mail(51), [to("bob@example.com")], key="51", encoded=True))
        vault.put(entry(mail(52), key="52", provenance=Provenance(Fidelity.WIRE, is_report=True)))
        (first, *_) = vault.auditor("me", "why").entries()
        vault.keeper("Ada", "request").erase(first.id)
        vault.put_many(entries(20, start=60))
        sealed = vault.seal(signer).checkpoint
        vault.put_many(entries(3, start=100))
        (top / "checkpoint.txt").write_bytes(sealed.to_bytes())
        return Kept(top / "v", top / "checkpoint.txt", str(signer.verifier(vault.origin)))


@pytest.fixture
def kept(whole: Kept, tmp_path: Path) -> Kept:
    """A copy of it, to spoil."""
    return whole.copy(tmp_path / "v")


def _packs(kept: Kept) -> list[Path]:
    return sorted(kept.folder.rglob("*.tar"), key=lambda pack: pack.stat().st_mtime_ns)


def _flip(pack: Path, needle: bytes) -> None:
    data = pack.read_bytes()
    at = data.index(needle)
    pack.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_the_program_is_short_and_needs_nothing_of_ours() -> None:
    """Fewer than a hundred lines, the standard library, and `cryptography` for the signature."""
    source = PROGRAM.read_text()
    imported = {
        (node.names[0].name if isinstance(node, ast.Import) else str(node.module)).split(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }

    assert len(source.splitlines()) < 100
    assert imported - set(sys.stdlib_module_names) == {"cryptography"}


@pytest.mark.parametrize("key", [True, False])
def test_a_whole_vault_is_as_it_was_sealed(whole: Kept, key: bool) -> None:
    """What is whole is said to be so, whatever came behind the seal."""
    status, said = whole.says(key=key)

    assert (status, said.split(",")[0]) == (0, "64 lines"), said


def test_a_torn_end_is_no_damage(kept: Kept) -> None:
    """What a crash leaves behind was never acknowledged."""
    with _packs(kept)[-1].open("ab") as pack:
        pack.write(b"b/torn" * 200)

    assert kept.says()[0] == 0


DAMAGES: dict[str, Callable[[Kept], object]] = {
    "a message flipped": lambda kept: _flip(_packs(kept)[0], b"\x28\xb5\x2f\xfd"),
    "an entry flipped": lambda kept: _flip(_packs(kept)[0], b"alice@example"),
    "a header flipped": lambda kept: _flip(_packs(kept)[0], b"0000644"),
    "a pack cut": lambda kept: _packs(kept)[0].write_bytes(_packs(kept)[0].read_bytes()[:-8000]),
    "a pack deleted": lambda kept: _packs(kept)[1].unlink(),
    "every pack deleted": lambda kept: shutil.rmtree(kept.folder / "volumes"),
    "another vault": lambda kept: _flip(kept.folder / "vault.json", b"origin"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_was_changed_is_found(kept: Kept, damage: str) -> None:
    """Each change ends in a failure, with the index there and none the wiser."""
    DAMAGES[damage](kept)

    status, said = kept.says()

    assert status == 1, said


def test_a_forged_vault_is_found(kept: Kept) -> None:
    """Other mail under the same name, consistent in itself, is not what was sealed."""
    identity = (kept.folder / "vault.json").read_bytes()
    shutil.rmtree(kept.folder)
    (kept.folder / "volumes/0001/packs").mkdir(parents=True)
    (kept.folder / "vault.json").write_bytes(identity)
    with Vault(kept.folder) as vault:
        vault.put_many(entries(90, start=1))
        assert vault.verify("content").ok

    assert kept.says() == (1, "NOT what was sealed: its lines are others\n")


def test_a_forged_checkpoint_is_found_by_its_key(kept: Kept, tmp_path: Path) -> None:
    """A checkpoint that somebody else signed is not taken where the key is given."""
    with Vault(kept.folder) as vault:
        forged = vault.seal(FileSigner(tmp_path / "forger")).checkpoint
    (tmp_path / "forged.txt").write_bytes(forged.to_bytes())

    other = Kept(kept.folder, tmp_path / "forged.txt", kept.key)
    assert other.says(key=False)[0] == 0
    assert other.says()[0] == 1


def test_an_older_copy_is_found(kept: Kept, tmp_path: Path) -> None:
    """A vault that was taken back has fewer lines than were sealed."""
    with Vault(tmp_path / "x", keys=None) as vault:
        vault.put_many(entries(2))
    shutil.copytree(tmp_path / "x", tmp_path / "old")
    with Vault(tmp_path / "x") as vault:
        vault.put_many(entries(2, start=2))
        sealed = vault.seal(FileSigner(tmp_path / "s")).checkpoint
    (tmp_path / "c.txt").write_bytes(sealed.to_bytes())

    said = Kept(tmp_path / "old", tmp_path / "c.txt", kept.key).says(key=False)
    assert said == (1, "NOT what was sealed: 6 lines were sealed, and only 3 are there\n")


def test_zeros_where_nothing_was_erased_are_found(kept: Kept) -> None:
    """Only what is on record as erased may be empty."""
    pack = _packs(kept)[0]
    data = pack.read_bytes()
    at = data.index(b"\x28\xb5\x2f\xfd")
    size = int(data[at - 512 + 124 : at - 512 + 135], 8)
    pack.write_bytes(data[:at] + bytes(size) + data[at + size :])

    assert kept.says()[0] == 1


def _first(kept: Kept) -> tuple[str, tuple[str, int]]:
    """The id of an entry that is there, and where its bytes are."""
    lines = [line for lines in forged.manifests(kept.folder) for line in lines]
    entry = [line for line in lines if line["kind"] == "entry"][5]
    return entry["id"], forged.place_of(kept.folder, entry["raw"])


def test_only_an_erasure_excuses_zeros(kept: Kept) -> None:
    """That bytes were overwritten is no excuse for it, and least of all behind the seal."""
    _, place = _first(kept)
    forged.empty(kept.folder, place)
    forged.append(kept.folder, forged.reclaimed(place))

    status, said = kept.says()
    assert (status, said) == (1, f"NOT what was sealed: a message in {place[0]}\n")


def test_it_says_how_many_were_erased(kept: Kept, whole: Kept) -> None:
    """Nothing is said to be as it was that is not there, and what was erased since is told."""
    origin = kept.key.split("+")[0]
    rest = f"are as they were sealed under {origin}\n"
    assert whole.says() == (
        0,
        f"64 lines, and every message of theirs, but 1 erased, 0 since, {rest}",
    )

    with Vault(kept.folder) as vault:
        every = [it.id for it in vault.auditor("me", "why").entries() if not it.erased]
        vault.keeper("Ada", "request").erase(every[3], every[4], every[-1])
    assert kept.says() == (
        0,
        f"64 lines, and every message of theirs, but 3 erased, 2 since, {rest}",
    )


def test_bytes_that_another_entry_needs_are_missed(tmp_path: Path) -> None:
    """An erasure of one of two entries with the same bytes excuses no zeros."""
    same = [entry(mail(1), key=str(n)) for n in range(2)]
    with Vault(tmp_path / "v", keys=None) as vault:
        vault.put_many(same)
        vault.keeper("Ada", "request").erase(same[0].id)
        (tmp_path / "c").write_bytes(vault.seal(FileSigner(tmp_path / "s")).checkpoint.to_bytes())
    there = Kept(tmp_path / "v", tmp_path / "c", "")
    assert there.says(key=False)[0] == 0
    forged.empty(there.folder, forged.place_of(there.folder, same[0].raw_digest.hex))

    assert there.says(key=False)[0] == 1


def test_what_was_erased_and_put_again_is_there(tmp_path: Path) -> None:
    """The same bytes under another id are stored anew, and the place of the first is empty."""
    with Vault(tmp_path / "v", keys=None) as vault:
        vault.put(one := entry(mail(1), key="1"))
        vault.keeper("Ada", "request").erase(one.id)
        vault.put(entry(mail(1), key="2"))
        (tmp_path / "c").write_bytes(vault.seal(FileSigner(tmp_path / "s")).checkpoint.to_bytes())

    assert Kept(tmp_path / "v", tmp_path / "c", "").says(key=False)[0] == 0


@pytest.mark.parametrize("name", ["0001.bak", "copy", "0000", "123", "123456789"])
def test_another_folder_is_no_volume(kept: Kept, name: str) -> None:
    """A copy of a volume under another name is none of the vault's, nor is one of a pack."""
    shutil.copytree(kept.folder / "volumes" / "0001", kept.folder / "volumes" / name)
    pack = _packs(kept)[0]
    shutil.copy(pack, pack.with_name(f"copy of {pack.name}"))

    assert kept.says()[0] == 0


def test_nothing_sealed_is_poisoned_later(kept: Kept) -> None:
    """What another batch names counts, whoever appends that a write to its pack failed."""
    for lines in forged.manifests(kept.folder)[:3]:
        forged.append(kept.folder, {"kind": "poisoned", "pack": lines[0]["pack"], "length": 0})

    assert kept.says()[0] == 0


def test_a_copy_of_a_pack_under_another_name_counts_for_nothing(kept: Kept) -> None:
    """Its manifests name the pack that they were written in."""
    for pack in _packs(kept):
        shutil.copy(pack, pack.with_name(pack.name.replace("Z-", "Z-1", 1)))

    assert kept.says()[0] == 0


def test_a_pack_that_never_began_is_no_damage(kept: Kept) -> None:
    """A pack whose first write was broken off holds nothing that counts."""
    for n, left in enumerate((b"", b"b/torn" * 20)):
        _packs(kept)[0].with_name(f"20991231T000000Z-1-0123456789a{n}.tar").write_bytes(left)

    assert kept.says()[0] == 0


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("name", ["pack", "another pack", "vault.json"])
def test_what_is_no_file_is_refused(kept: Kept, make: Callable[[Path], object], name: str) -> None:
    """A FIFO would be waited for and a device read for ever: neither is opened."""
    pack = _packs(kept)[0]
    another = pack.with_name("20991231T000000Z-1-0123456789ab.tar")
    place = {"pack": pack, "another pack": another, "vault.json": kept.folder / "vault.json"}[name]
    place.unlink(missing_ok=True)
    make(place)

    assert kept.says() == (1, "NOT what was sealed: a pack or vault.json is no file\n")
