r"""Ready-made lies for `ImapServer`: the faults that servers of the field have been seen with.

Each is a `Lie`, and `either` puts several together::

    with ImapServer({"INBOX": raws}, either(poisoned(7), throttled(1_500))) as server:
        ...

A message's UID on a fresh `ImapServer` is its place in the folder, from 1 on.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from mailarchive.testing._imap_answers import fetched
from mailarchive.testing.imap_server import Hangup

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mailarchive.testing.imap_server import Command, Lie, Talk

__all__ = [
    "Poison",
    "either",
    "expiring",
    "flooding",
    "honest_bodies",
    "is_body_fetch",
    "many_folders",
    "poisoned",
    "renumbered",
    "throttled",
]


def either(*lies: Lie) -> Lie:
    """Let the first that has something to say answer."""

    def lie(talk: Talk, command: Command) -> bool:
        return any(each(talk, command) for each in lies)

    return lie


def is_body_fetch(command: Command) -> bool:
    """Whether whole messages are asked for."""
    return command.name == "UID FETCH" and b"BODY.PEEK[]" in command.arguments


def honest_bodies(talk: Talk, command: Command) -> Iterator[tuple[int, bytes]]:
    """Yield the UID and the honest response of each message that a FETCH asks for."""
    text, _, items = command.arguments.partition(b" ")
    if talk.selected is not None:
        for place, item in talk.selected.chosen(text):
            yield item.uid, fetched(place, item, items)


class Poison(StrEnum):
    """What a server does when it comes to a message that it cannot hand over."""

    REFUSED = "refused"
    """NO to every batch with it, after what stands before it."""
    WITHHELD = "withheld"
    """OK, and nothing of it: Exchange, at an item that it cannot convert."""
    NIL = "nil"
    """NIL in its place."""
    EMPTY = "empty"
    """An empty text in its place, though it has a size."""
    NOTICE = "notice"
    """Exchange's own placeholder mail in its place."""
    GARBLED = "garbled"
    """What is no IMAP in its place."""
    HANGUP = "hangup"
    """The end of the connection in the middle of it."""
    STALL = "stall"
    """Silence in the middle of it."""


NOTICE = (
    b"From: Microsoft Exchange Server\r\n"
    b"Subject: Retrieval using the IMAP4 protocol failed for the following message: %d\r\n"
    b"\r\nThe server couldn't retrieve the following message:\r\n"
)
"""The mail that Exchange makes up, with the UID."""


def poisoned(uid: int, how: Poison | str = Poison.REFUSED) -> Lie:
    """Fail at one message, each time, and hand over the others."""
    way = Poison(how)

    def lie(talk: Talk, command: Command) -> bool:
        if not is_body_fetch(command):
            return False
        for each, response in honest_bodies(talk, command):
            if each != uid:
                talk.send(response)
            elif way is Poison.REFUSED:
                talk.no(command, b"[SERVERBUG] some text")
                return True
            else:
                _poison(talk, way, uid, response)
        talk.ok(command)
        return True

    return lie


def _poison(talk: Talk, way: Poison, uid: int, response: bytes) -> None:
    notice = NOTICE % uid
    start = b"* %d FETCH (UID %d " % (uid, uid)
    if way is Poison.HANGUP:
        talk.send(response[: len(response) // 2])
        raise Hangup
    if way is Poison.STALL:
        talk.send(response[: len(response) // 2])
        talk.stall()
    instead = {
        Poison.WITHHELD: b"",
        Poison.NIL: start + b"BODY[] NIL)\r\n",
        Poison.EMPTY: start + b'BODY[] "")\r\n',
        Poison.NOTICE: start + b"BODY[] {%d}\r\n%b)\r\n" % (len(notice), notice),
        Poison.GARBLED: start + b"((((\r\n",
    }
    talk.send(instead[way])


def throttled(milliseconds: int, *, times: int = 1, at: str = "UID FETCH") -> Lie:
    """Ask for a pause as Exchange does, at the first `times` commands of that name."""
    left = [times]

    def lie(talk: Talk, command: Command) -> bool:
        if command.name != at or not left[0]:
            return False
        left[0] -= 1
        words = b"Request is throttled. Suggested Backoff Time: %d milliseconds"
        talk.bad(command, words % milliseconds)
        return True

    return lie


def expiring(messages: int, *, connections: int = 1) -> Lie:
    """End the session after so many messages, as at an expired token, on the first connections."""

    def lie(talk: Talk, command: Command) -> bool:
        if not is_body_fetch(command) or talk.number > connections:
            return False
        for count, (_, response) in enumerate(honest_bodies(talk, command)):
            if count == messages:
                talk.send(b"* BYE Session invalidated - AccessTokenExpired\r\n")
                raise Hangup
            talk.send(response)
        talk.ok(command)
        return True

    return lie


def renumbered(uidvalidity: int, *, at: str = "UID FETCH") -> Lie:
    """Number every folder anew just before the first command of that name is answered."""
    done: list[Command] = []

    def lie(talk: Talk, command: Command) -> bool:
        if command.name == at and not done:
            done.append(command)
            for box in talk.boxes.values():
                box.uidvalidity = uidvalidity
        return False

    return lie


def many_folders(count: int) -> Lie:
    """List so many folders, none of which is there."""

    def lie(talk: Talk, command: Command) -> bool:
        if command.name != "LIST":
            return False
        for number in range(count):
            talk.send(b'* LIST () "/" "folder %d"\r\n' % number)
        talk.ok(command)
        return True

    return lie


def flooding(at: str, data: bytes, *, first: Iterable[bytes] = ()) -> Lie:
    """Answer every command of that name with the same again and again, without an end."""

    def lie(talk: Talk, command: Command) -> bool:
        if command.name != at:
            return False
        for each in first:
            talk.send(each)
        talk.flood(data)
        return True

    return lie
