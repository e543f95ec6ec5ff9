"""From entries to what a batch stores: checked, compressed, and described."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias

from attrs import field, frozen

from mailarchive._model import Digest, Rejected, Span
from mailarchive._portions import portions, threads
from mailarchive.vault import _manifest_bounds, _record, _values, _zstd
from mailarchive.vault._record import StoredOriginal
from mailarchive.vault._writer import Packed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from mailarchive._model import ArchiveEntry
    from mailarchive.vault._record import Record

_MOST_AHEAD = 2
"""Batches that are packed before they are asked for: one that comes next, and one behind it."""

_MOSTLY_ATTACHED, _FAST = range(128 << 10, 1 << 20), 1
"""Bytes of a message that is mostly attachments, and the level for it at the usual one.

Measured on a corpus of business mail: most of a fifth of the time less, and under half a per
cent more room.  Still larger ones repeat themselves farther apart than that level looks.
"""

_LITTLE, _LARGE = 1 << 16, 2 << 20

_Work: TypeAlias = "dict[Digest, Future[list[Packed]]]"


@frozen
class Prepared:
    """An entry ready to be stored: its record, and every part of it that has bytes."""

    record: Record
    parts: dict[Digest, bytes] = field(repr=False)


@frozen
class _Parts:
    """What an entry has bytes of, and which of its originals are stored by themselves."""

    data: dict[Digest, bytes] = field(repr=False)
    originals: dict[int, StoredOriginal]

    @classmethod
    def of(cls, entry: ArchiveEntry) -> _Parts:
        """Return the parts of an entry, each with its digest."""
        data = {entry.raw_digest: entry.raw}
        originals: dict[int, StoredOriginal] = {}
        for position, original in enumerate(entry.originals):
            if not isinstance(original, Span):
                digest = Digest.of(original)
                data[digest] = original
                originals[position] = StoredOriginal(digest, len(original))
        return cls(data, originals)


class Packing:
    """Prepares entries, several at a time: zstd and SHA-256 let other threads run."""

    def __init__(
        self, level: int, are_stored: Callable[[Iterable[Digest]], Collection[Digest]]
    ) -> None:
        """Compress at `level` whatever is not stored yet."""
        self._level = level
        self._are_stored = are_stored
        self._ahead: deque[_Work] = deque(maxlen=_MOST_AHEAD)
        self._lock = threading.Lock()
        self._threads = threads("zstd")
        # A thread keeps the memory that its largest message took: one is enough for those.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mailarchive-zstd-large")

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)
        self._thread.shutdown(cancel_futures=True)

    def begin(self, entries: Iterable[ArchiveEntry]) -> None:
        """Begin to pack what will soon be prepared; what nobody ever takes is forgotten.

        Only what is known to have its digest: it will be looked for under that.
        """
        data = {
            entry.raw_digest: entry.raw
            for entry in entries
            if entry.digested is not None and entry.has_its_digest()
        }
        with self._lock:
            known = set(self._are_stored(data)).union(*self._ahead)
            self._ahead.append(
                self._submitted({key: data[key] for key in data if key not in known})
            )

    def prepare(
        self, entries: Sequence[ArchiveEntry]
    ) -> tuple[list[Prepared | Rejected], dict[Digest, Packed]]:
        """Return each entry ready to be stored, or why it cannot be; and what was packed.

        Threads do what lets other threads run, and only that: Python in several threads
        would wait for itself.  Meanwhile this one describes the entries.
        """
        faults = [_fault(entry) for entry in entries]
        parts = [
            None if fault is not None else _Parts.of(entry)
            for entry, fault in zip(entries, faults, strict=True)
        ]
        data: dict[Digest, bytes] = {}
        for each in parts:
            data.update(each.data if each is not None else {})
        work = self._under_way(data)
        prepared = [
            Rejected(entry.id, fault or "") if made is None else _described(entry, made)
            for entry, fault, made in zip(entries, faults, parts, strict=True)
        ]
        packed = (each for some in dict.fromkeys(work.values()) for each in some.result())
        return prepared, {each.raw: each for each in packed}

    def pack(self, digest: Digest, data: bytes) -> Packed:
        """Return bytes in their stored form."""
        frame = _zstd.compress(data, self._level_for(len(data)))
        return Packed(digest, len(data), Digest.of(frame), frame)

    def _level_for(self, size: int) -> int:
        """The level for so many bytes: attachments are compressed already, and gain nothing."""
        fast = self._level == _zstd.USUAL and size in _MOSTLY_ATTACHED
        return _FAST if fast else self._level

    def _under_way(self, data: Mapping[Digest, bytes]) -> _Work:
        """Pack all of these that are neither packed ahead nor stored."""
        work: _Work = {}
        with self._lock:
            for ahead in self._ahead:
                work.update({digest: ahead.pop(digest) for digest in data if digest in ahead})
        left = [key for key in data if key not in work]
        stored = self._are_stored(left) if left else ()
        work.update(self._submitted({key: data[key] for key in left if key not in stored}))
        return work

    def _submitted(self, data: Mapping[Digest, bytes]) -> _Work:
        """Begin to pack all of these."""
        begun: _Work = {}
        for some in portions(data.items(), _size):
            if len(data) > 1 or len(some[0][1]) > _LITTLE:
                threads = self._thread if len(some[-1][1]) > _LARGE else self._threads
                work = threads.submit(self._pack_all, some)
            else:  # it is not worth a thread's waking
                work = Future()
                work.set_result(self._pack_all(some))
            begun.update((digest, work) for digest, _ in some)
        return begun

    def _pack_all(self, some: Iterable[tuple[Digest, bytes]]) -> list[Packed]:
        return [self.pack(*each) for each in some]


def _size(part: tuple[Digest, bytes]) -> int:
    return len(part[1])


def _described(entry: ArchiveEntry, parts: _Parts) -> Prepared | Rejected:
    """The entry with its record, unless no reader would take what that says."""
    record = _record.record_of(entry, parts.originals)
    if len(record.line) > _manifest_bounds.LONGEST_ENTRY:
        return Rejected(entry.id, "more addresses and names than a vault keeps of one message")
    return Prepared(record, parts.data)


def _fault(entry: ArchiveEntry) -> str | None:
    """Why a vault cannot keep this entry as it is, or `None`."""
    if not _values.is_sound(entry):
        return "a value in it is of another type than it must be"
    own = [each for each in entry.originals if not isinstance(each, Span)]
    if max(map(len, (entry.raw, *own))) > _zstd.LARGEST:
        return "larger than a vault can store"
    if not entry.has_its_digest():
        return "its digest is not that of its bytes"
    spans = (each for each in entry.originals if isinstance(each, Span))
    if any(not 0 <= span.start <= span.end <= len(entry.raw) for span in spans):
        return "an original is no part of its bytes"
    return None
