"""A sink that is sound, and short; the broken ones of the kit each change one step of it."""

from __future__ import annotations

import os
from pathlib import Path

from attrs import evolve
from typing_extensions import override

from mailarchive._durable import make_folder, sync_folder
from mailarchive._model import (
    ArchiveEntry,
    Digest,
    Durability,
    Receipt,
    SinkCapabilities,
    Stored,
)
from mailarchive.abc import Sink
from mailarchive.errors import SinkCorrupt


class OneFileEach(Sink):
    """A sound sink: a file for each entry, written beside, synced, renamed, its folder synced."""

    capabilities: SinkCapabilities = SinkCapabilities(reads=True, durability=Durability.MEDIA)

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Keep the files in `folder`, which is made where it is missing."""
        self.name: str = "one-file-each"
        self.folder: Path = Path(folder) / "mail"
        self.doubtful: set[Path] = set()

    @override
    def _open(self) -> None:
        make_folder(self.folder)
        sync_folder(self.folder.parent)  # whoever made it may have died before that

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        path = self._path(entry)
        found = self._known(path)
        if found is None:
            self._write(path, self._form(entry.raw))
            return self._receipt(entry, entry.raw_digest, Stored.STORED)
        if path in self.doubtful:
            self._write(path, found)
        else:
            self._settle(path)  # whoever wrote it may have died before that
        return self._receipt(entry, Digest.of(found), Stored.PRESENT)

    @override
    def _read(self, receipt: Receipt) -> bytes:
        found = self._known(self.folder / receipt.entry_id.hex)
        if found is None or receipt.location != receipt.entry_id.hex:
            raise self._missing()
        if Digest.of(found) != receipt.stored_digest:
            raise SinkCorrupt(
                "a file is not what was stored", suggestions=["restore it from a copy"]
            )
        return found

    # -- the steps that the broken ones change --------------------------------------------

    def _path(self, entry: ArchiveEntry) -> Path:
        """Where the entry is kept."""
        return self.folder / entry.id.hex

    def _form(self, raw: bytes) -> bytes:
        """The bytes as they are stored."""
        return raw

    def _known(self, path: Path) -> bytes | None:
        """What is kept there already."""
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def _write(self, path: Path, data: bytes) -> None:
        """Make the bytes durable under the name."""
        beside = path.with_name(f"{path.name}.{os.getpid()}.new")
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            self._sync(file.fileno())
        beside.replace(path)
        self._settle(path)

    def _settle(self, path: Path) -> None:
        """Make a name durable; where that fails no second sync does, and it is made anew."""
        self.doubtful.add(path)
        self._sync_folder()
        self.doubtful.discard(path)

    def _sync(self, handle: int) -> None:
        """Make the bytes of an open file durable."""
        os.fsync(handle)

    def _sync_folder(self) -> None:
        """Make the names durable."""
        sync_folder(self.folder)

    def _receipt(self, entry: ArchiveEntry, digest: Digest, outcome: Stored) -> Receipt:
        """What is given for an entry."""
        receipt = Receipt.for_entry(
            entry,
            sink=self.name,
            location=entry.id.hex,
            outcome=outcome,
            durability=Durability.MEDIA,
        )
        return evolve(receipt, stored_digest=digest)

    def _missing(self) -> SinkCorrupt:
        """The error for an entry that is not there."""
        return SinkCorrupt("nothing of that receipt is there", suggestions=["verify the archive"])
