"""The folder of a volume's log: its files, read and written by handle, and one sealer at a time.

log/checkpoint               the newest signed checkpoint
log/checkpoints/<size>       every signed checkpoint
log/anchors/<size>/<name>    what each anchor gave in exchange for one
log/tile/...                 C2SP tlog-tiles; can be made again from the packs
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from mailarchive.errors import ConfigurationError, SinkCorrupt
from mailarchive.vault import _disk
from mailarchive.vault._errors import log_damage
from mailarchive.vault._note import LogCheckpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from mailarchive.vault._disk import Disk
    from mailarchive.vault._tiles import Path

_LARGEST = 64 << 20
_SIZE = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z")
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})

CHECKPOINT = ("checkpoint",)
_FOLDERS = frozenset({"anchors", "checkpoints", "tile"})


def is_size(name: str) -> bool:
    """Whether this is how a number of lines is written in the name of a file."""
    return _SIZE.match(name) is not None


def saved(size: int) -> Path:
    """Return where the checkpoint of a size is kept."""
    return ("checkpoints", str(size))


def evidence(size: int, anchor: str) -> Path:
    """Return where is kept what an anchor gave for the checkpoint of a size."""
    return ("anchors", str(size), anchor)


class LogFolder:
    """A log's folder, held open; a context manager.

    Files are put in place whole or not at all.  Every method raises `OSError`, and
    `SinkCorrupt` where a link or something else stands in the place of a file.
    """

    def __init__(self, handle: int, disk: Disk) -> None:
        """Use the folder open at `handle`, which is closed in the end."""
        self._handle = handle
        self._disk = disk
        self._touched: dict[Path, None] = {}

    @classmethod
    def open(cls, volume: int, disk: Disk, *, create: bool = False) -> Self | None:
        """Open the log of the volume that is open; `None` where there is none."""
        try:
            return cls(_disk.open_folder("log", volume), disk)
        except FileNotFoundError:
            if not create:
                return None
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENOTDIR}:
                raise log_damage("log", "is a link or no folder") from error
            raise
        disk.make_folder("log", volume)
        disk.sync_folder(volume)
        return cls(_disk.open_folder("log", volume), disk)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the folder."""
        os.close(self._handle)

    @contextmanager
    def sealing(self) -> Iterator[None]:
        """Hold the right to seal: one process and thread at a time has it."""
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    # -- reading --------------------------------------------------------------------------

    def read(self, path: Path) -> bytes | None:
        """Return what is in a file; `None` where there is none."""
        try:
            with self._folder(path[:-1]) as folder:
                return _read(path, folder)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            if error.errno in _disk.NO_FILE:
                raise log_damage("/".join(path), "is a link or no file") from error
            raise

    def has(self, path: Path) -> bool:
        """Whether anything at all stands there; raises `OSError`."""
        return path[-1] in self.names(path[:-1])

    def strange(self) -> list[str]:
        """Return the names at the top of the log where something of another kind stands."""
        found = []
        for name in self.names(()):
            mode = os.stat(name, dir_fd=self._handle, follow_symlinks=False).st_mode
            if name in _FOLDERS and not stat.S_ISDIR(mode):
                found.append(name)
        return found

    def names(self, path: Path) -> list[str]:
        """Return what stands in a folder, in order; nothing where there is none."""
        try:
            with self._folder(path) as folder:
                return sorted(os.listdir(folder))  # noqa: PTH208 - by handle, so that no link leads elsewhere
        except OSError as error:
            if error.errno in _ABSENT | {errno.ELOOP}:
                return []
            raise

    def checkpoints(self) -> list[tuple[Path, LogCheckpoint | None]]:
        """Return every saved checkpoint, smallest first; `None` for one that is none."""
        sizes = self.sizes()
        found = [(saved(size), self._checkpoint(saved(size), size)) for size in sizes]
        if self.has(CHECKPOINT):
            found.append((CHECKPOINT, self._checkpoint(CHECKPOINT)))
        return found

    def size(self) -> int | None:
        """Return how much the newest checkpoint covers, if there is one that can be read."""
        made = self._checkpoint(CHECKPOINT)
        return None if made is None else made.size

    def _checkpoint(self, path: Path, size: int | None = None) -> LogCheckpoint | None:
        try:
            made = LogCheckpoint.parse(self.read(path) or b"")
        except (ConfigurationError, SinkCorrupt):
            return None
        return made if size in {None, made.size} else None

    def newest(self) -> LogCheckpoint | None:
        """Return the saved checkpoint that covers most, of those that can be read."""
        newest = self._checkpoint(CHECKPOINT)
        for size in reversed(self.sizes()):
            if newest is not None and newest.size >= size:
                break
            newest = self._checkpoint(saved(size), size) or newest
        return newest

    def sizes(self) -> list[int]:
        """Return the sizes of the saved checkpoints, smallest first."""
        return sorted(map(int, filter(is_size, self.names(("checkpoints",)))))

    @contextmanager
    def _folder(self, path: Path, *, create: bool = False) -> Iterator[int]:
        with ExitStack() as stack:
            handle = self._handle
            for name in path:
                if create:
                    self._make(name, handle)
                handle = _disk.open_folder(name, handle)
                stack.callback(os.close, handle)
            yield handle

    def _make(self, name: str, within: int) -> None:
        try:
            os.stat(name, dir_fd=within, follow_symlinks=False)
        except FileNotFoundError:
            self._disk.make_folder(name, within)
            self._disk.sync_folder(within)

    # -- writing --------------------------------------------------------------------------

    def write(self, path: Path, data: bytes) -> None:
        """Put a file in its place; its name is durable after `settle`.

        Whatever else stands there is replaced, but for a folder: then it raises `SinkCorrupt`.
        """
        if self._holds(path, data):
            return
        beside = f".{path[-1]}.{secrets.token_hex(6)}"
        with self._folder(path[:-1], create=True) as folder:
            handle = self._disk.create(beside, folder)
            try:
                self._disk.write(handle, data, 0)
                self._disk.sync(handle)
            finally:
                _disk.close(handle)
            try:
                self._disk.rename(beside, path[-1], folder)
            except IsADirectoryError as error:
                self._disk.remove(beside, folder)
                raise log_damage("/".join(path), "is a folder: move it away") from error
        self._touched[path[:-1]] = None

    def _holds(self, path: Path, data: bytes) -> bool:
        """Whether just that is in a file already; what is no file of a log holds nothing."""
        try:
            return self.read(path) == data
        except SinkCorrupt:
            return False

    def settle(self) -> None:
        """Make the names of everything that was written durable."""
        for path in list(self._touched):
            with self._folder(path) as folder:
                self._disk.sync_folder(folder)
            del self._touched[path]

    def drop(self, path: Path) -> None:
        """Remove a folder of partial tiles, once the full tile is durable."""
        for name in self.names(path):
            with self._folder(path) as folder:
                self._disk.remove(name, folder)
        if self.names(path[:-1]).count(path[-1]):
            with self._folder(path[:-1]) as folder:
                self._disk.remove_folder(path[-1], folder)


def signed_lines(volume: int, disk: Disk) -> int:
    """Return how many lines of the log in this volume are signed, as far as it says itself."""
    log = LogFolder.open(volume, disk)
    if log is None:
        return 0
    with log:
        newest = log.newest()
    return 0 if newest is None else newest.size


def _read(path: Path, folder: int) -> bytes:
    handle = _disk.open_file(path[-1], folder)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
            raise log_damage("/".join(path), "is no file of the log")
        return _disk.read(handle, found.st_size, 0)
    finally:
        _disk.close(handle)
