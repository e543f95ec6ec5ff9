"""A server that cannot now is waited for; a message that it never can is found all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from support.imap import QUICK, inbox_of, scripted

from mailarchive import Archiver, SourceMessage, Unavailable
from mailarchive.errors import SourceUnavailable
from mailarchive.testing.imap_lies import honest_bodies, is_body_fetch
from mailarchive.testing.imap_server import Command, ImapServer, Talk, honest
from mailarchive.testing.memory import MemoryCheckpoints, MemoryQuarantine, MemorySink
from mailarchive.users import StaticMap

if TYPE_CHECKING:
    from collections.abc import Collection

    from mailarchive import RunReport
    from mailarchive.sources.imap import ImapSource
    from mailarchive.testing.imap_server import Lie

MANY = 300
RAWS = [b"Subject: number %d\r\n\r\nbody\r\n" % n for n in range(1, MANY + 1)]
TEMPORARY = ["UNAVAILABLE", "INUSE", "SERVERBUG"]
LIMITS = evolve(QUICK, page=MANY)
FEW = 30
"""Commands that are enough to know that it is the server."""


def refusing(code: str, *, times: int = 1 << 30) -> Lie:
    """Refuse so many requests for messages, whichever they are."""
    left = [times]

    def lie(talk: Talk, command: Command) -> bool:
        if not is_body_fetch(command) or not left[0]:
            return False
        left[0] -= 1
        talk.no(command, f"[{code}] not now".encode())
        return True

    return lie


def poisoned(uids: Collection[int], code: str) -> Lie:
    """Refuse every request with one of these in it, before anything is handed over."""
    words = f"[{code}] not this one" if code else "not this one"

    def lie(talk: Talk, command: Command) -> bool:
        if not is_body_fetch(command) or not {u for u, _ in honest_bodies(talk, command)} & {
            *uids
        }:
            return False
        talk.no(command, words.encode())
        return True

    return lie


def fetches(server: ImapServer) -> int:
    """How often messages were asked for."""
    return sum(is_body_fetch(command) for command in server.commands)


def read(source: ImapSource, token: str | None = None) -> dict[int, SourceMessage | Unavailable]:
    """What the inbox hands over behind a token, by UID."""
    pages = source.scan(source.folders()[0], token)
    items = [item for page in pages for item in source.fetch(page.refs)]
    return {int(item.ref.key.split(".")[1]): item for item in items}


def withheld(found: dict[int, SourceMessage | Unavailable]) -> list[int]:
    """The UIDs of what could not be had."""
    return [uid for uid, item in found.items() if isinstance(item, Unavailable)]


@pytest.mark.parametrize("code", TEMPORARY)
def test_a_server_that_cannot_now_fails_no_message(code: str) -> None:
    """After a few waits the folder is unavailable, in few commands, and nothing else is."""
    waits: list[float] = []
    with (
        ImapServer({"INBOX": RAWS}, refusing(code)) as server,
        scripted(server, limits=LIMITS, sleep=waits.append) as source,
    ):
        (page,) = inbox_of(source)
        items = iter(source.fetch(page.refs))
        with pytest.raises(SourceUnavailable):
            next(items)

        assert fetches(server) <= FEW
    assert len(waits) == LIMITS.reconnects


@pytest.mark.parametrize("times", [1, 2, 3, 5, 8])
def test_a_server_that_can_again_hands_over_everything(times: int) -> None:
    """A refusal that passes costs a wait."""
    with (
        ImapServer({"INBOX": RAWS}, refusing("UNAVAILABLE", times=times)) as server,
        scripted(server, limits=LIMITS) as source,
    ):
        found = read(source)

        assert fetches(server) <= FEW
    assert len(found) == MANY
    assert withheld(found) == []


@pytest.mark.parametrize("code", TEMPORARY)
@pytest.mark.parametrize("uid", [1, 2, 150, 299, 300])
def test_one_message_that_is_always_refused_is_found(uid: int, code: str) -> None:
    """Others are handed over at the same moment, so that it is not the server."""
    waits: list[float] = []
    with (
        ImapServer({"INBOX": RAWS}, poisoned({uid}, code)) as server,
        scripted(server, limits=LIMITS, sleep=waits.append) as source,
    ):
        found = read(source)

        assert fetches(server) <= FEW
    assert len(found) == MANY
    assert withheld(found) == [uid]
    assert len(waits) <= 2


@pytest.mark.parametrize("code", ["", "NOPERM", "CANNOT"])
def test_one_message_that_is_refused_for_good_is_waited_for_by_nobody(code: str) -> None:
    """The server does not say that it could later, and is asked for nothing else."""
    waits: list[float] = []
    with (
        ImapServer({"INBOX": RAWS}, poisoned({7}, code)) as server,
        scripted(server, limits=LIMITS, sleep=waits.append) as source,
    ):
        assert withheld(read(source)) == [7]
        assert fetches(server) <= 2 * MANY.bit_length()
    assert waits == []


def test_as_many_as_are_refused_are_found_in_a_bounded_number_of_commands() -> None:
    """Side by side and far apart, also where some of them are asked for as witnesses."""
    uids = {1, 2, 3, 4, 75, 76, 150, 226, 299, 300}
    with (
        ImapServer({"INBOX": RAWS}, poisoned(uids, "SERVERBUG")) as server,
        scripted(server, limits=LIMITS) as source,
    ):
        found = read(source)

        assert fetches(server) <= len(uids) * 2 * MANY.bit_length()
    assert set(withheld(found)) == uids


def test_a_message_that_is_refused_and_alone_in_its_page_is_found() -> None:
    """What was archived long ago is handed over still, which tells the two apart."""
    with ImapServer({"INBOX": RAWS[:9]}) as server, scripted(server) as source:
        (page,) = inbox_of(source)
        server.boxes["INBOX"].add(b"Subject: poison\r\n\r\n")
        server.lie = poisoned({10}, "UNAVAILABLE")

        assert withheld(read(source, page.token)) == [10]


@pytest.mark.parametrize("reconnects", [0, 1])
def test_a_message_that_is_refused_is_found_without_patience_too(reconnects: int) -> None:
    """Who waits for nothing asks around at once."""
    limits = evolve(LIMITS, reconnects=reconnects)
    with (
        ImapServer({"INBOX": RAWS}, poisoned({7}, "UNAVAILABLE")) as server,
        scripted(server, limits=limits) as source,
    ):
        assert withheld(read(source)) == [7]


def test_the_only_message_of_a_folder_cannot_be_told_from_the_server() -> None:
    """Nothing else waits behind it; as soon as something does, it is found."""
    with (
        ImapServer({"INBOX": RAWS[:1]}, poisoned({1}, "SERVERBUG")) as server,
        scripted(server) as source,
    ):
        with pytest.raises(SourceUnavailable):
            read(source)
        server.boxes["INBOX"].add(b"Subject: another\r\n\r\n")

        assert withheld(read(source)) == [1]


def test_a_server_that_gives_out_after_a_poison_was_found_fails_no_more() -> None:
    """That others were handed over a while ago says nothing of now."""
    poison, outage = poisoned({7}, "SERVERBUG"), refusing("SERVERBUG")

    def lie(talk: Talk, command: Command) -> bool:
        return (outage if fetches(server) > FEW else poison)(talk, command)

    with (
        ImapServer({"INBOX": RAWS}, lie) as server,
        scripted(server, limits=evolve(LIMITS, page=10)) as source,
    ):
        found: list[SourceMessage | Unavailable] = []
        with pytest.raises(SourceUnavailable):
            found += (item for page in inbox_of(source) for item in source.fetch(page.refs))

        assert fetches(server) <= 2 * FEW


@pytest.mark.parametrize("broken", ["UID SEARCH", "witness"])
def test_a_connection_that_breaks_while_others_are_asked_for_says_nothing(broken: str) -> None:
    """Then it is the server, as far as anybody knows."""
    refuse = refusing("UNAVAILABLE")

    def lie(talk: Talk, command: Command) -> bool:
        witness = command.name == "UID FETCH" and b"]<0." in command.arguments
        if fetches(server) and (witness if broken == "witness" else command.name == broken):
            talk.bad(command) if broken == "witness" else talk.send(b"* SEARCH x\r\n")
            return True
        return refuse(talk, command)

    with (
        ImapServer({"INBOX": RAWS}, lie) as server,
        scripted(server, limits=LIMITS) as source,
        pytest.raises(SourceUnavailable),
    ):
        read(source)


def answers_nothing(talk: Talk, command: Command) -> bool:
    """Say OK to whatever is asked of messages, and nothing about any."""
    if command.name != "UID FETCH":
        return False
    talk.ok(command)
    return True


def test_a_server_that_answers_nothing_of_any_message_has_lost_none() -> None:
    """As long as it lists them they are there, and wait; what it does not list is gone."""
    sink, parts = MemorySink(), (MemoryCheckpoints(), MemoryQuarantine())

    def run() -> RunReport:
        state, quarantine = parts
        return Archiver(
            scripted(server),
            sink,
            StaticMap({}),
            state=state,
            quarantine=quarantine,
            retry_now=True,
        ).run()

    with ImapServer({"INBOX": RAWS[:8]}, answers_nothing) as server:
        first = run()
        del server.boxes["INBOX"].items[2:4]
        server.lie = honest
        second = run()

    assert (first.failed, first.vanished, first.waiting, first.ok) == (8, 0, 8, False)
    assert (second.archived, second.vanished, second.waiting, second.ok) == (6, 2, 0, True)


def test_what_is_gone_is_told_from_what_a_server_says_nothing_of() -> None:
    """Two went between the listing and the reading, and of the rest nothing is said."""
    with ImapServer({"INBOX": RAWS[:8]}) as server, scripted(server) as source:
        (page,) = inbox_of(source)
        del server.boxes["INBOX"].items[2:4]
        server.lie = answers_nothing
        left = list(source.fetch(page.refs))

    assert sorted(item.ref.key for item in left) == ["1.1", "1.2", "1.5", "1.6", "1.7", "1.8"]
    assert all(isinstance(item, Unavailable) for item in left)
