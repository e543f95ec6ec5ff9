"""The index of one vault on the disk: opened, or derived where there is none to be read."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING

from mailarchive.errors import (
    SinkCorrupt,
    SinkError,
    SinkFull,
    SinkNotWritable,
    SinkUnavailable,
)
from mailarchive.vault import _derived
from mailarchive.vault._disk import Disk
from mailarchive.vault._errors import index_replaced
from mailarchive.vault._index import Index
from mailarchive.vault._recovery import apply, survey, that_count

if TYPE_CHECKING:
    from mailarchive.vault._packs import Packs
    from mailarchive.vault._place import Place


class IndexFile:
    """The file, by its place, and which one it was when it was opened for writing."""

    def __init__(self, place: Place, packs: Packs, disk: Disk) -> None:
        """Nothing is opened yet."""
        self._place = place
        self._packs = packs
        self._disk = disk
        self._opened: tuple[int, int] | None = None

    def open(self, *, anew: bool = False) -> Index:
        """Open it for writing, made where it is missing; it may be empty.

        Where it is to be made `anew`, what cannot be read goes out of its way beforehand.
        """
        with self._place.writing():
            if anew:
                self._make_way()
            _derived.refuse_odd(self._place.volume())
            self._clear()
            index = self._index()
            self._opened = self._there()
            return index

    def _index(self) -> Index:
        return Index.open(self._place.index, self._place.identity.id, self._disk)

    def _make_way(self) -> None:
        """Put away an index that cannot be read, and what is no file; the lock must be held.

        A crash on the way leaves a vault without an index, which is made when it is opened,
        or what the next rebuild puts away.
        """
        volume, index = self._place.volume(), _derived.parts(_derived.INDEX)
        gone = set(_derived.odd(volume))
        if gone.intersection(index) or not self._is_sound():
            gone.update(index)
        _derived.put_away(sorted(gone), volume, self._disk)

    def _is_sound(self) -> bool:
        """Whether SQLite can read all of it, and it is this vault's and of this version.

        Raises `SinkError` for what says nothing of that, such as a program that holds it.
        """
        if self._there() is None:
            return True
        try:
            with closing(self._index()) as index:
                return index.usable() and index.rows("PRAGMA quick_check(1)") == [("ok",)]
        except (SinkFull, SinkNotWritable, SinkUnavailable):
            raise
        except (SinkError, UnicodeDecodeError):
            return False

    def _there(self) -> tuple[int, int] | None:
        """Which file the index is; `None` where there is none at all."""
        return self._place.index.there()

    def _clear(self) -> None:
        """Remove what is left of an index that is gone; the lock must be held.

        Another process may still have that one open: SQLite would take its files for those
        of the new one.
        """
        if self._there() is None:
            for name in _derived.parts(_derived.INDEX)[1:]:
                with suppress(FileNotFoundError):
                    self._disk.remove(name, self._place.volume())

    def refuse_other(self) -> None:
        """Raise where the one that was opened is not, or no more, the one of the vault.

        Whoever else writes goes by the one that is: a batch from here would take a number
        that another one has.
        """
        if self._opened is None or self._opened != self._there():
            raise index_replaced()

    def readable(self) -> Index:
        """The index as it is, or one for this process where it is missing or of no use.

        Raises `SinkCorrupt` for a link, or anything else, in its place.
        """
        _derived.refuse_odd(self._place.volume())
        try:
            index = self.committed()
        except SinkError:
            index = None
        return self._derived() if index is None else index

    def committed(self) -> Index | None:
        """The index on the disk, for reading alone; `None` where it is missing or old."""
        if self._there() is None:
            return None
        index = Index.open_read_only(self._place.index.path, self._place.identity.id, Disk())
        try:
            if index.usable():
                return index
        except BaseException:
            index.close()
            raise
        index.close()
        return None

    def _derived(self) -> Index:
        index = Index.temporary(self._place.identity.id, Disk())
        tails = []
        for name in self._packs.names():
            try:
                with self._packs.open(name) as pack:
                    tails.append(survey(pack))
            except SinkCorrupt:
                continue  # the others can be read all the same, and `verify` names this one
        try:
            with index.transaction():
                apply(index, self._packs, that_count(tails, newest_too=True))
        except BaseException:
            index.close()
            raise
        return index
