"""What was sealed cannot be changed, removed, reordered or taken back without it showing."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from support.vaults import Clock, entries, entry, mail

from mailarchive import Digest, UserId
from mailarchive.errors import ConfigurationError, HistoryChanged
from mailarchive.vault import FileSigner, Level, LogCheckpoint, Vault, VerifierKey, _manifest, _tar

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from mailarchive import ArchiveEntry
    from mailarchive.vault import VerifyReport

BOB = UserId("bob")


@frozen
class World:
    """A vault that was sealed twice, what its signer remembers, and what was kept elsewhere."""

    folder: Path
    signer: FileSigner
    first: LogCheckpoint
    second: LogCheckpoint
    key: VerifierKey

    def copy(self, folder: Path) -> World:
        """Return the same with another copy of the vault, to spoil."""
        shutil.copytree(self.folder, folder)
        return World(folder, self.signer, self.first, self.second, self.key)

    @property
    def packs(self) -> list[Path]:
        """The packs, oldest first."""
        return sorted(self.folder.rglob("*.tar"))

    @property
    def log(self) -> Path:
        """The folder of the log."""
        return self.folder / "volumes" / "0001" / "log"

    def drop_index(self) -> None:
        """Let the next opening make the index anew."""
        for file in self.folder.rglob("index.db*"):
            file.unlink()

    def verified(self, *, kept: bool = True, key: bool = True) -> VerifyReport:
        """Return what verification finds, with what was kept elsewhere, or without."""
        with Vault(self.folder, read_only=True) as vault:
            return vault.verify(
                "log",
                checkpoints=[self.first, self.second] if kept else (),
                key=self.key if key else None,
            )


def _ticking() -> Callable[[], datetime]:
    clock = Clock()

    def tick() -> datetime:
        clock.advance(seconds=1)
        return clock()

    return tick


def _made(folder: Path, signer: FileSigner, mails: list[list[ArchiveEntry]]) -> World:
    """A vault of many packs, sealed in the middle and near the end, with a batch behind."""
    with Vault(folder, keys=None, pack_size=1, clock=_ticking()) as vault:
        for some in mails[:3]:
            vault.put_many(some)
        first = vault.seal(signer).checkpoint
        for some in mails[3:-1]:
            vault.put_many(some)
        vault.auditor("me", "why")
        second = vault.seal(signer).checkpoint
        vault.put_many(mails[-1])
        return World(folder, signer, first, second, signer.verifier(vault.origin))


def _mails() -> list[list[ArchiveEntry]]:
    return [entries(60, start=n) for n in range(0, 360, 60)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The vault that is copied and spoiled; nothing may change it."""
    top = tmp_path_factory.mktemp("sealed")
    made = _made(top / "v", FileSigner(top / "signer"), _mails())
    assert len(made.packs) == 7
    return made


@pytest.fixture
def world(whole: World, folder: Path) -> World:
    """A copy of that vault, for this test to spoil."""
    return whole.copy(folder)


def _kinds(report: VerifyReport) -> set[str]:
    return {finding.kind for finding in report.findings}


def _accused(report: VerifyReport) -> set[str | None]:
    return {finding.pack for finding in report.findings}


# -- what is whole ------------------------------------------------------------------------


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("kept", [True, False])
def test_a_sealed_vault_is_accused_of_nothing(world: World, kept: bool, index: bool) -> None:
    """Packs, log and checkpoints agree, whatever is kept elsewhere; what is sealed is counted."""
    if not index:
        world.drop_index()

    report = world.verified(kept=kept, key=kept)

    assert report.findings == ()
    assert (report.leaves, report.sealed) == (368, 307)
    assert report.sealed == world.second.size
    assert json.loads(json.dumps(report.to_dict()))["sealed"] == 307


def test_a_vault_that_was_never_sealed_is_accused_of_nothing(tmp_path: Path) -> None:
    """Without a log there is nothing to compare, and nothing is sealed."""
    with Vault(tmp_path / "v", keys=None) as vault:
        vault.put_many(entries(3))
        report = vault.verify("log")

    assert (report.findings, report.leaves, report.sealed) == ((), 4, 0)


