"""A server that lies, stalls, floods or breaks off costs its own mail and nothing else."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from support.imap import QUICK, archived, inbox_of, scripted

from mailarchive import Kept, Removed, SourceMessage, Unavailable
from mailarchive.auth import OAuth
from mailarchive.errors import (
    AccessDenied,
    CheckpointInvalid,
    MailArchiveError,
    SourceError,
    SourceUnavailable,
    Throttled,
)
from mailarchive.testing.imap_lies import (
    Poison,
    expiring,
    flooding,
    honest_bodies,
    is_body_fetch,
    many_folders,
    poisoned,
    renumbered,
    throttled,
)
from mailarchive.testing.imap_server import CAPABILITIES, Command, Hangup, ImapServer, Talk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailarchive.sources.imap import ImapSource
    from mailarchive.testing.imap_server import Lie

RAWS = [b"Subject: number %d\r\n\r\n%s\r\n" % (n, b"x" * n * 10) for n in range(1, 11)]
IMPATIENT = evolve(QUICK, read_timeout=0.15)


def asked(talk: Talk, command: Command) -> list[bytes]:
    """The honest answer, one response for each message."""
    return [response for _, response in honest_bodies(talk, command)]


def read(source: ImapSource) -> dict[int, SourceMessage | Unavailable]:
    """Everything that the inbox hands over, by UID."""
    found: dict[int, SourceMessage | Unavailable] = {}
    for page in inbox_of(source):
        for item in source.fetch(page.refs):
            uid = int(item.ref.key.split(".")[1])
            assert uid not in found
            found[uid] = item
    return found


def read_from(lie: Lie, raws: Sequence[bytes] = RAWS) -> dict[int, SourceMessage | Unavailable]:
    """Everything that a lying server hands over."""
    with ImapServer({"INBOX": raws}, lie) as server, scripted(server, limits=IMPATIENT) as source:
        return read(source)


def is_whole(
    found: dict[int, SourceMessage | Unavailable], without: frozenset[int] = frozenset()
) -> bool:
    """Whether each message is there with its bytes; those in `without` are unavailable."""
    return set(found) == set(range(1, len(RAWS) + 1)) and all(
        isinstance(item, Unavailable)
        if uid in without
        else isinstance(item, SourceMessage) and item.raw == RAWS[uid - 1]
        for uid, item in found.items()
    )


def test_the_scripted_server_is_honest_by_default() -> None:
    """What the lies are told against: a server that reads and removes as it should."""
    with ImapServer({"INBOX": RAWS}) as server, scripted(server) as source:
        found = read(source)
        (page,) = inbox_of(source)
        items = [archived(item) for item in found.values() if isinstance(item, SourceMessage)]
        source.remove(items[:4])

        assert is_whole(found)
        assert [item.uid for item in server.boxes["INBOX"].items] == list(range(5, 11))
        assert page.token == "1.10"


def test_other_messages_than_those_asked_for_are_read_past() -> None:
    """Bodies of other UIDs, a body twice, and responses without a UID change nothing."""

    def others(talk: Talk, command: Command) -> bool:
        if not is_body_fetch(command):
            return False
        talk.send(b"* 3 FETCH (FLAGS (\\Seen))\r\n* 5 EXISTS\r\n* 99 FETCH (BODY[] NIL)\r\n")
        for response in asked(talk, command):
            talk.send(b"* 1 FETCH (UID 4711 BODY[] {9}\r\nnot asked)\r\n")
            talk.send(response)
            talk.send(response.replace(b"Subject", b"Suspect"))
        talk.ok(command)
        return True

    assert is_whole(read_from(others))


def test_attributes_come_in_any_order() -> None:
    """The UID may stand behind the body."""

    def backwards(talk: Talk, command: Command) -> bool:
        if not is_body_fetch(command):
            return False
        for uid, raw in enumerate(RAWS, 1):
            talk.send(
                b"* %d FETCH (BODY[] {%d}\r\n%s FLAGS () uid %d)\r\n" % (uid, len(raw), raw, uid)
            )
        talk.ok(command)
        return True

    assert is_whole(read_from(backwards))


SPOOFS = {
    "a UID twice": b"* 1 FETCH (UID 4711 BODY[] {5}\r\nhello UID 1)\r\n",
    "a UID in a string": b'* 1 FETCH (FLAGS ("x UID 4711 ") BODY[] {5}\r\nhello UID 1)\r\n',
    "a literal before": b"* 1 FETCH (X {1}\r\na UID 1 BODY[] {5}\r\nhello)\r\n",
    "two bodies": b"* 1 FETCH (UID 1 BODY[] {5}\r\nhello BODY[] {5}\r\nworld)\r\n",
    "a body as a list": b"* 1 FETCH (UID 1 BODY[] (a b))\r\n",
    "a UID of nothing": b"* 1 FETCH (UID NIL BODY[] {5}\r\nhello)\r\n",
    "too large a UID": b"* 1 FETCH (UID 9999999999 BODY[] {5}\r\nhello)\r\n",
}


@pytest.mark.parametrize("what", SPOOFS)
@pytest.mark.parametrize("size", [None, 0])
def test_what_only_looks_like_a_message_is_none(what: str, size: int | None) -> None:
    """Neither an empty message nor somebody else's is handed over in place of one."""

    def spoof(talk: Talk, command: Command) -> bool:
        if command.name != "UID FETCH":
            return False
        if is_body_fetch(command):
            talk.send(SPOOFS[what])
        elif b"RFC822.SIZE" not in command.arguments:
            return False
        elif size is not None:
            talk.send(b"* 1 FETCH (UID 1 RFC822.SIZE 0)\r\n")
        talk.ok(command)
        return True

    (found,) = read_from(spoof, [b"Subject: the real one\r\n\r\n"]).values()

    assert isinstance(found, Unavailable)


