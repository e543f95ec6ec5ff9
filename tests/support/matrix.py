"""A table of faults in the documentation is a table of tests."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEADS: Final = ("test", "the test")
"""What stands over the last column of a table of faults."""


def missing_tests(page: str, room: Path, *, least: int) -> list[str]:
    """Return the tests that a page of docs/howto names and the room does not have.

    A row of the table that names none is missing one, and is returned by its first words.
    The page must name at least so many: a table that cannot be read names none.
    """
    rows = list(_rows((room.parents[1] / "docs" / "howto" / page).read_text("utf-8")))
    code = "".join(path.read_text("utf-8") for path in room.glob("test_*.py"))
    known = set(re.findall(r"^def (test_\w+)\(", code, re.MULTILINE))
    assert sum(bool(named) for _, named in rows) >= least
    return [name for what, named in rows for name in named or [what] if name not in known]


def _rows(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield what happens in each row of the tables of faults, and the tests that it names."""
    for is_table, lines in groupby(text.splitlines(), lambda line: line.startswith("|")):
        cells = [_cells(line) for line in lines] if is_table else []
        if cells and cells[0][-1] in HEADS:
            yield from ((row[0], re.findall(r"`(test_\w+)`", row[-1])) for row in cells[2:])


def _cells(line: str) -> list[str]:
    """Return the cells of a row; a bar behind a backslash is part of its cell."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
