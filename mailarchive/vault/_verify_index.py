"""Comparing the index with the packs: its batches alone, or every row that follows from them."""

from __future__ import annotations

from contextlib import closing
from itertools import zip_longest
from typing import TYPE_CHECKING

from mailarchive.errors import SinkCorrupt
from mailarchive.vault import _schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    from mailarchive.vault._index import Index
    from mailarchive.vault._recovery import Where

    _Find: TypeAlias = Callable[[str, str | None, int | None, str], None]

_BATCHES = (
    "SELECT b.sequence, b.digest, p.name, b.offset FROM batch b LEFT JOIN pack p ON p.n = b.pack"
)


class IndexCheck:
    """Tells what of an index is not what the batches that were found lead to."""

    def __init__(self, index: Index, find: _Find, *, thorough: bool) -> None:
        """Hand each finding to `find`; look at every page of the index where `thorough`."""
        self._index = index
        self._find = find
        self._thorough = thorough

    def batches(self, found: Sequence[Where]) -> None:
        """Compare which batches it has, and where, with those that there are."""
        try:
            if self._is_sound() and not self._lacks_batches(found):
                there = {(it.sequence, it.digest.value, it.pack, it.offset) for it in found}
                if differing := there.symmetric_difference(self._index.rows(_BATCHES)):
                    self._differs(len(differing), "batch")
        except SinkCorrupt as error:
            self._find("index", None, None, str(error))

    def rows(self, found: Sequence[Where], derived: Index) -> None:
        """Compare every row with an index that was derived anew; raises `SinkCorrupt`."""
        if not self._is_sound() or self._lacks_batches(found):
            return  # the rest would only repeat what is missing
        for table, query in _schema.CONTENTS.items():
            with closing(self._index.stream(query)) as ours, closing(derived.stream(query)) as new:
                differing = sum(mine != made for mine, made in zip_longest(ours, new))
            if differing:
                self._differs(differing, table)

    def _is_sound(self) -> bool:
        query = f"PRAGMA {'integrity' if self._thorough else 'quick'}_check(1)"
        sound: bool = self._index.rows(query)[0][0] == "ok"
        if not sound:
            self._find("index", None, None, "the index is damaged: rebuild it")
        return sound

    def _lacks_batches(self, found: Sequence[Where]) -> bool:
        """Whether it has batches that are not there, each of which is named."""
        there = {where.digest.value for where in found}
        lost = [row for row in self._index.rows(_BATCHES) if row[1] not in there]
        for _, _, pack, offset in lost:
            self._find("missing-batch", pack, offset, "the index knows a batch that is not there")
        return bool(lost)

    def _differs(self, rows: int, table: str) -> None:
        words = f"{rows} rows of table {table} do not follow from the packs"
        self._find("index", None, None, f"{words}: rebuild the index")


def missing_objects(derived: Index) -> Iterator[tuple[str, str, int, str]]:
    """Yield a finding for each batch that has entries whose bytes are stored nowhere."""
    rows = derived.rows(
        "SELECT p.name, b.offset, count(*) FROM"
        " (SELECT batch, raw FROM entry WHERE NOT erased UNION ALL"
        "  SELECT e.batch, t.raw FROM part t JOIN entry e ON e.n = t.entry AND NOT e.erased) w"
        " JOIN batch b ON b.n = w.batch JOIN pack p ON p.n = b.pack"
        " WHERE w.raw NOT IN (SELECT raw FROM object) GROUP BY b.n"
    )
    for pack, offset, count in rows:
        yield "missing-object", pack, offset, f"{count} messages of this batch are stored nowhere"
