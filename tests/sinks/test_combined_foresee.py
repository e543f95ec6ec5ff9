"""A sink made of sinks tells each part of what it will be given, and of nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.world import LocalParts
from support.world import mail as letter
from typing_extensions import override

from mailarchive import Archiver, Rejected, Vault
from mailarchive.errors import MailArchiveError, SinkError
from mailarchive.retry import RetryingSink
from mailarchive.sinks import ReadBack, Router, Tee
from mailarchive.testing import sink_laws
from mailarchive.testing._sink_kit import as_a_run_makes_it
from mailarchive.testing.entries import entry, mail
from mailarchive.testing.memory import (
    MemoryCheckpoints,
    MemoryQuarantine,
    MemorySink,
    MemorySource,
)
from mailarchive.vault._packing import Packing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from mailarchive import ArchiveEntry, Receipt, Sink


def by_key(entry: ArchiveEntry) -> str:
    """Choose a part by what an entry is called where it comes from."""
    return "odd" if int(entry.copy.key) % 2 else "even"


def by_digest(entry: ArchiveEntry) -> str:
    """Choose a part for the entries of the kit, whose keys are no numbers."""
    return "odd" if entry.copy.digest.hex < "8" else "even"


def vault(folder: Path) -> Vault:
    """A vault, not yet opened."""
    return Vault(folder, keys=None)


def tee(folder: Path) -> Sink:
    """Two vaults with everything."""
    return Tee(one=vault(folder / "a"), two=vault(folder / "b"))


def router(folder: Path, route: Callable[[ArchiveEntry], str] = by_digest) -> Sink:
    """Two vaults with a part each."""
    return Router(route, odd=vault(folder / "a"), even=vault(folder / "b"))


def read_back(folder: Path) -> Sink:
    """A vault that is read."""
    return ReadBack(vault(folder / "a"))


def nested(folder: Path) -> Sink:
    """A combination in a combination."""
    return ReadBack(Tee(one=router(folder), two=vault(folder / "c")))


def retrying(folder: Path) -> Sink:
    """A vault whose transient errors are tried again."""
    return RetryingSink(vault(folder / "a"))


COMBINED = pytest.mark.parametrize("combined", [tee, router, read_back, retrying, nested])


@COMBINED
@pytest.mark.parametrize(
    "law",
    [
        sink_laws.foreseeing_changes_nothing,
        sink_laws.memory_is_bounded,
    ],
    ids=lambda law: law.__name__,
)
def test_vaults_in_a_combination_keep_what_foreseeing_could_break(
    combined: Callable[[Path], Sink], law: sink_laws.Law, tmp_path: Path
) -> None:
    """What is only foreseen is not stored, and goes away again."""
    assert law(lambda: combined(tmp_path)) is None


@COMBINED
def test_the_law_of_foreseeing_reaches_the_vaults(
    combined: Callable[[Path], Sink], tmp_path: Path, packed: list[int]
) -> None:
    """All that it foresees is begun by a vault; else it would try nothing here."""
    begun: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        begin = Packing.begin

        def counting(self: Packing, entries: Iterable[ArchiveEntry]) -> None:
            before = len(packed)
            begin(self, entries)
            begun.append(sum(packed[before:]))

        patch.setattr(Packing, "begin", counting)
        sink_laws.foreseeing_changes_nothing(lambda: combined(tmp_path), batch=4)

    once = 4 + 3 + 3 + 3
    assert sum(begun) == (2 * once if combined in {tee, nested} else once)


@pytest.mark.parametrize(
    ("combined", "each"),
    [
        (tee, [5, 5]),
        (lambda folder: router(folder, by_key), [3, 2]),
        (read_back, [5]),
        (retrying, [5]),
    ],
    ids=["tee", "router", "read back", "retrying"],
)
def test_a_vault_in_a_combination_packs_what_it_foresees(
    combined: Callable[[Path], Sink], each: list[int], tmp_path: Path, packed: list[int]
) -> None:
    """Each exactly what will be put into it, and nothing is left to pack at the put."""
    entries = [as_a_run_makes_it(entry(mail(n), key=str(n))) for n in range(5)]
    with combined(tmp_path) as sink:
        sink.foresee(entries)
        assert sorted(packed) == sorted(each)

        packed.clear()
        sink.put_many(entries)
        assert sum(packed) == 0


class Told(MemorySink):
    """Notes what it is told of, and then fails if it is to."""

    def __init__(self, name: str, *, fails: bool = False) -> None:
        super().__init__(name)
        self.fails, self.told = fails, list[list[str]]()

    @override
    def _foresee(self, entries: Sequence[ArchiveEntry]) -> None:
        self.told.append([each.copy.key for each in entries])
        if self.fails:
            raise ZeroDivisionError


def test_a_router_tells_no_part_of_what_is_not_its_own() -> None:
    """Nor of nothing; and what no part is for is told to none."""
    parts = {name: Told(name) for name in ("a", "b", "c")}
    with Router(lambda each: each.copy.key[0], **parts) as sink:
        sink.foresee([entry(mail(n), key=key) for n, key in enumerate(["a1", "b1", "x1", "a2"])])

    assert [part.told for part in parts.values()] == [[["a1", "a2"]], [["b1"]], []]


@pytest.mark.parametrize(
    "made",
    [Tee, lambda **parts: Router(lambda each: each.copy.key, **parts)],
    ids=["tee", "router"],
)
def test_a_part_that_cannot_work_ahead_keeps_no_other_from_it(made: Callable[..., Sink]) -> None:
    """The others are told, and the error is the one of the part."""
    parts = {name: Told(name, fails=name in {"a", "b"}) for name in ("a", "b", "c")}
    entries = [entry(mail(n), key=key) for n, key in enumerate(parts)]
    with made(**parts) as sink, pytest.raises(SinkError, match="sink a: ZeroDivisionError"):
        sink.foresee(entries)

    assert [len(part.told) for part in parts.values()] == [1, 1, 1]


def _no_part(_: ArchiveEntry) -> str:
    raise ZeroDivisionError


def test_a_function_of_a_router_that_breaks_tells_nobody() -> None:
    """The put that follows says so again, and that one counts."""
    part = Told("a")
    with Router(_no_part, a=part) as sink, pytest.raises(MailArchiveError):
        sink.foresee([entry(mail(1))])

    assert part.told == []


@pytest.mark.parametrize("times", [1, 2])
def test_what_a_part_raises_ahead_ends_no_run(
    times: int, tmp_path: Path, packed: list[int]
) -> None:
    """Everything is archived in every part, and the vault behind it works ahead as before."""
    broken = Told("broken", fails=True)
    source = MemorySource()
    for number in range(25):
        source.add(letter(number))
    with Tee(one=ReadBack(broken), two=vault(tmp_path / "a")) as sink:
        for _ in range(times):
            report = Archiver(
                source,
                sink,
                LocalParts(),
                state=MemoryCheckpoints(),
                quarantine=MemoryQuarantine(),
            ).run()

            assert report.ok
            assert report.adds_up
    assert len(broken.entries) == 25
    assert len(broken.told) == 3 * times
    assert sum(packed) == 25


def test_what_one_part_rejects_and_what_another_foresaw_is_no_matter() -> None:
    """Nothing that was foreseen has to be put."""

    class Picky(Told):
        """Rejects everything."""

        @override
        def _put_many(self, entries: Sequence[ArchiveEntry]) -> Sequence[Receipt | Rejected]:
            return [Rejected(each.id, "too odd") for each in entries]

    one = entry(mail(1))
    with Tee(one=Told("one"), two=Picky("two")) as sink:
        sink.foresee([one])
        assert isinstance(sink.put(one), Rejected)
