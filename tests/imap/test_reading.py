"""What an IMAP source hands over, against a real Dovecot."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import pytest
from support.imap import read_all

from mailarchive import Fidelity, SourceMessage
from mailarchive.errors import CheckpointInvalid
from mailarchive.sources.imap import FolderChoice, ImapLimits

if TYPE_CHECKING:
    from collections.abc import Generator

    from support.imap import Mailbox, Numbered

AWKWARD = [
    b"Subject: 8bit \xfc\xff\r\n\r\n\x80\x81\r\n",
    b"Subject: long\r\n\r\n" + b"x" * 70_000 + b"\r\n",
    b"no header at all\r\n",
    b"Subject: literal {5}\r\n\r\n{3}\r\n) OK M2 OK FETCH completed\r\n* 1 EXPUNGE\r\n",
    b"Subject: no end",
    b"\r\n\r\n\r\n",
    b"Subject: dots\r\n\r\n.\r\n..\r\n",
]


@pytest.mark.parametrize("security", ["ssl", "starttls", "plain"])
def test_every_byte_comes_back_over_every_kind_of_connection(
    mailbox: Mailbox, security: str
) -> None:
    """A message is handed over as the very bytes that the server was given."""
    mailbox.put(AWKWARD)
    server = mailbox.server
    port = server.imaps_port if security == "ssl" else server.imap_port

    with mailbox.source(security=security, port=port, allow_plaintext=True) as source:
        found = read_all(source)

    assert [message.raw for message in found] == AWKWARD
    assert all(message.ref.size == len(message.raw) for message in found)


def test_reading_leaves_the_mailbox_as_it_was(mailbox: Mailbox, numbered: Numbered) -> None:
    """Flags, counts and dates are the same after a run as before it."""
    mailbox.put(numbered(5))
    mailbox.put(numbered(3), flags=[r"\Seen", r"\Flagged", "$Label"])
    before = mailbox.state()

    with mailbox.source() as source:
        read_all(source)

    assert mailbox.state() == before


def test_a_message_comes_with_its_flags_and_the_time_of_its_arrival(mailbox: Mailbox) -> None:
    """Flags are the message's own, without the session's \\Recent; the time is aware UTC."""
    mailbox.put([b"Subject: a\r\n\r\n"], flags=[r"\Seen", r"\Answered", "$Label"])
    before = datetime.now(UTC).replace(microsecond=0)

    with mailbox.source() as source:
        (message,) = read_all(source)

    assert message.flags == {"\\Seen", "\\Answered", "$Label"}
    assert message.received_at is not None
    assert message.received_at.tzinfo is UTC
    assert abs((message.received_at - before).total_seconds()) < 60


def test_a_scan_resumes_right_after_each_token(mailbox: Mailbox, numbered: Numbered) -> None:
    """From any page's token, a scan gives what came after that page and nothing else."""
    mailbox.put(numbered(25))

    with mailbox.source(limits=ImapLimits(page=4)) as source:
        inbox = source.folders()[0]
        pages = list(source.scan(inbox))
        keys = [ref.key for page in pages for ref in page.refs]
        for index, page in enumerate(pages):
            rest = [ref.key for later in source.scan(inbox, page.token) for ref in later.refs]
            assert rest == keys[(index + 1) * 4 :]

    assert [len(page.refs) for page in pages] == [4] * 6 + [1]


def test_what_came_after_the_last_token_is_found(mailbox: Mailbox, numbered: Numbered) -> None:
    """A second run gives the new messages only, and each of them."""
    mailbox.put(numbered(3))
    with mailbox.source() as source:
        inbox = source.folders()[0]
        (page,) = source.scan(inbox)
        assert list(source.scan(inbox, page.token)) == []
        mailbox.put(numbered(2))

        (later,) = source.scan(inbox, page.token)

    assert len(later.refs) == 2
    assert not set(later.refs) & set(page.refs)


def test_a_run_with_nothing_new_takes_one_round_trip_a_folder(
    mailbox: Mailbox, numbered: Numbered
) -> None:
    """Neither a listing nor an EXAMINE is needed to learn that nothing came."""
    mailbox.put(numbered(3))
    with mailbox.source() as source:
        inbox, *empty = source.folders()
        (page,) = source.scan(inbox)
        session = source._line.session()
        before = session.commands

        assert [*source.scan(inbox, page.token)] == []
        for folder in empty:
            assert [*source.scan(folder)] == []

        assert session.commands - before == 1 + len(empty)


