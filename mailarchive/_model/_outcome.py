"""What a sink answers, what became of a message, and how far a folder is done."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, TypeAlias

from attrs import field, frozen

from mailarchive._model._digest import hint
from mailarchive._model._source import Vanished

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Self

    from mailarchive._model._digest import Digest
    from mailarchive._model._entry import ArchiveEntry
    from mailarchive._model._source import MessageRef


class Stored(StrEnum):
    """Whether a put stored something, or found it there already."""

    STORED = "stored"
    PRESENT = "present"


class Durability(IntEnum):
    """What a stored message survives; a larger number survives more."""

    BUFFERED = 0
    """Nothing: the process may not even have written it."""
    PROCESS = 5
    """The end of the process, but no loss of power."""
    MEDIA = 10
    """Loss of power: the bytes are on the medium."""
    REPLICATED = 20
    """Loss of the machine."""


@frozen
class Receipt:
    """A sink's word that it has an entry: what, where, and what it survives.

    `stored_digest` is of the raw bytes that the sink will give back.  `verified` says
    that the sink has read them back from where they are stored, and compared.
    """

    sink: str
    entry_id: Digest
    stored_digest: Digest
    location: str
    outcome: Stored = Stored.STORED
    durability: Durability = Durability.BUFFERED
    verified: bool = False

    @classmethod
    def for_entry(
        cls,
        entry: ArchiveEntry,
        *,
        sink: str,
        location: str,
        outcome: Stored = Stored.STORED,
        durability: Durability = Durability.BUFFERED,
        verified: bool = False,
    ) -> Self:
        """Return the receipt for an entry whose raw bytes are what is stored.

        Of one that is `PRESENT` and rendered, what is stored may be an earlier rendering: its
        receipt has the digest of that, and is not made here.
        """
        return cls(sink, entry.id, entry.raw_digest, location, outcome, durability, verified)


@frozen
class Rejected:
    """The sink will not take this one entry, now or later; others may go on."""

    entry_id: Digest
    reason: str


@frozen
class SinkCapabilities:
    """What a sink promises of every receipt it gives."""

    reads: bool = False
    durability: Durability = Durability.BUFFERED
    concurrent_puts: bool = False


@frozen
class Archived:
    """In the archive, with its receipt."""

    ref: MessageRef
    receipt: Receipt


@frozen
class Quarantined:
    """Kept whole and apart, for the reason given."""

    ref: MessageRef
    receipt: Receipt
    reason: str


@frozen
class Skipped:
    """Left out on purpose."""

    ref: MessageRef
    why: str


@frozen
class Failed:
    """Not archived; waits on the checkpoint's retry list."""

    ref: MessageRef
    reason: str


Outcome: TypeAlias = Archived | Quarantined | Skipped | Vanished | Failed
"""What became of one listed message."""


@frozen
class Removed:
    """Removed at the source."""

    ref: MessageRef


@frozen
class Kept:
    """Still at the source, because of `why`: flagged, changed, not allowed."""

    ref: MessageRef
    why: str


RemovalResult: TypeAlias = Removed | Kept | Vanished
"""What became of one removal at the source."""


@frozen
class Retry:
    """A message to fetch again, from `not_before` on.

    `attempts` that failed; none for one that was gone when it was to be read, which waits
    until the next page is done, or its folder.
    """

    ref: MessageRef
    reason: str
    attempts: int
    not_before: datetime


@frozen
class Checkpoint:
    """How far a folder is done, and what is still owed.

    Every message up to `token` is archived, quarantined, skipped, vanished or on `retry`;
    what vanished is on `retry` as well until the next page, or the end of its folder.
    `removing` are removals that were decided and not yet confirmed.  `token` is `None`
    until the first page is done.
    """

    source: str
    folder: str = field(repr=lambda key: "#" + hint(key))
    token: str | None = None
    removing: tuple[Archived, ...] = field(default=(), repr=lambda them: f"<{len(them)}>")
    retry: tuple[Retry, ...] = field(default=(), repr=lambda them: f"<{len(them)}>")
