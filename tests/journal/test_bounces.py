"""Bounces of reports: opened one level, with the recipients that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailarchive.journal import Disposition, Kind
from mailarchive.testing import messages, reports

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailarchive.journal import JournalReport

    Look = Callable[[bytes], JournalReport | None]

ORIGINAL = messages.message()
REPORT = reports.report(ORIGINAL)


def codes(report: JournalReport | None) -> set[str]:
    """Return the codes of a report's defects."""
    assert report is not None
    return {str(code) for code in report.defect_codes}


def failed(report: JournalReport | None) -> list[str]:
    """Return to whom the report could not be delivered."""
    assert report is not None
    assert report.bounce is not None
    return [address.spec for address in report.bounce.failed]


def test_a_bounce_of_a_report_is_the_report(look: Look) -> None:
    """The envelope and the original are the report's; the kind says how it came back."""
    raw = messages.bounce(REPORT, failed=["a@example.net", "b@example.net"])
    report = look(raw)

    assert report is not None
    assert report.kind is Kind.BOUNCE
    assert report.disposition is Disposition.OK
    assert report.bounce is not None
    assert report.bounce.kind is Kind.EXCHANGE_2007
    assert failed(report) == ["a@example.net", "b@example.net"]
    assert report.recipients[0].written == "bob@example.com"
    assert report.view() == ORIGINAL
    assert report.view().obj is raw


@pytest.mark.parametrize("dialect", list(reports.Dialect))
def test_a_report_of_any_dialect_may_come_back(dialect: reports.Dialect, look: Look) -> None:
    """The bounce says which family it was."""
    raw = reports.report(ORIGINAL, dialect=dialect)
    alone, returned = look(raw), look(messages.bounce(raw))

    assert alone is not None
    assert returned is not None
    assert returned.bounce is not None
    assert returned.bounce.kind is alone.kind
    assert returned.recipients == alone.recipients


def test_a_report_without_marker_may_come_back(look: Look) -> None:
    """The other signs count inside a bounce as they do outside."""
    report = look(messages.bounce(reports.report(ORIGINAL, defects=["marker_missing"])))

    assert report is not None
    assert report.kind is Kind.BOUNCE
    assert codes(report) == {"marker_missing"}


SUBJECTS = [
    "Undeliverable: Quarterly numbers",
    "Undelivered Mail Returned to Sender",
    "Delivery Status Notification (Failure)",
    "Mail delivery failed: returning message to sender",
    "Unzustellbar: Quartalszahlen",
    "Non remis : Chiffres",
    "No se puede entregar: Cifras",
    "Non recapitabile: Numeri",
    "Não é possível entregar: Números",
    "Onbestelbaar: Cijfers",
    "Kan ikke leveres: Tall",
    "Nie można dostarczyć: Liczby",
    "Недоставлено: Отчёт",
    "配信不能: 四半期",
    "无法送达: 季度",
    "배달되지 않음: 분기",
]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_an_older_bounce_is_known_by_its_subject(subject: str, look: Look) -> None:
    """A multipart/mixed with the report, in the language of the server."""
    raw = messages.bounce(REPORT, subject=subject, is_report=False)
    raw = raw.replace(b"Return-Path: <>\r\n", b"").replace(b"auto-replied", b"no")
    report = look(raw)

    assert report is not None
    assert report.kind is Kind.BOUNCE
    assert failed(report) == []


def bare(*headers: tuple[str, str]) -> bytes:
    """Return a multipart/mixed with the report, that a person could have sent."""
    parts = [messages.part("text"), messages.part(REPORT, "message/rfc822")]
    return messages.message(
        subject="Re: numbers",
        body=messages.multipart(parts, boundary="b"),
        content_type="multipart/mixed; boundary=b",
        headers=headers,
    )


