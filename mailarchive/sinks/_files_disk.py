"""Writing files so that what was acknowledged is there, whole, after a loss of power.

A file is written beside, synced, renamed, and then its folder is synced.  A sync that
failed is never repeated for the same bytes or names: the kernel has forgotten what it was to
make durable, and says yes the second time, to this process and to any other until the machine
starts anew.  So what is under way is noted in the locked file; whoever finds such a note
writes those entries anew, under a name that is made anew, before anything else.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, final

from typing_extensions import override

from mailarchive._durable import sync_folder
from mailarchive._model import Digest, Durability, Fidelity, SinkCapabilities
from mailarchive.abc import Sink
from mailarchive.errors import SinkCorrupt, SinkError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mailarchive._model import ArchiveEntry, Receipt, Rejected

DURABILITY = Durability.MEDIA if sys.platform == "linux" else Durability.PROCESS
"""What a file survives that was written so; elsewhere it has not been tried."""

_BESIDE = "mailarchive-"
NUMBER_OCTETS: Final = 16
"""What stands in a locked file before the note of what is under way: a Maildir's number."""
_ID_OCTETS: Final = 32


@final
class Alone:
    """One writer at a time, among the threads and the processes of this machine."""

    def __init__(self, path: Path) -> None:
        """Lock the file `path`, which is made where it is missing."""
        self._thread = threading.Lock()
        self.handle: int = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.handle)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Wait until nobody else writes, and keep others waiting."""
        with self._thread:
            fcntl.flock(self.handle, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self.handle, fcntl.LOCK_UN)


class OneWriter(Sink):
    """A sink into files that one writer at a time may change; threads may share it."""

    def __init__(self, name: str) -> None:
        """Begin closed."""
        self.name: str = name
        self.capabilities: SinkCapabilities = SinkCapabilities(
            reads=True, durability=DURABILITY, concurrent_puts=True
        )
        self._alone: Alone | None = None

    def _lock(self, path: Path) -> Alone:
        """Open the file that is locked while somebody writes."""
        self._alone = Alone(path)
        return self._alone

    def _opened(self) -> Alone:
        if self._alone is None:
            raise closed(self.name)
        return self._alone

    @override
    def _close(self) -> None:
        alone, self._alone = self._alone, None
        if alone is not None:
            alone.close()

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt | Rejected:
        (answer,) = self._put_many((entry,))
        return answer


@contextlib.contextmanager
def under_way(handle: int, entries: Iterable[ArchiveEntry]) -> Iterator[frozenset[Digest]]:
    """Note in the locked file what is stored inside, and give the entries that are in doubt.

    They are those that somebody noted whose sync failed, or who died before it.  They have
    to be renewed inside; else, and where this ends in an error, they are in doubt still.
    """
    noted = _noted(handle)
    os.lseek(handle, NUMBER_OCTETS + _ID_OCTETS * len(noted), os.SEEK_SET)
    # Not synced: what the note guards against ends when power does.
    write_all(handle, b"".join(each.id.value for each in entries))
    yield frozenset(noted)
    os.ftruncate(handle, NUMBER_OCTETS)


def _noted(handle: int) -> list[Digest]:
    note = os.pread(handle, os.fstat(handle).st_size, NUMBER_OCTETS)
    whole = len(note) - len(note) % _ID_OCTETS
    return [Digest(note[at : at + _ID_OCTETS]) for at in range(0, whole, _ID_OCTETS)]


def renew(path: Path, data: bytes, beside: Path) -> None:
    """Write a file anew by way of the folder `beside`, so that its bytes and its name are new."""
    when = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    write_beside(beside, data, when).rename(path)


def write_beside(folder: Path, data: bytes, when: datetime | None) -> Path:
    """Write a file of a name of its own in `folder`, make it durable, and return its path.

    Its time of change becomes `when`.  What could not be written whole is not left there.
    """
    path = folder / f"{_BESIDE}{secrets.token_hex(16)}"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        write_all(handle, data)
        if when is not None:
            stamp = when.timestamp()
            os.utime(handle, (stamp, stamp))
        os.fsync(handle)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to tell
            path.unlink()
        raise
    finally:
        os.close(handle)
    return path


def write_all(handle: int, data: bytes) -> None:
    """Write all of `data` where the file stands."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def settle(folder: Path) -> None:
    """Make the names in a folder durable, and every name on the way to it.

    Whoever made one of them may have died before it was.
    """
    device = folder.stat().st_dev
    for each in (folder, *folder.absolute().parents):
        if each.stat().st_dev != device:
            return
        try:
            sync_folder(each)
        except PermissionError:
            return  # then no process of this user can have made a name in it


def sweep(folder: Path) -> None:
    """Remove what a writer left behind that died; to be called while nobody else writes."""
    for path in folder.glob(f"{_BESIDE}*"):
        path.unlink(missing_ok=True)


def closed(name: str) -> SinkError:
    """Return the error for the use of a sink that is not open."""
    return SinkError(f"sink {name} is not open", suggestions=["use it inside its with block"])


def strange(name: str) -> SinkCorrupt:
    """Return the error for a receipt that nothing here belongs to."""
    return SinkCorrupt(
        f"sink {name} holds nothing that belongs to this receipt",
        suggestions=["is this the archive that gave it? restore what is missing from a copy"],
    )


def checked(name: str, found: bytes, receipt: Receipt) -> bytes:
    """Return what was found, which must be what the receipt is of."""
    if Digest.of(found) != receipt.stored_digest:
        raise damaged(name)
    return found


def digest_of_present(name: str, found: bytes, entry: ArchiveEntry) -> Digest:
    """Return the digest of what is there for an entry; raises where it is not what was put.

    Of a rendered item other bytes may be there, those of its first rendering.
    """
    digest = Digest.of(found)
    if digest != entry.raw_digest and entry.provenance.fidelity is Fidelity.WIRE:
        raise damaged(name)
    return digest


def damaged(name: str) -> SinkCorrupt:
    """Return the error for a file that is not what was put there."""
    return SinkCorrupt(
        f"sink {name}: a file is not what was stored in it",
        suggestions=[
            "restore it from a copy of the archive",
            "or move it away: what the source still has is stored anew",
        ],
    )
