"""The packs of an object vault: each has a number, and a number is given once in a store.

The name of a pack follows from the vault, its number and the attempt at it, and a name is
created only where there is none.  So two writers that both take a number for the next one,
be it that each has a database of its own or that one database was put back, cannot both
store it.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from attrs import frozen

from mailarchive.errors import SinkCorrupt, SinkError, SinkUnavailable
from mailarchive.vault import _tar
from mailarchive.vault._errors import Damage
from mailarchive.vault._manifest import BAD_JSON, Manifest
from mailarchive.vault._object_store import missing
from mailarchive.vault._recovery import left_out
from mailarchive.vault._volumes import FIRST
from mailarchive.vault._writer import assemble

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from mailarchive._model import Digest
    from mailarchive.vault._object_index import ObjectIndex
    from mailarchive.vault._object_store import Objects
    from mailarchive.vault._packs import Member
    from mailarchive.vault._writer import Draft

PACKS: Final = f"volumes/{FIRST}/packs"
_ATTEMPTS: Final = 1 << 16
"""How often a number may be begun: the digits that a name has for it."""


@frozen
class Looked:
    """What a look at the whole store has found.

    `taken` packs were new to the index; `lost` are those that it knows and the store has no
    more.  `trouble` is why nothing may be stored for now.
    """

    taken: int = 0
    lost: frozenset[str] = frozenset()
    trouble: SinkCorrupt | None = None


@frozen
class ObjectPacks:
    """The packs of one vault in a store, and the index that follows from them.

    All of it is for whoever holds the right to write.
    """

    vault: str
    objects: Objects
    index: ObjectIndex

    def write(self, draft: Draft, at: datetime, *, read_back: bool) -> None:
        """Store one pack under the next number, and take it into the index.

        Raises `SinkUnavailable` for one that did not arrive, `SinkError` where the number
        is another's.
        """
        last = self.index.last()
        for attempt in range(_ATTEMPTS):
            name = _named(self.vault, last[0] + 1, attempt)
            if self.index.begin(name) and self._written(name, draft, last, at, read_back):
                return
        raise SinkError(
            f"{_ATTEMPTS:,} attempts at one pack have failed",
            suggestions=["see why uploads break off, and go on in a vault under another prefix"],
        )

    def _written(
        self,
        name: str,
        draft: Draft,
        last: tuple[int, Digest | None],
        at: datetime,
        read_back: bool,
    ) -> bool:
        """Store a pack under this name; `False` where the name is closed."""
        manifest, members = assemble(draft, self.vault, (FIRST, name), 0, last=last, at=at)
        data = b"".join([*members, _tar.TRAILER])
        created = self.objects.create(key(name), data)
        if read_back or not created:
            there = self.objects.get(key(name))
            if there == b"" and not created:
                self.index.void(name)
                return False
            if there != data:
                raise self._in_the_way(name, created=created or there is None)
        self._check_lock(name)
        self.index.take(manifest, verified=read_back)
        return True

    def _check_lock(self, name: str) -> None:
        """Raise `SinkError` for a pack that could be deleted: it stays begun, so asked again."""
        if not self.objects.kept(key(name)):
            raise SinkError(
                f"{key(name)} was stored, and the store has not locked it",
                suggestions=[
                    "give the bucket its default retention in COMPLIANCE mode back",
                    "then give this object one until the same day, and run again",
                ],
            )

    def _in_the_way(self, name: str, *, created: bool) -> SinkError:
        """Return the error for other bytes than were sent, be they ours or another's."""
        if created:
            return SinkUnavailable(
                "a pack did not arrive as it was sent, and counts for nothing",
                suggestions=["run again: what was in it is stored in another pack"],
            )
        self.index.forget(name)  # it was never begun here, and is nothing to be settled
        return SinkError(
            f"{key(name)} is in the store, and the index knows nothing of it; nothing was stored",
            suggestions=[
                "give all who write to this store the same database",
                "open the vault again: it takes in what its index does not know",
            ],
        )

    # -- what a crash left behind, and what others did ------------------------------------

    def settle(self) -> None:
        """Decide what became of each pack that was begun and of which nothing more is known."""
        for name in sorted(self.index.begun()):
            # Whoever began it is dead: it held the right to write that this one holds now.
            self.objects.create(key(name), b"")
            self._check_lock(name)
            try:
                self._take(name)
            except Damage:
                self.index.void(name)  # it arrived changed, and was never acknowledged

    def look(self) -> Looked:
        """List the store once, and take in every pack that the index does not know."""
        known = self.index.packs()
        there = self._sizes()
        lost = frozenset(
            name for name, number in known.items() if number is not None and not there.get(name)
        )
        unknown = sorted(there.keys() - known.keys())
        damaged = self._taken(unknown)
        numbers = self.index.packs() if unknown else known
        for name in [each for each in damaged if self._is_superseded(each, numbers)]:
            self.index.void(name)
            del damaged[name]
        trouble = _trouble(damaged, lost, numbers.values())
        return Looked(len(unknown) - len(damaged), lost, trouble)

    def _sizes(self) -> dict[str, int]:
        found = self.objects.names(PACKS)
        tars = ((name[:-4], size) for name, size in found if name.endswith(".tar"))
        return {name: size for name, size in tars if _tar.is_pack(name)}

    def _taken(self, names: Iterable[str]) -> dict[str, SinkCorrupt]:
        """Take in packs, and return those that cannot be, with the reason."""
        damaged: dict[str, SinkCorrupt] = {}
        for name in names:
            try:
                self._take(name)
            except SinkCorrupt as error:
                damaged[name] = error
        return damaged

    def _is_superseded(self, name: str, numbers: Iterable[str]) -> bool:
        """Whether a later attempt has the number of a pack, which so was never acknowledged."""
        own = _parsed(self.vault, name)
        others = (_parsed(self.vault, each) for each in numbers)
        return own is not None and any(
            each[0] == own[0] and each[1] > own[1] for each in others if each is not None
        )

    def _take(self, name: str) -> None:
        """Take in a pack as it is in the store; an empty one is closed."""
        data = self.objects.get(key(name))
        if data is None:
            raise missing(key(name))
        if not data:
            self.index.void(name)
            return
        self.index.take(_manifest_of(self.vault, name, data), verified=True)


