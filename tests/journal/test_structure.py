"""The parts of a report: cut as slices, in any order, wrapped, encoded, cut off."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import pytest

from mailarchive import journal
from mailarchive.errors import LimitExceeded
from mailarchive.journal import Disposition, JournalReport
from mailarchive.testing import messages, reports

if TYPE_CHECKING:
    from collections.abc import Callable

    Look = Callable[[bytes], JournalReport | None]

BOUNDARY = reports.BOUNDARY.encode()
ORIGINAL = messages.message(body="Hello,\r\n-- \r\nAlice\r\n")
REPORT = reports.report(ORIGINAL)
TEXT_HEADER = (
    b'Content-Type: text/plain; charset="us-ascii"\r\nContent-Transfer-Encoding: 7bit\r\n'
)
BOUNDARY_LINE = f'Content-Type: multipart/mixed;\r\n\tboundary="{reports.BOUNDARY}"'.encode()


def codes(report: JournalReport | None) -> set[str]:
    """Return the codes of a report's defects."""
    assert report is not None
    return {str(code) for code in report.defect_codes}


def body_of(raw: bytes) -> tuple[bytes, bytes]:
    """Return the top header and the body."""
    head, _, body = raw.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", body


def with_parts(*parts: bytes, close: bool = True) -> bytes:
    """Return a report with these parts for its own."""
    head, _ = body_of(REPORT)
    return head + messages.multipart(parts, boundary=reports.BOUNDARY, close=close)


TEXT = messages.part(
    REPORT.split(b"7bit\r\n\r\n")[1].split(b"\r\n--_")[0],
    'text/plain; charset="us-ascii"',
)
MESSAGE = messages.part(ORIGINAL, "message/rfc822")
FOOTER = messages.part("This message was scanned.\r\n")


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Content-Type: text/plain\r\n",
        b"Content-Type:\r\n",
        b"Content-Type: TEXT/Plain\r\n",
        b"content-type: text/plain;charset=us-ascii\r\n",
        b"Content-Type: text/plain;\r\n\tcharset=us-ascii;\r\n\tformat=flowed\r\n",
        b"Content-Transfer-Encoding: 7BIT\r\n",
        b"Content-Transfer-Encoding: binary\r\nContent-Disposition: inline\r\n",
        b"MIME-Version: 1.0\r\nContent-ID: <1@x>\r\nContent-Description: journal\r\n",
    ],
)
def test_the_header_of_the_text_part_may_be_anything_sensible(header: bytes, look: Look) -> None:
    """No header, no type, odd case, folded parameters: all plain text."""
    report = look(REPORT.replace(TEXT_HEADER, header))

    assert not codes(report)
    assert report is not None
    assert report.recipients[0].written == "bob@example.com"


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Type: multipart/mixed; boundary=" + BOUNDARY,
        b"content-TYPE:Multipart/MIXED; BOUNDARY=" + BOUNDARY,
        b'Content-Type: multipart/mixed; type="x"; boundary="' + BOUNDARY + b'"; foo=bar',
        b'Content-Type: multipart/mixed;boundary = "' + BOUNDARY + b' "',
        b'Content-Type: multipart/mixed; boundary*0="'
        + BOUNDARY[:9]
        + b'";\r\n boundary*1="'
        + BOUNDARY[9:]
        + b'"',
        b"Content-Type: multipart/related; boundary=" + BOUNDARY,
        b"Content-Type: multipart/mixed; boundary=" + BOUNDARY + b" (made by Exchange)",
    ],
)
def test_the_boundary_may_be_written_in_any_way(line: bytes, look: Look) -> None:
    """Quoted or not, continued after RFC 2231, between other parameters."""
    report = look(REPORT.replace(BOUNDARY_LINE, line))

    assert not codes(report)
    assert report is not None
    assert report.view() == ORIGINAL


def test_the_order_of_the_parts_does_not_matter(look: Look) -> None:
    """The original may come first."""
    report = look(with_parts(MESSAGE, TEXT))

    assert not codes(report)
    assert report is not None
    assert report.view() == ORIGINAL


