"""Messages that wait until they are ripe, without holding up or losing the resume point."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from support.imap import QUICK, PlainMailbox, archived, inbox_of, read_all, scripted

from mailarchive import Kept, Removed
from mailarchive.errors import CheckpointInvalid, ConfigurationError
from mailarchive.sources._imap_scan import Token
from mailarchive.sources.imap import Ripe
from mailarchive.testing._imap_answers import fetched
from mailarchive.testing.imap_server import ImapServer

if TYPE_CHECKING:
    from support.imap import Mailbox, Numbered

    from mailarchive import MessageRef
    from mailarchive.sources.imap import ImapSource
    from mailarchive.testing.cyrus import Cyrus
    from mailarchive.testing.imap_server import Command, Talk

NOW = datetime(2024, 7, 20, tzinfo=UTC)
LIMITS = evolve(QUICK, page=3)


def uids(refs: list[MessageRef]) -> list[int]:
    """The UIDs in refs."""
    return [int(ref.key.split(".")[1]) for ref in refs]


def scan(source: ImapSource, token: str | None) -> tuple[list[int], str | None]:
    """What a scan lists, and the token behind it."""
    found: list[int] = []
    for page in source.scan(source.folders()[0], token):
        found += uids(list(page.refs))
        token = page.token
    return found, token


def test_what_no_message_ever_is_makes_none_wait() -> None:
    """A flag that is wanted and unwanted, and a text whose letters would be flags, are refused."""
    with pytest.raises(ConfigurationError, match=r"have and lack a flag: \\seen$"):
        Ripe(with_flags=["\\Seen", "keep"], without_flags=["\\SEEN"])
    with pytest.raises(ConfigurationError, match="one text"):
        Ripe(without_flags="\\Seen")


def test_a_flag_keeps_a_message_waiting_and_the_others_go_on() -> None:
    """Each is listed once it is ripe, wherever the resume point is by then."""
    with ImapServer({"INBOX": [b"Subject: a\r\n\r\n"] * 10}) as server:
        items = server.boxes["INBOX"].items
        for number in (1, 4, 5, 9):
            items[number].flags.add(b"\\Draft")
        ripe = Ripe(without_flags=["\\DRAFT"])
        with scripted(server, ripe=ripe, limits=LIMITS) as source:
            first, token = scan(source, None)
            again, same = scan(source, token)
            items[4].flags.clear()
            items[9].flags.clear()
            second, token = scan(source, token)
            items[1].flags.clear()
            server.boxes["INBOX"].add(b"Subject: new\r\n\r\n")
            third, token = scan(source, token)

    assert first == [1, 3, 4, 7, 8, 9]
    assert (again, same) == ([], "1.9+2,5:6")
    assert second == [5, 10]
    assert third == [2, 11]
    assert token == "1.11+6"


def test_a_young_message_waits_for_its_age() -> None:
    """What arrived lately at the end of the folder costs the token nothing."""
    ages = [100, 50, 3, 60, 2, 1]
    clock = [NOW]
    with ImapServer({"INBOX": [b"Subject: a\r\n\r\n"] * len(ages)}) as server:
        for item, age in zip(server.boxes["INBOX"].items, ages, strict=True):
            item.date = (NOW - timedelta(days=age)).strftime("%d-%b-%Y %H:%M:%S +0000").encode()
        ripe = Ripe(older_than=timedelta(days=30))
        with scripted(server, ripe=ripe, clock=lambda: clock[0]) as source:
            first, token = scan(source, None)
            assert token == "1.4+3"
            clock[0] += timedelta(days=28, hours=1)
            second, token = scan(source, token)
            clock[0] += timedelta(days=10)
            third, token = scan(source, token)

    assert (first, second, third) == ([1, 2, 4], [3, 5], [6])
    assert token == "1.6"


@pytest.mark.parametrize("ripe", [None, Ripe(older_than=timedelta(days=30))])
def test_a_flag_that_is_set_at_this_moment_makes_nothing_ripe(ripe: Ripe | None) -> None:
    """Such news may come in any answer (RFC 3501, 7.4.2), and tell neither a date nor a size."""

    def news(talk: Talk, command: Command) -> bool:
        if command.name == "UID FETCH" and b"RFC822.SIZE" in command.arguments:
            for item in talk.boxes["INBOX"].items:
                talk.send(fetched(item.uid, item, command.arguments))
                talk.send(b"* %d FETCH (FLAGS (\\Seen) UID %d)\r\n" % (item.uid, item.uid))
            talk.ok(command)
            return True
        return False

    with ImapServer({"INBOX": [b"Subject: a\r\n\r\n"] * 3}, news) as server:
        server.boxes["INBOX"].items[1].date = b"19-Jul-2024 00:00:00 +0000"
        server.boxes["INBOX"].items[2].date = b"01-Jan-2024 00:00:00 +0000"
        server.boxes["INBOX"].items[0].date = b"01-Jan-2024 00:00:00 +0000"
        with scripted(server, ripe=ripe, clock=lambda: NOW) as source:
            refs = [ref for page in inbox_of(source) for ref in page.refs]

    assert uids(refs) == ([1, 2, 3] if ripe is None else [1, 3])
    assert {ref.size for ref in refs} == {14}


def test_what_was_archived_too_early_is_not_removed() -> None:
    """A server that told no date of it when it was listed tells one when it is to go."""
    told: list[Command] = []

    def silent(talk: Talk, command: Command) -> bool:
        if command.name == "UID FETCH" and b"BODY" not in command.arguments and not told:
            told.append(command)
            talk.ok(command)
            return True
        return False

    with ImapServer({"INBOX": [b"Subject: a\r\n\r\n"] * 2}, silent) as server:
        server.boxes["INBOX"].items[0].date = b"19-Jul-2024 00:00:00 +0000"
        server.boxes["INBOX"].items[1].date = b"01-Jan-2024 00:00:00 +0000"
        ripe = Ripe(older_than=timedelta(days=30))
        with scripted(server, ripe=ripe, clock=lambda: NOW) as source:
            young, old = (archived(message) for message in read_all(source))
            results = source.remove([young, old])

        assert set(results) == {Kept(young.ref, "it is not old enough"), Removed(old.ref)}
        assert [item.uid for item in server.boxes["INBOX"].items] == [1]


def test_what_waits_on_a_real_server_is_listed_when_it_is_ripe(
    mailbox: Mailbox, numbered: Numbered
) -> None:
    """Only what was read by somebody."""
    mailbox.put(numbered(3))
    mailbox.put(numbered(2), flags=[r"\Seen"])
    with mailbox.source(ripe=Ripe(with_flags=[r"\Seen"])) as source:
        first, token = scan(source, None)
        with mailbox.raw() as connection:
            connection.command("SELECT INBOX")
            connection.command(r"UID STORE 2 +FLAGS (\Seen)")
        second, token = scan(source, token)
    with mailbox.source() as source:
        rest, _ = scan(source, token)

    assert (first, second, rest) == ([4, 5], [2], [1, 3])


@pytest.mark.parametrize("ripe", [Ripe(with_flags=[r"\Seen"]), Ripe(older_than=timedelta(1))])
def test_how_many_wait_on_a_real_server_is_known(
    ripe: Ripe, mailbox: Mailbox, numbered: Numbered
) -> None:
    """Of all folders, and of each also where nothing is new since the last run."""
    now = datetime.now(UTC)
    mailbox.put(numbered(3))
    mailbox.put(numbered(1), flags=[r"\Seen"])
    mailbox.put(numbered(2), folder="Sent Items")
    old = ripe.older_than is not None
    tokens: dict[str, str | None] = {}
    counts = []
    for clock in (now, now, now + timedelta(days=2)):
        with mailbox.source(ripe=ripe, clock=lambda at=clock: at) as source:
            assert source.unripe() == 0
            for folder in source.folders():
                for page in source.scan(folder, tokens.get(folder.key)):
                    tokens[folder.key] = page.token
            counts.append(source.unripe())

    assert counts == ([6, 6, 0] if old else [5, 5, 5])


def test_a_message_that_is_gone_waits_no_more() -> None:
    """It is listed once more, is found to be gone, and leaves the token."""
    with ImapServer({"INBOX": [b"Subject: a\r\n\r\n"] * 4}) as server:
        box = server.boxes["INBOX"]
        box.items[1].flags.add(b"\\Draft")
        with scripted(server, ripe=Ripe(without_flags=["\\Draft"])) as source:
            _, token = scan(source, None)
            del box.items[1]
            (page,) = source.scan(source.folders()[0], token)

            assert uids(list(page.refs)) == [2]
            assert list(source.fetch(page.refs)) == []
            assert page.token == "1.4"


def mark(mailbox: Mailbox | PlainMailbox, uid: int, change: str) -> None:
    """Change the flags of a message, as its owner would."""
    with mailbox.raw() as connection:
        connection.command("SELECT INBOX")
        connection.command(f"UID STORE {uid} {change}")


def commands(source: ImapSource, token: str | None) -> tuple[list[int], str | None, int]:
    """What a scan lists, the token behind it, and the round trips that it took."""
    folder = source.folders()[0]
    session = source._line.session()
    before = session.commands
    found: list[int] = []
    for page in source.scan(folder, token):
        found += uids(list(page.refs))
        token = page.token
    return found, token, session.commands - before


SEEN = Ripe(with_flags=["\\Seen"])


def keeps_to_what_changed(mailbox: Mailbox | PlainMailbox, numbered: Numbered) -> None:
    """The law of CONDSTORE: see the two tests that hold servers to it."""
    mailbox.put(numbered(30))
    mailbox.put(numbered(2), flags=[r"\Seen"])
    with mailbox.source(ripe=SEEN) as source:
        first, token, _ = commands(source, None)
        assert token is not None
        assert "~" in token
    with mailbox.source(ripe=SEEN) as source:
        assert commands(source, token) == ([], token, 1)
    mark(mailbox, 7, r"+FLAGS (\Seen)")
    mark(mailbox, 9, r"+FLAGS (\Answered)")
    with mailbox.source(ripe=SEEN) as source:
        second, token, _ = commands(source, token)
    with mailbox.source(ripe=SEEN) as source:
        assert commands(source, token)[0::2] == ([], 1)
    # What is expunged waits no more; nobody would tell us of it later.
    mark(mailbox, 11, r"+FLAGS (\Deleted)")
    with mailbox.raw() as connection:
        connection.command("SELECT INBOX")
        connection.command("EXPUNGE")
    with mailbox.source(ripe=SEEN) as source:
        (page,) = source.scan(source.folders()[0], token)
        assert uids(list(page.refs)) == [11]
        assert list(source.fetch(page.refs)) == []
        token = page.token
    # Another condition is another question, and every message is asked it.
    with mailbox.source(ripe=Ripe(with_flags=[r"\Answered"])) as source:
        third, token, _ = commands(source, token)
    with mailbox.source() as source:
        rest, _, _ = commands(source, token)

    assert (first, second, third) == ([31, 32], [7], [9])
    assert rest == [uid for uid in range(1, 31) if uid not in {7, 9, 11}]


def test_what_waits_for_a_flag_costs_nothing_until_something_changes(
    mailbox: Mailbox, numbered: Numbered
) -> None:
    """CONDSTORE (RFC 7162) says whether anything did, and what."""
    keeps_to_what_changed(mailbox, numbered)


def test_what_waits_for_a_flag_costs_nothing_on_another_server(
    cyrus_server: Cyrus, numbered: Numbered
) -> None:
    """The second opinion."""
    keeps_to_what_changed(PlainMailbox(cyrus_server, cyrus_server.new_user()), numbered)


def costs_one_round_trip(mailbox: Mailbox | PlainMailbox, numbered: Numbered) -> None:
    """The law of a run with nothing new: see the two tests that hold servers to it."""
    token: str | None = None
    found: list[list[int]] = []

    def run(ripe: Ripe = SEEN) -> int:
        nonlocal token
        with mailbox.source(ripe=ripe) as source:
            new, token, count = commands(source, token)
            found.append(new)
            parsed = Token.parse(token or "")
            assert parsed is not None
            assert source.unripe() == len(parsed.waiting)
            return count

    mailbox.put(numbered(3))
    assert run() > 1  # nothing is ripe, and this is known from now on
    assert run() == run() == 1
    mailbox.put(numbered(2), flags=[r"\Seen"])
    mailbox.put(numbered(2))
    assert run() > 1  # the newest wait
    assert run() == run() == 1
    mark(mailbox, 4, r"+FLAGS (\Answered)")
    assert run() > 1  # something changed, and nothing is ripe
    assert run() == run() == 1
    mark(mailbox, 7, r"+FLAGS (\Seen)")
    assert run() > 1  # the newest of all is ripe before others are
    assert run() == run() == 1
    mark(mailbox, 1, r"+FLAGS (\Seen)")
    mark(mailbox, 6, r"+FLAGS (\Seen)")
    assert run() > 1
    mailbox.put(numbered(1))
    mailbox.put(numbered(1), flags=[r"\Seen"])
    assert run() > 1
    assert run() == run() == 1

    listed = [uids for uids in found if uids]
    assert listed == [[4, 5], [7], [1, 6], [9]]
    found.clear()
    run(Ripe())  # nothing is asked of them any more

    assert found == [[2, 3, 8]]


def test_nothing_new_takes_one_round_trip_where_the_newest_waits(
    mailbox: Mailbox, numbered: Numbered
) -> None:
    """Nor does it where nothing was ever ripe, or where a change has made nothing ripe."""
    costs_one_round_trip(mailbox, numbered)


def test_nothing_new_takes_one_round_trip_on_another_server(
    cyrus_server: Cyrus, numbered: Numbered
) -> None:
    """The second opinion."""
    costs_one_round_trip(PlainMailbox(cyrus_server, cyrus_server.new_user()), numbered)


@pytest.mark.parametrize("another", [Ripe(older_than=timedelta(days=1)), Ripe(), None])
@pytest.mark.parametrize("page", [1, 2, 500])
def test_who_waits_at_the_end_is_found_by_another_condition(
    another: Ripe | None, page: int, mailbox: Mailbox, numbered: Numbered
) -> None:
    """Also by one that no server keeps track of: then the newest are listed again."""
    mailbox.put(numbered(3))
    mailbox.put(numbered(1), flags=[r"\Seen"])
    mailbox.put(numbered(3))
    now = datetime.now(UTC)
    limits = evolve(QUICK, page=page)
    with mailbox.source(ripe=SEEN, limits=limits) as source:
        first, token = scan(source, None)
    with mailbox.source(ripe=another, limits=limits, clock=lambda: now) as source:
        second, token = scan(source, token)
    later = now + timedelta(days=2)
    with mailbox.source(ripe=another, limits=limits, clock=lambda: later) as source:
        third, token = scan(source, token)

    waited = another is not None and another.older_than is not None
    assert first == [4]
    assert (second, third) == (([], [1, 2, 3, 5, 6, 7]) if waited else ([1, 2, 3, 5, 6, 7], []))
    assert token is not None
    assert token.endswith(".7")


@pytest.mark.parametrize("page", [1, 2, 500])
def test_who_waits_at_the_end_is_found_where_changes_are_tracked_no_more(page: int) -> None:
    """A token of a server that had CONDSTORE is read on by one that has not, with none lost."""
    limits = evolve(QUICK, page=page)
    with ImapServer({"INBOX": [b"Subject: a\r\n\r\n"] * 7}) as server:
        items = server.boxes["INBOX"].items
        for number in (5, 6):
            items[number].flags.add(b"\\Draft")
        ripe = Ripe(without_flags=["\\Draft"])
        with scripted(server, ripe=ripe, limits=limits) as source:
            first, token = scan(source, "1.7+1:3,5:7~4711.0f1e2d3c")
            assert token == ("1.5" if page > 4 else "1.7+6:7~4711.0f1e2d3c")
            items[6].flags.clear()
            second, token = scan(source, token)

    assert (first, second) == ([1, 2, 3, 5], [7])
    assert token == "1.7+6"


def test_as_many_as_a_token_cannot_name_wait_at_the_end_all_the_same(
    mailbox: Mailbox, numbered: Numbered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are listed again each time, as without CONDSTORE."""
    monkeypatch.setattr("mailarchive.sources._imap_scan._MOST_WAITING", 3)
    mailbox.put(numbered(1), flags=[r"\Seen"])
    mailbox.put(numbered(4))
    with mailbox.source(ripe=SEEN) as source:
        first, token = scan(source, None)
        again, same = scan(source, token)
    mark(mailbox, 5, r"+FLAGS (\Seen)")
    with mailbox.source(ripe=SEEN) as source:
        second, token = scan(source, token)

    assert (first, again, second) == ([1], [], [5])
    assert same is not None
    assert same.endswith(".1")
    assert token is not None
    assert "+2:4~" in token


