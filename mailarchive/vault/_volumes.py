"""The volumes of a vault: folders of packs.

A volume that is full is never added to: the next pack begins a new one.  Older volumes may
lie on other disks of the machine; which one a pack is in is looked for, and remembered.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mailarchive.vault import _disk, _mounts
from mailarchive.vault._errors import linked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailarchive.vault._disk import Disk

FIRST = "0001"
"""The volume that every vault has; index, full text and log are in it."""
PACKS = "packs"

_NAME = re.compile(r"[0-9]{4,8}\Z")


def is_volume(name: str) -> bool:
    """Whether a volume can have this name; any other folder is none of ours."""
    return _NAME.match(name) is not None and name != "0" * len(name)


def following(name: str) -> str:
    """Return the name of the volume after this one; the last there can be goes on for ever."""
    after = f"{int(name) + 1:04}"
    return after if is_volume(after) else name


class Volumes:
    """Opens the folders of packs inside the open folder `volumes`; may be shared by threads.

    There may be thousands: each is open no longer than it is needed.
    """

    def __init__(self, path: Path, folder: int, disk: Disk) -> None:
        """Open volumes in `folder`, which is at `path`."""
        self._path = path
        self._folder = folder
        self._disk = disk
        self._local: set[str] = set()
        self._durable: set[str] = set()
        self._where: dict[str, str] = {}

    def names(self) -> list[str]:
        """Return the names of the volumes there are, the oldest first."""
        found = os.listdir(self._folder)  # noqa: PTH208 - by handle, so that no link leads elsewhere
        return sorted(filter(is_volume, found), key=int)

    @contextmanager
    def opened(self, volume: str) -> Iterator[int]:
        """Open the folder of a volume; raises `FileNotFoundError`, `SinkCorrupt` for a link.

        Raises `Unsupported` where it is on a network file system.
        """
        handle = open_kept(volume, self._folder)
        try:
            if volume not in self._local:
                _mounts.refuse_unfit(self._path / volume)
                self._local.add(volume)
            yield handle
        finally:
            _disk.close(handle)

    @contextmanager
    def packs(self, volume: str) -> Iterator[int]:
        """Open the folder of a volume's packs; raises as `opened`."""
        with self.opened(volume) as within:
            handle = open_kept(PACKS, within)
        try:
            yield handle
        finally:
            _disk.close(handle)

    def make(self, volume: str) -> None:
        """Make a volume with its folder for packs, durably, unless it surely is there."""
        if volume in self._durable:
            return
        self._disk.make_folder(volume, self._folder)
        self._disk.sync_folder(self._folder)
        with self.opened(volume) as within:
            self._disk.make_folder(PACKS, within)
            self._disk.sync_folder(within)
        self._durable.add(volume)

    def settle(self) -> None:
        """Make every name in the volumes durable, whoever created it; raises `OSError`."""
        names = self.names()
        there = set(names)
        for volume in names:
            try:
                with self.packs(volume) as folder:
                    self._disk.sync_folder(folder)
            except FileNotFoundError:
                there.discard(volume)  # a crash came before its folder for packs
            with self.opened(volume) as within:
                self._disk.sync_folder(within)
        self._disk.sync_folder(self._folder)
        self._durable |= there

    # -- where a pack is ------------------------------------------------------------------

    def files(self, volume: str) -> list[str]:
        """Return the names in a volume's folder of packs; none where a crash left it out."""
        try:
            with self.packs(volume) as folder:
                return os.listdir(folder)  # noqa: PTH208 - by handle
        except FileNotFoundError:
            return []

    def of(self, pack: str) -> str | None:
        """Return the volume that a pack is in, or `None` where there is no such file."""
        known = self._where.get(pack)
        if known is not None and self._has(known, pack):
            return known
        found = next(iter(self.all_of(pack)), None)
        if found is not None:
            self._where[pack] = found
        return found

    def all_of(self, pack: str) -> list[str]:
        """Return every volume that has a file of this pack: more than one is a mistake."""
        return [volume for volume in self.names() if self._has(volume, pack)]

    def _has(self, volume: str, pack: str) -> bool:
        try:
            with self.packs(volume) as folder:
                os.stat(f"{pack}.tar", dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True


def open_kept(name: str, within: int) -> int:
    """Open a folder inside another one; raises `SinkCorrupt` for a link or a file."""
    try:
        return _disk.open_folder(name, within)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise linked(name) from error
        raise
