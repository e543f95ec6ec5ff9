"""How far each folder is done, and who is at it: checkpoints and locks."""

from __future__ import annotations

from mailarchive.state.files import FileCheckpoints
from mailarchive.state.lock import JobLock
from mailarchive.state.sqlite import SqliteCheckpoints

__all__ = ["FileCheckpoints", "JobLock", "SqliteCheckpoints"]
