"""What is damaged is put right from another copy, to the byte, on record, never by dropping."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import forged
from support.vaults import Clock, entries, everything, journaled, mail, to

from mailarchive import UserId
from mailarchive.errors import SinkCorrupt, SinkError, SinkNotWritable, Unsupported
from mailarchive.testing.fuse import Crash, Fuse
from mailarchive.vault import FileSigner, RepairPlan, Vault
from mailarchive.vault._manifest import REPAIR, Manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path


def _ticking() -> Callable[[], datetime]:
    clock = Clock()

    def tick() -> datetime:
        clock.advance(seconds=1)
        return clock()

    return tick


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed vault of four packs in two volumes, the last not full; its signer is beside it."""
    top = tmp_path_factory.mktemp("whole")
    with Vault(
        top / "v", keys=None, pack_size=30_000, volume_size=50_000, clock=_ticking()
    ) as vault:
        for n in range(0, 30, 3):
            vault.put_many(entries(3, start=n))
        vault.put(journaled(mail(50), [to("bob@example.com")], key="50", encoded=True))
        vault.auditor("me", "why")
        vault.seal(FileSigner(top / "signer"))
    assert len(_packs(top / "v")) == 4
    return top


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy of that vault, to damage; the other one is the replica."""
    shutil.copytree(whole / "v", tmp_path / "v")
    return tmp_path / "v"


def _packs(folder: Path) -> list[Path]:
    return sorted(folder.glob("volumes/*/packs/*.tar"), key=lambda pack: pack.name)


def _repaired(
    folder: Path, replica: Path, *, newer: bool = False, **settings: object
) -> RepairPlan:
    """Plan, repair, and return the plan."""
    with Vault(folder, **settings) as vault, Vault(replica, read_only=True) as other:  # type: ignore[arg-type] # each setting has its own type
        made = vault.plan_repair(other, newer=newer)
        vault.repair(made, other, actor="Ada", reason="bit rot")
    return made


def _repairs(folder: Path) -> int:
    """How many repairs are on record."""
    with Vault(folder) as vault:
        facts = vault._opened().index.lines("t.kind = ?", (REPAIR,), table="fact")
        return len(facts)


def _check_whole(folder: Path, whole: Path) -> None:
    """Everything is as in the replica, to the byte, and the log agrees."""
    with Vault(folder) as vault, Vault(whole / "v") as other:
        report = vault.verify("content")
        assert report.ok, report.findings
        report = vault.verify("log", checkpoints=other.checkpoints())
        assert report.ok, report.findings
        assert not vault.plan_repair(other)
        ours, theirs = everything(vault), everything(other)
        assert {user: ours[user] for user in theirs} == theirs


def _flip(file: Path, at: int) -> None:
    raw = bytearray(file.read_bytes())
    raw[at % len(raw)] ^= 4
    file.write_bytes(raw)


def _cut(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])


def _flip_much(packs: list[Path]) -> None:
    for pack in packs:
        _flip(pack, 513)
        _flip(pack, 20_513)


def _remove(packs: list[Path]) -> None:
    for pack in packs:
        pack.unlink()


def _link(file: Path) -> None:
    file.unlink()
    file.symlink_to("/etc/passwd")


def _swap(one: Path, two: Path) -> None:
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)


DAMAGES: dict[str, Callable[[list[Path]], None]] = {
    "a message": lambda packs: _flip(packs[0], 700),
    "a header": lambda packs: _flip(packs[0], 10),
    "a manifest": lambda packs: _flip(packs[1], packs[1].read_bytes().rfind(b'"kind":"entry"')),
    "an end": lambda packs: _cut(packs[1], packs[1].stat().st_size - 9_000),
    "a whole pack": lambda packs: packs[2].unlink(),
    "the first pack": lambda packs: packs[0].unlink(),
    "the newest pack": lambda packs: packs[3].unlink(),
    "an empty file": lambda packs: _cut(packs[1], 0),
    "two swapped": lambda packs: _swap(packs[0], packs[1]),
    "much": _flip_much,
    "all": _remove,
    "a link": lambda packs: _link(packs[1]),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("index", [True, False])
def test_damage_is_repaired_to_the_byte(
    folder: Path, whole: Path, damage: str, index: bool
) -> None:
    """Whatever is damaged is as it was; what it was before is kept, and all is on record."""
    before = {pack.name: pack.read_bytes() for pack in _packs(folder)}
    DAMAGES[damage](_packs(folder))
    damaged = {p.name: p.read_bytes() for p in _packs(folder) if not p.is_symlink()}
    if not index:
        for file in folder.rglob("index.db*"):
            file.unlink()

    plan = _repaired(folder, whole / "v", newer=not index)

    assert plan
    assert plan.unrepairable == ()
    _check_whole(folder, whole)
    for name, data in before.items():
        now = next(pack for pack in _packs(folder) if pack.name == name).read_bytes()
        assert now.startswith(data.rstrip(b"\0"))
    for each in plan.packs:
        if f"{each.pack}.tar" in damaged:
            assert each.damaged is not None
            name = f"{each.pack}-{each.damaged.hex[:16]}.tar"
            (file,) = folder.glob(f"volumes/*/damaged/{name}")
            assert file.read_bytes() == damaged[f"{each.pack}.tar"]
    assert _repairs(folder) == len(plan.packs)
    with Vault(folder) as vault:
        facts = vault._opened().index.lines("t.kind = ?", (REPAIR,), table="fact")
        body = vault._opened().reading.fact(facts[0]).body
        assert (body["actor"], body["reason"]) == ("Ada", "bit rot")


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_damage_is_repaired(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any few bits, cuts and losses at once are repaired, and the same plan is made again."""
    folder = tmp_path_factory.mktemp("any") / "v"
    shutil.copytree(whole / "v", folder)
    for pack in _packs(folder):
        match data.draw(st.sampled_from(["whole", "flip", "cut", "gone"])):
            case "flip":
                for at in data.draw(st.lists(st.integers(0, 40_000), min_size=1, max_size=3)):
                    _flip(pack, at)
            case "cut":
                pack.write_bytes(pack.read_bytes()[: data.draw(st.integers(0, 30_000))])
            case "gone":
                pack.unlink()

    with Vault(folder) as vault, Vault(whole / "v", read_only=True) as other:
        assert vault.plan_repair(other) == vault.plan_repair(other)
    _repaired(folder, whole / "v")
    _check_whole(folder, whole)
    shutil.rmtree(folder)


