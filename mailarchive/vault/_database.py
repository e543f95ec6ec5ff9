"""An SQLite file of a vault, opened by its path and yet never through a link.

SQLite takes a path, and follows a link that stands there.  So the file is made beforehand, by
the handle of its folder, and before anything is written what SQLite has open is compared with
what the folder holds.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive._sqlite import made
from mailarchive.vault import _derived, _disk
from mailarchive.vault._errors import linked

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_MODE = 0o644


@frozen
class Database:
    """Where it is: its path, and the folder, which `folder` gives open."""

    path: Path
    folder: Callable[[], int] = field(repr=False)

    def there(self) -> tuple[int, int] | None:
        """Return which file stands there; `None` where none does.

        Raises `SinkCorrupt` for a link, or anything else that is no file.
        """
        try:
            found = os.stat(self.path.name, dir_fd=self.folder(), follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode):
            raise linked(self.path.name)
        return found.st_dev, found.st_ino

    def connect(self, **settings: Any) -> sqlite3.Connection:
        """Open it for writing, made where it is missing; raises as `there`, `sqlite3.Error`.

        A file that is there is not opened here: to close it would end the locks of SQLite.
        """
        if self.there() is None:
            with suppress(FileExistsError):
                _disk.close(os.open(self.path.name, _NEW, _MODE, dir_fd=self.folder()))
        uri = f"{self.path.absolute().as_uri()}?mode=rw"
        with made(sqlite3.connect(uri, uri=True, isolation_level=None, **settings)) as connection:
            self.refuse_other(connection)
        return connection

    def refuse_other(self, connection: sqlite3.Connection, schema: str = "main") -> None:
        """Raise unless a connection has this very file open; nothing is read or written."""
        (file,) = (
            file for _, name, file in connection.execute("PRAGMA database_list") if name == schema
        )
        try:
            found = Path(file).lstat()
        except FileNotFoundError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self.there():
            raise linked(self.path.name)

    def remove(self) -> None:
        """Remove the file, and what SQLite keeps beside it; raises `OSError`."""
        for name in _derived.parts(self.path.name):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.folder())
