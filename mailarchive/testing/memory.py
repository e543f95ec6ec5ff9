"""A source, an intake, a sink, checkpoints and a quarantine in memory, for your tests.

They are implementations, not mocks: they keep the contracts of `mailarchive.abc`, note
every call in `calls`, and take a `Fuse`.  What a test changes behind their back (flag,
change, lose, make unreadable) has a method of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, evolve, field
from typing_extensions import override

from mailarchive._durable import no_fuse
from mailarchive._model import (
    Checkpoint,
    Copy,
    Digest,
    Durability,
    Fidelity,
    Folder,
    Kept,
    MessageRef,
    Page,
    Receipt,
    Removed,
    SinkCapabilities,
    SourceCapabilities,
    SourceMessage,
    Stored,
    Unavailable,
    UserId,
    Vanished,
    entry_id,
)
from mailarchive.abc import Intake, Sink, Source
from mailarchive.errors import CheckpointInvalid, MailboxNotFound, SinkCorrupt

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from mailarchive._durable import Fuse
    from mailarchive._model import (
        Address,
        Archived,
        ArchiveEntry,
        Delivery,
        Quarantined,
        RemovalResult,
    )
    from mailarchive.errors import MailArchiveError


@define
class _Item:
    raw: bytes
    received_at: datetime | None = None
    flags: frozenset[str] = frozenset()
    unavailable: str | None = None
    permanent: bool = False


@define
class _Box:
    folder: Folder
    epoch: int = 1
    next_uid: int = 1
    items: dict[int, _Item] = field(factory=dict)
    error: MailArchiveError | None = None


class MemorySource(Source):
    """A mailbox in memory that behaves like an IMAP one: an epoch, and growing numbers."""

    def __init__(
        self,
        name: str = "memory",
        *,
        mailbox: Address | None = None,
        fidelity: Fidelity = Fidelity.WIRE,
        removes: bool = True,
        page_size: int = 10,
        fuse: Fuse = no_fuse,
    ) -> None:
        """Begin with no folder."""
        self.name: str = name
        self.mailbox: Address | None = mailbox
        self.capabilities: SourceCapabilities = SourceCapabilities(fidelity, removes)
        self.calls: list[str] = []
        self.fuse = fuse
        self._page_size = page_size
        self._boxes: dict[str, _Box] = {}

    def add(
        self,
        raw: bytes,
        *,
        folder: str = "INBOX",
        received_at: datetime | None = None,
        flags: Iterable[str] = (),
    ) -> MessageRef:
        """Deliver a message and return its ref."""
        box = self._boxes.setdefault(folder, _Box(Folder(folder, (folder,))))
        uid, box.next_uid = box.next_uid, box.next_uid + 1
        box.items[uid] = _Item(raw, received_at, frozenset(flags))
        return self._ref(box, uid)

    def change(self, ref: MessageRef, raw: bytes) -> None:
        """Put other bytes behind the ref, as a broken server might."""
        self._item(ref).raw = raw

    def flag(self, ref: MessageRef, *flags: str) -> None:
        """Set the item's flags."""
        self._item(ref).flags = frozenset(flags)

    def lose(self, ref: MessageRef) -> None:
        """Delete the item, as somebody with a mail program might."""
        del self._boxes[ref.folder].items[_uid(ref)]

    def break_item(self, ref: MessageRef, reason: str | None, *, permanent: bool = False) -> None:
        """Make the item unreadable for a reason, or readable again with `None`."""
        item = self._item(ref)
        item.unavailable, item.permanent = reason, permanent

    def break_folder(self, folder: str, error: MailArchiveError | None) -> None:
        """Make listing the folder raise, or work again with `None`."""
        self._boxes[folder].error = error

    def new_epoch(self, folder: str) -> None:
        """Give every item another number, and make old tokens and refs worthless."""
        box = self._boxes[folder]
        box.epoch += 1
        box.items = dict(enumerate(box.items.values(), 1))
        box.next_uid = len(box.items) + 1

    def contents(self, folder: str = "INBOX") -> list[bytes]:
        """Return what is in the folder now."""
        box = self._boxes.get(folder)
        return [item.raw for item in box.items.values()] if box is not None else []

    def flags(self, ref: MessageRef) -> frozenset[str]:
        """Return the item's flags."""
        return self._item(ref).flags

    def _step(self, call: str) -> None:
        self.fuse(f"source: {call}")
        self.calls.append(call)

    def _ref(self, box: _Box, uid: int) -> MessageRef:
        size = len(box.items[uid].raw)
        return MessageRef(self.name, box.folder.key, f"{box.epoch}.{uid}", size)

    def _item(self, ref: MessageRef) -> _Item:
        return self._boxes[ref.folder].items[_uid(ref)]

    def _find(self, ref: MessageRef) -> _Item | None:
        box = self._boxes.get(ref.folder)
        if box is None or not ref.key.startswith(f"{box.epoch}."):
            return None
        return box.items.get(_uid(ref))

    @override
    def _open(self) -> None:
        self._step("open")

    @override
    def _close(self) -> None:
        self.calls.append("close")

    @override
    def _folders(self) -> Iterable[Folder]:
        self._step("folders")
        return [box.folder for box in self._boxes.values()]

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        self._step("scan")
        box = self._boxes.get(folder.key)
        if box is None:
            raise MailboxNotFound(
                f"source {self.name} has no such folder", suggestions=["deliver something to it"]
            )
        if box.error is not None:
            raise box.error
        last = 0 if after is None else self._resume(box, after)
        uids = sorted(uid for uid in box.items if uid > last)
        for start in range(0, len(uids), self._page_size):
            some = uids[start : start + self._page_size]
            there = [self._ref(box, uid) for uid in some if uid in box.items]
            yield Page(folder, tuple(there), f"{box.epoch}.{some[-1]}")

    def _resume(self, box: _Box, token: str) -> int:
        epoch, _, last = token.partition(".")
        if epoch != str(box.epoch) or not last.isdecimal() or not last.isascii():
            raise CheckpointInvalid(
                f"source {self.name}: the token is of another epoch, or none",
                suggestions=["list the folder anew"],
            )
        return int(last)

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        self._step("fetch")
        for ref in refs:
            item = self._find(ref)
            if item is None:
                continue
            if item.unavailable is not None:
                yield Unavailable(ref, item.unavailable, item.permanent)
            else:
                yield SourceMessage(ref, item.raw, item.received_at, item.flags)

    @override
    def _remove(self, archived: Sequence[Archived]) -> Iterator[RemovalResult]:
        for each in archived:
            self._step("remove")
            yield self._remove_one(each)

    def _remove_one(self, archived: Archived) -> RemovalResult:
        ref = archived.ref
        item = self._find(ref)
        if item is None:
            return Vanished(ref)
        if "\\Flagged" in item.flags:
            return Kept(ref, "flagged")
        if Digest.of(item.raw) != archived.receipt.stored_digest:
            return Kept(ref, "changed")
        self.lose(ref)
        return Removed(ref)


