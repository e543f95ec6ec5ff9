"""A small world for runs: a memory source of plain mail, and everything else in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from attrs import define, field

from mailarchive import Address, UserId
from mailarchive.archiver import Archiver, RunReport
from mailarchive.testing.memory import (
    MemoryCheckpoints,
    MemoryQuarantine,
    MemorySink,
    MemorySource,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

START = datetime(2026, 11, 1, 12, tzinfo=UTC)


class LocalParts:
    """Every address at corp.example belongs to the user of its local part."""

    def __init__(self) -> None:
        self.questions: list[frozenset[Address]] = []

    def resolve(self, addresses: Collection[Address], /) -> Mapping[Address, frozenset[UserId]]:
        """Answer for the own domain only."""
        self.questions.append(frozenset(addresses))
        ours = (each for each in addresses if each.domain == "corp.example")
        return {each: frozenset({UserId(each.normal.partition("@")[0])}) for each in ours}


def mail(number: int, *, to: str = "bob@corp.example", size: int = 10) -> bytes:
    """Return a plain message that no other number gives."""
    head = f"From: alice@corp.example\r\nTo: {to}\r\nSubject: {number}\r\n"
    return f"{head}Message-ID: <{number}@corp.example>\r\n\r\n{'x' * size}\r\n".encode()


@define
class World:
    """All parts of a run, kept from one run to the next."""

    source: MemorySource = field(factory=MemorySource)
    sink: MemorySink = field(factory=MemorySink)
    state: MemoryCheckpoints = field(factory=MemoryCheckpoints)
    quarantine: MemoryQuarantine = field(factory=MemoryQuarantine)
    users: LocalParts = field(factory=LocalParts)
    now: datetime = START
    mail: Callable[..., bytes] = mail

    def archiver(self, **settings: Any) -> Archiver:
        """Return an archiver over these parts."""
        defaults: dict[str, Any] = {
            "state": self.state,
            "quarantine": self.quarantine,
            "clock": lambda: self.now,
        }
        users = settings.pop("users", self.users)
        return Archiver(self.source, self.sink, users, **{**defaults, **settings})

    def run(self, **settings: Any) -> RunReport:
        """Run once and return the report, which must add up."""
        report = self.archiver(**settings).run()
        assert report.adds_up
        return report

    def wait(self, days: int = 2) -> None:
        """Let time pass."""
        self.now += timedelta(days=days)

    def fill(self, count: int, folder: str = "INBOX") -> list[bytes]:
        """Deliver so many messages and return them."""
        messages = [mail(number) for number in range(count)]
        for raw in messages:
            self.source.add(raw, folder=folder)
        return messages

    def archived(self) -> list[bytes]:
        """Return the raw bytes in the sink, in order."""
        return [entry.raw for entry in self.sink.entries.values()]
