"""Every stored byte compared with its digest, several messages at a time.

Reading and SHA-256 let other threads run.  A thread says of a message only that it is
whole; what it doubts is looked at again, alone, by whoever can say what is wrong with it.
"""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING

from mailarchive._portions import portions, threads
from mailarchive.vault._errors import Damage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Self

    from mailarchive.vault._packs import Member, Pack


class Comparing:
    """Compares members with their names; a context manager, which leaves no thread behind."""

    def __init__(self) -> None:
        """Start no thread before one is needed."""
        self._threads = threads("verify")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)

    def whole(self, pack: Pack, members: Iterable[Member]) -> Iterator[bool]:
        """Say of each member whether its content and padding are what its name says."""
        some = portions(members, _size)
        return chain.from_iterable(self._threads.map(_whole, repeat(pack), some))


def _whole(pack: Pack, members: Sequence[Member]) -> list[bool]:
    return [_is_whole(pack, member) for member in members]


def _is_whole(pack: Pack, member: Member) -> bool:
    try:
        pack.check_content(*member)
    except Damage:
        return False
    return True


def _size(member: Member) -> int:
    return member[2]