def _uid(ref: MessageRef) -> int:
    return int(ref.key.partition(".")[2])


@define(eq=False)
class MemoryArrival:
    """A message that arrived, and what its sender was told: an outcome, or an error."""

    message: SourceMessage
    answer: Archived | Quarantined | MailArchiveError | None = None

    def accept(self, outcome: Archived | Quarantined, /) -> None:
        """Take down that it is held."""
        self.answer = outcome

    def put_off(self, error: MailArchiveError, /) -> None:
        """Take down that it is not."""
        self.answer = error


class MemoryIntake(Intake):
    """An intake at which everything has arrived already; it ends when all are answered."""

    folder: Folder = Folder("arrived", ("Arrived",))

    def __init__(self, raws: Iterable[bytes] = (), *, name: str = "memory-intake") -> None:
        """Let these messages wait."""
        self.name: str = name
        self.arrivals: list[MemoryArrival] = []
        self._next = 0
        for raw in raws:
            self.arrive(raw)

    def arrive(self, raw: bytes, delivery: Delivery | None = None) -> MemoryArrival:
        """Let one more wait; the same bytes are the same copy."""
        ref = MessageRef(self.name, self.folder.key, Digest.of(raw).hex, len(raw))
        arrival = MemoryArrival(SourceMessage(ref, raw, delivery=delivery))
        self.arrivals.append(arrival)
        return arrival

    @override
    def _batches(self, messages: int, octets: int) -> Iterator[Sequence[MemoryArrival]]:
        del octets
        while batch := self.arrivals[self._next : self._next + messages]:
            self._next += len(batch)
            yield batch

    @override
    def _stop(self) -> None:
        self._next = len(self.arrivals)


