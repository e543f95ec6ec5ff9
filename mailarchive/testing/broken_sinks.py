"""Sinks that are broken on purpose, each in one way that archives in use are broken in.

`OneFileEach` is sound, and short; every other class here changes one step of it.  `BROKEN`
says which law catches which, and in what words, so that whoever changes a law, or writes
one, can see that it still bites::

    for broken in BROKEN:
        with pytest.raises(AssertionError, match=broken.fault):
            broken.law(partial(broken.sink, folder))
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from attrs import evolve, frozen
from typing_extensions import override

from mailarchive._durable import make_folder, sync_folder
from mailarchive._model import (
    Digest,
    Durability,
    Receipt,
    SinkCapabilities,
    Stored,
)
from mailarchive.abc import Sink
from mailarchive.errors import SinkCorrupt
from mailarchive.testing import sink_laws as laws

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mailarchive._model import ArchiveEntry
    from mailarchive.testing.sink_laws import Law

__all__ = ["BROKEN", "Broken", "OneFileEach"]


class OneFileEach(Sink):
    """A sound sink: a file for each entry, written beside, synced, renamed, its folder synced."""

    capabilities: SinkCapabilities = SinkCapabilities(reads=True, durability=Durability.MEDIA)

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Keep the files in `folder`, which is made where it is missing."""
        self.name: str = "one-file-each"
        self.folder: Path = Path(folder) / "mail"

    @override
    def _open(self) -> None:
        make_folder(self.folder)
        sync_folder(self.folder.parent)  # whoever made it may have died before that

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        path = self._path(entry)
        found = self._known(path)
        if found is not None:
            self._sync_folder()  # whoever wrote it may have died before that
            return self._receipt(entry, Digest.of(found), Stored.PRESENT)
        self._write(path, self._form(entry.raw))
        return self._receipt(entry, entry.raw_digest, Stored.STORED)

    @override
    def _read(self, receipt: Receipt) -> bytes:
        found = self._known(self.folder / receipt.entry_id.hex)
        if found is None or receipt.location != receipt.entry_id.hex:
            raise self._missing()
        if Digest.of(found) != receipt.stored_digest:
            raise SinkCorrupt(
                "a file is not what was stored", suggestions=["restore it from a copy"]
            )
        return found

    # -- the steps that the broken ones change --------------------------------------------

    def _path(self, entry: ArchiveEntry) -> Path:
        """Where the entry is kept."""
        return self.folder / entry.id.hex

    def _form(self, raw: bytes) -> bytes:
        """The bytes as they are stored."""
        return raw

    def _known(self, path: Path) -> bytes | None:
        """What is kept there already."""
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def _write(self, path: Path, data: bytes) -> None:
        """Make the bytes durable under the name."""
        beside = path.with_name(f"{path.name}.{os.getpid()}.new")
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            self._sync(file.fileno())
        beside.replace(path)
        self._sync_folder()

    def _sync(self, handle: int) -> None:
        """Make the bytes of an open file durable."""
        os.fsync(handle)

    def _sync_folder(self) -> None:
        """Make the names durable."""
        sync_folder(self.folder)

    def _receipt(self, entry: ArchiveEntry, digest: Digest, outcome: Stored) -> Receipt:
        """What is given for an entry."""
        receipt = Receipt.for_entry(
            entry,
            sink=self.name,
            location=entry.id.hex,
            outcome=outcome,
            durability=Durability.MEDIA,
        )
        return evolve(receipt, stored_digest=digest)

    def _missing(self) -> SinkCorrupt:
        """The error for an entry that is not there."""
        return SinkCorrupt("nothing of that receipt is there", suggestions=["verify the archive"])


# -- identity ---------------------------------------------------------------------------------


class StoresAgain(OneFileEach):
    """Does not look whether an entry is there."""

    @override
    def _known(self, path: Path) -> bytes | None:
        return None


class OneFileAnItem(OneFileEach):
    """Names files after the item at the source, so that a later version takes its place."""

    @override
    def _path(self, entry: ArchiveEntry) -> Path:
        return self.folder / entry.copy.digest.hex

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        self._write(self._path(entry), entry.raw)
        return evolve(
            self._receipt(entry, entry.raw_digest, Stored.STORED),
            location=entry.copy.digest.hex,
        )

    @override
    def _read(self, receipt: Receipt) -> bytes:
        found = self._known(self.folder / receipt.location)
        if found is None:
            raise self._missing()
        return found


