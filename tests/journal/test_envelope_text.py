"""The envelope text of Exchange 2007 and later: its lines, its fields, and their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mailarchive.journal import Defect, DefectCode
from mailarchive.testing import messages, reports

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailarchive.journal import JournalReport

    Look = Callable[[bytes], JournalReport | None]

ID = "<1@example.com>"
USUAL = (
    "Sender: alice@example.com",
    "Subject: Numbers",
    f"Message-Id: {ID}",
    "To: bob@example.com",
)


ORIGINAL = messages.message(message_id=ID)


def codes(report: JournalReport | None) -> set[str]:
    """Return the codes of a report's defects."""
    assert report is not None
    return {str(code) for code in report.defect_codes}


def with_text(text: bytes | str, kind: str = "text/plain; charset=utf-8", **about: Any) -> bytes:
    """Return a report with this envelope text."""
    about.setdefault("original", ORIGINAL)
    return reports.with_text(text, content_type=kind, **about)


def lines(*texts: str, **about: Any) -> bytes:
    """Return a report with these lines for its envelope text."""
    return with_text("\r\n".join(texts) + "\r\n", **about)


def addresses(report: JournalReport | None) -> list[str]:
    """Return the addresses of the recipients, as they were written."""
    assert report is not None
    return [line.written for line in report.recipients]


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("tail", ["", "{}", "{}{}{}", "  {}\t{}"])
def test_any_of_three_line_ends_ends_a_line(end: str, tail: str, look: Look) -> None:
    """CRLF, LF and CR alone, whatever blank lines follow."""
    report = look(with_text(end.join(USUAL) + tail.replace("{}", end)))

    assert codes(report) == set()
    assert addresses(report) == ["bob@example.com"]


@pytest.mark.parametrize(
    "separator", ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\0", "\x1b"]
)
def test_nothing_else_ends_a_line(separator: str, look: Look) -> None:
    """A subject may hold any other separator of Unicode, and it forges nothing."""
    subject = f"Numbers{separator}To: victim@example.com"
    report = look(lines(USUAL[0], f"Subject: {subject}", *USUAL[2:]))

    assert codes(report) == set()
    assert addresses(report) == ["bob@example.com"]
    assert report is not None
    assert report.subject == subject


@pytest.mark.parametrize(
    "texts",
    [
        [
            "sender: alice@example.com",
            "SUBJECT: Numbers",
            f"message-ID: {ID}",
            "tO: bob@example.com",
        ],
        ["Sender:alice@example.com", "Subject:Numbers", f"Message-Id:{ID}", "To:bob@example.com"],
        [f"{line}  \t" for line in USUAL],
        [line.replace(": ", ":   ") for line in USUAL],
        [line.replace(":", " \t:", 1) for line in USUAL],
        ["", *USUAL],
        ["", "  ", USUAL[0], "", *USUAL[1:], ""],
        [f"  {line}" for line in USUAL],
        ["\ufeff" + USUAL[0], *USUAL[1:]],
    ],
)
def test_blanks_and_case_say_nothing(texts: list[str], look: Look) -> None:
    """Label case, blanks around a value, blank lines, an indented text, a U+FEFF."""
    report = look(lines(*texts))

    assert codes(report) == set()
    assert report is not None
    assert report.text.sender == "alice@example.com"
    assert report.subject == "Numbers"
    assert report.message_id == ID
    assert addresses(report) == ["bob@example.com"]


@pytest.mark.parametrize("spelling", ["Message-Id", "Message-ID", "MESSAGE-ID"])
@pytest.mark.parametrize("first", ["subject", "id"])
def test_subject_and_message_id_come_in_either_order(
    spelling: str, first: str, look: Look
) -> None:
    """Both alternatives of the grammar, with either spelling."""
    pair = ["Subject: Numbers", f"{spelling}: {ID}"]
    report = look(lines(USUAL[0], *(pair if first == "subject" else pair[::-1]), USUAL[3]))

    assert codes(report) == set()
    assert report is not None
    assert (report.subject, report.message_id) == ("Numbers", ID)


