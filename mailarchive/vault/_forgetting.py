"""Taking erased entries out of the index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailarchive.vault import _loading

if TYPE_CHECKING:
    import sqlite3
    from typing import Any

    from mailarchive.vault._manifest import Fact


class Forgetting:
    """Writes into the index what follows from erasing, inside a transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Write into `db`, the index."""
        self._db = db

    def reclaimed(self, fact: Fact) -> None:
        """Take note that bytes are gone; raises one of `BAD_JSON`."""
        self._db.executemany(
            "UPDATE gone SET reclaimed = 1 WHERE offset = ? AND batch IN"
            " (SELECT b.n FROM batch b JOIN pack p ON p.n = b.pack WHERE p.name = ?)",
            [(_loading.count(it["offset"]), str(it["pack"])) for it in fact.body["objects"]],
        )

    def entry(self, fact: Fact) -> None:
        """Forget an entry; raises one of `BAD_JSON`."""
        found = self._rows(
            "SELECT n, raw FROM entry WHERE id = ? AND NOT erased",
            _loading.digest(fact.body["entry"]).value,
        )
        for n, raw in found:
            parts = self._rows("SELECT raw FROM part WHERE entry = ?", n)
            self._db.execute(
                "UPDATE entry SET erased = 1, unresolved = 0, sender = NULL, behalf = NULL,"
                " folder = x'', summary = '{}', shown = x'', hidden = x'' WHERE n = ?",
                (n,),
            )
            owners = self._rows("SELECT user, head, copy FROM owner WHERE entry = ?", n)
            for user, head, copy in owners:
                self._take(user, head, n, counted=bool(copy))
            for each in sorted({raw, *(part for (part,) in parts)}):
                self._let_go(each)

    def _take(self, user: int, head: int, n: int, *, counted: bool) -> None:
        """Take an entry from a user; the message stays as long as another copy is there."""
        mine = (user, head)
        self._db.execute("DELETE FROM owner WHERE user = ? AND head = ? AND entry = ?", (*mine, n))
        left = self._rows(
            "SELECT entry, copy FROM owner WHERE user = ? AND head = ? ORDER BY entry", *mine
        )
        if not left:
            self._db.execute("DELETE FROM message WHERE user = ? AND head = ?", mine)
            return
        if counted:
            self._recount(mine, n, left)
        if n == head:
            first = left[0][0]
            self._db.execute(
                "UPDATE owner SET head = ? WHERE user = ? AND head = ?", (first, *mine)
            )
            # And its time is that of what is left: where the keys of the erased one are gone,
            # an index that is made anew knows no other.
            self._db.execute(
                "UPDATE message SET head = ?, at = (SELECT at FROM entry WHERE n = ?)"
                " WHERE user = ? AND head = ?",
                (first, first, *mine),
            )

    def _recount(self, mine: tuple[int, int], n: int, left: list[tuple[Any, ...]]) -> None:
        """Let another entry with the same bytes stand for the one that is gone."""
        same = self._rows(
            "SELECT o.entry FROM owner o JOIN entry e ON e.n = o.entry WHERE o.user = ?"
            " AND o.head = ? AND e.raw = (SELECT raw FROM entry WHERE n = ?) ORDER BY o.entry",
            *mine,
            n,
        )
        if same and not any(copy for entry, copy in left if (entry,) in same):
            self._db.execute(
                "UPDATE owner SET copy = 1 WHERE user = ? AND head = ? AND entry = ?",
                (*mine, same[0][0]),
            )
            return
        self._db.execute(
            "UPDATE message SET copies = copies - 1 WHERE user = ? AND head = ?", mine
        )

    def _let_go(self, raw: bytes) -> None:
        """Note bytes as gone that no entry needs which is still there."""
        needed = self._rows(
            "SELECT 1 FROM entry WHERE raw = ? AND NOT erased UNION ALL SELECT 1 FROM part t"
            " JOIN entry e ON e.n = t.entry WHERE t.raw = ? AND NOT e.erased LIMIT 1",
            raw,
            raw,
        )
        if needed:
            return
        self._db.execute(
            "INSERT OR IGNORE INTO gone (batch, offset, stored, stored_size, reclaimed)"
            " SELECT batch, offset, stored, stored_size, 0 FROM object WHERE raw = ?",
            (raw,),
        )
        self._db.execute("DELETE FROM object WHERE raw = ?", (raw,))

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._db.execute(query, values).fetchall()
