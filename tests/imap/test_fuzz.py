"""A server whose answers are shuffled, lost, doubled and torn: no message is ever another one."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.imap import QUICK, scripted
from typing_extensions import override

from mailarchive import SourceMessage, Unavailable
from mailarchive.errors import MailArchiveError
from mailarchive.testing._imap_answers import answer
from mailarchive.testing.imap_server import Command, Hangup, ImapServer, Talk

if TYPE_CHECKING:
    from collections.abc import Callable

RAWS = [b"Subject: number %d\r\n\r\n%s\r\n" % (n, b"x" * n * 50) for n in range(1, 7)]
IMPATIENT = evolve(QUICK, read_timeout=0.1, connect_timeout=1, reconnects=1, partial_octets=1_024)


class Recorder:
    """Takes down what an honest server says, a response at a time."""

    def __init__(self, talk: Talk) -> None:
        self.__dict__["talk"], self.__dict__["said"] = talk, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.talk, name)

    @override
    def __setattr__(self, name: str, value: object) -> None:
        setattr(self.talk, name, value)

    def send(self, data: bytes) -> None:
        """Note it."""
        self.said.append(data)

    def ok(self, command: Command, text: bytes = b"done") -> None:
        """As the honest server does."""
        self.send(command.tag + b" OK " + text + b"\r\n")

    def no(self, command: Command, text: bytes = b"no") -> None:
        """As the honest server does."""
        self.send(command.tag + b" NO " + text + b"\r\n")

    def bad(self, command: Command, text: bytes = b"what?") -> None:
        """As the honest server does."""
        self.send(command.tag + b" BAD " + text + b"\r\n")


def lose(said: list[bytes], at: int) -> list[bytes]:
    """Leave one response out."""
    return said[:at] + said[at + 1 :]


def double(said: list[bytes], at: int) -> list[bytes]:
    """Say one twice."""
    return said[: at + 1] + said[at:]


def swap(said: list[bytes], at: int) -> list[bytes]:
    """Say two in the other order."""
    return said[:at] + said[at : at + 2][::-1] + said[at + 2 :]


def tear(said: list[bytes], at: int) -> list[bytes]:
    """Stop in the middle of one."""
    return [*said[:at], said[at][: len(said[at]) // 2], b"\r\n"]


def insert(said: list[bytes], at: int) -> list[bytes]:
    """Say what nobody asked for."""
    news = [b"* 3 EXISTS\r\n", b"* 2 FETCH (FLAGS (\\Seen) UID 2)\r\n", b"* OK [ALERT] hello\r\n"]
    return said[:at] + news + said[at:]


def renumber(said: list[bytes], at: int) -> list[bytes]:
    """Give one another UID."""
    return [*said[:at], said[at].replace(b"UID 2 ", b"UID 77 "), *said[at + 1 :]]


def shrink(said: list[bytes], at: int) -> list[bytes]:
    """Say too small a size of one: what follows is no IMAP then.

    Too large a one is the server's word, and nobody can know better.
    """
    return [*said[:at], re.sub(rb"\{\d", b"{", said[at]), *said[at + 1 :]]


def refuse(said: list[bytes], at: int) -> list[bytes]:
    """Say NO in the end."""
    return [*said[:at], said[-1].replace(b" OK ", b" NO ")]


WAYS: list[Callable[[list[bytes], int], list[bytes]]] = [
    lose,
    double,
    swap,
    tear,
    insert,
    renumber,
    shrink,
    refuse,
]

mishaps = st.dictionaries(
    st.integers(0, 14), st.tuples(st.sampled_from(WAYS), st.integers(0, 9)), min_size=1, max_size=4
)


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@example({8: (lose, 1)})
@given(mishaps)
def test_no_message_is_ever_another_one(
    mishaps: dict[int, tuple[Callable[[list[bytes], int], list[bytes]], int]],
) -> None:
    """Each comes at most once, to the byte; or it is unavailable; or the error is ours."""
    count = -1

    def lie(talk: Talk, command: Command) -> bool:
        nonlocal count
        count += 1
        if count not in mishaps or command.name in {"AUTHENTICATE", "LOGIN"}:
            return False
        recorder = Recorder(talk)
        answer(recorder, command, lambda: None)  # type: ignore[arg-type]  # it quacks
        way, at = mishaps[count]
        said = way(recorder.said, min(at, len(recorder.said) - 1))
        talk.send(b"".join(said))
        if way is tear:
            raise Hangup
        return True

    found: list[SourceMessage | Unavailable] = []
    with (
        ImapServer({"INBOX": RAWS}, lie) as server,
        suppress(MailArchiveError),
        scripted(server, limits=IMPATIENT) as source,
    ):
        for folder in source.folders():
            for page in source.scan(folder):
                found += source.fetch(page.refs)

    keys = [item.ref.key for item in found]
    assert len(set(keys)) == len(keys)
    for item in found:
        if isinstance(item, SourceMessage):
            assert item.raw == RAWS[int(item.ref.key.split(".")[1]) - 1]
