"""Servers that are odd rather than hostile, as they are met in the field."""

from __future__ import annotations

import socket
import struct
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from support.imap import QUICK, archived, inbox_of, scripted

from mailarchive import Kept, SourceMessage, Unavailable
from mailarchive.auth import ClientCertificate, OAuth, Password
from mailarchive.errors import (
    AccessDenied,
    AuthenticationFailed,
    CheckpointInvalid,
    ConfigurationError,
    MailArchiveError,
    MailboxNotFound,
    SourceError,
    SourceUnavailable,
    Throttled,
    Unsupported,
)
from mailarchive.sources.imap import FolderChoice, ImapSource, Ripe
from mailarchive.testing._imap_answers import fetched
from mailarchive.testing.imap_server import CAPABILITIES, Command, Hangup, ImapServer, Talk

if TYPE_CHECKING:
    from collections.abc import Callable

RAWS = [b"Subject: number %d\r\n\r\n%s\r\n" % (n, b"x" * n) for n in range(1, 7)]


def is_body_fetch(command: Command) -> bool:
    """Whether whole messages are asked for."""
    return command.name == "UID FETCH" and b"BODY.PEEK[]" in command.arguments


def uids(source: ImapSource) -> list[int]:
    """The UIDs of the inbox, in the order in which they are listed."""
    return [int(ref.key.split(".")[1]) for page in inbox_of(source) for ref in page.refs]


def messages(source: ImapSource) -> list[SourceMessage]:
    """The messages of the inbox."""
    items = [item for page in inbox_of(source) for item in source.fetch(page.refs)]
    return [item for item in items if isinstance(item, SourceMessage)]


def answering(
    name: str, answer: Callable[[Talk, Command], None]
) -> Callable[[Talk, Command], bool]:
    """A lie that answers one command in its own way."""

    def lie(talk: Talk, command: Command) -> bool:
        if command.name != name:
            return False
        answer(talk, command)
        return True

    return lie


def test_a_listing_may_be_longer_than_a_line() -> None:
    """Numbers are read as they come, across every boundary of what is read at once."""
    with ImapServer({"INBOX": [b"Subject: a\r\n\r\n"] * 9_000}) as server:
        for item in server.boxes["INBOX"].items:
            item.uid = item.uid * 10_007 + 1_000_000_000
        expected = [item.uid for item in server.boxes["INBOX"].items]
        with scripted(server, limits=evolve(QUICK, page=5_000, read_timeout=60)) as source:
            assert uids(source) == expected


def at_most(limit: int, *, told: bool) -> Callable[[Talk, Command], bool]:
    """A lie of a server that takes so many messages in one command, the newest (RFC 9738)."""

    def lie(talk: Talk, command: Command) -> bool:
        if command.name not in {"UID SEARCH", "UID FETCH"} or talk.selected is None:
            return False
        search = command.name == "UID SEARCH"
        text, _, items = command.arguments.removeprefix(b"UID ").partition(b" ")
        chosen = list(talk.selected.chosen(text))
        some = chosen[-limit:]
        if search:
            talk.send(b"* SEARCH%b\r\n" % b"".join(b" %d" % item.uid for _, item in some))
        else:
            talk.send(b"".join(fetched(place, item, items) for place, item in some))
        cut = told and len(some) < len(chosen)
        talk.ok(command, b"[MESSAGELIMIT %d %d] some" % (limit, some[0][1].uid) if cut else b"all")
        return True

    return lie


@pytest.mark.parametrize(("count", "limit", "told"), [(1_250, 100, False), (60, 7, True)])
@pytest.mark.parametrize("ripe", [None, Ripe(older_than=timedelta(days=30))])
def test_a_server_that_takes_so_many_messages_at_a_time_hides_none(
    count: int, limit: int, told: bool, ripe: Ripe | None
) -> None:
    """Neither in a listing, nor in what it tells of each, nor where they are read."""
    raws = [b"Subject: %d\r\n\r\n" % n for n in range(count)]
    now = datetime(2024, 9, 1, tzinfo=UTC)
    with ImapServer({"INBOX": raws}, at_most(limit, told=told)) as server:
        server.boxes["INBOX"].items[1].date = b"31-Aug-2024 00:00:00 +0000"
        with scripted(server, ripe=ripe, clock=lambda: now) as source:
            found = messages(source)

    assert {each.ref.size for each in found} <= {len(raw) for raw in raws}
    assert sorted(each.raw for each in found) == sorted(
        raw for number, raw in enumerate(raws) if ripe is None or number != 1
    )


