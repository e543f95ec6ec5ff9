"""A mailbox on the loopback Graph server, and a clock that only sleeping moves."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field, frozen
from typing_extensions import override

from mailarchive import Archiver, Durability
from mailarchive.sources.graph import FolderChoice, GraphLimits, GraphSource, SeenIds
from mailarchive.testing.graph_server import refused
from mailarchive.testing.memory import (
    MemoryCheckpoints,
    MemoryQuarantine,
    MemorySink,
    NoUsers,
)
from mailarchive.testing.source_contract import Odd, SourceWorld

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mailarchive import Folder, MessageRef, RunReport, SourceMessage, Unavailable
    from mailarchive.abc import Source
    from mailarchive.testing.graph_server import GraphServer, MailboxStore

WELL_KNOWN = {"Inbox": "inbox", "Sent Items": "sentitems"}
ANN = "ann@contoso.example"
QUICK = GraphLimits(page=5, first_backoff=0.5)


@define
class Time:
    """A clock that stands still until somebody sleeps; `slept` are all waits."""

    now: datetime = datetime(2026, 11, 25, 12, tzinfo=UTC)
    slept: list[float] = field(factory=list)
    _lock: threading.Lock = field(factory=threading.Lock)

    def clock(self) -> datetime:
        """What time it is."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass at once."""
        with self._lock:
            self.slept.append(seconds)
            self.now += timedelta(seconds=seconds)

    def pass_by(self, **given: float) -> None:
        """Let time pass."""
        self.now += timedelta(**given)


@frozen
class GraphWorld(SourceWorld):
    """Ann's inbox."""

    server: GraphServer
    time: Time
    seen: Path | None = None
    name: str = "Inbox"
    names: tuple[str, ...] = ("Inbox",)
    takes = frozenset({Odd.NUL, Odd.BARE_CR, Odd.BARE_LF, Odd.NO_LAST_LINE_END})

    @override
    def folder_path(self) -> tuple[str, ...]:
        """As its name says."""
        return (self.name,)

    @property
    def store(self) -> MailboxStore:
        """Ann's mailbox, as it is."""
        return self.server.mailbox(ANN)

    @override
    def source(self, **given: Any) -> Source:
        """The inbox alone unless there are more `names`, five messages a page."""
        return self.graph(**{"folders": FolderChoice.only(*self.names)} | given)

    @override
    def folder(self, source: Source) -> Folder:
        """The one of this name."""
        return next(each for each in source.folders() if each.name == self.name)

    @override
    def elsewhere(self) -> SourceWorld | None:
        """The next name, where there is one."""
        return evolve(self, name=self.names[1]) if len(self.names) > 1 else None

    def graph(self, **given: Any) -> GraphSource:
        """Ann's mailbox."""
        settings: dict[str, Any] = {
            "cloud": self.server.cloud,
            "limits": QUICK,
            "clock": self.time.clock,
            "sleep": self.time.sleep,
            "seen": None if self.seen is None else SeenIds(self.seen),
        }
        tokens = given.pop("tokens", self.server.tokens)
        return GraphSource(given.pop("mailbox", ANN), tokens, **settings | given)

    @override
    def deliver(self, raws: Sequence[bytes]) -> None:
        """As mail comes."""
        for raw in raws:
            self.store.deliver(raw, WELL_KNOWN[self.name])

    @override
    def lose(self, ref: MessageRef) -> None:
        """For good."""
        self.store.lose(ref.key)

    @override
    def flag(self, ref: MessageRef) -> None:
        """Without a new change key, so that the flag alone is what keeps it."""
        self.store.items[ref.key].flagged = True

    @override
    def change(self, ref: MessageRef, raw: bytes) -> None:
        """As Outlook does, which makes another change key."""
        self.store.change(ref.key, raw=raw)

    @override
    def renumber(self) -> None:
        """No id is ever given again, but what was listed may be forgotten."""
        self.store.reset_deltas(WELL_KNOWN[self.name])

    @override
    @contextmanager
    def spoiled(self, ref: MessageRef) -> Iterator[None]:
        """Its bytes are refused, as those of an item that is protected."""
        before = self.server.faults
        path = f"{re.escape(ref.key.rstrip('='))}.*value"
        self.server.faults = [refused(path, 403, "ErrorAccessDenied", times=99)]
        try:
            yield
        finally:
            self.server.faults = before

    @override
    @contextmanager
    def broken(self) -> Iterator[None]:
        """Everything of the mailbox is answered with HTTP 500."""
        self.store.broken = 500, "InternalServerError"
        try:
            yield
        finally:
            self.store.broken = None

    @override
    def look(self) -> object:
        """Versions and states of everything, but for what was removed."""
        return [
            (item.id, item.change, item.read, item.flagged, item.folder.id)
            for item in self.store.items.values()
            if item.folder.well_known != "deleteditems"
        ]


def mail(count: int, start: int = 0) -> list[bytes]:
    """So many short messages, all different."""
    return [
        b"From: a@contoso.example\r\nTo: ann@contoso.example\r\nSubject: %d\r\n"
        b"Message-ID: <%d@contoso.example>\r\n\r\nbody %d\r\n" % (n, n, n)
        for n in range(start, start + count)
    ]


def read_all(source: Source, folder: str = "Inbox") -> list[SourceMessage | Unavailable]:
    """Everything in a folder, with a page fetched as soon as it is listed."""
    (wanted,) = [each for each in source.folders() if each.name == folder]
    return [item for page in source.scan(wanted) for item in source.fetch(page.refs)]


@define
class Archive:
    """Everything that a run needs beside the source, kept from one run to the next."""

    world: GraphWorld
    sink: MemorySink = field(factory=lambda: MemorySink(durability=Durability.MEDIA))
    state: MemoryCheckpoints = field(factory=MemoryCheckpoints)
    quarantine: MemoryQuarantine = field(factory=MemoryQuarantine)

    def run(self, source: Source | None = None, **given: Any) -> RunReport:
        """Archive what is new of the inbox and return the report, which must add up."""
        report = Archiver(
            source or self.world.source(),
            self.sink,
            NoUsers(),
            state=self.state,
            quarantine=self.quarantine,
            clock=self.world.time.clock,
            **given,
        ).run()
        assert report.adds_up
        return report

    @property
    def raws(self) -> list[bytes]:
        """The messages in the archive, in the order they came."""
        return [entry.raw for entry in self.sink.entries.values()]
