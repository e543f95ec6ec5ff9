"""Mail that a server has lost or cannot read costs itself, and nobody else's folder."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from support.imap import QUICK, Mailbox, inbox_of, scripted

from mailarchive import SourceMessage, Unavailable
from mailarchive.errors import SourceError, SourceUnavailable
from mailarchive.sources.imap import Ripe
from mailarchive.testing.dovecot import Dovecot, dovecot
from mailarchive.testing.imap_lies import Poison, either, honest_bodies, poisoned
from mailarchive.testing.imap_server import Hangup, ImapServer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from support.imap import Numbered

    from mailarchive.sources.imap import ImapSource
    from mailarchive.testing.imap_server import Command, Lie, Talk

RAWS = [b"Subject: number %d\r\n\r\n%s\r\n" % (n, b"x" * n * 10) for n in range(1, 41)]

ONE_FILE_EACH = "mail_location = sdbox:~/sdbox\nnamespace inbox {\n  location =\n}\n"


@pytest.fixture(scope="module")
def sdbox() -> Iterator[Dovecot]:
    """A real Dovecot, which keeps each message in a file and its size in a cache."""
    with dovecot(extra=ONE_FILE_EACH) as running:
        yield running


def damage(mailbox: Mailbox, uids: Collection[int], *, forget_sizes: bool) -> None:
    """Cut files in half, as a full disk or a bad restore does."""
    home = mailbox.server.folder / "home" / mailbox.user
    for uid in uids:
        (file,) = home.rglob(f"u.{uid}")
        file.write_bytes(file.read_bytes()[:2_000])
    if forget_sizes:
        for cache in home.rglob("dovecot.index.cache"):
            cache.unlink()


def read(source: ImapSource) -> tuple[dict[int, bytes], set[int]]:
    """What is handed over, by UID, and what is not."""
    found = [item for page in inbox_of(source) for item in source.fetch(page.refs)]
    whole = {uid_of(item): item.raw for item in found if isinstance(item, SourceMessage)}
    return whole, {uid_of(item) for item in found if isinstance(item, Unavailable)}


def uid_of(item: SourceMessage | Unavailable) -> int:
    """Its number in the folder."""
    return int(item.ref.key.split(".")[1])


@pytest.mark.parametrize("damaged", [{7}, {7, 8, 9}, {1, 2}, {29, 30}, set(range(3, 30, 2))])
@pytest.mark.parametrize("forget_sizes", [False, True])
def test_damaged_mail_on_a_real_server_stops_nobody_else(
    damaged: set[int], forget_sizes: bool, sdbox: Dovecot, numbered: Numbered
) -> None:
    """Dovecot hangs up at each, and where it has forgotten a size already in the listing."""
    mailbox, raws = Mailbox(sdbox, sdbox.new_user()), numbered(30, 4_000)
    mailbox.put(raws)
    damage(mailbox, damaged, forget_sizes=forget_sizes)
    with mailbox.source() as source:
        whole, unavailable = read(source)

    assert unavailable == damaged
    assert whole == {uid: raw for uid, raw in enumerate(raws, 1) if uid not in damaged}


def hanging_up(at: Collection[int]) -> Lie:
    """Tell of the messages before one of these, and end the connection, in each listing."""

    def lie(talk: Talk, command: Command) -> bool:
        if command.name != "UID FETCH" or b"RFC822.SIZE" not in command.arguments:
            return False
        for uid, response in honest_bodies(talk, command):
            if uid in at:
                raise Hangup
            talk.send(response)
        talk.ok(command)
        return True

    return lie


@pytest.mark.parametrize("ripe", [None, Ripe(older_than=timedelta(0), without_flags=["keep"])])
def test_what_a_server_cannot_speak_of_is_listed_without_a_size(ripe: Ripe | None) -> None:
    """However many are neighbours; each costs a bounded number of connections."""
    lost = set(range(5, 25))
    with (
        ImapServer({"INBOX": RAWS}, hanging_up(lost)) as server,
        scripted(server, ripe=ripe) as source,
    ):
        refs = [ref for page in inbox_of(source) for ref in page.refs]

    assert [ref.size is None for ref in refs] == [uid in lost for uid in range(1, len(RAWS) + 1)]
    # Three break at it, and at worst each of four others that are asked for is lost, too.
    assert server.connections <= 1 + 7 * len(lost)


@pytest.mark.parametrize("words", [b"[SERVERBUG] it is gone", b"no"])
def test_a_refusal_to_speak_of_one_message_keeps_no_folder_out(words: bytes) -> None:
    """It is found by halves, in a bounded number of commands, and over one connection."""
    lost = {3, 4, 20}

    def refuse(talk: Talk, command: Command) -> bool:
        if command.name != "UID FETCH" or b"RFC822.SIZE" not in command.arguments:
            return False
        for uid, response in honest_bodies(talk, command):
            if uid in lost:
                talk.no(command, words)
                return True
            talk.send(response)
        talk.ok(command)
        return True

    with ImapServer({"INBOX": RAWS}, refuse) as server:
        with scripted(server) as source:
            refs = [ref for page in inbox_of(source) for ref in page.refs]

        assert [ref.size is None for ref in refs] == [u in lost for u in range(1, len(RAWS) + 1)]
        assert server.connections == 1
        assert len(server.commands) < 100


@pytest.mark.parametrize("how", [Poison.EMPTY, Poison.NIL])
def test_an_empty_text_of_a_message_without_a_size_is_no_message(how: Poison) -> None:
    """A server that can tell no size of it and has nothing of it either has lost it."""

    def refuse(talk: Talk, command: Command) -> bool:
        if b"RFC822.SIZE" not in command.arguments:
            return False
        if 3 in [uid for uid, _ in honest_bodies(talk, command)]:
            talk.no(command, b"[SERVERBUG] it is gone")
            return True
        return False

    lie = either(refuse, poisoned(3, how))
    with ImapServer({"INBOX": RAWS[:5]}, lie) as server, scripted(server) as source:
        whole, unavailable = read(source)

    assert (sorted(whole), unavailable) == ([1, 2, 4, 5], {3})


@pytest.mark.parametrize(
    ("words", "kind"), [(b"[UNAVAILABLE] later", SourceUnavailable), (b"no", SourceError)]
)
def test_a_server_that_refuses_to_speak_of_any_message_is_told(
    words: bytes, kind: type[SourceError]
) -> None:
    """Others are asked for before one is blamed: then it is the folder, or the server."""

    def refuse(talk: Talk, command: Command) -> bool:
        if command.name != "UID FETCH":
            return False
        talk.no(command, words)
        return True

    with ImapServer({"INBOX": RAWS}, refuse) as server:
        with scripted(server) as source, pytest.raises(kind):
            inbox_of(source)

        assert len(server.commands) < 40


def test_the_only_new_message_is_listed_though_nothing_is_told_of_it() -> None:
    """There is nobody else to ask for; its reader finds out."""
    with ImapServer({"INBOX": RAWS[:1]}, hanging_up({1})) as server, scripted(server) as source:
        (page,) = inbox_of(source)
        whole, unavailable = read(source)

    assert [ref.size for ref in page.refs] == [None]
    assert (whole, unavailable) == ({1: RAWS[0]}, set())


def test_a_server_that_can_speak_of_none_is_unavailable() -> None:
    """It is the server then; nothing is listed, and it is not asked for ever."""
    everything = set(range(1, len(RAWS) + 1))
    with ImapServer({"INBOX": RAWS}, hanging_up(everything)) as server:
        with scripted(server) as source, pytest.raises(SourceUnavailable):
            inbox_of(source)

        assert server.connections <= 3 * (QUICK.reconnects + 1)