def test_delimiters_may_have_blanks_and_things_around_them(look: Look) -> None:
    """Blanks behind a delimiter, a preamble and an epilogue say nothing."""
    head, body = body_of(REPORT)
    body = body.replace(b"--" + BOUNDARY + b"\r\n", b"--" + BOUNDARY + b" \t \r\n")
    body = body.replace(BOUNDARY + b"--\r\n", BOUNDARY + b"--  \r\n")
    for preamble in (
        b"",
        b"This is a multi-part message.\r\n\r\n",
        b"--" + BOUNDARY[:9] + b"\r\n",
    ):
        report = look(
            head + preamble + body + b"\r\nepilogue\r\n--" + BOUNDARY + b"\r\nno part\r\n"
        )

        assert not codes(report)
        assert report is not None
        assert report.view() == ORIGINAL


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\n", b"  ", b"\r\n\r\n\r\n"])
def test_the_closing_delimiter_may_end_the_file(end: bytes, look: Look) -> None:
    """The last line may lack its line end."""
    report = look(REPORT.removesuffix(b"\r\n") + end)

    assert not codes(report)
    assert report is not None
    assert report.view() == ORIGINAL


@pytest.mark.parametrize(
    "line",
    [
        b"--" + BOUNDARY + b"x",
        b"--" + BOUNDARY + b"x--",
        b"--" + BOUNDARY + b"-",
        b"--" + BOUNDARY + b"---",
        b"--" + BOUNDARY + b"-- x",
        b"--" + BOUNDARY[:-1],
        b" --" + BOUNDARY,
        b"x--" + BOUNDARY + b"--",
        b"--" + BOUNDARY.upper(),
        b"--" + BOUNDARY + b" " * 5_000 + b"x",
    ],
)
def test_only_a_whole_line_is_a_delimiter(line: bytes, look: Look) -> None:
    """What begins like the boundary, or holds it, is content of the original."""
    original = ORIGINAL + line + b"\r\nmore\r\n"
    report = look(reports.report(original))

    assert not codes(report)
    assert report is not None
    assert report.view() == original


@pytest.mark.parametrize(
    "original",
    [
        ORIGINAL.removesuffix(b"\r\n"),
        ORIGINAL + b"\r\n\r\n\r\n",
        ORIGINAL + b"\xff\xfe\x00\x01",
        ORIGINAL + b"no\rline\nends\r\r\n",
        ORIGINAL.replace(b"\r\n", b"\n"),
        ORIGINAL.partition(b"\r\n\r\n")[0] + b"\r\n",
        b"From alice@example.com Mon May  5 08:00:00 2025\r\n" + ORIGINAL,
        b">From alice@example.com Mon May  5 08:00:00 2025\r\n" + ORIGINAL,
        messages.message(content_type='multipart/mixed; boundary="_x_"', body="--_x_--\r\n"),
    ],
)
def test_an_original_comes_back_to_the_byte(original: bytes, look: Look) -> None:
    """Line ends, eight-bit bytes and a missing body are the original's own affair."""
    report = look(reports.report(original))

    assert not codes(report)
    assert report is not None
    assert report.view() == original


@pytest.mark.parametrize("kind", ["message/rfc822", "Message/RFC822", "message/global"])
@pytest.mark.parametrize("encoding", ["7bit", "8bit", "binary", "8BIT", "x-unknown", ""])
def test_an_original_that_is_not_encoded_is_a_slice(kind: str, encoding: str, look: Look) -> None:
    """A transfer encoding that changes nothing, and message/global (RFC 6532), are fine."""
    headers = [("Content-Transfer-Encoding", encoding)]
    report = look(with_parts(TEXT, messages.part(ORIGINAL, kind, headers)))

    assert not codes(report)
    assert report is not None
    assert isinstance(report.originals[0], journal.Span)


@pytest.mark.parametrize("kind", ["message/rfc822", "message/global"])
@pytest.mark.parametrize("encoding", ["base64", "BASE64", "quoted-printable", '"base64"'])
def test_a_transfer_encoded_original_is_decoded_and_noted(
    kind: str, encoding: str, look: Look
) -> None:
    """RFC 2046 forbids it and gateways do it: the bytes are the decoded ones."""
    encoded = (
        binascii.b2a_qp(ORIGINAL)
        if "quoted" in encoding
        else base64.encodebytes(ORIGINAL).replace(b"\n", b"\r\n")
    )
    headers = [("Content-Transfer-Encoding", encoding)]
    report = look(with_parts(TEXT, messages.part(encoded, kind, headers)))

    assert codes(report) == {"rfc822_cte"}
    assert report is not None
    assert report.originals == (ORIGINAL,)


