"""What was handed over to whom: a small SQLite file beside a sink that cannot be asked.

It also holds who was refused for good while somebody else is still to be tried: no longer,
so that whoever puts the entry again after all is settled asks anew.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from mailarchive._durable import make_folder
from mailarchive._model import Digest
from mailarchive._sqlite import made
from mailarchive.errors import (
    SinkCorrupt,
    SinkError,
    SinkFull,
    SinkNotWritable,
    SinkUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HANDED: Final = """
CREATE TABLE IF NOT EXISTS handed (
  entry BLOB NOT NULL, recipient BLOB NOT NULL, raw BLOB NOT NULL,
  PRIMARY KEY (entry, recipient)
) WITHOUT ROWID
"""
_REFUSED: Final = """
CREATE TABLE IF NOT EXISTS refused (
  entry BLOB NOT NULL, recipient BLOB NOT NULL, code INTEGER NOT NULL,
  PRIMARY KEY (entry, recipient)
) WITHOUT ROWID
"""
_BUSY_SECONDS: Final = 60.0
_RIGHTS: Final = (SinkNotWritable, "give this user the right to write there")
_BROKEN: Final = (SinkCorrupt, "restore it; without it everything is handed over again")
_BY_CODE: Final = {
    sqlite3.SQLITE_FULL: (SinkFull, "make room, then run again"),
    sqlite3.SQLITE_READONLY: _RIGHTS,
    sqlite3.SQLITE_CANTOPEN: _RIGHTS,
    sqlite3.SQLITE_PERM: _RIGHTS,
    sqlite3.SQLITE_BUSY: (SinkUnavailable, "end the program that holds it, then run again"),
    sqlite3.SQLITE_NOTADB: _BROKEN,
    sqlite3.SQLITE_CORRUPT: _BROKEN,
}


class Ledger:
    """Which entry was handed over to which recipient; durable once `committed` ends.

    No address is in it: recipients are kept as digests.  One thread at a time.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, which is made where it is missing; raises `SinkError`."""
        make_folder(path.absolute().parent)
        with _errors("opening"):
            self._base = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            with made(self._base):
                self._base.execute("PRAGMA synchronous = EXTRA")
                for table in (_HANDED, _REFUSED):
                    self._base.execute(table)

    def close(self) -> None:
        """Let go of the file."""
        with _errors("closing"), closing(self._base):
            self._commit()

    @contextmanager
    def committed(self) -> Iterator[None]:
        """Make durable what is noted inside, also where that ends in an error."""
        with _errors("writing"):
            self._commit()
            self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            with _errors("writing"):
                self._commit()

    def _commit(self) -> None:
        """End what is under way: also what a reader kept from its end the last time."""
        if self._base.in_transaction:
            self._base.execute("COMMIT")

    def handed(self, entry: Digest) -> dict[Digest, Digest]:
        """Return whom the entry was handed to, by the digest of the recipient, and its bytes'."""
        question = "SELECT recipient, raw FROM handed WHERE entry = ?"
        with _errors("reading"), closing(self._base.execute(question, (entry.value,))) as rows:
            return {Digest(recipient): Digest(raw) for recipient, raw in rows}

    def note(self, entry: Digest, recipient: Digest, raw: Digest) -> None:
        """Note that the entry was handed over to this one."""
        row = (entry.value, recipient.value, raw.value)
        with _errors("writing"):
            self._base.execute("INSERT OR IGNORE INTO handed VALUES (?, ?, ?)", row)

    def refused(self, entry: Digest) -> dict[Digest, int]:
        """Return who was refused for good, and how, while others were to be tried later."""
        question = "SELECT recipient, code FROM refused WHERE entry = ?"
        with _errors("reading"), closing(self._base.execute(question, (entry.value,))) as rows:
            return {Digest(recipient): code for recipient, code in rows}

    def note_refused(self, entry: Digest, recipient: Digest, code: int) -> None:
        """Note that this one was refused for good."""
        row = (entry.value, recipient.value, code)
        with _errors("writing"):
            self._base.execute("INSERT OR REPLACE INTO refused VALUES (?, ?, ?)", row)

    def settle(self, entry: Digest) -> None:
        """Forget who was refused: nobody is to be tried later."""
        with _errors("writing"):
            self._base.execute("DELETE FROM refused WHERE entry = ?", (entry.value,))


@contextmanager
def _errors(doing: str) -> Iterator[None]:
    """Give every error of SQLite one of our types, by its number and never by its text."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        kind, advice = _BY_CODE.get(code, (SinkError, "check the disk, then run again"))
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        raise kind(f"the ledger: {name} while {doing}", suggestions=[advice]) from error
