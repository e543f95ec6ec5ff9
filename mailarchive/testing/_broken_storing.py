"""Sinks that are broken in what they store and in what they say of it."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, ClassVar

from attrs import evolve
from typing_extensions import override

from mailarchive._model import Digest, Durability, Receipt, SinkCapabilities, Stored
from mailarchive.abc import Sink
from mailarchive.testing._one_file_each import OneFileEach

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mailarchive._model import ArchiveEntry

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
