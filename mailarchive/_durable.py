"""Writing a small file so that it is there whole after a loss of power, or not at all.

The order is the only one that holds: write beside, sync the file, rename, sync the
folder.  An fsync that failed is never repeated: the kernel has forgotten what was dirty.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeAlias

    Fuse: TypeAlias = Callable[[str], None]


_BESIDE = re.compile(r"\..+\.([1-9][0-9]*)\.tmp", re.DOTALL)
"""What `write_file` calls a file until it is whole; the number is that of the process."""


def no_fuse(point: str) -> None:
    """Let every step pass; tests hand over one that does not."""


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path, fuse: Fuse = no_fuse, *, mode: int = 0o777) -> None:
    """Create `folder`, with these rights, and whatever is missing above it, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent, fuse)
    fuse("mkdir")
    folder.mkdir(mode, exist_ok=True)
    try:
        sync_folder(folder.parent)
    except OSError:
        with suppress(OSError):  # the first error is the one to tell
            folder.rmdir()  # a name that was not synced is made anew, never believed
        raise


def write_file(path: Path, data: bytes, fuse: Fuse = no_fuse, *, mode: int = 0o666) -> None:
    """Put `data` at `path`, replacing what is there; raises `OSError`.

    The umask takes its bits from `mode`; 0o600 is for what nobody else may read.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    fuse("write")
    try:
        opener = partial(os.open, mode=mode)
        with open(beside, "wb", buffering=0, opener=opener) as handle:
            _write_all(handle.fileno(), data)
            fuse("fsync")
            os.fsync(handle.fileno())
        fuse("rename")
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    fuse("sync folder")
    sync_folder(path.parent)


def clear(folder: Path) -> None:
    """Remove from `folder` what `write_file` left unfinished in processes that died.

    Nobody reads it, and it may hold a piece of somebody's mail.  Raises `OSError`.
    """
    for each in folder.iterdir():
        found = _BESIDE.fullmatch(each.name)
        if found is not None and not _is_running(int(found[1])):
            each.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def append_line(path: Path, line: bytes, fuse: Fuse = no_fuse) -> None:
    """Add a line to a file of its owner's, durably; one that was cut off is ended first.

    Raises `OSError`.
    """
    fuse("append")
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    handle = os.open(path, flags, 0o600)
    try:
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        _write_all(handle, (b"\n" if torn else b"") + line + b"\n")
        fuse("fsync")
        os.fsync(handle)
    finally:
        os.close(handle)
    if not size:
        fuse("sync folder")
        sync_folder(path.parent)
