"""The decoders that a run is given: for ordinary mailboxes and for journal mailboxes.

They join what the floor below keeps apart: the journal grammar and ordinary headers.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from attrs import evolve, field, frozen

from mailarchive import headers, journal
from mailarchive._model import Decoded, Span
from mailarchive.errors import MalformedReport, NotAJournalReport
from mailarchive.journal import Defect, DefectCode, JournalReport, Limits
from mailarchive.journal.trust import Action, Policy, judge

NO_REPORT = "no journal report"
"""Why a message in a journal mailbox is unexpected."""
_REFUSED: Final = (
    "look whether the report is genuine, and release it for those it names",
    "if it is, set what the policy of trust expects to what really comes in",
)

_FORGEABLE: Final = Defect(DefectCode.SUBJECT_MULTILINE)
"""Of the report as a whole: its subject has line breaks, and no rule tells where it ends."""
_FORGED: Final = "a journal report in which the subject may have forged recipients"
_RESEMBLES: Final = "a message that resembles a journal report and cannot be read as one"
_UNREADABLE: Final = (
    "look at it: a report names blind copies, so it is for none of those its header names",
    "release it for those whom it is for",
)


def ordinary(raw: bytes, /) -> Decoded:
    """Read any message by its own headers; never raises."""
    return Decoded(headers.envelope(raw))


def reported(report: JournalReport, /) -> Decoded:
    """Return what a report says and holds, believed or not."""
    first = report.originals[0]
    if isinstance(first, Span):
        date = headers.date(report.raw, first.start, first.end)
    else:
        date = headers.date(first)
    envelope = evolve(report.envelope, date=date)
    defects = tuple(str(each.code) for each in report.defects)
    return Decoded(envelope, report.originals, report, defects)


class Otherwise(StrEnum):
    """What becomes of a message in a journal mailbox that is no journal report."""

    ARCHIVE = "archive"
    QUARANTINE = "quarantine"


@frozen
class JournalMailbox:
    """Reads journal reports; what is none is archived as ordinary mail, or quarantined.

    Either way it is listed in the run's report and never removed at the source.  Whether
    a report is believed is for `policy` to say; without one every report that reads is.

    What resembles a report and cannot be read as one is quarantined: its header is that of
    the message in it, whose recipients are not to see who else got it.  So is a report of
    the managed-folder writer whose subject has line breaks: whoever is answered chose that
    subject, and could make themselves a recipient of the answer.
    """

    otherwise: Otherwise = field(default=Otherwise.ARCHIVE, converter=Otherwise)
    policy: Policy | None = field(default=None, kw_only=True)
    limits: Limits = field(factory=Limits, kw_only=True)

    def __call__(self, raw: bytes, /) -> Decoded:
        """Return the report's envelope and originals; raises `DecodeError`.

        A report that the policy refuses raises `MalformedReport`, with the report as its
        `partial`.
        """
        try:
            report = journal.decode(raw, limits=self.limits)
        except NotAJournalReport as error:
            if error.resembles:
                raise MalformedReport(_RESEMBLES, suggestions=_UNREADABLE) from error
            if self.otherwise is Otherwise.QUARANTINE:
                raise
            return evolve(ordinary(raw), unexpected=NO_REPORT)
        if _FORGEABLE in report.defects:
            raise _held(_FORGED, _REFUSED[:1], report)
        if self.policy is not None:
            _believe(report, self.policy)
        return reported(report)


def _believe(report: JournalReport, policy: Policy) -> None:
    """Raise `MalformedReport` where the verdict is to quarantine the report."""
    verdict = judge(report, policy)
    if verdict.action is Action.ACCEPT:
        return
    against = sorted({str(each.sign) for each in verdict.evidence if each.agrees is False})
    said = f" by {', '.join(against)}" if against else ""
    raise _held(f"a journal report that is {verdict.level}{said}", _REFUSED, report)


def _held(reason: str, suggestions: tuple[str, ...], report: JournalReport) -> MalformedReport:
    error = MalformedReport(reason, suggestions=suggestions)
    error.partial = report
    return error
