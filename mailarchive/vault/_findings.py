"""What a verification is asked, and what it answers."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from attrs import asdict, field, frozen

from mailarchive.vault._decided import NEVER
from mailarchive.vault._lines import Lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mailarchive.vault._packs import Opener
    from mailarchive.vault._turn import Turn
    from mailarchive.vault._verify_log import LogCheck


class Level(StrEnum):
    """How closely to look; `content` and `log` each include the two before them.

    The first two say that the packs are what was put, as fast as they can be read; the
    index is derived from them, and what it says of a message decides nothing.  The last
    two derive it once more, and so name every row that was forged.
    """

    QUICK = "quick"
    """Every header and manifest, their places and order, and which batches the index has."""
    STORED = "stored"
    """Every stored byte against the digest in its member's name."""
    CONTENT = "content"
    """Every message unpacked, and compared with the digest taken before it was put; every
    entry read; and every row of the index against what follows from the packs."""
    LOG = "log"
    """Everything against the log and its checkpoints, and the index as `content` does; no
    key is needed."""

    @property
    def derives(self) -> bool:
        """Whether the index is derived once more, to be compared with."""
        return self in {Level.CONTENT, Level.LOG}


@frozen
class Finding:
    """Something that is not as it was put: `kind` is a stable word, `words` for a person.

    `offset` counts bytes from the start of the pack; either is `None` where it is not
    about one place.
    """

    kind: str
    pack: str | None
    offset: int | None
    words: str


@frozen
class VerifyReport:
    """What was looked at, and what was found.

    `size` is in bytes of packs.  `torn` counts packs that end in something a crash left
    behind, which is no damage.  `erased` counts the messages that were erased, and
    `erased_since` those of them that no checkpoint covers the erasure of: none that was kept
    elsewhere where any was given, else none of the log.  At the level `log`, `leaves`
    counts the lines of the log, and `sealed` those that a checkpoint covers which holds.
    `resume` says where to go on when time was up before every stored byte was looked at.
    """

    level: Level
    packs: int = 0
    batches: int = 0
    entries: int = 0
    objects: int = 0
    size: int = 0
    torn: int = 0
    erased: int = 0
    erased_since: int = 0
    leaves: int = 0
    sealed: int = 0
    resume: str | None = None
    findings: tuple[Finding, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def complete(self) -> bool:
        """Whether, with the ones that it went on from, it has looked at everything."""
        return self.resume is None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON; `ok` and `complete` among them."""
        tree = {**asdict(self), "level": self.level.value}
        return {"ok": self.ok, "complete": self.complete, **tree}


@frozen
class Looking:
    """How one verification looks: how closely, at which bytes, and at which log.

    `signed` is how many lines were signed, where the log itself is not looked at.  `lines`
    says how facts are read, and `now` is the time: nothing was done later than that.
    `erased_since` returns the packs and places of what others have erased meanwhile.
    """

    level: Level
    turn: Turn
    log: LogCheck | None = None
    opener: Opener | None = None
    on_progress: Callable[[int, int], None] | None = None
    signed: int = 0
    lines: Lines = field(factory=Lines)
    now: datetime = NEVER
    erased_since: Callable[[], frozenset[tuple[str, int]]] = frozenset
