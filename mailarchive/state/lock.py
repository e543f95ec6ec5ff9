"""One run at a time in a vault, or with a state, on one machine."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mailarchive import _durable
from mailarchive.errors import AlreadyRunning
from mailarchive.state.files import os_errors

if TYPE_CHECKING:
    from typing import Self


class JobLock:
    """Held while a run goes on; the kernel lets go of it when the process ends.

    A context manager.  Raises `AlreadyRunning` at once where another process has it, and
    `StateError` where the file cannot be made.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Use the file `path`, which stays: only the lock on it counts."""
        self._path = Path(path)
        self._handle: int | None = None

    def __enter__(self) -> Self:
        """Take the lock or raise."""
        with os_errors("making the lock file", self._path.name):
            _durable.make_folder(self._path.parent)
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise AlreadyRunning(
                "another run that uses the same vault or state is under way",
                suggestions=["wait until it has ended; jobs with one vault take turns"],
            ) from None
        self._handle = handle
        return self

    def __exit__(self, *exc: object) -> None:
        """Let go."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