@pytest.mark.parametrize("word", [b"", b"* SEARCH\r\n", b'* ESEARCH (TAG "x") UID ALL 1:6\r\n'])
def test_a_folder_of_which_nothing_is_listed_is_not_taken_for_empty(word: bytes) -> None:
    """The server says that messages are there; each run archived none, and was well."""

    def answer(talk: Talk, command: Command) -> None:
        talk.send(word)
        talk.ok(command)

    with (
        ImapServer({"INBOX": RAWS}, answering("UID SEARCH", answer)) as server,
        scripted(server) as source,
        pytest.raises(SourceError, match="lists none"),
    ):
        inbox_of(source)


@pytest.mark.parametrize("times", [1, 99])
def test_a_mailbox_of_which_no_folder_is_listed_is_asked_again(times: int) -> None:
    """A run that looks into no folder has nothing to fail at; INBOX is always there."""
    left = [times]

    def nothing(talk: Talk, command: Command) -> bool:
        if command.name != "LIST" or not left[0]:
            return False
        left[0] -= 1
        talk.ok(command)
        return True

    with ImapServer({"INBOX": RAWS}, nothing) as server, scripted(server) as source:
        if times == 1:
            assert [folder.name for folder in source.folders()] == ["INBOX"]
        else:
            with pytest.raises(SourceUnavailable, match="no folder at all"):
                source.folders()


def test_a_folder_that_is_emptied_at_this_moment_is_empty() -> None:
    """It was full when it was opened; a second look tells."""

    def emptied(talk: Talk, command: Command) -> bool:
        if command.name == "UID SEARCH":
            talk.boxes["INBOX"].items.clear()
        return False

    with ImapServer({"INBOX": RAWS}, emptied) as server, scripted(server) as source:
        assert inbox_of(source) == ()


def test_a_listing_in_parts_has_a_limit_too() -> None:
    """Parts that never end are more than was allowed, too."""
    with (
        ImapServer({"INBOX": [b"Subject: a\r\n\r\n"] * 500}, at_most(200, told=False)) as server,
        scripted(server, limits=evolve(QUICK, messages=450)) as source,
        pytest.raises(SourceError, match="messages = 450"),
    ):
        inbox_of(source)


def test_a_listing_may_come_in_any_order_and_in_parts() -> None:
    """Some servers send several lines, some repeat themselves."""

    def in_parts(talk: Talk, command: Command) -> None:
        talk.send(b"* search 5 3\r\n* 6 EXISTS\r\n* SEARCH\r\n* SEARCH 1 3 6 \r\n* SEARCH 2 4\r\n")
        talk.ok(command)

    with (
        ImapServer({"INBOX": RAWS}, answering("UID SEARCH", in_parts)) as server,
        scripted(server) as source,
    ):
        assert uids(source) == [1, 2, 3, 4, 5, 6]


def test_a_listing_that_is_broken_off_is_asked_for_again() -> None:
    """Half a list is no list."""

    def cut(talk: Talk, command: Command) -> bool:
        if command.name != "UID SEARCH" or talk.number > 1:
            return False
        talk.send(b"* SEARCH 1 2")
        raise Hangup

    with ImapServer({"INBOX": RAWS}, cut) as server, scripted(server) as source:
        assert uids(source) == [1, 2, 3, 4, 5, 6]