def test_the_managed_folder_writer_has_more_fields(look: Look) -> None:
    """Label, mailbox and the two times come back as they were written."""
    texts = [USUAL[0], f"Message-ID: {ID}", "Subject: Numbers", "Label: Finance: 7 years"]
    texts += ["Mailbox: bob@example.com", "Cc: carol@example.com", "To: bob@example.com"]
    texts += ["SentUtc: 05.05.2025 08:00:00", "ReceivedUtc: 2025/5/5 上午 8:00"]
    report = look(lines(*texts))

    assert codes(report) == set()
    assert report is not None
    assert report.label == "Finance: 7 years"
    assert report.mailbox is not None
    assert report.mailbox.spec == "bob@example.com"
    assert report.sent_utc == "05.05.2025 08:00:00"
    assert report.received_utc == "2025/5/5 上午 8:00"
    assert addresses(report) == ["carol@example.com", "bob@example.com"]


INJECTED = ("To: victim@example.com", f"Message-Id: {ID}", "Bcc: ceo@example.com", "Sender: x@y.z")


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_a_subject_forges_no_line_where_a_message_id_ends_it(
    count: int, end: str, look: Look
) -> None:
    """All from Subject to the last Message-Id is subject, with a line feed between lines."""
    subject = ("Numbers", *INJECTED[:count])
    report = look(lines(USUAL[0], "Subject: " + end.join(subject), *USUAL[2:]))

    assert codes(report) == {"subject_multiline"}
    assert report is not None
    assert report.subject == "\n".join(subject)
    assert report.message_id == ID
    assert report.text.sender == "alice@example.com"
    assert addresses(report) == ["bob@example.com"]


def test_a_subject_of_one_line_may_look_like_a_field(look: Look) -> None:
    """It is what stands behind its label, and no defect."""
    subject = "To: ceo@example.com, Expanded: all@example.com"
    report = look(lines(USUAL[0], f"Subject: {subject}", *USUAL[2:]))

    assert codes(report) == set()
    assert report is not None
    assert report.subject == subject


def test_lines_that_cannot_be_fields_are_subject_where_the_message_id_is_first(look: Look) -> None:
    """With nothing to hold on to, only what is no field is given to the subject."""
    report = look(
        lines(
            USUAL[0], f"Message-ID: {ID}", "Subject: one", "two", "", "three", "Label: x", USUAL[3]
        )
    )

    assert codes(report) == {"subject_multiline"}
    assert report is not None
    assert report.subject == "one\ntwo\nthree"
    assert report.label == "x"
    assert addresses(report) == ["bob@example.com"]


def test_a_forged_recipient_cannot_be_told_where_the_message_id_is_first(look: Look) -> None:
    """It is flagged where the original's own subject has the line break."""
    texts = [USUAL[0], f"Message-ID: {ID}", "Subject: one", "To: victim@example.com", USUAL[3]]
    original = messages.message(message_id=ID, subject="one\r\nTo: victim@example.com")
    plain, telling = (
        look(with_text("\r\n".join(texts), original=each)) for each in (ORIGINAL, original)
    )

    assert codes(plain) == set()
    assert codes(telling) == {"subject_multiline"}


def test_a_forged_message_id_ends_no_subject(look: Look) -> None:
    """A subject can forge that line, too: it guards nothing where another stands before it."""
    texts = [USUAL[0], f"Message-ID: {ID}", "Subject: one", "Message-ID: <2@example.com>"]
    texts += ["To: victim@example.com", USUAL[3]]
    original = messages.message(message_id=ID, subject="\r\n".join(["one", *texts[3:5]]))
    report = look(with_text("\r\n".join(texts), original=original))

    assert report is not None
    assert Defect(DefectCode.SUBJECT_MULTILINE) in report.defects


def test_a_second_message_id_behind_the_subject_is_subject(look: Look) -> None:
    """Where Message-ID stands before Subject, it is the one; a later one was forged."""
    texts = [USUAL[0], f"Message-ID: {ID}", "Subject: one", "To: victim@example.com"]
    report = look(lines(*texts, "Message-ID: <2@example.com>", USUAL[3]))

    assert codes(report) == {"subject_multiline", "field_order"}
    assert report is not None
    assert report.message_id == ID
    assert addresses(report) == ["bob@example.com"]


@pytest.mark.parametrize("line", ["Subject:", "Subject: ", "Subject:\t "])
def test_an_empty_subject_is_empty_and_a_missing_one_is_none(line: str, look: Look) -> None:
    """Neither is a defect."""
    empty, missing = look(lines(USUAL[0], line, *USUAL[2:])), look(lines(USUAL[0], *USUAL[2:]))

    assert codes(empty) == codes(missing) == set()
    assert empty is not None
    assert missing is not None
    assert (empty.subject, missing.subject) == ("", None)


