"""What has a receipt survives whatever happens to the process, and nothing is there twice."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from attrs import evolve, field, frozen
from support.vaults import entries, entry, everything, journaled, mail, receipts, to
from typing_extensions import override

from mailarchive import Stored, UserId
from mailarchive.errors import MailArchiveError, SinkError, SinkFull
from mailarchive.testing.fuse import Crash, Fuse
from mailarchive.vault import Vault
from mailarchive.vault._disk import Disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailarchive import ArchiveEntry, Digest, Receipt

PACK = 6_000
"""Bytes of a pack, so small that one run fills several."""

VOLUME = 2 * PACK
"""And volumes, too."""


def _batches() -> list[list[ArchiveEntry]]:
    """Mail of every kind: new, again, under another id, journaled, of nobody."""
    return [
        entries(3),
        [*entries(2, start=2), *entries(1, source="again")],
        [journaled(mail(7), [to("bob@example.com")], key="7", encoded=True)],
        [*entries(2, start=10), entry(mail(12), key="12", owners={})],
        entries(4, start=20),
    ]


@frozen
class World:
    """A vault in a folder, what was acknowledged, and the run that fills it."""

    folder: Path
    receipts: dict[Digest, Receipt] = field(factory=dict)

    def run(self, fuse: Callable[[str], None]) -> None:
        """Put everything, noting each receipt as it comes."""
        with Vault(self.folder, keys=None, pack_size=PACK, volume_size=VOLUME, fuse=fuse) as vault:
            for batch in _batches():
                for receipt in receipts(vault.put_many(batch)):
                    self._note(receipt)

    def _note(self, receipt: Receipt) -> None:
        known = self.receipts.setdefault(receipt.entry_id, receipt)
        if known is not receipt:
            # An id has one receipt for ever.
            assert evolve(receipt, outcome=known.outcome) == known
            assert receipt.outcome is Stored.PRESENT

    def check(self) -> None:
        """Everything acknowledged can be read; nothing is there twice; nothing is damaged."""
        with Vault(self.folder, keys=None, pack_size=PACK, volume_size=VOLUME) as vault:
            raws = {each.id: each.raw for batch in _batches() for each in batch}
            for receipt in self.receipts.values():
                assert vault.read(receipt) == raws[receipt.entry_id]
            found = [each.id for each in vault.auditor("me", "to check").entries()]
            assert len(found) == len(set(found))
            assert set(self.receipts) <= set(found)
            report = vault.verify("content")
            assert report.ok, report.findings

    def finish(self) -> None:
        """One clean run brings everything there is."""
        self.run(lambda step: None)
        self.check()
        assert len(self.receipts) == len({each.id for batch in _batches() for each in batch})

    def rebuild(self) -> None:
        """An index made anew shows the same."""
        with Vault(self.folder) as vault:
            assert vault.view(UserId("bob")).count() == 11
            before = everything(vault)
        for file in self.folder.rglob("index.db*"):
            file.unlink()
        with Vault(self.folder) as vault:
            report = vault.verify("content")
            assert report.ok, report.findings
            assert everything(vault) == before


def _steps(folder: Path) -> int:
    return Fuse().count(World(folder).run)


@pytest.mark.slow
def test_a_crash_at_any_step_loses_nothing(tmp_path: Path) -> None:
    """After a crash at each step in turn, what was acknowledged is there, once, and goes on."""
    steps = _steps(tmp_path / "count")
    assert steps > 40

    for n in range(steps):
        world = World(tmp_path / str(n))
        with pytest.raises(Crash):
            world.run(Fuse(n))
        world.check()
        world.finish()
        world.rebuild()


@pytest.mark.slow
def test_two_crashes_lose_nothing(tmp_path: Path) -> None:
    """After a crash, and another one while that is being made good, everything is there."""
    steps = _steps(tmp_path / "count")
    chosen = random.Random(1)

    for n in range(steps):
        m = chosen.randrange(25)
        world = World(tmp_path / f"{n}-{m}")
        for at in (n, m):
            with suppress(Crash):
                world.run(Fuse(at))
        world.check()
        world.finish()


# -- the disk says no ---------------------------------------------------------------------


def _failing(at: int, number: int) -> Callable[[str], None]:
    """Let one step fail, and all others happen."""
    steps: list[str] = []

    def fuse(step: str) -> None:
        steps.append(step)
        if len(steps) == at + 1:
            raise OSError(number, os.strerror(number))

    return fuse


@pytest.mark.slow
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_step_that_fails_is_an_error_or_made_good(tmp_path: Path, number: int) -> None:
    """Whichever step fails, there is one of our errors or all receipts, and both are true."""
    steps = _steps(tmp_path / "count")

    for n in range(steps):
        world = World(tmp_path / str(n))
        with suppress(MailArchiveError):
            world.run(_failing(n, number))
        world.check()
        world.finish()
        if n % 4 == 0:
            world.rebuild()


class Unsure(Disk):
    """A disk on which one call of one step goes wrong after it was made."""

    def __init__(self, step: str, at: int, *, once: bool = True) -> None:
        """Go wrong at call number `at` of `step`, and then not again, or always."""
        super().__init__()
        self._step, self._left, self._once = step, at, once

    def _goes_wrong(self, step: str) -> bool:
        if step != self._step:
            return False
        self._left -= 1
        return self._left == -1 if self._once else self._left < 0

    @override
    def write(self, handle: int, data: bytes, offset: int) -> None:
        """Write only a half, and say that the disk is broken."""
        if self._goes_wrong("write"):
            super().write(handle, data[: len(data) // 2], offset)
            raise OSError(errno.EIO, "half of it")
        super().write(handle, data, offset)

    @override
    def sync(self, handle: int) -> None:
        """Say that the sync failed."""
        super().sync(handle)
        if self._goes_wrong("sync"):
            raise OSError(errno.EIO, "not synced")

    @override
    def read_back(self, handle: int, data: bytes, offset: int) -> None:
        """Find other bytes than were written."""
        wrong = self._goes_wrong("read back")
        super().read_back(handle, b"x" + data[1:] if wrong else data, offset)


def _opened(folder: Path, disk: Disk) -> Vault:
    vault = Vault(folder)
    vault._disk = disk
    return vault


@pytest.mark.parametrize("step", ["write", "sync", "read back"])
def test_a_pack_that_failed_is_never_touched_again(folder: Path, step: str) -> None:
    """A failed write, sync or reading back poisons the pack: the batch goes into a new one."""
    at = {"write": 1, "sync": 1, "read back": 0}[step]  # the first two are vault.json's
    with Vault(folder, keys=None) as vault:
        first = receipts(vault.put_many(entries(2)))
    (poisoned,) = folder.rglob("*.tar")
    good = poisoned.stat().st_size
    with _opened(folder, Unsure(step, at - 1 if at else 0)) as vault:
        second = receipts(vault.put_many(entries(2, start=2)))
        left = poisoned.read_bytes()
        third = receipts(vault.put_many(entries(2, start=4)))

    with Vault(folder) as vault:
        vault.put_many(entries(2, start=6))
        vault.rebuild()
        vault.put_many(entries(2, start=8))
        assert vault.view(UserId("bob")).count() == 10
        assert [vault.read(each) for each in first + second + third] == [mail(n) for n in range(6)]
        report = vault.verify("content")
        assert report.ok, report.findings
    assert poisoned.read_bytes() == left
    assert len(left) > good
    assert {poisoned.name in each.location for each in second + third} == {False}
    assert all(receipt.outcome is Stored.STORED for receipt in second)


@pytest.mark.parametrize("step", ["write", "sync", "read back"])
def test_a_disk_that_only_fails_is_an_error(folder: Path, step: str) -> None:
    """Where the new pack fails too, there is an error, no receipt, and no third attempt."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(2))
    with _opened(folder, Unsure(step, 0, once=False)) as vault:
        with pytest.raises(SinkError):
            vault.put_many(entries(2, start=2))
        assert len(list(folder.rglob("*.tar"))) == 2

    with Vault(folder) as vault:
        (receipt, *_) = receipts(vault.put_many(entries(2, start=2)))
        assert vault.read(receipt) == mail(2)
        assert vault.view(UserId("bob")).count() == 4
        report = vault.verify("content")
        assert report.ok, report.findings
    for file in folder.rglob("index.db*"):
        file.unlink()
    with Vault(folder) as vault:
        assert vault.view(UserId("bob")).count() == 4


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_the_same_vault_goes_on_after_an_error(folder: Path, number: int) -> None:
    """An error concerns one batch: the next one is stored, by the same open vault."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(1))
        vault._disk.fuse = _always("write", number)
        with pytest.raises(SinkFull if number == errno.ENOSPC else SinkError):
            vault.put_many(entries(2))
        vault._disk.fuse = lambda step: None

        (_, receipt) = receipts(vault.put_many(entries(2)))

        assert vault.read(receipt) == mail(1)
        report = vault.verify("content")
        assert report.ok, report.findings


def test_a_sync_of_folders_that_failed_is_not_repeated(folder: Path) -> None:
    """After a failed sync of its folders a vault stores nothing until it is opened anew."""
    with Vault(folder, keys=None) as vault:
        vault._disk.fuse = _always("sync folder", errno.EIO)
        with pytest.raises(SinkError):
            vault.put_many(entries(1))
        vault._disk.fuse = lambda step: None

        with pytest.raises(SinkError, match="not be asked again"):
            vault.put_many(entries(1))
    with Vault(folder) as vault:
        assert len(receipts(vault.put_many(entries(1)))) == 1


def _always(name: str, number: int) -> Callable[[str], None]:
    """Let every call of a step fail."""

    def fuse(step: str) -> None:
        if step == name:
            raise OSError(number, os.strerror(number))

    return fuse


# -- torn tails ---------------------------------------------------------------------------


def _index_of(folder: Path) -> Path:
    return folder / "volumes" / "0001" / "index.db"


@pytest.mark.slow
def test_a_tail_torn_anywhere_is_left_and_harms_nothing(tmp_path: Path) -> None:
    """A batch of which only a part came to the disk never was; what is before it is whole."""
    with Vault(tmp_path / "whole", keys=None) as vault:
        vault.put_many(entries(2))
        first = vault.name
    index = _index_of(tmp_path / "whole").read_bytes()
    (pack,) = (tmp_path / "whole").rglob("*.tar")
    before = pack.read_bytes()
    with Vault(tmp_path / "whole") as vault:
        vault.put_many(entries(3, start=2))
    after = pack.read_bytes()
    header = (tmp_path / "whole" / "vault.json").read_bytes()

    for end in [*range(len(before), len(after), 300), len(after) - 1, len(after)]:
        folder = tmp_path / str(end)
        torn = folder / "volumes" / "0001" / "packs" / pack.name
        torn.parent.mkdir(parents=True)
        (folder / "vault.json").write_bytes(header)
        _index_of(folder).write_bytes(index)
        torn.write_bytes(after[:end])
        whole = end == len(after)
        with Vault(folder) as vault:
            assert vault.name == first
            assert vault.view(UserId("bob")).count() == (5 if whole else 2)
            assert torn.read_bytes() == after[:end]
            assert len(receipts(vault.put_many(entries(6)))) == 6
            assert vault.view(UserId("bob")).count() == 6
            report = vault.verify("content")
            assert report.ok, report.findings
        assert torn.read_bytes()[:end] == after[:end]


@pytest.mark.parametrize("hole", [0, 512, 700, 4096])
def test_a_batch_with_a_hole_never_was(tmp_path: Path, hole: int) -> None:
    """A manifest that came to the disk before its messages did is not believed."""
    folder = tmp_path / "v"
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(2))
    index = _index_of(folder).read_bytes()
    (pack,) = folder.rglob("*.tar")
    start = pack.stat().st_size
    with Vault(folder) as vault:
        vault.put_many(entries(8, start=2))
    _index_of(folder).write_bytes(index)
    data = bytearray(pack.read_bytes())
    data[start + hole : start + hole + 512] = bytes(512)
    pack.write_bytes(data)

    with Vault(folder) as vault:
        assert vault.view(UserId("bob")).count() == 2
        assert {each.outcome for each in receipts(vault.put_many(entries(8, start=2)))} == {
            Stored.STORED
        }
        assert vault.verify("content").ok
    for file in folder.rglob("index.db*"):
        file.unlink()
    with Vault(folder) as vault:
        assert [each.content() for each in vault.view(UserId("bob")).messages()] == [
            mail(n) for n in reversed(range(10))
        ]


def test_an_index_that_fell_back_catches_up(folder: Path) -> None:
    """An older state of the index, as after a loss of power, takes in what it has missed."""
    with Vault(folder, keys=None, pack_size=PACK) as vault:
        vault.put_many(entries(2))
    old = _index_of(folder).read_bytes()
    with Vault(folder, pack_size=PACK) as vault:
        for n in range(2, 20, 3):
            vault.put_many(entries(3, start=n))
        vault.auditor("me", "why")
        seen = everything(vault)
    _index_of(folder).write_bytes(old)

    with Vault(folder, pack_size=PACK) as vault:
        assert everything(vault) == seen
        assert len(vault.auditor("me", "again").readings()) == 4
        assert vault.verify("content").ok


# -- the process is killed ----------------------------------------------------------------

WRITER = """
import sys
from support.vaults import entries, receipts
from mailarchive.vault import Vault
print("ready", flush=True)
with Vault(sys.argv[1], keys=None, pack_size=20_000) as vault:
    for n in range(0, 10_000, 5):
        for receipt in receipts(vault.put_many(entries(5, start=n))):
            print(receipt.outcome.value, receipt.entry_id, receipt.location, flush=True)
