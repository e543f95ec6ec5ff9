"""A saved checkpoint that is damaged comes back from a replica, and no other in its place."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from attrs import evolve, frozen
from support.vaults import entries

from mailarchive.errors import SinkError
from mailarchive.testing.fuse import Crash, Fuse
from mailarchive.vault import FileSigner, LogCheckpoint, Vault, VerifierKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailarchive.vault import RepairPlan


@frozen
class World:
    """A vault with two seals, a copy of it, and the key that signed."""

    ours: Path
    replica: Path
    key: VerifierKey
    first: LogCheckpoint

    def file(self, of: Path | None = None) -> Path:
        """Where the older checkpoint is saved."""
        return self.saved(of) / str(self.first.size)

    def saved(self, of: Path | None = None) -> Path:
        """Where all checkpoints are saved."""
        return (of or self.ours) / "volumes" / "0001" / "log" / "checkpoints"

    def plan(self, *, key: bool = True, apply: bool = False) -> RepairPlan:
        """Return the plan, carried out where it is to be."""
        with Vault(self.ours) as vault, Vault(self.replica, read_only=True) as other:
            made = vault.plan_repair(other, key=self.key if key else None)
            if apply:
                vault.repair(made, other, actor="Ada", reason="bit rot")
        return made

    def kinds(self) -> set[str]:
        """Return what verifying finds."""
        with Vault(self.ours) as vault:
            return {each.kind for each in vault.verify("log", key=self.key).findings}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A vault that nobody changes, sealed before and behind its first full tile."""
    top = tmp_path_factory.mktemp("made")
    signer = FileSigner(top / "signer")
    with Vault(top / "v", keys=None) as vault:
        vault.put_many(entries(5))
        first = vault.seal(signer).checkpoint
        vault.put_many(entries(260, start=5))
        vault.seal(signer)
        return World(top / "v", top / "v", signer.verifier(vault.origin), first)


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    """Two copies of it; both are whole."""
    for name in ("v", "replica"):
        shutil.copytree(made.ours, tmp_path / name)
    shutil.copytree(made.ours.with_name("signer"), tmp_path / "signer")
    return evolve(made, ours=tmp_path / "v", replica=tmp_path / "replica")


def _junk(file: Path) -> None:
    file.write_bytes(b"junk")


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-10] ^= 1
    file.write_bytes(data)


def _other_size(file: Path) -> None:
    """A genuine checkpoint under the number of another."""
    (other,) = (each for each in file.parent.iterdir() if each != file)
    shutil.copy(other, file)


def _link(file: Path) -> None:
    shutil.move(file, file.parents[5] / "elsewhere")
    file.symlink_to(file.parents[5] / "elsewhere")


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


DAMAGES: list[Callable[[Path], None]] = [_junk, _flip, _other_size, _link, _pipe, os.unlink]


@pytest.mark.parametrize("damage", DAMAGES)
def test_it_is_restored_to_the_byte(world: World, damage: Callable[[Path], None]) -> None:
    """What is there again is the very file, and nothing else was touched."""
    damage(world.file())
    packs = {pack: pack.read_bytes() for pack in world.ours.rglob("*.tar")}

    made = world.plan(apply=True)

    assert [each.size for each in made.checkpoints] == [world.first.size]
    assert (bool(made), made.packs, made.lost_checkpoints) == (True, (), ())
    assert not world.file().is_symlink()
    assert world.file().read_bytes() == world.file(world.replica).read_bytes()
    assert {pack: pack.read_bytes() for pack in world.ours.rglob("*.tar")} == packs
    assert world.kinds() == set()
    assert list(world.plan().lines()) == ["nothing to repair"]


def test_without_the_key_it_is_only_named(world: World) -> None:
    """Nothing else tells a genuine one from what somebody wrote into the replica."""
    _junk(world.file())

    made = world.plan(key=False, apply=True)

    assert (made.checkpoints, made.lost_checkpoints) == ((), (world.first.size,))
    assert not made
    assert not made.is_whole
    (line,) = made.lines()
    assert line.startswith(f"checkpoint {world.first.size} is damaged, and none can be taken")
    assert world.file().read_bytes() == b"junk"


def _forged(world: World) -> LogCheckpoint:
    """Another root under the old signature."""
    return evolve(world.first, root=bytes(32))


