"""A tree of `.eml` files, one for each entry."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from mailarchive._durable import make_folder, sync_folder
from mailarchive._model import Receipt, Stored
from mailarchive.sinks import _files_disk as disk

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from mailarchive._model import ArchiveEntry, Digest


class EmlTree(disk.OneWriter):
    """A folder with a file for each entry, `ab/abcdef....eml`, that holds its raw bytes.

    The name is the entry's id, never anything that stands in a mail.  A file is there whole
    or not at all, is written once and never again, and has the time at which the message
    was received.  Threads may share the sink, and processes of one machine the folder.
    """

    def __init__(self, path: str | os.PathLike[str], *, name: str = "eml") -> None:
        """Use the folder `path`, which is made where it is missing; raises nothing yet."""
        super().__init__(name)
        self._root = Path(path)

    @override
    def _open(self) -> None:
        make_folder(self._root / "tmp")
        with self._lock(self._root / ".mailarchive.lock").writing():
            disk.sweep(self._root / "tmp")
        disk.settle(self._root)

    @override
    def _put_many(self, entries: Sequence[ArchiveEntry]) -> list[Receipt]:
        alone = self._opened()
        with alone.writing(), disk.under_way(alone.handle, entries) as doubtful:
            renewed = {path.parent for path in map(self._path, doubtful) if self._renewed(path)}
            receipts = [self._placed(entry) for entry in entries]
            # Also where a file was there already: whoever renamed it may have died since.
            for folder in renewed | {self._path(entry.id).parent for entry in entries}:
                sync_folder(folder)
        return receipts

    def _renewed(self, path: Path) -> bool:
        found = _read(path)
        if found is not None:
            disk.renew(path, found, self._root / "tmp")
        return found is not None

    def _placed(self, entry: ArchiveEntry) -> Receipt:
        path = self._path(entry.id)
        found = _read(path)
        if found is not None:
            return self._receipt(
                entry, disk.digest_of_present(self.name, found, entry), Stored.PRESENT
            )
        _make_anew(path.parent)
        beside = disk.write_beside(self._root / "tmp", entry.raw, entry.received_at)
        beside.rename(path)
        return self._receipt(entry, entry.raw_digest, Stored.STORED)

    @override
    def _read(self, receipt: Receipt) -> bytes:
        found = _read(self._path(receipt.entry_id))
        if found is None or receipt.location != _location(receipt.entry_id):
            raise disk.strange(self.name)
        return disk.checked(self.name, found, receipt)

    def _path(self, entry_id: Digest) -> Path:
        return self._root / _location(entry_id)

    def _receipt(self, entry: ArchiveEntry, digest: Digest, outcome: Stored) -> Receipt:
        return Receipt(
            self.name, entry.id, digest, _location(entry.id), outcome, self.capabilities.durability
        )


def _location(entry_id: Digest) -> str:
    return f"{entry_id.hex[:2]}/{entry_id.hex}.eml"


def _make_anew(folder: Path) -> None:
    """Make a folder; an empty one again, for whether its name was synced nobody knows.

    One with a file in it has a durable name: no file is put there before.
    """
    with contextlib.suppress(OSError):
        folder.rmdir()
    make_folder(folder)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
