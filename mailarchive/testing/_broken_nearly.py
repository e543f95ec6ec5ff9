"""Sinks that are broken and look sound: all is well but for other owners, like ids, odd bytes."""

from __future__ import annotations

import gzip
import os
import re
import threading
import time
from typing import TYPE_CHECKING, ClassVar

from attrs import evolve
from typing_extensions import override

from mailarchive._model import (
    Digest,
    Durability,
    Receipt,
    Rejected,
    SinkCapabilities,
    Stored,
)
from mailarchive.testing._one_file_each import OneFileEach

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mailarchive._model import ArchiveEntry
    from mailarchive.errors import SinkCorrupt

# -- what an entry is, and whose --------------------------------------------------------------


class KnowsTheOwners(OneFileEach):
    """Takes an entry that somebody else owns too for another one."""

    @override
    def _path(self, entry: ArchiveEntry) -> Path:
        owners = " ".join(sorted(entry.ownership.users))
        return self.folder / f"{entry.id.hex}-{Digest.of(owners.encode()).hex[:8]}"

    @override
    def _receipt(self, entry: ArchiveEntry, digest: Digest, outcome: Stored) -> Receipt:
        place = self._path(entry).name
        return evolve(super()._receipt(entry, digest, outcome), location=place)

    @override
    def _read(self, receipt: Receipt) -> bytes:
        return super()._read(evolve(receipt, location=receipt.entry_id.hex))


class ShortensIds(OneFileEach):
    """Takes four bytes of an id to be enough."""

    @override
    def _path(self, entry: ArchiveEntry) -> Path:
        return self.folder / entry.id.hex[:8]

    @override
    def _receipt(self, entry: ArchiveEntry, digest: Digest, outcome: Stored) -> Receipt:
        return super()._receipt(entry, entry.raw_digest, outcome)

    @override
    def _read(self, receipt: Receipt) -> bytes:
        found = self._known(self.folder / receipt.location[:8])
        if found is None or receipt.location != receipt.entry_id.hex:
            raise self._missing()
        return found


class _Shows(OneFileEach):
    """Shows users their mail, by lists of owners beside the files."""

    def owners(self, entry: ArchiveEntry) -> list[str]:
        """Who is noted as an owner."""
        return sorted(entry.ownership.users)

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        receipt = super()._put(entry)
        self._write(
            self.folder.parent / f"{entry.id.hex}.owners", "\n".join(self.owners(entry)).encode()
        )
        return receipt

    def of(self, user: str) -> Iterator[bytes]:
        """Yield what the user is shown."""
        for path in self.folder.parent.glob("*.owners"):
            if user in path.read_text().split("\n"):
                yield (self.folder / path.stem).read_bytes()


class ShowsTheFirstOwner(_Shows):
    """Notes one owner of an entry."""

    @override
    def owners(self, entry: ArchiveEntry) -> list[str]:
        """The first one alone."""
        return super().owners(entry)[:1]


class ShowsTheFirstCopy(_Shows):
    """Shows equal bytes to whoever had them first."""

    @override
    def owners(self, entry: ArchiveEntry) -> list[str]:
        """Nobody, where the bytes are there already."""
        others = (path for path in self.folder.iterdir() if path.name != entry.id.hex)
        return (
            [] if any(path.read_bytes() == entry.raw for path in others) else super().owners(entry)
        )


class ForgetsWhoseItIs(_Shows):
    """Knows the owners of what it stored itself."""

    @override
    def _open(self) -> None:
        super()._open()
        for path in self.folder.parent.glob("*.owners"):
            path.unlink()


# -- bytes ------------------------------------------------------------------------------------


class LeavesBlindCopiesOut(OneFileEach):
    """Takes a message to be on its way, and cuts what its recipients may not see."""

    @override
    def _form(self, raw: bytes) -> bytes:
        return re.sub(rb"(?im)^bcc:.*\r\n", b"", raw)


class UnpacksWhatIsPacked(OneFileEach):
    """Takes a message that begins like its own files for one of them."""

    @override
    def _form(self, raw: bytes) -> bytes:
        return gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw


class LosesTheEndOfABlock(OneFileEach):
    """Looks for more where a block is full, and takes a byte away where there is none."""

    @override
    def _form(self, raw: bytes) -> bytes:
        return raw[:-1] if raw and len(raw) % 65536 == 0 else raw


class QuotesWhatItRejects(OneFileEach):
    """Says in the reason of a rejection which mail it was."""

    @override
    def _put_many(self, entries: Sequence[ArchiveEntry]) -> Iterator[Receipt | Rejected]:
        for each in entries:
            large = len(each.raw) > 4 << 20
            yield Rejected(each.id, f"{each.envelope.subject}") if large else self._put(each)


# -- others, and errors -----------------------------------------------------------------------


class KnowsWhatWasThereAtFirst(OneFileEach):
    """Looks what is there when it is opened, and then at what it has put itself."""

    @override
    def _open(self) -> None:
        super()._open()
        self.names: set[str] = {path.name for path in self.folder.iterdir()}

    @override
    def _known(self, path: Path) -> bytes | None:
        return super()._known(path) if path.name in self.names else None

    @override
    def _settle(self, path: Path) -> None:
        super()._settle(path)
        self.names.add(path.name)

    @override
    def _read(self, receipt: Receipt) -> bytes:
        self.names.update(path.name for path in self.folder.iterdir())
        return super()._read(receipt)


class SharesItsPlace(OneFileEach):
    """Locks while it stores, and reads from wherever another thread has gone meanwhile."""

    capabilities: SinkCapabilities = SinkCapabilities(
        reads=True, durability=Durability.MEDIA, concurrent_puts=True
    )

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Begin nowhere."""
        super().__init__(folder)
        self.lock: threading.Lock = threading.Lock()
        self.at: Path = self.folder

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        with self.lock:
            return super()._put(entry)

    @override
    def _read(self, receipt: Receipt) -> bytes:
        self.at = self.folder / receipt.location
        time.sleep(0.001)  # the others go elsewhere meanwhile
        return self._known(self.at) or b""


class LeavesFilesOpenWhenItFails(OneFileEach):
    """Closes what it has read, and not what it could not read."""

    opened: ClassVar[list[int]] = []  # shared by all, which is the fault

    @override
    def _missing(self) -> SinkCorrupt:
        self.opened.append(os.open(self.folder, os.O_RDONLY))
        return super()._missing()
