"""Proving that a vault is whole: packs first, then how they belong together, then the index.

Nothing is written, nothing is mended, and no key is needed.  What a crash may leave
behind, a torn tail that was never acknowledged, is counted and not accused.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import repeat
from typing import TYPE_CHECKING

from attrs import evolve

from mailarchive.errors import Erased, KeyUnavailable, SinkCorrupt
from mailarchive.vault import _tar, _verify_order
from mailarchive.vault._decided import Mentioned
from mailarchive.vault._disk import Disk
from mailarchive.vault._errors import Damage
from mailarchive.vault._facts import doubts
from mailarchive.vault._findings import Finding, Level, Looking, VerifyReport
from mailarchive.vault._index import Index
from mailarchive.vault._manifest import BAD_JSON
from mailarchive.vault._recovery import (
    Tail,
    Where,
    in_order,
    loaded,
    misnumbered,
    survey,
    that_count,
)
from mailarchive.vault._verify_bytes import Comparing
from mailarchive.vault._verify_index import IndexCheck, missing_objects
from mailarchive.vault._verify_lines import LineCheck, has_outside
from mailarchive.vault._verify_log import unindexed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailarchive.vault._index import PackRow
    from mailarchive.vault._manifest import Manifest, StoredObject
    from mailarchive.vault._packs import Member, Pack, Packs


_TORN = frozenset({"cut", "header", "digest", "trailer"})
"""Kinds of damage that a write which was broken off can leave at the end of a pack."""


class Verification:
    """One verification of the packs of a vault, against its index where there is one."""

    def __init__(
        self,
        packs: Packs,
        index: Index | None,
        looking: Looking,
        damage: str | None = None,
    ) -> None:
        """Look at `packs`; tell `looking.on_progress` bytes done, and of how many.

        `damage` is what is already known to be wrong with the index.
        """
        self._packs = packs
        self._index = index
        self._level = looking.level
        self._turn = looking.turn
        self._log = looking.log
        self._opener = looking.opener
        self._on_progress = looking.on_progress
        self._signed, self._lines = looking.signed, 0
        self._erased_since = looking.erased_since
        self._read_by, self._now = looking.lines, looking.now
        self._mentioned = Mentioned()
        self._report = VerifyReport(looking.level)
        self._findings: dict[Finding, None] = {}
        self._tails: list[Tail] = []
        self._hidden: list[Where] = []
        self._emptied: dict[tuple[str, int], Damage] = {}
        self._reclaims = False
        self._comparing = Comparing()
        self._written = LineCheck(looking.lines)
        self._done = 0
        self._total = 0
        if damage is not None:
            self._find("index", None, None, damage)

    def run(self) -> VerifyReport:
        """Return what was found; raises `OSError`."""
        rows = self._rows()
        sizes = {name: self._packs.size(name) for name in self._names(rows)}
        self._total = sum(size or 0 for size in sizes.values())
        with self._comparing:
            for name, size in sizes.items():
                self._pack(name, size, None if rows is None else rows[name])
        for name in self._packs.names() if rows is not None else ():
            if name not in sizes:
                self._stranger(name)
        wrong = misnumbered(self._tails)
        found = in_order(that_count(self._tails, newest_too=True, wrong=wrong))
        for doubt in _verify_order.doubts(wrong.values(), found, self._hidden):
            self._find(*doubt)
        for forged in self._written.copies(found):
            self._find(*forged)
        erasures = self._kept(found)
        if self._lines < self._signed:
            words = f"{self._signed:,} lines were signed, and only {self._lines:,} are there"
            self._find("log", None, None, words)
        if self._level.derives or self._emptied or self._reclaims:
            self._against_derived(found)
        elif self._index is not None:
            self._compared(self._index).batches(found)
        known = self._against_log(found, rows)
        since = sum(size > known for size in erasures)
        self._report = evolve(self._report, erased=len(erasures), erased_since=since)
        findings = tuple(self._not_erased_meanwhile())
        return evolve(self._report, resume=self._turn.resume, findings=findings)

    def _rows(self) -> dict[str, PackRow] | None:
        if self._index is None:
            return None
        try:
            return {row.name: row for row in self._index.packs()}
        except SinkCorrupt as error:
            self._find("index", None, None, str(error))
            self._index = None
            return None

    def _names(self, rows: dict[str, PackRow] | None) -> list[str]:
        """The packs that count: those of the index, for a newer one is not committed yet."""
        return self._packs.names() if rows is None else sorted(rows)

    # -- packs ----------------------------------------------------------------------------

    def _pack(self, name: str, size: int | None, row: PackRow | None) -> None:
        if size is None:
            if row is None or row.upto:
                words = "the pack is not there, or is no file"
                words += f": it was in volume {row.volume}" if row is not None else ""
                self._find("missing-pack", name, None, words)
            return
        volumes = self._packs.volumes().all_of(name)
        if len(volumes) > 1:
            words = f"the pack is in the volumes {' and '.join(volumes)}, and counts in the first"
            self._find("misplaced", name, None, words)
        if row is not None and size < row.upto:
            missing = row.upto - size
            self._find("truncated", name, size, f"the pack ends {missing} bytes too early")
        try:
            with self._packs.open(name, None if row is None else row.upto) as pack:
                found, doubts = self._walk(pack)
                torn = self._judge(doubts, strict=row is not None)
                torn = torn or self._behind(evolve(pack, size=size), row)
        except Damage as damage:
            self._blame(damage)
            return
        self._tails.append(Tail(name, pack.size, 0, tuple(found)))
        self._add(packs=1, size=pack.size, torn=int(torn))

    def _stranger(self, name: str) -> None:
        """Look at a pack that the index has never heard of: a copy of another, or a newer one."""
        # What is no file was given up by a rebuild, or was never there.
        with suppress(Damage), self._packs.open(name) as pack:
            self._uncounted(pack, 0)

    def _uncounted(self, pack: Pack, start: int) -> None:
        """Blame what stands in a part of a pack that does not count, and no crash left there."""
        for each in pack.manifests(start):
            if not isinstance(each, Damage) and not each.is_readable():
                self._blame(_unreadable(pack.name, each))
            elif isinstance(each, Damage) and each.kind not in _TORN:
                self._blame(each)

    def _walk(self, pack: Pack) -> tuple[list[Where], list[tuple[Damage, bool]]]:
        """The batches of a pack, and each damage with whether a batch stands behind it."""
        found: list[Where] = []
        doubts: list[Damage] = []
        judged: list[tuple[Damage, bool]] = []
        for each in pack.batches():
            if isinstance(each, Damage):
                doubts.append(each)
                continue
            judged += [(damage, True) for damage in doubts]
            doubts.clear()
            manifest, members = each
            if self._batch(pack, manifest, members):
                found.append(Where.of(manifest))
            self._progress(manifest.end - manifest.head.offset)
        return found, judged + [(damage, False) for damage in doubts]

    def _judge(self, doubts: list[tuple[Damage, bool]], *, strict: bool) -> bool:
        """Blame what was acknowledged; return whether the rest can only be a torn tail."""
        torn = False
        for damage, followed in doubts:
            if strict or followed or damage.kind not in _TORN:
                self._blame(damage)
            else:
                torn = True
        return torn

    def _batch(self, pack: Pack, manifest: Manifest, members: Sequence[Member]) -> bool:
        """Look at a batch; return whether its manifest can be read."""
        try:
            count = len(manifest.objects)
            manifest.poisoned()
        except BAD_JSON:
            self._blame(_unreadable(pack.name, manifest))
            return False
        self._volume(pack.name, manifest)
        for damage in self._damages(pack, manifest, members):
            self._blame(damage)
        self._lines += manifest.log_lines
        self._mentioned.note(manifest)
        for forged in self._written.batch(manifest):
            self._find(*forged)
        self._add(batches=1, objects=count, entries=manifest.entry_count)
        return True

    def _volume(self, pack: str, manifest: Manifest) -> None:
        there, volume = self._packs.volumes().of(pack), manifest.head.volume
        if there != volume:
            words = f"the pack is in volume {there}, and was written in volume {volume}"
            self._find("misplaced", pack, None, words)

    def _damages(
        self, pack: Pack, manifest: Manifest, members: Sequence[Member]
    ) -> Iterator[Damage]:
        in_place = pack.is_laid_out(manifest, members)
        try:
            if not in_place:
                pack.check_layout(manifest)
        except Damage as damage:
            yield damage
        if self._level is not Level.QUICK and self._turn.takes(pack.name, manifest.head.offset):
            yield from self._changed(pack, manifest, members if in_place else None)

    def _changed(
        self, pack: Pack, manifest: Manifest, members: Sequence[Member] | None
    ) -> Iterator[Damage]:
        """Look at every stored byte; headers too unless the members are known to be in place."""
        self._reclaims = self._reclaims or manifest.reclaims
        places = members or [stored.member for stored in manifest.objects]
        whole = (
            repeat(False, len(places)) if members is None else self._comparing.whole(pack, members)
        )
        for stored, place, is_whole in zip(manifest.objects, places, whole, strict=True):
            try:
                if members is None:
                    pack.expect(*place)
                if not is_whole:
                    pack.check_content(*place)
                self._content(pack, stored)
            except Damage as damage:
                if damage.kind == "digest" and pack.is_emptied(stored.offset, stored.stored_size):
                    self._emptied[pack.name, stored.offset] = damage
                elif damage.kind != "misplaced":  # the layout said so already
                    yield damage
        try:
            pack.check_padding(manifest.offset, len(manifest.data))
        except Damage as damage:
            yield damage

    def _content(self, pack: Pack, stored: StoredObject) -> None:
        if self._level is Level.CONTENT:
            # An erased one's key is gone, its bytes will be; lost keys are counted apart.
            with suppress(Erased, KeyUnavailable):
                pack.check_unpacked(stored, self._opener)

    def _behind(self, pack: Pack, row: PackRow | None) -> bool:
        """Whether a torn tail stands behind what counts of a pack that is closed."""
        if row is None or not row.sealed or pack.size <= row.upto:
            return False
        if row.owed:
            return True
        rest = pack.size - row.upto
        if rest <= len(_tar.TRAILER) and not any(pack.read(row.upto, rest)):
            return False
        self._uncounted(pack, row.upto)
        found = survey(pack, row.upto, hashing=True).found
        self._hidden += [where for where in found if not where.lost]
        return True

    # -- how they belong together, and what follows from them -----------------------------

    def _kept(self, found: list[Where]) -> list[int]:
        """Judge every erasure; return how many lines the log had with each."""
        try:
            decided = self._mentioned.judged(loaded(self._packs, found), self._read_by, self._now)
        except Damage as damage:
            self._blame(damage)
            return []
        for wrong in decided.wrongs:
            self._find(wrong.kind, wrong.pack, wrong.offset, wrong.words)
        return decided.erasures

    # -- the index ------------------------------------------------------------------------

    def _against_derived(self, found: list[Where]) -> None:
        """Make the index again, beside, and compare."""
        derived = Index.temporary(self._packs.vault, Disk())
        try:
            with derived.transaction():
                for _, manifest in loaded(self._packs, found):
                    if self._entries(manifest):
                        if self._log is not None:
                            self._log.take(manifest)
                        if not derived.adopt(manifest, verified=False):
                            self._blame(_unreadable(manifest.head.pack, manifest))
            for finding in missing_objects(derived):
                self._find(*finding)
            self._erased(derived)
            if self._index is not None:
                self._compared(self._index).rows(found, derived)
        except SinkCorrupt as error:
            self._find("index", None, None, str(error))
            self._log = None  # it has not heard of every batch, and could accuse the others
        finally:
            derived.close()

    def _against_log(self, found: list[Where], rows: dict[str, PackRow] | None) -> int:
        """Judge what the batches led to, all of which have been handed over.

        Returns how many lines the newest checkpoint covers that is believed.
        """
        if self._log is None:
            return self._signed
        log, judgement = self._log, self._log.finish()
        if judgement.findings and rows is not None:
            # What is sealed counts, whatever the index knows of it.
            more = unindexed(self._packs, found, rows)
            again = self._log.anew(self._packs, in_order([*more, Tail("", 0, 0, tuple(found))]))
            if len(again.finish().findings) < len(judgement.findings):
                log, judgement = again, again.finish()
                self._find("index", None, None, "the index leaves out what was sealed: rebuild it")
        for finding in judgement.findings:
            self._find(*finding)
        self._report = evolve(self._report, leaves=log.size, sealed=judgement.sealed)
        return judgement.known

    def _entries(self, manifest: Manifest) -> bool:
        """Look at the entries of a batch; return whether they can be read."""
        pack = manifest.head.pack
        if not manifest.is_readable():
            self._blame(_unreadable(pack, manifest))
            return False
        for words in doubts(manifest, self._read_by):
            self._find("fact", pack, manifest.offset, words)
        if has_outside(manifest):
            self._find("span", pack, manifest.offset, "an original outside of its message")
        return True

    def _erased(self, derived: Index) -> None:
        """Only what was erased may be empty, and what was overwritten must be."""
        rows = derived.rows(
            "SELECT p.name, g.offset, g.reclaimed FROM gone g"
            " JOIN batch b ON b.n = g.batch JOIN pack p ON p.n = b.pack"
        )
        gone = {(pack, offset): bool(reclaimed) for pack, offset, reclaimed in rows}
        for place, damage in self._emptied.items():
            if place not in gone:
                self._blame(damage)
        if self._level is Level.QUICK:
            return
        for (pack, offset), reclaimed in gone.items():
            seen = self._turn.covers(pack, offset)
            if reclaimed and seen and (pack, offset) not in self._emptied:
                words = "bytes are there that were erased: was an old copy put back?"
                self._find("unerased", pack, offset, words)

    def _compared(self, index: Index) -> IndexCheck:
        return IndexCheck(index, self._find, thorough=self._level.derives)

    # -- notes ----------------------------------------------------------------------------

    def _blame(self, damage: Damage) -> None:
        self._find(damage.kind, damage.pack, damage.offset, str(damage))

    def _find(self, kind: str, pack: str | None, offset: int | None, words: str) -> None:
        self._findings[Finding(kind, pack, offset, words)] = None

    def _not_erased_meanwhile(self) -> Iterator[Finding]:
        """The findings, but for bytes that somebody overwrote, on record, while we looked."""
        changed = any(each.kind == "digest" for each in self._findings)
        erased = self._erased_since() if changed else frozenset()
        for each in self._findings:
            if each.kind != "digest" or (each.pack, each.offset) not in erased:
                yield each

    def _add(self, **counts: int) -> None:
        report = self._report
        self._report = evolve(
            report, **{name: getattr(report, name) + more for name, more in counts.items()}
        )

    def _progress(self, size: int) -> None:
        self._done += size
        if self._on_progress is not None:
            self._on_progress(min(self._done, self._total), self._total)


def _unreadable(pack: str, manifest: Manifest) -> Damage:
    return Damage.at(pack, manifest.offset, "manifest", "a manifest that cannot be read")
