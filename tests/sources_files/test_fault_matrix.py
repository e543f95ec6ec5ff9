"""The table of what can go wrong in the documentation is a table of tests."""

from __future__ import annotations

from pathlib import Path

from support.matrix import missing_tests


def test_every_row_of_the_fault_matrix_is_a_test() -> None:
    """What the documentation promises is tried, under the name that it gives."""
    assert missing_tests("import-files.md", Path(__file__).parent, least=15) == []
