"""A Maildir, as mail servers and mail programs read it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import define, field
from typing_extensions import override

from mailarchive._durable import make_folder, sync_folder
from mailarchive._model import Receipt, Stored
from mailarchive.sinks import _files_disk as disk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailarchive._model import ArchiveEntry, Digest

_LETTERS: Final = {
    "\\Draft": "D",
    "\\Flagged": "F",
    "\\Answered": "R",
    "\\Seen": "S",
}
_HEX: Final = 64


class MaildirTree(disk.OneWriter):
    """A Maildir with a file for each entry, that holds its raw bytes.

    A file is called by the entry's id, and behind a colon by the letters of the flags that
    it had when it was put first.  Programs that read the Maildir may move it and give it
    other letters; it is found again by its id, and what they delete is stored again when it
    is put again.  A file is there whole or not at all, and has the time at which the
    message was received.  Threads may share the sink, and processes of one machine the
    folder.
    """

    def __init__(self, path: str | os.PathLike[str], *, name: str = "maildir") -> None:
        """Use the folder `path`, which is made where it is missing; raises nothing yet."""
        super().__init__(name)
        self._names = _Names(Path(path))

    @override
    def _open(self) -> None:
        root = self._names.root
        for part in ("tmp", "new", "cur"):
            make_folder(root / part)
        with self._lock(root / ".mailarchive.lock").writing():
            disk.sweep(root / "tmp")
        disk.settle(root)

    @override
    def _put_many(self, entries: Sequence[ArchiveEntry]) -> list[Receipt]:
        alone = self._opened()
        with alone.writing():
            self._names.catch_up(alone.handle)
            self._names.note(alone.handle)
            with disk.under_way(alone.handle, entries) as doubtful:
                for each in doubtful:
                    self._names.renew(each.hex)
                receipts = [self._placed(entry) for entry in entries]
                # Both: a file that was there already may have been moved by somebody.
                sync_folder(self._names.root / "cur")
                sync_folder(self._names.root / "new")
        return receipts

    def _placed(self, entry: ArchiveEntry) -> Receipt:
        found = self._names.read(entry.id.hex)
        if found is not None:
            digest = disk.digest_of_present(self.name, found, entry)
            return self._receipt(entry, digest, Stored.PRESENT)
        beside = disk.write_beside(self._names.root / "tmp", entry.raw, entry.received_at)
        letters = "".join(sorted(_LETTERS[flag] for flag in entry.flags if flag in _LETTERS))
        name = f"cur/{entry.id.hex}:2,{letters}"
        beside.rename(self._names.root / name)
        self._names.add(name)
        return self._receipt(entry, entry.raw_digest, Stored.STORED)

    @override
    def _read(self, receipt: Receipt) -> bytes:
        alone = self._opened()
        with alone.writing():
            self._names.catch_up(alone.handle)
            found = self._names.read(receipt.entry_id.hex)
        if found is None or receipt.location != receipt.entry_id.hex:
            raise disk.strange(self.name)
        return disk.checked(self.name, found, receipt)

    def _receipt(self, entry: ArchiveEntry, digest: Digest, outcome: Stored) -> Receipt:
        return Receipt(
            self.name, entry.id, digest, entry.id.hex, outcome, self.capabilities.durability
        )


@define
class _Names:
    """Where each entry's file is now, as far as is known.

    A number in the locked file says how often any of our writers has added something;
    where it is the one that was seen last, nothing is there that is not known.
    """

    root: Path
    _known: dict[str, str] = field(factory=dict)
    _seen: bytes = b"never"

    def catch_up(self, handle: int) -> None:
        """Look around where another writer was here since."""
        if os.pread(handle, disk.NUMBER_OCTETS, 0) != self._seen:
            self._scan()
            self._seen = os.pread(handle, disk.NUMBER_OCTETS, 0)

    def note(self, handle: int) -> None:
        """Tell the other writers that something is about to be added."""
        self._seen = os.urandom(disk.NUMBER_OCTETS)
        os.pwrite(handle, self._seen, 0)

    def add(self, name: str) -> None:
        """Know a file."""
        self._known[name.partition("/")[2][:_HEX]] = name

    def read(self, digits: str) -> bytes | None:
        """Return what is in the entry's file, wherever it was moved."""
        found = self._read(digits)
        if found is None and digits in self._known:
            self._scan()  # it was moved, or is gone
            found = self._read(digits)
        return found

    def renew(self, digits: str) -> None:
        """Write the entry's file anew, where it is there."""
        found = self.read(digits)
        if found is not None:
            disk.renew(self.root / self._known[digits], found, self.root / "tmp")

    def _read(self, digits: str) -> bytes | None:
        name = self._known.get(digits)
        try:
            return None if name is None else (self.root / name).read_bytes()
        except FileNotFoundError:
            return None

    def _scan(self) -> None:
        self._known.clear()
        for part in ("new", "cur"):
            with os.scandir(self.root / part) as files:
                for file in files:
                    self.add(f"{part}/{file.name}")
