"""An observer that shows a run's progress on a terminal, and its report afterwards."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

from mailarchive._cli._text import columns, counted, safe, size
from mailarchive.events import (
    BatchStored,
    CheckpointLost,
    FolderFailed,
    FolderStarted,
    PageDone,
    SourceNotice,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mailarchive.archiver import RunReport
    from mailarchive.events import Event

EVERY = 0.2
"""Seconds between two updates of the line."""
EVERY_PLAIN = 10.0
"""The same where the output is no terminal but a log."""

_LOST = "what was listed before cannot be told from what is new"
"""Of whatever source: numbered or written anew, a sync state lost, or one of an older release."""


class Progress:
    """Shows one line that grows: messages, bytes, and how many a second."""

    def __init__(
        self,
        out: TextIO | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write to `out`, standard error unless given."""
        self._out = out or sys.stderr
        self._clock = clock
        self._live = self._out.isatty()
        self._start = self._shown = clock()
        self._messages = 0
        self._bytes = 0
        self._folder = ""

    def __call__(self, event: Event) -> None:
        """Count the event and show the line when it is time."""
        match event:
            case FolderStarted(folder=folder):
                self._folder = safe(folder.name, 40)
            case BatchStored(stored=stored, present=present, size=more):
                self._messages += stored + present
                self._bytes += more
                self._show()
            case PageDone(quarantined=held, skipped=skipped, vanished=gone, failed=failed):
                self._messages += held + skipped + gone + failed
            case SourceNotice(message=message):
                self._say(f"note: {message}")
            case CheckpointLost(folder=folder):
                self._say(f"{safe(folder.name)}: {_LOST}; listing all of it")
            case FolderFailed(folder=folder, code=code):
                self._say(f"{safe(folder.name)}: failed ({code})")

    def close(self) -> None:
        """End the line."""
        if self._live and self._messages:
            self._line()
            self._out.write("\n")
            self._out.flush()

    def _show(self) -> None:
        now = self._clock()
        if now - self._shown >= (EVERY if self._live else EVERY_PLAIN):
            self._shown = now
            self._line()

    def _line(self) -> None:
        seconds = max(self._clock() - self._start, 1e-3)
        rate = f"{self._messages / seconds:,.0f} messages/s"
        text = f"{self._folder}: {self._messages:,} messages, {size(self._bytes)}, {rate}"
        self._out.write(f"\r\x1b[K{text}" if self._live else f"{text}\n")
        self._out.flush()

    def _say(self, text: str) -> None:
        self._out.write(f"\r\x1b[K{text}\n" if self._live else f"{text}\n")
        self._out.flush()


def unmatched(reports: Sequence[RunReport]) -> str:
    """Return what no folder of any mailbox fits; empty where each pattern fits one."""
    told = [set(report.unmatched) for report in reports if report.folders or report.finished]
    return idle("folder", set.intersection(*told) if told else ())


def idle(what: str, patterns: Iterable[str]) -> str:
    """Return in words that these patterns fit nothing; empty where there are none."""
    names = ", ".join(f'"{safe(each)}"' for each in sorted(patterns))
    return f"  fits no {what}, so is it written right? {names}" if names else ""


def _kept(report: RunReport) -> Iterator[tuple[str, str]]:
    """Yield what was not removed, by reason."""
    for why, count in report.kept_because:
        yield f"{count:,}", f"not removed: {safe(why)}"
    others = report.kept - sum(count for _, count in report.kept_because)
    yield f"{others:,}", "not removed, for other reasons"


def render(report: RunReport) -> str:
    """Return the report of a run in words and numbers."""
    would = report.would_archive + report.would_quarantine
    rows = [
        (f"{report.listed:,}", f"messages listed in {counted(report.folders, 'folder')}"),
        (f"{report.retried:,}", "taken from the retry list"),
        (f"{report.would_archive:,}", f"would be archived ({size(report.size)})"),
        (f"{report.stored:,}", f"newly archived ({size(report.size)})"),
        (f"{report.present:,}", "in the archive already"),
        (f"{report.unowned:,}", "of nobody known (an auditor sees them)"),
        (f"{report.quarantined:,}", "quarantined, whole and apart"),
        (f"{report.defects:,}", "of these because the decoder itself broke: report it"),
        (f"{report.would_quarantine:,}", "would be quarantined, whole and apart"),
        (f"{report.skipped - would:,}", "skipped"),
        (f"{report.vanished:,}", "gone before they were read"),
        (f"{report.unexpected:,}", "no journal report, and left at the source"),
        (f"{report.removed:,}", "removed at the source"),
        *_kept(report),
        (f"{report.failed:,}", "failed"),
        (f"{report.waiting:,}", "waiting on the retry list"),
        (f"{report.unripe:,}", "not ripe: left at the source for a later run"),
    ]
    shown = [row for row in rows if row[0] != "0"] or [("0", "messages, nothing new")]
    lines = [columns((number.rjust(9), words) for number, words in shown)]
    for failure in report.failures:
        hints = "".join(f"; {hint}" for hint in failure.suggestions)
        lines.append(f"  folder {safe(failure.folder.name)}: {failure.message}{hints}")
    if report.left_out:
        names = ", ".join(safe(folder.name) for folder in report.left_out)
        lines.append(f"  left out, because nobody asked for them: {names}")
    for gap in report.gaps:
        hints = "".join(f"; {hint}" for hint in gap.suggestions)
        lines.append(f"  not reached: {gap.message}{hints}")
    lines.extend(
        f"  folder {safe(folder.name)}: {_LOST}, so all of it was listed;"
        " what stands at another place by now counts as newly archived"
        for folder in report.relisted
    )
    return "\n".join(lines)