def test_bodies_that_only_look_as_if_they_were_asked_for_have_an_end() -> None:
    """What is read into memory is counted, whatever it turns out to be."""

    def flood(talk: Talk, command: Command) -> bool:
        if not is_body_fetch(command):
            return False
        talk.flood(
            b'* 1 FETCH (FLAGS ("x UID 1 ") X 4711 BODY[] {100000}\r\n' + b"x" * 100_000 + b")\r\n"
        )
        return True

    found = read_from(flood, RAWS[:1])

    assert isinstance(found[1], Unavailable)


def test_a_folder_whose_number_comes_and_goes_loses_nothing() -> None:
    """Another UIDVALIDITY between the listing and the reading is no sign that all is gone."""

    def flap(talk: Talk, command: Command) -> bool:
        if command.name == "EXAMINE":
            talk.boxes["INBOX"].uidvalidity = talk.number
        if is_body_fetch(command) and talk.number == 1:
            raise Hangup
        return False

    with ImapServer({"INBOX": RAWS}, flap) as server, scripted(server) as source:
        (page,) = inbox_of(source)
        with pytest.raises(CheckpointInvalid):
            list(source.fetch(page.refs))


@pytest.mark.parametrize("size", [0, 1, 4_000_000_000])
def test_a_size_is_an_estimate(size: int) -> None:
    """What the server says a message has is no measure of what it hands over."""

    def lie(talk: Talk, command: Command) -> bool:
        if command.name != "UID FETCH" or b"RFC822.SIZE" not in command.arguments:
            return False
        for uid in range(1, len(RAWS) + 1):
            talk.send(b"* %d FETCH (RFC822.SIZE %d UID %d)\r\n" % (uid, size, uid))
        talk.ok(command)
        return True

    assert is_whole(read_from(lie))


@pytest.mark.parametrize("how", list(Poison))
def test_a_poisonous_message_stops_nobody_else(how: Poison) -> None:
    """It alone is unavailable, with its reason, and may be asked for again."""
    found = read_from(poisoned(7, how))

    assert is_whole(found, frozenset({7}))
    poison = found[7]
    assert isinstance(poison, Unavailable)
    assert poison.reason
    assert not poison.permanent


