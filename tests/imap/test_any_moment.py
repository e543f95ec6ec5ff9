"""Wherever a connection ends, the run goes on, and asks for its token anew."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from attrs import evolve, field, frozen
from support.imap import QUICK, read_all, scripted

from mailarchive.auth import OAuth
from mailarchive.testing.imap_server import Hangup, ImapServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailarchive.testing.imap_server import Command, Talk

MAIL = {
    "INBOX": [b"Subject: %d\r\n\r\nbody %d\r\n" % (number, number) for number in range(7)],
    "Projects": [b"Subject: other\r\n\r\nbody\r\n"],
}
CAPABILITIES = "IMAP4rev1 SASL-IR AUTH=XOAUTH2 NAMESPACE UIDPLUS UNSELECT"
OPENING = 3
"""Commands until the first connection stands: whoever set it up is told at once of an end."""
PAUSE = b"Request is throttled. Suggested Backoff Time: 1500 milliseconds"


@frozen
class Run:
    """What came of reading everything once."""

    found: Counter[bytes]
    commands: list[str]
    connections: int
    tokens: int
    slept: list[float] = field(factory=list)


def bye(talk: Talk, command: Command) -> bool:
    """Say goodbye."""
    del command
    talk.send(b"* BYE Session invalidated - AccessTokenExpired\r\n")
    raise Hangup


def cut(talk: Talk, command: Command) -> bool:
    """End in the middle of a line."""
    del command
    talk.send(b"* LI")
    raise Hangup


def stray(talk: Talk, command: Command) -> bool:
    """Ask for more where there is no more, and then answer."""
    del command
    talk.send(b"+ go on\r\n")
    return False


def farewell(talk: Talk, command: Command) -> bool:
    """Say goodbye for a while."""
    del command
    talk.send(b"* BYE " + PAUSE + b"\r\n")
    raise Hangup


def throttled(talk: Talk, command: Command) -> bool:
    """Refuse for a while."""
    talk.bad(command, PAUSE)
    return True


def run(at: int, end: Callable[[Talk, Command], bool]) -> Run:
    """Read every message, over a server that ends at the command of this number."""
    tokens: list[str] = []
    slept: list[float] = []

    def lie(talk: Talk, command: Command) -> bool:
        return len(server.commands) == at and end(talk, command)

    def token() -> str:
        tokens.append(f"token-{len(tokens)}")
        return tokens[-1]

    with (
        ImapServer(MAIL, lie, capabilities=CAPABILITIES) as server,
        scripted(
            server,
            auth=OAuth("alice@example.com", token),
            limits=evolve(QUICK, page=3),
            sleep=slept.append,
        ) as source,
    ):
        found = Counter(each.raw for name in MAIL for each in read_all(source, name))
        commands = [each.name for each in server.commands]
    return Run(found, commands, server.connections, len(tokens), slept)


@pytest.mark.parametrize("end", [bye, cut, stray, farewell, throttled])
def test_wherever_a_connection_ends_everything_is_read_once(
    end: Callable[[Talk, Command], bool],
) -> None:
    """At each command behind the login; a pause that is asked for is kept to the millisecond."""
    whole = Counter(raw for raws in MAIL.values() for raw in raws)
    undisturbed = run(-1, end)
    assert (undisturbed.found, undisturbed.tokens) == (whole, 1)

    for at in range(OPENING + 1, len(undisturbed.commands) + 1):
        came = run(at, end)

        assert came.found == whole, at
        assert came.tokens == came.connections == came.commands.count("AUTHENTICATE"), at
        assert came.connections == 2 or end is throttled, at
        if end in {farewell, throttled}:
            assert came.slept == [1.5], at
