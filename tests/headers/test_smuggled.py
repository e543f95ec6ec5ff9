"""No reader finds a blind copy in what is left, however the field was hidden."""

from __future__ import annotations

import email
import email.policy
import re
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailarchive import headers

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = b"secret@x.example"
SMUGGLED = {
    "plain": b"A: b\r\nBcc: %b\r\nC: d\r\n\r\nbody",
    "first": b"Bcc: %b\r\nC: d\r\n\r\nbody",
    "last, no body": b"A: b\r\nBcc: %b",
    "line feeds": b"A: b\nbcc: %b\nC: d\n\nbody",
    "line ends mixed": b"A: b\r\nX: y\nBCC: %b\rC: d\r\n\r\nbody",
    "bare CR": b"A: b\rBcc: %b\rC: d\r\rbody",
    "bare CR, first": b"Bcc: %b\rC: d\r\rbody",
    "bare CR within a line": b"A: b\rBcc: %b\r\nC: d\r\n\r\nbody",
    "bare CR within the field": b"A: b\r\nBcc: x@x.example,\r%b\r\nC: d\r\n\r\nbody",
    "bare CR, then a fold": b"A: b\rBcc:\r\n %b\r\nC: d\r\n\r\nbody",
    "CR CR LF": b"A: b\r\r\nBcc: %b\r\r\nC: d\r\r\n\r\r\nbody",
    "CR CR LF and a bare CR": b"A: b\r\r\nFoo\rBcc: %b\r\nC: d\r\n\r\nbody",
    "an empty line first": b"\r\nBcc: %b\r\nC: d\r\n\r\nbody",
    "empty lines first": b"\n\r\n \r\n\rA: b\r\nBcc: %b\r\n\r\nbody",
    "a byte order mark": b"\xef\xbb\xbfBcc: %b\r\nC: d\r\n\r\nbody",
    "a mark, then an empty line": b"\xef\xbb\xbf\r\nBcc: %b\r\nC: d\r\n\r\nbody",
    "a line of an mbox": b"From a@x.example Mon Jan  1 00:00:00 2026\nBcc: %b\n\nbody",
    "a quoted line of an mbox": b">From a@x.example Mon\r\nBcc: %b\r\n\r\nbody",
    "an mbox line, then an empty one": b"From a@x.example Mon\n\nBcc: %b\n\nbody",
    "blanks before the colon": b"A: b\r\nBcc \t : %b\r\n\r\nbody",
    "a fold before the colon": b"A: b\r\nBcc\r\n : %b\r\n\r\nbody",
    "a fold before the colon, bare CR": b"A: b\r\nX\rBcc\r : %b\r\n\r\nbody",
    "a fold within the name": b"A: b\r\nB\r\n cc: %b\r\n\r\nbody",
    "a NUL in the name": b"A: b\r\nB\0cc: %b\r\n\r\nbody",
    "a NUL before the name": b"A: b\r\n\0Bcc: %b\r\n\r\nbody",
    "controls in the name": b"A: b\r\n\x0bB\x7fc\x01c\x0c: %b\r\n\r\nbody",
    "eight bits before the name": b"A: b\r\n\xa0Bcc: %b\r\n\r\nbody",
    "a mark before the name": b"A: b\r\n\xef\xbb\xbfBcc: %b\r\n\r\nbody",
    "a blank before the first name": b" Bcc: %b\r\nC: d\r\n\r\nbody",
    "folded": b"A: b\r\nBcc: x@x.example,\r\n\t%b,\r\n \r\n %b\r\nC: d\r\n\r\nbody",
    "after a line that is no field": b"A: b\r\nnonsense\r\nBcc: %b\r\n\r\nbody",
    "after a line of blanks": b"A: b\r\n \t\r\nX: y\r\nBcc: %b\r\n\r\nbody",
    "twice": b"Bcc: %b\r\nA: b\r\nBcc: %b\r\n\r\nbody",
    "behind a header of nothing else": b"Bcc: x\r\n\r\nBcc: %b\r\n\r\nbody",
    "far down": b"A: b\r\n" + b"X: y\r\n" * 50_000 + b"Bcc: %b\r\n\r\nbody",
    "a long one": b"A: b\r\nBcc: " + b"x@x.example,\r\n " * 50_000 + b"%b\r\n\r\nbody",
}


def smuggled(name: str) -> bytes:
    """The message of that name with the secret in it."""
    return SMUGGLED[name].replace(b"%b", SECRET)


