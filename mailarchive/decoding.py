"""The decoders that a run is given: for ordinary mailboxes and for journal mailboxes.

They join what the floor below keeps apart: the journal grammar and ordinary headers.
"""

from __future__ import annotations

from enum import StrEnum

from attrs import evolve, field, frozen

from mailarchive import headers, journal
from mailarchive._model import Decoded, Span
from mailarchive.errors import NotAJournalReport

NO_REPORT = "no journal report"
"""Why a message in a journal mailbox is unexpected."""


def ordinary(raw: bytes, /) -> Decoded:
    """Read any message by its own headers; never raises."""
    return Decoded(headers.envelope(raw))


class Otherwise(StrEnum):
    """What becomes of a message in a journal mailbox that is no journal report."""

    ARCHIVE = "archive"
    QUARANTINE = "quarantine"


@frozen
class JournalMailbox:
    """Reads journal reports; what is none is archived as ordinary mail, or quarantined.

    Either way it is listed in the run's report and never removed at the source.
    """

    otherwise: Otherwise = field(default=Otherwise.ARCHIVE, converter=Otherwise)

    def __call__(self, raw: bytes, /) -> Decoded:
        """Return the report's envelope and originals; raises `DecodeError`."""
        try:
            report = journal.decode(raw)
        except NotAJournalReport:
            if self.otherwise is Otherwise.QUARANTINE:
                raise
            return evolve(ordinary(raw), unexpected=NO_REPORT)
        originals = report.originals
        first = originals[0]
        content = first.of(raw) if isinstance(first, Span) else first
        envelope = evolve(report.envelope, date=headers.date(content))
        defects = tuple(str(each.code) for each in report.defects)
        return Decoded(envelope, originals, report, defects)