class OverwritesOnConflict(OneFileEach):
    """Takes the newest rendering of an item for the best one."""

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        outcome = Stored.STORED if self._known(self._path(entry)) is None else Stored.PRESENT
        self._write(self._path(entry), entry.raw)
        return self._receipt(entry, entry.raw_digest, outcome)


class BelievesMessageIds(OneFileEach):
    """Takes two messages with one Message-ID for one."""

    @override
    def _path(self, entry: ArchiveEntry) -> Path:
        spoken = (entry.envelope.message_id or "").encode("utf-8", "surrogatepass")
        return self.folder / Digest.of(spoken).hex

    @override
    def _receipt(self, entry: ArchiveEntry, digest: Digest, outcome: Stored) -> Receipt:
        place = self._path(entry).name
        return evolve(super()._receipt(entry, entry.raw_digest, outcome), location=place)

    @override
    def _read(self, receipt: Receipt) -> bytes:
        return self._known(self.folder / receipt.location) or b""


class KeepsTheLatestCopy(OneFileEach):
    """Stores equal bytes once, and knows them by the copy that came last alone."""

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        receipt = super()._put(entry)
        for other in self.folder.iterdir():
            if other.name != entry.id.hex and other.read_bytes() == entry.raw:
                other.unlink()
        return receipt


class ForgetsTheOldest(OneFileEach):
    """Remembers what it stored in a list that is too short, and numbers the files."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Begin with an empty list."""
        super().__init__(folder)
        self.latest: deque[Receipt] = deque(maxlen=4)

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        for each in self.latest:
            if each.entry_id == entry.id:
                return evolve(each, outcome=Stored.PRESENT)
        place = str(len(list(self.folder.iterdir())))
        self._write(self.folder / place, entry.raw)
        receipt = self._receipt(entry, entry.raw_digest, Stored.STORED)
        self.latest.append(evolve(receipt, location=place))
        return self.latest[-1]

    @override
    def _read(self, receipt: Receipt) -> bytes:
        return (self.folder / receipt.location).read_bytes()


# -- fidelity ---------------------------------------------------------------------------------


class NormalisesLineEnds(OneFileEach):
    """Ends every line with CRLF."""

    @override
    def _form(self, raw: bytes) -> bytes:
        return raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


class StopsAtNul(OneFileEach):
    """Takes a message for a text of C."""

    @override
    def _form(self, raw: bytes) -> bytes:
        return raw.partition(b"\0")[0]


class KnowsSevenBits(OneFileEach):
    """Takes a message for ASCII."""

    @override
    def _form(self, raw: bytes) -> bytes:
        return raw.decode("ascii", "replace").encode("ascii", "replace")


class MindsTheEnd(OneFileEach):
    """Ends every message with a line end."""

    @override
    def _form(self, raw: bytes) -> bytes:
        return raw if raw.endswith(b"\n") or not raw else raw + b"\n"


class QuotesFrom(OneFileEach):
    """Writes `>From ` for `From `, as into an mbox, and leaves it so."""

    @override
    def _form(self, raw: bytes) -> bytes:
        return raw.replace(b"\nFrom ", b"\n>From ")


class TakesDotsAway(OneFileEach):
    """Takes a message for the data of an SMTP command."""

    @override
    def _form(self, raw: bytes) -> bytes:
        return raw.replace(b"\n.", b"\n")


class CutsLargeMessages(OneFileEach):
    """Stores the first 4 MiB of a message."""

    @override
    def _form(self, raw: bytes) -> bytes:
        return raw[: 4 << 20]


class NamesFilesAfterMails(OneFileEach):
    """Makes the name of a file out of the Message-ID."""

    @override
    def _path(self, entry: ArchiveEntry) -> Path:
        return self.folder / f"{entry.envelope.message_id}"


class SaysAnotherDigest(OneFileEach):
    """Gives a receipt over bytes that it does not have."""

    @override
    def _receipt(self, entry: ArchiveEntry, digest: Digest, outcome: Stored) -> Receipt:
        return super()._receipt(entry, Digest.of(entry.content[:-1]), outcome)


class PromisesLess(OneFileEach):
    """Says of itself what none of its receipts says."""

    @override
    def _receipt(self, entry: ArchiveEntry, digest: Digest, outcome: Stored) -> Receipt:
        return evolve(super()._receipt(entry, digest, outcome), durability=Durability.BUFFERED)