def python_old(raw: bytes) -> list[str]:
    """The standard library's reader: CR, LF and CRLF end a line."""
    return email.message_from_bytes(raw, policy=email.policy.compat32).keys()


def strict(raw: bytes) -> list[str]:
    """A reader for which only LF and CRLF end a line."""
    head = re.split(rb"\n\r?\n", raw, maxsplit=1)[0]
    return _names(re.sub(rb"\r?\n(?=[ \t])", b"", head).split(b"\n"))


def forgiving(raw: bytes) -> list[str]:
    """A reader that skips what is before the header and lets any line end be one."""
    text = re.sub(rb"\r+\n|\r", b"\n", raw.removeprefix(b"\xef\xbb\xbf"))
    text = re.sub(rb"\A(?:\s*\n|>?From [^\n]*\n)*", b"", text)
    head = re.split(rb"\n\n", text, maxsplit=1)[0]
    return _names(re.sub(rb"\n(?=[ \t])", b"", head).split(b"\n"))


def deaf(raw: bytes) -> list[str]:
    """A reader that never sees a NUL or any other control."""
    return forgiving(re.sub(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\xff]", b"", raw))


def _names(lines: list[bytes]) -> list[str]:
    found = (line.partition(b":") for line in lines)
    return [name.strip(b" \t").decode("latin-1") for name, colon, _ in found if colon]


READERS: list[Callable[[bytes], list[str]]] = [python_old, strict, forgiving, deaf]


def seen(raw: bytes) -> set[str]:
    """The private fields that any of the readers finds."""
    names = {name.strip(" \t").lower() for reader in READERS for name in reader(raw)}
    return names & {"bcc", "resent-bcc"}


@pytest.mark.parametrize("name", SMUGGLED)
def test_no_way_of_smuggling_a_blind_copy_works(name: str) -> None:
    """The secret is gone, and what is left gives nothing away to any reader."""
    raw = smuggled(name)

    left = headers.without(raw, ["Bcc"])

    assert SECRET not in left
    assert left.endswith(b"body") or name == "last, no body"
    assert not seen(left)
    assert left == headers.without(left, ["Bcc"])


def test_the_readers_find_what_is_smuggled() -> None:
    """Each of them has something to find: they are no blind witnesses."""
    for reader in READERS:
        found = [name for name in SMUGGLED if "bcc" in " ".join(reader(smuggled(name))).lower()]
        assert len(found) > 10


EXACT = {
    "no field of that name": b"A: b\r\nX-Bcc: %b\r\nBccs: %b\r\n\r\nbody",
    "a fold of another field": b"A: b\r\n Bcc: %b\r\n\r\nbody",
    "the body": b"A: b\r\n\r\nBcc: %b\r\n",
    "the body, line feeds": b"A: b\n\nBcc: %b\n",
    "the body, bare CR": b"A: b\r\rBcc: %b\r",
    "a part of the body": b"A: b\r\n\r\n--x\r\nBcc: %b\r\n\r\n--x--\r\n",
    "a forwarded message": b"Content-Type: message/rfc822\r\n\r\nBcc: %b\r\n\r\nbody",
    "no colon": b"A: b\r\nBcc %b\r\n\r\n",
}


@pytest.mark.parametrize("name", EXACT)
def test_what_is_no_such_field_stays_to_the_byte(name: str) -> None:
    """What everybody received, a forwarded message with its own blind copies too, is exact."""
    raw = EXACT[name].replace(b"%b", SECRET)

    assert headers.without(raw, ["Bcc"]) is raw


def test_what_stands_around_the_field_stays_to_the_byte() -> None:
    """One field goes, and nothing beside it, for each way of ending a line."""
    for end in (b"\r\n", b"\n", b"\r"):
        lines = [b"A: b", b"Bcc: x,", b" y", b"C: d", b"", b"body", b"Bcc: z"]
        raw, rest = end.join(lines), end.join(lines[:1] + lines[3:])
        assert headers.without(raw, ["Bcc"]) == rest
    assert headers.without(b"A: b\rBcc: x\r\nC: d\r\n\r\n", ["Bcc"]) == b"A: b\r\nC: d\r\n\r\n"


ENDS = [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\r\r"]
WORDS = b"Bcc|B|cc|:|: s@x|A: b| |\t|\0|From x\n|body|\xa0|\xef\xbb\xbf|Resent-Bcc: y".split(b"|")
PIECES = st.sampled_from([*ENDS, *WORDS])


@settings(max_examples=500)
@given(st.lists(PIECES, max_size=24).map(b"".join))
@example(b"Bcc: x\n\nBcc: y\r\rBcc: z")
@example(b"A: b\rBcc\n : x")
@example(b"Bcc: y\r\0\r\rBcc: y")
@example(b"Bcc: y\nFrom x\n Bcc: y")
def test_no_reader_finds_a_private_field_in_what_is_left(raw: bytes) -> None:
    """For whatever bytes; and cutting once is cutting for good."""
    left = headers.without(raw, ["Bcc", "Resent-Bcc"])

    assert not seen(left)
    assert left == headers.without(left, ["Bcc", "Resent-Bcc"])


def test_a_message_that_is_made_to_deceive_is_left_out() -> None:
    """Where each cut brings another field together, nothing is safer than the rest."""
    assert headers.without(b"Bcc: y\nFrom x\n " * 100 + b"\n\nbody", ["Bcc"]) == b""
    assert headers.without(b"Bcc: y\n\n" * 1000 + b"body", ["Bcc"]) == b""
    assert headers.without(b"Bcc: y\n\n" * 50 + b"body", ["Bcc"]).strip() == b"body"


PATTERNS = [
    b"Bcc: x\n\n",
    b"Bcc: x\r\r",
    b"\rBcc",
    b"Bcc\r :x\r",
    b"\r\n",
    b"\r",
    b"\0",
    b" ",
    b"A\r\r",
    b"Bcc\0",
    b"From x\n",
    b"From x\r",
    b"Bcc: x\n",
    b"A:\n Bcc: x\n",
]


@pytest.mark.slow
@pytest.mark.parametrize("before", [b"", b"A: b", b"A: b\n", b"Bcc: x\n"])
@pytest.mark.parametrize("piece", PATTERNS)
def test_cutting_is_linear(piece: bytes, before: bytes) -> None:
    """Ten times the bytes take about ten times as long, however they are made."""
    times = []
    for count in (20_000, 200_000):
        raw = before + piece * count + b"x\nBcc: x\n"
        begun = time.process_time()
        headers.is_plain(headers.without(raw, ["Bcc"]))
        times.append(time.process_time() - begun)

    assert times[1] < 30 * max(times[0], 0.01)


OPAQUE = {
    "a .msg file": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
    "TNEF": b"\x78\x9f\x3e\x22" + bytes(60),
    "UTF-16": "Bcc: secret@x.example\r\n\r\n".encode("utf-16"),
    "a text": b"no header here\r\n\r\nBcc: x",
    "TNEF for a body": b"Subject: x\r\nContent-Type: application/ms-tnef\r\n\r\nx\x9f",
    "TNEF by its other name": b"A: b\r\nContent-Type: application/x-tnef\r\n\r\nx\x9f",
    "TNEF by its registered name": b"A: b\r\nContent-Type: APPLICATION/vnd.ms-tnef\r\n\r\nx\x9f",
    "TNEF for a body, in other words": b"content-type:\r\n Application/VND.MS-TNEF\n\nx\x9f",
    "TNEF beside a text": (
        b"A: b\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\ntext\r\n--x\r\n"
        b'Content-Type: application/octet-stream;\r\n name="WINMAIL.DAT"\r\n\r\nx\r\n--x--\r\n'
    ),
}
PLAIN = {
    "a message": b"A: b\r\n\r\nbody",
    "nothing": b"",
    "blanks": b"\r\n \r\n",
    "behind an mbox line": b"From x\nA: b\n\nbody",
    "behind a mark": b"\xef\xbb\xbfA : b\n\nbody",
    "talk of TNEF": b"A: b\r\n\r\nwhat is winmail.dat, or application/ms-tnef?\r\n",
    "a subject of TNEF": b"Subject: winmail.dat\r\nContent-Type: text/plain\r\n\r\nx",
    "an attached .msg": b"A: b\r\n\r\n--x\r\nContent-Type: application/vnd.ms-outlook\r\n\r\nx",
}


@pytest.mark.parametrize("name", [*OPAQUE, *PLAIN])
def test_what_cannot_be_cut_is_known(name: str) -> None:
    """A message is plain where its header is all that could name blind copies."""
    assert headers.is_plain({**OPAQUE, **PLAIN}[name]) is (name in PLAIN)


@given(st.binary(max_size=300))
def test_any_bytes_are_plain_or_not(raw: bytes) -> None:
    """It never raises."""
    assert headers.is_plain(raw) in {True, False}
