"""Equal for two renderings of one message, different for two messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rendering import CHANGES, LETTERS, RENDERINGS, Letter, Rendering, render

from mailarchive import Digest, fingerprint, headers
from mailarchive.testing import strategies


@given(LETTERS, RENDERINGS, RENDERINGS)
def test_two_renderings_of_one_message_have_one_fingerprint(
    letter: Letter, one: Rendering, two: Rendering
) -> None:
    """Transport headers, boundaries, charsets, encodings, zones, folding, order, padding."""
    assert fingerprint.of(render(letter, one)) == fingerprint.of(render(letter, two))


@given(LETTERS, LETTERS, RENDERINGS, RENDERINGS)
def test_two_messages_have_two_fingerprints(
    first: Letter, second: Letter, one: Rendering, two: Rendering
) -> None:
    """Though they share a Message-ID."""
    same = _essence(first) == _essence(second)

    assert (fingerprint.of(render(first, one)) == fingerprint.of(render(second, two))) == same


def _essence(letter: Letter) -> object:
    """What is the author's: white space within a text is not."""
    texts = [" ".join(text.split()) for text in (letter.subject, letter.plain, letter.html)]
    people = (letter.sender, frozenset(letter.to), frozenset(letter.cc))
    return (*texts, letter.attachment, people, letter.second)


@pytest.mark.parametrize("name", CHANGES)
@given(how=RENDERINGS)
def test_each_thing_that_the_author_wrote_changes_the_fingerprint(
    name: str, how: Rendering
) -> None:
    """An equal Message-ID is never enough: a resent, corrected or tampered message differs."""
    assert fingerprint.of(render(CHANGES[name], how)) != fingerprint.of(render(Letter(), how))


@given(st.one_of(st.binary(max_size=300), strategies.originals()))
def test_any_bytes_have_a_fingerprint(raw: bytes) -> None:
    """And always the same."""
    assert fingerprint.of(raw) == fingerprint.of(raw)


@given(st.binary(max_size=200))
def test_without_a_message_id_it_is_of_the_whole(raw: bytes) -> None:
    """Nothing tells a rendering from another copy then."""
    if b"essage-" not in raw.lower():
        assert fingerprint.of(raw) == Digest.of(raw)


@given(strategies.originals())
def test_it_is_another_key_than_that_of_forks(raw: bytes) -> None:
    """The versions of both are part of what is digested."""
    if fingerprint.of(raw) != Digest.of(raw):
        assert fingerprint.of(raw) != headers.fork_key(raw)


def inside(inner: bytes) -> bytes:
    """A message that forwards another as an attachment."""
    head = b'Message-ID: <0@x>\r\nContent-Type: multipart/mixed; boundary="out"\r\n\r\n'
    return head + b"--out\r\nContent-Type: message/rfc822\r\n\r\n" + inner + b"\r\n--out--\r\n"


@given(LETTERS, RENDERINGS, RENDERINGS)
def test_a_message_within_a_message_is_rendered_anew_as_well(
    letter: Letter, one: Rendering, two: Rendering
) -> None:
    """Whatever is inside it counts, and how it is written does not."""
    first, second = inside(render(letter, one)), inside(render(letter, two))

    assert fingerprint.of(first) == fingerprint.of(second)
    assert fingerprint.of(first) != fingerprint.of(inside(render(CHANGES["message_id"], one)))


def test_the_moment_at_which_an_appointment_was_rendered_does_not_count() -> None:
    """Exchange stamps it anew each time."""
    text = b"Message-ID: <1@x>\r\nContent-Type: text/calendar\r\n\r\nBEGIN:VCALENDAR\r\n"
    made = [
        text + b"DTSTAMP:2026110%dT000000Z\r\nSUMMARY:%s\r\n" % (day, summary)
        for day, summary in ((1, b"lunch"), (2, b"lunch"), (1, b"dinner"))
    ]
    keys = [fingerprint.of(each) for each in made]

    assert keys[0] == keys[1] != keys[2]


def test_a_deep_nest_of_messages_ends() -> None:
    """In time, and with a fingerprint."""
    raw = b"Message-ID: <1@x>\r\n\r\nbody\r\n"
    for _ in range(60):
        raw = inside(raw)

    assert fingerprint.of(raw) != fingerprint.of(inside(raw))


def test_version_1_stays_as_it_is() -> None:
    """A changed fingerprint would show every message twice: it needs another version."""
    assert fingerprint.VERSION == 1
    assert fingerprint.of(render(Letter())).hex[:16] == "e300a5a2871eacc4"
