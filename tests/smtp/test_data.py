"""A message comes out as it went in, however its octets are cut on the way."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailarchive.sources._smtp_data import NO_ROOM, TOO_LARGE, Intake, Overdone, read_message
from mailarchive.sources._smtp_room import Memory, Share

TEXTS = st.lists(
    st.sampled_from([b".", b"\r", b"\n", b"\r\n", b"\r\n.", b"a", b"..", b"x" * 40])
).map(b"".join)


def stuffed(raw: bytes) -> bytes:
    """What a client sends for it (RFC 5321, 4.5.2): only CR LF begins a line."""
    begun = b"." + raw if raw.startswith(b".") else raw
    return begun.replace(b"\r\n.", b"\r\n..") + b".\r\n"


def received(sent: bytes, cut: int, limit: int = 64) -> tuple[bytes, bytes]:
    """What a reader makes of it, fed so many octets at a time; and what is left over."""

    return asyncio.run(_received(sent, cut, limit))


async def _received(sent: bytes, cut: int, limit: int) -> tuple[bytes, bytes]:
    reader = asyncio.StreamReader(limit=limit)
    feeding = asyncio.create_task(_feed(reader, sent, cut))
    whole: list[bytes] = []
    await read_message(reader, whole.append)
    await feeding
    return b"".join(whole), await reader.read()


async def _feed(reader: asyncio.StreamReader, sent: bytes, cut: int) -> None:
    for start in range(0, len(sent), cut):
        reader.feed_data(sent[start : start + cut])
        await asyncio.sleep(0)
    reader.feed_eof()


@given(TEXTS, st.integers(1, 90))
@example(b"", 1)
@example(b"\r\n", 1)
@example(b".\r\n", 1)
@example(b"\r\r\n", 1)
@example(b"\r\n.\r\n", 2)
@example(b"a\n.\nb\r.\rc\r\n", 1)
def test_a_message_comes_back_to_the_byte(raw: bytes, cut: int) -> None:
    """Whatever it is, as long as it ends a line; and nothing behind it is taken."""
    raw += b"" if raw.endswith(b"\r\n") or not raw else b"\r\n"

    assert received(stuffed(raw) + b"QUIT\r\n", cut) == (raw, b"QUIT\r\n")


@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r"]
)
def test_nothing_is_smuggled_in(end: bytes) -> None:
    """Only CR LF dot CR LF ends a message: what looks like an end elsewhere does not."""
    sent = b"a" + end + b"MAIL FROM:<mallory@example.net>\r\n.\r\n"
    whole, left = received(sent, 7)

    assert left == b""
    assert b"mallory" in whole


def inside(memory: Memory) -> Share:
    """What a message holds that was let in."""
    share = Share(memory)
    assert share.enter(0)
    return share


def test_a_message_that_is_too_large_is_counted_and_not_kept() -> None:
    """It is read to its end, so that the client hears why; and not beyond twice the limit."""
    memory = Memory(1_000)
    intake = Intake(100, inside(memory))
    for _ in range(11):
        intake.add(b"x" * 10)

    assert intake.fault == TOO_LARGE
    assert memory.take(1_000), "it holds memory that nobody needs"
    for _ in range(9):
        intake.add(b"x" * 10)
    with pytest.raises(Overdone):
        intake.add(b"x")


def test_a_message_that_finds_no_room_comes_again() -> None:
    """The memory of all connections together is bounded."""
    memory = Memory(150)
    first, second = Intake(100, inside(memory)), Intake(100, inside(memory))
    first.add(b"x" * 100)
    second.add(b"y" * 50)
    second.add(b"z")

    assert (first.fault, second.fault) == (None, NO_ROOM)
    assert first.message() == b"x" * 100
