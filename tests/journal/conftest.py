"""What the tests of the journal room share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from mailarchive import journal
from mailarchive.errors import MalformedReport, NotAJournalReport

if TYPE_CHECKING:
    from collections.abc import Callable

CORPUS = Path(__file__).parents[1] / "corpus" / "journal"

Look: TypeAlias = "Callable[[bytes], journal.JournalReport | None]"


def look(raw: bytes) -> journal.JournalReport | None:
    """Return the report, what could be read of a malformed one, or `None` for other mail."""
    try:
        return journal.decode(raw)
    except NotAJournalReport:
        return None
    except MalformedReport as error:
        partial = error.partial
    assert isinstance(partial, journal.JournalReport)
    return partial


@pytest.fixture(name="look", scope="session")
def look_fixture() -> Look:
    """Return the function that reads a report, malformed or not."""
    return look


@pytest.fixture(scope="session")
def samples() -> dict[str, bytes]:
    """Return the sample reports by name."""
    return {path.stem: path.read_bytes() for path in sorted(CORPUS.glob("*.eml"))}


@pytest.fixture(scope="session")
def expected() -> dict[str, dict[str, Any]]:
    """Return the answers to the samples by name."""
    answers: dict[str, dict[str, Any]] = json.loads((CORPUS / "expected.json").read_bytes())
    return answers


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a long run try more mutations: `pytest tests/journal --mutations 1000000`."""
    parser.addoption("--mutations", default="15000", help="how many mutations of reports to try")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that asks for `sample` each of their names in turn."""
    if "sample" in metafunc.fixturenames:
        metafunc.parametrize("sample", sorted(path.stem for path in CORPUS.glob("*.eml")))