INTERCEPT = (
    "Rule-Names: case 42, case 43",
    "Received: from a by b; Mon, 5 May 2025 08:00:01 +0000",
    "Mapi-Message-Class: IPM.Note",
    "Original-Authenticator: ",
    "Original-Message-Size: 1234",
    "Recipient-Count: 1",
)


@pytest.mark.parametrize("gcc", [True, False])
@pytest.mark.parametrize("with_subject", [True, False])
def test_the_lawful_intercept_lines_are_kept_and_are_no_subject(
    gcc: bool, with_subject: bool, look: Look
) -> None:
    """With the form's marker, or where the lines say what they are; also without Subject."""
    subject = ["Subject: Numbers"] * with_subject
    top = ("X-MS-Gcc-Journal-Report", "") if gcc else ("X-Other", "")
    report = look(lines(USUAL[0], *subject, *INTERCEPT, *USUAL[2:], headers=[top]))

    assert codes(report) == set()
    assert report is not None
    assert report.subject == ("Numbers" if with_subject else None)
    assert [line.text for line in report.extra] == list(INTERCEPT)


def test_a_subject_in_front_of_the_intercept_lines_forges_nothing(look: Look) -> None:
    """Only the lines that end the region are of the form."""
    subject = "Subject: a\r\nRule-Names: forged\r\nTo: victim@example.com"
    report = look(
        lines(USUAL[0], subject, *INTERCEPT, *USUAL[2:], headers=[("X-MS-Gcc-Journal-Report", "")])
    )

    assert codes(report) == {"subject_multiline"}
    assert report is not None
    assert report.subject == "a\nRule-Names: forged\nTo: victim@example.com"
    assert addresses(report) == ["bob@example.com"]


def test_one_line_of_the_form_in_a_subject_is_subject(look: Look) -> None:
    """Without the form's marker a line or two are not enough."""
    report = look(lines(USUAL[0], "Subject: a\r\nReceived: from b", *USUAL[2:]))

    assert codes(report) == {"subject_multiline"}
    assert report is not None
    assert report.subject == "a\nReceived: from b"


@pytest.mark.parametrize(
    "texts",
    [
        (*USUAL, "Ingrese aqui: http://phish.example/login"),
        (*USUAL, "-- ", "This message is confidential."),
        (*USUAL, "X-Foo: bar"),
        (USUAL[0], "X-Foo: bar", *USUAL[1:]),
        ("[EXTERNAL]", *USUAL),
        (*USUAL, "To:"),
        (*USUAL, "Received: late"),
        (*USUAL, "Sender"),
        (*USUAL, ": nothing"),
        (*USUAL, "Tо: victim@example.com"),  # noqa: RUF001  # a Cyrillic letter, on purpose
        (*USUAL, "To\xa0: victim@example.com"),
    ],
)
def test_an_unknown_line_is_kept_and_noted(texts: tuple[str, ...], look: Look) -> None:
    """Everything else is read as if it was not there."""
    report = look(lines(*texts))

    assert codes(report) == {"unknown_line"}
    assert report is not None
    assert addresses(report) == ["bob@example.com"]
    assert report.subject == "Numbers"
    unknown = [each for each in texts if each not in USUAL]
    assert [line.text for line in report.extra] == unknown
    assert [line.line for line in report.extra] == [texts.index(each) + 1 for each in unknown]


@pytest.mark.parametrize(
    "texts",
    [
        (*USUAL[1:], USUAL[0]),
        (USUAL[3], *USUAL[:3]),
        (USUAL[0], USUAL[3], *USUAL[1:3]),
        (*USUAL, "Label: x"),
        (*USUAL, "On-Behalf-Of: bob@example.com"),
    ],
)
def test_fields_out_of_order_are_read_and_noted(texts: tuple[str, ...], look: Look) -> None:
    """What stands before the subject cannot be forged by it, so it counts."""
    report = look(lines(*texts))

    assert codes(report) == {"field_order"}
    assert report is not None
    assert report.text.sender == "alice@example.com"
    assert addresses(report) == ["bob@example.com"]


