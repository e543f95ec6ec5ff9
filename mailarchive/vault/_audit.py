"""Reading an archive with an auditor's eyes: all of it, and never without a trace."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive.errors import Unsupported
from mailarchive.vault import _leaf
from mailarchive.vault._apply import user_of
from mailarchive.vault._errors import erased
from mailarchive.vault._manifest import BAD_JSON, READING, Fact
from mailarchive.vault._reading import location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailarchive._model import (
        Copy,
        Digest,
        Envelope,
        Folder,
        Ownership,
        Provenance,
        UserId,
    )
    from mailarchive.vault._index import Line
    from mailarchive.vault._note import LogCheckpoint
    from mailarchive.vault._reading import Reading
    from mailarchive.vault._record import Record
    from mailarchive.vault.proofs import InclusionProof

_PAGE = 500


@frozen
class AuditedEntry:
    """An entry, whole: everything that was put, and where it is.

    `number` counts the entries of the vault in the order in which they were archived.
    `location` is `None` where the bytes are in no pack that can be read.  Of an entry that
    was `erased` there is only what the manifest says; reading it raises `Erased`.
    """

    number: int
    id: Digest
    raw_digest: Digest
    size: int
    envelope: Envelope = field(repr=False)
    ownership: Ownership = field(repr=False)
    copy: Copy
    folder: Folder
    fork_key: Digest
    received_at: datetime | None
    flags: frozenset[str]
    provenance: Provenance
    location: str | None
    erased: bool
    _record: Record = field(repr=False, eq=False, alias="record")
    _line: Line = field(repr=False, eq=False, alias="line")
    _reading: Reading = field(repr=False, eq=False, alias="reading")

    def raw(self) -> bytes:
        """Return the record: the exact bytes that the source handed over.

        Raises `SinkCorrupt` where they are not what they were, `Erased`, and `SinkError`.
        """
        self._refuse_erased()
        return self._reading.stored(self._record.raw)

    def originals(self) -> tuple[bytes, ...]:
        """Return each message inside the report, to the byte; raises as `raw` does."""
        self._refuse_erased()
        return self._reading.originals(self._record)

    def content(self) -> bytes:
        """Return the message that people read, nothing left out; raises as `raw` does."""
        self._refuse_erased()
        content = self._reading.content(self._record)
        return self.raw() if content is None else content

    def proof(self, checkpoint: LogCheckpoint | None = None) -> InclusionProof:
        """Return the proof that this entry is in the log, everything about it shown.

        It is under `checkpoint`, or under the newest.  Raises `Unsupported` where that
        does not cover the entry, `SinkCorrupt` and `SinkError`.
        """
        shown = (_leaf.RAW, _leaf.CONTENT, _leaf.LINE)
        return self._reading.proof(self._line, shown, checkpoint)

    def _refuse_erased(self) -> None:
        if self.erased:
            raise erased()


@frozen
class AuditReading:
    """That an auditor opened the archive: who, why, and when."""

    actor: str = field(repr=False)
    reason: str = field(repr=False)
    at: datetime

    @classmethod
    def load(cls, fact: Fact) -> AuditReading:
        """Return the reading that a fact holds; raises one of `BAD_JSON`."""
        body = fact.body
        return cls(str(body["actor"]), str(body["reason"]), datetime.fromisoformat(body["at"]))


def reading_fact(actor: str, reason: str, at: datetime) -> Fact:
    """Return the fact that is written before an auditor sees anything.

    Raises `Unsupported` for an empty actor or reason.
    """
    if not actor.strip() or not reason.strip():
        raise Unsupported(
            "an auditor needs a name and a reason",
            suggestions=["say who is reading, and why; both are kept in the archive"],
        )
    return Fact(READING, {"actor": actor, "reason": reason, "at": at.isoformat()})


class Auditor:
    """Everything in a vault: all entries, raw reports, owners, and what nobody owns.

    Opened by `Vault.auditor`, which makes the reading a lasting fact first.  Every method
    raises `SinkError` where the vault is closed or damaged.
    """

    def __init__(self, reading: Reading) -> None:
        """Read everything that `reading` can."""
        self._reading = reading

    def count(self) -> int:
        """Return how many entries there are."""
        ((number,),) = self._reading.index.rows("SELECT count(*) FROM entry")
        return int(number)

    def entries(self, *, after: int = 0) -> Iterator[AuditedEntry]:
        """Yield all entries in the order in which they were archived, from a number on."""
        return self._entries("t.n > ?", after)

    def unowned(self, *, after: int = 0) -> Iterator[AuditedEntry]:
        """Yield the entries that have no owner, and so are in nobody's view."""
        return self._entries("t.owners = 0 AND NOT t.erased AND t.n > ?", after)

    def get(self, entry_id: Digest) -> AuditedEntry | None:
        """Return the entry with this id, or `None`."""
        known_as = self._reading.index.name(entry_id)
        lines = self._reading.index.lines("t.id = ?", (known_as.value,))
        return self._entry(lines[0]) if lines else None

    def users(self) -> dict[UserId, int]:
        """Return every user who owns something, with the number of messages they see."""
        rows = self._reading.index.rows(
            "SELECT u.id, count(*) FROM message m JOIN user u ON u.n = m.user GROUP BY u.n"
        )
        return {user_of(name): number for name, number in rows}

    def readings(self) -> tuple[AuditReading, ...]:
        """Return every time that an auditor opened this archive, oldest first."""
        lines = self._reading.index.lines("t.kind = ? ORDER BY t.n", (READING,), table="fact")
        found: list[AuditReading] = []
        for line in lines:
            with suppress(*BAD_JSON):  # one that cannot be read is named by `verify`
                found.append(AuditReading.load(self._reading.fact(line)))
        return tuple(found)

    def _entries(self, condition: str, after: int) -> Iterator[AuditedEntry]:
        after = min(max(after, 0), sys.maxsize)  # what a database can compare
        while True:
            lines = self._reading.index.lines(f"{condition} ORDER BY t.n LIMIT {_PAGE}", (after,))
            for line in lines:
                yield self._entry(line)
            if len(lines) < _PAGE:
                return
            after = lines[-1].n

    def _entry(self, line: Line) -> AuditedEntry:
        record = self._reading.record(line)
        gone = self._reading.index.is_erased(line)
        found = self._reading.index.objects((record.raw,)).get(record.raw)
        return AuditedEntry(
            number=line.n,
            id=record.id,
            raw_digest=record.raw,
            size=record.size,
            envelope=record.envelope,
            ownership=self._reading.ownership(line),
            copy=record.copy,
            folder=record.folder,
            fork_key=record.fork_key,
            received_at=record.received_at,
            flags=record.flags,
            provenance=record.provenance,
            location=None if found is None or gone else location(found),
            erased=gone,
            record=record,
            line=line,
            reading=self._reading,
        )
