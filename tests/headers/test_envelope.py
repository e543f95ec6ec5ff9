"""What an ordinary message says of itself; total on any bytes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailarchive import headers
from mailarchive._model import AddressKind, Envelope, Origin, Role
from mailarchive.testing import messages, strategies


def mail(*lines: str) -> bytes:
    """Return a message with these header lines."""
    return "\r\n".join([*lines, "", "body\r\n"]).encode("utf-8", "surrogateescape")


def recipients(envelope: Envelope) -> list[str]:
    """Return the recipients, each with its role."""
    return [f"{each.role} {each.address.spec}" for each in envelope.recipients]


def test_an_envelope_is_what_the_header_says() -> None:
    """Sender, principal, recipients in roles, subject, Message-ID, date."""
    raw = messages.message(
        sender="s@x.example",
        on_behalf_of="f@x.example",
        to=["Bob <bob@x.example>", "eve@x.example"],
        cc=["carol@x.example"],
        bcc=["dan@x.example"],
        subject="Grüße",
        message_id="<1@x.example>",
    )
    said = headers.envelope(raw)

    assert str(said.sender) == "s@x.example"
    assert str(said.on_behalf_of) == "f@x.example"
    assert recipients(said) == [
        "to bob@x.example", "to eve@x.example", "cc carol@x.example", "bcc dan@x.example",
    ]  # fmt: skip
    assert said.subject == "Grüße"
    assert said.message_id == "<1@x.example>"
    assert said.date == messages.LONG_AGO
    assert said.origin is Origin.HEADERS


@pytest.mark.parametrize(
    ("lines", "sender", "principal"),
    [
        (["From: a@x.example"], "a@x.example", None),
        (["From: a@x.example", "Sender: A@X.example"], "a@x.example", None),
        (["From: a@x.example", "Sender: s@x.example"], "s@x.example", "a@x.example"),
        (["From: a@x.example, b@x.example"], "a@x.example", "b@x.example"),
        (["From: a@x.example, b@x.example", "Sender: a@x.example"], "a@x.example", "b@x.example"),
        (["Sender: s@x.example"], "s@x.example", None),
        (["From: No Body", "Sender:"], None, None),
        ([], None, None),
    ],
)
def test_the_sender_is_who_sent_and_the_principal_is_somebody_else(
    lines: list[str], sender: str | None, principal: str | None
) -> None:
    """`Sender:`, or else the first of `From:`; the first of `From:` that differs."""
    said = headers.envelope(mail(*lines))

    assert said.sender is None if sender is None else str(said.sender).lower() == sender
    assert said.on_behalf_of is None if principal is None else str(said.on_behalf_of) == principal


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a@x.example", ["a@x.example"]),
        ("A <a@x.example>,\r\n B <b@x.example>", ["a@x.example", "b@x.example"]),
        ('"D, J" <d@x.example>, (note (b@x)) c@x.example', ["d@x.example", "c@x.example"]),
        ("Us: a@x.example, B <b@x.example>;, c@x", ["a@x.example", "b@x.example", "c@x"]),
        ("undisclosed-recipients:;", []),
        ("<@relay.example,@other.example:a@x.example>", ["a@x.example"]),
        ('"a b"@x.example, a@[192.0.2.1]', ['"a b"@x.example', "a@[192.0.2.1]"]),
        ("=?utf-8?q?=3Cvictim=40x=2Eexample=3E?= <a@x.example>", ["a@x.example"]),
        ('"victim@x.example" <a@x.example>', ["a@x.example"]),
        ("victim@x.example <a@x.example>", ["a@x.example"]),
        ("Doe, John <j@x.example>", ["j@x.example"]),
        ("Bob Smith", []),
        ("root", ["root"]),
        ("a @ x . example", ["a@x.example"]),
        ("a@x.example b@x.example\r\n c@x.example", ["a@x.example", "b@x.example", "c@x.example"]),
        ("<a@x.example> <b@x.example>", ["a@x.example", "b@x.example"]),
        ('"open <a@x.example', ["a@x.example"]),
        ("josé@пример.example", ["josé@пример.example"]),
        ("a@x.example;b@x.example", ["a@x.example", "b@x.example"]),
        (",,, ;; <>", []),
    ],
)  # fmt: skip
def test_addresses_are_read_from_any_list(value: str, expected: list[str]) -> None:
    """Names, comments, groups, routes; an encoded word or a quoted name hides no address."""
    said = headers.envelope(mail(f"To: {value}"))

    assert [str(each.address) for each in said.recipients] == expected


def test_every_field_of_a_name_counts() -> None:
    """Two `To:` fields, in any case and with obsolete blanks, are one list."""
    said = headers.envelope(mail("To: a@x.example", "tO : b@x.example", "TO:c@x.example"))

    assert recipients(said) == ["to a@x.example", "to b@x.example", "to c@x.example"]


def test_an_x500_name_is_no_smtp_address() -> None:
    """Its kind is told by its shape."""
    said = headers.envelope(mail("From: <EX:/o=C/cn=a>"))

    assert said.sender is not None
    assert said.sender.kind is AddressKind.X500


@pytest.mark.parametrize(
    ("line", "subject"),
    [
        ("Subject: plain", "plain"),
        ("Subject:", ""),
        ("Subject: =?utf-8?B?R3LDvMOfZQ==?=", "Grüße"),
        ("Subject: =?UTF-8?Q?Gr=C3=BC?=\r\n =?UTF-8?Q?=C3=9Fe?= now", "Grüße now"),
        ("Subject: =?utf-8?Q?Gr=C3?= =?utf-8?Q?=BC=C3=9Fe?=", "Grüße"),
        ("Subject: =?iso-8859-1*de?Q?Gr=FC=DFe?=", "Grüße"),
        ("Subject: =?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"),
        ("Subject: =?gb2312?B?h9Y=?=", "囍"),
        ("Subject: =?x-unknown?Q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("Subject: =?utf-8?B?!?=", ""),
        ("Subject: =?utf-8?X?a?=", "=?utf-8?X?a?="),
        ("Subject: a =?utf-8?Q?b_c?= d", "a b c d"),
        ("Subject: folded\r\n\tline", "folded\tline"),
        ("Subject: Grüße", "Grüße"),
        ("X: y", None),
    ],
)
def test_a_subject_is_decoded_as_far_as_it_can_be(line: str, subject: str | None) -> None:
    """Encoded words, raw bytes, characters broken over two words, unknown charsets."""
    assert headers.envelope(mail(line)).subject == subject


def test_raw_bytes_that_are_no_utf_8_are_read_as_windows_1252() -> None:
    """As the mail readers of their time did."""
    assert headers.envelope(b"Subject: Gr\xfc\xdfe \x80\n\n").subject == "Grüße €"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Mon, 5 May 2025 10:00:01 +0200", (2025, 5, 5, 8, 0, 1)),
        ("5 May 2025 08:00 GMT", (2025, 5, 5, 8, 0, 0)),
        ("Mon, 05 May 2025 08:00:01 +0000 (UTC)", (2025, 5, 5, 8, 0, 1)),
        ("Mon, 5 May 2025 03:00:00 EST", (2025, 5, 5, 8, 0, 0)),
        ("Mon,5 May 2025 08:00:00 Z", (2025, 5, 5, 8, 0, 0)),
        ("Mon, 5 May 2025 08:00:00", (2025, 5, 5, 8, 0, 0)),
        ("Monday, 05-May-25 08:00:00 XYZ", (2025, 5, 5, 8, 0, 0)),
        ("1 Jan 70 00:00:00 +0000", (1970, 1, 1, 0, 0, 0)),
        ("1 Jan 100 00:00:00 +0000", (2000, 1, 1, 0, 0, 0)),
        ("Sat, 31 Dec 2016 23:59:60 +0000", (2016, 12, 31, 23, 59, 59)),
        ("Tue, 1 Jul 2025 00:30:00 -0130", (2025, 7, 1, 2, 0, 0)),
    ],
)
def test_a_date_is_aware_utc(value: str, expected: tuple[int, ...]) -> None:
    """Also old forms, unknown zones and leap seconds (RFC 5322, 3.3 and 4.3)."""
    raw = mail(f"Date: {value}")
    year, month, day, hour, minute, second = expected
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)

    assert headers.date(raw) == moment
    assert headers.envelope(raw).date == moment


@pytest.mark.parametrize(
    "value",
    ["", "yesterday", "31 Feb 2025 08:00:00 +0000", "5 Xyz 2025 08:00:00 +0000",
     "1 Jan 0001 00:00:00 +2300", "5 May 2025 25:00:00 +0000", " " * 100_000, "(" * 100_000],
)  # fmt: skip
def test_no_date_is_none(value: str) -> None:
    """Missing, impossible and hostile dates."""
    assert headers.date(mail(f"Date: {value}")) is None


@given(st.binary(max_size=400) | strategies.damaged(strategies.originals()))
def test_no_bytes_raise(raw: bytes) -> None:
    """Every function takes any bytes."""
    said = headers.envelope(raw)

    assert said.origin is Origin.HEADERS
    assert said.date is None or said.date.tzinfo is UTC
    assert headers.date(raw) == said.date
    assert len(headers.fork_key(raw).value) == 32
    roles = {each.role for each in said.recipients}
    assert roles <= {Role.TO, Role.CC, Role.BCC}
    everybody = {each.address for each in said.recipients}
    assert set(headers.addresses(raw, ["to", "CC", "Bcc"])) == everybody
    assert len(headers.without(raw, ["Bcc", "To"])) <= len(raw)


def test_the_addresses_of_named_fields_come_in_the_order_of_the_names() -> None:
    """For rules about who may see what."""
    raw = mail("Bcc: b@x.example", "To: a@x.example", "Resent-To: c@x.example")

    assert [str(each) for each in headers.addresses(raw, ["Resent-To", "to", "BCC", ""])] == [
        "c@x.example", "a@x.example", "b@x.example",
    ]  # fmt: skip