CLEAR = messages.message(
    body="--=_part\r\n\r\ncaf\xe9 =\xe9\r\n",
    content_type='multipart/mixed; boundary="=_part"',
    message_id=None,
)


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_a_false_label_does_not_encode_an_original(encoding: str, look: Look) -> None:
    """Some gateways undo an encoding and leave the label: what is in clear stays as it is."""
    headers = [("Content-Transfer-Encoding", encoding)]
    part = messages.part(CLEAR, "message/rfc822", headers)
    opaque = messages.part(CLEAR, 'application/octet-stream; name="corrupt.eml"', headers)

    for each, code in ((part, "rfc822_cte"), (opaque, "original_as_octet_stream")):
        report = look(with_parts(TEXT, each))
        assert codes(report) == {code}
        assert report is not None
        assert isinstance(report.originals[0], journal.Span)
        assert report.view() == CLEAR


def _in_base64(*pieces: bytes) -> bytes:
    return b"\r\n".join(map(base64.b64encode, pieces))


@pytest.mark.parametrize(
    ("encoded", "begins"),
    [
        (_in_base64(ORIGINAL[:40], ORIGINAL[40:80], ORIGINAL[80:]), ORIGINAL),
        (_in_base64(ORIGINAL) + b"\r\n-- \r\nscanned\r\n", ORIGINAL),
        (_in_base64(ORIGINAL)[:-21], ORIGINAL[:-20]),
        (_in_base64(ORIGINAL)[:50] + b"*" + _in_base64(ORIGINAL)[50:], ORIGINAL),
    ],
)
@pytest.mark.parametrize("kind", ["message/rfc822", 'application/x; name="a.msg"'])
def test_damaged_base64_gives_all_that_is_left_and_says_so(
    encoded: bytes, begins: bytes, kind: str, look: Look
) -> None:
    """Pieces that somebody joined, a footer, an end that is missing, what is no letter."""
    headers = [("Content-Transfer-Encoding", "base64")]
    report = look(with_parts(TEXT, messages.part(encoded, kind, headers)))

    assert "original_malformed" in codes(report)
    assert report is not None
    assert bytes(report.view()).startswith(begins)


def protected(*, message_id: str | None, mark: str = "Content-Class") -> bytes:
    """Return a rights-protected original."""
    if mark == "Content-Class":
        headers = [("Content-Class", "rpmsg.message")]
        return messages.message(headers=headers, message_id=message_id)
    kind = "Application/X-Microsoft-RPMSG-Message" if "type" in mark else "application/x"
    part = messages.attachment(b"\x00\x01", mark, kind)
    return messages.message(attachments=[part], message_id=message_id)


@pytest.mark.parametrize(
    "mark", ["Content-Class", "message.rpmsg", "message_v4.rpmsg", "MESSAGE.RPMSG", "by its type"]
)
def test_a_decrypted_copy_is_told_from_the_record(mark: str, look: Look) -> None:
    """Same Message-ID, and the first is protected: the second is its clear text."""
    first = protected(mark=mark, message_id="<1@example.com>")
    second = messages.message(body="clear text\r\n", message_id="<1@example.com>")
    report = look(reports.report(first, copies=[second]))

    assert not codes(report)
    assert report is not None
    assert report.decrypted_copy_index == 1
    assert [report.view(0), report.view(1)] == [first, second]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (messages.message(), messages.message()),
        (protected(message_id="<1@x>"), messages.message(message_id="<2@x>")),
        (messages.message(message_id="<1@x>"), protected(message_id="<1@x>")),
        (protected(message_id=None), messages.message(message_id=None)),
    ],
)
def test_any_other_second_original_is_unexplained(first: bytes, second: bytes, look: Look) -> None:
    """Both come back, and nothing is said of what the second is."""
    report = look(reports.report(first, copies=[second]))

    assert "second_original_unexplained" in codes(report)
    assert report is not None
    assert report.decrypted_copy_index is None
    assert len(report.originals) == 2


@pytest.mark.parametrize("count", [3, 4, 10])
def test_three_originals_are_too_many(count: int, look: Look) -> None:
    """Nobody can say which of them the envelope belongs to."""
    report = look(with_parts(TEXT, *[MESSAGE] * count))

    assert report is not None
    assert report.disposition is Disposition.QUARANTINE
    assert "too_many_originals" in codes(report)


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("corrupt.eml", "application/octet-stream", "original_as_octet_stream"),
        ("Any name.EML", "application/octet-stream", "original_as_octet_stream"),
        ("Numbers.msg", "application/octet-stream", "original_is_msg"),
        ("Numbers.MSG", "application/x-msg", "original_is_msg"),
        ("Numbers", "application/vnd.ms-outlook", "original_is_msg"),
        ("winmail.dat", "application/octet-stream", "original_is_tnef"),
        ("x", "application/ms-tnef", "original_is_tnef"),
        ("x", "Application/VND.MS-TNEF", "original_is_tnef"),
    ],
)
def test_an_original_that_is_no_message_is_kept_as_it_is(
    name: str, kind: str, code: str, look: Look
) -> None:
    """Its decoded bytes come back opaque; they are not compared with the envelope."""
    content = b"\xd0\xcf\x11\xe0 no header at all\r\n"
    report = look(with_parts(TEXT, messages.attachment(content, name, kind)))

    assert codes(report) == {code}
    assert report is not None
    assert report.opaque
    assert report.originals == (content,)


