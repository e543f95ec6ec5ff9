"""Two places with mail in them for the laws of a source: a real server and a scripted one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen
from typing_extensions import override

from mailarchive.sources.imap import FolderChoice
from mailarchive.testing.source_contract import SourceWorld
from support.imap import QUICK, scripted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailarchive import MessageRef
    from mailarchive.abc import Source
    from mailarchive.testing.imap_server import ImapServer
    from support.imap import Mailbox, PlainMailbox

LIMITS = evolve(QUICK, page=5)
INBOX = FolderChoice.only("INBOX")


def uid_of(ref: MessageRef) -> int:
    """The UID in a ref's key."""
    return int(ref.key.split(".")[1])


@frozen
class OnServer(SourceWorld):
    """A mailbox on a real server."""

    mailbox: Mailbox | PlainMailbox

    @override
    def source(self) -> Source:
        """Over TLS where the server has it."""
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
    def mark_deleted(self, ref: MessageRef) -> None:
        """By another connection, which expunges nothing."""
        self._store(ref, r"\Deleted")

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
        self._store(ref, b"\\Flagged")

    @override
    def mark_deleted(self, ref: MessageRef) -> None:
        """In its memory."""
        self._store(ref, b"\\Deleted")

    def _store(self, ref: MessageRef, flag: bytes) -> None:
        for item in self.server.boxes["INBOX"].items:
            if item.uid == uid_of(ref):
                item.flags.add(flag)

    @override
    def look(self) -> object:
        """Everything that it holds."""
        return [(item.uid, frozenset(item.flags)) for item in self.server.boxes["INBOX"].items]
