"""The next page is asked for while one is read, and nothing is lost where that goes wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from support.imap import QUICK, Mailbox, archived, read_all, scripted
from typing_extensions import override

from mailarchive import Removed, SourceMessage
from mailarchive.testing.imap_lies import Poison, honest_bodies, is_body_fetch, poisoned
from mailarchive.testing.imap_server import Hangup, ImapServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.imap import Numbered

    from mailarchive import Unavailable
    from mailarchive.testing.imap_server import Command, Lie, Talk

PAGE = 3
LIMITS = evolve(QUICK, page=PAGE)
RAWS = [b"Subject: %d\r\n\r\nbody %d\r\n" % (n, n) for n in range(1, 11)]
PAGES = 4


class Held:
    """Answers no FETCH before the next one has come, as long as one will."""

    def __init__(self, pages: int) -> None:
        """The last of so many is answered at once."""
        self.left = pages
        self.waiting: list[Command] = []

    def __call__(self, talk: Talk, command: Command) -> bool:
        """Answer what waits, and hold this one back."""
        if not is_body_fetch(command):
            return False
        self.left -= 1
        self.waiting.append(command)
        while self.waiting and (len(self.waiting) > 1 or not self.left):
            self.answer(talk)
        return True

    def answer(self, talk: Talk) -> None:
        """One after the other."""
        command = self.waiting.pop(0)
        for _, response in honest_bodies(talk, command):
            talk.send(response)
        talk.ok(command)


class Together(Held):
    """Says that two answers have ended only when both have, as Dovecot does."""

    @override
    def answer(self, talk: Talk) -> None:
        """All that wait at once."""
        for command in self.waiting:
            for _, response in honest_bodies(talk, command):
                talk.send(response)
        for command in self.waiting:
            talk.ok(command)
        self.waiting.clear()


class Refusing(Held):
    """Hands over everything, and says afterwards that it did not."""

    @override
    def answer(self, talk: Talk) -> None:
        """A server's NO about what has come is no news."""
        command = self.waiting.pop(0)
        for _, response in honest_bodies(talk, command):
            talk.send(response)
        if self.left:
            talk.no(command, b"[SERVERBUG] some")
        else:
            talk.ok(command)


@pytest.mark.parametrize("way", [Held, Together, Refusing])
def test_the_next_page_is_asked_for_while_one_is_read(way: type[Held]) -> None:
    """A server that waits for it is answered, and every message comes once, in order."""
    with ImapServer({"INBOX": RAWS}, way(PAGES)) as server:
        with scripted(server, limits=LIMITS) as source:
            found = [message.raw for message in read_all(source)]

        assert server.connections == 1
    assert found == RAWS
    assert names(server) == [b"1:3", b"4:6", b"7:9", b"10"]


def test_a_real_server_is_asked_for_each_message_once(
    mailbox: Mailbox, numbered: Numbered
) -> None:
    """On Dovecot all pages come over one connection, with a command each."""
    originals = numbered(40, 20_000)
    mailbox.put(originals)
    with mailbox.source(limits=evolve(QUICK, page=7)) as source:
        first = source._line.session()
        found = [message.raw for message in read_all(source)]
        commands = first.commands

        assert source._line.session() is first
    assert found == originals
    assert commands == 1 + 2 + 3 + 1 + 6


def of_one_page(talk: Talk, command: Command, uids: Sequence[int]) -> None:
    """Answer with those of the messages that have these UIDs."""
    for uid, response in honest_bodies(talk, command):
        if uid in uids:
            talk.send(response)
    talk.ok(command)


