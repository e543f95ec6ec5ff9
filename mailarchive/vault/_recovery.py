"""From packs to an index: after a crash what is new, in a rebuild everything.

A batch counts once its manifest is complete and durable.  Nothing is truncated, deleted
or written into a pack here; a torn tail is left where it is, and its pack is closed.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from itertools import chain, pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from mailarchive.vault import _disk
from mailarchive.vault._decided import NEVER, Decided
from mailarchive.vault._errors import Damage, index_disagrees
from mailarchive.vault._index import PackRow
from mailarchive.vault._lines import Lines
from mailarchive.vault._manifest import BAD_JSON, ENCRYPTED
from mailarchive.vault._tar import TRAILER
from mailarchive.vault._volumes import FIRST

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from typing import TypeGuard

    from mailarchive._model import Digest
    from mailarchive.vault._decided import Spot
    from mailarchive.vault._disk import Disk
    from mailarchive.vault._index import Index
    from mailarchive.vault._manifest import Manifest
    from mailarchive.vault._packs import Pack, Packs
    from mailarchive.vault._place import Place


@frozen
class Where:
    """A manifest that was found, without its lines.

    `lines` is how many lines it gives the log.  `hashed` says that every byte of the batch
    was compared, from the medium; `lost` are the stored objects that were not what their
    names say.
    """

    pack: str
    offset: int
    end: int
    sequence: int
    digest: Digest
    previous: Digest | None
    poisoned: Mapping[str, int] = field(hash=False)
    lines: int
    hashed: bool = False
    lost: frozenset[Digest] = frozenset()

    @classmethod
    def of(cls, manifest: Manifest) -> Where:
        """Return where a manifest is; raises one of `BAD_JSON`."""
        head = manifest.head
        return cls(
            head.pack,
            manifest.offset,
            manifest.end,
            head.sequence,
            manifest.digest,
            head.previous,
            manifest.poisoned(),
            manifest.log_lines,
        )


@frozen
class Tail:
    """What was found in a pack of `size` bytes from some place on."""

    pack: str
    size: int
    start: int
    found: tuple[Where, ...]

    @property
    def ends_cleanly(self) -> bool:
        """Whether a writer may go on behind it: nothing stands there that does not count."""
        return self.size == (self.found[-1].end if self.found else self.start)


def survey(pack: Pack, start: int = 0, *, hashing: bool = False) -> Tail:
    """Return what can be read of a pack, also behind a damage.

    With `hashing` every batch is hashed, else only the newest one: that alone can be torn.
    Of the others the headers are looked at.
    """
    found: list[Where] = []
    newest: Manifest | None = None
    for each in filter(_has_place, pack.manifests(start)):
        if newest is not None:
            found.append(_looked_at(pack, newest, hashing=hashing))
        newest = each
    if newest is not None:
        found.append(_looked_at(pack, newest, hashing=True))
    return Tail(pack.name, pack.size, start, tuple(found))


def _has_place(found: Manifest | Damage) -> TypeGuard[Manifest]:
    """Whether this is a manifest of which one can tell where its objects are."""
    try:
        return not isinstance(found, Damage) and len(found.objects) + len(found.poisoned()) >= 0
    except BAD_JSON:
        return False


def _looked_at(pack: Pack, manifest: Manifest, *, hashing: bool) -> Where:
    look = pack.check if hashing else pack.expect
    lost: set[Digest] = set()
    for stored in manifest.objects:
        try:
            look(stored.offset, stored.name, stored.stored_size)
        except Damage:
            lost.add(stored.stored)
    return evolve(Where.of(manifest), hashed=hashing and _disk.CAN_EVICT, lost=frozenset(lost))


def that_count(
    tails: Iterable[Tail], *, newest_too: bool, wrong: Collection[Digest] | None = None
) -> list[Tail]:
    """Return the tails without what was poisoned, misnumbered batches and torn ones.

    A batch of which something is lost was torn, and never acknowledged, unless the next
    one names it.  Nor is one poisoned that another names: nobody goes on behind a write that
    failed, and whoever can append could take away all that there is.  Of the newest of all
    nobody can say whether it is torn: it counts where `newest_too`.  `wrong` are the
    misnumbered ones, where somebody has worked them out already.
    """
    tails = list(tails)
    wrong = misnumbered(tails) if wrong is None else wrong
    found = [where for tail in tails for where in tail.found]
    poisoned: dict[str, int] = {}
    for where in found:
        poisoned.update(where.poisoned)
    named = {where.previous for where in found}
    rivals = Counter(where.sequence for where in found)

    def counts(where: Where) -> bool:
        if where.digest in wrong:
            return False
        if where.digest in named:
            return True
        if where.end > poisoned.get(where.pack, where.end):
            return False
        return not where.lost or (newest_too and rivals[where.sequence] == 1)

    return [evolve(tail, found=tuple(filter(counts, tail.found))) for tail in tails]


def misnumbered(
    tails: Iterable[Tail], numbers: Mapping[Digest, int] = MappingProxyType({})
) -> dict[Digest, Where]:
    """Return the batches whose number is not the one after that of the batch they name.

    No writer makes one, or goes on behind it: whoever appended it could take all numbers
    away from those who write.  What follows such a batch counts no more than it does.
    `numbers` are those of batches that are known already.
    """
    found = sorted((it for tail in tails for it in tail.found), key=lambda it: it.sequence)
    known = {**numbers, **{where.digest: where.sequence for where in found}}
    wrong: dict[Digest, Where] = {}
    for where in found:
        if where.previous is not None and (
            where.previous in wrong
            or known.get(where.previous, where.sequence - 1) + 1 != where.sequence
        ):
            wrong[where.digest] = where
    return wrong


def in_order(tails: Iterable[Tail]) -> list[Where]:
    """Return the batches in the order in which they were committed.

    Should two claim one number, the one that the next names comes first; none is dropped.
    """
    found = [where for tail in tails for where in tail.found]
    named = {where.previous for where in found}
    return sorted(
        found,
        key=lambda where: (where.sequence, where.digest not in named, where.pack, where.offset),
    )


def loaded(packs: Packs, found: Iterable[Where]) -> Iterator[tuple[Where, Manifest]]:
    """Yield the manifests themselves, one at a time; raises `Damage`."""
    for where in found:
        with packs.open(where.pack) as pack:
            manifest = pack.manifest(where.offset)
        yield where, manifest


def history(packs: Packs, index: Index) -> Iterator[Manifest]:
    """Yield every batch that counts, in order, as it stands in the packs.

    The index is asked for no more than their places: where it leaves out a batch, or has
    one that does not follow, this raises `SinkCorrupt` in the end.
    """
    ends: dict[str, int] = {}
    poisoned: dict[str, int] = {}
    found: list[tuple[int, Digest, Digest | None]] = []
    for line in index.batches(0):
        with packs.open(line.pack) as pack:
            manifest = pack.manifest(line.offset)
        poisoned.update(manifest.poisoned())
        ends[line.pack] = max(ends.get(line.pack, 0), manifest.end)
        found.append((manifest.head.sequence, manifest.digest, manifest.head.previous))
        yield manifest
    chained = all(
        (then[0], then[2]) == (before[0] + 1, before[1])
        for before, then in pairwise([(0, None, None), *found])
    )
    named = {previous for _, _, previous in found}
    if _left_out(packs, ends, poisoned, named) or not (chained or _is_all(packs, found)):
        raise index_disagrees("it has not all the batches that there are")


def _left_out(
    packs: Packs,
    ends: Mapping[str, int],
    poisoned: Mapping[str, int],
    named: Collection[Digest | None],
) -> bool:
    """Whether a batch that counts stands behind what is known of its pack."""
    for name in packs.names():
        known, size = ends.get(name, 0), packs.size(name) or 0
        if size <= known:
            continue
        with packs.open(name) as pack:
            rest = min(size - known, len(TRAILER) + 1)
            if rest <= len(TRAILER) and not any(pack.read(known, rest)):
                continue
            found = survey(pack, known, hashing=True).found
        if any(
            not it.lost and (it.digest in named or it.end <= poisoned.get(name, it.end))
            for it in found
        ):
            return True
    return False


def _is_all(packs: Packs, found: Iterable[tuple[int, Digest, Digest | None]]) -> bool:
    """Whether these are the batches of all packs, of which some went missing for good."""
    tails = []
    for name in packs.names():
        with packs.open(name) as pack:
            tails.append(survey(pack))
    there = in_order(that_count(tails, newest_too=True))
    return {it.digest for it in there} == {digest for _, digest, _ in found}


def apply(index: Index, packs: Packs, tails: Iterable[Tail]) -> None:
    """Take the batches into the index, inside a transaction; raises `Damage`.

    One that cannot be read, or taken in, is left out by itself.  A pack that no writer may go
    on with is sealed.
    """
    tails = list(tails)
    doubtful: set[str] = set()
    erased = _let_go(packs, tails) if any(it.lost for tail in tails for it in tail.found) else ()
    for where, manifest in loaded(packs, in_order(tails)):
        if manifest.is_readable():
            objects = manifest.objects if where.lost else ()
            gone = {it.stored for it in objects if (where.pack, it.offset) in erased}
            if index.adopt(manifest, verified=where.hashed, lost=where.lost - gone):
                continue
        doubtful.add(where.pack)
    for tail in tails:
        index.register(tail.pack, packs.volumes().of(tail.pack) or FIRST)
        if tail.pack in doubtful or not tail.ends_cleanly:
            index.seal(tail.pack)


def _let_go(packs: Packs, tails: Iterable[Tail]) -> frozenset[Spot]:
    """Return where bytes are missing that nothing needs any more, and so are not lost.

    Somebody erased what they belong to and may have died while overwriting them: the index
    must know of them, so that it is done to the end.
    """
    found = in_order(tails)
    torn = loaded(packs, (where for where in found if where.lost))
    objects = {
        (where.pack, it.offset): it
        for where, manifest in torn
        for it in manifest.objects
        if it.stored in where.lost
    }
    lost = frozenset(objects)
    encrypted = any(it.suite == ENCRYPTED for it in objects.values())
    decided = Decided((), lost, Lines(is_encrypted=encrypted), NEVER)
    for _, manifest in loaded(packs, found):
        with suppress(*BAD_JSON):  # it is left out of the index for that
            decided.take(manifest)
    return frozenset(chain.from_iterable(each for each in decided.let_go if each <= lost))


def left_out(numbers: Collection[int]) -> tuple[int, int]:
    """Return the first number, from 1 on, that is left out before the last, and how many are."""
    first = next((n for n, there in enumerate(sorted(numbers), 1) if n != there), 0)
    return first, max(numbers, default=0) - len(numbers)


def _missing(tails: Iterable[Tail], signed: int) -> str | None:
    """What the batches, and how many lines were signed, say is missing: `None` for nothing."""
    found = in_order(tails)
    first, missing = left_out({where.sequence for where in found})
    if missing:
        return f"batch {first}" + (f" and {missing - 1} more" if missing > 1 else "")
    lines = sum(where.lines for where in found)
    if lines < signed:
        return f"{signed:,} lines were signed, and only {lines:,} are there"
    return None


class Recovery:
    """Brings the index of a vault up to its packs.

    What it reads comes from the medium, not from memory, after a sync: a process that died
    may have left behind what looks written, and is not.
    """

    def __init__(self, place: Place, packs: Packs, index: Index, disk: Disk) -> None:
        """Work on the parts of one open vault."""
        self._place = place
        self._packs = packs
        self._index = index
        self._disk = disk

    def adopt(self, *, look_around: bool) -> bool:
        """Take in complete batches that the index lacks; the lock must be held.

        With `look_around` packs of which the index has never heard are found too.  `False`,
        and nothing of them, where something is missing between what is known and them.
        Raises `SinkError`, `OSError`.
        """
        rows = {row.name: row for row in self._index.packs(unsealed=not look_around)}
        names = self._packs.names() if look_around else rows
        behind = [
            row
            for row in (rows.get(name, PackRow(name)) for name in names)
            if not row.sealed and (self._packs.size(row.name) or 0) > row.upto
        ]
        if behind:
            self._place.settle()
            tails = [self._survey(row.name, row.upto, hashing=True) for row in behind]
            wrong = misnumbered(tails, self._numbers(tails))
            counted = that_count(tails, newest_too=False, wrong=wrong)
            if not self._continues(counted):
                return False
            with self._index.transaction():
                apply(self._index, self._packs, counted)
        return True

    def _numbers(self, tails: Iterable[Tail]) -> dict[Digest, int]:
        """The numbers of what the batches name, as far as the index knows it."""
        return self._index.numbers(
            where.previous for tail in tails for where in tail.found if where.previous is not None
        )

    def _continues(self, tails: Iterable[Tail]) -> bool:
        """Whether batches go on where those of the index end, without a gap."""
        newest, _ = self._index.last()
        numbers = sorted({where.sequence for where in in_order(tails)})
        later = [newest, *(number for number in numbers if number > newest)]
        return all(after == before + 1 for before, after in pairwise(later))

    def rebuild(self, *, signed: int, without_missing: bool = False) -> str | None:
        """Make the index anew from the packs alone; the lock must be held.

        Returns what is known to be missing, `None` where nothing is.  Such an index is not
        `usable` when the vault is opened again, unless it is to be `without_missing`.
        `signed` is how many lines of the log are.
        """
        self._place.settle()
        names = [name for name in self._packs.names() if self._packs.size(name) is not None]
        tails = [self._survey(name, 0, hashing=False) for name in names]
        counted = that_count(tails, newest_too=True)
        missing = None if without_missing else _missing(counted, signed)
        with self._index.transaction():
            self._index.reset()
            apply(self._index, self._packs, counted)
            if missing is not None:
                self._index.doubt()
        return missing

    def _survey(self, name: str, start: int, *, hashing: bool) -> Tail:
        with self._packs.open(name) as pack:
            with self._packs.folder(name) as folder:
                handle = _disk.open_file(f"{name}.tar", folder, writing=True)
            try:
                self._disk.sync(handle)
                _disk.evict(handle)
            finally:
                _disk.close(handle)
            return survey(pack, start, hashing=hashing)