def test_the_notice_is_known_when_its_subject_is_folded() -> None:
    """Its line is longer than lines should be."""
    notice = (
        b"Subject: Retrieval using the IMAP4 protocol failed for the following\r\n"
        b" message: 1\r\n\r\nThe server couldn't retrieve the following message:\r\n"
    )
    with ImapServer({"INBOX": [notice]}) as server, scripted(server) as source:
        (found,) = read(source).values()

    assert isinstance(found, Unavailable)


@pytest.mark.parametrize("number", [b"2", b"9" * 5_000, b"1a", b""])
def test_a_mail_that_nearly_is_the_notice_is_mail(number: bytes) -> None:
    """Whatever a sender puts into a subject, it is archived, and stops nobody."""
    start = b"Subject: Retrieval using the IMAP4 protocol failed for the following message: "
    raw = start + number + b"\r\n\r\nhello\r\n"
    with ImapServer({"INBOX": [raw]}) as server, scripted(server) as source:
        (found,) = read(source).values()

    assert isinstance(found, SourceMessage)
    assert found.raw == raw


def test_somebodys_mail_about_the_notice_is_mail() -> None:
    """What travelled is no notice of the server, whatever its subject says."""
    subject = (
        b"Subject: Retrieval using the IMAP4 protocol failed for the following message: 1\r\n"
    )
    raw = b"Received: from somewhere\r\n" + subject + b"\r\nlook at this\r\n"

    with ImapServer({"INBOX": [raw]}) as server, scripted(server) as source:
        (found,) = read(source).values()

    assert isinstance(found, SourceMessage)
    assert found.raw == raw


def test_a_message_beyond_the_limit_is_unavailable_for_good() -> None:
    """Neither read nor waited for; the others come."""
    large = [*RAWS[:3], b"x" * 5_000, *RAWS[4:]]
    limits = evolve(QUICK, message_octets=2_000)
    with ImapServer({"INBOX": large}) as server, scripted(server, limits=limits) as source:
        found = read(source)

    assert is_whole(found, frozenset({4}))
    assert isinstance(found[4], Unavailable)
    assert found[4].permanent
    assert "2000" in found[4].reason


def test_a_literal_without_measure_is_not_waited_for() -> None:
    """A size of terabytes is refused before a byte of it is read."""

    def boast(talk: Talk, command: Command) -> bool:
        if not is_body_fetch(command):
            return False
        talk.send(b"* 1 FETCH (UID 1 BODY[] {9999999999999}\r\n")
        talk.stall()
        return True

    found = read_from(boast, RAWS[:1])

    assert isinstance(found[1], Unavailable)
    assert found[1].permanent


def test_a_connection_that_ends_after_each_message_is_put_up_with() -> None:
    """As long as each brings something, there is progress."""

    def one_at_a_time(talk: Talk, command: Command) -> bool:
        if not is_body_fetch(command):
            return False
        talk.send(asked(talk, command)[0])
        raise Hangup

    assert is_whole(read_from(one_at_a_time))


def test_an_expired_token_is_replaced_under_way() -> None:
    """The server ends the session, and the next one begins with a fresh token."""
    tokens = iter(["first", "second", "third"])
    used = []

    def token() -> str:
        used.append(next(tokens))
        return used[-1]

    with ImapServer({"INBOX": RAWS}, expiring(4)) as server:
        auth = OAuth("alice@example.com", token)
        with scripted(server, auth=auth) as source:
            found = read(source)

    assert is_whole(found)
    assert used == ["first", "second"]


@pytest.mark.parametrize("when", ["UID FETCH", "UID SEARCH", "EXAMINE", "LIST", "STATUS"])
def test_a_pause_that_is_asked_for_is_kept_exactly(when: str) -> None:
    """To the millisecond, and then the work goes on where it was."""
    waits: list[float] = []

    with (
        ImapServer({"INBOX": RAWS}, throttled(1_234, at=when)) as server,
        scripted(server, sleep=waits.append) as source,
    ):
        found = read(source)

    assert is_whole(found)
    assert waits == [1.234]


