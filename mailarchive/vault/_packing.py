"""From entries to what a batch stores: checked, compressed, and described."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive._model import Digest, Rejected, Span
from mailarchive.vault import _record, _zstd
from mailarchive.vault._record import StoredOriginal
from mailarchive.vault._writer import Packed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailarchive._model import ArchiveEntry
    from mailarchive.vault._record import Record

_MOST_THREADS = 4


@frozen
class Prepared:
    """An entry ready to be stored: its record, and every part of it that has bytes."""

    record: Record
    parts: dict[Digest, bytes] = field(repr=False)
    packed: dict[Digest, Packed] = field(repr=False)


class Packing:
    """Prepares entries, several at a time: zstd and SHA-256 let other threads run."""

    def __init__(self, level: int, is_stored: Callable[[Digest], bool]) -> None:
        """Compress at `level` whatever is not stored yet."""
        self._level = level
        self._is_stored = is_stored
        self._threads = ThreadPoolExecutor(
            min(_MOST_THREADS, os.cpu_count() or 1), thread_name_prefix="mailarchive-zstd"
        )

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)

    def prepare(self, entries: Sequence[ArchiveEntry]) -> list[Prepared | Rejected]:
        """Return each entry ready to be stored, or why it cannot be.

        Threads do what lets other threads run, and only that: Python in several threads
        would wait for itself.
        """
        work = map if len(entries) == 1 else self._threads.map
        known = [self._is_stored(entry.raw_digest) for entry in entries]
        return [
            made if isinstance(made, Rejected) else _described(entry, made)
            for entry, made in zip(entries, work(self._packed, entries, known), strict=True)
        ]

    def pack(self, digest: Digest, data: bytes) -> Packed:
        """Return bytes in their stored form."""
        frame = _zstd.compress(data, self._level)
        return Packed(digest, len(data), Digest.of(frame), frame)

    def _packed(self, entry: ArchiveEntry, known: bool) -> Rejected | _Parts:
        fault = _fault(entry)
        if fault is not None:
            return Rejected(entry.id, fault)
        parts = {entry.raw_digest: entry.raw}
        stored: dict[int, StoredOriginal] = {}
        for position, original in enumerate(entry.originals):
            if not isinstance(original, Span):
                digest = Digest.of(original)
                parts[digest] = original
                stored[position] = StoredOriginal(digest, len(original))
        packed = {
            digest: self.pack(digest, data)
            for digest, data in parts.items()
            if not (known if digest == entry.raw_digest else self._is_stored(digest))
        }
        return _Parts(parts, packed, stored)


@frozen
class _Parts:
    """What an entry has bytes of, and which of its originals are stored by themselves."""

    data: dict[Digest, bytes] = field(repr=False)
    packed: dict[Digest, Packed] = field(repr=False)
    originals: dict[int, StoredOriginal]


def _described(entry: ArchiveEntry, made: _Parts) -> Prepared:
    return Prepared(_record.record_of(entry, made.originals), made.data, made.packed)


def _fault(entry: ArchiveEntry) -> str | None:
    """Why a vault cannot keep this entry as it is, or `None`."""
    own = [each for each in entry.originals if not isinstance(each, Span)]
    if max(map(len, (entry.raw, *own))) > _zstd.LARGEST:
        return "larger than a vault can store"
    if Digest.of(entry.raw) != entry.raw_digest:
        return "its digest is not that of its bytes"
    spans = (each for each in entry.originals if isinstance(each, Span))
    if any(not 0 <= span.start <= span.end <= len(entry.raw) for span in spans):
        return "an original is no part of its bytes"
    return None