def test_what_was_asked_for_ahead_and_does_not_come_is_asked_for_again() -> None:
    """An OK without data costs a question, not the message."""
    fetches: list[bytes] = []

    def lie(talk: Talk, command: Command) -> bool:
        if not is_body_fetch(command):
            return False
        fetches.append(command.arguments.split()[0])
        if len(fetches) == 2:
            of_one_page(talk, command, [5])
        return len(fetches) == 2

    with (
        ImapServer({"INBOX": RAWS[:6]}, lie) as server,
        scripted(server, limits=LIMITS) as source,
    ):
        found = [message.raw for message in read_all(source)]

    assert sorted(found) == sorted(RAWS[:6])
    assert fetches == [b"1:3", b"4:6", b"4,6"]


def test_what_vanished_is_left_out_and_the_rest_comes_once(
    mailbox: Mailbox, numbered: Numbered
) -> None:
    """The next answer stands in the way of asking what became of it: a new connection."""
    originals = numbered(40, 20_000)
    mailbox.put(originals)
    found: list[SourceMessage | Unavailable] = []
    with mailbox.source(limits=evolve(QUICK, page=7)) as source:
        (inbox, *_) = source.folders()
        for page in source.scan(inbox):
            if not found:
                with mailbox.raw() as other:
                    other.command("SELECT INBOX")
                    other.command(r"UID STORE 3,8:9 +FLAGS (\Deleted)")
                    other.command("EXPUNGE")
            found += source.fetch(page.refs)

    raws = [item.raw for item in found if isinstance(item, SourceMessage)]
    assert len(raws) == len(found)
    assert sorted(raws) == sorted([*originals[:2], *originals[3:7], *originals[9:]])


@pytest.mark.parametrize("way", list(Poison))
@pytest.mark.parametrize("uid", [3, 4, 10])
def test_a_poison_message_costs_itself_and_nothing_else(way: Poison, uid: int) -> None:
    """Wherever in a page it stands, and whatever the server does there."""
    limits = evolve(LIMITS, read_timeout=0.2)
    with (
        ImapServer({"INBOX": RAWS}, poisoned(uid, way)) as server,
        scripted(server, limits=limits) as source,
    ):
        (inbox,) = source.folders()
        found = [item for page in source.scan(inbox) for item in source.fetch(page.refs)]

    raws = [item.raw for item in found if isinstance(item, SourceMessage)]
    assert sorted(raws) == sorted(RAWS[: uid - 1] + RAWS[uid:])
    assert len(found) == len(RAWS)


ANSWERS = st.lists(st.sampled_from(["whole", "first", "nothing", "no", "late"]), max_size=8)


@given(ANSWERS)
def test_no_order_of_answers_loses_or_doubles_a_message(answers: list[str]) -> None:
    """Each FETCH is answered whole, in part, not at all or with NO, at once or with the next.

    Silence is borne as often as it comes here: that there is an end to it is another law.
    """
    with (
        ImapServer({"INBOX": RAWS}, moody(answers)) as server,
        scripted(server, limits=evolve(LIMITS, read_timeout=0.2, reconnects=20)) as source,
    ):
        (inbox,) = source.folders()
        found = [item for page in source.scan(inbox) for item in source.fetch(page.refs)]

    refs = [item.ref for item in found]
    assert len(set(refs)) == len(refs) == len(RAWS)
    for item in found:
        if isinstance(item, SourceMessage):
            assert item.raw == RAWS[int(item.ref.key.split(".")[1]) - 1]


def moody(answers: Sequence[str]) -> Lie:
    """Answer the first FETCHes in these ways; what is late comes before the next answer."""
    left = list(answers)
    waiting: dict[int, list[bytes]] = {}

    def lie(talk: Talk, command: Command) -> bool:
        late = waiting.setdefault(talk.number, [])
        if not is_body_fetch(command) or not left:
            talk.send(b"".join(late))
            late.clear()
            return False
        way, bodies = left.pop(0), [response for _, response in honest_bodies(talk, command)]
        chosen = {"first": bodies[:1], "nothing": [], "no": bodies[:1]}.get(way, bodies)
        end = b"NO [SERVERBUG] no" if way == "no" else b"OK done"
        whole = b"".join([*chosen, command.tag + b" " + end + b"\r\n"])
        if way == "late":
            late.append(whole)
        else:
            talk.send(b"".join([*late, whole]))
            late.clear()
        return True

    return lie


