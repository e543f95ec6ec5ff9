"""Names and bytes of files, for the sources that read them: nothing here writes.

A file name need not be text: names are `str` as Python gives them, with what is no UTF-8
escaped, and keys are made from their bytes.  No error text holds a path, because a path
may hold an address.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote_from_bytes, unquote_to_bytes

from mailarchive.errors import AccessDenied, MailboxNotFound, SourceError, SourceUnavailable

if TYPE_CHECKING:
    from io import FileIO

    from mailarchive.errors import MailArchiveError

    StrPath: TypeAlias = str | os.PathLike[str]

TOP = "."
"""The key of a tree's own folder; no relative path is written like it."""

_QUIETLY = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a named pipe would wait for its writer
    | getattr(os, "O_NOFOLLOW", 0)
)
_NO_ATIME = getattr(os, "O_NOATIME", 0)
"""Mail programs take a file read after its last change for one without new mail."""


class Unsteady(Exception):
    """The file changed while it was read."""


class TooLarge(Exception):
    """The file is larger than what may be read."""


class NoFile(Exception):
    """There is something of that name, and it is no ordinary file."""


def default_name(kind: str, path: StrPath) -> str:
    """Return a name that stays the same for a path and does not show it."""
    where = os.fsencode(Path(path).absolute())
    return f"{kind}-{hashlib.sha256(where).hexdigest()[:12]}"


def below(relative: str, name: str) -> str:
    """Return the relative path of what is called `name` there; `/` stands between parts."""
    return f"{relative}/{name}" if relative else name


def key_of(relative: str) -> str:
    """Return the ASCII key of a relative path; another one for other bytes."""
    return quote_from_bytes(os.fsencode(relative), safe="/ !$&'()+,;=@[]:") or TOP


def relative_of(key: str) -> str | None:
    """Return the relative path of a key, or `None` for what no listing can have given."""
    if key == TOP:
        return ""
    relative = os.fsdecode(unquote_to_bytes(key))
    if key_of(relative) != key or "\0" in relative:
        return None
    return None if {"", ".", ".."} & set(relative.split("/")) else relative


def for_people(relative: str) -> tuple[str, ...]:
    """Return the parts of a relative path as text, whatever bytes they are."""
    return tuple(os.fsencode(part).decode("utf-8", "replace") for part in relative.split("/"))


def open_quietly(path: Path) -> int:
    """Open an ordinary file for reading, leaving its access time alone where we may.

    Raises `OSError`, also for a symbolic link, and `NoFile`.
    """
    try:
        handle = os.open(path, _QUIETLY | _NO_ATIME)
    except PermissionError:
        handle = os.open(path, _QUIETLY)
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    raise NoFile


def read_whole(path: Path, most: int) -> tuple[bytes, os.stat_result]:
    """Return a file's bytes, all of one moment, and its state then.

    Raises `OSError`, `NoFile`, `TooLarge` before anything is read, and `Unsteady` where
    somebody wrote meanwhile.
    """
    handle = open_quietly(path)
    with os.fdopen(handle, "rb", buffering=0) as file:
        before = os.fstat(handle)
        if before.st_size > most:
            raise TooLarge
        raw = read_at(file, 0, before.st_size + 1)
        after = os.fstat(handle)
    if _state(before) != _state(after) or len(raw) != after.st_size:
        raise Unsteady
    return raw, after


def read_at(file: FileIO, start: int, length: int) -> bytes:
    """Return the bytes from `start` on; fewer only at the end of the file."""
    file.seek(start)
    parts = []
    while length > 0 and (part := file.read(length)):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def content_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, or what stands for its name where it has none.

    Raises `FileNotFoundError`.
    """
    try:
        with os.fdopen(open_quietly(path), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise
    except (OSError, NoFile):
        return "-" + hashlib.sha256(os.fsencode(path.name)).hexdigest()


def _state(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def modified_at(status: os.stat_result) -> datetime | None:
    """Return when the file was last written, or `None` for a time no calendar has."""
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
            microseconds=status.st_mtime_ns // 1000
        )
    except OverflowError:
        return None


def symbol(error: OSError) -> str:
    """Return the symbolic name of an OS error, whose text would hold the path."""
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


def place_error(source: str, what: str, error: OSError) -> MailArchiveError:
    """Return our error for a place that could not be opened or listed."""
    where = f"source {source}: the {what}"
    if isinstance(error, FileNotFoundError):
        return MailboxNotFound(
            f"{where} is not there", suggestions=["check the path, and that its disk is mounted"]
        )
    if isinstance(error, PermissionError):
        return AccessDenied(
            f"{where} may not be read by this user ({symbol(error)})",
            suggestions=["give this user the right to read it and to enter every folder above it"],
        )
    if error.errno in {errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}:
        return SourceError(
            f"{where} is of another kind ({symbol(error)})",
            suggestions=[
                "eml and maildir are folders, mbox is one file: check the path and the kind"
            ],
        )
    return SourceUnavailable(
        f"{where} cannot be read now ({symbol(error)})",
        suggestions=["check the disk or the network file system, and run again"],
    )