@pytest.mark.parametrize(
    ("headers", "is_bounce"),
    [
        ([("Return-Path", "<>"), ("Auto-Submitted", "auto-replied")], True),
        ([("Return-Path", "<>"), ("Auto-Submitted", "auto-generated")], True),
        ([("X-Failed-Recipients", "archive@example.net")], True),
        ([("Return-Path", "<>"), ("Auto-Submitted", "no")], False),
        ([("Return-Path", "<>")], False),
        ([("Auto-Submitted", "auto-replied")], False),
        ([("Return-Path", "<bob@example.com>"), ("Auto-Submitted", "auto-replied")], False),
        ([], False),
    ],
)
def test_without_a_bounces_form_its_headers_must_say_it(
    headers: list[tuple[str, str]], is_bounce: bool, look: Look
) -> None:
    """An automatic answer to the null return path is one; a forward by a person is not."""
    assert (look(bare(*headers)) is not None) == is_bounce


def test_a_delivery_status_makes_a_bounce_of_any_multipart(look: Look) -> None:
    """Some gateways lose the report type and keep the parts."""
    raw = messages.bounce(REPORT, subject="Re: numbers")
    for old in (b"Return-Path: <>\r\n", b"Auto-Submitted: auto-replied\r\n"):
        raw = raw.replace(old, b"")
    report = look(
        raw.replace(b"multipart/report; report-type=delivery-status", b"multipart/mixed")
    )

    assert failed(report) == ["archive@example.net"]


def test_a_failed_recipient_may_stand_in_the_header_alone(look: Look) -> None:
    """`X-Failed-Recipients` counts where there is no delivery status."""
    report = look(bare(("X-Failed-Recipients", "a@example.net, b@example.net")))

    assert failed(report) == ["a@example.net", "b@example.net"]


STATUS = [
    ("Final-Recipient: rfc822;a@x.example\r\nAction: failed\r\n", ["a@x.example"]),
    ("Final-recipient: RFC822;\r\n a@x.example\r\nAction: FAILED\r\n", ["a@x.example"]),
    ("Final-Recipient: rfc822; <a@x.example>\r\n", ["a@x.example"]),
    ("Final-Recipient: utf-8; josé@x.example\r\nAction: failed\r\n", ["josé@x.example"]),
    ("Original-Recipient: rfc822;a@x.example\r\nAction: failed\r\n", ["a@x.example"]),
    ("Final-Recipient: rfc822;a@x.example\r\nAction: delayed\r\n", []),
    (
        (
            "Final-Recipient: rfc822;a@x.example\r\nAction: delivered\r\n\r\n"
            "Final-Recipient: rfc822;b@x.example\r\nAction: failed\r\n\r\n"
            "Final-Recipient: rfc822;B@X.example\r\nAction: failed\r\n"
        ),
        ["b@x.example"],
    ),
    ("", []),
    ("garbage\r\n: x\r\nFinal-Recipient\r\n", []),
]


@pytest.mark.parametrize(("status", "expected"), STATUS)
@pytest.mark.parametrize("kind", ["message/delivery-status", "message/global-delivery-status"])
def test_the_delivery_status_names_who_failed(
    status: str, expected: list[str], kind: str, look: Look
) -> None:
    """Each once, in order, and only those that failed (RFC 3464)."""
    head, _, body = messages.bounce(REPORT, failed=[]).partition(b"Reporting-MTA")
    rest = body.partition(b"\r\n\r\n")[2]
    whole = f"Reporting-MTA: dns;mail.example.com\r\n\r\n{status}\r\n".encode()
    raw = head.replace(b"message/delivery-status", kind.encode()) + whole + rest
    report = look(raw)

    assert failed(report) == expected


def test_a_bounce_with_the_header_only_is_quarantined(look: Look) -> None:
    """That a report was lost is known, and to whom; nothing else is claimed."""
    for kind in (b"text/rfc822-headers", b"message/rfc822-headers"):
        raw = messages.bounce(REPORT, only_headers=True).replace(b"text/rfc822-headers", kind)
        report = look(raw)

        assert report is not None
        assert report.kind is Kind.BOUNCE
        assert report.disposition is Disposition.QUARANTINE
        assert codes(report) == {"envelope_missing", "original_missing"}
        assert failed(report) == ["archive@example.net"]
        assert report.recipients == ()
        assert report.originals == ()


