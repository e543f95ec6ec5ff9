"""Ordinary mail gives no false report: several hundred kinds and combinations of it."""

from __future__ import annotations

import html
from itertools import product
from typing import TYPE_CHECKING

import pytest

from mailarchive import journal
from mailarchive.errors import NotAJournalReport
from mailarchive.testing import messages, reports

if TYPE_CHECKING:
    from collections.abc import Iterator

REPORT = reports.report()
PLAIN = messages.message()
SUBJECTS = ("Numbers", "Re: Undeliverable: Numbers", "Journal report", "=?utf-8?B?w6k=?=", "")
BODIES = (
    "Hello\r\n",
    "Sender: alice@example.com\r\nMessage-Id: <1@x>\r\nTo: bob@example.com\r\n",
    "X-MS-Journal-Report:\r\n\r\n--x\r\n",
    "",
)
EXTRA: tuple[tuple[tuple[str, str], ...], ...] = (
    (),
    (("Return-Path", "<>"),),
    (("Auto-Submitted", "auto-generated"),),
    (("X-MS-Exchange-Generated-Message-Source", "Journal Agent"),),
    (("Message-ID", "<1@journal.report.generator>"),),
    (("X-MS-Has-Attach", ""), ("X-MS-TNEF-Correlator", "")),
    (("X-MS-Exchange-Parent-Message-Id", "<1@x>"), ("X-OriginatorOrg", "example.com")),
)


def inner() -> Iterator[bytes]:
    """Yield what may lie inside a mail."""
    yield PLAIN
    yield REPORT
    yield messages.forward(PLAIN)
    yield messages.forward(REPORT)
    yield messages.bounce(PLAIN)
    yield messages.signed()
    yield b""
    yield b"no header at all"


def attached(content: bytes, kind: str, name: str = "") -> bytes:
    """Return a mail with one part of a kind."""
    part = messages.part(content, f'{kind}; name="{name}"' if name else kind)
    return messages.message(attachments=[part])


def quoting() -> Iterator[bytes]:
    """Yield mails that quote the text of a report: in a reply, as HTML, in a list's digest."""
    for dialect in reports.Dialect:
        text = reports.report(dialect=dialect)
        quoted = b"> " + text.replace(b"\r\n", b"\r\n> ")
        for content in (text, quoted, b"<pre>" + html.escape(text.decode()).encode() + b"</pre>"):
            yield messages.message(body=content)
            yield messages.message(body=content, content_type="text/html; charset=utf-8")
            yield messages.digest(messages.message(body=content), PLAIN)
            yield messages.forward(PLAIN, note=content.decode())
            yield messages.bounce(messages.message(body=content))


def calendars() -> Iterator[bytes]:
    """Yield invitations and answers, whose words are those of a journal."""
    for method in ("REQUEST", "REPLY", "CANCEL", "COUNTER"):
        event = f"BEGIN:VCALENDAR\r\nMETHOD:{method}\r\nBEGIN:VEVENT\r\nEND:VEVENT\r\n"
        kind = f"text/calendar; method={method}; charset=utf-8"
        yield messages.message(body=event, content_type=kind)
        yield attached(event.encode(), kind, "invite.ics")
        forms = messages.multipart([messages.part("Hi"), messages.part(event, kind)], boundary="c")
        yield messages.message(body=forms, content_type="multipart/alternative; boundary=c")
    journal_item = "BEGIN:VCALENDAR\r\nBEGIN:VJOURNAL\r\nEND:VJOURNAL\r\nEND:VCALENDAR\r\n"
    yield attached(journal_item.encode(), "text/calendar", "journal.ics")


def others() -> Iterator[bytes]:
    """Yield what Exchange and others write of themselves."""
    system = "MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@example.com"
    yield attached(b"\x78\x9f\x3e\x22", "application/ms-tnef", "winmail.dat")
    yield messages.message(content_type="application/ms-tnef", body=b"\x78\x9f\x3e\x22")
    yield messages.message(content_type="application/pkcs7-mime; smime-type=enveloped-data")
    yield messages.message(content_type="application/pkcs7-mime; smime-type=signed-data")
    for subject in ("Automatic reply: Numbers", "Read: Numbers", "Recall: Numbers", "Delayed: x"):
        for sender in ("postmaster@example.com", system):
            yield messages.message(sender=sender, subject=subject)
            yield messages.bounce(PLAIN, subject=subject)
            yield messages.message(
                sender=sender,
                subject=subject,
                attachments=[messages.part(PLAIN, "message/rfc822")],
            )
    for header in (
        "List-Id",
        "X-Journal",
        "Journal-Report",
        "X-MS-Journal",
        "X-WM-Journal-Report",
    ):
        yield messages.message(headers=[(header, "report")])
    yield messages.message(headers=[("Content-Identifer", "Journal"), ("Content-Class", "x")])


def mails() -> Iterator[bytes]:
    """Yield ordinary mails: forwards, bounces, digests, signed, encrypted, receipts, lists."""
    for subject, body, headers in product(SUBJECTS, BODIES, EXTRA):
        yield messages.message(subject=subject, body=body, headers=headers)
        part = messages.part(body, "text/html")
        content = messages.multipart([messages.part(body), part], boundary="alt")
        kind = "multipart/alternative; boundary=alt"
        yield messages.message(subject=subject, body=content, content_type=kind, headers=headers)
    for content in inner():
        for count, note in product((1, 2, 3), BODIES):
            yield messages.forward(*[content] * count, note=note)
        yield messages.digest(content)
        yield messages.digest(PLAIN, content)
        yield messages.message(attachments=[messages.attachment(content, "mail.eml")])
        yield messages.message(attachments=[messages.attachment(content, "mail.msg")])
        yield messages.encrypted(content)
        yield messages.message(body=content)
    for returned in (PLAIN, messages.forward(REPORT), messages.signed(), b"", b"x"):
        for only_headers, is_report in product((False, True), repeat=2):
            yield messages.bounce(returned, only_headers=only_headers, is_report=is_report)
        yield messages.read_receipt(returned)
    yield messages.signed()
    yield from quoting()
    yield from calendars()
    yield from others()
    for strange in (
        "multipart/mixed",
        "multipart/mixed; boundary=",
        "multipart/x; boundary=b",
        "x",
    ):
        yield messages.message(body="--b\r\n\r\n--b--\r\n", content_type=strange)


MAILS = list(mails())


def test_there_are_several_hundred() -> None:
    """The corpus is as large as it says, and no two are the same."""
    assert len(set(MAILS)) > 600


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("cut", [1.0, 0.99, 0.7])
def test_ordinary_mail_gives_no_report(line_end: bytes, cut: float) -> None:
    """Whole or cut off, with either line end."""
    for mail in MAILS:
        raw = mail.replace(b"\r\n", line_end)
        with pytest.raises(NotAJournalReport):
            journal.decode(raw[: int(len(raw) * cut)])