def test_a_plan_says_what_it_would_do_and_does_nothing(folder: Path, whole: Path) -> None:
    """Planning changes no pack; its words name each pack and what is wrong with it."""
    _flip(_packs(folder)[0], 700)
    _packs(folder)[2].unlink()
    before = {pack.name: pack.read_bytes() for pack in _packs(folder)}

    with Vault(folder) as vault, Vault(whole / "v", read_only=True) as other:
        plan = vault.plan_repair(other)

    assert {pack.name: pack.read_bytes() for pack in _packs(folder)} == before
    first, second = list(plan.lines())
    assert "is damaged: restore 1 members" in first
    assert "is missing: restore" in second
    assert list(RepairPlan().lines()) == ["nothing to repair"]
    assert not RepairPlan()


def test_what_no_copy_has_is_said_and_nothing_is_dropped(
    folder: Path, whole: Path, tmp_path: Path
) -> None:
    """Where the replica is damaged too, the rest is repaired, and the lost is named."""
    shutil.copytree(whole / "v", tmp_path / "replica")
    _flip(_packs(folder)[0], 600)
    _flip(_packs(tmp_path / "replica")[0], 601)
    _flip(_packs(folder)[0], 6_000)
    _flip(_packs(folder)[1], _packs(folder)[1].read_bytes().rfind(b'"kind":"entry"'))
    _packs(tmp_path / "replica")[1].unlink()
    left = _packs(folder)[0].read_bytes()[512:1024]

    plan = _repaired(folder, tmp_path / "replica")

    assert len(plan.unrepairable) == 2
    assert {lost.words for lost in plan.unrepairable} == {
        "a message is damaged, and the replica does not have it",
        "a batch is damaged, and the replica does not have it",
    }
    assert any("does not have it" in line for line in plan.lines())
    assert _packs(folder)[0].read_bytes()[512:1024] == left
    _repaired(folder, whole / "v")
    _check_whole(folder, whole)


