"""Putting damaged packs right from another copy of the vault: a plan first, then the work.

A pack is restored to the bytes that it had: every member is one whose digest a manifest
names, and every manifest one that this vault's index, its other manifests, or its sealed
log name.  The restored pack is a new file; the damaged one is kept, under another name,
for ever.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from mailarchive._model import Digest
from mailarchive.vault import _tar
from mailarchive.vault._decided import NEVER, Mentioned
from mailarchive.vault._errors import Damage
from mailarchive.vault._lines import Lines
from mailarchive.vault._manifest import ENCRYPTED, REPAIR, Fact
from mailarchive.vault._recovery import in_order, survey, that_count
from mailarchive.vault._volumes import FIRST

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from datetime import datetime

    from mailarchive.vault._decided import Spot
    from mailarchive.vault._index import Index
    from mailarchive.vault._manifest import Manifest
    from mailarchive.vault._packs import Pack, Packs
    from mailarchive.vault._recovery import Where
    from mailarchive.vault._repair_checkpoints import CheckpointRepair

MEMBERS = frozenset({"pack", "damaged", "members", "actor", "reason", "at"})
"""What the fact of a repair holds."""
_PIECE = 1 << 20
_NEEDED = "the replica must have it, signed by the key that is given, and the log's tiles fit it"


@frozen
class Member:
    """A member of a pack that must be brought: where its header stands, and what it is.

    `raw` is the digest of what it unpacks to, or `None` for a manifest.  What was `erased`
    comes back as the zeros that it was overwritten with.
    """

    offset: int
    name: str
    size: int
    raw: Digest | None
    erased: bool = False


@frozen
class PackRepair:
    """One pack to restore: to `size` bytes, with `members` from the replica.

    `damaged` is the SHA-256 of the file as it is, as far as it can be read, and `None`
    where it is missing.  `volume` is the one that its manifests say it is in.
    """

    pack: str
    size: int
    damaged: Digest | None
    members: tuple[Member, ...] = field(repr=lambda them: f"<{len(them)}>")
    volume: str = FIRST


@frozen
class Unrepairable:
    """Something that is damaged, and that the replica does not have either."""

    pack: str
    offset: int
    words: str


@frozen
class RepairPlan:
    """What a repair would restore, and what it could not; nothing is done yet.

    Its text form says it to a person.  `newer` counts the batches that go on behind all
    that this vault knows of, and are left out: it can tell of none that it is genuine.
    `checkpoints` are those of the log to restore, and `lost_checkpoints` the sizes of damaged
    ones that cannot be.
    """

    packs: tuple[PackRepair, ...] = ()
    unrepairable: tuple[Unrepairable, ...] = ()
    newer: int = 0
    checkpoints: tuple[CheckpointRepair, ...] = ()
    lost_checkpoints: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to restore."""
        return bool(self.packs or self.checkpoints)

    @property
    def is_whole(self) -> bool:
        """Whether nothing that is damaged would be left."""
        return not self.unrepairable and not self.lost_checkpoints

    def lines(self) -> Iterator[str]:
        """Yield the plan in words, a line each."""
        for each in self.packs:
            what = "is missing" if each.damaged is None else "is damaged"
            count = len(each.members)
            yield f"pack {each.pack} {what}: restore {count} members of it from the replica"
        for lost in self.unrepairable:
            yield f"pack {lost.pack} at byte {lost.offset}: {lost.words}"
        yield from self._log_lines()
        if self.newer:
            yield f"{self.newer} batches that only the replica knows of are left out"
        if not self and self.is_whole:
            yield "nothing to repair"

    def _log_lines(self) -> Iterator[str]:
        for made in self.checkpoints:
            what = "is missing" if made.damaged is None else "is damaged"
            yield f"checkpoint {made.size} {what}: restore it from the replica"
        for size in self.lost_checkpoints:
            yield f"checkpoint {size} is damaged, and none can be taken: {_NEEDED}"


@frozen
class Copy:
    """A copy of a vault: its packs, and the index of what is in them."""

    packs: Packs
    index: Index


