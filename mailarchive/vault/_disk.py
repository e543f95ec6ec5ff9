"""Every step of a vault that changes something on the disk; nothing else does.

Each step calls the fuse first, so that a test can crash a run, or let a step fail, at
every one of them in turn.  What fails raises `OSError`, and no fsync is ever repeated:
after a failed one the kernel takes the lost pages for written.
"""

from __future__ import annotations

import errno
import mmap
import os
from typing import TYPE_CHECKING

from mailarchive._durable import no_fuse

if TYPE_CHECKING:
    import sqlite3

    from mailarchive._durable import Fuse

CAN_EVICT = hasattr(os, "posix_fadvise")
"""Whether what is read back surely comes from the medium, and not from memory."""

NO_FILE = frozenset({errno.ELOOP, errno.ENXIO, errno.ENODEV})
"""What the system says where a link, a socket or a device stands in the place of a file."""
_PIECE = 1 << 20
_PAGE = mmap.PAGESIZE
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def open_folder(name: str, within: int | None = None) -> int:
    """Open a folder for its names; inside another one a symbolic link is refused."""
    if within is None:
        return os.open(name, _FOLDER_FLAGS)
    return os.open(name, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=within)


def open_file(name: str, within: int, *, writing: bool = False) -> int:
    """Open an existing file of a folder; never through a symbolic link."""
    return os.open(name, _FILE_FLAGS | (os.O_RDWR if writing else os.O_RDONLY), dir_fd=within)


def close(handle: int) -> None:
    """Close an open file or folder."""
    os.close(handle)


def read(handle: int, size: int, offset: int) -> bytes:
    """Return up to `size` bytes from `offset` on; fewer only where the file ends."""
    found = os.pread(handle, size, offset)
    if len(found) == size or not found:
        return found
    pieces = [found]
    while (missing := size - sum(map(len, pieces))) > 0:
        found = os.pread(handle, missing, offset + size - missing)
        if not found:
            break
        pieces.append(found)
    return b"".join(pieces)


def data_from(handle: int, offset: int) -> int | None:
    """Return where the next byte may stand that is no hole; `None` where only a hole follows.

    A file of any size takes no room, and no time, where nothing was ever written in it.
    """
    try:
        return os.lseek(handle, offset, os.SEEK_DATA)
    except AttributeError:
        return offset  # a system that knows nothing of holes
    except OSError as error:
        return None if error.errno == errno.ENXIO else offset


def evict(handle: int, offset: int = 0, size: int = 0) -> None:
    """Make the next read come from the medium; `size` 0 reaches to the end."""
    if CAN_EVICT:
        # The system keeps pages that are only partly named: name them whole.
        before = offset % _PAGE
        whole = size and size + before + -(size + before) % _PAGE
        os.posix_fadvise(handle, offset - before, whole, os.POSIX_FADV_DONTNEED)


def free_space(handle: int) -> int:
    """Return the bytes that may still be written to the file system of an open file."""
    found = os.fstatvfs(handle)
    return found.f_bavail * found.f_frsize


class Disk:
    """The steps themselves.  `fuse` is called before each, with its name."""

    def __init__(self, fuse: Fuse = no_fuse) -> None:
        """Call `fuse` before each step."""
        self.fuse = fuse

    def make_folder(self, name: str, within: int | None = None) -> None:
        """Create a folder for its owner alone; one that is there already will do."""
        self.fuse("make folder")
        try:
            os.mkdir(name, 0o700, dir_fd=within)
        except FileExistsError:
            return

    def sync_folder(self, handle: int) -> None:
        """Make the names in an open folder durable."""
        self.fuse("sync folder")
        os.fsync(handle)

    def create(self, name: str, within: int) -> int:
        """Create a file that must be new, and open it for reading and writing."""
        self.fuse("create file")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _FILE_FLAGS
        return os.open(name, flags, 0o600, dir_fd=within)

    def write(self, handle: int, data: bytes, offset: int) -> None:
        """Write all of `data` at `offset`; raises where that does not succeed whole."""
        self.fuse("write")
        rest = memoryview(data)
        while rest:
            done = os.pwrite(handle, rest, offset)
            if done <= 0:
                raise OSError(errno.EIO, "nothing was written")
            rest = rest[done:]
            offset += done

    def sync(self, handle: int) -> None:
        """Make the bytes of an open file durable."""
        self.fuse("sync file")
        getattr(os, "fdatasync", os.fsync)(handle)

    def rename(self, old: str, new: str, within: int) -> None:
        """Give a file of a folder its final name."""
        self.fuse("rename")
        os.rename(old, new, src_dir_fd=within, dst_dir_fd=within)

    def link(self, name: str, within: int, other: str, folder: int) -> None:
        """Give a file a second name in another folder; one that is there will do."""
        self.fuse("link")
        try:
            os.link(name, other, src_dir_fd=within, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            return

    def remove(self, name: str, within: int) -> None:
        """Remove a file that can be made again."""
        self.fuse("remove")
        os.unlink(name, dir_fd=within)

    def remove_folder(self, name: str, within: int) -> None:
        """Remove an empty folder."""
        self.fuse("remove folder")
        os.rmdir(name, dir_fd=within)

    def read_back(self, handle: int, data: bytes, offset: int) -> None:
        """Compare what is on the medium with `data`; raises `OSError` where it differs."""
        evict(handle, offset, len(data))
        for start in range(0, len(data), _PIECE):
            size = min(_PIECE, len(data) - start)
            found = read(handle, size, offset + start)
            # Compared in place and in one go: a memoryview compares byte after byte.
            if len(found) != size or not data.startswith(found, start):
                raise OSError(errno.EIO, "read back other bytes than were written")

    def commit(self, index: sqlite3.Connection) -> None:
        """End a transaction of the index."""
        self.fuse("commit index")
        index.execute("COMMIT")