def test_another_vault_with_the_same_mail_helps(whole: Path, folder: Path, tmp_path: Path) -> None:
    """A second archive of the same messages gives them back by digest, and no manifest."""
    with Vault(tmp_path / "other", keys=None) as other:
        other.put_many(entries(30))
        other.put(journaled(mail(50), [to("bob@example.com")], key="50", encoded=True))
    for pack in _packs(folder):
        _flip(pack, 700)

    plan = _repaired(folder, tmp_path / "other")

    assert (len(plan.packs), plan.unrepairable) == (4, ())
    _check_whole(folder, whole)


def test_a_forged_replica_gives_nothing(folder: Path, whole: Path, tmp_path: Path) -> None:
    """Bytes that are not what a digest says are not taken, whatever vault they are in."""
    identity = (folder / "vault.json").read_bytes()
    (tmp_path / "forged/volumes/0001/packs").mkdir(parents=True)
    (tmp_path / "forged" / "vault.json").write_bytes(identity)
    with Vault(tmp_path / "forged") as other:
        other.put_many(entries(40, start=100))
        other.put_many(entries(40, start=200))
    _flip(_packs(folder)[0], 700)
    _packs(folder)[3].unlink()

    plan = _repaired(folder, tmp_path / "forged")

    assert not plan
    assert plan.unrepairable
    _repaired(folder, whole / "v")
    _check_whole(folder, whole)


def _erasures(folder: Path) -> list[dict[str, Any]]:
    """Facts that every entry was erased, as anybody can write them."""
    lines = [line for batch in forged.manifests(folder) for line in batch]
    return [forged.erased(line["id"]) for line in lines if line["kind"] == "entry"]


def test_a_history_that_only_the_replica_knows_of_is_left_out(
    folder: Path, whole: Path, tmp_path: Path
) -> None:
    """Whoever can write to a replica could have anything erased; by word it is believed."""
    replica = tmp_path / "replica"
    shutil.copytree(whole / "v", replica)
    forged.append(replica, *_erasures(folder))
    before = _all_bytes(folder)

    with Vault(folder) as vault, Vault(replica, read_only=True) as other:
        plan = vault.plan_repair(other)
    assert not plan
    assert plan.newer == 1
    assert list(plan.lines()) == [
        "1 batches that only the replica knows of are left out",
        "nothing to repair",
    ]
    assert not _repaired(folder, replica)
    assert _all_bytes(folder) == before

    believed = _repaired(folder, replica, newer=True)
    assert (len(believed.packs), believed.newer) == (1, 0)
    with Vault(folder) as vault:
        vault.auditor("me", "why")
    assert _all_bytes(folder) == []


@pytest.mark.parametrize("lost", [slice(3, 4), slice(4)], ids=["the newest pack", "all"])
def test_the_sealed_log_tells_what_is_ours(
    folder: Path, whole: Path, tmp_path: Path, lost: slice
) -> None:
    """With packs and index lost, what was sealed comes back, and nothing that was added."""
    shutil.copytree(whole / "signer", tmp_path / "signer")
    with Vault(folder) as vault:
        vault.seal(FileSigner(tmp_path / "signer"))
    replica, sound = tmp_path / "replica", _all_bytes(folder)
    shutil.copytree(folder, replica)
    forged.append(replica, *_erasures(folder))
    _remove(_packs(folder)[lost])
    forged.forget_index(folder)

    plan = _repaired(folder, replica)

    assert (plan.unrepairable, plan.newer) == ((), 1)
    assert _all_bytes(folder) == sound
    with Vault(folder) as vault:
        assert vault.verify("log").ok


