"""Which lines of an mbox are From_ lines: those that look like one, and no sentence of a mail."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.file_sources import read
from support.mbox import FROM, with_length, written

from mailarchive import SourceMessage
from mailarchive.errors import SourceError
from mailarchive.sources import _files_mbox_scan
from mailarchive.sources.files import Mbox, MboxVariant

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive import CoverageGap

LINES = [
    b"From a@b Thu Jan  4 10:00:00 2024",
    b"From a@b  Thu Jan 04 10:00:00 2024",
    b"From  Thu Jan  4 10:00:00 2024",
    b"From - Thu Jan 04 10:00:00 2024",
    b"From ???@??? Thu Jan 04 10:00:00 2024",
    b"From MAILER-DAEMON Thu Jan  4 10:00:00 2024",
    b"From ann at example.com  Thu Jan  4 10:00:00 2024",
    b'From "Ann Example" Thu Jan  4 10:00:00 2024',
    b'From "ann b"@example.com Thu Jan  4 10:00:00 2024',
    b"From Thu Thu Jan  4 10:00:00 2024",
    b"From a@b Thu Jan  4 10:00 2024",
    b"From a@b Thu Jan  4 10:00:00 24",
    b"From a@b thu jan  4 10:00:00 2024  ",
    b"From a@b Thu, Jan 4 10:00:00 2024",
    b"From uucp Thu Jan  4 10:00:00 2024 remote from host",
    b"From 17@xxx Thu Jan 04 10:00:00 +0000 2024",
    b"From a@b Thu Jan  4 10:00:00 2024 +0000",
    b"From a@b Thu Jan  4 10:00:00 EST 2024",
    b"From a@b Thu Jan  4 10:00:00 MET DST 2024",
    b"From a@b Thu Jan  4 10:00:00 2024 +0000 (UTC)",
    b"From a@b Thu, 04 Jan 2024 10:00:00 +0000",
    b"From a@b Thu, 4 Jan 2024 10:00:00 GMT",
    b"From - Thu Jan 04 2024 10:00:00 GMT+0000 (Greenwich Mean Time)",
]
"""As real writers make them; mutt, Dovecot, UW IMAP or Thunderbird read each."""

SENTENCES = [
    b"From the start we knew.",
    b"From ",
    b"From",
    b"From Thursday on",
    b"From Thu Jan 4 on we meet at 10:00 in room 2024",
    b"From Thu, 4 Jan 2024 10:00",
    b"From Ann on Thu, 4 Jan 2024 10:00:00 +0000",
    b"From a@b Thu Jan  4 10:00:00 2024 it went on",
    b"From a@b Thu Jan  4 10:00:00 2024 it was",
    b"From a@b Thu Jan  4 10:00:00 today",
    b"From a@b Thu Foo  4 10:00:00 2024",
    b"From 10:00 to 11:00",
    b"From a@b",
    b'From "a Thu Jan  4 10:00:00 2024',
    b"From " + b"x" * 2000 + b" Thu Jan  4 10:00:00 2024",
]


def file_with(place: Path, content: bytes) -> Path:
    """Write an mbox."""
    path = place / "mbox"
    path.write_bytes(content)
    return path


def told(path: Path, variant: MboxVariant = MboxVariant.MBOXO) -> tuple[CoverageGap, ...]:
    """Return what the source has to say of a file once it was listed."""
    with Mbox(path, variant=variant) as source:
        (folder,) = source.folders()
        list(source.scan(folder))
        return source.gaps()


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("line", LINES)
def test_a_line_of_a_real_writer_ends_a_message(tmp_path: Path, line: bytes, end: bytes) -> None:
    """Behind an empty line and at the top, with the date that it says."""
    raws = [b"S: 1" + end * 2 + b"one" + end, b"S: 2" + end * 2 + b"two" + end]
    path = file_with(tmp_path, b"".join(line + end + raw + end for raw in raws))

    items = [each for each in read(Mbox(path)).items if isinstance(each, SourceMessage)]

    assert raws == [each.raw for each in items]
    assert told(path) == ()
    if b"EST" not in line:
        assert {each.received_at for each in items} == {datetime(2024, 1, 4, 10, 0, 0, tzinfo=UTC)}


@pytest.mark.parametrize("variant", list(MboxVariant))
@pytest.mark.parametrize("line", SENTENCES)
def test_a_sentence_that_begins_with_from_stays_in_its_message(
    tmp_path: Path, line: bytes, variant: MboxVariant
) -> None:
    """Whatever variant was chosen: to the byte, one message, and counted."""
    raw = b"S: 1\n\nHello\n\n" + line + b"\nBye\n"
    path = file_with(tmp_path, FROM + raw + b"\n" + FROM + b"S: 2\n\ntwo\n")

    assert [raw, b"S: 2\n\ntwo\n"] == read(Mbox(path, variant=variant)).raws
    assert [("doubtful-from-lines", 1)] * (line != b"From") == [
        (gap.code, gap.count) for gap in told(path, variant)
    ]


def test_thunderbird_writes_no_date(tmp_path: Path) -> None:
    """`From ` alone is a From_ line where a header follows, and text where none does."""
    raws = [
        b"Subject: 1\r\n\r\nHello\r\n\r\nFrom \r\nwhom it was\r\n",
        b"X-Mozilla-Status: 1\r\n\r\n2\r\n",
    ]
    path = file_with(tmp_path, b"".join(b"From \r\n" + raw + b"\r\n" for raw in raws))

    assert raws == read(Mbox(path)).raws


def test_a_right_length_says_more_than_any_line(tmp_path: Path) -> None:
    """In mboxcl a sentence is no doubt where the length ends at a From_ line or the end."""
    raws = [with_length(b"S: 1\n\nHello\n\nFrom here on\nBye\n"), with_length(b"S: 2\n\n\nFrom x")]
    path = file_with(tmp_path, b"".join(FROM + raw + b"\n" for raw in raws))

    assert raws == read(Mbox(path, variant="mboxcl")).raws
    assert told(path, MboxVariant.MBOXCL) == ()


def test_a_from_line_of_no_known_form_is_said_at_once(tmp_path: Path) -> None:
    """A file that has no From_ line is an error with something to do, and no empty mailbox."""
    line = b"From a@b on the fourth\nS: 1\n\n1\n\n"
    with (
        pytest.raises(SourceError, match="no mbox") as caught,
        Mbox(file_with(tmp_path, line * 2)),
    ):
        pass
    assert caught.value.suggestions


def test_a_file_that_ends_in_its_first_line_is_told(tmp_path: Path) -> None:
    """It may be one that is being written, and has no message yet: that is not silence."""
    path = file_with(tmp_path, b"From the sta")

    assert read(Mbox(path)).items == []
    assert [gap.code for gap in told(path)] == ["begun-from-line"]


def test_what_is_told_is_of_this_run_alone(tmp_path: Path) -> None:
    """Neither what an earlier run found, nor what a listing that was begun anew did, is added."""
    doubtful = FROM + b"S: 1\n\nHello\n\nFrom the start.\n\n"
    path = file_with(tmp_path, doubtful)
    source = Mbox(path)
    for content, expected in (
        (doubtful, [("doubtful-from-lines", 1)]),
        (b"From the sta", [("begun-from-line", None)]),
        (written([b"S: 1\n\none\n"]), []),
    ):
        path.write_bytes(content)
        with source:
            assert source.gaps() == ()
            for _ in range(2):
                list(source.scan(source.folders()[0]))

            assert expected == [(gap.code, gap.count) for gap in source.gaps()]


def test_what_became_a_from_line_since_ends_the_message_before(tmp_path: Path) -> None:
    """The beginning of a line is a message's until it is a From_ line; then all comes anew."""
    first, second = b"S: 1\n\none\n", b"S: 2\n\ntwo\n"
    path = file_with(tmp_path, FROM + first + b"\nFrom a@b Thu J")
    before = read(Mbox(path))
    path.write_bytes(written([first, second]))

    assert before.raws == [first + b"\nFrom a@b Thu J"]
    assert [first, second] == read(Mbox(path), before).raws