@pytest.mark.parametrize(
    "words",
    [
        b"[OVERQUOTA] Account exceeded command or bandwidth limits.",
        b"[ALERT] Account exceeded command or bandwidth limits. (Failure)",
    ],
)
def test_an_account_that_has_read_too_much_has_no_poisoned_message(words: bytes) -> None:
    """Gmail's day is used up: nothing is halved, no message is blamed, and the caller is told."""

    def used_up(talk: Talk, command: Command) -> bool:
        if command.name != "UID FETCH" or not is_body_fetch(command):
            return False
        talk.no(command, words)
        return True

    with ImapServer({"INBOX": RAWS}, used_up) as server, scripted(server) as source:
        with pytest.raises(Throttled):
            read(source)

        fetches = [each for each in server.commands if is_body_fetch(each)]
    assert len(fetches) < len(RAWS)


def test_a_pause_that_is_too_long_is_the_callers() -> None:
    """The error says how long."""
    with (
        ImapServer({"INBOX": RAWS}, throttled(3_600_000)) as server,
        scripted(server) as source,
        pytest.raises(Throttled) as caught,
    ):
        read(source)

    assert caught.value.retry_after == 3600


def test_a_login_without_a_mailbox_is_denied_access() -> None:
    """Exchange's "authenticated but not connected", which may pass, and may not."""
    waits: list[float] = []

    def detached(talk: Talk, command: Command) -> bool:
        if command.name != "LIST":
            return False
        talk.bad(command, b"User is authenticated but not connected.")
        return True

    with (
        ImapServer({"INBOX": RAWS}, detached) as server,
        scripted(server, sleep=waits.append) as source,
        pytest.raises(AccessDenied),
    ):
        source.folders()

    assert len(waits) == QUICK.reconnects


def test_an_end_without_words_is_an_end() -> None:
    """A tagged OK may come without a text, which imaplib does not allow for."""

    def terse(talk: Talk, command: Command) -> bool:
        if not is_body_fetch(command):
            return False
        for response in asked(talk, command):
            talk.send(response)
        talk.send(command.tag + b" OK\r\n")
        return True

    assert is_whole(read_from(terse))


FLOODS = {
    "folders without end": ("LIST", b'* LIST () "/" "folder"\r\n' * 100),
    "a line without end": ("LIST", b"* LIST " + b"x" * 10_000),
    "numbers without end": ("UID SEARCH", b"* SEARCH" + b" 1 2 3" * 1000 + b"\r\n"),
    "a number without end": ("UID SEARCH", b"1" * 10_000),
    "one line of numbers without end": ("UID SEARCH", b" 1 2 3 4 5" * 1000),
    "sizes without end": ("UID FETCH", b"* 1 FETCH (UID 1 RFC822.SIZE 1)\r\n" * 100),
    "news without end": ("STATUS", b"* 5 EXISTS\r\n" * 1000),
    "literals without end": ("LIST", b'* LIST () "/" {3}\r\nabc\r\n' * 100),
    "depth without end": ("LIST", b"* LIST " + b"(" * 1_000 + b"\r\n"),
    "greetings without end": ("EXAMINE", b"* OK still here\r\n" * 100),
    "capabilities without end": ("CAPABILITY", b"* CAPABILITY IMAP4rev1\r\n" * 100),
    "flags without end": ("EXAMINE", b"* FLAGS (" + b"a " * 1_000 + b")\r\n"),
}


@pytest.mark.parametrize("what", FLOODS)
def test_a_flood_is_given_up_in_bounded_time_and_memory(what: str) -> None:
    """However much comes, and of whatever kind, it ends in one of our errors."""
    name, data = FLOODS[what]

    lie = flooding(name, data, first=[b"* SEARCH"] if name == "UID SEARCH" else [])
    limits = evolve(QUICK, folders=500, messages=10_000, reconnects=1)
    tracemalloc.start()
    try:
        with (
            ImapServer({"INBOX": RAWS}, lie) as server,
            pytest.raises(SourceError),
            scripted(server, limits=limits) as source,
        ):
            read(source)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 16 << 20


