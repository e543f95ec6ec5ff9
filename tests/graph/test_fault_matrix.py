"""The table of faults in the documentation is a table of tests."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "howto" / "microsoft-graph.md"


def test_every_row_of_the_fault_matrix_is_a_test() -> None:
    """What the documentation promises is tried, under the name that it gives."""
    named = re.findall(r"^\|.*\| `(test_\w+)` \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    code = "".join(path.read_text("utf-8") for path in HERE.glob("test_*.py"))
    known = set(re.findall(r"^def (test_\w+)\(", code, re.MULTILINE))

    assert len(named) >= 30
    assert [name for name in named if name not in known] == []
