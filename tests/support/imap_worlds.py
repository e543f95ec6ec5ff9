"""Two places with mail in them for the laws of a source: a real server and a scripted one."""

from __future__ import annotations

from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen
from typing_extensions import override

from mailarchive.sources.imap import FolderChoice, Ripe
from mailarchive.testing.imap_lies import poisoned
from mailarchive.testing.imap_server import Box, Hangup, Item
from mailarchive.testing.source_contract import Odd, SourceWorld
from support.imap import QUICK, scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from mailarchive import Folder, MessageRef
    from mailarchive.abc import Source
    from mailarchive.testing.imap_server import Command, ImapServer, Talk
    from support.door import Door
    from support.imap import Mailbox, PlainMailbox

LIMITS = evolve(QUICK, page=5)
ELSEWHERE = "INBOX/Elsewhere"
BOTH = FolderChoice.only("INBOX", f"{ELSEWHERE}*")
RIPE = Ripe(without_flags=["\\Draft"])


def named(name: str, source: Source) -> Folder:
    """The folder of that name."""
    return next(folder for folder in source.folders() if folder.name == name)


def uid_of(ref: MessageRef) -> int:
    """The UID in a ref's key."""
    return int(ref.key.split(".")[1])


@frozen
class OnServer(SourceWorld):
    """A mailbox on a real server, read through a door that can be shut."""

    mailbox: Mailbox | PlainMailbox
    door: Door | None = None
    takes: frozenset[Odd] | None = field(default=None, kw_only=True)
    name: str = field(default="INBOX", kw_only=True)
    cannot = MappingProxyType(
        {
            "change": "IMAP has no command that changes a message where it is",
            "renumber": "IMAP has no command that makes an inbox anew",
            "spoiled": "IMAP has no command that makes a message unreadable",
        }
    )

    @override
    def folder_path(self) -> tuple[str, ...]:
        """As its name says."""
        return tuple(self.name.split("/"))

    @override
    def source(self) -> Source:
        """Over TLS where the server has it."""
        port = {} if self.door is None else {"port": self.door.port}
        return self.mailbox.source(folders=BOTH, limits=LIMITS, ripe=RIPE, **port)

    @override
    def folder(self, source: Source) -> Folder:
        """The one of this name."""
        return named(self.name, source)

    @override
    def elsewhere(self) -> SourceWorld:
        """A folder below it, which the first message makes."""
        return evolve(self, name=ELSEWHERE)

    @override
    def broken(self) -> AbstractContextManager[None] | None:
        """The server hangs up on everybody."""
        return None if self.door is None else self.door.shut()

    @override
    def deliver(self, raws: Sequence[bytes]) -> None:
        """By APPEND."""
        self.mailbox.put(raws, self.name)

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
        return self.mailbox.state(self.name)

    @override
    def deliver_young(self, raws: Sequence[bytes]) -> Callable[[], None]:
        """As drafts, until somebody has written them to the end."""
        for raw in raws:
            self.deliver([raw])
            self._tell("STORE * +FLAGS.SILENT (\\Draft)")
        return lambda: self._tell("STORE 1:* -FLAGS.SILENT (\\Draft)")

    def _store(self, ref: MessageRef, flag: str, *after: str) -> None:
        self._tell(f"UID STORE {uid_of(ref)} +FLAGS.SILENT ({flag})", *after)

    def _tell(self, *commands: str) -> None:
        with self.mailbox.raw() as connection:
            connection.command(f'SELECT "{self.name}"')
            for command in commands:
                connection.command(command)


@frozen
class OnAScript(SourceWorld):
    """A mailbox of the scripted server."""

    server: ImapServer
    name: str = field(default="INBOX", kw_only=True)
    takes = frozenset(Odd)

    @override
    def folder_path(self) -> tuple[str, ...]:
        """As its name says."""
        return tuple(self.name.split("/"))

    @override
    def source(self) -> Source:
        """In clear text."""
        return scripted(self.server, folders=BOTH, limits=LIMITS, ripe=RIPE)

    @property
    def box(self) -> Box:
        """The folder itself."""
        return self.server.boxes[self.name]

    @override
    def folder(self, source: Source) -> Folder:
        """The one of this name."""
        return named(self.name, source)

    @override
    def elsewhere(self) -> SourceWorld:
        """Another folder, made now."""
        self.server.boxes[ELSEWHERE] = Box(ELSEWHERE, [])
        return evolve(self, name=ELSEWHERE)

    @override
    def deliver(self, raws: Sequence[bytes]) -> None:
        """Straight into its memory."""
        for raw in raws:
            self.box.add(raw)

    @override
    def lose(self, ref: MessageRef) -> None:
        """Straight out of its memory."""
        self.box.items = [item for item in self.box.items if item.uid != uid_of(ref)]

    @override
    def flag(self, ref: MessageRef) -> None:
        """In its memory."""
        self._store(ref, b"\\Flagged")

    @override
    def mark_deleted(self, ref: MessageRef) -> None:
        """In its memory."""
        self._store(ref, b"\\Deleted")

    @override
    def change(self, ref: MessageRef, raw: bytes) -> None:
        """In its memory."""
        self._item(ref).raw = raw

    @override
    def renumber(self) -> None:
        """Another UIDVALIDITY, and numbers from 1 on."""
        box = self.box
        anew = Box(box.name, [item.raw for item in box.items], box.uidvalidity + 1)
        self.server.boxes[self.name] = anew

    @override
    def deliver_young(self, raws: Sequence[bytes]) -> Callable[[], None]:
        """As drafts, until somebody has written them to the end."""
        drafts = [self.box.add(raw) for raw in raws]
        for item in drafts:
            item.flags.add(b"\\Draft")

        def finish() -> None:
            for item in drafts:
                item.flags.clear()

        return finish

    def _item(self, ref: MessageRef) -> Item:
        return next(item for item in self.box.items if item.uid == uid_of(ref))

    def _store(self, ref: MessageRef, flag: bytes) -> None:
        self._item(ref).flags.add(flag)

    @override
    @contextmanager
    def broken(self) -> Iterator[None]:
        """It hangs up at every command."""
        honest, self.server.lie = self.server.lie, _hang_up
        try:
            yield
        finally:
            self.server.lie = honest

    @override
    @contextmanager
    def spoiled(self, ref: MessageRef) -> Iterator[None]:
        """It refuses every batch with the message in it."""
        honest, self.server.lie = self.server.lie, poisoned(uid_of(ref))
        try:
            yield
        finally:
            self.server.lie = honest

    @override
    def look(self) -> object:
        """Everything that it holds."""
        return [(item.uid, frozenset(item.flags)) for item in self.box.items]


def _hang_up(talk: Talk, command: Command) -> bool:
    raise Hangup