@pytest.mark.parametrize("line", ["Sender: mallory@example.com", "Subject: other", "Label: b"])
def test_of_a_field_that_comes_twice_the_first_counts(line: str, look: Look) -> None:
    """The second is kept among the extra lines."""
    report = look(lines(*USUAL[:3], "Label: a", USUAL[3], line))

    assert "field_order" in codes(report)
    assert report is not None
    assert report.text.sender == "alice@example.com"
    assert (report.subject, report.label) == ("Numbers", "a")
    assert report.extra[0].text == line


@pytest.mark.parametrize(
    ("folded", "whole"),
    [
        ("To: bob@example.com,\r\n Expanded: dl@example.com", "bob@example.com"),
        ("To: bob@example.com,\r\n\tExpanded:\r\n\tdl@example.com", "bob@example.com"),
        ("To:\r\n bob@example.com, Expanded: dl@example.com", "bob@example.com"),
        ("To: bob@example.com,\r\nExpanded: dl@example.com", "bob@example.com"),
        ("To: bob@example.com, Expanded:\r\ndl@example.com", "bob@example.com"),
    ],
)
def test_a_folded_recipient_is_put_together(folded: str, whole: str, look: Look) -> None:
    """Folded with a blank, or broken behind a comma or a colon: one line, and noted."""
    report = look(lines(*USUAL[:3], folded, "Cc: carol@example.com"))

    assert codes(report) == {"folded_line"}
    assert addresses(report) == [whole, "carol@example.com"]
    assert report is not None
    assert report.recipients[0].history == (("expanded", "dl@example.com"),)
    assert report.recipients[0].line == 4


@pytest.mark.parametrize(
    ("folded", "field", "value"),
    [
        (f"Message-Id:\r\n {ID}", "message_id", ID),
        ("Subject: Quarterly\r\n numbers", "subject", "Quarterly numbers"),
        ("Subject: Quarterly\r\n\tnumbers\r\n  again", "subject", "Quarterly numbers again"),
        ("Subject:\r\n numbers", "subject", "numbers"),
        ("Sender:\r\n alice@example.com", "sender", "alice@example.com"),
    ],
)
def test_any_field_may_be_folded(folded: str, field: str, value: str, look: Look) -> None:
    """A line that begins with a blank goes on with the one before; no second subject line."""
    label = folded.partition(":")[0]
    texts = [folded if line.startswith(label) else line for line in USUAL]
    report = look(lines(*texts))

    assert codes(report) == {"folded_line"}
    assert report is not None
    assert getattr(report.text, field) == value


@pytest.mark.parametrize(
    ("replaced", "expected"),
    [
        ({0: "Sender: Unspecified Address"}, {"sender_missing"}),
        ({0: "sender: unspecified address"}, {"sender_missing"}),
        ({0: "Sender:"}, {"sender_missing"}),
        ({0: "Sender: <>"}, {"sender_missing"}),
        ({0: None}, {"sender_missing"}),
        ({2: "Message-Id: Unknown Message-ID"}, {"message_id_missing"}),
        ({2: "Message-Id:"}, {"message_id_missing"}),
        ({2: None}, {"message_id_missing"}),
        ({3: None}, {"no_recipients"}),
        (
            {0: "Sender: Unspecified Address", 2: "Message-ID: UNKNOWN MESSAGE-ID"},
            {"sender_missing", "message_id_missing"},
        ),
        ({0: None, 2: None}, {"sender_missing", "message_id_missing"}),
    ],
)
def test_what_is_missing_is_none_and_noted(
    replaced: dict[int, str | None], expected: set[str], look: Look
) -> None:
    """Absent and a placeholder are the same."""
    texts = [replaced.get(n, line) for n, line in enumerate(USUAL)]
    report = look(lines(*[text for text in texts if text is not None]))

    assert codes(report) == expected
    assert report is not None
    assert (report.sender is None) == ("sender_missing" in expected)
    assert (report.message_id is None) == ("message_id_missing" in expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Journal report for a message.",
        "To: bob@example.com",
        "Subject: hello",
        "Sender: x@y.z",
    ],
)
def test_a_text_that_is_no_envelope_is_quarantined(text: str, look: Look) -> None:
    """One field alone could be anything."""
    report = look(with_text(text))

    assert codes(report) == {"envelope_missing"}
    assert addresses(report) == []
