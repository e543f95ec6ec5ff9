"""Sinks that are broken in what is seldom tried: work ahead, full batches, ids that are alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from mailarchive._model import Receipt, Stored
from mailarchive.testing._one_file_each import OneFileEach

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from mailarchive._model import ArchiveEntry, Digest

# -- a run ------------------------------------------------------------------------------------


class TakesForeseenForStored(OneFileEach):
    """Notes what it is told of among what it has."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Begin with nothing noted."""
        super().__init__(folder)
        self.noted: set[Digest] = set()

    @override
    def _foresee(self, entries: Sequence[ArchiveEntry]) -> None:
        self.noted.update(each.id for each in entries)

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        if entry.id in self.noted:
            return self._receipt(entry, entry.raw_digest, Stored.PRESENT)
        return super()._put(entry)


class PutsWhatWasForeseenLast(OneFileEach):
    """Makes a batch ready when it is told of it, and takes the next put to be of that one."""

    ready: tuple[ArchiveEntry, ...] = ()

    @override
    def _foresee(self, entries: Sequence[ArchiveEntry]) -> None:
        self.ready = tuple(entries)

    @override
    def _put_many(self, entries: Sequence[ArchiveEntry]) -> Iterator[Receipt]:
        for each in self.ready or entries:
            super()._put(each)
        self.ready = ()
        for each in entries:
            yield self._receipt(each, each.raw_digest, Stored.STORED)


class StoresWhatItForesees(OneFileEach):
    """Puts at once what may never be put."""

    @override
    def _foresee(self, entries: Sequence[ArchiveEntry]) -> None:
        for each in entries:
            self._put(each)


class BreaksWhenItForesees(OneFileEach):
    """Fails at what it need not do."""

    @override
    def _foresee(self, entries: Sequence[ArchiveEntry]) -> None:
        raise NotImplementedError


class KeepsWhatItForesees(OneFileEach):
    """Remembers everything that it was told of."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Begin with nothing."""
        super().__init__(folder)
        self.told: list[ArchiveEntry] = []

    @override
    def _foresee(self, entries: Sequence[ArchiveEntry]) -> None:
        self.told.extend(entries)


class StoresAPageOfABatch(OneFileEach):
    """Hands a batch to a database that takes so many rows at once, and passes over the rest."""

    @override
    def _put_many(self, entries: Sequence[ArchiveEntry]) -> Iterator[Receipt]:
        for number, each in enumerate(entries):
            receipt = self._receipt(each, each.raw_digest, Stored.STORED)
            yield receipt if number >= len("so many rows at once") * 5 else self._put(each)