def plan(
    ours: Copy, replica: Copy, sealed: frozenset[Digest] = frozenset(), *, newer: bool = False
) -> RepairPlan:
    """Return what can be restored of our packs; raises `SinkError`, `OSError`.

    `sealed` are the manifests that our log names.  With `newer` the replica is believed
    what nothing of ours names, as long as it goes on from there.
    """
    return _Planning(ours, replica, sealed, newer=newer).run()


class _Planning:
    """Which bytes every pack must have, and which of them we lack."""

    def __init__(
        self, ours: Copy, replica: Copy, sealed: frozenset[Digest], *, newer: bool
    ) -> None:
        self._ours = ours
        self._replica = replica
        self._sealed = sealed
        self._newer = newer
        self._left_out = 0
        self._lost: list[Unrepairable] = []
        self._gone = {
            (pack, offset)
            for pack, offset in ours.index.rows(
                "SELECT p.name, g.offset FROM gone g JOIN batch b ON b.n = g.batch"
                " JOIN pack p ON p.n = b.pack"
            )
        }

    def run(self) -> RepairPlan:
        batches: dict[str, list[tuple[Where, Copy]]] = {}
        for where, copy in self._batches:
            batches.setdefault(where.pack, []).append((where, copy))
        found = [self._pack(name, batches[name]) for name in sorted(batches)]
        packs = tuple(each for each in found if each is not None)
        return RepairPlan(packs, tuple(self._lost), self._left_out)

    @cached_property
    def _batches(self) -> list[tuple[Where, Copy]]:
        """Our batches, and those of the replica that are missing among them."""
        ours = _scan(self._ours.packs)
        same = self._ours.packs.vault == self._replica.packs.vault
        theirs = _scan(self._replica.packs) if same else []
        rows = self._ours.index.batches(0)
        wanted = {where.previous for where in ours} | {row.batch for row in rows} | self._sealed
        numbers = {where.sequence for where in ours}
        missing = [each for each in theirs if each.sequence not in numbers]
        for where in reversed(missing):  # backwards: each that is wanted names the one before
            if where.digest in wanted:
                wanted.add(where.previous)
        known = {where.digest for where in ours}
        known.update(where.digest for where in missing if where.digest in wanted)
        behind = _going_on(missing, known)
        if self._newer:
            known |= behind
        else:
            self._left_out = len(behind)
        for row in rows:
            if row.batch not in known:
                words = "a batch is damaged, and the replica does not have it"
                self._lost.append(Unrepairable(row.pack, row.offset, words))
        brought = [(where, self._replica) for where in missing if where.digest in known]
        return [*((where, self._ours) for where in ours), *brought]

    def _pack(self, name: str, batches: list[tuple[Where, Copy]]) -> PackRepair | None:
        members: list[Member] = []
        volume = FIRST
        row = self._ours.index.pack(name)
        size = 0 if row is None else row.upto
        for where, copy in sorted(batches, key=lambda each: each[0].offset):
            with copy.packs.open(name) as pack:
                manifest = pack.manifest(where.offset)
            volume = manifest.head.volume
            members += self._brought(name, _members(manifest))
            size = max(size, where.end)
        if not members:
            return None
        return PackRepair(name, size, digest_of(self._ours.packs, name), tuple(members), volume)

    def _brought(self, name: str, members: Iterable[Member]) -> Iterator[Member]:
        """Those of the members that we lack and the replica has."""
        for each in members:
            member = evolve(each, erased=(name, each.offset) in self._gone)
            if _has(self._ours.packs, name, member):
                continue
            if bring(self._replica, name, member) is not None:
                yield member
            elif (name, each.offset) in self._let_go and _is_emptied(
                self._replica.packs, name, member
            ):
                yield evolve(member, erased=True)
            else:
                words = "a message is damaged, and the replica does not have it"
                self._lost.append(Unrepairable(name, member.offset, words))

    @cached_property
    def _let_go(self) -> frozenset[Spot]:
        """Where bytes were overwritten that nothing needs any more, as the batches say.

        Zeros in a replica are else what a disk gives back that has lost something.
        """
        mentioned = Mentioned()
        for _, manifest in self._manifests():
            mentioned.note(manifest)
        lines = Lines(is_encrypted=self._is_encrypted())
        return frozenset(chain(*mentioned.judged(self._manifests(), lines, NEVER).let_go))

    def _is_encrypted(self) -> bool:
        objects = chain.from_iterable(manifest.objects for _, manifest in self._manifests())
        return any(stored.suite == ENCRYPTED for stored in objects)

    def _manifests(self) -> Iterator[tuple[Where, Manifest]]:
        """Every batch that must be there, in order."""
        for where, copy in sorted(self._batches, key=lambda each: each[0].sequence):
            with copy.packs.open(where.pack) as pack:
                yield where, pack.manifest(where.offset)


