"""What the server says of messages before they are read, past those it cannot speak of.

Some server ends the connection when it is asked for the size of a message that it has lost
or cannot read.  Such a message is listed without a size, and its reader finds out the rest.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from mailarchive.errors import SourceUnavailable, Throttled
from mailarchive.sources._imap_commands import look
from mailarchive.sources._imap_errors import is_detached, is_worth_waiting, no_folder
from mailarchive.sources._imap_session import Refused
from mailarchive.sources._imap_syntax import uid_set, uid_sets
from mailarchive.sources._imap_wire import Broken
from mailarchive.sources._imap_witness import Witnesses

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailarchive.sources._imap_commands import Seen
    from mailarchive.sources._imap_line import Line
    from mailarchive.sources._imap_session import Session

LISTED_AT_ONCE = 4_000
"""Messages in one look at their sizes; a quarter of it at first, so that reading can begin."""

POISONOUS = 3
"""Connections that break off at one message, the last time when it is asked for alone."""


class Looking:
    """Looks at messages of one folder; a break costs what was not yet told."""

    def __init__(
        self, line: Line, folder: str, opened: Callable[[Session], object], *, closely: bool
    ) -> None:
        """Take how to open the folder, and whether to ask for dates and flags as well."""
        self._line, self._opened, self._closely = line, opened, closely
        self._patience = line.patience()
        self._witnesses = Witnesses(line, folder, self._is_told)
        self._breaks: Counter[int] = Counter()
        self._found: dict[int, Seen] = {}
        self._work: deque[list[int]] = deque()

    def at(self, uids: Sequence[int]) -> dict[int, Seen]:
        """Return what is told of each; raises our errors where the server fails at them all."""
        self._found = {}
        sets = uid_sets(uids, self._line.limits.command_octets, LISTED_AT_ONCE)
        self._work.extend(some for _, some in sets)
        while self._work:
            self._ask(self._work.popleft())
        return self._found

    def _ask(self, batch: list[int]) -> None:
        before = len(self._found)
        try:
            session = self._line.session()
            self._opened(session)
            for uid, seen in look(session, uid_set(batch), batch, closely=self._closely):
                self._found[uid] = seen
            self._patience.progress()
            if len(self._found) > before:
                self._ask_for_rest(batch)
        except Refused as error:
            self._after_refusal(batch, error)
        except (Broken, SourceUnavailable, Throttled) as error:
            self._line.drop()
            if len(self._found) > before:
                self._patience.progress()
            self._after_break(batch, error)

    def _ask_for_rest(self, batch: list[int]) -> None:
        """Ask again for what was not told beside others: some servers tell so many at a time."""
        left = [uid for uid in batch if uid not in self._found]
        sets = uid_sets(left, self._line.limits.command_octets, LISTED_AT_ONCE)
        self._work.extendleft(some for _, some in sets)

    def _after_refusal(self, batch: list[int], error: Refused) -> None:
        if not is_worth_waiting(error):
            self._divide([uid for uid in batch if uid not in self._found], error)
            return
        if is_detached(error.text):
            self._line.drop()
        self._patience.after(error)
        self._work.appendleft(batch)

    def _divide(self, left: list[int], error: Refused) -> None:
        """Find the message that a refusal is about; raises our error where it is about none."""
        alone = len(left) == 1
        if error.status == "BAD" or (alone and not self._witnesses.served(left)):
            raise no_folder(self._line.place, "listing a folder", error) from None
        if not alone:
            middle = len(left) // 2
            self._work.extendleft(some for some in (left[middle:], left[:middle]) if some)

    def _after_break(
        self, batch: list[int], error: Broken | SourceUnavailable | Throttled
    ) -> None:
        """Ask for the rest; servers tell in order, so the first of it is where this one broke."""
        left = [uid for uid in batch if uid not in self._found]
        if not left:
            return
        suspect = left[0]
        self._breaks[suspect] += isinstance(error, Broken)
        breaks = self._breaks[suspect]
        if len(left) == 1 and breaks >= POISONOUS:
            if self._witnesses.served(left):
                self._patience.progress()
            return
        self._patience.after(error)
        alone = left[:1] if breaks >= POISONOUS - 1 else []
        self._work.extendleft(some for some in (left[len(alone) :], alone) if some)

    def _is_told(self, session: Session, uid: int) -> bool:
        # To its end: what is left unread of an answer would stand before the next one.
        return bool(list(look(session, b"%d" % uid, [uid], closely=self._closely)))
