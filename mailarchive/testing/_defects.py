"""How each defect of a journal report is put into one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailarchive.journal import DefectCode
from mailarchive.testing import messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailarchive.testing.reports import Dialect, Draft

UNKNOWN_CHARSET: Final = "x-unknown"
_MARKERS: Final = frozenset({"X-MS-Journal-Report", "X-MS-Gcc-Journal-Report"})
_NEWER_ONLY: Final = frozenset(
    {
        DefectCode.HTML_ENVELOPE,
        DefectCode.FOLDED_LINE,
        DefectCode.FIELD_ORDER,
        DefectCode.UNKNOWN_HISTORY,
        DefectCode.ADDRESS_PREFIX,
        DefectCode.ADDRESS_FORM,
        DefectCode.SUBJECT_MULTILINE,
    }
)
"""Not departures from the grammar of Exchange 2003, or not possible in it."""
_ROLES: Final = ("To: ", "Cc: ", "Bcc: ", "Recipient: ")


def possible(dialect: Dialect) -> frozenset[DefectCode]:
    """Return the defects that a report of the dialect can have."""
    codes = frozenset(DefectCode)
    if dialect.is_2003:
        return codes - _NEWER_ONLY - {DefectCode.MARKER_MISSING}
    return codes - {DefectCode.MARKER_MISSING} if dialect == "workmail" else codes


def put_in(draft: Draft, code: DefectCode | str) -> None:
    """Change the draft so that it has the defect; raises `ValueError` where it cannot."""
    if code not in possible(draft.dialect):
        raise ValueError(f"a report of the dialect {draft.dialect} cannot have {code}")
    _CHANGES[DefectCode(code)](draft)


def _at(draft: Draft, *beginnings: str) -> int:
    """Return where the first line with one of the beginnings is."""
    for place, line in enumerate(draft.lines):
        if line.startswith(beginnings):
            return place
    raise ValueError("another defect took the line away that this one would change")


def _drop_marker(draft: Draft) -> None:
    draft.top = [pair for pair in draft.top if pair[0] not in _MARKERS]


def _both_markers(draft: Draft) -> None:
    for pair in (("X-MS-Journal-Report", ""), ("Content-Identifer", "ExJournalReport")):
        if pair not in draft.top:
            draft.top.append(pair)


def _unknown_charset(draft: Draft) -> None:
    draft.charset = UNKNOWN_CHARSET


def _html(draft: Draft) -> None:
    draft.text_type = "text/html"


def _fold(draft: Draft) -> None:
    place = _at(draft, "Message-Id: ", "Message-ID: ")
    draft.lines[place] = draft.lines[place].replace(": ", ":\r\n ", 1)


def _reorder(draft: Draft) -> None:
    draft.lines.append(draft.lines.pop(_at(draft, "Sender: ")))


def _unknown_line(draft: Draft) -> None:
    draft.lines.append("Scanned-By: gateway")


def _unknown_history(draft: Draft) -> None:
    draft.lines[_at(draft, *_ROLES)] += ", Redirected: other@example.com"


def _prefix(draft: Draft) -> None:
    place = _at(draft, *_ROLES)
    draft.lines[place] = draft.lines[place].replace(": ", ": SMTP:", 1)


def _form(draft: Draft) -> None:
    place = _at(draft, *_ROLES)
    label, address = draft.lines[place].split(": ", 1)
    address, comma, history = address.partition(",")
    draft.lines[place] = f'{label}: "Some One" <{address}>{comma}{history}'


def _break_subject(draft: Draft) -> None:
    draft.lines[_at(draft, "Subject: ")] += "\r\nand one line more"


def _replace(beginning: tuple[str, ...], value: str) -> Callable[[Draft], None]:
    def change(draft: Draft) -> None:
        place = _at(draft, *beginning)
        draft.lines[place] = draft.lines[place].partition(": ")[0] + f": {value}"

    return change


def _no_recipients(draft: Draft) -> None:
    draft.lines = [line for line in draft.lines if not line.startswith(_ROLES)]
    if "Recipients:" in draft.lines:
        del draft.lines[draft.lines.index("Recipients:") + 1 :]


def _encode_original(draft: Draft) -> None:
    part = messages.attachment(draft.originals[0], "original", "message/rfc822")
    draft.original_parts = [part]


def _attach(name: str, content_type: str) -> Callable[[Draft], None]:
    def change(draft: Draft) -> None:
        draft.original_parts = [messages.attachment(draft.originals[0], name, content_type)]

    return change


def _malform(draft: Draft) -> None:
    draft.originals[0] = b"no header here\r\n" + draft.originals[0]


def _repeat(times: int) -> Callable[[Draft], None]:
    def change(draft: Draft) -> None:
        draft.originals = draft.originals[:1] * times

    return change


def _footer(draft: Draft) -> None:
    draft.more_parts.append(messages.part("This message was scanned.\r\n"))


def _leave_open(draft: Draft) -> None:
    draft.close = False


def _no_text(draft: Draft) -> None:
    draft.text_missing = True


def _no_original(draft: Draft) -> None:
    draft.original_parts = []


_ID: Final = ("Message-Id: ", "Message-ID: ")
_SENDER: Final = ("Sender: ",)
_CHANGES: Final[dict[DefectCode, Callable[[Draft], None]]] = {
    DefectCode.MARKER_MISSING: _drop_marker,
    DefectCode.BOTH_MARKERS: _both_markers,
    DefectCode.CHARSET_GUESSED: _unknown_charset,
    DefectCode.HTML_ENVELOPE: _html,
    DefectCode.FOLDED_LINE: _fold,
    DefectCode.FIELD_ORDER: _reorder,
    DefectCode.UNKNOWN_LINE: _unknown_line,
    DefectCode.UNKNOWN_HISTORY: _unknown_history,
    DefectCode.ADDRESS_PREFIX: _prefix,
    DefectCode.ADDRESS_FORM: _form,
    DefectCode.SUBJECT_MULTILINE: _break_subject,
    DefectCode.SENDER_MISSING: _replace(_SENDER, "Unspecified Address"),
    DefectCode.MESSAGE_ID_MISSING: _replace(_ID, "Unknown Message-ID"),
    DefectCode.SENDER_MISMATCH: _replace(_SENDER, "mallory@example.net"),
    DefectCode.MESSAGE_ID_MISMATCH: _replace(_ID, "<another@example.net>"),
    DefectCode.NO_RECIPIENTS: _no_recipients,
    DefectCode.RFC822_CTE: _encode_original,
    DefectCode.ORIGINAL_AS_OCTET_STREAM: _attach("corrupt.eml", "application/octet-stream"),
    DefectCode.ORIGINAL_IS_MSG: _attach("Quarterly numbers.msg", "application/octet-stream"),
    DefectCode.ORIGINAL_IS_TNEF: _attach("winmail.dat", "application/ms-tnef"),
    DefectCode.ORIGINAL_MALFORMED: _malform,
    DefectCode.SECOND_ORIGINAL_UNEXPLAINED: _repeat(2),
    DefectCode.EXTRA_PART: _footer,
    DefectCode.TRUNCATED: _leave_open,
    DefectCode.ENVELOPE_MISSING: _no_text,
    DefectCode.ORIGINAL_MISSING: _no_original,
    DefectCode.TOO_MANY_ORIGINALS: _repeat(3),
}