def _trouble(
    damaged: dict[str, SinkCorrupt], lost: Iterable[str], numbers: Iterable[int | None]
) -> SinkCorrupt | None:
    """Return why nothing may be stored: some pack cannot be read, and may hold it already."""
    for error in damaged.values():
        return error
    for name in sorted(lost):
        return missing(key(name))
    first, gaps = left_out({number for number in numbers if number is not None})
    if not gaps:
        return None
    return SinkCorrupt(
        f"pack number {first} is not in the store, and later ones are",
        suggestions=["restore it from a copy or an older version of the bucket"],
    )


# -- names ------------------------------------------------------------------------------------


def key(pack: str) -> str:
    """Return the name of the object that a pack is."""
    return f"{PACKS}/{pack}.tar"


_NUMBERED: Final = re.compile(r"00000000T000000Z-([0-9]{10})-([0-9a-f]{8})([0-9a-f]{4})\Z")


def _named(vault: str, number: int, attempt: int) -> str:
    """Return the one name that the pack of this number has, at this attempt to store it."""
    return f"00000000T000000Z-{number:010}-{vault[:8]}{attempt:04x}"


def _parsed(vault: str, name: str) -> tuple[int, int] | None:
    """Return number and attempt of a pack, `None` where its name follows from something else."""
    found = _NUMBERED.match(name)
    if found is None or found[2] != vault[:8]:
        return None
    return int(found[1]), int(found[3], 16)


# -- contents ---------------------------------------------------------------------------------


def _manifest_of(vault: str, name: str, data: bytes) -> Manifest:
    """Return the manifest of a whole pack, every byte of it compared; raises `Damage`."""
    at, view = 0, memoryview(data)
    seen: list[Member] = []
    while (parsed := _tar.parse(data[at : at + _tar.BLOCK])) is not None:
        member, size = parsed
        content = view[at + _tar.BLOCK :][:size]
        if len(content) != size or hashlib.sha256(content).hexdigest() not in member:
            raise Damage.at(name, at, "digest", "the content is not what its name says")
        end = at + _tar.member_size(size)
        if member.startswith("m/"):
            if view[end:] not in (b"", _tar.TRAILER):
                raise Damage.at(name, end, "misplaced", "more than one batch, which none here has")
            return _checked(vault, name, at, bytes(content), seen)
        seen.append((at, member, size))
        at = end
    raise Damage.at(name, at, "header", "no manifest where one must be")


def _checked(vault: str, name: str, at: int, content: bytes, seen: list[Member]) -> Manifest:
    """Return a manifest that belongs to this pack, and names the members that are in it."""
    try:
        manifest = Manifest.read(content, at)
        whole = manifest.is_readable()
    except BAD_JSON as error:
        raise Damage.at(name, at, "manifest", "a manifest that cannot be read") from error
    head, own = manifest.head, _parsed(vault, name)
    numbered = own is None or own[0] == head.sequence
    if not (whole and numbered) or (head.vault, head.pack, head.offset) != (vault, name, 0):
        raise Damage.at(name, at, "misplaced", "a manifest that belongs elsewhere")
    if [it.member for it in manifest.objects] != seen:
        raise Damage.at(name, at, "misplaced", "other members than the manifest says")
    return manifest
