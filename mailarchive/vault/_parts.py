"""The parts of an open vault, opened one upon the other and let go of together."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive.vault._choice import encryption_of
from mailarchive.vault._encrypting import Encryption, unlocked
from mailarchive.vault._errors import no_keys, read_only
from mailarchive.vault._fulltext import FullText
from mailarchive.vault._index_file import IndexFile
from mailarchive.vault._manifest import ENCRYPTED
from mailarchive.vault._opened import OpenedIndex, OpenedReading
from mailarchive.vault._packing import Packing
from mailarchive.vault._packs import Packs
from mailarchive.vault._place import Place
from mailarchive.vault._prove import Proving
from mailarchive.vault._reading import Reading
from mailarchive.vault._recovery import Recovery
from mailarchive.vault._writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from mailarchive.vault._choice import Undecided
    from mailarchive.vault._disk import Disk
    from mailarchive.vault._index import Index
    from mailarchive.vault.keys import KeyProvider


@frozen
class Settings:
    """How a vault is opened; see `Vault`."""

    path: Path
    create: bool
    read_only: bool
    read_back: bool
    compression_level: int
    pack_size: int
    volume_size: int
    clock: Callable[[], datetime]
    keys: KeyProvider | Undecided | None = field(repr=False)
    anew: bool = False
    """Whether it is opened for `rebuild` alone, whatever stands in the place of the index."""


class Parts:
    """The parts of one open vault; everything is let go of by `close`."""

    def __init__(self, settings: Settings, disk: Disk) -> None:
        """Open all of them; raises `SinkError`, `OSError`."""
        self._disk = disk
        self._process = os.getpid()
        self._read_only = settings.read_only
        self._clock = settings.clock
        with ExitStack() as stack:
            self.place: Place = Place(
                settings.path,
                disk,
                create=settings.create,
                read_only=settings.read_only,
                encryption=encryption_of(settings.keys),
            )
            self.place.enter(settings.clock())
            stack.callback(self.place.leave)
            vault = self.place.identity.id
            self.packs: Packs = Packs(vault, self.place.volumes)
            self.encryption: Encryption | None = unlocked(
                self.place, self.packs, settings.keys, disk
            )
            if self.encryption is not None:
                stack.callback(self.encryption.keys.close)
            self._file = IndexFile(self.place, self.packs, disk)
            self._stored = (
                self._file.readable()
                if settings.read_only
                else self._file.open(anew=settings.anew)
            )
            stack.callback(self._stored.close)
            if self.place.identity.is_encrypted:
                self._stored.suite = ENCRYPTED
            self.proving: Proving = Proving(self.place, disk)
            self._bare = Reading(vault, self.packs, self._stored, self.proving)
            self.index: Index = self._stored
            self.reading: Reading = self._bare
            if self.encryption is not None:
                self.index, self.reading = self._opened(self.encryption)
                stack.callback(self.index.close)
            self.fulltext: FullText = self._full_text()
            self._recovery = Recovery(self.place, self.packs, self._stored, disk)
            self._writer = Writer(
                (self.place, self.packs, self._stored),
                disk,
                settings.clock,
                sizes=(settings.pack_size, settings.volume_size),
                read_back=settings.read_back,
            )
            stack.callback(self._writer.close)
            self.packing: Packing = Packing(settings.compression_level, self.index.objects)
            stack.callback(self.packing.close)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Let go of everything, once no thread of this process is in the middle of a batch."""
        if self.is_foreign:  # a fork: whoever held the lock is not here
            self._stack.close()
            return
        with self.place.alone():
            self._stack.close()

    @property
    def is_foreign(self) -> bool:
        """Whether another process opened it, of which this one is a fork.

        The kernel takes both for one, so that no lock would keep them apart.
        """
        return self._process != os.getpid()

    # -- keys -----------------------------------------------------------------------------

    def _opened(self, encryption: Encryption) -> tuple[OpenedIndex, OpenedReading]:
        index = OpenedIndex(self._stored, self.packs, encryption)
        return index, OpenedReading(self.packs, index, self.proving, encryption)

    def _full_text(self) -> FullText:
        file = None if self.place.identity.is_encrypted else self.place.fulltext
        return FullText(file, self.place.identity.id, self.reading, read_only=self._read_only)

    def refuse_closed(self) -> None:
        """Raise `KeyUnavailable` where the vault is encrypted and there are no keys."""
        if self.place.identity.is_encrypted and self.encryption is None:
            raise no_keys()

    def refuse_read_only(self) -> None:
        """Raise `SinkNotWritable` where the vault was opened for reading."""
        if self._read_only:
            raise read_only()
