"""Sinks that are broken in what survives: a kill, a disk that fails, a loss of power."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from typing_extensions import override

from mailarchive._model import Receipt, Stored
from mailarchive.testing._one_file_each import OneFileEach

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mailarchive._model import ArchiveEntry


class AcknowledgesBeforeSync(OneFileEach):
    """Leaves the bytes to the kernel."""

    @override
    def _sync(self, handle: int) -> None:
        del handle


class ForgetsTheFolder(OneFileEach):
    """Syncs the file, and not the folder that has its name."""

    @override
    def _sync_folder(self) -> None:
        pass


class SyncsTheLastOfABatch(OneFileEach):
    """Takes one sync for a batch of files to be enough."""

    @override
    def _put_many(self, entries: Sequence[ArchiveEntry]) -> Iterator[Receipt]:
        for number, entry in enumerate(entries, 1):
            self.hurry: bool = number < len(entries)
            yield self._put(entry)

    @override
    def _sync(self, handle: int) -> None:
        if not self.hurry:
            super()._sync(handle)


class AcknowledgesFromItsBuffer(OneFileEach):
    """Keeps what it acknowledged in memory until it has enough, or is closed."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Begin with an empty buffer."""
        super().__init__(folder)
        self.buffer: dict[Path, bytes] = {}

    @override
    def _write(self, path: Path, data: bytes) -> None:
        self.buffer[path] = data
        if len(self.buffer) > len("enough"):
            self.flush()

    @override
    def _known(self, path: Path) -> bytes | None:
        return self.buffer.get(path) or super()._known(path)

    def flush(self) -> None:
        """Write what is in the buffer."""
        for path, data in self.buffer.items():
            super()._write(path, data)
        self.buffer.clear()

    @override
    def _close(self) -> None:
        self.flush()


class AsksAgainForASync(OneFileEach):
    """Believes the second answer to a sync."""

    @override
    def _sync(self, handle: int) -> None:
        try:
            os.fsync(handle)
        except OSError:
            os.fsync(handle)


class DisregardsTheSync(OneFileEach):
    """Asks for a sync, and does not look at the answer."""

    @override
    def _sync(self, handle: int) -> None:
        with contextlib.suppress(OSError):
            os.fsync(handle)


class CleansUpWhatIsUncertain(OneFileEach):
    """Removes the file where something went wrong, whoever wrote it."""

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        try:
            return super()._put(entry)
        except OSError:
            self._path(entry).unlink(missing_ok=True)
            raise


class WritesInPlace(OneFileEach):
    """Writes under the final name from the first byte on."""

    @override
    def _write(self, path: Path, data: bytes) -> None:
        with path.open("wb", buffering=0) as file:
            for start in range(0, len(data), 512):
                file.write(data[start : start + 512])
            self._sync(file.fileno())
        self._sync_folder()

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        if self._path(entry).exists():
            return self._receipt(entry, entry.raw_digest, Stored.PRESENT)
        return super()._put(entry)


class BelievesTheDead(OneFileEach):
    """Takes what it finds for what was synced, though its writer may have died before."""

    @override
    def _write(self, path: Path, data: bytes) -> None:
        with path.open("wb", buffering=0) as file:
            file.write(data)
            self._sync(file.fileno())
        self._sync_folder()


class ForgetsWhenClosed(OneFileEach):
    """Has a folder of its own each time."""

    @override
    def _open(self) -> None:
        self.folder: Path = self.folder / f"{os.getpid()}-{time.monotonic_ns()}"
        super()._open()


class NotesWhatItHasAtTheEnd(OneFileEach):
    """Writes the list of what it stored when it is closed, and believes the list."""

    listed: frozenset[str] = frozenset()

    @override
    def _open(self) -> None:
        super()._open()
        with contextlib.suppress(FileNotFoundError):
            self.listed = frozenset((self.folder.parent / "list").read_text().split())

    @override
    def _close(self) -> None:
        (self.folder.parent / "list").write_text(" ".join(self.listed))

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        if entry.id.hex in self.listed:
            return super()._put(entry)
        self._write(self._path(entry), entry.raw)
        self.listed |= {entry.id.hex}
        return self._receipt(entry, entry.raw_digest, Stored.STORED)


class _SyncsMuchAtOpen(OneFileEach):
    """Settles whatever is there when it is opened, which takes more syncs than a put."""

    @override
    def _open(self) -> None:
        super()._open()
        for _ in range(7):
            self._sync_folder()


class AsksAgainAfterManySyncs(AsksAgainForASync, _SyncsMuchAtOpen):
    """The same, where a put's syncs come late."""


class DisregardsTheSyncAfterMany(DisregardsTheSync, _SyncsMuchAtOpen):
    """The same, where a put's syncs come late."""


class BelievesTheDeadAfterManySyncs(BelievesTheDead, _SyncsMuchAtOpen):
    """The same, where a put's syncs come late."""


class DisregardsTheFolder(_SyncsMuchAtOpen):
    """Looks at the answer to the sync of a file, and at none to that of a folder."""

    @override
    def _sync_folder(self) -> None:
        with contextlib.suppress(OSError):
            super()._sync_folder()


class AsksAgainWhenPutAgain(_SyncsMuchAtOpen):
    """Refuses a put when its folder cannot be synced, and next time believes that it can."""

    @override
    def _settle(self, path: Path) -> None:
        self._sync_folder()
