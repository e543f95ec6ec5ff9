"""Reading entries back: the index finds, and the pack decides.

What an entry is and whose it is is read from its manifest, whose name is its digest; a
line in the index alone gives nobody a message.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

from mailarchive import headers
from mailarchive._model import Digest, Ownership, Span
from mailarchive.errors import KeyUnavailable, SinkCorrupt
from mailarchive.vault import _disk, _tar
from mailarchive.vault._errors import erased, index_disagrees, os_errors
from mailarchive.vault._grants import Grant
from mailarchive.vault._manifest import BAD_JSON, GRANTED, Fact
from mailarchive.vault._record import PRIVATE_HEADERS

if TYPE_CHECKING:
    from collections.abc import Collection

    from mailarchive._model import Owner, UserId
    from mailarchive.vault._index import Found, Index, Line
    from mailarchive.vault._manifest import Manifest
    from mailarchive.vault._note import LogCheckpoint
    from mailarchive.vault._packs import Opener, Packs
    from mailarchive.vault._prove import Proving
    from mailarchive.vault._record import Record
    from mailarchive.vault.proofs import InclusionProof

_KEPT = 16
"""Manifests kept in memory: messages of one time stand in a few of them."""


def location(found: Found) -> str:
    """Return where an entry's bytes are: volume, pack and member."""
    return f"{found.volume}/{found.pack}.tar/{found.stored.name}"


class Reading:
    """Reads manifests and messages of one open vault; may be shared by threads."""

    def __init__(self, vault: str, packs: Packs, index: Index, proving: Proving) -> None:
        """Read what `index` finds in `packs`; `proving` shows that it is in the log."""
        self.vault = vault
        self.packs = packs
        self.index = index
        self.proving = proving
        self.opener: Opener | None = None
        self._manifests: OrderedDict[Digest, Manifest] = OrderedDict()
        self._lock = threading.Lock()

    def manifest(self, line: Line) -> Manifest:
        """Return the manifest that the line is in; raises `SinkCorrupt`, `SinkError`."""
        with self._lock:
            known = self._manifests.get(line.batch)
            if known is not None:
                self._manifests.move_to_end(line.batch)
                return known
        with os_errors("reading a manifest"), self.packs.open(line.pack) as pack:
            manifest = pack.manifest(line.offset)
        if manifest.digest != line.batch:
            raise index_disagrees("another manifest stands there")
        with self._lock:
            self._manifests[line.batch] = manifest
            while len(self._manifests) > _KEPT:
                self._manifests.popitem(last=False)
        return manifest

    def record(self, line: Line, user: UserId | None = None) -> Record:
        """Return the entry on a line; raises `SinkCorrupt`, `SinkError`.

        In an encrypted vault it is opened with the key of `user`, or with the vault's own.
        """
        del user
        try:
            return self.manifest(line).entry(line.line)
        except BAD_JSON as error:
            raise index_disagrees("no entry stands on that line") from error

    def entry_id(self, n: int, known_as: Digest) -> Digest:
        """Return the id of the entry that the index numbers and calls so."""
        del n
        return known_as

    def ids(self, beginning: str) -> list[Digest]:
        """Return the ids of entries that begin so in hexadecimal, two of them at most."""
        query = "SELECT id FROM entry WHERE hex(id) LIKE ? || '%' LIMIT 2"
        return [Digest(id_) for (id_,) in self.index.rows(query, (beginning,))]

    def fact(self, line: Line) -> Fact:
        """Return the fact on a line; raises `SinkCorrupt`, `SinkError`."""
        try:
            found = self.manifest(line).fact(line.line)
        except BAD_JSON as error:
            raise index_disagrees("no fact stands on that line") from error
        return found

    def proof(
        self, line: Line, show: Collection[str], checkpoint: LogCheckpoint | None
    ) -> InclusionProof:
        """Return the proof for what stands on a line; see `Proving.line`."""
        return self.proving.line(self.manifest(line), line.line, show, checkpoint)

    def ownership(self, line: Line) -> Ownership:
        """Return whose the entry on a line is, by the entry and by what was granted since.

        Raises `SinkCorrupt`, `SinkError`.
        """
        first = self.record(line).ownership
        lines = self.index.lines(
            "t.entry = ? AND t.kind = ? ORDER BY t.n", (line.n, GRANTED), table="fact"
        )
        later: list[Owner] = []
        try:
            for fact in map(self.fact, lines):
                with suppress(*BAD_JSON):  # then it grants nothing, and `verify` names it
                    later += Grant.load(fact).owners
        except KeyUnavailable:
            if self.index.is_erased(line):
                return first  # the key to it was destroyed with the message's
            raise
        if not later:
            return first
        known = frozenset(chain(*(owner.addresses for owner in later)))
        return Ownership((*first.owners, *later), first.unresolved - known)

    def stored(self, digest: Digest) -> bytes:
        """Return the bytes with this digest, compared with it; raises `SinkCorrupt`."""
        found = self.index.objects((digest,)).get(digest)
        if found is None and self._was_erased(digest):
            raise erased()
        if found is None:
            raise SinkCorrupt(
                "the bytes of an entry are in no pack of the index",
                suggestions=["rebuild the index, and verify the vault"],
            )
        return self.at(found)

    def _was_erased(self, raw: Digest) -> bool:
        query = "SELECT 1 FROM entry WHERE raw = ? AND erased LIMIT 1"
        return bool(self.index.rows(query, (self.index.name(raw).value,)))

    def at(self, found: Found, *, from_medium: bool = False) -> bytes:
        """Return the bytes that are stored there; raises `SinkCorrupt`, `SinkError`."""
        stored = found.stored
        with os_errors("reading a message"), self.packs.open(found.pack) as pack:
            if from_medium:
                _disk.evict(pack.handle, stored.offset, _tar.member_size(stored.stored_size))
            return pack.unpacked(stored, self.opener)

    def originals(self, record: Record) -> tuple[bytes, ...]:
        """Return every original of an entry; raises `SinkCorrupt`."""
        spans = any(isinstance(each, Span) for each in record.originals)
        raw = self.stored(record.raw) if spans else b""
        return tuple(
            _cut(raw, each) if isinstance(each, Span) else self.stored(each.digest)
            for each in record.originals
        )

    def content(self, record: Record) -> bytes | None:
        """Return the message that people read; `None` for a report that holds none.

        Raises `SinkCorrupt`.
        """
        if record.content_size is None:
            return None
        if not record.originals:
            return self.stored(record.raw)
        first = record.originals[0]
        if isinstance(first, Span):
            return _cut(self.stored(record.raw), first)
        return self.stored(first.digest)

    def public(self, record: Record) -> bytes | None:
        """Return the message as every owner may read it; raises as `content` does.

        `None` also where there is somebody who may not read it at all.
        """
        content = None if record.opaque else self.content(record)
        return None if content is None else headers.without(content, PRIVATE_HEADERS)


def _cut(raw: bytes, span: Span) -> bytes:
    if not span.start <= span.end <= len(raw):
        raise SinkCorrupt(
            "an original is outside of the message that it should be a part of",
            suggestions=["verify the vault"],
        )
    return span.of(raw)