# -- survival ---------------------------------------------------------------------------------


class AcknowledgesBeforeSync(OneFileEach):
    """Leaves the bytes to the kernel."""

    @override
    def _sync(self, handle: int) -> None:
        del handle


class ForgetsTheFolder(OneFileEach):
    """Syncs the file, and not the folder that has its name."""

    @override
    def _sync_folder(self) -> None:
        pass


class SyncsTheLastOfABatch(OneFileEach):
    """Takes one sync for a batch of files to be enough."""

    @override
    def _put_many(self, entries: Sequence[ArchiveEntry]) -> Iterator[Receipt]:
        for number, entry in enumerate(entries, 1):
            self.hurry: bool = number < len(entries)
            yield self._put(entry)

    @override
    def _sync(self, handle: int) -> None:
        if not self.hurry:
            super()._sync(handle)


class AcknowledgesFromItsBuffer(OneFileEach):
    """Keeps what it acknowledged in memory until it has enough, or is closed."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Begin with an empty buffer."""
        super().__init__(folder)
        self.buffer: dict[Path, bytes] = {}

    @override
    def _write(self, path: Path, data: bytes) -> None:
        self.buffer[path] = data
        if len(self.buffer) > len("enough"):
            self.flush()

    @override
    def _known(self, path: Path) -> bytes | None:
        return self.buffer.get(path) or super()._known(path)

    def flush(self) -> None:
        """Write what is in the buffer."""
        for path, data in self.buffer.items():
            super()._write(path, data)
        self.buffer.clear()

    @override
    def _close(self) -> None:
        self.flush()


class AsksAgainForASync(OneFileEach):
    """Believes the second answer to a sync."""

    @override
    def _sync(self, handle: int) -> None:
        try:
            os.fsync(handle)
        except OSError:
            os.fsync(handle)


class DisregardsTheSync(OneFileEach):
    """Asks for a sync, and does not look at the answer."""

    @override
    def _sync(self, handle: int) -> None:
        with contextlib.suppress(OSError):
            os.fsync(handle)


class CleansUpWhatIsUncertain(OneFileEach):
    """Removes the file where something went wrong, whoever wrote it."""

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        try:
            return super()._put(entry)
        except OSError:
            self._path(entry).unlink(missing_ok=True)
            raise


class WritesInPlace(OneFileEach):
    """Writes under the final name from the first byte on."""

    @override
    def _write(self, path: Path, data: bytes) -> None:
        with path.open("wb", buffering=0) as file:
            for start in range(0, len(data), 512):
                file.write(data[start : start + 512])
            self._sync(file.fileno())
        self._sync_folder()

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        if self._path(entry).exists():
            return self._receipt(entry, entry.raw_digest, Stored.PRESENT)
        return super()._put(entry)


class BelievesTheDead(OneFileEach):
    """Takes what it finds for what was synced, though its writer may have died before."""

    @override
    def _write(self, path: Path, data: bytes) -> None:
        with path.open("wb", buffering=0) as file:
            file.write(data)
            self._sync(file.fileno())
        self._sync_folder()


class ForgetsWhenClosed(OneFileEach):
    """Has a folder of its own each time."""

    @override
    def _open(self) -> None:
        self.folder: Path = self.folder / f"{os.getpid()}-{time.monotonic_ns()}"
        super()._open()


class NotesWhatItHasAtTheEnd(OneFileEach):
    """Writes the list of what it stored when it is closed, and believes the list."""

    listed: frozenset[str] = frozenset()

    @override
    def _open(self) -> None:
        super()._open()
        with contextlib.suppress(FileNotFoundError):
            self.listed = frozenset((self.folder.parent / "list").read_text().split())

    @override
    def _close(self) -> None:
        (self.folder.parent / "list").write_text(" ".join(self.listed))

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        if entry.id.hex in self.listed:
            return super()._put(entry)
        self._write(self._path(entry), entry.raw)
        self.listed |= {entry.id.hex}
        return self._receipt(entry, entry.raw_digest, Stored.STORED)


# -- honesty ----------------------------------------------------------------------------------


class ClaimsToRead(OneFileEach):
    """Says that it can be read back."""

    @override
    def _read(self, receipt: Receipt) -> bytes:
        return Sink._read(self, receipt)  # noqa: SLF001 - what a sink has that has nothing