def test_too_large_a_message_is_found_even_where_its_uid_comes_last() -> None:
    """By asking for less and less at a time."""
    large = [*RAWS[:2], b"y" * 5_000, *RAWS[3:]]

    def body_first(talk: Talk, command: Command) -> bool:
        if not is_body_fetch(command) or talk.selected is None:
            return False
        for place, item in talk.selected.chosen(command.arguments.split(b" ")[0]):
            size = len(item.raw)
            talk.send(
                b"* %d FETCH (BODY[] {%d}\r\n%b UID %d)\r\n" % (place, size, item.raw, item.uid)
            )
        talk.ok(command)
        return True

    limits = evolve(QUICK, message_octets=2_000)
    with (
        ImapServer({"INBOX": large}, body_first) as server,
        scripted(server, limits=limits) as source,
    ):
        found = [item for page in inbox_of(source) for item in source.fetch(page.refs)]

    kept = {item.ref.key: item for item in found}
    poison = kept.pop("1.3")
    assert isinstance(poison, Unavailable)
    assert poison.permanent
    assert len(kept) == 5
    assert all(isinstance(item, SourceMessage) for item in kept.values())


def test_a_message_in_pieces_has_a_limit_too() -> None:
    """Whatever size it was listed with."""
    limits = evolve(QUICK, partial_octets=1_024, piece_octets=1_000, message_octets=3_000)
    with (
        ImapServer({"INBOX": [b"y" * 5_000]}) as server,
        scripted(server, limits=limits) as source,
    ):
        (page,) = inbox_of(source)
        (found,) = source.fetch(page.refs)

    assert isinstance(found, Unavailable)
    assert found.permanent


@pytest.mark.parametrize("answer", [b"NIL", b'""', b"{0}\r\n"])
def test_a_message_whose_first_piece_is_empty_is_withheld(answer: bytes) -> None:
    """A size and no bytes: there is nothing that could be archived."""

    def nothing(talk: Talk, command: Command) -> bool:
        if not is_body_fetch(command):
            return False
        talk.send(b"* 1 FETCH (UID 1 BODY[]<0> " + answer + b")\r\n")
        talk.ok(command)
        return True

    limits = evolve(QUICK, partial_octets=1_024, piece_octets=1_000)
    with (
        ImapServer({"INBOX": [b"y" * 5_000]}, nothing) as server,
        scripted(server, limits=limits) as source,
    ):
        (page,) = inbox_of(source)
        (found,) = source.fetch(page.refs)

    assert isinstance(found, Unavailable)
    assert not found.permanent


def test_a_folder_that_may_only_be_read_keeps_its_mail() -> None:
    """SELECT says READ-ONLY where the rights are missing."""

    def read_only(talk: Talk, command: Command) -> None:
        talk.send(b"* 6 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n")
        talk.ok(command, b"[READ-ONLY] look, and do not touch")

    with (
        ImapServer({"INBOX": RAWS}, answering("SELECT", read_only)) as server,
        scripted(server) as source,
    ):
        items = [archived(message) for message in messages(source)]
        results = source.remove(items)

    assert all(isinstance(result, Kept) for result in results)
    assert "UID STORE" not in {command.name for command in server.commands}


def test_a_target_that_is_removed_meanwhile_is_told() -> None:
    """The server asks for it to be made; that is for a person to decide."""

    def gone(talk: Talk, command: Command) -> None:
        talk.no(command, b"[TRYCREATE] no such folder")

    boxes = {"INBOX": RAWS, "Done": []}
    with (
        ImapServer(boxes, answering("UID MOVE", gone)) as server,
        scripted(server, remove_to="Done") as source,
    ):
        items = [archived(message) for message in messages(source)]
        with pytest.raises(MailboxNotFound) as caught:
            source.remove(items)

    assert "remove_to" in caught.value.suggestions[0]


def test_a_folder_is_left_without_unselect_by_looking_at_it_again() -> None:
    """CLOSE would expunge."""
    capabilities = CAPABILITIES.replace(" UNSELECT", "")
    with ImapServer({"INBOX": RAWS}, capabilities=capabilities) as server:
        with scripted(server) as source:
            items = [archived(message) for message in messages(source)]
            source.remove(items[:1])

        names = [command.name for command in server.commands]
    assert names[-2:] == ["EXAMINE", "LOGOUT"]