def test_a_log_that_is_not_what_was_signed_names_nothing(
    folder: Path, whole: Path, tmp_path: Path
) -> None:
    """What its files say counts where they give the root of the checkpoint."""
    shutil.copytree(whole / "v", tmp_path / "replica")
    _remove(_packs(folder))
    forged.forget_index(folder)
    for file in (folder / "volumes/0001/log/tile/entries").rglob("*.p/*"):
        file.write_bytes(file.read_bytes().replace(b'"line":', b'"lime":'))

    plan = _repaired(folder, tmp_path / "replica")

    assert not plan
    assert plan.newer > 0


@pytest.mark.parametrize("at", [530, 700], ids=["the message", "what pads it"])
def test_zeros_in_a_replica_are_no_erasure(
    folder: Path, whole: Path, tmp_path: Path, at: int
) -> None:
    """Disks give zeros too: they stand for what was erased only where a batch says so."""
    replica = tmp_path / "replica"
    shutil.copytree(whole / "v", replica)
    _flip(_packs(folder)[0], at)
    forged.empty(replica, (_packs(replica)[0].stem, 0))
    before = _packs(folder)[0].read_bytes()

    plan = _repaired(folder, replica)

    assert not plan
    assert "the replica does not have it" in plan.unrepairable[0].words
    assert _packs(folder)[0].read_bytes() == before


def test_a_writer_that_is_open_loses_nothing(folder: Path, whole: Path) -> None:
    """Who holds the pack that is replaced goes on in another one."""
    with Vault(folder, pack_size=1 << 20) as writer:
        writer.put_many(entries(2, start=70))
        held = _packs(folder)[-1]
        _flip(held, 700)
        _repaired(folder, whole / "v")
        writer.put_many(entries(2, start=72))
        with Vault(folder) as vault:
            assert vault.verify("content").ok
            assert vault._opened().index.rows("SELECT count(*) FROM entry") == [(35,)]
    assert len(_packs(folder)) == 5


def test_a_plan_that_is_out_of_date_is_refused(folder: Path, whole: Path) -> None:
    """A pack that is not any more as it was planned is left alone."""
    pack = _packs(folder)[0]
    _flip(pack, 700)
    with Vault(folder) as vault, Vault(whole / "v", read_only=True) as other:
        plan = vault.plan_repair(other)
        _flip(pack, 900)
        before = pack.read_bytes()
        with pytest.raises(SinkError, match="not any more as it was"):
            vault.repair(plan, other, actor="Ada", reason="bit rot")
    assert pack.read_bytes() == before


def test_a_replica_that_is_damaged_meanwhile_leaves_nothing_behind(
    folder: Path, whole: Path, tmp_path: Path
) -> None:
    """No half a pack, with mail in it that nobody would ever erase; it can be planned again."""
    replica = tmp_path / "replica"
    shutil.copytree(whole / "v", replica)
    _flip(_packs(folder)[0], 530)
    before = {file.name for file in folder.glob("volumes/*/packs/*")}
    with Vault(folder) as vault, Vault(replica, read_only=True) as other:
        plan = vault.plan_repair(other)
        _flip(_packs(replica)[0], 531)
        with pytest.raises(SinkError, match="any more what it had"):
            vault.repair(plan, other, actor="Ada", reason="bit rot")

    assert {file.name for file in folder.glob("volumes/*/packs/*")} == before
    _repaired(folder, whole / "v")
    _check_whole(folder, whole)


def test_a_repair_needs_a_name_a_reason_and_the_right_to_write(folder: Path, whole: Path) -> None:
    """Nobody repairs without a trace, or in a vault that was opened for reading."""
    _flip(_packs(folder)[0], 700)
    with Vault(folder, read_only=True) as vault, Vault(whole / "v", read_only=True) as other:
        plan = vault.plan_repair(other)
        with pytest.raises(Unsupported):
            vault.repair(plan, other, actor=" ", reason="why")
        with pytest.raises(SinkNotWritable):
            vault.repair(plan, other, actor="Ada", reason="why")


