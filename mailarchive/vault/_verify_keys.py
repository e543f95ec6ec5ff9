"""Whether everybody who may open an entry has the key to it, and nobody to what was erased."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from mailarchive.errors import KeyUnavailable
from mailarchive.vault import _destroying
from mailarchive.vault._apply import user_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailarchive._model import Digest, UserId
    from mailarchive.vault._encrypting import Encryption
    from mailarchive.vault._index import Line
    from mailarchive.vault._opened import OpenedReading

_PAGE = 500


@define
class KeyCheck:
    """Compares `keys.db`, as it is now, with what the packs say of every entry.

    `is_erasing` says that an erasure is under way, or broke off: its keys are there still.
    """

    _reading: OpenedReading
    _encryption: Encryption
    _is_erasing: bool
    _lost: int = field(default=0, init=False)
    _owners: int = field(default=0, init=False)
    _astray: int = field(default=0, init=False)
    _erased: int = field(default=0, init=False)

    def doubts(self) -> Iterator[str]:
        """Yield in words what is lost, swapped, or there though it was erased."""
        try:
            self._encryption.keys.forget_owners()
            after = 0
            while lines := self._lines(after):
                self._page(lines)
                after = lines[-1].n
        except KeyUnavailable as error:
            yield str(error)
        yield from self._words()

    def _words(self) -> Iterator[str]:
        if lost := max(self._lost, self._reading.opened_index.lost()):
            yield f"the keys of {lost} entries are not in keys.db: restore it from a copy"
        if self._owners:
            yield (
                f"{self._owners} times an owner of an entry cannot open it: the key is not in"
                " keys.db, or is another's: restore it from a copy"
            )
        if self._astray:
            yield f"{self._astray} keys in keys.db are said to be of other entries than they are"
        if self._erased and not self._is_erasing:
            yield (
                f"the keys of {self._erased} entries that were erased are in keys.db, as from an"
                " older copy: open the vault for writing, and they are destroyed"
            )

    def _lines(self, after: int) -> list[Line]:
        return self._reading.index.lines(f"t.n > ? ORDER BY t.n LIMIT {_PAGE}", (after,))

    def _page(self, lines: Sequence[Line]) -> None:
        named = _destroying.names_of(lines, self._reading, self._encryption)
        gone = self._gone(lines)
        rows = self._encryption.keys.rows([key for key, _ in named.values()])
        living = {key: entry for n, (key, entry) in named.items() if n not in gone}
        dead = {key: entry for n, (key, entry) in named.items() if n in gone}
        self._astray += sum(key in living and entry != living[key].value for key, entry in rows)
        there = {dead[key].value for key, _ in rows if key in dead}
        there |= {*self._encryption.keys.of([each.value for each in dead.values()])}
        self._erased += len(there)
        self._lost += len(living) - self._openable(living, None)
        for user, theirs in self._owned(lines, named, gone).items():
            self._owners += len(theirs) - self._openable(theirs, user)

    def _gone(self, lines: Sequence[Line]) -> set[int]:
        rows = self._reading.index.rows(
            "SELECT n FROM entry WHERE erased AND n BETWEEN ? AND ?", (lines[0].n, lines[-1].n)
        )
        return {n for (n,) in rows}

    def _owned(
        self, lines: Sequence[Line], named: dict[int, tuple[bytes, Digest]], gone: set[int]
    ) -> dict[UserId, dict[bytes, Digest]]:
        """The keys that each owner of these entries must have."""
        rows = self._reading.index.rows(
            "SELECT o.entry, u.id FROM owner o JOIN user u ON u.n = o.user"
            " WHERE o.entry BETWEEN ? AND ?",
            (lines[0].n, lines[-1].n),
        )
        found: dict[UserId, dict[bytes, Digest]] = {}
        for n, user in rows:
            if n in named and n not in gone:
                key, entry = named[n]
                found.setdefault(user_of(user), {})[key] = entry
        return found

    def _openable(self, asked: dict[bytes, Digest], owner: UserId | None) -> int:
        """How many of the keys open; none where the owner's own does not."""
        try:
            return len(self._encryption.keys.several(asked, owner))
        except KeyUnavailable:
            if owner is None:
                raise
            return 0