class MemorySink(Sink):
    """An archive in memory: `entries` in the order they came, by id."""

    def __init__(
        self,
        name: str = "memory",
        *,
        durability: Durability = Durability.MEDIA,
        reads: bool = True,
        fuse: Fuse = no_fuse,
    ) -> None:
        """Begin empty.  The durability is what it claims, so that removal can be tried."""
        self.name: str = name
        self.capabilities: SinkCapabilities = SinkCapabilities(reads, durability)
        self.entries: dict[Digest, ArchiveEntry] = {}
        self.receipts: dict[Digest, Receipt] = {}
        self.calls: list[str] = []
        self.fuse = fuse

    def of(self, user: str) -> list[bytes]:
        """Return the content of each entry that the user owns."""
        mine = (e for e in self.entries.values() if UserId(user) in e.ownership.users)
        return [entry.content for entry in mine]

    def damage(self, receipt: Receipt, raw: bytes) -> None:
        """Put other bytes where the entry is, as a broken disk might."""
        entry = self.entries[receipt.entry_id]
        self.entries[receipt.entry_id] = evolve(entry, raw=raw)

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        self.fuse("sink: put")
        self.calls.append("put")
        known = self.receipts.get(entry.id)
        if known is not None:
            return evolve(known, outcome=Stored.PRESENT)
        receipt = Receipt.for_entry(
            entry,
            sink=self.name,
            location=f"memory/{len(self.entries)}",
            durability=self.capabilities.durability,
        )
        self.entries[entry.id] = entry
        self.receipts[entry.id] = receipt
        self.fuse("sink: stored")
        return receipt

    @override
    def _read(self, receipt: Receipt) -> bytes:
        self.calls.append("read")
        known = self.receipts.get(receipt.entry_id)
        if known is None or (known.location, known.stored_digest) != (
            receipt.location,
            receipt.stored_digest,
        ):
            raise SinkCorrupt(
                f"sink {self.name} never gave this receipt",
                suggestions=["read from the sink that gave it"],
            )
        return self.entries[receipt.entry_id].raw


class MemoryCheckpoints:
    """Checkpoints in memory; `saved` holds every one in the order it was saved."""

    def __init__(self, *, fuse: Fuse = no_fuse) -> None:
        """Begin with none."""
        self.saved: list[Checkpoint] = []
        self.fuse = fuse

    def load(self, source: str, folder: str, /) -> Checkpoint | None:
        """Return the newest checkpoint of the folder."""
        mine = (
            each for each in reversed(self.saved) if (each.source, each.folder) == (source, folder)
        )
        return next(mine, None)

    def save(self, checkpoint: Checkpoint, /) -> None:
        """Keep the checkpoint."""
        self.fuse("state: save")
        self.saved.append(checkpoint)


class MemoryQuarantine:
    """A quarantine in memory: messages and reasons by id."""

    def __init__(self, *, fuse: Fuse = no_fuse) -> None:
        """Begin empty."""
        self.held: dict[Digest, tuple[SourceMessage, str]] = {}
        self.fuse = fuse

    def hold(self, message: SourceMessage, reason: str, /) -> Receipt:
        """Keep the message once."""
        self.fuse("quarantine: hold")
        digest = Digest.of(message.raw)
        id_ = entry_id(Copy.of(message.ref), digest, Fidelity.WIRE)
        outcome = Stored.PRESENT if id_ in self.held else Stored.STORED
        self.held.setdefault(id_, (message, reason))
        return Receipt("quarantine", id_, digest, id_.hex, outcome, Durability.BUFFERED)


class NoUsers:
    """A user map that knows nobody."""

    def resolve(self, addresses: Collection[Address], /) -> Mapping[Address, frozenset[UserId]]:
        """Return nothing."""
        del addresses
        return {}
