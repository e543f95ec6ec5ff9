"""An open vault: the one way to append to it, and to bring its index up to what is there."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from attrs import evolve

from mailarchive.vault import _destroying, _repair, _repair_checkpoints, _tar
from mailarchive.vault._decided import Decided
from mailarchive.vault._erasing import confirm, overwrite, pending, reclaimed
from mailarchive.vault._errors import index_disagrees, not_all_there, not_whole, read_only
from mailarchive.vault._lines import Lines
from mailarchive.vault._log import LogFolder, signed_lines
from mailarchive.vault._manifest import BAD_JSON, REPAIR
from mailarchive.vault._opened import OpenedIndex, OpenedReading
from mailarchive.vault._parts import Parts
from mailarchive.vault._recovery import history
from mailarchive.vault._repair import Copy
from mailarchive.vault._restoring import Restoring, has_intent
from mailarchive.vault._seal import Sealing, sealed
from mailarchive.vault._verifying import Verifying
from mailarchive.vault._writer import Draft

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from mailarchive._model import Digest
    from mailarchive.vault._decided import Spot
    from mailarchive.vault._disk import Disk
    from mailarchive.vault._erasing import Gone
    from mailarchive.vault._grants import Grant
    from mailarchive.vault._index import Found
    from mailarchive.vault._manifest import Fact
    from mailarchive.vault._note import VerifierKey
    from mailarchive.vault._packing import Prepared
    from mailarchive.vault._parts import Settings
    from mailarchive.vault._repair import RepairPlan
    from mailarchive.vault._seal import Seal
    from mailarchive.vault._writer import Packed
    from mailarchive.vault.anchors import Anchor
    from mailarchive.vault.signing import Signer


_MOST_ENTRIES = 2_000
"""Entries, or facts, of one batch, so that its manifest stays small enough to be read whole."""


class Session(Parts):
    """One open vault, and what is done with it."""

    def __init__(self, settings: Settings, disk: Disk) -> None:
        """Open the vault, and take in what a crash left behind; raises `SinkError`, `OSError`."""
        super().__init__(settings, disk)
        self._missing: str | None = None
        try:
            if not (settings.read_only or settings.anew):
                self._catch_up()
                if self._missing is None:  # else what is missing may need what seems erased
                    self._reclaim()
        except BaseException:
            self._stack.close()
            raise

    # -- the index on the disk ------------------------------------------------------------

    def refuse_other_index(self) -> None:
        """Raise where the index that is open is not, or no more, the one of the vault."""
        self._file.refuse_other()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the right to append, with the vault's own index."""
        with self.place.writing():
            self.refuse_other_index()
            yield

    @contextmanager
    def _appending(self) -> Iterator[None]:
        """Hold the right to append to a vault of which nothing is known to be missing."""
        self.refuse_read_only()
        with self._writing():
            if self._missing is None:
                self._adopt(look_around=False)
            if self._missing is not None:
                raise not_whole(self._missing)
            yield

    def _adopt(self, *, look_around: bool) -> None:
        """Take in what the index lacks; where that does not follow, the packs alone decide."""
        if not self._recovery.adopt(look_around=look_around):
            self._rebuild()
            self._forget_opened()

    def _rebuild(self, *, without_missing: bool = False) -> None:
        """Make the index anew, and note what is missing; the right to write must be held."""
        signed = signed_lines(self.place.volume(), self._disk)
        self._missing = self._recovery.rebuild(signed=signed, without_missing=without_missing)

    def _catch_up(self) -> None:
        broke_off = has_intent(self.place)
        with self._writing():
            if self._stored.usable() and not broke_off:
                self._adopt(look_around=True)
            else:
                self._rebuild()
        if broke_off:
            self._record_repair()

    # -- appending ------------------------------------------------------------------------

    def store(
        self,
        entries: Sequence[Prepared],
        packed: Mapping[Digest, Packed],
        asked_at: tuple[int, Digest | None],
    ) -> tuple[frozenset[Digest], dict[Digest, Found]]:
        """Append what is not there yet; return the ids that are new, and where all of them are.

        None of the entries was there when `asked_at` was the newest batch.
        """
        places: dict[Digest, Found] = {}
        with self._appending():
            self.refuse_gaps()
            ids = [each.record.id for each in entries]
            there = self.index.find(ids) if self.index.last() != asked_at else {}
            new = [each for each in entries if each.record.id not in there]
            for start in range(0, len(new), _MOST_ENTRIES):
                some = new[start : start + _MOST_ENTRIES]
                records = tuple(each.record for each in some)
                self._append(Draft(self._objects(some, packed), records))
                places |= self._writer.placed(records)
        # Elsewhere is what was stored before, under another id; an encrypted vault looks up all.
        left = [id_ for id_ in ids if id_ not in places or self.encryption is not None]
        places |= self.index.find(left)
        return frozenset(each.record.id for each in new), places

    def _append(self, draft: Draft) -> None:
        """Write a batch, in an encrypted vault once the keys to it are durable."""
        if isinstance(self.reading, OpenedReading) and self.encryption is not None:
            draft = self.encryption.draft(draft, self.reading.needed)
        self._writer.append(draft)

    def _append_facts(self, facts: Sequence[Fact]) -> None:
        """Write facts, in as many batches as they need; each is durable before the next."""
        for start in range(0, len(facts), _MOST_ENTRIES):
            self._append(Draft(contents=tuple(facts[start : start + _MOST_ENTRIES])))

    def _forget_opened(self) -> None:
        if isinstance(self.index, OpenedIndex):
            self.index.forget()

    def refuse_gaps(self) -> None:
        """Raise where something that is there cannot be seen, and so would seem new."""
        if isinstance(self.index, OpenedIndex):
            self.index.refuse_gaps()

    def state(self, *facts: Fact) -> None:
        """Append facts, durable when it returns."""
        with self._appending():
            self._append_facts(facts)

    def give(self, grants: Sequence[Grant]) -> int:
        """Append what gives entries to further users; return how many of them were given.

        What somebody erased since it was looked at is nobody's any more.
        """
        if not grants:
            return 0
        with self._appending():
            gone = self.index.erased(each.entry for each in grants)
            facts = tuple(each.fact() for each in grants if each.entry not in gone)
            self._append_facts(facts)
        return len(facts)

    def decide(self, decide: Callable[[], Sequence[Fact]]) -> None:
        """Append the facts that are decided on while nobody else can append any."""
        with self._appending():
            self._append_facts(decide())

    def erase(self, decide: Callable[[], Sequence[Fact]]) -> list[Gone]:
        """Append the facts that erase entries; return what was overwritten.

        What a crash between two batches of them leaves is erased in part: each fact is true
        by itself, and whoever opens the vault next overwrites what is to be.
        """
        self.decide(decide)
        return self._reclaim(searched=True)

    def _forget_words(self) -> None:
        """Take out of the full text what was erased, also where a crash kept it in."""
        rows = self.index.rows("SELECT n FROM entry WHERE erased")
        self.fulltext.erase(n for (n,) in rows)

    def decided(self, entries: Iterable[Digest], places: Collection[Spot] = ()) -> Decided:
        """Return what the packs say of entries, as the index names them, and of places.

        Raises `SinkCorrupt`, also where the index leaves out what stands in them.
        """
        said = Decided(entries, places, self._lines(), self._clock())
        try:
            for manifest in history(self.packs, self._stored):
                said.take(manifest)
        except BAD_JSON as error:
            raise index_disagrees("a batch that cannot be read") from error
        return said

    def _lines(self) -> Lines:
        return Lines(self.place.identity.is_encrypted, self.encryption)

    def _reclaim(self, *, searched: bool = False) -> list[Gone]:
        """Overwrite what nothing needs any more, also what a crash kept from being so.

        The keys of it go first.  Without keys nobody can tell who wrote that it was erased.
        `searched` says that something was erased that its words may lead to.
        """
        if self.place.identity.is_encrypted and self.encryption is None:
            return []
        gone, keyed = pending(self._stored), self._keyed()
        if gone or keyed:
            with self._appending():
                said = self._confirmed(gone, keyed)
            searched = True
            keyed = {each: names for each, names in keyed.items() if said.is_erased(each)}
        if self.encryption is not None:
            _destroying.destroy(self.encryption, keyed)
        if searched:
            self._forget_words()
        if gone:
            overwrite(self.packs, self._disk, gone)
            self.state(*reclaimed(gone))
        return gone

    def _confirmed(self, gone: Collection[Gone], entries: Iterable[Digest]) -> Decided:
        """Return what the packs say; raises unless these bytes are gone by that, and rightly."""
        said = self.decided(entries, {(each.pack, each.offset) for each in gone})
        confirm(said, gone)
        return said

    def _keyed(self) -> dict[Digest, set[bytes]]:
        """The entries that were erased, as the index has it, and whose keys are still there."""
        if self.encryption is None:
            return {}
        return _destroying.left(self._stored, self._bare, self.encryption)

    def keyless(self, entries: Iterable[Digest]) -> int:
        """Return how many of the entries, as the index names them, have no key to destroy."""
        if self.encryption is None:
            return 0
        return _destroying.keyless(entries, self._stored, self._bare, self.encryption)

    def rebuild(self, *, without_missing: bool) -> None:
        """Make the index anew from the packs alone."""
        self.refuse_read_only()
        with self._writing():
            if not without_missing and self._stored.usable():
                self._refuse_to_forget()
            self._rebuild(without_missing=without_missing)
        self._forget_opened()
        self.fulltext.forget()  # it lacks what could not be read when it was taken in
        log = LogFolder.open(self.place.volume(), self._disk)
        if log is not None:
            with log, log.sealing():
                self._sealing(log).remake()
        if self._missing is not None:
            raise not_whole(self._missing)

    def _refuse_to_forget(self) -> None:
        """Raise where only the index still knows that something was there."""
        for row in self._stored.packs():
            if (self.packs.size(row.name) or 0) < row.upto:
                raise not_all_there(row.name)

    def refuse_lost(self, places: Collection[Found]) -> None:
        """Raise where the bytes that a receipt would be of are not in the pack any more."""
        ends: dict[str, int] = {}
        for found in places:
            end = found.stored.offset + _tar.member_size(found.stored.stored_size)
            ends[found.pack] = max(ends.get(found.pack, 0), end)
        for pack, end in ends.items():
            if (self.packs.size(pack) or 0) < end:
                raise not_all_there(pack)

    def plan_repair(self, replica: Session, *, newer: bool, key: VerifierKey | None) -> RepairPlan:
        """Return what of packs and log can be restored from another copy of the vault."""
        made = _repair.plan(self._copy(), replica._copy(), self._sealed(), newer=newer)
        ours, theirs = self.place.volume(), replica.place.volume()
        origin = self.place.identity.origin
        saved = _repair_checkpoints.plan(ours, theirs, origin, key, self._disk)
        return evolve(made, checkpoints=saved.repairs, lost_checkpoints=saved.lost)

    def _sealed(self) -> frozenset[Digest]:
        log = LogFolder.open(self.place.volume(), self._disk)
        if log is None:
            return frozenset()
        with log:
            return sealed(log)

    def repair(self, plan: RepairPlan, replica: Session, actor: str, reason: str) -> None:
        """Restore what a plan says, and make a fact of each pack."""
        self.refuse_read_only()
        if plan.packs:
            self._repair_packs(plan, replica, actor, reason)
        if plan.checkpoints:
            _repair_checkpoints.restore(self.place.volume(), plan.checkpoints, self._disk)

    def _repair_packs(self, plan: RepairPlan, replica: Session, actor: str, reason: str) -> None:
        restoring = Restoring(self.place, self._copy(), replica._copy(), self._disk)
        with self._writing():
            self._recovery.adopt(look_around=True)
            with self._stored.transaction():
                for each in plan.packs:
                    self._stored.seal(each.pack)  # nobody goes on with what is to be replaced
            restoring.intend(_repair.facts(plan, actor, reason, self._clock()))
            for each in plan.packs:
                restoring.restore(each)
            self._rebuild()
        self._forget_opened()
        self._record_repair()

    def _record_repair(self) -> None:
        """Make facts of what a repair has done, also of one that broke off."""
        self.fulltext.forget()  # it lacks what was damaged when it was taken in
        restoring = Restoring(self.place, self._copy(), None, self._disk)
        lines = self._stored.lines("t.kind = ?", (REPAIR,), table="fact")
        known = [self._bare.fact(line) for line in lines]
        with self._writing():
            restored = restoring.done()
            self._empty({str(fact.body["pack"]) for fact in restored})
            done = tuple(fact for fact in restored if fact not in known)
            self._append_facts(done)
            restoring.forget()

    def _empty(self, packs: Collection[str]) -> None:
        """Overwrite again what was erased: a replica may have brought it back."""
        gone = [each for each in pending(self._stored, reclaimed_too=True) if each.pack in packs]
        if gone:
            self._confirmed(gone, ())
        overwrite(self.packs, self._disk, gone)

    def _copy(self) -> Copy:
        return Copy(self.packs, self._stored)

    def _sealing(self, log: LogFolder) -> Sealing:
        return Sealing(self.packs, self._stored, log, self.place.identity.origin)

    def seal(self, signer: Signer, anchors: Sequence[Anchor]) -> Seal:
        """Give places in the log to what has none, and have a signer sign for all of it."""
        self.refuse_read_only()
        opened = LogFolder.open(self.place.volume(), self._disk, create=True)
        assert opened is not None
        with opened as log, log.sealing():
            with self._writing():
                self._recovery.adopt(look_around=True)
            sealing = self._sealing(log)
            made = sealing.run(signer)
            anchored = [sealing.anchor(made.checkpoint, each) for each in anchors]
        return evolve(made, anchored=tuple(anchored))

    def verifying(self) -> Verifying:
        """Return what compares everything with everything, and writes nothing."""
        parts = self.place, self.packs, self._file
        return Verifying(parts, self._stored, self.reading, self._disk, self.encryption)

    def _objects(
        self, new: Sequence[Prepared], packed: Mapping[Digest, Packed]
    ) -> tuple[Packed, ...]:
        """What must be stored for these entries: each part once, and only if it is not there.

        What is there is read, since another entry is to rest on it: it may be damaged, or what
        somebody appended who knew which mail would come.  Raises `SinkCorrupt`.
        """
        parts: dict[Digest, bytes] = {}
        for each in new:
            parts.update(each.parts)
        stored = self.index.objects(parts)
        for found in stored.values():
            self.reading.at(found)
        return tuple(
            packed.get(digest) or self.packing.pack(digest, data)
            for digest, data in parts.items()
            if digest not in stored
        )


def rebuild(settings: Settings, disk: Disk, *, without_missing: bool) -> None:
    """Make the index of a vault anew that is not open, and perhaps cannot be opened."""
    if settings.read_only:
        raise read_only()
    with closing(Session(evolve(settings, create=False, anew=True), disk)) as session:
        session.rebuild(without_missing=without_missing)