def test_a_namespace_that_is_offered_and_not_known_does_no_harm() -> None:
    """LIST alone tells what there is."""
    with (
        ImapServer(
            {"INBOX": RAWS},
            answering("NAMESPACE", lambda talk, command: talk.bad(command)),
            capabilities=CAPABILITIES + " NAMESPACE",
        ) as server,
        scripted(server) as source,
    ):
        assert [folder.name for folder in source.folders()] == ["INBOX"]


def test_folders_below_a_prefix_are_asked_for_where_they_are_not_listed() -> None:
    """Some servers list only what is at the root."""

    def root_only(talk: Talk, command: Command) -> bool:
        if command.name == "NAMESPACE":
            talk.send(b'* NAMESPACE (("" "/")("#mh/" "/")) NIL NIL\r\n')
        elif command.name == "LIST" and b"#mh/" not in command.arguments:
            talk.send(b'* LIST () "/" INBOX\r\n')
        elif command.name == "LIST":
            talk.send(b'* LIST () "/" "#mh/old"\r\n')
        else:
            return False
        talk.ok(command)
        return True

    with (
        ImapServer({"INBOX": RAWS}, root_only, capabilities=CAPABILITIES + " NAMESPACE") as server,
        scripted(server) as source,
    ):
        assert [folder.name for folder in source.folders()] == ["INBOX", "#mh/old"]


@pytest.mark.parametrize(
    "line", [b"LIST x", b"LIST () NIL (a)", b'LIST "flags" "/" name', b'LIST () "/"']
)
def test_a_list_without_folders_in_it_is_no_list(line: bytes) -> None:
    """Nothing is guessed."""

    def garble(talk: Talk, command: Command) -> None:
        talk.send(b"* " + line + b"\r\n")
        talk.ok(command)

    with (
        ImapServer({"INBOX": RAWS}, answering("LIST", garble)) as server,
        scripted(server) as source,
        pytest.raises(SourceError),
    ):
        source.folders()


def test_a_folder_whose_name_cannot_be_sent_is_not_there() -> None:
    """IMAP has no form for a NUL."""

    def nul(talk: Talk, command: Command) -> None:
        talk.send(b'* LIST () "/" {3}\r\na\0b\r\n* LIST () "/" INBOX\r\n')
        talk.ok(command)

    with ImapServer({"INBOX": RAWS}, answering("LIST", nul)) as server, scripted(server) as source:
        assert [folder.name for folder in source.folders()] == ["INBOX"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"[UNAVAILABLE] later", SourceUnavailable),
        (b"[NOPERM] not you", AccessDenied),
        (b"[NONEXISTENT] gone", MailboxNotFound),
        (b"gone", MailboxNotFound),
        (b"[LIMIT] too much", Throttled),
    ],
)
def test_a_folder_that_does_not_open_tells_why_by_type(
    text: bytes, kind: type[MailArchiveError]
) -> None:
    """In a scan, and in a fetch."""

    def refuse(talk: Talk, command: Command) -> None:
        talk.no(command, text)

    with ImapServer({"INBOX": RAWS}) as server, scripted(server) as source:
        (page,) = inbox_of(source)
    with (
        ImapServer({"INBOX": RAWS}, answering("EXAMINE", refuse)) as server,
        scripted(server) as source,
    ):
        with pytest.raises(kind):
            list(source.fetch(page.refs))
        with pytest.raises(kind):
            list(source.scan(page.folder))


def test_a_session_that_loses_its_mailbox_is_made_anew() -> None:
    """Exchange's "authenticated but not connected", in the middle of a page."""

    def detach(talk: Talk, command: Command) -> bool:
        if not is_body_fetch(command) or talk.number > 1:
            return False
        talk.bad(command, b"User is authenticated but not connected.")
        return True

    with ImapServer({"INBOX": RAWS}, detach) as server, scripted(server) as source:
        assert len(messages(source)) == len(RAWS)
        assert server.connections == 2


