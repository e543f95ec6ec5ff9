"""The files that are derived from the packs: what stands in their places, and is no file.

It is refused by whoever opens a vault, and put out of the way by whoever rebuilds one.
"""

from __future__ import annotations

import os
import secrets
import stat
from typing import TYPE_CHECKING

from mailarchive.vault._errors import linked

if TYPE_CHECKING:
    from collections.abc import Collection

    from mailarchive.vault._disk import Disk

INDEX = "index.db"
FULLTEXT = "fts.db"
_ENDS = ("", "-wal", "-shm")


def parts(name: str) -> tuple[str, ...]:
    """Return the names of a database and of what SQLite keeps beside it."""
    return tuple(f"{name}{end}" for end in _ENDS)


def odd(volume: int) -> list[str]:
    """Return the names in the open first volume under which something else than a file stands."""
    found = ((name, _mode(name, volume)) for name in (*parts(INDEX), *parts(FULLTEXT)))
    return [name for name, mode in found if mode is not None and not stat.S_ISREG(mode)]


def refuse_odd(volume: int) -> None:
    """Raise `SinkCorrupt` for a link, or anything else that is no file."""
    for name in odd(volume):
        raise linked(name)


def put_away(names: Collection[str], volume: int, disk: Disk) -> None:
    """Have nothing stand under these names, durably; the vault's lock must be held.

    A file can be made again, and one that was kept would hold what is erased later; of a link
    only the name goes.  A folder is none of ours, and is kept under another name.
    """
    for name in names:
        mode = _mode(name, volume)
        if mode is None:
            continue
        if stat.S_ISDIR(mode):
            disk.rename(name, f"{name}.aside-{secrets.token_hex(6)}", volume)
        else:
            disk.remove(name, volume)
    if names:
        disk.sync_folder(volume)


def _mode(name: str, volume: int) -> int | None:
    try:
        return os.stat(name, dir_fd=volume, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None
