"""The envelope text of Exchange 2007 and later (MS-XJRNL, section 2.1).

Two writers share the grammar.  The transport writer puts `Subject` before `Message-Id`,
and writes a subject without filtering its line breaks, so that a subject can forge
lines.  The defence needs no guess: everything from `Subject` to the *last* `Message-Id`
is subject, and recipients are only what follows.  The managed-folder writer puts
`Message-ID` first; there the rule has nothing to hold on to, and only lines that cannot
be fields are given to the subject.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from mailarchive._model import Role
from mailarchive.journal._addresses import read_address, read_line
from mailarchive.journal._lines import Line, labelled, split_lines
from mailarchive.journal._report import (
    Defect,
    DefectCode,
    EnvelopeText,
    ExtraLine,
    RecipientLine,
    exceeded,
)

if TYPE_CHECKING:
    from mailarchive.journal._report import Limits

NO_MESSAGE_ID: Final = "unknown message-id"

_RANKS: Final = {
    "sender": 0,
    "on-behalf-of": 1,
    "subject": 2,
    "message-id": 2,
    "label": 3,
    "mailbox": 4,
    "to": 5,
    "cc": 5,
    "bcc": 5,
    "recipient": 5,
    "sentutc": 6,
    "receivedutc": 7,
}
_INTERCEPT: Final = frozenset(
    {
        "rule-names",
        "received",
        "mapi-message-class",
        "original-authenticator",
        "original-message-size",
        "recipient-count",
    }
)
"""Further lines of the lawful-intercept form, between Subject and Message-Id."""

_ROLES: Final = {
    "to": Role.TO,
    "cc": Role.CC,
    "bcc": Role.BCC,
    "recipient": Role.RECIPIENT,
}
_LABELS: Final = frozenset({*_RANKS, *_INTERCEPT})
_SIGNATURE: Final = 3
"""How many different intercept lines say what they are where the header does not."""


class Reading(NamedTuple):
    """What was read, and how many of the grammar's main fields were there.

    `unguarded` says that no Message-Id ends the subject, or none that it could not have
    forged itself, so that it may have forged lines.
    """

    text: EnvelopeText
    defects: list[Defect]
    fields: int
    unguarded: bool


def read(text: str, limits: Limits, *, intercept: bool = False) -> Reading:
    """Read an envelope text; raises `LimitExceeded`.

    `intercept` says that the report's header names the lawful-intercept form.
    """
    lines, folded = labelled(split_lines(text, limits.text_lines), _LABELS, _ROLES)
    defects = [Defect(DefectCode.FOLDED_LINE, number) for number in folded]
    reader = _Reader(lines, defects, limits.recipients, intercept=intercept)
    reader.run()
    return reader.result()


class _Reader:
    """One pass over the labelled lines."""

    def __init__(
        self, lines: list[Line], defects: list[Defect], limit: int, *, intercept: bool
    ) -> None:
        self.lines, self.defects, self.limit, self.intercept = lines, defects, limit, intercept
        self.values: dict[str, str] = {}
        self.numbers: dict[str, int] = {}
        self.recipients: list[RecipientLine] = []
        self.extra: list[ExtraLine] = []
        self.rank = 0
        self.subject: list[str] = []
        self.subject_open = False
        self.unguarded = False

    def run(self) -> None:
        subject, last = self._region()
        before = any(line.label == "message-id" for line in self.lines[:subject])
        self.unguarded = (last < 0 or before) and subject < len(self.lines)
        for place, line in enumerate(self.lines):
            if subject < place < last:
                continue
            if line.label is None or line.label in _INTERCEPT:
                self._unknown(line, before_id=place < last)
            elif line.label in _ROLES:
                self._ordered(line)
                self._recipient(line, _ROLES[line.label])
            else:
                self._ordered(line)
                self._field(line)
                self.subject_open = line.label == "subject" and last < 0
            if place == subject and last > 0:
                self._subject(self.lines[subject + 1 : last])

    def _region(self) -> tuple[int, int]:
        """Return the place of the subject, and of the last Message-Id behind it, or -1.

        Where there is no subject, its place is behind all lines, and the other one is that
        of the last Message-Id.
        """
        subject = last = -1
        for place, line in enumerate(self.lines):
            if line.label == "message-id":
                last = place
            elif line.label == "subject" and subject < 0:
                subject = place
        if subject < 0:
            return len(self.lines), last
        return subject, last if last > subject else -1

    def _field(self, line: Line) -> None:
        label = line.label or ""
        if label in self.values:
            self._flag(DefectCode.FIELD_ORDER, line)
            self.extra.append(ExtraLine(line.text, line.number))
            return
        self.values[label] = line.value
        self.numbers[label] = line.number

    def _ordered(self, line: Line) -> None:
        rank = _RANKS[line.label or ""]
        if rank < self.rank:
            self._flag(DefectCode.FIELD_ORDER, line)
        self.rank = max(rank, self.rank)
        self.subject_open = False

    def _recipient(self, line: Line, role: Role) -> None:
        if not line.value:
            self._unknown(line, before_id=False)
            return
        addresses, history, codes = read_line(line.value)
        for address in addresses:
            self.recipients.append(RecipientLine(address, role, history, line.number))
        if len(self.recipients) > self.limit:
            raise exceeded("a journal report has more recipients", "recipients")
        for code in codes:
            self._flag(code, line)

    def _unknown(self, line: Line, *, before_id: bool) -> None:
        if not line.text.strip(" \t"):
            return
        if self.subject_open and line.label is None:
            self._subject([line])
            return
        self.extra.append(ExtraLine(line.text, line.number))
        if not (line.label in _INTERCEPT and (before_id or self.intercept)):
            self._flag(DefectCode.UNKNOWN_LINE, line)

    def _subject(self, lines: list[Line]) -> None:
        """Give lines to the subject, but for the intercept lines that end them."""
        count = len(lines) - self._intercepted(lines)
        for line in lines[count:]:
            if line.text.strip(" \t"):
                self.extra.append(ExtraLine(line.text, line.number))
        texts = [line.text.rstrip(" \t") for line in lines[:count]]
        while texts and not texts[-1]:
            texts.pop()
        if texts:
            self.subject += texts
            self._flag(DefectCode.SUBJECT_MULTILINE, lines[0])

    def _intercepted(self, lines: list[Line]) -> int:
        """Return how many lines at the end are of the lawful-intercept form."""
        count = 0
        labels = set()
        for line in reversed(lines):
            if line.text.strip(" \t") and line.label not in _INTERCEPT:
                break
            count += 1
            labels.add(line.label)
        labels.discard(None)
        return count if self.intercept or len(labels) >= _SIGNATURE else 0

    def _flag(self, code: DefectCode, line: Line) -> None:
        defect = Defect(code, line.number)
        if self.defects[-1:] != [defect]:
            self.defects.append(defect)

    def _address(self, label: str) -> str | None:
        value = self.values.get(label)
        if value is None:
            return None
        address, codes = read_address(value)
        self.defects.extend(Defect(code, self.numbers[label]) for code in codes)
        return address

    def _whole_subject(self) -> str | None:
        first = self.values.get("subject")
        return None if first is None else "\n".join([first, *self.subject])

    def _message_id(self) -> str | None:
        value = self.values.get("message-id")
        return None if not value or value.lower() == NO_MESSAGE_ID else value

    def result(self) -> Reading:
        """Return the fields, and flag what is missing."""
        values = self.values
        text = EnvelopeText(
            sender=self._address("sender"),
            on_behalf_of=self._address("on-behalf-of"),
            subject=self._whole_subject(),
            message_id=self._message_id(),
            label=values.get("label"),
            mailbox=self._address("mailbox"),
            recipients=tuple(self.recipients),
            sent_utc=values.get("sentutc"),
            received_utc=values.get("receivedutc"),
            extra=tuple(self.extra),
        )
        main = sum(label in values for label in ("sender", "subject", "message-id"))
        return Reading(text, self.defects, main + bool(self.recipients), self.unguarded)