def names(server: ImapServer) -> list[bytes]:
    """What was fetched, in order."""
    return [each.arguments.split()[0] for each in server.commands if is_body_fetch(each)]


def one_at_a_time(talk: Talk, command: Command) -> bool:
    """A server that breaks where a command comes before it has answered the last one."""
    if is_body_fetch(command):
        talk._sock.settimeout(0.05)
        try:
            more = talk._sock.recv(100)
        except TimeoutError:
            more = b""
        if more:
            raise AssertionError("a second command came")
        talk._sock.settimeout(None)
    return False


@pytest.mark.parametrize("setting", ["limit", "exchange"])
def test_a_server_that_cannot_is_given_one_command_at_a_time(setting: str) -> None:
    """By a setting, and Exchange of itself."""
    limits = evolve(LIMITS, in_flight=1) if setting == "limit" else LIMITS
    greeting = b"* OK The Microsoft Exchange IMAP4 service is ready.\r\n"
    greeting = b"* OK ready\r\n" if setting == "limit" else greeting
    with ImapServer({"INBOX": RAWS}, one_at_a_time, greeting=greeting) as server:
        with scripted(server, limits=limits) as source:
            assert [message.raw for message in read_all(source)] == RAWS

        assert server.connections == 1


def test_who_reads_otherwise_is_waited_for_twice() -> None:
    """A page that was asked for in vain costs a connection; after two it is not done again."""
    with ImapServer({"INBOX": RAWS}) as server:
        with scripted(server, limits=evolve(LIMITS, page=2)) as source:
            (inbox,) = source.folders()
            for page in source.scan(inbox):
                assert len(list(source.fetch(page.refs))) == 2
                assert len(list(source.fetch(page.refs[:1]))) == 1

        assert server.connections == 3


def test_removing_between_pages_costs_one_connection() -> None:
    """Where other commands come between two pages, none is asked for ahead any more."""
    with ImapServer({"INBOX": RAWS}) as server:
        with scripted(server, limits=LIMITS) as source:
            (inbox,) = source.folders()
            for page in source.scan(inbox):
                items = list(source.fetch(page.refs))
                receipts = [archived(item) for item in items if isinstance(item, SourceMessage)]
                results = source.remove(receipts)
                assert {type(each) for each in results} == {Removed}

        assert server.connections == 2
        assert server.boxes["INBOX"].items == []


def test_a_page_that_is_not_read_to_its_end_harms_nothing() -> None:
    """Whoever stops in the middle begins again with whatever is asked next."""
    with ImapServer({"INBOX": RAWS}) as server, scripted(server, limits=LIMITS) as source:
        (inbox,) = source.folders()
        pages = source.scan(inbox)
        reading = source.fetch(next(pages).refs)
        next(reading)
        del reading
        (second,) = source.fetch(next(pages).refs[:1])

        assert isinstance(second, SourceMessage)
        assert second.raw == RAWS[3]
        assert [message.raw for message in read_all(source)] == RAWS


class Busy:
    """Refuses a command that comes before the one under way was answered."""

    def __init__(self, word: str) -> None:
        """Say NO or BAD, or hang up, or lose the command."""
        self.word = word
        self.refused = 0

    def __call__(self, talk: Talk, command: Command) -> bool:
        """Answer one, and then whatever has come meanwhile."""
        if not is_body_fetch(command):
            return False
        early = self.meanwhile(talk)
        for _, response in honest_bodies(talk, command):
            talk.send(response)
        talk.ok(command)
        if early:
            self.refused += 1
            if self.word == "hang up":
                raise Hangup
            if self.word != "lose":
                talk.send(early.split()[0] + b" %b one at a time\r\n" % self.word.encode())
        return True

    def meanwhile(self, talk: Talk) -> bytes:
        """What has come, if anything has."""
        talk._sock.settimeout(0.05)
        try:
            return talk._sock.recv(65_536)
        except TimeoutError:
            return b""
        finally:
            talk._sock.settimeout(None)