def test_a_million_folders_are_too_many() -> None:
    """They are counted while they come, and the limit says so."""
    with (
        ImapServer({"INBOX": RAWS}, many_folders(1_000_000)) as server,
        scripted(server, limits=evolve(QUICK, folders=2_000, reconnects=0)) as source,
        pytest.raises(SourceError) as told,
    ):
        source.folders()

    assert "the limit folders = 2000" in str(told.value)
    assert told.value.suggestions


def test_a_folder_that_is_numbered_anew_under_the_reader_loses_nothing() -> None:
    """What was listed is not taken for gone: the folder is listed again."""
    server = ImapServer({"INBOX": RAWS}, renumbered(2, at="EXAMINE"))
    with server, scripted(server) as source:
        found = read(source)

    assert is_whole(found)
    assert {item.ref.key.split(".")[0] for item in found.values()} == {"2"}


def test_bodies_without_end_are_given_up() -> None:
    """A server that sends other people's mail for ever is left."""

    def flood(talk: Talk, command: Command) -> bool:
        if not is_body_fetch(command):
            return False
        talk.flood(b"* 1 FETCH (UID 4711 BODY[] {10000}\r\n" + b"x" * 10_000 + b")\r\n")
        return True

    limits = evolve(QUICK, reconnects=1)
    with (
        ImapServer({"INBOX": RAWS}, flood) as server,
        scripted(server, limits=limits) as source,
        pytest.raises(SourceError),
    ):
        read(source)


def test_a_folder_without_lasting_numbers_is_refused() -> None:
    """What was archived could not be told from what is new."""

    def fleeting(talk: Talk, command: Command) -> bool:
        if command.name != "EXAMINE":
            return False
        talk.send(b"* 3 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n* NO [UIDNOTSTICKY] not lasting\r\n")
        talk.ok(command)
        return True

    with (
        ImapServer({"INBOX": RAWS}, fleeting) as server,
        scripted(server) as source,
        pytest.raises(SourceError, match="lasting numbers"),
    ):
        read(source)


@pytest.mark.parametrize("name", ["LIST", "STATUS", "EXAMINE", "UID SEARCH"])
@pytest.mark.parametrize("answer", ["no", "bad", "silence", "hangup", "nothing", "garbage"])
def test_only_our_errors_come_out(name: str, answer: str) -> None:
    """Whatever a command is answered with, it is an error of ours or an honest nothing."""

    def lie(talk: Talk, command: Command) -> bool:
        if command.name != name:
            return False
        if answer == "silence":
            talk.stall()
        if answer == "hangup":
            raise Hangup
        if answer == "garbage":
            talk.send(b"\x00\xff ((( {12} \r\n" * 3)
        {"no": talk.no, "bad": talk.bad}.get(answer, talk.ok)(command)
        return True

    with ImapServer({"INBOX": RAWS}, lie) as server, scripted(server, limits=IMPATIENT) as source:
        try:
            found = read(source) if source.folders() else {}
        except MailArchiveError as error:
            found, suggestions = {}, error.suggestions
        else:
            suggestions = ("none needed",)

    assert suggestions
    assert found == {} or is_whole(found)


def test_a_server_that_will_not_expunge_keeps_its_mail() -> None:
    """The mark is taken off again, and each message is said to be kept."""

    def refuse(talk: Talk, command: Command) -> bool:
        if command.name != "UID EXPUNGE":
            return False
        talk.no(command, b"[NOPERM] no")
        return True

    with ImapServer({"INBOX": RAWS}, refuse) as server, scripted(server) as source:
        found = read(source)
        items = [archived(item) for item in found.values() if isinstance(item, SourceMessage)]
        results = source.remove(items[:3])

        flags = [item.flags for item in server.boxes["INBOX"].items]
    assert all(isinstance(result, Kept) for result in results)
    assert flags == [set()] * len(RAWS)


