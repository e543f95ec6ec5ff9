"""Connections of SQLite that are not left to the garbage collector."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator


@contextmanager
def made(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Close a connection where what it is made ready with fails; else it stays open."""
    try:
        yield connection
    except BaseException:
        connection.close()
        raise
