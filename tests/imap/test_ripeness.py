"""Messages that wait until they are ripe, without holding up or losing the resume point."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from support.imap import QUICK, scripted

from mailarchive.errors import CheckpointInvalid
from mailarchive.sources._imap_scan import Token
from mailarchive.sources.imap import Ripe
from mailarchive.testing.imap_server import ImapServer

if TYPE_CHECKING:
    from support.imap import Mailbox, Numbered

    from mailarchive import MessageRef
    from mailarchive.sources.imap import ImapSource

NOW = datetime(2024, 7, 20, tzinfo=UTC)
LIMITS = evolve(QUICK, page=3)


def uids(refs: list[MessageRef]) -> list[int]:
    """The UIDs in refs."""
    return [int(ref.key.split(".")[1]) for ref in refs]


def scan(source: ImapSource, token: str | None) -> tuple[list[int], str | None]:
    """What a scan lists, and the token behind it."""
    found: list[int] = []
    for page in source.scan(source.folders()[0], token):
        found += uids(list(page.refs))
        token = page.token
    return found, token


def test_a_flag_keeps_a_message_waiting_and_the_others_go_on() -> None:
    """Each is listed once it is ripe, wherever the resume point is by then."""
    with ImapServer({"INBOX": [b"Subject: a\r\n\r\n"] * 10}) as server:
        items = server.boxes["INBOX"].items
        for number in (1, 4, 5, 9):
            items[number].flags.add(b"\\Draft")
        ripe = Ripe(without_flags=["\\DRAFT"])
        with scripted(server, ripe=ripe, limits=LIMITS) as source:
            first, token = scan(source, None)
            again, same = scan(source, token)
            items[4].flags.clear()
            items[9].flags.clear()
            second, token = scan(source, token)
            items[1].flags.clear()
            server.boxes["INBOX"].add(b"Subject: new\r\n\r\n")
            third, token = scan(source, token)

    assert first == [1, 3, 4, 7, 8, 9]
    assert (again, same) == ([], "1.9+2,5:6")
    assert second == [5, 10]
    assert third == [2, 11]
    assert token == "1.11+6"


def test_a_young_message_waits_for_its_age() -> None:
    """What arrived lately at the end of the folder costs the token nothing."""
    ages = [100, 50, 3, 60, 2, 1]
    clock = [NOW]
    with ImapServer({"INBOX": [b"Subject: a\r\n\r\n"] * len(ages)}) as server:
        for item, age in zip(server.boxes["INBOX"].items, ages, strict=True):
            item.date = (NOW - timedelta(days=age)).strftime("%d-%b-%Y %H:%M:%S +0000").encode()
        ripe = Ripe(older_than=timedelta(days=30))
        with scripted(server, ripe=ripe, clock=lambda: clock[0]) as source:
            first, token = scan(source, None)
            assert token == "1.4+3"
            clock[0] += timedelta(days=28, hours=1)
            second, token = scan(source, token)
            clock[0] += timedelta(days=10)
            third, token = scan(source, token)

    assert (first, second, third) == ([1, 2, 4], [3, 5], [6])
    assert token == "1.6"


def test_what_waits_on_a_real_server_is_listed_when_it_is_ripe(
    mailbox: Mailbox, numbered: Numbered
) -> None:
    """Only what was read by somebody."""
    mailbox.put(numbered(3))
    mailbox.put(numbered(2), flags=[r"\Seen"])
    with mailbox.source(ripe=Ripe(with_flags=[r"\Seen"])) as source:
        first, token = scan(source, None)
        with mailbox.raw() as connection:
            connection.command("SELECT INBOX")
            connection.command(r"UID STORE 2 +FLAGS (\Seen)")
        second, token = scan(source, token)
    with mailbox.source() as source:
        rest, _ = scan(source, token)

    assert (first, second, rest) == ([4, 5], [2], [1, 3])


def test_a_message_that_is_gone_waits_no_more() -> None:
    """It is listed once more, is found to be gone, and leaves the token."""
    with ImapServer({"INBOX": [b"Subject: a\r\n\r\n"] * 4}) as server:
        box = server.boxes["INBOX"]
        box.items[1].flags.add(b"\\Draft")
        with scripted(server, ripe=Ripe(without_flags=["\\Draft"])) as source:
            _, token = scan(source, None)
            del box.items[1]
            (page,) = source.scan(source.folders()[0], token)

            assert uids(list(page.refs)) == [2]
            assert list(source.fetch(page.refs)) == []
            assert page.token == "1.4"


@given(
    st.integers(1, 2**32 - 1),
    st.integers(301, 2**32 - 1),
    st.sets(st.integers(1, 300), max_size=40),
)
def test_a_token_comes_back_as_it_was(epoch: int, last: int, waiting: set[int]) -> None:
    """What is written into a checkpoint is what is read from it."""
    token = Token(epoch, last, tuple(sorted(waiting)))

    assert Token.parse(str(token)) == token


@pytest.mark.parametrize(
    "text",
    [
        "1.5+1:4294967295",
        "1.5+5:1:3",
        "1.5+,",
        "1.5+1:",
        "1.5+1,,2",
        "1.5+",
        "1.99999999999",
        "1.5+1:99999999999",
        "1.5+" + ",".join(["1:400000"] * 4),
        "1.5\n",
        "\uff11.5",
        "1.5+3,2",
        "1.5+5",
    ],
)
def test_a_token_that_is_none_is_refused_and_costs_nothing(text: str) -> None:
    """Neither is it guessed at, nor expanded into all the numbers that it claims."""
    assert Token.parse(text) is None

    with (
        ImapServer({"INBOX": []}) as server,
        scripted(server) as source,
        pytest.raises(CheckpointInvalid),
    ):
        scan(source, text)