def test_an_opaque_original_without_encoding_is_a_slice(look: Look) -> None:
    """Where nothing must be undone, nothing is copied."""
    part = messages.part(ORIGINAL, 'application/octet-stream; name="corrupt.eml"')
    report = look(with_parts(TEXT, part))

    assert report is not None
    assert isinstance(report.originals[0], journal.Span)
    assert report.view() == ORIGINAL


@pytest.mark.parametrize(
    "disposition",
    [
        'attachment; filename="corrupt.eml"',
        "attachment; filename=corrupt.eml",
        "attachment; filename*=utf-8''corrupt%2Eeml",
        "attachment;\r\n filename*0=corr;\r\n filename*1=upt.eml",
        "attachment; filename*0*=utf-8'en'corr; filename*1*=upt%2e; filename*2=eml",
        'attachment; filename="=?utf-8?B?Y29ycnVwdC5lbWw=?="',
    ],
)
def test_the_name_of_an_attachment_may_be_written_in_any_way(disposition: str, look: Look) -> None:
    """Plain, RFC 2231 and (wrongly, but commonly) RFC 2047."""
    headers = [("Content-Disposition", disposition)]
    part = messages.part(ORIGINAL, "application/octet-stream", headers)

    assert codes(look(with_parts(TEXT, part))) == {"original_as_octet_stream"}


@pytest.mark.parametrize(
    "parts",
    [
        (TEXT, MESSAGE, FOOTER),
        (TEXT, FOOTER, MESSAGE),
        (FOOTER, TEXT, MESSAGE),
        (FOOTER, MESSAGE, TEXT, FOOTER),
        (TEXT, MESSAGE, messages.attachment(b"logo", "logo.png", "image/png")),
        (TEXT, MESSAGE, messages.attachment(b"msg", "x.msg")),
        (TEXT, MESSAGE, messages.part("", "message/rfc822")),
        (TEXT, messages.part("\r\n", "message/rfc822"), MESSAGE),
        (TEXT, messages.part("<p>disclaimer</p>", "text/html"), MESSAGE),
    ],
)
def test_parts_of_a_gateway_are_noted_and_named(parts: tuple[bytes, ...], look: Look) -> None:
    """A footer or a banner, before or after, is an extra part, and its place is kept."""
    raw = with_parts(*parts)
    report = look(raw)

    assert codes(report) == {"extra_part"}
    assert report is not None
    assert len(report.extra_parts) == len(parts) - 2
    assert all(span.of(raw) in parts for span in report.extra_parts)
    assert report.view() == ORIGINAL


def test_a_multipart_with_nothing_in_it_is_an_extra_part(look: Look) -> None:
    """Without a boundary, or without a part."""
    for kind in ("multipart/mixed", "multipart/mixed; boundary=none"):
        raw = with_parts(TEXT, MESSAGE, messages.part("nothing\r\n", kind))

        assert codes(look(raw)) == {"extra_part"}


@pytest.mark.parametrize("kind", ["mixed", "related", "signed; protocol=x"])
@pytest.mark.parametrize("footer", [True, False])
def test_a_report_wrapped_once_more_is_opened(kind: str, footer: bool, look: Look) -> None:
    """A gateway's multipart around the report is an extra part, and no obstacle."""
    head, body = body_of(REPORT)
    content_type = BOUNDARY_LINE.partition(b": ")[2].decode()
    inside = messages.part(body, content_type)
    outer = messages.multipart([inside, *[FOOTER] * footer], boundary="outer")
    new_head = head.replace(content_type.encode(), f"multipart/{kind}; boundary=outer".encode())
    report = look(new_head + outer)

    assert codes(report) == {"extra_part"}
    assert report is not None
    assert report.view() == ORIGINAL


def test_a_wrapped_exchange_2003_alternative_is_opened(look: Look) -> None:
    """Wrapper, report and alternative are three levels, which is the limit."""
    report = look(reports.wrapped(reports.report(dialect="exchange2003-alternative")))

    assert codes(report) == {"extra_part"}


