"""Sinks that are broken in what is seldom tried: work ahead, full batches, short writes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from typing_extensions import override

from mailarchive._model import (
    Digest,
    Receipt,
    Rejected,
    Stored,
)
from mailarchive.errors import SinkError
from mailarchive.testing._one_file_each import OneFileEach

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mailarchive._model import ArchiveEntry

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


class StoresWhatHasItsDigest(OneFileEach):
    """Puts at once what comes with a digest that was taken, as everything of a run does."""

    @override
    def _foresee(self, entries: Sequence[ArchiveEntry]) -> None:
        for each in entries:
            if each.digested is not None:
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


# -- a disk, and another process --------------------------------------------------------------


class DisregardsHowMuchWasWritten(OneFileEach):
    """Takes a write for whole that took the beginning alone, and looks only at the name."""

    @override
    def _write(self, path: Path, data: bytes) -> None:
        beside = path.with_name(f"{path.name}.{os.getpid()}.new")
        with beside.open("wb", buffering=0) as file:
            file.write(data)
            self._sync(file.fileno())
        beside.replace(path)
        self._settle(path)


class NamesFilesByHash(OneFileEach):
    """Finds what it stored by a number that is another one in each interpreter."""

    @override
    def _path(self, entry: ArchiveEntry) -> Path:
        return self.folder / str(hash(entry.id.value))

    @override
    def _read(self, receipt: Receipt) -> bytes:
        found = self._known(self.folder / str(hash(receipt.entry_id.value)))
        if found is None:
            raise self._missing()
        return found


class RewritesItsList(OneFileEach):
    """Cuts the list of what it has off at each put, writes it anew, and believes it."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Begin with an empty list."""
        super().__init__(folder)
        self.list: Path = self.folder.parent / "list"
        self.listed: list[str] = []

    @override
    def _open(self) -> None:
        super()._open()
        if self.list.exists():
            self.listed = self.list.read_text().split()

    @override
    def _known(self, path: Path) -> bytes | None:
        return super()._known(path) if path.name in self.listed else None

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        receipt = super()._put(entry)
        if receipt.outcome is Stored.STORED:
            self.listed.append(entry.id.hex)
            with self.list.open("w") as file:
                file.write(" ".join(self.listed))
                file.flush()
                self._sync(file.fileno())
        return receipt


class OwnTrouble(Exception):
    """An error that nobody else knows."""


class RaisesItsOwn(OneFileEach):
    """Makes an error of its own of a disk that fails."""

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        try:
            return super()._put(entry)
        except OSError as error:
            raise OwnTrouble from error


class RejectsWhenTheDiskFails(OneFileEach):
    """Blames the message for the disk, so that it goes to the quarantine for good."""

    @override
    def _put_many(self, entries: Sequence[ArchiveEntry]) -> Iterator[Receipt | Rejected]:
        for each in entries:
            try:
                yield self._put(each)
            except OSError:
                yield Rejected(each.id, "the disk failed")


class QuotesTheMail(OneFileEach):
    """Says in an error which mail it was."""

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        try:
            return super()._put(entry)
        except OSError as error:
            raise SinkError(
                f"cannot store {entry.envelope.subject}", suggestions=["see to the disk"]
            ) from error