"""


@pytest.mark.slow
def test_a_process_that_is_killed_loses_nothing(folder: Path) -> None:
    """However often a writer is killed, what it said is stored stays, in its place, and once."""
    rng = random.Random(7)
    told: dict[str, str] = {}
    for _ in range(24):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": ":".join(sys.path)},
        )
        assert process.stdout is not None
        for _ in range(rng.randrange(1, len(told) + 60)):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        lines = process.stdout.read().splitlines()
        process.wait()
        process.stdout.close()
        for line in lines:
            if line.count(" ") == 2:
                _, entry_id, place = line.split(" ")
                assert told.setdefault(entry_id, place) == place

    with Vault(folder) as vault:
        found = {str(each.id): each.location for each in vault.auditor("me", "why").entries()}
        assert found.items() >= told.items()
        assert len(found) == vault.view(UserId("bob")).count()
        report = vault.verify("content")
        assert report.ok, report.findings
        seen = everything(vault)
        vault.rebuild()
        assert everything(vault) == seen


# -- the order of steps -------------------------------------------------------------------


def test_every_step_is_durable_before_the_next_counts_on_it(folder: Path) -> None:
    """Names are synced before a pack is written, its bytes before the index says so."""
    fuse = Fuse()
    with Vault(folder, keys=None, fuse=fuse) as vault:
        fuse.steps.clear()
        vault.put_many(entries(2))
        first = list(fuse.steps)
        fuse.steps.clear()
        vault.put_many(entries(2, start=2))

    assert fuse.steps == ["write", "sync file", "commit index"]
    assert first[-6:] == [
        "commit index",  # the pack is looked for after a crash, before it exists
        "create file",
        "sync folder",
        "write",
        "sync file",
        "commit index",
    ]
    # packs, 0001, volumes, the vault, and at least the folder above it
    assert first[:-6].count("sync folder") == len(first[:-6]) >= 5


def test_what_is_there_already_takes_no_step(folder: Path) -> None:
    """Putting again, and opening again, write nothing at all."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(2))
    fuse = Fuse()

    with Vault(folder, fuse=fuse) as vault:
        vault.put_many(entries(2))

    assert fuse.steps == []
