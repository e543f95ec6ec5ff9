"""The grammar: what is read from a server, and what is sent to it."""

from __future__ import annotations

import socket
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailarchive.sources._imap_body import Body, bodies, wanted
from mailarchive.sources._imap_limits import ImapLimits
from mailarchive.sources._imap_session import Refused, Session
from mailarchive.sources._imap_syntax import (
    _TOKENS,
    LARGEST_NUMBER,
    BadSyntax,
    Literal,
    folder_name,
    folder_text,
    internal_date,
    literal_size,
    number,
    pairs,
    quoted,
    uid_set,
    uid_sets,
    values,
)
from mailarchive.sources._imap_wire import LINE, Broken, Garbled, Silent, Wire

UIDS = st.sets(st.integers(1, LARGEST_NUMBER) | st.integers(1, 300), min_size=1, max_size=200)


def expand(text: bytes) -> list[int]:
    """The numbers that a sequence set names."""
    found: list[int] = []
    for part in text.split(b","):
        ends = [int(end) for end in part.split(b":")]
        found += range(ends[0], ends[-1] + 1)
    return found


@given(UIDS)
def test_a_set_of_uids_names_each_of_them_and_no_other(uids: set[int]) -> None:
    """Ranges are written only where every number in them is meant."""
    assert expand(uid_set(sorted(uids))) == sorted(uids)


@given(UIDS, st.integers(11, 60), st.integers(1, 50))
def test_sets_are_cut_within_their_bounds(uids: set[int], octets: int, most: int) -> None:
    """No set is longer than allowed or has more members, and together they are all."""
    sets = list(uid_sets(list(uids), octets, most))

    assert [uid for _, part in sets for uid in part] == sorted(uids)
    assert all(expand(text) == part for text, part in sets)
    assert all(len(text) <= octets and len(part) <= most for text, part in sets)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_modified_utf7_comes_back_as_it_was(name: str) -> None:
    """What we write as a folder's name is read as the same name."""
    assert folder_text(folder_name(name)) == name


@given(st.binary(max_size=30))
def test_every_wire_name_can_be_shown(name: bytes) -> None:
    """Whatever bytes a server calls a folder, people see some text, and no error."""
    assert isinstance(folder_text(name), str)


