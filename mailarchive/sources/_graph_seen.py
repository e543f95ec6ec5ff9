"""Which messages of a folder have been listed: what a delta query is checked against.

A delta link says what changed, and is sometimes wrong: with immutable ids a message that
left a folder and came back is told as gone and never again, and a round may close before
it is complete.  So the ids that were listed are remembered, beside the checkpoint and not
in it, since a checkpoint is saved with every page and must stay small: 24 octets a message
in a SQLite file.

A row carries the number of the page that listed it, and a checkpoint's token the number of
its page.  Opening a folder at a token forgets the rows of later pages: what was listed and
never accounted for was never seen.  Where the file is lost every message is read once more.
"""

from __future__ import annotations

import hashlib
import sqlite3
import weakref
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mailarchive._sqlite import made
from mailarchive.errors import StateError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS folder (
  n INTEGER PRIMARY KEY, source TEXT, key TEXT, epoch TEXT, complete INTEGER,
  UNIQUE (source, key)
);
CREATE TABLE IF NOT EXISTS seen (
  folder INTEGER, id BLOB, revision BLOB, page INTEGER, here INTEGER,
  PRIMARY KEY (folder, id)
) WITHOUT ROWID;
"""
_ID_OCTETS: Final = 16
_REVISION_OCTETS: Final = 8


class SeenIds:
    """The ids that were listed, of any number of mailboxes, in a file or in memory.

    One process at a time, as a job's lock makes sure.  In memory it lasts as long as the
    object does: then a folder whose listing was begun before cannot be reconciled.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        """Take the file, made when it is first needed; nothing is opened yet.

        Where its folder is not there, as in a dry run of a new job, memory serves instead.
        """
        self._path = None if path is None else Path(path)
        self._db: sqlite3.Connection | None = None

    def folder(self, source: str, key: str, epoch: str, page: int) -> SeenFolder:
        """Return what was seen in a folder up to a page; raises `StateError`.

        Rows of another `epoch`, which begins with a listing from the start, are forgotten.
        """
        with _errors():
            db = self._open()
            number, complete = _number(db, source, key, epoch, complete=page == 0)
            db.execute("DELETE FROM seen WHERE folder = ? AND page > ?", (number, page))
            db.commit()
        return SeenFolder(db, number, complete=complete)

    @property
    def durable(self) -> bool:
        """Whether it outlives the process."""
        return self._path is not None and self._path.parent.is_dir()

    def close(self) -> None:
        """Close the file; what is in memory alone stays."""
        if self._db is not None and self.durable:
            self._db.close()
            self._db = None

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            where = str(self._path) if self.durable else ":memory:"
            # A source is used from one thread at a time, and not always from the same one.
            with made(sqlite3.connect(where, check_same_thread=False)) as db:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = NORMAL")
                db.executescript(_SCHEMA)
            weakref.finalize(self, db.close)  # in memory it lasts as long as this does
            self._db = db
        return self._db


class SeenFolder:
    """What was seen in one folder."""

    def __init__(self, db: sqlite3.Connection, number: int, *, complete: bool) -> None:
        """Look at the rows of this number; `complete` where none of them can be missing."""
        self._db, self._number = db, number
        self.complete: bool = complete

    def knows(self, id_: str, revision: str | None) -> bool:
        """Return whether this very revision was listed."""
        with _errors():
            row = self._db.execute(
                "SELECT revision FROM seen WHERE folder = ? AND id = ?",
                (self._number, _short(id_, _ID_OCTETS)),
            ).fetchone()
        return row is not None and row[0] == _short(revision or "", _REVISION_OCTETS)

    def add(self, listed: Iterable[tuple[str, str | None]], page: int) -> None:
        """Remember ids and revisions as listed by a page, and as being in the folder."""
        rows = [
            (self._number, _short(i, _ID_OCTETS), _short(r or "", _REVISION_OCTETS), page)
            for i, r in listed
        ]
        with _errors():
            self._db.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, 1)", rows)
            self._db.commit()

    def mark(self, ids: Iterable[str], *, here: bool) -> None:
        """Remember of ids that were seen whether they are in the folder now."""
        rows = [(here, self._number, _short(id_, _ID_OCTETS)) for id_ in ids]
        with _errors():
            self._db.executemany("UPDATE seen SET here = ? WHERE folder = ? AND id = ?", rows)
            self._db.commit()

    def completed(self) -> None:
        """Remember that every message of the folder has its row."""
        self.complete = True
        with _errors():
            self._db.execute("UPDATE folder SET complete = 1 WHERE n = ?", (self._number,))
            self._db.commit()

    def mark_all_gone(self) -> None:
        """Remember that nothing is known to be in the folder, before it is counted anew."""
        with _errors():
            self._db.execute("UPDATE seen SET here = 0 WHERE folder = ?", (self._number,))
            self._db.commit()

    def count(self) -> int:
        """Return how many of the ids are in the folder now, as far as was told."""
        with _errors():
            row = self._db.execute(
                "SELECT count(*) FROM seen WHERE folder = ? AND here", (self._number,)
            ).fetchone()
        return int(row[0])


def _number(
    db: sqlite3.Connection, source: str, key: str, epoch: str, *, complete: bool
) -> tuple[int, bool]:
    """Return the folder's number, and whether its rows are complete; `complete` if it is new."""
    row = db.execute(
        "SELECT n, epoch, complete FROM folder WHERE source = ? AND key = ?", (source, key)
    ).fetchone()
    if row is not None and row[1] == epoch:
        return int(row[0]), bool(row[2])
    if row is not None:
        db.execute("DELETE FROM seen WHERE folder = ?", (row[0],))
        db.execute("DELETE FROM folder WHERE n = ?", (row[0],))
    made = db.execute(
        "INSERT INTO folder (source, key, epoch, complete) VALUES (?, ?, ?, ?)",
        (source, key, epoch, complete),
    )
    assert made.lastrowid is not None
    return made.lastrowid, complete


def _short(text: str, octets: int) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=octets).digest()


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StateError(
            f"{type(error).__name__} in the file of listed messages",
            suggestions=[
                "check that its folder is writable and has room",
                "remove the file where it is damaged: each folder is listed once more",
            ],
        ) from None
