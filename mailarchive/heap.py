"""What a large message took of memory goes back to the system once it is let go.

The GNU C library asks the system for each large block by itself; but once a block has been
freed it takes what is as large from its heap, to be quicker the next time (mallopt(3),
`M_MMAP_THRESHOLD`).  Small objects then lie between, and the heap of each thread stays as
large as its largest message made it.  Said here are bounds, which keep it from learning.
"""

from __future__ import annotations

import ctypes
import os

__all__ = ["give_back"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_SAID_BEFORE = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")

APART = 1 << 20
"""Bytes of a block that is asked for by itself."""

SPARED = 8 << 20
"""Bytes at the end of the heap that are kept for what comes next."""


def give_back() -> None:
    """Have the C library give large blocks back, unless the environment says otherwise.

    Every command says it.  A program that archives says it once, before its first run: it
    holds for the whole process, so no run of ours says it to a host that did not.  A system
    that has another C library is left as it is.
    """
    if os.name != "posix" or any(name in os.environ for name in _SAID_BEFORE):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, APART)
        mallopt(_TRIM_THRESHOLD, SPARED)