class VerifiesAgainstItself(OneFileEach):
    """Keeps the digest beside the bytes, and asks nobody else."""

    @override
    def _write(self, path: Path, data: bytes) -> None:
        super()._write(path, data)
        super()._write(path.with_suffix(".sha256"), Digest.of(data).value)

    @override
    def _read(self, receipt: Receipt) -> bytes:
        path = self.folder / os.path.basename(receipt.location.strip("\0") or "-")  # noqa: PTH119 - it may be anything
        found = self._known(path)
        if found is None or Digest.of(found).value != self._known(path.with_suffix(".sha256")):
            raise self._missing()
        return found


class LetsErrorsOut(OneFileEach):
    """Has a dictionary where it should have an answer."""

    @override
    def _read(self, receipt: Receipt) -> bytes:
        found = {path.name: path for path in self.folder.iterdir()}
        return found[receipt.entry_id.hex].read_bytes()


class Panic(BaseException):
    """What a library in another language may raise: no `Exception` at all."""


class Panics(OneFileEach):
    """Lets out what no `except Exception` catches."""

    @override
    def _form(self, raw: bytes) -> bytes:
        if not raw:
            raise Panic
        return raw


class RacesWithItself(OneFileEach):
    """Looks, and then acts, and says that threads may do so at once."""

    capabilities: SinkCapabilities = SinkCapabilities(
        reads=True, durability=Durability.MEDIA, concurrent_puts=True
    )

    @override
    def _write(self, path: Path, data: bytes) -> None:
        time.sleep(0.05)  # the others look meanwhile
        beside = path.with_name(f"{path.name}.{threading.get_ident()}")
        beside.write_bytes(data)
        beside.replace(path)


class CountsFromWhenItWasOpened(OneFileEach):
    """Numbers its files, and believes that nobody else adds any."""

    @override
    def _open(self) -> None:
        super()._open()
        self.places: dict[bytes, str] = {
            path.read_bytes()[:64]: path.name for path in self.folder.iterdir()
        }

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        digits = entry.id.hex.encode()
        known = digits in self.places
        place = self.places.setdefault(digits, str(len(self.places)))
        if not known:
            self._write(self.folder / place, digits + entry.raw)
        outcome = Stored.PRESENT if known else Stored.STORED
        return evolve(self._receipt(entry, entry.raw_digest, outcome), location=place)

    @override
    def _read(self, receipt: Receipt) -> bytes:
        found = (self._known(self.folder / receipt.location) or b"")[64:]
        if Digest.of(found) != receipt.stored_digest:
            raise self._missing()
        return found


class ShowsOthersMail(OneFileEach):
    """Finds a user's mail by how the user's name begins."""

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        receipt = super()._put(entry)
        names = "\n".join(entry.ownership.users).encode()
        self._write(self.folder.parent / f"{entry.id.hex}.owners", names)
        return receipt

    def of(self, user: str) -> Iterator[bytes]:
        """Yield what the user is shown."""
        for path in self.folder.parent.glob("*.owners"):
            if any(name.startswith(user) for name in path.read_text().split("\n")):
                yield (self.folder / path.stem).read_bytes()


class LeavesFilesOpen(OneFileEach):
    """Never closes what it read."""

    opened: ClassVar[list[int]] = []  # shared by all, which is the fault

    @override
    def _open(self) -> None:
        super()._open()
        self.opened.append(os.open(self.folder, os.O_RDONLY))


class KeepsEverything(OneFileEach):
    """Remembers every message that it stored."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Begin with none."""
        super().__init__(folder)
        self.kept: list[bytes] = []

    @override
    def _write(self, path: Path, data: bytes) -> None:
        super()._write(path, data)
        self.kept.append(bytes(bytearray(data)))


class AnswersInItsOwnWay(OneFileEach):
    """Gives each receipt of a batch to the entry after it."""

    @override
    def _put_many(self, entries: Sequence[ArchiveEntry]) -> Iterable[Receipt]:
        receipts = [self._put(entry) for entry in entries]
        turned = receipts[1:] + receipts[:1]
        return [
            evolve(receipt, entry_id=entry.id)
            for entry, receipt in zip(entries, turned, strict=True)
        ]


@frozen
class Broken:
    """A broken sink, the law that catches it, and words that are in what the law says."""

    sink: type[OneFileEach]
    law: Law
    fault: str


