"""Whether the file of the full text is sound in itself.

It is derived, and what is compared is its own structure: a change that leaves that whole, such
as another number of a message, does not show.  To delete the file mends it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from mailarchive.errors import SinkError
from mailarchive.vault._fulltext import VERSION

if TYPE_CHECKING:
    from mailarchive.vault._database import Database

_MEND = "delete it, and the next search makes it anew"


def doubt(file: Database) -> str | None:
    """Return in words what is wrong with the full text, if there is any; nothing is written."""
    try:
        there = file.there()
    except SinkError as error:
        return str(error)
    if there is None:
        return None
    try:
        sound = _is_sound(file)
    except sqlite3.OperationalError as error:
        code = error.sqlite_errorcode & 0xFF
        sound = code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY}
    except (sqlite3.DatabaseError, ValueError, TypeError):
        sound = False
    return None if sound else f"the full text, {file.path.name}, is damaged: {_MEND}"


def _is_sound(file: Database) -> bool:
    """Look at a copy: FTS5 checks itself only where it may write; raises `sqlite3.Error`."""
    uri = f"{file.path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect("", isolation_level=None)) as copy:
        with closing(sqlite3.connect(uri, uri=True)) as source:
            source.backup(copy)
        copy.execute("PRAGMA trusted_schema = OFF")
        if copy.execute("PRAGMA integrity_check(1)").fetchall() != [("ok",)]:
            return False
        tables = {name for (name,) in copy.execute("SELECT name FROM sqlite_master")}
        if not tables:
            return True  # it was about to be made
        if [version for (version,) in copy.execute("SELECT version FROM about")] == [VERSION]:
            copy.execute("INSERT INTO words (words) VALUES ('integrity-check')")
        return True
