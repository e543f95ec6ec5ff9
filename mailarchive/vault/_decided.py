"""What the batches, in their order, say about keeping some entries and some stored bytes.

The index says so faster, and can be changed by whoever can write a file.  What is erased
is gone for good; so before it, and whenever a vault is verified, the manifests decide:
which holds stood when an entry was erased, and how long it had to be kept.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

from mailarchive._model import UserId, one_spelling
from mailarchive.vault import _knowledge, _loading
from mailarchive.vault._grants import Grant
from mailarchive.vault._keeping import Hold, Retention
from mailarchive.vault._lines import FORGED, Heard, forgery
from mailarchive.vault._manifest import (
    BAD_JSON,
    ERASED,
    GRANTED,
    HELD,
    RECLAIMED,
    RELEASED,
    RETAINED,
    Fact,
    kind_bytes,
)
from mailarchive.vault._record import StoredOriginal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from typing import TypeAlias

    from mailarchive._model import Digest, Owner
    from mailarchive.vault._keeping import Selection
    from mailarchive.vault._lines import Lines
    from mailarchive.vault._manifest import Head, Manifest
    from mailarchive.vault._record import Json

    Spot: TypeAlias = tuple[str, int]
    """A pack, and where in it a stored message begins."""

_DECISIONS = (HELD, RELEASED, RETAINED)
_KINDS = (*_DECISIONS, ERASED, RECLAIMED)
_KIND_BYTES = tuple(map(kind_bytes, _KINDS))
_DIGEST = re.compile(rb'"([0-9a-f]{64})"')

NEVER = datetime.max.replace(tzinfo=UTC)
"""The time for whoever judges nothing by it: no erasure is later."""

HOLD, RETENTION, CLOSED = "hold", "retention", "closed"
"""Why an entry may not be erased; `CLOSED`: it cannot be opened, and so nobody can tell."""


@define
class _Subject:
    """An entry that is looked at; `owners` and `at` are `None` where it cannot be opened."""

    name: Digest
    archived: datetime
    owners: set[UserId] | None
    at: int | None
    raws: frozenset[Digest]
    erased: bool = False


@frozen
class Wrong:
    """Something that may not have been done: its kind, the batch that did it, and words.

    `bars` says that nothing may be overwritten because of it.  A hold that cannot be read, or
    is forged, holds nothing, and bars nothing.
    """

    kind: str
    pack: str
    offset: int
    words: str
    bars: bool = True


class Decided:
    """What was decided about some entries, and about what some places in packs hold.

    The batches are handed to `take` in their order, all of them.
    """

    def __init__(
        self, entries: Iterable[Digest], places: Collection[Spot], lines: Lines, now: datetime
    ) -> None:
        """Look at entries, as the manifests name them, and at the bytes in these places.

        No erasure is taken to be later than `now`, whatever time it gives itself.
        """
        self._lines = lines
        self._now = now
        self._places = frozenset(places)
        self._packs = frozenset(pack for pack, _ in places)
        self._wanted = {each.hex.encode("ascii") for each in entries}
        self._stored: dict[Digest, set[Spot]] = {}
        self._entries: dict[Digest, _Subject] = {}
        self._needed: dict[Digest, set[Digest]] = {}
        self._holds: list[Hold] = []
        self._retentions: list[Retention] = []
        self._heard = Heard()
        self._size = 0
        self._where: tuple[str, int] = ("", 0)
        self.gone: set[Spot] = set()
        self.erasures: list[int] = []
        """For each entry that was erased, how many lines the log has with that batch."""
        self.wrongs: dict[Wrong, None] = {}
        """What was erased and should not have been; kept in order, each once."""

    # -- the answers ----------------------------------------------------------------------

    def is_known(self, entry: Digest) -> bool:
        """Whether there is such an entry, and it was not erased."""
        return entry in self._entries and not self._entries[entry].erased

    def is_erased(self, entry: Digest) -> bool:
        """Whether the entry was erased."""
        return entry in self._entries and self._entries[entry].erased

    def against(self, entry: Digest, at: datetime) -> frozenset[str]:
        """Return what stands against erasing an entry at a time."""
        return frozenset(why for why, _ in self._reasons(self._entries[entry], at))

    def _reasons(self, it: _Subject, at: datetime) -> Iterator[tuple[str, datetime]]:
        """Each reason not to erase it, and since or until when."""
        moment = _knowledge.moment(at)
        for hold in self._holds:
            covers = self._covers(hold.selection, it)
            if covers is not False:
                yield HOLD if covers else CLOSED, hold.at
        for rule in self._retentions:
            until = rule.ends(it.archived)
            covers = _knowledge.moment(until) > moment and self._covers(rule.selection, it)
            if covers is not False:
                yield RETENTION if covers else CLOSED, until

    def _covers(self, selection: Selection, it: _Subject) -> bool | None:
        return selection.covers(it.name, it.owners, it.at)

    @property
    def let_go(self) -> Iterator[frozenset[Spot]]:
        """For each message that nothing needs any more, all the places where it is stored."""
        return (frozenset(them) for them in self._stored.values() if them and them <= self.gone)

    # -- the batches ----------------------------------------------------------------------

    def take(self, manifest: Manifest) -> None:
        """Take in the next batch; raises one of `BAD_JSON` for what is no manifest."""
        self._size += manifest.log_lines
        self._where = manifest.head.pack, manifest.offset
        self._objects(manifest)
        trees = list(self._relevant(manifest))
        for kind, act in (("entry", self._entry), (GRANTED, self._granted)):
            for tree in trees:
                if tree["kind"] == kind:
                    self._read(act, tree, manifest.head)
        for tree in trees:
            if tree["kind"] in _KINDS:
                self._read(self._fact, tree, manifest.head)

    def _objects(self, manifest: Manifest) -> None:
        """Note where bytes are stored that are looked at."""
        pack = manifest.head.pack
        if pack not in self._packs and not self._is_about(manifest.data):
            return
        for each in manifest.objects:
            place = pack, each.offset
            if place in self._places:
                self._wanted.add(each.raw.hex.encode("ascii"))
                self._stored.setdefault(each.raw, set())
            if each.raw in self._stored:
                self._stored[each.raw].add(place)

    def _is_about(self, data: bytes) -> bool:
        return not self._wanted.isdisjoint(_DIGEST.findall(data))

    def _relevant(self, manifest: Manifest) -> Iterator[Json]:
        """The lines that can matter, read."""
        plain = manifest.is_plain
        if plain and not manifest.may_say(*_KINDS) and not self._is_about(manifest.data):
            return
        for line in manifest.lines[1 + manifest.head.objects :]:
            if not plain or self._is_about(line) or any(each in line for each in _KIND_BYTES):
                with suppress(*BAD_JSON):  # a line without a kind is none of ours, and damage
                    tree = json.loads(line)
                    yield {**tree, "kind": str(tree["kind"])}

    def _read(self, act: Callable[[Json, Head], None], tree: Json, head: Head) -> None:
        try:
            act(tree, head)
        except BAD_JSON:
            words = "a fact about keeping, or its entry, cannot be read"
            self._wrong("fact", words, bars=tree["kind"] not in _DECISIONS)

    # -- entries --------------------------------------------------------------------------

    def _entry(self, tree: Json, head: Head) -> None:
        if self._lines.is_forged(tree):
            return
        closed = "encrypted" in tree
        record = _loading.blank(tree) if closed else _loading.load(tree)
        parts = (it.digest for it in record.originals if isinstance(it, StoredOriginal))
        raws = frozenset({record.raw, *parts})
        wanted = record.id.hex.encode("ascii") in self._wanted
        if record.id in self._entries or not (wanted or raws & self._stored.keys()):
            return
        self._wanted.add(record.id.hex.encode("ascii"))
        archived = _knowledge.moment(head.at)
        made = _Subject(record.id, _knowledge.time_of(archived), None, None, raws)
        whole = self._lines.opened(tree) if closed else None
        opened = _loading.load(whole["entry"]) if whole is not None else record
        if whole is not None or not closed:
            made.owners = _users(opened.ownership.owners)
            made.at = _knowledge.sorting_time(opened, archived)
        self._entries[record.id] = made
        for raw in raws:
            self._needed.setdefault(raw, set()).add(record.id)

    def _granted(self, tree: Json, _: Head) -> None:
        it = self._entries.get(_loading.digest(tree["entry"]))
        if it is None or it.owners is None:
            return
        whole = self._lines.opened(tree)
        if self._lines.is_forged(tree, whole):
            return
        if whole is None:
            it.owners = None  # there are owners of whom nobody can tell
        else:
            it.owners |= _users(Grant.load(Fact(GRANTED, whole)).owners)

    # -- facts ----------------------------------------------------------------------------

    def _fact(self, tree: Json, head: Head) -> None:
        kind = tree["kind"]
        if kind == RECLAIMED:
            self._reclaimed(tree)
            return
        whole = self._lines.opened(tree)
        forged = self._lines.is_forged(tree, whole) or self._heard.is_copy(tree, self._where)
        if forged:
            self._wrong(FORGED, forgery(kind), bars=kind not in _DECISIONS)
        if kind == ERASED:
            self._erased(tree, whole, head)
        elif whole is not None and not forged:
            self._decision(Fact(kind, whole))

    def _decision(self, fact: Fact) -> None:
        if fact.kind == HELD:
            hold = Hold.load(fact)
            self._holds.append(evolve(hold, selection=self._named(hold.selection)))
        elif fact.kind == RELEASED:
            matter = str(fact.body["matter"])
            self._holds = [each for each in self._holds if each.matter != matter]
        else:
            rule = Retention.load(fact)
            self._retentions.append(evolve(rule, selection=self._named(rule.selection)))

    def _named(self, selection: Selection) -> Selection:
        """The selection with the entries as the manifests name them."""
        if selection.entries is None:
            return selection
        return evolve(selection, entries=map(self._lines.name, selection.entries))

    def _erased(self, tree: Json, whole: Json | None, head: Head) -> None:
        it = self._entries.get(_loading.digest(tree["entry"]))
        if it is None or it.erased:
            return
        it.erased = True
        self.erasures.append(self._size)
        self._let_go(it)
        at = datetime.fromisoformat(whole["at"]) if whole and "at" in whole else head.at
        at = min(at, self._now, key=_knowledge.moment)
        for why, time in self._reasons(it, at):
            if why == HOLD:
                self._accuse("erased-under-hold", it, f"while it was held, since {_clock(time)}")
            elif why == RETENTION:
                words = f"at {_clock(at)}, and was to be kept until {_clock(time)}"
                self._accuse("erased-too-early", it, words)

    def _let_go(self, it: _Subject) -> None:
        """Bytes are gone with the last entry that needs them."""
        for raw in it.raws:
            self._needed[raw].discard(it.name)
            if not self._needed[raw]:
                self.gone |= self._stored.get(raw, set())

    def _reclaimed(self, tree: Json) -> None:
        for place in self._places.intersection(places_of(tree)) - self.gone:
            raws = [raw for raw, places in self._stored.items() if place in places]
            for name in (each for raw in raws for each in self._needed.get(raw, ())):
                words = f"the entry {name.hex[:16]} was overwritten, and nobody erased it"
                self._wrong("not-erased", words)

    def _accuse(self, kind: str, it: _Subject, words: str) -> None:
        self._wrong(kind, f"the entry {it.name.hex[:16]} was erased {words}")

    def _wrong(self, kind: str, words: str, *, bars: bool = True) -> None:
        self.wrongs[Wrong(kind, *self._where, words, bars)] = None


@define
class Mentioned:
    """Which entries were erased, and which bytes overwritten, as any manifest has it."""

    entries: set[Digest] = field(factory=set)
    places: set[Spot] = field(factory=set)

    def note(self, manifest: Manifest) -> None:
        """Take in a manifest; a fact that cannot be read is none here."""
        if not manifest.may_say(ERASED, RECLAIMED):
            return
        for line in manifest.lines[1 + manifest.head.objects :]:
            try:
                tree = json.loads(line)
                if tree["kind"] == ERASED:
                    self.entries.add(_loading.digest(tree["entry"]))
                elif tree["kind"] == RECLAIMED:
                    self.places.update(places_of(tree))
            except BAD_JSON:
                continue

    def judged(
        self, batches: Iterable[tuple[object, Manifest]], lines: Lines, now: datetime
    ) -> Decided:
        """Return what was decided about all of it; with nothing erased no batch is read.

        Holds and retention are facts of the same order, so that no index is asked.
        """
        decided = Decided(self.entries, self.places, lines, now)
        for _, manifest in batches if self.entries or self.places else ():
            with suppress(*BAD_JSON):  # what is no manifest is named by whoever read it
                decided.take(manifest)
        return decided


def _clock(time: datetime) -> str:
    """A time to the second: a clock that is slow by a minute makes an erasure seem too early."""
    return time.isoformat(" ", "seconds")


def places_of(tree: Json) -> Iterator[Spot]:
    """Return the places that a `RECLAIMED` fact names; raises one of `BAD_JSON`."""
    return ((str(each["pack"]), _loading.count(each["offset"])) for each in tree["objects"])


def _users(owners: Iterable[Owner]) -> set[UserId]:
    return {UserId(one_spelling(each.user)) for each in owners}
