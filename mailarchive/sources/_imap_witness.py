"""Whether it is the server that fails, or one message: others are asked for at that moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailarchive.errors import SourceUnavailable, Throttled
from mailarchive.sources._imap_commands import opened, uids_from
from mailarchive.sources._imap_session import Refused
from mailarchive.sources._imap_wire import Broken

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from mailarchive.sources._imap_line import Line
    from mailarchive.sources._imap_session import Session

_WITNESSES = 4
"""Other messages that are asked for, all over the folder."""


class Witnesses:
    """The other messages of one folder, of which a few are asked for, at each turn others."""

    def __init__(self, line: Line, folder: str, served: Callable[[Session, int], bool]) -> None:
        """Take where they are, and how to tell whether the server serves one of them."""
        self._line, self._folder, self._served = line, folder, served
        self._turn = 0

    def served(self, suspects: Collection[int]) -> bool:
        """Whether the server serves others than the suspects now."""
        try:
            session = self._opened()
            there = [u for u in uids_from(session, 1, self._line.limits) if u not in suspects]
            self._turn += 1
            return any(self._is_served(uid) for uid in _spread(there, self._turn))
        except (Refused, Broken, SourceUnavailable, Throttled):
            self._line.drop()
            return False

    def _is_served(self, uid: int) -> bool:
        try:
            return self._served(self._opened(), uid)
        except Refused:
            return False
        except Broken:
            # It may be another one of those: the next has its say.
            self._line.drop()
            return False

    def _opened(self) -> Session:
        session = self._line.session()
        opened(session, self._line.place, self._folder)
        return session


def _spread(uids: Sequence[int], turn: int) -> list[int]:
    """Return a few of these from all over, at each turn others."""
    few = min(_WITNESSES, len(uids))
    return [uids[(turn + place * len(uids) // few) % len(uids)] for place in range(few)]