@pytest.mark.parametrize(
    ("wire", "shown"),
    [
        (b"Gel&APY-schte Elemente", "Gelöschte Elemente"),
        (b"&ZeVnLIqe-", "日本語"),
        (b"a&-b", "a&b"),
        ("Gelöscht".encode(), "Gelöscht"),
        (b"\xff\xfe", "ÿþ"),
        (b"R&D", "R&D"),
        (b"&AGE-", "&AGE-"),
        (b"&broken", "&broken"),
        (b"~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),
    ],
)
def test_a_folders_name_is_shown_as_people_write_it(wire: bytes, shown: str) -> None:
    """Modified UTF-7, raw UTF-8, and what is neither."""
    assert folder_text(wire) == shown


@given(st.binary(max_size=50).filter(lambda text: b"\0" not in text))
def test_a_string_is_sent_so_that_it_is_read_the_same(text: bytes) -> None:
    """Quoted where that is possible, a literal elsewhere."""
    sent = quoted(text)
    if isinstance(sent, Literal):
        assert sent.data == text
    else:
        assert values([sent]) == [text]


def test_a_nul_cannot_be_sent() -> None:
    """IMAP has no form for it."""
    with pytest.raises(BadSyntax):
        quoted(b"a\0b")


def test_a_response_is_read_as_its_values() -> None:
    """Atoms, strings, literals, lists and NIL."""
    segments = [
        b'(UID 3 FLAGS (\\Seen $x) X "a \\"b\\"" Y NIL BODY[] {3}\r\n',
        b"(\r\n",
        b" Z 1)\r\n",
    ]

    (told,) = values(segments)

    assert pairs(told) == {
        b"UID": b"3",
        b"FLAGS": [b"\\Seen", b"$x"],
        b"X": b'a "b"',
        b"Y": None,
        b"BODY[]": b"(\r\n",
        b"Z": b"1",
    }


def test_a_literal_that_ends_in_the_middle_of_a_word_is_refused() -> None:
    """It was announced too long: it holds what came after the message, too."""
    segments = [b"(UID 1 BODY[] {9}\r\n", b")\r\n* 2 FE", b"DY[] {2}\r\n", b"x\n", b")\r\n"]

    with pytest.raises(BadSyntax):
        values(segments)


@pytest.mark.parametrize(
    "text", [b"(", b")", b"(()", b"(" * 100 + b")" * 100, b'"no end', b'"line\r\nend"']
)
def test_what_is_no_imap_is_refused(text: bytes) -> None:
    """Nothing is guessed, and nothing is nested without a bound."""
    with pytest.raises(BadSyntax):
        values([text])


def test_a_line_is_looked_at_once_however_it_is_broken() -> None:
    """Quotes that never close are not looked for again behind each escaped one."""
    assert [(b"", b"", b"", line := b'"' + b'\\"' * 50_000)] == _TOKENS.findall(line)


@pytest.mark.parametrize("value", [b"", b"-1", b"1.0", b"4294967296", b"9" * 20, None, [], b"1 "])
def test_a_number_has_32_bits_and_only_digits(value: bytes | list[bytes] | None) -> None:
    """What is larger or something else is no number."""
    with pytest.raises(BadSyntax):
        number(value)  # type: ignore[arg-type]  # a list of bytes is no list of values


@pytest.mark.parametrize(
    ("line", "size"),
    [
        (b"* LIST () {5}\r\n", 5),
        (b"BODY[] ~{12}\r\n", 12),
        (b"{3+}\r\n", 3),
        (b'"in quotes {5}"\r\n', None),
        (b"x{5}\r\n", None),
        (b"{5} \r\n", None),
    ],
)
def test_a_literal_is_announced_at_the_end_of_a_line(line: bytes, size: int | None) -> None:
    """And nowhere else."""
    assert literal_size(line) == size


@pytest.mark.parametrize(
    ("text", "when"),
    [
        (b"17-Jul-1996 02:44:25 -0700", datetime(1996, 7, 17, 9, 44, 25, tzinfo=UTC)),
        (b" 7-JUL-2024 00:00:00 +0530", datetime(2024, 7, 6, 18, 30, tzinfo=UTC)),
        (b"31-Feb-2024 00:00:00 +0000", None),
        (b"01-Jan-0001 00:00:00 +2359", None),
        (b"01-Jan-2024 00:00:00 +9999", None),
        (b"nonsense", None),
        (None, None),
    ],
)
def test_an_internal_date_is_aware_utc_or_nothing(
    text: bytes | None, when: datetime | None
) -> None:
    """A date that cannot be is no date."""
    assert internal_date(text) == when


# -- hypothesis as the server -----------------------------------------------------------

PARTS = st.lists(
    st.sampled_from(
        [
            b"* 1 FETCH (UID 1 BODY[] {3}\r\nabc)\r\n",
            b"* 1 FETCH (UID 1 FLAGS (",
            b"BODY[] ",
            b"{5}\r\n",
            b"~{4}\r\n",
            b'"quoted"',
            b"UID 2",
            b")\r\n",
            b"\r\n",
            b"* OK [UIDVALIDITY 3]",
            b"* BYE see you",
            b"M1 OK done\r\n",
            b"M1 NO [LIMIT] not now\r\n",
            b"+ go on\r\n",
            b"\x00\xff",
            b"NIL ",
        ]
    )
    | st.binary(max_size=6),
    max_size=12,
)


@given(PARTS)
def test_whatever_a_server_sends_is_a_body_or_a_broken_connection(parts: list[bytes]) -> None:
    """No other error, no message that was not asked for, and an end."""
    limits = ImapLimits(read_timeout=1)
    near, far = socket.socketpair()
    with near, far:
        near.settimeout(1)
        far.sendall(b"".join(parts))
        far.shutdown(socket.SHUT_WR)
        session = Session(Wire(near, limits), frozenset(), near.close)
        found: list[Body] = []
        with suppress(Broken, Refused):
            found.extend(bodies(session, session.ask(*wanted(b"1")), [1], limits))

    assert [body.uid for body in found] in ([], [1])


def wire(
    data: bytes, clock: list[float] | None = None, **settings: float
) -> tuple[Wire, socket.socket]:
    """A wire from which this much can be read, and then the end."""
    near, far = socket.socketpair()
    far.sendall(data)
    far.close()
    ticks = iter(clock or [])
    return Wire(near, ImapLimits(**settings), lambda: next(ticks, 0.0)), near  # type: ignore[arg-type]  # numbers all


def test_a_line_is_bounded() -> None:
    """One that does not end is given up, not collected."""
    reader, sock = wire(b"x" * (LINE + 10))
    with sock:
        reader.begin(1 << 20)
        with pytest.raises(Garbled):
            reader.line()


def test_no_more_is_read_than_was_expected() -> None:
    """The budget of a command holds for lines and for literals."""
    reader, sock = wire(b"line\r\n" * 100)
    with sock:
        reader.begin(20)
        for _ in range(3):
            reader.line()
        with pytest.raises(Garbled):
            reader.line()
        with pytest.raises(Garbled):
            reader.exactly(1 << 40)


def test_a_server_that_drips_is_given_up() -> None:
    """Not silent, and yet slower than the slowest that is waited for."""
    reader, sock = wire(b"x", clock=[0.0, 9.0], read_timeout=5)
    with sock:
        reader.begin(100)
        with pytest.raises(Silent, match="slowly"):
            reader.line()


def test_a_slow_archive_is_no_slow_server() -> None:
    """Only the time spent waiting for the server counts."""
    reader, sock = wire(b"a\r\n", clock=[0.0, 0.1, 1_000.0, 1_000.1], read_timeout=5)
    with sock:
        reader.begin(100)
        assert reader.line() == b"a\r\n"
        with pytest.raises(Broken, match="closed"):
            reader.line()


def test_the_end_of_a_connection_is_told_wherever_it_comes() -> None:
    """Before a line, in a line, in a message."""
    for data, size in ((b"", None), (b"half a li", None), (b"half", 10)):
        reader, sock = wire(data)
        with sock:
            reader.begin(100)
            with pytest.raises(Broken, match="closed"):
                reader.line() if size is None else reader.exactly(size)
