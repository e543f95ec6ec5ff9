"""A table of faults in the documentation is a table of tests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def missing_tests(page: str, room: Path, *, least: int) -> list[str]:
    """Return the tests that a page of docs/howto names and the room does not have.

    The page must name at least so many: a table that cannot be read names none.
    """
    text = (room.parents[1] / "docs" / "howto" / page).read_text("utf-8")
    named = re.findall(r"^\|.*\| `(test_\w+)` \|$", text, re.MULTILINE)
    code = "".join(path.read_text("utf-8") for path in room.glob("test_*.py"))
    known = set(re.findall(r"^def (test_\w+)\(", code, re.MULTILINE))
    assert len(named) >= least
    return [name for name in named if name not in known]
