"""Is it a journal report?  The evidence is in the top header, and in nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailarchive.journal import DefectCode, JournalReport, Kind
from mailarchive.testing import messages, reports

if TYPE_CHECKING:
    from collections.abc import Callable

    Look = Callable[[bytes], JournalReport | None]

MARKER = b"X-MS-Journal-Report: \r\n"
UNMARKED = reports.report(defects=["marker_missing"])


def marked(line: bytes, unmarked: bytes = reports.report(dialect="workmail")) -> bytes:
    """Return a report whose only marker is the line."""
    return unmarked.replace(b"X-WM-Journal-Report: journal\r\n", line + b"\r\n")


@pytest.mark.parametrize(
    "line",
    [
        b"X-MS-Journal-Report:",
        b"X-MS-Journal-Report: ",
        b"X-MS-Journal-Report : yes",
        b"x-ms-journal-report:\t",
        b"X-MS-JOURNAL-REPORT: application/msgtnef",
        b"X-MS-Journal-Report:\r\n ",
        b"X-MS-Exchange-Organization-Journal-Report:",
        b"X-MS-Gcc-Journal-Report:",
    ],
)
def test_the_marker_counts_by_its_presence_not_its_value(line: bytes, look: Look) -> None:
    """Any case, any value and none: the marker's presence says Exchange 2007 or later."""
    report = look(marked(line))

    assert report is not None
    assert report.kind is Kind.EXCHANGE_2007
    assert not report.defects


@pytest.mark.parametrize("place", ["first", "last"])
def test_the_marker_counts_wherever_it_stands_in_the_header(place: str, look: Look) -> None:
    """The first and the last line of the top header are lines like any other."""
    raw = marked(b"X-Other: 1")
    head, _, body = raw.partition(b"\r\n\r\n")
    line = b"X-MS-Journal-Report:"
    head = line + b"\r\n" + head if place == "first" else head + b"\r\n" + line
    report = look(head + b"\r\n\r\n" + body)

    assert report is not None
    assert not report.defects


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Identifer: ExJournalReport",
        b"Content-Identifier: ExJournalReport",
        b"content-identifier:EXJOURNALREPORT",
        b"CONTENT-IDENTIFER:\r\n exjournalreport",
    ],
)
def test_exchange_2003_has_its_own_marker_in_two_spellings(line: bytes, look: Look) -> None:
    """Both spellings of the name, and any case of the value."""
    raw = reports.report(dialect="exchange2003")
    report = look(raw.replace(b"Content-Identifer: ExJournalReport", line))

    assert report is not None
    assert report.kind is Kind.EXCHANGE_2003
    assert not report.defects


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Identifer: SomethingElse",
        b"Content-Identifier:",
        b"X-WM-Journal-Report: no",
        b"X-MS-Journal-Report-Extra: 1",
        b"XX-MS-Journal-Report:",
        b"X-Note: X-MS-Journal-Report:",
        b"X-Note: folded\r\n X-MS-Journal-Report:",
        b"Subject: X-MS-Journal-Report:",
    ],
)
def test_what_looks_like_a_marker_and_is_none_makes_no_report(line: bytes, look: Look) -> None:
    """Other names, other values, and the name in some other field's value do not count."""
    assert look(marked(line)) is None


def test_workmail_has_a_marker_of_its_own(look: Look) -> None:
    """`X-WM-Journal-Report: journal`, whatever its case."""
    report = look(marked(b"x-wm-journal-report: JOURNAL"))

    assert report is not None
    assert report.kind is Kind.WORKMAIL


def test_two_other_signs_make_a_report_where_the_marker_was_lost(look: Look) -> None:
    """Two of three signs, the shape and the text: a report, and it says what is missing."""
    without_agent = UNMARKED.replace(b"Journal Agent", b"Something")
    for raw in (UNMARKED, without_agent):
        report = look(raw)

        assert report is not None
        assert report.kind is Kind.EXCHANGE_2007
        assert report.defect_codes == (DefectCode.MARKER_MISSING,)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e", b"someone"),
        (b"@journal.report.generator", b"@example.com"),
    ],
)
def test_one_sign_alone_makes_no_report(old: bytes, new: bytes, look: Look) -> None:
    """One sign can be there by chance or by copying."""
    raw = UNMARKED.replace(b"Journal Agent", b"Something")

    assert look(raw.replace(old, new)) is None


@pytest.mark.parametrize("defect", ["original_missing", "envelope_missing", "too_many_originals"])
def test_signs_without_the_shape_make_no_report(defect: str, look: Look) -> None:
    """Without a marker all the rest must fit; then it is ordinary mail, and no error."""
    assert look(reports.report(defects=["marker_missing", defect])) is None


def test_a_report_inside_a_message_makes_no_report(look: Look) -> None:
    """A forward, a digest and a mail that quotes a report are ordinary mail."""
    inner = reports.report()
    for raw in (
        messages.forward(inner),
        messages.forward(inner, messages.message()),
        messages.digest(inner),
        messages.message(body=inner),
        messages.message(attachments=[messages.attachment(inner, "report.eml")]),
    ):
        assert look(raw) is None


def test_both_markers_are_read_by_the_grammar_that_fits(look: Look) -> None:
    """The newer grammar is tried first; the family is the one whose grammar it has."""
    newer = look(reports.report(defects=["both_markers"]))
    older = look(reports.report(dialect="exchange2003", defects=["both_markers"]))

    assert newer is not None
    assert older is not None
    assert (newer.kind, older.kind) == (Kind.EXCHANGE_2007, Kind.EXCHANGE_2003)
    assert newer.defect_codes == older.defect_codes == (DefectCode.BOTH_MARKERS,)
    assert [line.written for line in older.recipients] == ["bob@example.com"]


def test_a_marker_of_the_other_family_is_read_all_the_same(look: Look) -> None:
    """The other grammar is the fallback; the marker names the family, and it is noted."""
    older = reports.report(dialect="exchange2003").replace(
        b"Content-Identifer: ExJournalReport", b"X-MS-Journal-Report:"
    )
    newer = marked(b"Content-Identifier: ExJournalReport")
    for raw, kind in ((older, Kind.EXCHANGE_2007), (newer, Kind.EXCHANGE_2003)):
        report = look(raw)

        assert report is not None
        assert report.kind is kind
        assert report.defect_codes == (DefectCode.UNKNOWN_LINE,)
        assert [line.written for line in report.recipients] == ["bob@example.com"]


def test_a_header_with_only_line_feeds_is_read_the_same(look: Look) -> None:
    """Line ends of the top header are CRLF or LF."""
    report = look(reports.report().replace(b"\r\n", b"\n"))

    assert report is not None
    assert not report.defects


@pytest.mark.parametrize("raw", [b"", b"\n", b"\r\n", b"\r\n\r\n", b"X", b"\x00" * 100, b":\n:"])
def test_nearly_nothing_is_ordinary_mail(raw: bytes, look: Look) -> None:
    """Bytes without a header are no report."""
    assert look(raw) is None