def test_a_server_that_says_it_expunged_is_not_believed() -> None:
    """What is still there was kept, whatever the answer was."""

    def pretend(talk: Talk, command: Command) -> bool:
        if command.name != "UID EXPUNGE":
            return False
        talk.ok(command)
        return True

    with ImapServer({"INBOX": RAWS}, pretend) as server, scripted(server) as source:
        found = read(source)
        items = [archived(item) for item in found.values() if isinstance(item, SourceMessage)]
        results = source.remove(items[:3])

        flags = [item.flags for item in server.boxes["INBOX"].items]
    assert all(isinstance(result, Kept) for result in results)
    assert flags == [set()] * len(RAWS)


def test_a_message_that_is_flagged_while_it_is_removed_stays() -> None:
    """Between the look and the mark somebody may change their mind."""

    def flag_first(talk: Talk, command: Command) -> bool:
        if command.name == "UID STORE" and b"+FLAGS" in command.arguments:
            assert talk.selected is not None
            talk.selected.items[1].flags.add(b"\\Flagged")
        return False

    with ImapServer({"INBOX": RAWS}, flag_first) as server, scripted(server) as source:
        found = read(source)
        items = [archived(item) for item in found.values() if isinstance(item, SourceMessage)]
        results = source.remove(items[:3])

        left = {item.uid: item.flags for item in server.boxes["INBOX"].items}
    assert [type(result).__name__ for result in sorted(results, key=lambda r: r.ref.key)] == [
        "Removed",
        "Kept",
        "Removed",
    ]
    assert left[2] == {b"\\Flagged"}


def test_a_message_that_cannot_be_read_again_stays_and_the_others_go() -> None:
    """Without a look at its bytes nothing is removed, and one poison stops nobody."""
    poisonous: list[bool] = []

    def poison(talk: Talk, command: Command) -> bool:
        return bool(poisonous) and poisoned(7, Poison.HANGUP)(talk, command)

    with ImapServer({"INBOX": RAWS}, poison) as server, scripted(server) as source:
        found = read(source)
        items = [archived(item) for item in found.values() if isinstance(item, SourceMessage)]
        poisonous.append(True)
        results = {result.ref.key: result for result in source.remove(items)}

        assert [item.uid for item in server.boxes["INBOX"].items] == [7]
    assert isinstance(results.pop("1.7"), Kept)
    assert all(isinstance(result, Removed) for result in results.values())


def test_a_pause_asked_for_in_a_removal_is_kept() -> None:
    """And then the removal goes on."""
    waits: list[float] = []

    def throttle(talk: Talk, command: Command) -> bool:
        if command.name != "UID STORE" or waits:
            return False
        talk.bad(command, b"Request is throttled. Suggested Backoff Time: 500 milliseconds")
        return True

    with (
        ImapServer({"INBOX": RAWS}, throttle) as server,
        scripted(server, sleep=waits.append) as source,
    ):
        found = read(source)
        items = [archived(item) for item in found.values() if isinstance(item, SourceMessage)]
        results = source.remove(items)

    assert waits == [0.5]
    assert all(isinstance(result, Removed) for result in results)


def test_a_server_that_expunges_what_is_marked_is_understood() -> None:
    """Gmail does so by default; what it took away at our mark was removed by us."""

    def eager(talk: Talk, command: Command) -> bool:
        if command.name != "UID STORE" or talk.selected is None:
            return False
        taken = [item for _, item in talk.selected.chosen(command.arguments.split(b" ")[0])]
        for item in taken:
            talk.selected.items.remove(item)
        talk.ok(command)
        return True

    with ImapServer({"INBOX": RAWS}, eager) as server, scripted(server) as source:
        found = read(source)
        items = [archived(item) for item in found.values() if isinstance(item, SourceMessage)]

        assert set(source.remove(items)) == {Removed(item.ref) for item in items}


def test_removal_without_move_copies_marks_and_expunges() -> None:
    """RFC 3501 and 4315 are enough to move a message."""
    capabilities = CAPABILITIES.replace(" MOVE", "")
    boxes = {"INBOX": RAWS, "Done": []}
    with (
        ImapServer(boxes, capabilities=capabilities) as server,
        scripted(server, remove_to="Done") as source,
    ):
        found = read(source)
        items = [archived(item) for item in found.values() if isinstance(item, SourceMessage)]
        results = source.remove(items[:4])

        assert len(server.boxes["Done"].items) == 4
        assert len(server.boxes["INBOX"].items) == len(RAWS) - 4
    assert all(isinstance(result, Removed) for result in results)
    assert "UID MOVE" not in {command.name for command in server.commands}


