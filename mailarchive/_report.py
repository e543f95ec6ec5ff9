"""What a run did, in counts that add up."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from attrs import field, frozen

from mailarchive._model import (
    Archived,
    Failed,
    Kept,
    Quarantined,
    Removed,
    Skipped,
    Stored,
    Vanished,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailarchive._model import CoverageGap, Folder, MessageRef, Outcome, RemovalResult

LISTED_AT_MOST = 1000
"""How many unexpected items a report names; all of them are counted."""

REASONS_AT_MOST = 10
"""How many reasons for keeping a message a report names: they are the words of a source."""


@frozen
class FolderFailure:
    """A folder that could not be finished: the error's code and sentence."""

    folder: Folder
    code: str
    message: str
    suggestions: tuple[str, ...] = ()


@frozen
class RunReport:
    """What a run did.

    `listed + retried == archived + quarantined + skipped + vanished + failed`: every message
    that was listed, or taken from a retry list, is accounted for once.  `archived` is
    `stored` (new entries; `size` bytes) and `present` (already there); a message that stands
    at another place at its source is a new entry, though a vault stores its bytes once.
    `waiting` is the length of all retry lists after the run; `unripe` messages wait at the
    source, which lists them once they are old enough, say, and make no run fail.  In a dry
    run every message is skipped:
    `would_archive` (`size` bytes; without the sink nobody knows which are there already) and
    `would_quarantine` say how many of them a run would not skip.  `unexpected` items do not
    belong in this source: they are archived or quarantined, never removed, and the first
    1,000 are named in `unexpected_refs`.
    `defects` counts the quarantined messages at which the decoder itself broke, so that the
    fault may be ours and not theirs: the report is not ok.
    `kept` messages were to be removed and are still at the source: `kept_because` counts them
    by reason, for the first ten reasons there are.
    `relisted` folders had lost their checkpoint and were listed anew; those in `left_out`
    are at the source and were not asked for; what the choice of folders names in `unmatched`
    no folder fits, so that it may be misspelt; `gaps` are what the source cannot reach at all,
    which does not make a run fail.
    """

    source: str
    dry_run: bool = False
    folders: int = 0
    listed: int = 0
    retried: int = 0
    stored: int = 0
    present: int = 0
    size: int = 0
    quarantined: int = 0
    skipped: int = 0
    would_archive: int = 0
    would_quarantine: int = 0
    vanished: int = 0
    failed: int = 0
    waiting: int = 0
    unripe: int = 0
    removed: int = 0
    kept: int = 0
    unowned: int = 0
    unexpected: int = 0
    defects: int = 0
    unexpected_refs: tuple[MessageRef, ...] = field(default=(), repr=False)
    kept_because: tuple[tuple[str, int], ...] = ()
    relisted: tuple[Folder, ...] = ()
    left_out: tuple[Folder, ...] = ()
    unmatched: tuple[str, ...] = field(default=(), repr=lambda them: f"<{len(them)}>")
    gaps: tuple[CoverageGap, ...] = ()
    failures: tuple[FolderFailure, ...] = ()
    observer_errors: int = 0
    finished: bool = False

    @property
    def archived(self) -> int:
        """Messages with a receipt, new or not."""
        return self.stored + self.present

    @property
    def adds_up(self) -> bool:
        """Whether every message is accounted for once; false only while a page is open."""
        done = self.archived + self.quarantined + self.skipped + self.vanished + self.failed
        return self.listed + self.retried == done

    @property
    def ok(self) -> bool:
        """Whether nothing failed, waits or broke; quarantined messages are safe."""
        return self.finished and not (self.failed or self.waiting or self.failures or self.defects)


@frozen
class Settled:
    """One outcome and what the report and the removal need to know beside it.

    `would` is the count of the report that a dry run adds it to.
    """

    outcome: Outcome
    removable: bool = False
    unexpected: bool = False
    unowned: bool = False
    defect: bool = False
    size: int = 0
    would: Literal["would_archive", "would_quarantine"] | None = None


_COUNTED_AS = {
    Quarantined: "quarantined",
    Skipped: "skipped",
    Vanished: "vanished",
    Failed: "failed",
}


class Tally:
    """Counts while a run goes on."""

    def __init__(self, source: str, *, dry_run: bool) -> None:
        """Start at nothing."""
        self._source = source
        self._dry_run = dry_run
        self._counts: Counter[str] = Counter()
        self._unexpected: list[MessageRef] = []
        self._kept_because: Counter[str] = Counter()
        self.relisted: list[Folder] = []
        self.left_out: tuple[Folder, ...] = ()
        self.unmatched: tuple[str, ...] = ()
        self.unripe = 0
        self.gaps: tuple[CoverageGap, ...] = ()
        self.failures: list[FolderFailure] = []
        self.finished = False

    def add(self, what: str, count: int = 1) -> None:
        """Add to one count."""
        self._counts[what] += count

    def settle(self, page: Sequence[Settled]) -> Counter[str]:
        """Count the outcomes of a page and return its counts."""
        counts: Counter[str] = Counter()
        for settled in page:
            outcome = settled.outcome
            if isinstance(outcome, Archived):
                counts[outcome.receipt.outcome.value] += 1
                counts["size"] += settled.size if outcome.receipt.outcome is Stored.STORED else 0
            else:
                counts[_COUNTED_AS[type(outcome)]] += 1
            if settled.would is not None:
                counts[settled.would] += 1
                counts["size"] += settled.size
            counts["unowned"] += settled.unowned
            counts["unexpected"] += settled.unexpected
            counts["defects"] += settled.defect
            if settled.unexpected and len(self._unexpected) < LISTED_AT_MOST:
                self._unexpected.append(outcome.ref)
        self._counts.update(counts)
        return counts

    def removals(self, results: Sequence[RemovalResult]) -> tuple[int, int]:
        """Count what became of removals; return how many were removed and how many kept."""
        removed = sum(isinstance(each, Removed) for each in results)
        kept = [each.why for each in results if isinstance(each, Kept)]
        self._counts["removed"] += removed
        self._counts["kept"] += len(kept)
        for why in kept:
            if why in self._kept_because or len(self._kept_because) < REASONS_AT_MOST:
                self._kept_because[why] += 1
        return removed, len(kept)

    def report(self) -> RunReport:
        """Return the report so far."""
        return RunReport(
            source=self._source,
            dry_run=self._dry_run,
            unexpected_refs=tuple(self._unexpected),
            kept_because=tuple(self._kept_because.most_common()),
            relisted=tuple(self.relisted),
            left_out=self.left_out,
            unmatched=self.unmatched,
            unripe=self.unripe,
            gaps=self.gaps,
            failures=tuple(self.failures),
            finished=self.finished,
            **self._counts,
        )
