"""Whether the batches of a vault follow one another: none is missing, twice there, or left out.

Each names the one before it, in whatever pack, so that none can go missing between.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TypeAlias

    from mailarchive.vault._recovery import Where

    _Finding: TypeAlias = tuple[str, str, int, str]
    """The kind of the finding, the pack, where in it, and words."""


def doubts(
    wrong: Iterable[Where], found: Sequence[Where], hidden: Iterable[Where]
) -> Iterator[_Finding]:
    """Yield what is wrong with the order of those that were `found`.

    `wrong` are the misnumbered ones, and `hidden` those that the index leaves out.
    """
    for where in wrong:
        words = f"batch {where.sequence} has another number than the one that it names leads to"
        yield "order", where.pack, where.offset, words
    yield from _order(found)
    yield from _unhidden(found, hidden)


def _order(found: Sequence[Where]) -> Iterator[_Finding]:
    if found and found[0].sequence != 1:
        yield _gap(0, found[0])
    for before, where in pairwise(found):
        if where.sequence == before.sequence:
            words = f"two batches are number {where.sequence}"
            yield "rival", where.pack, where.offset, words
        elif where.sequence != before.sequence + 1:
            yield _gap(before.sequence, where)
        elif where.previous != before.digest:
            words = f"batch {where.sequence} followed another one than there is now"
            yield "order", where.pack, where.offset, words


def _gap(before: int, where: Where) -> _Finding:
    words = f"batches {before + 1} to {where.sequence - 1} are not there"
    return "gap", where.pack, where.offset, words


def _unhidden(found: Sequence[Where], hidden: Iterable[Where]) -> Iterator[_Finding]:
    """Only a batch of a poisoned pack may be whole, and still not count."""
    poisoned: dict[str, int] = {}
    named = {where.previous for where in found}
    for where in found:
        poisoned.update(where.poisoned)
    for where in hidden:
        if where.digest in named or where.end <= poisoned.get(where.pack, where.end):
            words = f"batch {where.sequence} is whole, and the index leaves it out"
            yield "hidden", where.pack, where.offset, words