pieces = st.sampled_from(
    [
        *(line + b"\n" for line in LINES + SENTENCES),
        *(b"\n" + line for line in LINES + SENTENCES),
        *(b"From ", b"F", b"From", b"\n", b"\r", b"\n\n", b"\r\n", b"\n\r\n", b">", b"x", b":"),
        *(b"Content-Length: 3\n", b"Content-Length: 70\n", b"Subject: x\n"),
    ]
)


@given(
    st.lists(pieces | st.binary(max_size=9), max_size=30).map(b"".join),
    st.sampled_from([MboxVariant.MBOXO, MboxVariant.MBOXCL, MboxVariant.MBOXCL2]),
    st.integers(9, 70),
)
def test_every_byte_is_in_one_message_or_separates_two(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, variant: MboxVariant, block: int
) -> None:
    """What is in no message is a From_ line with a date, or the empty line before it."""
    content = FROM + junk
    path = file_with(tmp_path_factory.mktemp("mbox"), content)
    usual, _files_mbox_scan.BLOCK = _files_mbox_scan.BLOCK, block
    try:
        items = read(Mbox(path, variant=variant)).items
    finally:
        _files_mbox_scan.BLOCK = usual

    at = 0
    for item in items:
        assert isinstance(item, SourceMessage)
        start = int(item.ref.key)
        assert content[at:start] in {b"", b"\n", b"\r\n"}
        line, end, _ = content[start:].partition(b"\n")
        assert is_separator(line, content[start + len(line) + 1 :])
        at = start + len(line + end) + len(item.raw)
        assert content[start + len(line + end) : at] == item.raw
    empty, rest = re.fullmatch(rb"(?s)(\r?\n)?(.*)", content[at:]).groups()  # type: ignore[union-attr]
    assert rest == b"" or (b"\n" not in rest and is_separator(rest, b""))
    assert empty in {None, b"\n", b"\r\n"}


def is_separator(line: bytes, behind: bytes) -> bool:
    """Tell whether a line ends in a date with a time of day, or is bare before a header."""
    bare = line.strip() == b"From" and re.match(rb"[!-9;-~]+:", behind) is not None
    dated = re.match(rb"(?i)From .*thu.* jan .*\d\d:\d\d", line) is not None
    ends = re.search(rb"(\d\d|[A-Z]|UTC\)|from \S+|Time\))\s*\Z", line) is not None
    return bare or (dated and ends)
