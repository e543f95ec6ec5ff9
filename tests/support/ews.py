"""A mailbox on the EWS server on loopback, as the library sees it and as it is."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field, frozen
from typing_extensions import override

from mailarchive import Archived, Digest, Receipt, SourceMessage
from mailarchive.auth import Password
from mailarchive.sources.ews import Access, EwsLimits, EwsSource, FolderChoice
from mailarchive.testing.ews_faults import damaged, status
from mailarchive.testing.source_contract import Odd, SourceWorld

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailarchive import Folder, MessageRef, Page, Unavailable
    from mailarchive.abc import Source
    from mailarchive.testing.ews_server import EwsMailbox, EwsServer

ALICE = "alice@example.com"
SECRET = "correct horse"  # a password for loopback
INBOX = FolderChoice.only("Inbox")
LIMITS = EwsLimits(page=5, items=4, chunk_octets=2 << 20, read_timeout=20)


@define
class Clock:
    """Stands still but for the waits that are asked of it, which it notes."""

    now: datetime = datetime(2026, 11, 25, 12, tzinfo=UTC)
    waits: list[float] = field(factory=list)

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let that much time pass."""
        self.waits.append(seconds)
        self.now += timedelta(seconds=seconds)


@frozen
class Desk:
    """A server with one mailbox on it, a clock, and sources made for both."""

    server: EwsServer
    mailbox: EwsMailbox
    clock: Clock

    def source(self, **settings: Any) -> EwsSource:
        """The mailbox as the library sees it."""
        return EwsSource(
            **{
                "url": self.server.url,
                "auth": Password(ALICE, SECRET),
                "access": Access.OWN,
                "mailbox": ALICE,
                "method": "basic",
                "allow_plaintext": True,
                "folders": INBOX,
                "limits": LIMITS,
                "sleep": self.clock.sleep,
                "clock": self.clock,
                **settings,
            }
        )

    def deliver(self, count: int, *, octets: int = 0) -> list[bytes]:
        """Put messages into the inbox, all different, and return them."""
        raws = numbered(count, octets)
        for raw in raws:
            self.mailbox.deliver(raw)
        return raws


def numbered(count: int, octets: int = 0) -> list[bytes]:
    """Return messages that are all different."""
    line = b"0123456789abcdef" * 4 + b"\r\n"
    return [
        b"From: a@example.com\r\nTo: alice@example.com\r\nSubject: message %d\r\n\r\nbody %d\r\n"
        % (number, number)
        + line * (octets // len(line))
        for number in range(count)
    ]


def pages(source: Source, after: str | None = None, folder: str = "Inbox") -> list[Page]:
    """Everything that the folder lists."""
    (place,) = [each for each in source.folders() if each.name == folder]
    return list(source.scan(place, after))


def listed(source: Source, folder: str = "Inbox") -> list[MessageRef]:
    """Every ref of the folder."""
    return [ref for page in pages(source, folder=folder) for ref in page.refs]


def read(source: Source, folder: str = "Inbox") -> list[SourceMessage | Unavailable]:
    """Everything that the folder hands over, a page at a time."""
    return [item for page in pages(source, folder=folder) for item in source.fetch(page.refs)]


def raws(items: Sequence[SourceMessage | Unavailable]) -> list[bytes]:
    """The bytes of what was handed over, in the order of their text."""
    return sorted(item.raw for item in items if isinstance(item, SourceMessage))


def receipt_for(message: SourceMessage) -> Archived:
    """A receipt as a sink gives it."""
    digest = Digest.of(message.raw)
    return Archived(message.ref, Receipt("test", digest, digest, "somewhere"))


@frozen
class EwsWorld(SourceWorld):
    """A place with mail in it for the laws of a source."""

    desk: Desk
    name: str = "Inbox"
    takes = frozenset(Odd) - {Odd.EMPTY}

    @override
    def folder_path(self) -> tuple[str, ...]:
        """As its name says."""
        return (self.name,)

    @override
    def source(self) -> Source:
        """Over loopback."""
        return self.desk.source(folders=FolderChoice.only("Inbox", "Sent Items"))

    @override
    def folder(self, source: Source) -> Folder:
        """The one of this name."""
        return next(each for each in source.folders() if each.name == self.name)

    @override
    def elsewhere(self) -> SourceWorld:
        """What was sent."""
        return evolve(self, name="Sent Items")

    @override
    def deliver(self, raws: Sequence[bytes]) -> None:
        """Straight into the server's memory."""
        for raw in raws:
            self.desk.mailbox.deliver(raw, self.name)

    @override
    def lose(self, ref: MessageRef) -> None:
        """Straight out of it."""
        self.desk.mailbox.delete(self._item(ref))

    @override
    def flag(self, ref: MessageRef) -> None:
        """As a person does who wants to come back to it; the change key is left as it was."""
        self._item(ref).flagged = True

    @override
    def change(self, ref: MessageRef, raw: bytes) -> None:
        """As Outlook does, which makes another change key."""
        self.desk.mailbox.change(self._item(ref), raw)

    @override
    def renumber(self) -> None:
        """No id is ever given again, but what was listed may be forgotten."""
        self.desk.mailbox.forget_sync_states()

    @override
    def look(self) -> object:
        """Everything that the server holds, but for what was removed."""
        return [
            (folder.name, [(i.id, i.change_key, i.read, i.flagged) for i in folder.items.values()])
            for folder in self.desk.mailbox.folders.values()
            if folder.distinguished != "deleteditems"
        ]

    @override
    @contextmanager
    def spoiled(self, ref: MessageRef) -> Iterator[None]:
        """What arrives of it is no base64."""
        server = self.desk.server
        before, server.fault = server.fault, damaged(lambda _: b"-", self._item(ref))
        try:
            yield
        finally:
            server.fault = before

    @override
    @contextmanager
    def broken(self) -> Iterator[None]:
        """Every call is answered with HTTP 500."""
        server = self.desk.server
        before, server.fault = server.fault, status(500)
        try:
            yield
        finally:
            server.fault = before

    def _item(self, ref: MessageRef) -> Any:
        return self.desk.mailbox.folder(self.name).items[ref.key]
