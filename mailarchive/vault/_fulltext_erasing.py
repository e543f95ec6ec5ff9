"""Taking erased messages out of the full text, so that nothing of them is left in its file.

FTS5 keeps no text, and takes a message out only for one who says exactly what was put in.  So
its words are read back from the index itself: the message may have another text by now, to
another release.  Taken out, they stay in the file until the index is written anew as a whole,
freed pages are overwritten (`secure_delete`, at all times), and the write-ahead log is emptied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

_LEFT = "SELECT count(*) FROM temp.said WHERE doc IN (SELECT n FROM temp.erased)"


def take_out(db: sqlite3.Connection, entries: Iterable[int]) -> bool:
    """Take out the entries with these numbers; return whether nothing is left of them.

    Where something may be, the file is to be thrown away.
    """
    db.execute("CREATE TEMP TABLE erased (n INTEGER PRIMARY KEY)")
    db.executemany("INSERT OR IGNORE INTO temp.erased VALUES (?)", ((n,) for n in entries))
    db.execute("CREATE VIRTUAL TABLE temp.said USING fts5vocab(main, words, instance)")
    db.execute("BEGIN IMMEDIATE")
    try:
        for doc, text in _texts(db).items():
            delete = "INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)"
            db.execute(delete, (doc, " ".join(text)))
        db.execute("INSERT INTO words (words) VALUES ('optimize')")
        ((left,),) = db.execute(_LEFT).fetchall()
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
    ((busy, *_),) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return not left and not busy


def _texts(db: sqlite3.Connection) -> dict[int, list[str]]:
    """The words of each of the entries, in their order, as far as they are in it."""
    found: dict[int, list[str]] = {}
    rows = db.execute(
        "SELECT doc, term FROM temp.said WHERE doc IN (SELECT n FROM temp.erased)"
        ' ORDER BY doc, "offset"'
    )
    for doc, term in rows:
        found.setdefault(doc, []).append(term)
    return found
