"""Which stored bytes one verification looks at: it goes on where the last one ended."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailarchive.errors import ConfigurationError
from mailarchive.vault import _tar

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

_RESUME = re.compile(r"([^:]{1,100}):([0-9]{1,18})\Z")


class Turn:
    """Takes batches, pack by pack in the order of their names, until its time is used up.

    At least one is taken, however little time there is, so that turns come to an end.
    """

    def __init__(
        self, resume: str | None, budget: timedelta | None, monotonic: Callable[[], float]
    ) -> None:
        """Begin where `resume` says; raises `ConfigurationError` where that says nothing."""
        self._start = ("", 0) if resume is None else _parsed(resume)
        self._monotonic = monotonic
        self._deadline = None if budget is None else monotonic() + budget.total_seconds()
        self._begun = False
        self._end: tuple[str, int] | None = None

    @property
    def resume(self) -> str | None:
        """Where the next turn begins; `None` where there is nothing left."""
        return None if self._end is None else f"{self._end[0]}:{self._end[1]}"

    def covers(self, pack: str, offset: int) -> bool:
        """Whether what stands there was within this turn."""
        place = pack, offset
        return self._start <= place and (self._end is None or place < self._end)

    def takes(self, pack: str, offset: int) -> bool:
        """Whether this turn looks at the stored bytes of the batch that begins there."""
        if not self.covers(pack, offset):
            return False
        if self._begun and self._deadline is not None and self._monotonic() >= self._deadline:
            self._end = pack, offset
            return False
        self._begun = True
        return True


def _parsed(resume: str) -> tuple[str, int]:
    found = _RESUME.match(resume)
    if found is None or not _tar.is_pack(found[1]):
        raise ConfigurationError(
            "this is no place to go on with a verification",
            suggestions=["give the `resume` of the report before, or none to begin anew"],
        )
    return found[1], int(found[2])