def test_plain_text_is_preferred_to_html_in_an_alternative(look: Look) -> None:
    """Whatever their order, the plain form is read, and the other is no extra part."""
    markup = messages.part("<p>Sender: x@example.com<br>To: wrong@example.com</p>", "text/html")
    for forms in ([TEXT, markup], [markup, TEXT]):
        content = messages.multipart(forms, boundary="alt")
        part = messages.part(content, "multipart/alternative; boundary=alt")
        report = look(with_parts(part, MESSAGE))

        assert not codes(report)
        assert report is not None
        assert report.recipients[0].written == "bob@example.com"


@pytest.mark.parametrize("content", [b"", b"\r\n", b"  \r\n\r\n\t"])
def test_an_empty_original_is_missing(content: bytes, look: Look) -> None:
    """White space is no message; what the envelope says is kept for an operator."""
    report = look(with_parts(TEXT, messages.part(content, "message/rfc822")))

    assert report is not None
    assert codes(report) == {"original_missing"}
    assert report.disposition is Disposition.QUARANTINE
    assert report.originals == ()
    assert report.recipients


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/ms-tnef; name=winmail.dat",
        "multipart/mixed",
        'multipart/mixed; boundary=""',
        "multipart/mixed; boundary=other",
        "message/rfc822",
        "",
    ],
)
def test_a_marker_on_something_else_is_quarantined(content_type: str, look: Look) -> None:
    """Not multipart, no boundary, another boundary: nothing is claimed."""
    raw = REPORT.replace(BOUNDARY_LINE, f"Content-Type: {content_type}".encode())
    report = look(raw)

    assert report is not None
    assert {"envelope_missing", "original_missing"} <= codes(report)
    assert report.originals == ()
    assert report.recipients == ()


@pytest.mark.parametrize(
    "begin", [b"no header here\r\n", b"\r\n", b" folded\r\n", b"\x00\x01\r\n"]
)
def test_an_original_that_begins_with_no_header_is_noted(begin: bytes, look: Look) -> None:
    """It is kept to the byte all the same."""
    original = begin + ORIGINAL
    report = look(with_parts(TEXT, messages.part(original, "message/rfc822")))

    assert "original_malformed" in codes(report)
    assert report is not None
    assert report.view() == original


def test_an_unclosed_report_says_that_it_is_truncated(look: Look) -> None:
    """The closing delimiter is missing and the original's header is whole: degraded."""
    report = look(reports.report(ORIGINAL, defects=["truncated"]))

    assert codes(report) == {"truncated"}
    assert report is not None
    assert report.view() == ORIGINAL + b"\r\n"


def test_every_cut_gives_what_its_place_allows(look: Look) -> None:
    """Cut in the envelope or in the original's header: quarantine, and half a list is none."""
    second = REPORT.index(b"--" + BOUNDARY, REPORT.index(b"Sender: alice"))
    body = REPORT.index(b"\r\n\r\nHello") + 4
    top = REPORT.index(b"X-MS-Journal-Report:") + 20
    for end in range(top, len(REPORT) - 4):
        report = look(REPORT[:end])

        assert report is not None
        assert "truncated" in codes(report)
        if end <= second + len(BOUNDARY) + 1:
            assert report.recipients == ()
            assert report.disposition is Disposition.QUARANTINE
        else:
            assert [line.written for line in report.recipients] == ["bob@example.com"]
        if end < body:
            assert report.originals == ()
            assert report.disposition is Disposition.QUARANTINE
        else:
            assert report.disposition is Disposition.DEGRADED


def test_a_report_in_a_report_is_flagged_and_opened_only_when_asked(look: Look) -> None:
    """The outer one is decoded; `unwrap` opens the inner, up to the limit of nesting."""
    inner = reports.report(ORIGINAL)
    outer = look(reports.report(inner))

    assert outer is not None
    assert outer.nested
    assert outer.view() == inner
    opened = journal.unwrap(outer)
    assert not opened.nested
    assert opened.view() == ORIGINAL
    assert opened.recipients[0].written == "bob@example.com"
    with pytest.raises(LimitExceeded):
        journal.unwrap(opened)


def test_a_report_in_an_encoded_report_is_opened_too(look: Look) -> None:
    """The inner report of a transfer-encoded original refers to the decoded bytes."""
    outer = look(reports.report(reports.report(ORIGINAL), defects=["rfc822_cte"]))

    assert outer is not None
    assert outer.nested
    assert journal.unwrap(outer).view() == ORIGINAL


def test_an_ordinary_original_is_not_nested(look: Look) -> None:
    """A forward of a report, inside the original, does not make the original one."""
    report = look(reports.report(messages.forward(reports.report())))

    assert report is not None
    assert not report.nested
