"""A place with mail in it for the laws of a source: a mailbox in memory."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from typing_extensions import override

from mailarchive.errors import SourceUnavailable
from mailarchive.testing.memory import MemorySource
from mailarchive.testing.source_contract import Odd, SourceWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mailarchive import Folder, MessageRef
    from mailarchive.abc import Source


class MemoryWorld(SourceWorld):
    """A mailbox in memory; opening it again gives the same one."""

    takes = frozenset(Odd)

    def __init__(self, memory: MemorySource | None = None, name: str = "INBOX") -> None:
        self.memory, self.name = memory or MemorySource(), name
        self.memory.lose(self.memory.add(b"the folder is there from the start", folder=name))

    @override
    def folder_path(self) -> tuple[str, ...]:
        """As its name says."""
        return (self.name,)

    @override
    def folder(self, source: Source) -> Folder:
        """Return the one of this name."""
        return next(each for each in source.folders() if each.key == self.name)

    @override
    def elsewhere(self) -> SourceWorld:
        """Return the same mailbox with another folder."""
        return type(self)(self.memory, "Elsewhere")

    @override
    def source(self) -> Source:
        """Return the mailbox, not opened again."""
        return self.memory

    @override
    def deliver(self, raws: Sequence[bytes]) -> None:
        """Add the messages."""
        for raw in raws:
            self.memory.add(raw, folder=self.name)

    @override
    def lose(self, ref: MessageRef) -> None:
        """Delete it."""
        self.memory.lose(ref)

    @override
    def flag(self, ref: MessageRef) -> None:
        """Flag it."""
        self.memory.flag(ref, "\\Flagged")

    @override
    def change(self, ref: MessageRef, raw: bytes) -> None:
        """Put other bytes behind the ref."""
        self.memory.change(ref, raw)

    @override
    def renumber(self) -> None:
        """Begin another epoch."""
        self.memory.new_epoch(self.name)

    @override
    def deliver_young(self, raws: Sequence[bytes]) -> Callable[[], None]:
        """As drafts, until somebody has written them to the end."""
        drafts = [self.memory.add(raw, folder=self.name, flags=["\\Draft"]) for raw in raws]

        def finish() -> None:
            for ref in drafts:
                self.memory.flag(ref)

        return finish

    @override
    def mark_deleted(self, ref: MessageRef) -> None:
        """Mark it, as IMAP does."""
        self.memory.flag(ref, "\\Deleted")

    @override
    @contextmanager
    def broken(self) -> Iterator[None]:
        """Let every call fail as a server does that is away."""
        before, self.memory.fuse = self.memory.fuse, _away
        try:
            yield
        finally:
            self.memory.fuse = before

    @override
    @contextmanager
    def spoiled(self, ref: MessageRef) -> Iterator[None]:
        """Make it unreadable, and readable again."""
        self.memory.break_item(ref, "locked by somebody")
        try:
            yield
        finally:
            self.memory.break_item(ref, None)

    @override
    def look(self) -> object:
        """Return every ref with its flags, and all bytes."""
        # As an honest source lists them: what a test has made of this one may have no end.
        pages = MemorySource._scan(self.memory, self.folder(self.memory), None)
        refs = [ref for page in pages for ref in page.refs]
        return [(ref, self.memory.flags(ref)) for ref in refs], self.memory.contents(self.name)


def _away(step: str) -> None:
    raise SourceUnavailable("the source is away", suggestions=["wait for it"])