def _stranger(world: World) -> LogCheckpoint:
    """The right root, signed by somebody else."""
    with Vault(world.replica) as vault:
        other = vault.seal(FileSigner(world.replica.with_name("stranger"))).checkpoint
        assert other.size > world.first.size
    return evolve(world.first, signatures=other.signatures)


def _elsewhere(world: World) -> LogCheckpoint:
    """That of another log."""
    return evolve(world.first, origin="elsewhere")


@pytest.mark.parametrize("other", [_forged, _stranger, _elsewhere])
def test_no_other_is_taken(world: World, other: Callable[[World], LogCheckpoint]) -> None:
    """One that the key has not signed stays in the replica."""
    world.file(world.replica).write_bytes(other(world).to_bytes())
    _junk(world.file())

    assert world.plan().lost_checkpoints == (world.first.size,)
    assert "log-checkpoint" in world.kinds()


def test_a_genuine_one_of_another_history_is_not_taken(world: World, tmp_path: Path) -> None:
    """A key may have signed two histories of one log: what this log leads to counts."""
    fork = tmp_path / "fork"
    shutil.copytree(world.ours, fork)
    shutil.rmtree(fork / "volumes")
    (fork / "volumes" / "0001" / "packs").mkdir(parents=True)
    with Vault(fork) as vault:
        vault.put_many(entries(5, start=900))
        shutil.copytree(tmp_path / "signer", tmp_path / "again")
        for each in (tmp_path / "again").iterdir():
            if not each.name.startswith("key"):
                each.unlink()
        made = vault.seal(FileSigner(tmp_path / "again")).checkpoint
    assert made.size == world.first.size
    assert world.key.check(made)
    world.file(world.replica).write_bytes(made.to_bytes())
    _junk(world.file())

    assert world.plan().lost_checkpoints == (world.first.size,)


def test_what_a_key_signed_is_never_replaced(world: World) -> None:
    """Whatever the replica has: it is evidence, and `verify` judges it."""
    _junk(world.file(world.replica))

    assert list(world.plan().lines()) == ["nothing to repair"]


def test_newer_ones_of_a_replica_are_left_there(world: World, tmp_path: Path) -> None:
    """This log does not lead to what it does not have."""
    with Vault(world.replica) as vault:
        vault.put_many(entries(3, start=700))
        vault.seal(FileSigner(tmp_path / "signer"))

    assert world.plan().checkpoints == ()


@pytest.mark.parametrize("how", ["none", "link"])
def test_a_replica_without_a_log_has_none(world: World, how: str) -> None:
    """A copy of the packs alone is a replica too."""
    log = world.saved(world.replica).parent
    shutil.rmtree(log)
    if how == "link":
        log.symlink_to(world.saved().parent)
    _junk(world.file())

    assert world.plan().lost_checkpoints == (world.first.size,)


def test_a_vault_that_was_never_sealed_needs_none(tmp_path: Path) -> None:
    """There is nothing to lead to."""
    for name in ("a", "b"):
        with Vault(tmp_path / name, keys=None) as vault:
            vault.put_many(entries(1))
    with Vault(tmp_path / "a") as vault, Vault(tmp_path / "b") as other:
        assert vault.plan_repair(other).checkpoints == ()


def test_what_changed_since_the_plan_is_planned_again(world: World) -> None:
    """Nothing is replaced that nobody has looked at."""
    _junk(world.file())
    with Vault(world.ours) as vault, Vault(world.replica, read_only=True) as other:
        made = vault.plan_repair(other, key=world.key)
        world.file().write_bytes(b"other junk")
        with pytest.raises(SinkError, match="when the repair was planned"):
            vault.repair(made, other, actor="Ada", reason="bit rot")

    assert world.file().read_bytes() == b"other junk"


def test_a_crash_on_the_way_is_no_harm(world: World) -> None:
    """The file is as it was or as it must be, and the repair can be repeated."""

    def repair(fuse: Fuse) -> None:
        with Vault(world.ours, fuse=fuse) as vault, Vault(world.replica, read_only=True) as other:
            made = vault.plan_repair(other, key=world.key)
            vault.repair(made, other, actor="Ada", reason="bit rot")

    _junk(world.file())
    steps = Fuse().count(repair)
    right = world.file(world.replica).read_bytes()
    assert world.file().read_bytes() == right
    for n in range(steps):
        _junk(world.file())
        with pytest.raises(Crash):
            repair(Fuse(n))
        assert world.file().read_bytes() in {b"junk", right}
        world.plan(apply=True)
        assert world.kinds() == set()
