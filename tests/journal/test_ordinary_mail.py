"""Ordinary mail gives no false report: several hundred kinds and combinations of it."""

from __future__ import annotations

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
    assert len(set(MAILS)) > 400


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("cut", [1.0, 0.99, 0.7])
def test_ordinary_mail_gives_no_report(line_end: bytes, cut: float) -> None:
    """Whole or cut off, with either line end."""
    for mail in MAILS:
        raw = mail.replace(b"\r\n", line_end)
        with pytest.raises(NotAJournalReport):
            journal.decode(raw[: int(len(raw) * cut)])
