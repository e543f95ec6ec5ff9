"""A message on its way into an archive, and its identity there."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive._model._digest import Digest, hint
from mailarchive._model._envelope import Span
from mailarchive._model._source import Fidelity

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from typing import Self

    from mailarchive._model._envelope import Delivery, Envelope, Original
    from mailarchive._model._owner import Ownership
    from mailarchive._model._source import Folder, MessageRef


@frozen
class Provenance:
    """Where an entry's bytes come from and what was noticed while reading them."""

    fidelity: Fidelity
    is_report: bool = False
    defects: tuple[str, ...] = ()
    delivery: Delivery | None = None


@frozen
class Copy:
    """Which copy at which source this is; made by the core, never by a sink."""

    source: str
    folder: str = field(repr=lambda key: "#" + hint(key))
    key: str
    revision: str | None = None

    @classmethod
    def of(cls, ref: MessageRef) -> Self:
        """Return the copy that `ref` points at."""
        return cls(ref.source, ref.folder, ref.key, ref.revision)

    @property
    def digest(self) -> Digest:
        """A name for this copy that is safe anywhere; no two copies share it."""
        return Digest.of(_length_prefixed([b"mailarchive/1", *self._parts()]))

    def _parts(self) -> Iterable[bytes]:
        for name in (self.source, self.folder, self.key, self.revision or ""):
            yield name.encode("utf-8", "surrogatepass")


def _length_prefixed(parts: Iterable[bytes]) -> bytes:
    return b"".join(struct.pack(">Q", len(part)) + part for part in parts)


def entry_id(copy: Copy, raw_digest: Digest, fidelity: Fidelity) -> Digest:
    """Return the identity of an entry; a Message-ID is no part of it.

    `WIRE` bytes are part of the identity: other bytes of one item are another entry.
    `RENDERED` bytes are not, since two fetches of one unchanged item may differ.
    """
    if fidelity is Fidelity.RENDERED:
        return copy.digest
    return Digest.of(_length_prefixed([copy.digest.value, raw_digest.value]))


@frozen(eq=False)
class Digested:
    """Bytes and the digest that was taken of them; nothing else can be said by it."""

    raw: bytes = field(repr=False)
    digest: Digest = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Take the digest."""
        object.__setattr__(self, "digest", Digest.of(self.raw))


@frozen
class ArchiveEntry:
    """A message on its way into an archive, with everything that is known about it.

    `raw` is the record.  `fork_key` is equal for forks of one message (several journal
    reports of it, or its copies in several mailboxes), so that a view can show them once;
    it is no identity, and nothing is ever dropped for its sake.  `digested`, where it is
    given, spares a sink that trusts nobody to take the digest once more.
    """

    id: Digest
    raw: bytes = field(repr=False)
    raw_digest: Digest
    originals: tuple[Original, ...] = field(repr=False)
    envelope: Envelope
    ownership: Ownership
    copy: Copy
    folder: Folder
    fork_key: Digest
    received_at: datetime | None = None
    flags: frozenset[str] = frozenset()
    provenance: Provenance = Provenance(Fidelity.WIRE)
    digested: Digested | None = field(default=None, repr=False, eq=False)

    def has_its_digest(self) -> bool:
        """Whether `raw_digest` is that of `raw`."""
        known = self.digested
        if known is not None and known.raw is self.raw:
            return known.digest == self.raw_digest
        return Digest.of(self.raw) == self.raw_digest

    @property
    def content(self) -> bytes:
        """The message that people read: the first original, else the raw bytes."""
        if not self.originals:
            return self.raw
        first = self.originals[0]
        return first.of(self.raw) if isinstance(first, Span) else first
