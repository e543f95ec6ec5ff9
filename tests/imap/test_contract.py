"""The laws of a source, kept by IMAP on a real Dovecot and on the scripted server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve, frozen
from support.imap import QUICK, scripted
from typing_extensions import override

from mailarchive.sources.imap import FolderChoice
from mailarchive.testing import source_contract
from mailarchive.testing.imap_server import ImapServer
from mailarchive.testing.source_contract import SourceContract, SourceWorld

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.imap import Mailbox

    from mailarchive import MessageRef
    from mailarchive.abc import Source

LIMITS = evolve(QUICK, page=5)
INBOX = FolderChoice.only("INBOX")


def uid_of(ref: MessageRef) -> int:
    """The UID in a ref's key."""
    return int(ref.key.split(".")[1])


@frozen
class OnDovecot(SourceWorld):
    """A mailbox on a real server."""

    mailbox: Mailbox

    @override
    def source(self) -> Source:
        """Over TLS."""
        return self.mailbox.source(folders=INBOX, limits=LIMITS)

    @override
    def deliver(self, raws: Sequence[bytes]) -> None:
        """By APPEND."""
        self.mailbox.put(raws)

    @override
    def lose(self, ref: MessageRef) -> None:
        """By another connection."""
        self._store(ref, r"\Deleted", "EXPUNGE")

    @override
    def flag(self, ref: MessageRef) -> None:
        """By another connection."""
        self._store(ref, r"\Flagged")

    @override
    def look(self) -> object:
        """Flags, sizes and dates."""
        return self.mailbox.state()

    def _store(self, ref: MessageRef, flag: str, *after: str) -> None:
        with self.mailbox.raw() as connection:
            connection.command("SELECT INBOX")
            connection.command(f"UID STORE {uid_of(ref)} +FLAGS.SILENT ({flag})")
            for command in after:
                connection.command(command)


@frozen
class OnAScript(SourceWorld):
    """A mailbox of the scripted server."""

    server: ImapServer

    @override
    def source(self) -> Source:
        """In clear text."""
        return scripted(self.server, folders=INBOX, limits=LIMITS)

    @override
    def deliver(self, raws: Sequence[bytes]) -> None:
        """Straight into its memory."""
        for raw in raws:
            self.server.boxes["INBOX"].add(raw)

    @override
    def lose(self, ref: MessageRef) -> None:
        """Straight out of its memory."""
        box = self.server.boxes["INBOX"]
        box.items = [item for item in box.items if item.uid != uid_of(ref)]

    @override
    def flag(self, ref: MessageRef) -> None:
        """In its memory."""
        for item in self.server.boxes["INBOX"].items:
            if item.uid == uid_of(ref):
                item.flags.add(b"\\Flagged")

    @override
    def look(self) -> object:
        """Everything that it holds."""
        return [(item.uid, frozenset(item.flags)) for item in self.server.boxes["INBOX"].items]


class TestOnDovecot(SourceContract):
    """Every law, on a real server."""

    @pytest.fixture
    def world(self, mailbox: Mailbox) -> SourceWorld:
        """A fresh mailbox."""
        return OnDovecot(mailbox)


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

    assert [law.__name__ for law in source_contract.LAWS if law.__name__ not in tests] == []
    assert len(tests) == len(source_contract.LAWS)
