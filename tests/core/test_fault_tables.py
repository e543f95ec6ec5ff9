"""What holds a table of faults to the tests finds the row that has none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from support.matrix import missing_tests

ROOT: Final = Path(__file__).parents[2]
TABLE = """
| what happens | what the source does | the test |
|---|---|---|
| it breaks \\| bends | goes on | `test_it_breaks` |
| it stalls | waits | {} |

| setting | what it takes |
|---|---|
| `page` | a number |
"""


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A room of tests with one test in it, and an empty docs/howto."""
    room = tmp_path / "tests" / "room"
    room.mkdir(parents=True)
    (room / "test_room.py").write_text("def test_it_breaks() -> None: ...\n")
    (tmp_path / "docs" / "howto").mkdir(parents=True)
    return room


@pytest.mark.parametrize(
    ("cell", "missing"),
    [
        ("`test_it_breaks`", []),
        ("`test_it_stalls`", ["test_it_stalls"]),
        ("`test_it_breaks`, `test_it_stalls`", ["test_it_stalls"]),
        ("", ["it stalls"]),
        ("soon", ["it stalls"]),
    ],
)
def test_a_row_without_its_test_is_missing_one(room: Path, cell: str, missing: list[str]) -> None:
    """Whether it names a test that there is not, or none at all."""
    (room.parents[1] / "docs" / "howto" / "page.md").write_text(TABLE.format(cell))

    assert missing == missing_tests("page.md", room, least=1)


def test_a_table_that_cannot_be_read_is_no_empty_one(room: Path) -> None:
    """A column of another name names no tests, and the page is known to have some."""
    text = TABLE.format("`test_it_breaks`").replace("the test", "tried")
    (room.parents[1] / "docs" / "howto" / "page.md").write_text(text)

    with pytest.raises(AssertionError):
        missing_tests("page.md", room, least=1)


def test_every_page_with_tests_in_a_table_is_held_to_them() -> None:
    """A table of faults that no test reads could promise anything."""
    pages = {
        path.name
        for path in (ROOT / "docs" / "howto").glob("*.md")
        if "| `test_" in path.read_text("utf-8")
    }
    code = "".join(path.read_text("utf-8") for path in (ROOT / "tests").glob("*/test_*.py"))

    held = set(re.findall(r'missing_tests\(\s*"([\w.-]+)"', code))

    assert sorted(pages - held) == []
