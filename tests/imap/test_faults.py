"""What breaks while mail is read from a real server, and that nothing is lost or doubled."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve
from support.imap import QUICK, Mailbox, archived, inbox_of

from mailarchive import Archived, Removed, SourceMessage
from mailarchive.errors import MailboxNotFound, SourceUnavailable
from mailarchive.testing.dovecot import dovecot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from support.imap import Numbered

    from mailarchive import Unavailable


def raws(found: Iterable[SourceMessage | Unavailable]) -> list[bytes]:
    """The bytes of what was handed over, in the order of the UIDs."""
    messages = [item for item in found if isinstance(item, SourceMessage)]
    return [
        item.raw for item in sorted(messages, key=lambda item: int(item.ref.key.split(".")[1]))
    ]


def kill(mailbox: Mailbox) -> None:
    """End the server's process with a signal that it cannot catch."""
    for process in mailbox.server.processes(mailbox.user):
        os.kill(process, signal.SIGKILL)


def kick(mailbox: Mailbox) -> None:
    """Have the server disconnect the user."""
    mailbox.server.kick(mailbox.user)


def freeze(mailbox: Mailbox) -> None:
    """Have the server say nothing more; it wakes when the test is over."""
    for process in mailbox.server.processes(mailbox.user):
        os.kill(process, signal.SIGSTOP)


@pytest.mark.parametrize("break_off", [kill, kick, freeze])
def test_a_connection_that_breaks_in_the_middle_of_a_page_is_made_anew(
    mailbox: Mailbox, numbered: Numbered, break_off: Callable[[Mailbox], None]
) -> None:
    """Every message of the page comes once, whatever ended the connection."""
    originals = numbered(60, 150_000)
    mailbox.put(originals)
    with mailbox.source(limits=evolve(QUICK, read_timeout=0.5)) as source:
        (page,) = inbox_of(source)
        first = source._line.session()
        serving = mailbox.server.processes(mailbox.user)
        found = []
        for item in source.fetch(page.refs):
            found.append(item)
            if len(found) == 3:
                break_off(mailbox)

        assert source._line.session() is not first
    for process in serving:
        _wake(process)
    assert raws(found) == originals


def _wake(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)


@pytest.mark.parametrize("break_off", [kill, kick])
def test_a_connection_that_breaks_between_two_calls_is_made_anew(
    mailbox: Mailbox, numbered: Numbered, break_off: Callable[[Mailbox], None]
) -> None:
    """Listing, reading and removing each survive the loss of the connection before them."""
    originals = numbered(5)
    mailbox.put(originals)
    with mailbox.source() as source:
        inbox = source.folders()[0]
        break_off(mailbox)
        (page,) = source.scan(inbox)
        break_off(mailbox)
        found = list(source.fetch(page.refs))
        break_off(mailbox)
        items = [archived(item) for item in found if isinstance(item, SourceMessage)]
        results = source.remove(items)
        break_off(mailbox)
        left = list(source.scan(inbox))

    assert raws(found) == originals
    assert results == tuple(Removed(item.ref) for item in items)
    assert left == []


def test_a_server_that_is_gone_is_unavailable(numbered: Numbered) -> None:
    """After as many attempts as were allowed the error is transient and says so."""
    waits: list[float] = []
    with dovecot() as server:
        user = server.new_user()
        server.put(user, numbered(3))
        source = Mailbox(server, user).source(
            sleep=waits.append, limits=evolve(QUICK, first_backoff=0.5)
        )
        source.__enter__()
        (page,) = inbox_of(source)
    with pytest.raises(SourceUnavailable) as caught:
        list(source.fetch(page.refs))

    source.__exit__(None, None, None)
    assert caught.value.retry_after is None
    assert waits == [0.5, 2.0, 8.0]


def test_a_folder_that_is_removed_under_way_is_told(mailbox: Mailbox, numbered: Numbered) -> None:
    """Its refs cannot be read, and that is an error of this folder."""
    mailbox.put(numbered(1), "Short/Lived")
    with mailbox.source() as source:
        folder = next(each for each in source.folders() if each.path == ("Short", "Lived"))
        mailbox.server.doveadm("mailbox", "delete", "-u", mailbox.user, "Short/Lived")

        with pytest.raises(MailboxNotFound):
            list(source.scan(folder))


def test_a_break_in_the_middle_of_a_removal_is_finished(
    mailbox: Mailbox, numbered: Numbered
) -> None:
    """What was marked before the connection was lost is removed over the next."""
    mailbox.put(numbered(4))
    with mailbox.source() as source:
        (page,) = inbox_of(source)
        items: list[Archived] = [
            archived(item) for item in source.fetch(page.refs) if isinstance(item, SourceMessage)
        ]
        session = source._line.session()
        stream = session.stream
        cuts: list[bytes] = []

        def cut(*parts: bytes, **settings: Any) -> object:
            if parts[0] == b"UID EXPUNGE":
                kill(mailbox)
                cuts.append(parts[0])
            return stream(*parts, **settings)

        session.stream = cut  # type: ignore[method-assign,assignment]  # a break at one place
        results = source.remove(items[:2])

    assert cuts == [b"UID EXPUNGE"]
    assert results == tuple(Removed(item.ref) for item in items[:2])
    assert len(mailbox.state()) == 2
