"""The key of a message's forks: equal for forks, different for any two messages."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailarchive import headers
from mailarchive._model import Digest
from mailarchive.testing import messages, strategies

TRANSPORT = ("Received", "X-MS-Exchange-Organization-Id", "ARC-Seal", "DKIM-Signature", "X-Any")
KEYED = {"date": "Date", "from": "From", "subject": "Subject", "to": "To", "cc": "Cc"}
LINES = st.lists(st.tuples(st.sampled_from(TRANSPORT), st.text("abc =;", max_size=20)), max_size=5)


def with_lines(raw: bytes, lines: list[tuple[str, str]]) -> bytes:
    """Return the message as it looks behind more servers."""
    return messages.fields(lines) + raw


@given(strategies.originals(), LINES, LINES)
def test_transport_headers_do_not_change_the_key(
    raw: bytes, some: list[tuple[str, str]], others: list[tuple[str, str]]
) -> None:
    """Forks differ in nothing else."""
    key = headers.fork_key(with_lines(raw, some))

    assert key == headers.fork_key(with_lines(raw, others))


@given(strategies.originals())
def test_folding_does_not_change_the_key(raw: bytes) -> None:
    """White space in a header is the transport's."""
    folded = raw.replace(b"Date: Mon, 5 ", b"DATE:\r\n Mon,\r\n\t 5  ", 1)

    assert headers.fork_key(folded) == headers.fork_key(raw)


@given(st.lists(st.sampled_from([*b'" \t\r\n\x0b\x0c\\a;\x1c\x85\xa0\0'])).map(bytes))
def test_white_space_is_collapsed_outside_of_quotes_alone(value: bytes) -> None:
    """As the pattern says it, which is the rule; without it for what has no escapes."""
    single = headers._BLANKS.sub(lambda found: found[1] or b" ", value)
    expected = single if b'"' in value else b" ".join(value.split())

    assert headers._collapsed(value) == expected


@pytest.mark.parametrize("name", [*KEYED.values(), "Message-ID"])
def test_each_header_that_the_author_wrote_changes_the_key(name: str) -> None:
    """Two mails that share a Message-ID are told apart by any of them."""
    raw = messages.message(cc=["c@x.example"], message_id="<1@x>")
    for new in (b"\r\n" + name.encode() + b": other ", b"\r\nX-" + name.encode() + b": "):
        other = raw.replace(b"\r\n" + name.encode() + b": ", new)
        other = b"From: x" + raw[4:] if name == "From" else other

        assert other != raw
        assert headers.fork_key(other) != headers.fork_key(raw)


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_the_body_changes_the_key(one: bytes, two: bytes) -> None:
    """Equal keys mean equal bodies."""
    keys = [
        headers.fork_key(messages.message(body=body, message_id="<1@x>")) for body in (one, two)
    ]

    assert (keys[0] == keys[1]) == (one == two)


@given(st.text("ab", max_size=3), st.text("ab", max_size=3))
def test_values_do_not_run_into_each_other(one: str, two: str) -> None:
    """What moves from one header to the next changes the key."""
    split = [
        messages.message(subject=a, to=[b], message_id="<1@x>")
        for a, b in ((one, two), (one + two, ""))
    ]

    assert (headers.fork_key(split[0]) == headers.fork_key(split[1])) == (two == "")


@given(st.binary(max_size=200))
def test_without_a_message_id_the_key_is_of_the_whole(raw: bytes) -> None:
    """Nothing tells a fork from another mail then."""
    if b"essage-" not in raw.lower():
        assert headers.fork_key(raw) == Digest.of(raw)


@pytest.mark.parametrize("written", ["", "  ", "\r\n "])
def test_an_empty_message_id_is_none(written: str) -> None:
    """A field without a value identifies nothing."""
    raw = messages.message(message_id="<1@x>").replace(b"<1@x>", written.encode())

    assert headers.fork_key(raw) == Digest.of(raw)


@pytest.mark.parametrize(
    "line",
    [
        b"Sender: other@example.com",
        b"Reply-To: other@example.com",
        b'Content-Type: multipart/mixed; boundary="B"',
        b"Content-Transfer-Encoding: base64",
        b"Content-Disposition: attachment",
        b"MIME-Version: 1.0",
        b"Resent-From: other@example.com",
        b"X-Any: a\rFrom: other@example.com",
        b"X-Any: a\r\r\nFrom: other@example.com",
        b"Fr\0om: other@example.com",
    ],
)
def test_what_is_shown_otherwise_is_another_message(line: bytes) -> None:
    """The same bytes read in another way would hide behind those that came first."""
    raw = messages.message(message_id="<1@x>")

    assert headers.fork_key(line + b"\r\n" + raw) != headers.fork_key(raw)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'multipart/mixed; boundary="a b"', b'multipart/mixed; boundary="a  b"'),
        (b'multipart/mixed; boundary="a\\"  b"', b'multipart/mixed; boundary="a\\" b"'),
        (b'multipart/mixed; boundary="a\tb"', b'multipart/mixed; boundary="a b"'),
    ],
)
def test_blanks_in_quotes_are_the_authors(one: bytes, other: bytes) -> None:
    """Another boundary opens another message over the same body."""
    raw = messages.message(message_id="<1@x>")

    keys = {headers.fork_key(b"Content-Type: " + kind + b"\r\n" + raw) for kind in (one, other)}

    assert len(keys) == 2


def test_blanks_outside_of_quotes_are_the_transports() -> None:
    """A server may fold a field anywhere else."""
    raw = messages.message(message_id="<1@x>")
    some = [
        b'multipart/mixed; boundary="a  b"; x=y',
        b'multipart/mixed;\r\n\tboundary="a  b";\r\n x=y',
        b'  multipart/mixed;  boundary="a  b"; x=y  ',
    ]

    assert len({headers.fork_key(b"Content-Type: " + kind + b"\r\n" + raw) for kind in some}) == 1


@pytest.mark.parametrize("name", [b"Subject", b"To", b"Content-Type"])
def test_quotes_that_never_end_take_no_time(name: bytes) -> None:
    """Four times the header takes about four times as long; anybody can send one."""
    times = []
    for count in (20_000, 80_000):
        raw = b"Message-ID: <1@x>\r\n" + name + b": " + b'\\"' * count + b"\r\n\r\nx"
        began = time.process_time()
        headers.fork_key(raw)
        times.append(time.process_time() - began)

    assert times[1] < 12 * max(times[0], 0.01)