def test_only_one_level_is_opened(look: Look) -> None:
    """A bounce of a bounce, and a bounce of a forward, are ordinary mail."""
    assert look(messages.bounce(messages.bounce(REPORT))) is None
    assert look(messages.bounce(messages.forward(REPORT))) is None


def test_other_bounces_are_ordinary_mail(look: Look) -> None:
    """Of a mail, of its header, and a read receipt."""
    for raw in (
        messages.bounce(ORIGINAL),
        messages.bounce(ORIGINAL, only_headers=True),
        messages.bounce(ORIGINAL, is_report=False),
        messages.read_receipt(ORIGINAL),
        messages.bounce(reports.report(defects=["marker_missing", "envelope_missing"])),
    ):
        assert look(raw) is None


def test_a_damaged_report_in_a_bounce_is_as_damaged(look: Look) -> None:
    """The defects of what came back are those of the bounce."""
    for defect in ("no_recipients", "original_missing", "envelope_missing"):
        raw = reports.report(ORIGINAL, defects=[defect])
        alone, returned = look(raw), look(messages.bounce(raw))

        assert alone is not None
        assert returned is not None
        assert codes(returned) == codes(alone)
        assert returned.disposition is alone.disposition


def test_an_encoded_report_in_a_bounce_is_decoded(look: Look) -> None:
    """Then its original is bytes, because it is no slice of the bounce."""
    encoded = messages.attachment(REPORT, "report.eml", "message/rfc822")
    raw = messages.bounce(REPORT).replace(messages.part(REPORT, "message/rfc822"), encoded)
    report = look(raw)

    assert codes(report) == {"rfc822_cte"}
    assert report is not None
    assert report.originals == (ORIGINAL,)


def test_a_false_label_does_not_encode_a_report_in_a_bounce(look: Look) -> None:
    """What stands there in clear is a slice of the bounce, whatever its label says."""
    part = messages.part(REPORT, "message/rfc822", [("Content-Transfer-Encoding", "base64")])
    report = look(messages.bounce(REPORT).replace(messages.part(REPORT, "message/rfc822"), part))

    assert codes(report) == {"rfc822_cte"}
    assert report is not None
    assert report.view() == ORIGINAL
    assert report.view().obj is report.raw


def test_damaged_base64_of_a_report_in_a_bounce_is_noted(look: Look) -> None:
    """All that is left comes back, and that something may be missing is said."""
    encoded = messages.attachment(REPORT, "report.eml", "message/rfc822") + b"\r\n-- \r\n*\r\n"
    raw = messages.bounce(REPORT).replace(messages.part(REPORT, "message/rfc822"), encoded)
    report = look(raw)

    assert codes(report) == {"rfc822_cte", "original_malformed"}
    assert report is not None
    assert report.originals == (ORIGINAL,)


def test_a_bounce_that_breaks_off_says_so(look: Look) -> None:
    """Behind the returned report nothing is lost but the bounce's own end."""
    raw = messages.bounce(REPORT)
    report = look(raw[: raw.rindex(b"--=_mailarchive")])

    assert codes(report) == {"truncated"}
    assert report is not None
    assert report.view() == ORIGINAL


def test_a_bounce_with_the_marker_is_a_bounce(look: Look) -> None:
    """A server that copies the marker to its bounce does not make that the report."""
    report = look(b"X-MS-Journal-Report:\r\n" + messages.bounce(REPORT))

    assert report is not None
    assert report.kind is Kind.BOUNCE
    assert report.view() == ORIGINAL


def test_the_other_message_in_a_bounce_is_passed_over(look: Look) -> None:
    """Exchange attaches its own explanation as a second message."""
    note = messages.part(
        b"Content-Type: text/plain\r\n\r\nReporting-MTA: dns;x\r\n", "message/rfc822"
    )
    returned = messages.part(REPORT, "message/rfc822")
    mark = b"--=_mailarchive_part_=\r\n"
    raw = messages.bounce(REPORT).replace(returned, note + b"\r\n" + mark + returned)
    report = look(raw)

    assert codes(report) == set()
    assert report is not None
    assert report.view() == ORIGINAL