def test_a_farewell_that_asks_for_a_pause_is_obeyed() -> None:
    """The words may stand in a BYE as well."""
    waits: list[float] = []

    def leave(talk: Talk, command: Command) -> bool:
        if not is_body_fetch(command) or talk.number > 1:
            return False
        talk.send(b"* BYE Request is throttled. Suggested Backoff Time: 2500 milliseconds\r\n")
        raise Hangup

    with (
        ImapServer({"INBOX": RAWS}, leave) as server,
        scripted(server, sleep=waits.append) as source,
    ):
        assert len(messages(source)) == len(RAWS)

    assert waits == [2.5]


def test_a_folder_that_is_numbered_anew_under_way_is_noticed() -> None:
    """The server may say so in the middle of an answer."""

    def renumber(talk: Talk, command: Command) -> bool:
        if not is_body_fetch(command) or talk.selected is None:
            return False
        talk.selected.uidvalidity = 77
        talk.send(b"* OK [UIDVALIDITY 77] new numbers\r\n")
        talk.ok(command)
        return True

    with ImapServer({"INBOX": RAWS}, renumber) as server, scripted(server) as source:
        (page,) = inbox_of(source)
        with pytest.raises(CheckpointInvalid):
            list(source.fetch(page.refs))


def test_a_connection_that_is_reset_is_made_anew() -> None:
    """TCP's RST, which loses what was on its way."""

    def reset(talk: Talk, command: Command) -> bool:
        if not is_body_fetch(command) or talk.number > 1:
            return False
        talk._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Hangup

    with ImapServer({"INBOX": RAWS}, reset) as server, scripted(server) as source:
        assert len(messages(source)) == len(RAWS)


def test_a_server_that_lets_everybody_in_is_taken_at_its_word() -> None:
    """PREAUTH: there is nobody to tell a password to."""
    with ImapServer({"INBOX": RAWS}, greeting=b"* PREAUTH welcome\r\n") as server:
        with scripted(server) as source:
            assert len(messages(source)) == len(RAWS)

        assert not {"LOGIN", "AUTHENTICATE"} & {command.name for command in server.commands}


def test_a_server_that_lets_everybody_in_need_not_say_twice_what_it_can_do() -> None:
    """The second time there is nobody to log in, and it was an error of a library's."""
    asked: list[Command] = []

    def once(talk: Talk, command: Command) -> None:
        asked.append(command)
        if len(asked) == 1:
            talk.send(b"* CAPABILITY IMAP4rev1\r\n")
        talk.ok(command)

    server = ImapServer(
        {"INBOX": RAWS}, answering("CAPABILITY", once), greeting=b"* PREAUTH welcome\r\n"
    )
    with server, scripted(server) as source:
        assert len(messages(source)) == len(RAWS)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"[UNAVAILABLE] later", SourceUnavailable),
        (b"throttled. Suggested Backoff Time: 700000 milliseconds", Throttled),
    ],
)
def test_a_server_that_cannot_say_now_what_it_can_do_is_tried_again(
    text: bytes, kind: type[SourceError]
) -> None:
    """It was taken for no IMAP server."""
    asked: list[Command] = []

    def later(talk: Talk, command: Command) -> None:
        asked.append(command)
        if len(asked) == 1:
            talk.send(b"* CAPABILITY IMAP4rev1\r\n")
            talk.ok(command)
        else:
            talk.no(command, text)

    server = ImapServer(
        {"INBOX": RAWS}, answering("CAPABILITY", later), greeting=b"* PREAUTH welcome\r\n"
    )
    with server, pytest.raises(kind), scripted(server):
        pass


@pytest.mark.parametrize("mailbox", ["shared@example.com", "alice@example.com"])
def test_a_server_that_lets_everybody_in_opens_nobodys_mailbox_by_name(mailbox: str) -> None:
    """PREAUTH says nothing of whose mailbox it is, and none is taken for the one named."""
    with (
        ImapServer({"INBOX": RAWS}, greeting=b"* PREAUTH welcome\r\n") as server,
        pytest.raises(Unsupported, match="mailbox") as caught,
    ):
        scripted(server, mailbox=mailbox).__enter__()

    assert any("mailbox" in each for each in caught.value.suggestions)
    assert "@" not in str(caught.value)
    assert {command.name for command in server.commands} <= {"CAPABILITY", "LOGOUT"}


