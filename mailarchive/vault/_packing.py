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
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from mailarchive._model import ArchiveEntry
    from mailarchive.vault._record import Record

_MOST_THREADS = 4
_AT_ONCE = 1 << 19
"""Bytes that a thread packs before it has to wait for its turn again."""


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
        self._threads = ThreadPoolExecutor(
            min(_MOST_THREADS, os.cpu_count() or 1), thread_name_prefix="mailarchive-zstd"
        )

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)

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
        stored = self._are_stored(data)
        packing = self._packed({key: data[key] for key in data if key not in stored})
        prepared = [
            Rejected(entry.id, fault or "")
            if made is None
            else Prepared(_record.record_of(entry, made.originals), made.data)
            for entry, fault, made in zip(entries, faults, parts, strict=True)
        ]
        return prepared, {packed.raw: packed for packed in packing}

    def pack(self, digest: Digest, data: bytes) -> Packed:
        """Return bytes in their stored form."""
        frame = _zstd.compress(data, self._level)
        return Packed(digest, len(data), Digest.of(frame), frame)

    def _packed(self, data: Mapping[Digest, bytes]) -> Iterable[Packed]:
        """Begin to pack all of these, and return what will give them."""
        if len(data) < 2:  # noqa: PLR2004 - one alone is not worth a thread's waking
            return [self.pack(*each) for each in data.items()]
        work = [self._threads.submit(self._pack_all, some) for some in _portions(data)]
        return (packed for each in work for packed in each.result())

    def _pack_all(self, some: Iterable[tuple[Digest, bytes]]) -> list[Packed]:
        return [self.pack(*each) for each in some]


def _portions(data: Mapping[Digest, bytes]) -> Iterator[list[tuple[Digest, bytes]]]:
    """Cut into portions of about `_AT_ONCE` bytes."""
    portion: list[tuple[Digest, bytes]] = []
    size = 0
    for each in data.items():
        portion.append(each)
        size += len(each[1])
        if size >= _AT_ONCE:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _fault(entry: ArchiveEntry) -> str | None:
    """Why a vault cannot keep this entry as it is, or `None`."""
    own = [each for each in entry.originals if not isinstance(each, Span)]
    if max(map(len, (entry.raw, *own))) > _zstd.LARGEST:
        return "larger than a vault can store"
    if not entry.has_its_digest():
        return "its digest is not that of its bytes"
    spans = (each for each in entry.originals if isinstance(each, Span))
    if any(not 0 <= span.start <= span.end <= len(entry.raw) for span in spans):
        return "an original is no part of its bytes"
    return None
