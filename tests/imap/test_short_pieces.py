"""Servers that give less of a message than they were asked for: none is cut short by it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from support.imap import QUICK, archived, inbox_of, scripted

from mailarchive import Kept, Removed, SourceMessage
from mailarchive.testing.imap_server import ImapServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailarchive.testing.imap_server import Command, Lie, Talk

RAW = bytes(65 + number % 26 for number in range(10_000))
LIMITS = evolve(QUICK, partial_octets=1_024, piece_octets=4_000)
PARTS = re.compile(rb"BODY\.PEEK\[\]<(\d+)\.(\d+)>")


def giving(most: int, beyond: Callable[[Talk, Command], bool] | None = None) -> Lie:
    """Give so many octets of a part at most; `beyond` answers for what is behind the end."""

    def lie(talk: Talk, command: Command) -> bool:
        found = PARTS.search(command.arguments)
        if command.name != "UID FETCH" or found is None:
            return False
        start, octets = int(found[1]), min(int(found[2]), most)
        part = RAW[start : start + octets]
        if not part and beyond is not None:
            return beyond(talk, command)
        head = b"* 1 FETCH (UID 1 FLAGS () BODY[]<%d> {%d}\r\n" % (start, len(part))
        talk.send(head + part + b")\r\n")
        talk.ok(command)
        return True

    return lie


def only(server: ImapServer) -> SourceMessage:
    """The one message, as it is read."""
    with scripted(server, limits=LIMITS) as source:
        (page,) = inbox_of(source)
        (found,) = source.fetch(page.refs)
    assert isinstance(found, SourceMessage)
    return found


@pytest.mark.parametrize("most", [1, 1_500, 3_999])
def test_a_server_that_gives_shorter_pieces_is_asked_for_the_whole(most: int) -> None:
    """A short piece is not the end of a message of which there is more."""
    with ImapServer({"INBOX": [RAW]}, giving(most)) as server:
        assert only(server).raw == RAW

    asked = [command for command in server.commands if PARTS.search(command.arguments)]
    assert len(asked) == 2, "whoever gives one octet at a time must not be asked for each"


def test_what_comes_in_shorter_pieces_is_removed_only_with_all_its_bytes() -> None:
    """The bytes that are compared before a removal are read in the same way."""
    with (
        ImapServer({"INBOX": [RAW]}, giving(1_500)) as server,
        scripted(server, limits=LIMITS) as source,
    ):
        (page,) = inbox_of(source)
        (found,) = source.fetch(page.refs)
        assert isinstance(found, SourceMessage)
        part = archived(evolve(found, raw=RAW[:1_500]))

        assert [type(each) for each in source.remove([part])] == [Kept]
        assert [type(each) for each in source.remove([archived(found)])] == [Removed]


def says_no(talk: Talk, command: Command) -> bool:
    """Refuse what is behind the end, where an empty text is due (RFC 3501, 6.4.5)."""
    talk.no(command, b"there is no such part")
    return True


def throttles_once() -> Callable[[Talk, Command], bool]:
    """Ask for a pause, and then say that there is nothing."""
    left = [b"Request is throttled. Suggested Backoff Time: 10 milliseconds"]

    def beyond(talk: Talk, command: Command) -> bool:
        if left:
            talk.bad(command, left.pop())
            return True
        talk.send(b"* 1 FETCH (UID 1 FLAGS () BODY[]<10000> NIL)\r\n")
        talk.ok(command)
        return True

    return beyond


@pytest.mark.parametrize("beyond", [None, says_no, throttles_once()])
def test_a_size_that_is_too_large_a_guess_makes_no_message_longer(
    beyond: Callable[[Talk, Command], bool] | None,
) -> None:
    """Exchange guesses; what is behind the end is nothing, in whatever words."""
    pieces = giving(4_000, beyond)

    def lie(talk: Talk, command: Command) -> bool:
        if command.name == "UID FETCH" and b"(UID RFC822.SIZE)" in command.arguments:
            talk.send(b"* 1 FETCH (UID 1 RFC822.SIZE 12000)\r\n")
            talk.ok(command)
            return True
        return pieces(talk, command)

    with ImapServer({"INBOX": [RAW]}, lie) as server:
        assert only(server).raw == RAW


def test_a_message_of_the_size_that_was_told_costs_no_command_more() -> None:
    """Three pieces, and the first of it once more."""
    with (
        ImapServer({"INBOX": [RAW]}) as server,
        scripted(server, limits=LIMITS) as source,
    ):
        (page,) = inbox_of(source)
        list(source.fetch(page.refs))

        asked = [command for command in server.commands if PARTS.search(command.arguments)]
    assert len(asked) == 4