@pytest.mark.parametrize("word", ["NO", "BAD", "hang up", "lose"])
@pytest.mark.parametrize("page", [1, 3])
def test_a_server_that_cannot_take_two_commands_loses_nothing(word: str, page: int) -> None:
    """What was refused for coming early is asked for again alone, and twice is enough."""
    limits = evolve(LIMITS, page=page, read_timeout=0.3)
    busy = Busy(word)
    folders = dict.fromkeys(("INBOX", "a", "b", "c"), RAWS[:4])
    with ImapServer(folders, busy) as server, scripted(server, limits=limits) as source:
        found = [
            item
            for folder in source.folders()
            for each in source.scan(folder)
            for item in source.fetch(each.refs)
        ]

    raws = [item.raw for item in found if isinstance(item, SourceMessage)]
    assert sorted(raws) == sorted(RAWS[:4] * 4)
    assert busy.refused <= 2


def late(uid: int, raw: bytes) -> bytes:
    """A response whose UID stands behind the body."""
    return b"* %d FETCH (FLAGS () BODY[] {%d}\r\n%b UID %d)\r\n" % (uid, len(raw), raw, uid)


def test_a_message_without_a_uid_is_never_blamed_for_another_ones_size() -> None:
    """Answers that run together, one message gone, and the next page's first one too large."""
    raws = [*RAWS[:3], b"Subject: large\r\n\r\n" + b"x" * 5000, *RAWS[4:6]]
    waiting: list[tuple[Command, list[int]]] = []

    def lie(talk: Talk, command: Command) -> bool:
        if not is_body_fetch(command):
            return False
        box = talk.boxes["INBOX"]
        waiting.append((command, [it.uid for _, it in box.chosen(command.arguments.split()[0])]))
        if talk.number == 1 and len(waiting) == 1:
            return True
        if talk.number == 1:
            box.items = [item for item in box.items if item.uid != 3]
        for _, uids in waiting:
            talk.send(b"".join(late(uid, raws[uid - 1]) for uid in uids if uid != 3))
        for each, _ in waiting:
            talk.ok(each)
        waiting.clear()
        return True

    limits = evolve(LIMITS, message_octets=1024, partial_octets=100_000)
    with ImapServer({"INBOX": raws}, lie) as server, scripted(server, limits=limits) as source:
        (inbox,) = source.folders()
        found = [item for page in source.scan(inbox) for item in source.fetch(page.refs)]

    lacking = [item.ref.key for item in found if not isinstance(item, SourceMessage)]
    assert lacking == ["1.4"]


def test_what_is_left_of_an_abandoned_page_is_not_read_as_the_next() -> None:
    """Neither its sizes nor its bytes: whoever wrote them would forge the next page."""
    forged = late(4, b"Subject: forged\r\n\r\n")
    raws = [RAWS[0], b"Subject: 2\r\n\r\n" + forged + b"x" * 5000, RAWS[2], RAWS[3]]

    def lie(talk: Talk, command: Command) -> bool:
        if not is_body_fetch(command):
            return False
        assert talk.selected is not None
        for _, item in talk.selected.chosen(command.arguments.split()[0]):
            talk.send(late(item.uid, raws[item.uid - 1]))
        talk.ok(command)
        return True

    limits = evolve(LIMITS, message_octets=1024, partial_octets=100_000, reconnects=0)
    with ImapServer({"INBOX": raws}, lie) as server, scripted(server, limits=limits) as source:
        (inbox,) = source.folders()
        pages = source.scan(inbox)
        reading = source.fetch(next(pages).refs)
        next(reading)
        del reading
        (item,) = source.fetch(next(pages).refs)

    assert isinstance(item, SourceMessage)
    assert item.raw == RAWS[3]