def test_a_run_after_the_newest_message_was_removed_takes_three_round_trips(
    mailbox: Mailbox, numbered: Numbered
) -> None:
    """There might be one below the next number, and a look tells that there is none."""
    mailbox.put(numbered(3))
    with mailbox.raw() as connection:
        connection.command("SELECT INBOX")
        connection.command(r"UID STORE 3 +FLAGS (\Deleted)")
        connection.command("EXPUNGE")
    with mailbox.source() as source:
        inbox = source.folders()[0]
        (page,) = source.scan(inbox)
    with mailbox.source() as source:
        before = source._line.session().commands

        assert [*source.scan(inbox, page.token)] == []
        assert source._line.session().commands - before == 3


def test_a_message_that_is_gone_is_left_out(mailbox: Mailbox, numbered: Numbered) -> None:
    """A message that was listed and removed by somebody else is no error."""
    mailbox.put(numbered(6))
    with mailbox.source() as source:
        (page,) = source.scan(source.folders()[0])
        with mailbox.raw() as other:
            other.command("SELECT INBOX")
            other.command(r"UID STORE 2,5 +FLAGS.SILENT (\Deleted)")
            other.command("EXPUNGE")

        found = [item.ref.key.split(".")[1] for item in source.fetch(page.refs)]

    assert found == ["1", "3", "4", "6"]


def test_a_folder_that_was_numbered_anew_invalidates_its_checkpoint(
    mailbox: Mailbox, numbered: Numbered
) -> None:
    """A changed UIDVALIDITY is told by the scan, and old refs hand over nothing."""
    mailbox.put(numbered(3))
    with mailbox.source() as source:
        (page,) = source.scan(source.folders()[0])
    mailbox.server.doveadm(
        "mailbox", "update", "-u", mailbox.user, "--uid-validity", "77", "INBOX"
    )
    with mailbox.source() as source:
        inbox = source.folders()[0]

        with pytest.raises(CheckpointInvalid):
            list(source.scan(inbox, page.token))
        assert list(source.fetch(page.refs)) == []

        (anew,) = source.scan(inbox)
        assert len(list(source.fetch(anew.refs))) == 3


def test_a_token_of_another_kind_is_no_checkpoint(mailbox: Mailbox) -> None:
    """What is no token of ours means nothing, and is said to."""
    with mailbox.source() as source:
        inbox = source.folders()[0]
        for token in ("", "1", "x.y", "1.2.3", "99999999999.1", "1.-1"):
            with pytest.raises(CheckpointInvalid):
                list(source.scan(inbox, token))


def test_a_fetch_that_is_dropped_half_way_harms_nothing(
    mailbox: Mailbox, numbered: Numbered
) -> None:
    """Closing the iterator early costs a connection at most; the next fetch is whole."""
    raws = numbered(50, 20_000)
    mailbox.put(raws)
    with mailbox.source() as source:
        (page,) = source.scan(source.folders()[0])
        with closing(cast("Generator[object, None, None]", source.fetch(page.refs))) as half:
            next(half)

        found = [item.raw for item in source.fetch(page.refs) if isinstance(item, SourceMessage)]

    assert found == raws


def test_pages_are_read_one_by_one_while_the_scan_goes_on(
    mailbox: Mailbox, numbered: Numbered
) -> None:
    """Fetching, and looking at another folder, between two pages does not disturb the scan."""
    raws = numbered(30)
    mailbox.put(raws)
    mailbox.put(numbered(1), "Other")
    with mailbox.source(limits=ImapLimits(page=7)) as source:
        inbox = source.folders()[0]
        other = next(each for each in source.folders() if each.name == "Other")
        found = []
        for page in source.scan(inbox):
            found += list(source.fetch(page.refs))
            assert len(list(source.scan(other))) == 1

    assert [item.raw for item in found if isinstance(item, SourceMessage)] == raws


def test_drafts_junk_and_trash_are_left_out_by_default_and_said_to_be(mailbox: Mailbox) -> None:
    """The default suits a mailbox; `everything` leaves nothing out."""
    with mailbox.source() as source:
        taken = {folder.name for folder in source.folders()}
        left_out = {folder.name for folder in source.left_out}
    with mailbox.source(folders=FolderChoice.everything()) as source:
        everything = {folder.name for folder in source.folders()}

    assert taken == {"INBOX", "Sent Items"}
    assert left_out == {"Drafts", "Junk", "Deleted Items"}
    assert everything == taken | left_out


def test_a_plain_server_hands_over_wire_bytes(mailbox: Mailbox) -> None:
    """Dovecot keeps what it was given, and can remove exactly what it is told to."""
    with mailbox.source() as source:
        assert source.capabilities.fidelity is Fidelity.WIRE
        assert source.capabilities.removes
