"""Header fields can be left out, and every other byte stays as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailarchive import headers
from mailarchive.testing import strategies

MIXED = (
    b"Received: a\r\n"
    b"BCC: one@x.example,\r\n"
    b"\ttwo@x.example,\r\n"
    b" \r\n"
    b" three@x.example\r\n"
    b"Subject: Bcc: no\r\n"
    b" Bcc: folded, no\r\n"
    b"bcc :four@x.example\n"
    b"X-Bcc: no\r\n"
    b"Bcc:\r\n"
    b"no colon here\r\n"
    b"\r\n"
    b"Bcc: body\r\n"
)


def test_the_named_fields_are_cut_with_their_folds() -> None:
    """Any case, obsolete blanks, empty values, any line end; nothing below the header."""
    rest = (
        b"Received: a\r\nSubject: Bcc: no\r\n Bcc: folded, no\r\nX-Bcc: no\r\n"
        b"no colon here\r\n\r\nBcc: body\r\n"
    )

    assert headers.without(MIXED, {"Bcc"}) == rest


def test_several_names_are_cut_at_once() -> None:
    """The order of the names says nothing."""
    names = ["subject", "BCC", "Received", "bcc"]

    assert headers.without(MIXED, names) == b"X-Bcc: no\r\nno colon here\r\n\r\nBcc: body\r\n"
    assert headers.without(MIXED, names[::-1]) == headers.without(MIXED, names)


@pytest.mark.parametrize(
    ("raw", "rest"),
    [
        (b"Bcc: a", b""),
        (b"Bcc: a\r\n", b""),
        (b"Bcc: a\n\n", b"\n"),
        (b"Bcc: a\r\n\r\nbody", b"\r\nbody"),
        (b"X: y\nBcc: a\n b", b"X: y\n"),
        (b"Bcc: a\r\nBcc: b\r\n\r\n", b"\r\n"),
    ],
)
def test_a_header_of_nothing_else_is_emptied(raw: bytes, rest: bytes) -> None:
    """The first line, the last line, and a message that breaks off."""
    assert headers.without(raw, ["bcc"]) == rest


@given(st.binary(max_size=300) | strategies.damaged(strategies.originals()))
def test_where_there_is_nothing_to_cut_the_same_object_comes_back(raw: bytes) -> None:
    """No name, and a name that is not there."""
    assert headers.without(raw, []) is raw
    assert headers.without(raw, [""]) is raw
    assert headers.without(raw, ["X-Certainly-Not-There"]) is raw


NAMES = st.sampled_from([b"Bcc", b"bcc", b"To", b"X-Bcc", b"Subject", b"BCC "])
VALUES = st.sampled_from([b" a@x.example", b"", b" a,\r\n b", b" a\n\tb\n c", b":", b" Bcc: x"])
FIELDS = st.lists(st.tuples(NAMES, VALUES, st.sampled_from([b"\r\n", b"\n"])), max_size=8)


@given(FIELDS, st.binary(max_size=60))
def test_what_is_left_is_all_that_was_not_named(
    fields: list[tuple[bytes, bytes, bytes]], body: bytes
) -> None:
    """The message is the fields and the body; without some it is the rest and the body."""
    lines = [(name, name + b":" + value + end) for name, value, end in fields]
    whole = b"".join(line for _, line in lines) + b"\r\n" + body
    rest = b"".join(line for name, line in lines if name.strip().lower() != b"bcc")

    assert headers.without(whole, ["Bcc"]) == rest + b"\r\n" + body
    assert headers.addresses(headers.without(whole, ["Bcc"]), ["Bcc"]) == ()
