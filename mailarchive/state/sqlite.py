"""Checkpoints in one SQLite file; the choice for many folders."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mailarchive import _durable
from mailarchive.errors import StateError
from mailarchive.state import _json

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from mailarchive._model import Checkpoint

_SCHEMA = """
CREATE TABLE IF NOT EXISTS checkpoint (
    source TEXT NOT NULL,
    folder TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (source, folder)
) WITHOUT ROWID
"""


class SqliteCheckpoints:
    """Keeps checkpoints in the file `path`; durable when `save` returns.

    A connection is opened for each call, so the object may be shared and pickled.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, fuse: _durable.Fuse = _durable.no_fuse
    ) -> None:
        """Keep the checkpoints in the file `path`, made when first needed.

        `fuse` is called before each write, for tests that crash there.
        """
        self._path = Path(path)
        self._fuse = fuse

    @contextmanager
    def _connection(self, doing: str) -> Iterator[sqlite3.Connection]:
        try:
            _durable.make_folder(self._path.parent, self._fuse)
            with closing(sqlite3.connect(self._path, timeout=60)) as connection:
                # A rollback journal with FULL syncs file and folder at each commit.
                connection.execute("PRAGMA synchronous = EXTRA")
                connection.execute(_SCHEMA)
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise _translated(error, doing, self._path.name) from error

    def _exists(self, doing: str) -> bool:
        try:
            return self._path.exists()
        except OSError as error:
            raise _translated(error, doing, self._path.name) from error

    def load(self, source: str, folder: str, /) -> Checkpoint | None:
        """Return the folder's checkpoint, or `None`; raises `StateError`."""
        if not self._exists("looking for a checkpoint"):
            return None
        with self._connection("reading a checkpoint") as connection:
            row = connection.execute(
                "SELECT value FROM checkpoint WHERE source = ? AND folder = ?",
                (_text(source), _text(folder)),
            ).fetchone()
        return None if row is None else _json.load(row[0])

    def save(self, checkpoint: Checkpoint, /) -> None:
        """Replace the folder's checkpoint; raises `StateError`."""
        value = _json.dump(checkpoint)
        with self._connection("saving a checkpoint") as connection:
            self._fuse("checkpoint")
            with connection:
                connection.execute(
                    "INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?)",
                    (_text(checkpoint.source), _text(checkpoint.folder), value),
                )
            self._fuse("checkpoint saved")

    def all(self) -> tuple[Checkpoint, ...]:
        """Return every saved checkpoint; raises `StateError`."""
        if not self._exists("looking for checkpoints"):
            return ()
        with self._connection("listing checkpoints") as connection:
            rows = connection.execute(
                "SELECT value FROM checkpoint ORDER BY source, folder"
            ).fetchall()
        return tuple(_json.load(value) for (value,) in rows)


def _translated(error: sqlite3.Error | OSError, doing: str, name: str) -> StateError:
    """Return the error of ours, which names the file, and what to do by SQLite's number."""
    kind = getattr(error, "sqlite_errorname", type(error).__name__)
    code = getattr(error, "sqlite_errorcode", None)
    hint = f"check that this user may write {name} and its folder, and that there is room"
    if code is not None and code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        hint = (
            f"end what uses it, move {name} away and run again:"
            " everything is listed anew, and nothing is archived twice"
        )
    return StateError(f"{name}: {kind} while {doing}", suggestions=[hint])


def _text(name: str) -> bytes:
    """A name from a mailbox as bytes: it may hold what SQLite's text cannot."""
    return name.encode("utf-8", "surrogatepass")
