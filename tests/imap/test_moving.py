"""Removed messages go to another folder: there once, whatever breaks, and never nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.imap import Mailbox, archived, read_all, scripted

from mailarchive import Kept, Removed
from mailarchive.errors import MailboxNotFound, SourceError, SourceUnavailable
from mailarchive.sources.imap import Recheck
from mailarchive.testing.dovecot import dovecot
from mailarchive.testing.imap_server import CAPABILITIES, Command, Hangup, ImapServer, Talk, honest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.imap import Numbered

    from mailarchive import RemovalResult
    from mailarchive.testing.imap_server import Lie

RAWS = [b"Subject: number %d\r\n\r\n%s\r\n" % (n, b"x" * n) for n in range(1, 6)]
RUNS = 3
DELETED = b"\\Deleted"


@pytest.fixture
def server() -> Iterator[ImapServer]:
    """A server that cannot move; what is in `Old` has no business there."""
    without_move = CAPABILITIES.replace(" MOVE", "")
    boxes = {"INBOX": RAWS, "Old": [b"Subject: older\r\n\r\n", RAWS[0][::-1]]}
    with ImapServer(boxes, capabilities=without_move) as running:
        yield running


def moved(server: ImapServer, **settings: Any) -> Sequence[RemovalResult]:
    """What becomes of all messages of the inbox in one run."""
    with scripted(server, remove_to="Old", **settings) as source:
        return source.remove([archived(message) for message in read_all(source)])


def copies(server: ImapServer) -> list[bytes]:
    """What has come into the other folder."""
    return sorted(item.raw for item in server.boxes["Old"].items[2:])


def at(name: str, answer: str, *, done: bool = False, times: int = 1 << 30) -> Lie:
    """A lie that hangs up at a command or refuses it, after it was `done` or without."""
    left = [times]

    def lie(talk: Talk, command: Command) -> bool:
        if command.name != name or not left[0]:
            return False
        left[0] -= 1
        if done and talk.selected is not None:
            for _, item in list(talk.selected.chosen(command.arguments.split(b" ")[0])):
                talk.boxes["Old"].add(item.raw)
        if answer == "hangup":
            raise Hangup
        talk.no(command, answer.encode())
        return True

    return lie


@pytest.mark.parametrize(
    "lie",
    [
        at("UID COPY", "hangup", times=1),
        at("UID COPY", "hangup", done=True, times=1),
        at("UID EXPUNGE", "hangup", times=1),
        at("UID STORE", "hangup", times=1),
        at("UID COPY", "[LIMIT] not now", times=1),
    ],
)
def test_a_break_between_copy_and_expunge_copies_nothing_twice(
    lie: Lie, server: ImapServer
) -> None:
    """Who comes back looks in the other folder for what is marked."""
    server.lie = lie

    assert all(isinstance(result, Removed) for result in moved(server))
    assert copies(server) == sorted(RAWS)
    assert server.boxes["INBOX"].items == []


@pytest.mark.parametrize("name", ["UID EXPUNGE", "UID COPY", "UID STORE"])
def test_copies_do_not_grow_with_the_runs(name: str, server: ImapServer) -> None:
    """However often each of several runs is cut off there is one copy, and then it is done."""
    server.lie = at(name, "hangup")
    for _ in range(RUNS):
        with pytest.raises(SourceUnavailable):
            moved(server)
    server.lie = honest
    results = moved(server)

    assert all(isinstance(result, Removed) for result in results)
    assert copies(server) == sorted(RAWS)
    assert server.boxes["INBOX"].items == []


def test_copies_do_not_grow_where_the_server_will_not_expunge(server: ImapServer) -> None:
    """What has a copy stays marked: that is how the next run knows."""
    server.lie = at("UID EXPUNGE", "[NOPERM] no")
    for _ in range(RUNS):
        assert all(isinstance(result, Kept) for result in moved(server))
        assert [item.flags for item in server.boxes["INBOX"].items] == [{DELETED}] * len(RAWS)
        assert copies(server) == sorted(RAWS)
    server.lie = honest

    assert all(isinstance(result, Removed) for result in moved(server))
    assert copies(server) == sorted(RAWS)


def test_a_message_that_is_flagged_meanwhile_stays_and_has_no_copy(server: ImapServer) -> None:
    """It is looked at again after the mark, and copied only then."""

    def flag_first(talk: Talk, command: Command) -> bool:
        if command.name == "UID STORE" and b"+FLAGS" in command.arguments:
            talk.boxes["INBOX"].items[1].flags.add(b"\\Flagged")
        return False

    server.lie = flag_first
    results = moved(server)
    for _ in range(RUNS):
        moved(server)

    assert {type(result) for result in results} == {Kept, Removed}
    assert copies(server) == sorted(raw for raw in RAWS if raw != RAWS[1])
    assert [item.flags for item in server.boxes["INBOX"].items] == [{b"\\Flagged"}]


def test_a_refused_copy_leaves_everything_as_it_was(server: ImapServer) -> None:
    """Neither a mark nor a copy, and nothing is expunged."""
    server.lie = at("UID COPY", "[OVERQUOTA] full")

    assert all(isinstance(result, Kept) for result in moved(server))
    assert [item.flags for item in server.boxes["INBOX"].items] == [set()] * len(RAWS)
    assert copies(server) == []


def test_a_target_that_is_removed_meanwhile_leaves_no_marks(server: ImapServer) -> None:
    """The error names the setting, and the messages are as they were."""
    server.lie = at("UID COPY", "[TRYCREATE] no such folder")
    with pytest.raises(MailboxNotFound) as caught:
        moved(server)

    assert "remove_to" in caught.value.suggestions[0]
    assert [item.flags for item in server.boxes["INBOX"].items] == [set()] * len(RAWS)


def is_look_at_target(talk: Talk, command: Command) -> bool:
    """Whether something is asked of the other folder."""
    here = talk.selected is not None and talk.selected.name == "Old"
    return here and command.name == "UID FETCH"


def test_where_it_cannot_be_told_whether_there_is_a_copy_nothing_is_done(
    server: ImapServer,
) -> None:
    """A refusal to look at what is in the other folder leaves what is marked where it is."""

    def refuse(talk: Talk, command: Command) -> bool:
        if not is_look_at_target(talk, command):
            return False
        talk.no(command, b"[SERVERBUG] no")
        return True

    server.boxes["INBOX"].items[2].flags.add(DELETED)
    server.lie = refuse
    results = {result.ref.key: result for result in moved(server)}

    assert isinstance(results.pop("1.3"), Kept)
    assert all(isinstance(result, Removed) for result in results.values())
    assert [item.uid for item in server.boxes["INBOX"].items] == [3]
    assert copies(server) == sorted(raw for raw in RAWS if raw != RAWS[2])


@pytest.mark.parametrize(
    "answer", [b"NO [LIMIT] not so fast", b"NO [SERVERBUG] no", b"OK and nothing comes", b"NIL"]
)
@pytest.mark.parametrize("copied", [False, True])
def test_a_copy_that_is_handed_over_late_or_never_is_at_worst_made_again(
    answer: bytes, copied: bool, server: ImapServer
) -> None:
    """Once, and the message is moved or stays; none is anywhere else than before."""
    answers = [answer]

    def lie(talk: Talk, command: Command) -> bool:
        if not is_look_at_target(talk, command) or not answers or b"BODY" not in command.arguments:
            return False
        answer = answers.pop()
        if answer == b"NIL":
            talk.send(b"* 3 FETCH (UID 3 BODY[] NIL)\r\n")
            answer = b"OK"
        talk.send(command.tag + b" " + answer + b"\r\n")
        return True

    server.boxes["INBOX"].items[2].flags.add(DELETED)
    if copied:
        server.boxes["Old"].add(RAWS[2])
    server.lie = lie
    moved(server)
    moved(server)

    assert server.boxes["INBOX"].items == []
    assert {*copies(server)} == {*RAWS}
    assert len(copies(server)) <= len(RAWS) + 1


@pytest.mark.parametrize("copied", [False, True])
def test_where_bytes_are_made_anew_only_a_copy_that_is_known_again_counts(
    copied: bool, server: ImapServer
) -> None:
    """What somebody marked may have been copied as other bytes: it stays."""
    server.boxes["INBOX"].items[2].flags.add(DELETED)
    if copied:
        server.boxes["Old"].add(RAWS[2])
    results = {result.ref.key: result for result in moved(server, recheck=Recheck.SIZE)}

    assert isinstance(results["1.3"], Removed if copied else Kept)
    assert sum(isinstance(result, Removed) for result in results.values()) == 4 + copied
    assert copies(server) == sorted(raw for raw in RAWS if copied or raw != RAWS[2])


def test_a_folder_numbered_anew_during_the_look_keeps_everything(server: ImapServer) -> None:
    """The numbers of the receipts mean other messages by then."""

    def renumber(talk: Talk, command: Command) -> bool:
        if is_look_at_target(talk, command):
            talk.boxes["INBOX"].uidvalidity = 77
        return False

    server.boxes["INBOX"].items[2].flags.add(DELETED)
    server.lie = renumber

    assert all(isinstance(result, Kept) for result in moved(server))
    assert len(server.boxes["INBOX"].items) == len(RAWS)
    assert copies(server) == []


def test_a_target_that_is_gone_when_it_is_looked_at_is_told(server: ImapServer) -> None:
    """The same error as at the copy."""

    def gone(talk: Talk, command: Command) -> bool:
        if command.name != "EXAMINE" or b"Old" not in command.arguments:
            return False
        talk.no(command, b"[NONEXISTENT] no such folder")
        return True

    server.boxes["INBOX"].items[2].flags.add(DELETED)
    server.lie = gone
    with pytest.raises(MailboxNotFound) as caught:
        moved(server)

    assert "remove_to" in caught.value.suggestions[0]


WITHOUT_MOVE = "IMAP4rev1 SASL-IR LITERAL+ UIDPLUS UNSELECT CONDSTORE NAMESPACE SPECIAL-USE"


def test_a_break_before_the_expunge_copies_nothing_twice_on_a_real_server(
    numbered: Numbered,
) -> None:
    """Dovecot, told not to move, and cut off at the worst moment in each of several runs."""
    with dovecot(extra=f"imap_capability = {WITHOUT_MOVE}\n") as real:
        mailbox = Mailbox(real, real.new_user())
        mailbox.put(numbered(5))
        mailbox.put(numbered(2, size=100), "Old")
        for run in range(RUNS):
            with mailbox.source(remove_to="Old") as source:
                items = [archived(message) for message in read_all(source)]
                _cut_off_at_expunge(source, times=4 if run < RUNS - 1 else 1)
                if run < RUNS - 1:
                    with pytest.raises(SourceError):
                        source.remove(items)
                else:
                    assert {type(result) for result in source.remove(items)} == {Removed}
        left, there = mailbox.state(), mailbox.state("Old")

    assert left == []
    assert len(there) == 2 + 5


def _cut_off_at_expunge(source: Any, times: int) -> None:
    """Let the connection be gone before this command, so many times."""
    connect, left = source._line._connect, [times]

    def cut(session: Any) -> Any:
        stream = session.stream

        def streaming(*parts: bytes, **settings: Any) -> object:
            if parts[0] == b"UID EXPUNGE" and left[0]:
                left[0] -= 1
                session.drop()
            return stream(*parts, **settings)

        session.stream = streaming
        return session

    source._line._connect = lambda: cut(connect())
    cut(source._line.session())
