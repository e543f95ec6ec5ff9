"""The tables of the index.  All of them are derived from the packs, and may be thrown away."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection
    from typing import Any

VERSION = 7
"""Told from the format of the vault: another version of the index is made anew."""

_STATEMENTS = (
    "CREATE TABLE about (vault TEXT NOT NULL)",
    # In which volume each pack is, and up to where it counts; a sealed one is never written
    # again.  Where it was poisoned, the next batch owes the fact that says so.
    """CREATE TABLE pack (
        n INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, volume TEXT NOT NULL,
        upto INTEGER NOT NULL, sealed INTEGER NOT NULL, owed INTEGER NOT NULL)""",
    # The manifests in the order in which they were committed.
    """CREATE TABLE batch (
        n INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, digest BLOB NOT NULL UNIQUE,
        pack INTEGER NOT NULL, offset INTEGER NOT NULL, at INTEGER NOT NULL,
        verified INTEGER NOT NULL)""",
    """CREATE TABLE object (
        n INTEGER PRIMARY KEY, raw BLOB NOT NULL UNIQUE, size INTEGER NOT NULL,
        stored BLOB NOT NULL, stored_size INTEGER NOT NULL,
        batch INTEGER NOT NULL, offset INTEGER NOT NULL)""",
    """CREATE TABLE entry (
        n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, raw BLOB NOT NULL,
        batch INTEGER NOT NULL, line INTEGER NOT NULL, owners INTEGER NOT NULL,
        unresolved INTEGER NOT NULL, at INTEGER NOT NULL, erased INTEGER NOT NULL,
        sender BLOB, behalf BLOB, folder BLOB NOT NULL,
        summary TEXT NOT NULL, shown BLOB NOT NULL, hidden BLOB NOT NULL)""",
    "CREATE INDEX entry_raw ON entry (raw)",
    "CREATE INDEX entry_unowned ON entry (n) WHERE owners = 0 AND NOT erased",
    "CREATE INDEX entry_unresolved ON entry (n) WHERE unresolved > 0",
    # Objects that nothing but erased entries needed; their bytes are gone, or will be.
    """CREATE TABLE gone (
        batch INTEGER NOT NULL, offset INTEGER NOT NULL,
        stored BLOB NOT NULL, stored_size INTEGER NOT NULL,
        reclaimed INTEGER NOT NULL, PRIMARY KEY (batch, offset)) WITHOUT ROWID""",
    # The originals that are no part of an entry's raw bytes.
    "CREATE TABLE part (n INTEGER PRIMARY KEY, entry INTEGER NOT NULL, raw BLOB NOT NULL)",
    "CREATE TABLE user (n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE)",
    # One row an owner and entry: which message of theirs it is behind, and what they know.
    """CREATE TABLE owner (
        user INTEGER NOT NULL, head INTEGER NOT NULL, entry INTEGER NOT NULL,
        copy INTEGER NOT NULL, sender INTEGER NOT NULL, folder INTEGER NOT NULL,
        own TEXT NOT NULL, search BLOB NOT NULL,
        PRIMARY KEY (user, head, entry)) WITHOUT ROWID""",
    "CREATE UNIQUE INDEX owner_entry ON owner (entry, user)",
    # One row a user and message that they see; `head` is its first entry.
    """CREATE TABLE message (
        user INTEGER NOT NULL, at INTEGER NOT NULL, head INTEGER NOT NULL,
        key BLOB NOT NULL, copies INTEGER NOT NULL,
        PRIMARY KEY (user, at, head)) WITHOUT ROWID""",
    # A key is of one user's view alone.
    "CREATE UNIQUE INDEX message_key ON message (key)",
    # `entry` is the one that a fact is about, where it is about one that is there.
    """CREATE TABLE fact (
        n INTEGER PRIMARY KEY, kind TEXT NOT NULL, entry INTEGER,
        batch INTEGER NOT NULL, line INTEGER NOT NULL)""",
    "CREATE INDEX fact_entry ON fact (entry) WHERE entry IS NOT NULL",
)

CONTENTS = {
    "about": "SELECT vault FROM about",
    "batch": """SELECT b.n, b.sequence, b.digest, p.name, b.offset, b.at
        FROM batch b LEFT JOIN pack p ON p.n = b.pack ORDER BY b.n""",
    "object": "SELECT * FROM object ORDER BY n",
    "entry": "SELECT * FROM entry ORDER BY n",
    "gone": "SELECT * FROM gone ORDER BY batch, offset",
    "part": "SELECT * FROM part ORDER BY n",
    "user": "SELECT * FROM user ORDER BY n",
    "owner": "SELECT * FROM owner ORDER BY user, head, entry",
    "message": "SELECT * FROM message ORDER BY user, at, head",
    "fact": "SELECT * FROM fact ORDER BY n",
}
"""What of each table follows from the packs alone, in an order that does so too."""


blob = bytearray
"""Bytes as they are given to SQLite by the thousand.

Of `bytes`, `None` and `bool`, but neither of this nor of `int` and `str`, its module asks
first whether they would rather be something else, and swallows two errors in doing so: that
takes longer than to write the value.
"""

_AT_ONCE = 512
"""Values in one question; SQLite takes at least 999."""


def among(
    connection: sqlite3.Connection, query: str, values: Collection[Any], *, columns: int = 1
) -> list[tuple[Any, ...]]:
    """Return what a query with `({})` finds for all of these values, or rows of them.

    Asked with the last one repeated up to a power of two: a statement that was prepared
    before need not be prepared again.
    """
    found: list[tuple[Any, ...]] = []
    left = list(values)
    one = "?" if columns == 1 else f"({','.join('?' * columns)})"
    at_once = _AT_ONCE // columns
    for start in range(0, len(left), at_once):
        some = left[start : start + at_once]
        some += some[-1:] * ((1 << (len(some) - 1).bit_length()) - len(some))
        asked = some if columns == 1 else chain.from_iterable(some)
        bound = [blob(each) if isinstance(each, bytes) else each for each in asked]
        found += connection.execute(query.format(",".join([one] * len(some))), bound)
    return found


def create(connection: sqlite3.Connection, vault: str) -> None:
    """Make the tables anew inside a transaction; whatever else is there goes away."""
    for kind, name in connection.execute(
        "SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'view', 'table')"
        " AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY type = 'table'"
    ).fetchall():
        quoted = name.replace('"', '""')
        connection.execute(f'DROP {kind} IF EXISTS "{quoted}"')
    for statement in _STATEMENTS:
        connection.execute(statement)
    connection.execute("INSERT INTO about VALUES (?)", (vault,))
    connection.execute(f"PRAGMA user_version = {VERSION}")


def is_ours(connection: sqlite3.Connection) -> bool:
    """Whether there are exactly our tables: no trigger, no view, no other column."""
    rows = connection.execute(
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY sql"
    ).fetchall()
    return [sql for (sql,) in rows] == sorted(_STATEMENTS)