def test_a_login_that_breaks_off_is_no_wrong_password() -> None:
    """Nobody is locked out for a lost connection."""

    def hang_up(talk: Talk, command: Command) -> None:
        raise Hangup

    with (
        ImapServer({"INBOX": RAWS}, answering("AUTHENTICATE", hang_up)) as server,
        pytest.raises(SourceUnavailable),
    ):
        scripted(server).__enter__()


def test_a_login_that_asks_and_asks_is_given_up() -> None:
    """One answer was due."""

    def ask(talk: Talk, command: Command) -> None:
        for _ in range(5):
            talk.send(b"+ bW9yZQ==\r\n")
        talk.stall()

    with (
        ImapServer({"INBOX": RAWS}, answering("AUTHENTICATE", ask)) as server,
        pytest.raises(SourceError),
    ):
        scripted(server).__enter__()


def test_a_certificate_is_no_login_where_the_server_takes_none() -> None:
    """EXTERNAL has to be offered."""
    with ImapServer({"INBOX": RAWS}) as server, pytest.raises(Unsupported):
        scripted(server, auth=ClientCertificate("alice@example.com")).__enter__()


def test_a_server_that_takes_no_password_in_clear_text_says_what_it_wants() -> None:
    """RFC 5530's PRIVACYREQUIRED names the setting."""

    def refuse(talk: Talk, command: Command) -> None:
        talk.no(command, b"[PRIVACYREQUIRED] not like this")

    with (
        ImapServer({"INBOX": RAWS}, answering("AUTHENTICATE", refuse)) as server,
        pytest.raises(AuthenticationFailed) as caught,
    ):
        scripted(server).__enter__()

    assert any("starttls" in each for each in caught.value.suggestions)


def test_tls_that_fails_after_starttls_is_told() -> None:
    """The server agrees and then speaks something else."""

    def babble(talk: Talk, command: Command) -> None:
        talk.ok(command, b"begin")
        talk._sock.recv(1 << 16)
        talk.send(b"this is no TLS, whatever it is\r\n")
        raise Hangup

    with (
        ImapServer(
            {"INBOX": RAWS}, answering("STARTTLS", babble), capabilities="IMAP4rev1 STARTTLS"
        ) as server,
        pytest.raises(ConfigurationError) as caught,
    ):
        scripted(server, security="starttls").__enter__()

    assert caught.value.suggestions


@pytest.mark.parametrize("auth", [Password("alice", "x"), OAuth("alice", lambda: "x")])
def test_a_provider_that_refuses_passwords_is_known(auth: Password | OAuth) -> None:
    """The suggestion depends on the host and on the kind of login."""
    from mailarchive.sources._imap_errors import Place, Security, login_refused
    from mailarchive.sources._imap_session import Refused

    place = Place("test", "outlook.office365.com", 993, Security.SSL)
    how = "XOAUTH2" if isinstance(auth, OAuth) else "PLAIN"
    error = login_refused(place, how, Refused("NO", "", b"AUTHENTICATE failed."))

    words = " ".join(error.suggestions)
    assert ("service principal" in words) == isinstance(auth, OAuth)
    assert ("use OAuth" in words) == isinstance(auth, Password)


def test_a_key_of_another_source_is_kept() -> None:
    """A removal of what this source never listed removes nothing."""
    with ImapServer({"INBOX": RAWS}) as server, scripted(server) as source:
        (first, *_) = messages(source)
        strange = archived(evolve(first, ref=evolve(first.ref, key="AAMk=")))
        (result,) = source.remove([strange])

    assert isinstance(result, Kept)
    assert len(server.boxes["INBOX"].items) == len(RAWS)


def test_a_choice_by_pattern_may_fit_nothing() -> None:
    """Then there is nothing to archive yet."""
    with (
        ImapServer({"INBOX": RAWS}) as server,
        scripted(server, folders=FolderChoice.only("Projects/*")) as source,
    ):
        assert source.folders() == ()
        assert [folder.name for folder in source.left_out] == ["INBOX"]
