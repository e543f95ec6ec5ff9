"""The packs of an object vault: each has a number, and a number is given once in a store.

The name of a pack follows from the vault, its number and the attempt at it, and a name is
created only where there is none.  So two writers that both take a number for the next one,
be it that each has a database of its own or that one database was put back, cannot both
store it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from mailarchive.errors import SinkCorrupt, SinkError, SinkUnavailable
from mailarchive.vault import _tar
from mailarchive.vault._errors import Damage
from mailarchive.vault._object_manifests import PACKS, key, named, parsed, whole
from mailarchive.vault._object_store import missing
from mailarchive.vault._recovery import left_out
from mailarchive.vault._volumes import FIRST
from mailarchive.vault._writer import assemble

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from mailarchive._model import Digest
    from mailarchive.vault._object_index import ObjectIndex
    from mailarchive.vault._object_manifests import Manifests
    from mailarchive.vault._object_store import Objects
    from mailarchive.vault._writer import Draft

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
    manifests: Manifests

    def write(self, draft: Draft, at: datetime, *, read_back: bool) -> None:
        """Store one pack under the next number, and take it into the index.

        Raises `SinkUnavailable` for one that did not arrive, `SinkError` where the number
        is another's, `SinkCorrupt` where the newest pack is not the one that the index says.
        """
        number, digest, newest = self.index.last()
        if digest is not None:
            # A number that was made up would leave a gap in the chain, for good.
            self.manifests.confirm_newest(number, digest, newest)
        last = (number, digest)
        for attempt in range(_ATTEMPTS):
            name = named(self.vault, number + 1, attempt)
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
            there = self.objects.reading(key(name))
            if there is None or not there.is_equal(data):
                if there is not None:
                    self._compare_sizes(name, there.size)
                if there is not None and not there.size and not created:
                    self.index.void(name)
                    return False
                raise self._in_the_way(name, created=created or there is None)
        self._check_lock(name)
        self.index.take(manifest, verified=read_back)
        self.manifests.keep(manifest)
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

    def settle(self) -> SinkCorrupt | None:
        """Decide what became of each pack that was begun and of which nothing more is known.

        Returns why one of them stays undecided.
        """
        undecided: SinkCorrupt | None = None
        for name in sorted(self.index.begun()):
            # Whoever began it is dead: it held the right to write that this one holds now.
            self.objects.create(key(name), b"")
            self._check_lock(name)
            try:
                self._take(name)
            except Damage:
                self.index.void(name)  # it arrived changed, and was never acknowledged
            except SinkCorrupt as error:
                undecided = error
        return undecided

    def look(self) -> Looked:
        """List the store once, and take in every pack that the index does not know."""
        undecided = self.settle()
        known = self.index.packs()
        there = self._sizes()
        lost = frozenset(
            name for name, number in known.items() if number is not None and not there.get(name)
        )
        unknown = sorted(there.keys() - known.keys())
        damaged = self._taken(unknown)
        numbers = self.index.packs() if unknown else known
        for name in [each for each in damaged if self._is_superseded(each, numbers)]:
            if isinstance(damaged[name], Damage):
                self.index.void(name)
                del damaged[name]
        trouble = undecided or _trouble(damaged, lost, numbers.values())
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
        own = parsed(self.vault, name)
        others = (parsed(self.vault, each) for each in numbers)
        return own is not None and any(
            each[0] == own[0] and each[1] > own[1] for each in others if each is not None
        )

    def _take(self, name: str) -> None:
        """Take in a pack as it is in the store; an empty one is closed.

        Raises `Damage` for one that is not what it must be, whoever is asked; any other
        `SinkCorrupt` where the store contradicts itself.
        """
        there = self.objects.reading(key(name))
        if there is None:
            raise missing(key(name))
        try:
            manifest = whole(self.vault, name, there) if there.size else None
        except Damage:
            self._compare_sizes(name, there.size)
            raise
        if manifest is None:
            self._compare_sizes(name, 0)
            self.index.void(name)
        else:
            self.index.take(manifest, verified=True)

    def _compare_sizes(self, name: str, given: int) -> None:
        """Raise `SinkCorrupt` where other bytes were given than the store says there are.

        Something between here and the store may cut short what is sound there, each time:
        a name that is closed for that is closed for ever.
        """
        asked, listed = self.objects.size(key(name)), self.objects.listed(key(name))
        if not given == asked == listed:
            said = listed if given == asked else asked
            raise SinkCorrupt(
                f"the store gives {given:,} bytes of {key(name)}, and says that it has"
                f" {said or 0:,}; nothing was decided about it",
                suggestions=[
                    "see what stands between here and the store: a proxy, a gateway, a cache",
                    "then open the vault again: it takes in what is sound",
                ],
            )


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
