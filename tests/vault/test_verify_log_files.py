"""Whatever stands in the place of a file of a log or a pack is a finding, and ends no look."""

from __future__ import annotations

import os
import shutil
import socket
from functools import partial
from typing import TYPE_CHECKING

import pytest
from support.vaults import entries

from mailarchive import UserId
from mailarchive.errors import SinkCorrupt
from mailarchive.testing.fuse import Crash, Fuse
from mailarchive.vault import FileSigner, Vault
from mailarchive.vault.anchors import FileAnchor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailarchive.vault import VerifyReport

LEVELS = ("quick", "stored", "content", "log")


def _socket(path: Path) -> None:
    """Leave a socket there; its name is short, since a path of a socket may not be long."""
    here = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def _huge(path: Path) -> None:
    """Leave a file there that claims to be a terabyte."""
    path.touch()
    os.truncate(path, 1 << 40)


THINGS: dict[str, Callable[[Path], object]] = {
    "fifo": os.mkfifo,
    "link": lambda path: path.symlink_to("/etc/passwd"),
    "loop": lambda path: path.symlink_to(path.name),
    "folder": lambda path: path.mkdir(),
    "socket": _socket,
    "huge": _huge,
    "gone": lambda path: None,
}


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vault that was sealed three times and anchored once; nothing may change it."""
    top = tmp_path_factory.mktemp("sealed")
    with Vault(top / "v", keys=None, pack_size=3000) as vault:
        for n in (3, 6, 9):
            vault.put_many(entries(n))
            vault.seal(FileSigner(top / "signer"), [FileAnchor(top / "elsewhere")])
    return top / "v"


@pytest.fixture
def log(sealed: Path, folder: Path) -> Path:
    """The log of a copy to spoil."""
    shutil.copytree(sealed, folder)
    return folder / "volumes" / "0001" / "log"


def _put(thing: str, at: Path) -> None:
    if at.is_dir():
        shutil.rmtree(at)
    else:
        at.unlink()
    THINGS[thing](at)


def _found(folder: Path, level: str) -> VerifyReport:
    with Vault(folder, read_only=True) as vault:
        return vault.verify(level)


def _kinds(folder: Path, level: str) -> set[str]:
    return {each.kind for each in _found(folder, level).findings}


def test_a_sealed_vault_is_accused_of_nothing(sealed: Path) -> None:
    """With all of its files there, at every level."""
    assert [_kinds(sealed, level) for level in LEVELS] == [set()] * 4


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("name", ["checkpoint", "checkpoints"])
def test_a_checkpoint_that_is_none_is_named(
    log: Path, folder: Path, name: str, thing: str
) -> None:
    """The packs are looked at all the same, and no level raises."""
    _put(thing, log / name)

    assert _kinds(folder, "log") == {"log-checkpoint"}
    assert [_kinds(folder, level) for level in LEVELS[:3]] == [set()] * 3


@pytest.mark.parametrize("thing", THINGS)
def test_a_saved_checkpoint_that_is_none_is_named(log: Path, folder: Path, thing: str) -> None:
    """Also an older one, of which an anchor has a copy."""
    oldest = min((log / "checkpoints").iterdir(), key=lambda each: int(each.name))
    _put(thing, oldest)

    assert _kinds(folder, "log") == {"log-checkpoint"}


@pytest.mark.parametrize("thing", [each for each in THINGS if each not in {"gone", "folder"}])
def test_a_log_that_is_none_is_named_at_every_level(log: Path, folder: Path, thing: str) -> None:
    """The packs can be verified without it."""
    _put(thing, log)

    for level in LEVELS:
        report = _found(folder, level)
        assert {each.kind for each in report.findings} == {"log"}
        assert report.entries == 9


@pytest.mark.parametrize("thing", THINGS)
def test_tiles_without_any_checkpoint_are_named(log: Path, folder: Path, thing: str) -> None:
    """They are of several seals, each of which left a checkpoint."""
    for name in ("checkpoint", "checkpoints", "anchors"):
        shutil.rmtree(log / name, ignore_errors=True)
    (log / "checkpoint").unlink()
    THINGS[thing](log / "checkpoints")

    assert _kinds(folder, "log") == {"log-checkpoint"}


def test_an_older_newest_checkpoint_is_named(log: Path, folder: Path) -> None:
    """One that is behind by more than the seal that may have broken off."""
    saved = sorted((log / "checkpoints").iterdir(), key=lambda each: int(each.name))

    shutil.copy(saved[1], log / "checkpoint")
    assert _kinds(folder, "log") == set()
    shutil.copy(saved[0], log / "checkpoint")
    assert _kinds(folder, "log") == {"log-checkpoint"}


@pytest.mark.parametrize("thing", ["fifo", "link", "folder", "socket"])
@pytest.mark.parametrize("kind", ["*.tar", "tile/0/*/*"])
def test_a_pack_or_a_tile_that_is_none_is_named(
    log: Path, folder: Path, kind: str, thing: str
) -> None:
    """No level raises, whatever stands in its place."""
    place = log if kind.startswith("tile") else log.with_name("packs")
    newest = max(place.glob(kind), key=lambda each: (len(each.name), each.name))
    _put(thing, newest)

    found = [_kinds(folder, level) for level in LEVELS]

    assert found[3] >= ({"log-tile"} if place == log else {"missing-pack", "sealed-batch"})
    assert all(found[:3]) == (place != log)


def _flip(at: Path) -> None:
    at.write_bytes(bytes(byte ^ 1 for byte in at.read_bytes()))


OLDER: dict[str, Callable[[Path], object]] = {
    "changed": _flip,
    **{name: partial(_put, name) for name in THINGS if name != "folder"},
}


@pytest.mark.parametrize("how", OLDER)
@pytest.mark.parametrize("kind", ["0", "entries"])
def test_a_tile_of_an_older_checkpoint_is_named_and_made_anew(
    log: Path, folder: Path, kind: str, how: str
) -> None:
    """A proof under that checkpoint needs it, as long as no full tile takes its place."""
    tiles = sorted((log / "tile" / kind / "000.p").iterdir(), key=lambda each: int(each.name))
    was = tiles[0].read_bytes()

    OLDER[how](tiles[0])
    (finding,) = _found(folder, "log").findings
    with Vault(folder) as vault:
        vault.rebuild()
        old, *_ = vault.checkpoints()
        message = list(vault.view(UserId("bob")).messages())[-1]
        message.proof(checkpoint=old).check(message.content(), checkpoint=old)

    assert finding.kind == "log-tile"
    assert f"tile/{kind}/000.p/{old.size}" in finding.words
    assert tiles[0].read_bytes() == was
    assert _kinds(folder, "log") == set()


def test_tiles_that_became_full_ones_are_not_missed(tmp_path: Path) -> None:
    """Nor made anew: a full tile is all that a log keeps of them."""
    with Vault(tmp_path / "v", keys=None) as vault:
        for n in (2, 200, 100, 3):
            vault.put_many(entries(n, start=n * 1000))
            vault.seal(FileSigner(tmp_path / "s"))
        log = tmp_path / "v" / "volumes" / "0001" / "log" / "tile"
        kept = {each: each.read_bytes() for each in log.rglob("*") if each.is_file()}
        assert vault.verify("log").ok
        shutil.rmtree(log)
        assert {each.kind for each in vault.verify("log").findings} == {"log-tile"}
        vault.rebuild()

    assert {each: each.read_bytes() for each in log.rglob("*") if each.is_file()} == kept
    assert not (log / "0" / "000.p").exists()


def test_a_folder_in_the_place_of_a_tile_is_to_be_moved_away(log: Path, folder: Path) -> None:
    """What is in it may be somebody's: a rebuild says so, and leaves nothing behind."""
    newest = max((log / "tile/0/000.p").iterdir(), key=lambda each: int(each.name))
    _put("folder", newest)
    before = sorted(newest.parent.iterdir())

    with Vault(folder) as vault, pytest.raises(SinkCorrupt, match="is a folder: move it away"):
        vault.rebuild()

    assert sorted(newest.parent.iterdir()) == before


@pytest.mark.slow
@pytest.mark.parametrize("seals", [0, 1])
def test_a_crash_of_a_seal_is_not_accused(tmp_path: Path, seals: int) -> None:
    """Whatever step a first or a later seal broke off at."""

    def seal(top: Path, fuse: Callable[[str], None]) -> None:
        with Vault(top / "v", keys=None) as vault:
            for n in range(seals):
                vault.put_many(entries(2 + n))
                vault.seal(FileSigner(top / "s"))
            vault.put_many(entries(9))
            vault._disk.fuse = fuse
            vault.seal(FileSigner(top / "s", fuse=fuse))

    steps = Fuse().count(lambda fuse: seal(tmp_path / "count", fuse))
    for n in range(steps):
        with pytest.raises(Crash):
            seal(tmp_path / str(n), Fuse(n))
        assert _kinds(tmp_path / str(n) / "v", "log") == set()