@pytest.mark.parametrize("pages", [0, 1, 2, 3])
def test_a_scan_that_is_broken_off_forgets_nobody_who_waits(
    pages: int, mailbox: Mailbox, numbered: Numbered
) -> None:
    """Until all were looked at, a token is as of the look before."""
    mailbox.put(numbered(5))
    mailbox.put(numbered(1), flags=[r"\Seen"])
    limits = evolve(QUICK, page=1)
    with mailbox.source(ripe=SEEN, limits=limits) as source:
        _, token, _ = commands(source, None)
    for uid in (1, 2, 4, 5):
        mark(mailbox, uid, r"+FLAGS (\Seen)")
    found: list[int] = []
    with mailbox.source(ripe=SEEN, limits=limits) as source:
        for page in islice(source.scan(source.folders()[0], token), pages):
            found += uids(list(page.refs))
            token = page.token
    with mailbox.source(ripe=SEEN) as source:
        rest, token, _ = commands(source, token)

    assert found + rest == [1, 2, 4, 5]
    assert token is not None
    assert token.startswith(f"{token.partition('.')[0]}.6+3~")


@given(
    st.integers(1, 2**32 - 1),
    st.integers(301, 2**32 - 1),
    st.sets(st.integers(1, 300), max_size=40),
    st.none() | st.integers(0, 2**63 - 1),
)
def test_a_token_comes_back_as_it_was(
    epoch: int, last: int, waiting: set[int], since: int | None
) -> None:
    """What is written into a checkpoint is what is read from it."""
    if not waiting:
        since = None
    if since is not None and last % 2:
        waiting = {*waiting, last}
    condition = None if since is None else "0f1e2d3c"
    token = Token(epoch, last, tuple(sorted(waiting)), since, condition)

    assert Token.parse(str(token)) == token


@pytest.mark.parametrize(
    "text",
    [
        "1.5+1:4294967295",
        "1.5+5:1:3",
        "1.5+,",
        "1.5+1:",
        "1.5+1,,2",
        "1.5+",
        "1.99999999999",
        "1.5+1:99999999999",
        "1.5+" + ",".join(["1:400000"] * 4),
        "1.5\n",
        "\uff11.5",
        "1.5+3,2",
        "1.5+5",
        "1.5~7.0f1e2d3c",
        "1.5+3~7",
        "1.5+6~7.0f1e2d3c",
        "1.5+3~.0f1e2d3c",
        "1.5+3~7.0F1E2D3C",
        "1.5+3~99999999999999999999.0f1e2d3c",
    ],
)
def test_a_token_that_is_none_is_refused_and_costs_nothing(text: str) -> None:
    """Neither is it guessed at, nor expanded into all the numbers that it claims."""
    assert Token.parse(text) is None

    with (
        ImapServer({"INBOX": []}) as server,
        scripted(server) as source,
        pytest.raises(CheckpointInvalid),
    ):
        scan(source, text)