BROKEN = (
    Broken(StoresAgain, laws.an_entry_is_stored_once, "a second time"),
    Broken(AnswersInItsOwnWay, laws.an_entry_is_stored_once, "ReceiptMismatch"),
    Broken(OneFileAnItem, laws.other_bytes_of_one_item_are_both_kept, "with other bytes"),
    Broken(OverwritesOnConflict, laws.a_rendered_item_keeps_its_first_bytes, "first receipt"),
    Broken(BelievesMessageIds, laws.a_message_id_is_no_identity, "same Message-ID"),
    Broken(
        KeepsTheLatestCopy, laws.equal_bytes_of_two_copies_are_both_acknowledged, "SinkCorrupt"
    ),
    Broken(ForgetsTheOldest, laws.any_order_and_any_split_gives_one_archive, "stored twice"),
    Broken(NormalisesLineEnds, laws.every_byte_comes_back, "bare LF"),
    Broken(StopsAtNul, laws.every_byte_comes_back, "NUL in the body"),
    Broken(KnowsSevenBits, laws.every_byte_comes_back, "every byte there is"),
    Broken(MindsTheEnd, laws.every_byte_comes_back, "a message of one byte"),
    Broken(QuotesFrom, laws.every_byte_comes_back, "From_ lines"),
    Broken(TakesDotsAway, laws.every_byte_comes_back, "begin with a dot"),
    Broken(Panics, laws.every_byte_comes_back, "lets a Panic out"),
    Broken(CutsLargeMessages, laws.a_large_message_comes_back, "a message of"),
    Broken(SaysAnotherDigest, laws.a_receipt_says_what_was_stored, "ReceiptMismatch"),
    Broken(PromisesLess, laws.a_receipt_says_what_was_stored, "promises less"),
    Broken(NamesFilesAfterMails, laws.nothing_in_a_mail_names_a_place, "a file outside"),
    Broken(
        ForgetsWhenClosed,
        laws.what_is_acknowledged_is_there_in_a_new_process,
        "is not there",
    ),
    Broken(
        AcknowledgesFromItsBuffer,
        laws.a_killed_process_loses_nothing_acknowledged,
        "is not there",
    ),
    Broken(WritesInPlace, laws.a_killed_process_loses_nothing_acknowledged, "killed"),
    Broken(NotesWhatItHasAtTheEnd, laws.a_lost_reply_harms_nothing, "a second time"),
    Broken(CleansUpWhatIsUncertain, laws.a_failed_put_leaves_nothing_half, "is not there"),
    Broken(WritesInPlace, laws.a_failed_put_leaves_nothing_half, "after a put that failed"),
    Broken(AcknowledgesBeforeSync, laws.acknowledged_means_on_the_medium, "were synced"),
    Broken(SyncsTheLastOfABatch, laws.acknowledged_means_on_the_medium, "were synced"),
    Broken(ForgetsTheFolder, laws.acknowledged_means_on_the_medium, "names of the files"),
    Broken(AcknowledgesFromItsBuffer, laws.acknowledged_means_on_the_medium, "were synced"),
    Broken(
        BelievesTheDead, laws.what_a_dead_writer_left_is_synced_before_it_counts, "a writer left"
    ),
    Broken(AsksAgainForASync, laws.a_failed_sync_is_never_asked_again, "second answer"),
    Broken(DisregardsTheSync, laws.a_failed_sync_is_never_asked_again, "all the same"),
    Broken(ClaimsToRead, laws.reading_is_as_the_capabilities_say, "and cannot"),
    Broken(VerifiesAgainstItself, laws.what_is_read_is_what_the_receipt_says, "another message"),
    Broken(LetsErrorsOut, laws.a_receipt_of_nothing_is_an_error, "KeyError out"),
    Broken(RacesWithItself, laws.several_threads_may_put_at_once, "threads stored one entry"),
    Broken(CountsFromWhenItWasOpened, laws.two_sinks_may_be_open_at_once, "another sink"),
    Broken(ShowsOthersMail, laws.nobody_sees_the_mail_of_others, "mail of another one"),
    Broken(LeavesFilesOpen, laws.an_open_and_a_close_leave_nothing_open, "a file open"),
    Broken(KeepsEverything, laws.memory_is_bounded, "of memory"),
)
"""Which law catches which; every law catches somebody."""
