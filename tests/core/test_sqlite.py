"""Connections of SQLite are closed by whoever made them, also where that came to nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mailarchive._sqlite import made
from mailarchive.errors import StateError
from mailarchive.sources._graph_seen import SeenIds

if TYPE_CHECKING:
    from pathlib import Path


def is_closed(connection: sqlite3.Connection) -> bool:
    """Whether it takes no statement any more."""
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return True
    return False


def test_what_cannot_be_made_ready_is_closed() -> None:
    """Nothing that failed to open leaves a file open."""
    connection = sqlite3.connect(":memory:")

    with pytest.raises(sqlite3.OperationalError), made(connection) as same:
        same.execute("no statement")

    assert is_closed(connection)


def test_what_was_made_ready_stays_open() -> None:
    """It is for whoever asked for it to close it."""
    with made(sqlite3.connect(":memory:")) as connection:
        pass

    with closing(connection):
        assert not is_closed(connection)


def test_a_file_that_is_no_database_is_asked_again_when_it_has_become_one(tmp_path: Path) -> None:
    """A listing that could not be opened is kept open by nobody, and not taken for open."""
    path = tmp_path / "seen.db"
    path.write_bytes(b"no database at all" * 100)
    seen = SeenIds(path)

    with pytest.raises(StateError):
        seen.folder("graph", "inbox", "1", 0)
    path.unlink()

    assert seen.folder("graph", "inbox", "1", 0).complete
    seen.close()
