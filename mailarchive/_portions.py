"""Threads for what lets others run, and what they are given at a time.

Enough that their turns are few, and little enough that memory is small.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")

AT_ONCE = 1 << 19
"""Bytes that a thread works through before it has to wait for its turn again."""
_MOST_THREADS = 4


def threads(name: str, *, spared: int = 0) -> ThreadPoolExecutor:
    """Return a thread for each processor but those spared, at least one and at most four.

    None is started before it is needed.
    """
    most = min(_MOST_THREADS, max((os.cpu_count() or 1) - spared, 1))
    return ThreadPoolExecutor(most, thread_name_prefix=f"mailarchive-{name}")


def portions(items: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """Cut into portions of at least `AT_ONCE` bytes, of which the last may have fewer."""
    portion: list[T] = []
    rest = AT_ONCE
    for item in items:
        portion.append(item)
        rest -= size(item)
        if rest <= 0:
            yield portion
            portion, rest = [], AT_ONCE
    if portion:
        yield portion
