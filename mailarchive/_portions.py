"""What threads are given at a time: enough that their turns are few, and memory small."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")

AT_ONCE = 1 << 19
"""Bytes that a thread works through before it has to wait for its turn again."""


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