def test_a_newer_seal_meanwhile_is_not_accused(world: World) -> None:
    """What another process puts and seals while one verifies is no finding."""
    with Vault(world.folder) as vault, Vault(world.folder) as other:
        n = [1000]
        signer = FileSigner(world.folder.parent / "another")

        def meanwhile(done: int, of: int) -> None:
            other.put_many(entries(40, start=n[0]))
            other.seal(signer)
            n[0] += 40

        assert vault.verify("log", on_progress=meanwhile).findings == ()
        assert n[0] > 1100


def test_checkpoints_are_compared_at_one_level_alone(world: World) -> None:
    """A checkpoint that would not be looked at is refused, not passed over."""
    with Vault(world.folder, read_only=True) as vault:
        with pytest.raises(ConfigurationError, match="at the level log alone"):
            vault.verify("content", checkpoints=[world.first])
        with pytest.raises(ConfigurationError):
            vault.verify(Level.QUICK, key=world.key)


# -- packs --------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_a_flipped_bit_of_a_pack_is_named(
    whole: World, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """One bit anywhere in what is sealed is found, and no other pack is accused."""
    world = whole.copy(tmp_path_factory.mktemp("flip") / "v")
    pack = data.draw(st.sampled_from(world.packs))
    raw = bytearray(pack.read_bytes())
    end = len(raw) - len(_tar.TRAILER) if pack != world.packs[-1] else len(raw)
    bit = data.draw(st.integers(0, end * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    pack.write_bytes(raw)

    report = world.verified()

    assert pack.stem in _accused(report)
    named = {finding.pack for finding in report.findings if finding.kind not in {"gap", "order"}}
    assert named <= {pack.stem, None}
    shutil.rmtree(world.folder)


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("n", [0, 3, 5])
def test_a_deleted_pack_is_named(world: World, n: int, index: bool) -> None:
    """Which batch was sealed and is missing is told, by its number and pack, from the log."""
    gone = world.packs[n]
    gone.unlink()
    if not index:
        world.drop_index()

    report = world.verified()

    sealed = [finding for finding in report.findings if finding.kind == "sealed-batch"]
    assert [finding.pack for finding in sealed] == [gone.stem]
    assert f"batch {n + 1} was sealed, and is not there" in sealed[0].words
    assert {"rolled-back", "history"} & _kinds(report)


def test_a_cut_pack_is_named(world: World) -> None:
    """A pack that ends too early is named, once as what it is and once by the log."""
    pack = world.packs[2]
    pack.write_bytes(pack.read_bytes()[:-3000])

    report = world.verified()

    assert "truncated" in _kinds(report)
    assert _accused(report) <= {pack.stem, None, world.packs[3].stem}
    assert any(f.kind == "sealed-batch" and f.pack == pack.stem for f in report.findings)


@pytest.mark.parametrize("index", [True, False])
def test_swapped_packs_are_named(world: World, index: bool) -> None:
    """Two packs that changed places are both found; the others are not accused."""
    one, two = world.packs[1], world.packs[4]
    data = one.read_bytes(), two.read_bytes()
    one.write_bytes(data[1])
    two.write_bytes(data[0])
    if not index:
        world.drop_index()

    report = world.verified()

    assert {one.stem, two.stem} <= _accused(report)
    strict = {f.pack for f in report.findings if f.kind not in {"gap", "order"}}
    assert strict <= {one.stem, two.stem, None}


def _forged(world: World, change: Callable[[list[list[ArchiveEntry]]], None]) -> None:
    """Replace all packs with others that are consistent in themselves, as a forger would.

    The vault's identity stays; index and chain fit the new packs to the bit.
    """
    mails = _mails()
    change(mails)
    identity = (world.folder / "vault.json").read_bytes()
    other = world.folder.with_name("forged")
    (other / "volumes/0001/packs").mkdir(parents=True)
    (other / "vault.json").write_bytes(identity)
    _made(other, FileSigner(other.with_name("forger")), mails)
    shutil.rmtree(world.folder / "volumes" / "0001" / "packs")
    world.drop_index()
    shutil.copytree(
        other / "volumes" / "0001" / "packs", world.folder / "volumes" / "0001" / "packs"
    )
    with Vault(world.folder) as vault:
        assert vault.verify("content").ok, "a forger leaves no trace inside of the packs"


def _other_mail(mails: list[list[ArchiveEntry]]) -> None:
    mails[2][5] = entry(mail(125, body=b"Forged.\r\n"), key="125")


def _one_less(mails: list[list[ArchiveEntry]]) -> None:
    del mails[2][5]


def _reordered(mails: list[list[ArchiveEntry]]) -> None:
    mails[1], mails[2] = mails[2], mails[1]


CHANGES = {"altered": _other_mail, "removed": _one_less, "reordered": _reordered}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kept", [True, False])
def test_self_consistent_packs_are_named(world: World, change: str, kept: bool) -> None:
    """Packs that agree with themselves and not with the log: each batch that differs is named."""
    _forged(world, CHANGES[change])

    report = world.verified(kept=kept, key=False)

    assert "history" in _kinds(report)
    assert _kinds(report) <= {"history", "sealed-batch", "rolled-back"}
    # Every manifest names the one before it, and is salted: not one is the old one.
    assert len({f.words for f in report.findings if f.kind == "sealed-batch"}) == 6


@pytest.mark.parametrize("change", CHANGES)
def test_a_forged_log_under_forged_packs_is_named(world: World, change: str) -> None:
    """Packs, tiles and checkpoints all forged to fit show against what was kept elsewhere."""
    _forged(world, CHANGES[change])
    shutil.rmtree(world.log)
    shutil.copytree(world.folder.with_name("forged") / "volumes" / "0001" / "log", world.log)

    assert world.verified(kept=False, key=False).ok, "nothing inside can tell; that is the point"
    assert _kinds(world.verified(kept=False)) == {"log-signature"}
    report = world.verified(key=False)
    assert {"history"} <= _kinds(report) <= {"history", "rolled-back"}
    with Vault(world.folder) as vault, pytest.raises(HistoryChanged):
        vault.seal(world.signer)


def test_one_pack_replaced_by_a_consistent_one_is_named(world: World) -> None:
    """A single pack made anew to fit its place breaks the order and the log, and is named."""
    target = world.packs[1]
    with Vault(world.folder, read_only=True) as vault:
        packs = vault._opened().packs
        with packs.open(target.stem) as pack:
            (manifest,) = [m for m in pack.manifests() if isinstance(m, _manifest.Manifest)]
            frames = [pack.content(o.offset, o.name, o.stored_size) for o in manifest.objects]
    lines = [line.replace(b"alice", b"malice") for line in manifest.lines]
    data = b"".join(line + b"\n" for line in lines)
    name = _tar.MANIFEST.format(Digest.of(data).hex)
    members = [_tar.member(o.name, f) for o, f in zip(manifest.objects, frames, strict=True)]
    parts = [part for member in (*members, _tar.member(name, data)) for part in member]
    target.write_bytes(b"".join(parts) + _tar.TRAILER)
    world.drop_index()

    report = world.verified()

    assert {"order", "history", "sealed-batch"} <= _kinds(report)
    sealed = {f.pack for f in report.findings if f.kind == "sealed-batch"}
    assert sealed == {target.stem}


def test_an_older_copy_is_named(tmp_path: Path) -> None:
    """A vault that was taken back, log and all, shows against a checkpoint kept elsewhere."""
    signer = FileSigner(tmp_path / "signer")
    with Vault(tmp_path / "v", keys=None) as vault:
        vault.put_many(entries(5))
        vault.seal(signer)
    shutil.copytree(tmp_path / "v", tmp_path / "old")
    with Vault(tmp_path / "v") as vault:
        vault.put_many(entries(5, start=5))
        newer = vault.seal(signer).checkpoint

    with Vault(tmp_path / "old") as old:
        assert old.verify("log").ok, "an older state was right, when it was new"
        report = old.verify("log", checkpoints=[newer], key=signer.verifier(old.origin))
        assert _kinds(report) == {"rolled-back"}
        assert "covers 12 lines, and only 6 are there" in report.findings[0].words
        assert report.sealed == 6


def test_packs_taken_back_under_a_newer_log_are_named(tmp_path: Path) -> None:
    """Where only the packs are older, the log in the vault says what is missing."""
    signer = FileSigner(tmp_path / "signer")
    with Vault(tmp_path / "v", keys=None) as vault:
        vault.put_many(entries(5))
    shutil.copytree(tmp_path / "v" / "volumes" / "0001" / "packs", tmp_path / "packs")
    with Vault(tmp_path / "v") as vault:
        vault.put_many(entries(5, start=5))
        vault.seal(signer)
    shutil.rmtree(tmp_path / "v" / "volumes" / "0001" / "packs")
    shutil.copytree(tmp_path / "packs", tmp_path / "v" / "volumes" / "0001" / "packs")
    for file in (tmp_path / "v").rglob("index.db*"):
        file.unlink()

    with Vault(tmp_path / "v") as vault:
        (short,) = vault.verify("content").findings
        report = vault.verify("log")

    assert short.words == "12 lines were signed, and only 6 are there"
    assert _kinds(report) == {"rolled-back", "sealed-batch"}
    assert any("batch 2 was sealed, and is not there" in f.words for f in report.findings)


# -- the index ----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 5, 6])
def test_an_index_that_leaves_a_batch_out_is_named_and_the_pack_is_not(
    world: World, n: int
) -> None:
    """Where the index hides a whole pack, the index is accused, and what is sealed is whole."""
    pack = world.packs[n]
    with closing(sqlite3.connect(world.folder / "volumes" / "0001" / "index.db")) as db, db:
        ((number,),) = db.execute("SELECT n FROM pack WHERE name = ?", (pack.stem,)).fetchall()
        db.execute("DELETE FROM batch WHERE pack = ?", (number,))
        db.execute("DELETE FROM pack WHERE n = ?", (number,))
    db.close()

    report = world.verified()

    assert ("index" in _kinds(report)) or n == 6
    assert pack.stem not in _accused(report)
    assert not {"history", "rolled-back", "sealed-batch"} & _kinds(report)


# -- the log ------------------------------------------------------------------------------


def _files(world: World, part: str) -> list[Path]:
    return sorted(each for each in (world.log / part).rglob("*") if each.is_file())


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_a_changed_tile_is_named_and_nothing_else(
    whole: World, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """One bit of a tile or bundle that the newest checkpoint needs: the file is named, alone."""
    world = whole.copy(tmp_path_factory.mktemp("tile") / "v")
    needed = [f for f in _files(world, "tile") if not str(f).endswith((".p/184",))]
    file = data.draw(st.sampled_from(needed))
    raw = bytearray(file.read_bytes())
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    file.write_bytes(raw)

    report = world.verified()

    assert _kinds(report) == {"log-tile"}
    assert str(file.relative_to(world.log)) in report.findings[0].words
    assert len(report.findings) == 1
    with Vault(world.folder) as vault:
        vault.rebuild()
        assert vault.verify("log").ok, "they are made anew from the packs"
    shutil.rmtree(world.folder)


@pytest.mark.parametrize("how", ["deleted", "cut", "a link", "a folder"])
def test_a_missing_tile_is_named(world: World, how: str) -> None:
    """A tile that is gone, cut off or something else is named, and nothing else."""
    file = world.log / "tile" / "0" / "000"
    data = file.read_bytes()
    file.unlink()
    if how == "cut":
        file.write_bytes(data[:-1])
    elif how == "a link":
        file.symlink_to("/etc/passwd")
    elif how == "a folder":
        file.mkdir()

    assert _kinds(world.verified()) == {"log-tile"}


def test_a_log_that_is_gone_is_told_by_what_was_kept(world: World) -> None:
    """The log can be made again; the packs still fit the checkpoints that were kept."""
    shutil.rmtree(world.log)

    report = world.verified()

    assert (report.findings, report.sealed) == ((), world.second.size)


@pytest.mark.parametrize("name", ["checkpoint", "newest", "oldest"])
@pytest.mark.parametrize("change", ["root", "size", "origin", "junk", "larger"])
def test_a_changed_checkpoint_is_named_and_nothing_else(
    world: World, name: str, change: str
) -> None:
    """A checkpoint in the vault that says something else is named; packs and tiles are not."""
    saved = sorted(_files(world, "checkpoints"), key=lambda each: int(each.name))
    file = {"checkpoint": world.log / "checkpoint", "newest": saved[-1], "oldest": saved[0]}[name]
    made = LogCheckpoint.parse(file.read_bytes())
    other = {
        "root": LogCheckpoint(made.origin, made.size, bytes(32), (), made.signatures),
        "size": LogCheckpoint(made.origin, made.size - 1, made.root, (), made.signatures),
        "origin": LogCheckpoint("elsewhere", made.size, made.root, (), made.signatures),
        "larger": LogCheckpoint(made.origin, 10**12, made.root, (), made.signatures),
    }
    file.write_bytes(b"junk" if change == "junk" else other[change].to_bytes())

    for kept in (True, False):
        report = world.verified(kept=kept, key=False)
        assert _kinds(report) == {"log-checkpoint"}, report.findings
        assert _accused(report) == {None}
        assert _kinds(world.verified(kept=kept)) <= {"log-checkpoint", "log-signature"}


def test_a_kept_checkpoint_of_another_vault_is_named(world: World, tmp_path: Path) -> None:
    """A checkpoint that is not of this log shows nothing about it, and is said to be so."""
    with Vault(tmp_path / "other", keys=None) as other:
        other.put_many(entries(1))
        stranger = other.seal(world.signer).checkpoint

    with Vault(world.folder, read_only=True) as vault:
        report = vault.verify("log", checkpoints=[stranger])
    assert [(f.kind, f.words) for f in report.findings] == [
        ("log-checkpoint", "checkpoint 1 that was kept elsewhere is of another log")
    ]


# -- a part at a time ---------------------------------------------------------------------


class Watch:
    """A clock that goes on by one second each time that somebody looks at it."""

    def __init__(self) -> None:
        """Begin at nought."""
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        self.now += 1
        return self.now


@pytest.mark.parametrize("level", ["stored", "content", "log"])
@pytest.mark.parametrize("seconds", [0, 3])
def test_a_verification_goes_on_where_its_time_was_up(
    world: World, level: str, seconds: int
) -> None:
    """Turns that each go on from the last look at every batch once, and then say so."""
    pack = world.packs[4]
    raw = bytearray(pack.read_bytes())
    raw[600] ^= 1
    pack.write_bytes(raw)
    resume, reports = None, []
    with Vault(world.folder, read_only=True) as vault:
        while True:
            report = vault.verify(
                level, budget=timedelta(seconds=seconds), resume=resume, monotonic=Watch()
            )
            reports.append(report)
            resume = report.resume
            if report.complete:
                break

    assert len(reports) == (7 if not seconds else 3)
    found = [[f.pack for f in each.findings if f.kind == "digest"] for each in reports]
    assert sorted(found) == [[]] * (len(reports) - 1) + [[pack.stem]]
    assert all(each.entries == 360 for each in reports)


def test_what_is_no_place_to_go_on_is_refused(world: World) -> None:
    """A wrong `resume` is an error, and not a verification of nothing."""
    with Vault(world.folder, read_only=True) as vault:
        for wrong in ("", "x", "x:y", "../../etc/passwd:1", f"{world.packs[0].stem}:-1"):
            with pytest.raises(ConfigurationError, match="no place to go on"):
                vault.verify("stored", resume=wrong)


def test_without_a_budget_all_is_looked_at(world: World) -> None:
    """A verification without a budget is complete."""
    report = world.verified()
    assert report.complete
    assert report.to_dict()["complete"] is True


def test_tiles_are_not_made_of_what_was_not_sealed(world: World) -> None:
    """Forged packs make no new tiles: the log that tells of it is left as it is."""
    _forged(world, _other_mail)
    before = {str(each): each.read_bytes() for each in _files(world, "tile")}

    with Vault(world.folder) as vault, pytest.raises(HistoryChanged):
        vault.rebuild()

    assert {str(each): each.read_bytes() for each in _files(world, "tile")} == before


def test_what_was_erased_is_accused_in_no_turn(tmp_path: Path) -> None:
    """A turn judges of erased bytes those that it looked at, and no others."""
    with Vault(tmp_path / "v", keys=None, pack_size=1, clock=_ticking()) as vault:
        for n in range(4):
            vault.put_many(entries(1, start=n))
        found = list(vault.auditor("me", "why").entries())
        vault.keeper("Ada", "request").erase(found[0].id, found[3].id)
        resume, turns = None, 0
        while True:
            report = vault.verify("stored", budget=timedelta(0), resume=resume)
            assert report.findings == ()
            turns += 1
            resume = report.resume
            if resume is None:
                break
    assert turns > 4
