"""One listing of an mbox: what stands behind all that was listed before, and is still there."""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING

from mailarchive.errors import CheckpointInvalid
from mailarchive.sources._files_mbox_scan import MboxVariant, Scanner
from mailarchive.sources._files_mbox_token import Listed, Prefix, settled_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from io import FileIO

    from mailarchive.sources._files_mbox_scan import Entry


class Listing:
    """Finds what is new in a file, of which others may change any part meanwhile."""

    def __init__(
        self, name: str, file: FileIO, variant: MboxVariant, clock: Callable[[], datetime]
    ) -> None:
        """Note the state before anything is read: a change from now on makes it another one."""
        self._name, self._file, self._variant, self._clock = name, file, variant, clock
        self._size = os.fstat(file.fileno()).st_size
        self._prefix = Prefix(file)
        self._first = self._scanner()
        self.state = self._state()
        """The state of the file; `None` where it is not settled."""

    def _state(self) -> str | None:
        return settled_state(os.fstat(self._file.fileno()), self._clock())

    def _scanner(self) -> Scanner:
        return Scanner(self._file, self._size, self._variant)

    @property
    def begun(self) -> bool:
        """Whether the file is no more than the beginning of a line `From ...`."""
        return self._first.begun

    def resumed(self, token: str) -> Listed:
        """Return what was listed; raises `CheckpointInvalid` where it is not there any more."""
        listed = Listed.parse(token)
        if listed is None:
            raise CheckpointInvalid(
                f"source {self._name}: the token is none that this release gives for an mbox",
                suggestions=["nothing: the file is listed anew"],
            )
        same = self.state is not None and self.state == listed.state
        if not same and not self._has(listed):
            raise self._rewritten()
        return listed

    def _has(self, listed: Listed) -> bool:
        """Tell whether the file has what was listed, from the top on, and begins it there."""
        return self._prefix.upto(listed.end) == listed.digest and self._begins(listed.start)

    def _begins(self, start: int) -> bool:
        """Tell whether a message begins where one was listed.

        A length counts only once all of its message is there, and what follows it.  A line
        in it that looks like a From_ line divided the message until then.
        """
        if self._variant is not MboxVariant.MBOXCL2:
            return True
        scanner = self._scanner()
        starts = (each.start for each in scanner.entries(scanner.top() or 0))
        return next((each for each in starts if each >= start), None) == start

    def entries(self, listed: Listed | None) -> Iterator[Entry]:
        """Yield what comes after what was listed: its last message too, if it ends elsewhere now.

        It grew, or what was the beginning of a line in it has become a From_ line.
        """
        scanner = self._first
        if listed is None:
            yield from scanner.entries(scanner.top() or 0)
            return
        entries = scanner.entries(listed.start)
        last = next(entries, None)
        if last is None:
            raise self._rewritten()
        if last.length != listed.length:
            yield last
        yield from entries

    def upto(self, some: Sequence[Entry]) -> Listed:
        """Return what is listed once a page is; raises `CheckpointInvalid`.

        Where somebody may be writing, the page is looked for again after the digest was
        taken: no digest stands for bytes in which other messages were found.
        """
        last = some[-1]
        digest = self._prefix.upto(last.end)
        if self.state is None or self.state != self._state():
            again = self._scanner().entries(some[0].start)
            if list(islice(again, len(some))) != list(some):
                raise self._rewritten()
        return Listed(last.start, last.length, digest, self.state)

    def _rewritten(self) -> CheckpointInvalid:
        return CheckpointInvalid(
            f"source {self._name}: the mbox was written anew since it was last read",
            suggestions=["nothing: it is listed anew"],
        )
