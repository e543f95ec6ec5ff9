"""The laws of a source, kept by IMAP on a real Dovecot and on the scripted server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.door import Door
from support.imap import PlainMailbox, read_all
from support.imap_worlds import OnAScript, OnServer

from mailarchive.sources.imap import FolderChoice
from mailarchive.testing import source_laws
from mailarchive.testing.cyrus import cyrus
from mailarchive.testing.imap_server import ImapServer
from mailarchive.testing.source_contract import Odd, SourceContract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.imap import Mailbox, Numbered

    from mailarchive.testing.cyrus import Cyrus
    from mailarchive.testing.source_contract import SourceWorld


CRLF = frozenset(Odd) - {Odd.NUL, Odd.BARE_LF, Odd.EMPTY}
"""What servers take that keep messages of lines; Dovecot also takes a CR away before CRLF."""


class TestOnDovecot(SourceContract):
    """Every law, on a real server."""

    @pytest.fixture
    def world(self, mailbox: Mailbox) -> Iterator[SourceWorld]:
        """A fresh mailbox."""
        with Door(mailbox.server.imaps_port) as door:
            yield OnServer(mailbox, door, takes=CRLF - {Odd.BARE_CR})


class TestOnCyrus(SourceContract):
    """Every law, on another real server."""

    @pytest.fixture
    def world(self, cyrus_server: Cyrus) -> Iterator[SourceWorld]:
        """A fresh mailbox."""
        mailbox = PlainMailbox(cyrus_server, cyrus_server.new_user())
        with Door(cyrus_server.port) as door:
            yield OnServer(mailbox, door, takes=CRLF)


class TestOnAScript(SourceContract):
    """Every law, on a server that is small enough to read."""

    @pytest.fixture
    def world(self) -> Iterator[SourceWorld]:
        """A fresh server."""
        with ImapServer({"INBOX": []}) as server:
            yield OnAScript(server)


def test_every_law_is_a_test_of_the_contract() -> None:
    """A law that nobody runs would be none."""
    tests = {name.removeprefix("test_") for name in vars(SourceContract) if "test_" in name}

    assert [law.__name__ for law in source_laws.LAWS if law.__name__ not in tests] == []
    assert len(tests) == len(source_laws.LAWS)


def test_every_law_is_told_in_the_reference() -> None:
    """A law that nobody can look up surprises whoever breaks it."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "testing.md").read_text("utf-8")

    assert [law.__name__ for law in source_laws.LAWS if f"`{law.__name__}`" not in page] == []


def test_what_another_user_shares_on_cyrus_is_left_alone_unless_asked_for(
    cyrus_server: Cyrus, numbered: Numbered
) -> None:
    """Its namespaces (RFC 2342) are told apart by their prefixes."""
    mine = PlainMailbox(cyrus_server, cyrus_server.new_user())
    others = PlainMailbox(cyrus_server, cyrus_server.new_user())
    mine.put(numbered(3), "INBOX/Projects/Alpha")
    others.put(numbered(2))
    with others.raw() as connection:
        connection.command(f"SETACL INBOX {mine.user} lrs")
    with mine.source() as source:
        own = {folder.name for folder in source.folders()}
        read = read_all(source, "INBOX/Projects/Alpha")
    with mine.source(folders=FolderChoice(shared=True)) as source:
        everything = {folder.name for folder in source.folders()}
        (shared,) = everything - own
        theirs = read_all(source, shared)

    assert [message.raw for message in read] == numbered(3)
    assert shared.endswith(others.user)
    assert [message.raw for message in theirs] == numbered(2)


def test_what_everybody_shares_at_the_root_of_cyrus_is_nobodys_own(
    cyrus_packages: Path, numbered: Numbered
) -> None:
    """Without the alternative namespace the shared one has an empty prefix, and fits all."""
    with cyrus(cyrus_packages, extra="altnamespace: no\n") as server:
        mine, others = (PlainMailbox(server, server.new_user()) for _ in range(2))
        mine.put(numbered(3), "INBOX/Projects")
        others.put(numbered(2))
        with others.raw() as connection:
            connection.command(f"SETACL INBOX {mine.user} lrs")
        with server.raw("cyrus") as administrator:
            administrator.command("CREATE Sales")
            administrator.command("SETACL Sales anyone lrs")
        with mine.source() as source:
            own = {folder.name for folder in source.folders()}
            read = read_all(source, "INBOX/Projects")
        with mine.source(folders=FolderChoice(shared=True)) as source:
            everything = {folder.name for folder in source.folders()}

    assert own == {"INBOX", "INBOX/Sent", "INBOX/Projects"}
    assert everything == own | {"Sales", f"user/{others.user}"}
    assert len(read) == 3
