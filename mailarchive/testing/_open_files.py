"""How many files and connections this process has open."""

from __future__ import annotations

import os
from pathlib import Path

_OPEN = Path("/proc/self/fd")


def can_be_counted() -> bool:
    """Whether this system tells."""
    return _OPEN.is_dir()


def open_files() -> int:
    """Return how many there are; 0 where the system does not tell."""
    return len(os.listdir(_OPEN)) if can_be_counted() else 0  # noqa: PTH208 - a name each is all that is asked