def _going_on(missing: Iterable[Where], known: Collection[Digest]) -> set[Digest]:
    """Return the batches of a replica that go on behind those that are known, or from nothing."""
    behind: set[Digest] = set()
    for where in missing:
        begins = where.previous is None and not known
        goes_on = where.previous in known or where.previous in behind
        if where.digest not in known and (begins or goes_on):
            behind.add(where.digest)
    return behind


def _scan(packs: Packs) -> list[Where]:
    """The batches that count, as far as their packs can be read."""
    tails = []
    for name in packs.names():
        try:
            with packs.open(name) as pack:
                tails.append(survey(pack))
        except Damage:
            continue
    return in_order(that_count(tails, newest_too=True))


def _members(manifest: Manifest) -> Iterator[Member]:
    for stored in manifest.objects:
        yield Member(stored.offset, stored.name, stored.stored_size, stored.raw)
    name = _tar.MANIFEST.format(manifest.digest.hex)
    yield Member(manifest.offset, name, len(manifest.data), None)


def _has(packs: Packs, name: str, member: Member) -> bool:
    try:
        with packs.open(name) as pack:
            check(pack, member)
    except Damage:
        return False
    return True


def _is_emptied(packs: Packs, name: str, member: Member) -> bool:
    """Whether the member is there with nothing but zeros in it, as one is that was erased."""
    try:
        with packs.open(name) as pack:
            pack.expect(member.offset, member.name, member.size)
            return pack.is_emptied(member.offset, member.size)
    except Damage:
        return False


def check(pack: Pack, member: Member) -> None:
    """Compare a member with what it must be; of what was erased only the header."""
    if member.erased:
        pack.expect(member.offset, member.name, member.size)
    else:
        pack.check(member.offset, member.name, member.size)


def digest_of(packs: Packs, name: str) -> Digest | None:
    """Return the digest of a pack as far as it can be read; `None` where there is none."""
    if packs.size(name) is None:
        return None
    with packs.open(name) as pack:
        return Digest(_hashed(pack))


def _hashed(pack: Pack) -> bytes:
    found = hashlib.sha256()
    for _, piece in pieces_of(pack):
        found.update(piece)
    return found.digest()


def pieces_of(pack: Pack) -> Iterator[tuple[int, bytes]]:
    """What can be read of a pack, and where it stands: large pieces, small ones where need be."""
    for start in range(0, pack.size, _PIECE):
        end = min(start + _PIECE, pack.size)
        try:
            yield start, pack.read(start, end - start)
        except Damage:
            for at in range(start, end, _tar.BLOCK):
                with suppress(Damage):
                    yield at, pack.read(at, min(_tar.BLOCK, end - at))


def bring(replica: Copy, name: str, member: Member) -> bytes | None:
    """Return a member as the replica has it, by place or by digest; `None` if it has not."""
    if member.erased:
        return bytes(member.size)
    try:
        with replica.packs.open(name) as pack:
            return pack.content(member.offset, member.name, member.size)
    except Damage:
        pass
    found = {} if member.raw is None else replica.index.objects([member.raw])
    for each in found.values():
        try:
            with replica.packs.open(each.pack) as pack:
                return pack.content(each.stored.offset, member.name, member.size)
        except Damage:
            continue
    return None


def facts(plan: RepairPlan, actor: str, reason: str, at: datetime) -> tuple[Fact, ...]:
    """Return the facts of a repair, one a pack."""
    return tuple(
        Fact(
            REPAIR,
            {
                "pack": each.pack,
                "damaged": None if each.damaged is None else each.damaged.hex,
                "members": len(each.members),
                "actor": actor,
                "reason": reason,
                "at": at.isoformat(),
            },
        )
        for each in plan.packs
    )