def test_tar_reads_a_restored_pack(folder: Path, whole: Path) -> None:
    """A pack that was restored is one that tar reads without a word."""
    _packs(folder)[3].unlink()
    _repaired(folder, whole / "v")

    done = subprocess.run(
        ["tar", "tf", _packs(folder)[3]], check=True, capture_output=True, text=True
    )
    assert not done.stderr
    assert "m/" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["a message", "a whole pack"])
def test_a_crash_at_any_step_of_a_repair_loses_nothing(
    whole: Path, tmp_path: Path, damage: str
) -> None:
    """After a crash at each step in turn, the repair can be done again and all is whole."""

    def run(folder: Path, fuse: Callable[[str], None]) -> None:
        shutil.copytree(whole / "v", folder)
        DAMAGES[damage](_packs(folder))
        _repaired(folder, whole / "v", fuse=fuse)

    steps = Fuse().count(lambda fuse: run(tmp_path / "count", fuse))
    assert steps > 10
    for n in range(0, steps, 2 if damage == "a message" else 7):
        with pytest.raises(Crash):
            run(tmp_path / str(n), Fuse(n))
        _repaired(tmp_path / str(n), whole / "v")
        _check_whole(tmp_path / str(n), whole)
        assert _repairs(tmp_path / str(n)) == 1


# -- what was erased ----------------------------------------------------------------------


def _erase(folder: Path, n: int) -> bytes:
    """Erase message `n`, and return what it was."""
    with Vault(folder) as vault:
        (found,) = [e for e in vault.auditor("me", "why").entries() if e.raw() == mail(n)]
        vault.keeper("Ada", "request").erase(found.id)
    return mail(n)


def _all_bytes(folder: Path) -> list[bytes]:
    """Every message that can be had out of the packs."""
    found = []
    with Vault(folder, read_only=True) as vault:
        packs = vault._opened().packs
        for name in packs.names():
            with packs.open(name) as pack:
                for each in pack.manifests():
                    assert isinstance(each, Manifest)
                    for stored in each.objects:
                        with suppress(SinkCorrupt):
                            found.append(pack.unpacked(stored))
    return found


@pytest.mark.parametrize("replica", ["older", "newer"])
@pytest.mark.parametrize(
    "damage", ["a message", "the first pack", "the first pack, and the index"]
)
def test_what_was_erased_stays_so(
    folder: Path, whole: Path, tmp_path: Path, damage: str, replica: str
) -> None:
    """A repair brings back what was damaged, and never what was erased in the meantime."""
    erased = _erase(folder, 1)
    shutil.copytree(whole / "v" if replica == "older" else folder, tmp_path / "replica")
    DAMAGES[damage.partition(",")[0]](_packs(folder))
    if "index" in damage:
        for file in folder.rglob("index.db*"):
            file.unlink()

    plan = _repaired(folder, tmp_path / "replica")

    assert plan.unrepairable == ()
    assert erased not in _all_bytes(folder)
    assert mail(2) in _all_bytes(folder)
    with Vault(folder) as vault:
        report = vault.verify("content")
        assert report.ok, report.findings
        assert vault.verify("log").ok
    with Vault(folder) as vault, Vault(tmp_path / "replica", read_only=True) as other:
        assert not vault.plan_repair(other)


@pytest.mark.parametrize("how", ["repair", "rebuild"])
def test_what_was_damaged_is_found_again(folder: Path, whole: Path, how: str) -> None:
    """A search that took in a damaged vault does not lack the damaged mail for ever."""
    packs = _packs(folder)
    DAMAGES["the first pack"](packs)
    with Vault(folder) as vault:
        assert vault.view(UserId("bob")).count(words="hello") < 31

    if how == "repair":
        _repaired(folder, whole / "v")
    else:
        shutil.copy(_packs(whole / "v")[0], packs[0])
        with Vault(folder) as vault:
            vault.rebuild()

    with Vault(folder) as vault:
        bob = vault.view(UserId("bob"))
        assert bob.count(words="hello") == bob.count() == 31