def test_removal_never_expunges_all_and_never_closes() -> None:
    """Both would take what others marked."""
    with ImapServer({"INBOX": RAWS}) as server, scripted(server) as source:
        found = read(source)
        items = [archived(item) for item in found.values() if isinstance(item, SourceMessage)]
        source.remove(items[:3])

    names = {command.name for command in server.commands}
    assert "UID EXPUNGE" in names
    assert not names & {"EXPUNGE", "CLOSE"}


def test_a_large_message_comes_in_pieces_over_several_connections() -> None:
    """A connection that breaks costs a piece, not the message."""
    raw = b"".join(b"line %d\r\n" % n for n in range(2_000))
    limits = evolve(QUICK, partial_octets=1_024, piece_octets=1_000)

    def fickle(talk: Talk, command: Command) -> bool:
        if is_body_fetch(command) and len(server.commands) % 3 == 0:
            raise Hangup
        return False

    with ImapServer({"INBOX": [raw]}, fickle) as server, scripted(server, limits=limits) as source:
        (found,) = read(source).values()

        assert server.connections > 3
    assert isinstance(found, SourceMessage)
    assert found.raw == raw
    assert found.received_at is not None


@pytest.mark.parametrize("size", [2_000, 2_999, 3_000, 3_001])
def test_pieces_join_at_every_edge(size: int) -> None:
    """A message that is a whole number of pieces has an end too."""
    raw = bytes(65 + n % 26 for n in range(size))
    limits = evolve(QUICK, partial_octets=1_024, piece_octets=1_000)
    with ImapServer({"INBOX": [raw]}) as server, scripted(server, limits=limits) as source:
        (found,) = read(source).values()

    assert isinstance(found, SourceMessage)
    assert found.raw == raw


def test_pieces_of_two_renderings_are_not_joined() -> None:
    """A server that makes a message anew on each request is asked for it whole."""
    raw = b"x" * 5_000
    limits = evolve(QUICK, partial_octets=1_024, piece_octets=1_000)

    def render(talk: Talk, command: Command) -> bool:
        if is_body_fetch(command) and talk.selected is not None:
            letter = bytes([65 + len(server.commands) % 26])
            talk.selected.items[0].raw = letter * len(raw)
        return False

    with ImapServer({"INBOX": [raw]}, render) as server, scripted(server, limits=limits) as source:
        (found,) = read(source).values()

    assert isinstance(found, SourceMessage)
    assert len(found.raw) == len(raw)
    assert len(set(found.raw)) == 1


def test_a_server_without_parts_hands_over_the_whole() -> None:
    """Then that is the message."""
    raw = b"x" * 5_000

    def whole(talk: Talk, command: Command) -> bool:
        if not is_body_fetch(command):
            return False
        talk.send(b"* 1 FETCH (UID 1 BODY[] {%d}\r\n%s)\r\n" % (len(raw), raw))
        talk.ok(command)
        return True

    limits = evolve(QUICK, partial_octets=1_024, piece_octets=1_000)
    with ImapServer({"INBOX": [raw]}, whole) as server, scripted(server, limits=limits) as source:
        (found,) = read(source).values()

    assert isinstance(found, SourceMessage)
    assert found.raw == raw


def test_a_server_that_never_answers_is_unavailable() -> None:
    """Each attempt is bounded, and so are the attempts."""

    def mute(talk: Talk, command: Command) -> bool:
        if command.name == "EXAMINE":
            talk.stall()
        return False

    with (
        ImapServer({"INBOX": RAWS}, mute) as server,
        scripted(server, limits=IMPATIENT) as source,
        pytest.raises(SourceUnavailable),
    ):
        read(source)

    assert server.connections == 1 + QUICK.reconnects
