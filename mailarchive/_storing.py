"""From a batch of source messages to outcomes: decode, map, put, and hold what cannot be.

Everything here runs on the caller's thread, but for the taking of digests.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from attrs import evolve, field, frozen

from mailarchive import _asking, fingerprint, headers
from mailarchive._digesting import Digesting, Digests
from mailarchive._model import (
    Archived,
    ArchiveEntry,
    Copy,
    Digest,
    Fidelity,
    Owner,
    Provenance,
    Quarantined,
    Rejected,
    Skipped,
    entry_id,
)
from mailarchive._report import Settled
from mailarchive.attribution import CatchAll, CreateUsers, HoldUnowned, own
from mailarchive.errors import DecodeError, MailArchiveError, NotAJournalReport, SinkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mailarchive._model import (
        Address,
        Decoded,
        Folder,
        Ownership,
        SourceMessage,
        UserId,
    )
    from mailarchive.abc import Decoder, Quarantine, Sink, UserMap
    from mailarchive.attribution import Attribution, Unknown


def make_entry(
    message: SourceMessage,
    decoded: Decoded,
    ownership: Ownership,
    *,
    folder: Folder,
    fidelity: Fidelity,
    digests: Digests | None = None,
) -> ArchiveEntry:
    """Return the entry for a message; its digests are taken here unless they were already."""
    taken = digests or Digests.of(message.raw, decoded.originals, _fork_key(fidelity))
    digest, copy = taken.raw.digest, Copy.of(message.ref)
    return ArchiveEntry(
        id=entry_id(copy, digest, fidelity),
        raw=message.raw,
        raw_digest=digest,
        originals=decoded.originals,
        envelope=decoded.envelope,
        ownership=ownership,
        copy=copy,
        folder=folder,
        fork_key=taken.fork_key,
        received_at=message.received_at,
        flags=message.flags,
        provenance=Provenance(
            fidelity, decoded.report is not None, decoded.defects, message.delivery
        ),
        digested=taken.raw,
    )


def _fork_key(fidelity: Fidelity) -> Callable[[bytes], Digest]:
    """What tells forks apart: two renderings of one message differ in more than its way."""
    return fingerprint.of if fidelity is Fidelity.RENDERED else headers.fork_key


@frozen
class DecodedBatch:
    """A batch whose digests are being taken: what is settled already, and what was decoded."""

    messages: Sequence[SourceMessage] = field(repr=False)
    settled: list[Settled] = field(repr=False)
    decoded: Sequence[tuple[SourceMessage, Decoded]] = field(repr=False)
    digests: Iterator[Digests] = field(repr=False)


@frozen
class Begun:
    """A batch under way: what is settled already, and the entries that are yet to be put."""

    messages: Sequence[SourceMessage] = field(repr=False)
    settled: list[Settled] = field(factory=list, repr=False)
    entries: dict[Digest, tuple[SourceMessage, ArchiveEntry, bool]] = field(
        factory=dict, repr=False
    )


class _Named(NamedTuple):
    """The addresses of a message: those that make an owner, and all that took part."""

    owning: frozenset[Address]
    participants: frozenset[Address]


@frozen
class Storing:
    """How messages of a source become entries of an archive."""

    sink: Sink
    users: UserMap
    decoder: Decoder
    attribution: Attribution
    unknown: Unknown
    quarantine: Quarantine
    select: Callable[[SourceMessage], str | None]
    fidelity: Fidelity
    mailbox: Address | None
    dry_run: bool
    digesting: Digesting = field(factory=Digesting, repr=False)
    _created: dict[Address, frozenset[UserId]] = field(factory=dict, init=False, repr=False)

    def store(self, folder: Folder, batch: Sequence[SourceMessage]) -> list[Settled]:
        """Return what became of each message of the batch, in any order.

        Raises `DirectoryError`, `SinkError` and `StateError`: then nothing of the batch is
        accounted for, and it must be read again.
        """
        return self.finish(self.begin(folder, self.decode(batch)))

    def decode(self, batch: Sequence[SourceMessage]) -> DecodedBatch:
        """Decode a batch, and let its digests be taken meanwhile; raises as `store`."""
        settled: list[Settled] = []
        decoded = list(self._decode(batch, settled))
        parts = ((message.raw, each.originals) for message, each in decoded)
        digests = self.digesting.all(parts, _fork_key(self.fidelity))
        return DecodedBatch(batch, settled, decoded, digests)

    def begin(self, folder: Folder, batch: DecodedBatch) -> Begun:
        """Make the entries of a batch, and let the sink foresee them; raises as `store`."""
        begun = Begun(batch.messages, batch.settled)
        named = [self._named(decoded) for _, decoded in batch.decoded]
        users = self._resolve(named)
        digests = self._within_memory(batch.digests)
        for (message, decoded), each, taken in zip(batch.decoded, named, digests, strict=True):
            ownership = self._ownership(each, users)
            stray = decoded.unexpected is not None
            if not ownership.owners and isinstance(self.unknown, HoldUnowned):
                held = self.hold(message, "nobody known owns it", unexpected=stray)
                begun.settled.append(held)
                continue
            entry = make_entry(
                message,
                decoded,
                ownership,
                folder=folder,
                fidelity=self.fidelity,
                digests=taken,
            )
            begun.entries[entry.id] = (message, entry, stray)
        if not self.dry_run:
            with suppress(MailArchiveError):  # only the put that follows stores, or fails
                self.sink.foresee([entry for _, entry, _ in begun.entries.values()])
        return begun

    def _within_memory(self, digests: Iterator[Digests]) -> Iterator[Digests]:
        """Yield the digests; raises `SinkError` where a message is too large for the process."""
        try:
            yield from digests
        except MemoryError as error:
            raise SinkError(
                f"sink {self.sink.name}: no memory left while getting ready to store",
                suggestions=["give the process more, or lower the source's limit of a message"],
            ) from error

    def finish(self, begun: Begun) -> list[Settled]:
        """Put the entries and return what became of each message; raises as `store`."""
        return [*begun.settled, *self._put(begun.entries)]

    def _decode(
        self, batch: Sequence[SourceMessage], settled: list[Settled]
    ) -> Iterator[tuple[SourceMessage, Decoded]]:
        for message in batch:
            why = _asking.select(self.select, message)
            if why is not None:
                settled.append(Settled(Skipped(message.ref, why)))
                continue
            try:
                decoded = _asking.decode(self.decoder, message.raw)
            except DecodeError as error:
                stray = isinstance(error, NotAJournalReport)
                held = self.hold(message, f"{error.code}: {error}", unexpected=stray)
                broke = isinstance(error, _asking.DecoderBroke)
                settled.append(evolve(held, defect=broke))
            else:
                yield message, decoded

    def _resolve(self, named: Sequence[_Named]) -> Mapping[Address, frozenset[UserId]]:
        """One question to the user map for the whole batch."""
        addresses = frozenset(chain.from_iterable(each.owning for each in named))
        if not addresses:
            return {}
        others = chain.from_iterable(each.participants for each in named)
        known = _asking.resolve(self.users, addresses.union(others))
        return known if self.dry_run else {**known, **self._create(addresses, known)}

    def _named(self, decoded: Decoded) -> _Named:
        envelope = decoded.envelope
        owning = _asking.chosen(self.attribution, envelope, self.mailbox)
        return _Named(owning, envelope.participants)

    def _create(
        self, addresses: frozenset[Address], known: Mapping[Address, frozenset[UserId]]
    ) -> Mapping[Address, frozenset[UserId]]:
        if not isinstance(self.unknown, CreateUsers):
            return {}
        strangers = [each for each in addresses if not known.get(each)]
        for address in sorted(strangers, key=lambda each: each.normal):
            if address.domain in self.unknown.domains and address not in self._created:
                self._created[address] = frozenset({_asking.create(self.unknown, address)})
        return {each: self._created[each] for each in strangers if each in self._created}

    def _ownership(self, named: _Named, users: Mapping[Address, frozenset[UserId]]) -> Ownership:
        ownership = own(named.owning, users, named.participants)
        if not ownership.owners and isinstance(self.unknown, CatchAll):
            return evolve(ownership, owners=(Owner(self.unknown.user),))
        return ownership

    def _put(
        self, entries: Mapping[Digest, tuple[SourceMessage, ArchiveEntry, bool]]
    ) -> Iterator[Settled]:
        if self.dry_run:
            for message, entry, unexpected in entries.values():
                why = Skipped(message.ref, "dry run: would be archived")
                unowned = not entry.ownership.owners
                yield Settled(
                    why,
                    unexpected=unexpected,
                    unowned=unowned,
                    size=len(message.raw),
                    would="would_archive",
                )
            return
        answers = self.sink.put_many([entry for _, entry, _ in entries.values()])
        for (message, entry, unexpected), answer in zip(entries.values(), answers, strict=True):
            if isinstance(answer, Rejected):
                reason = f"the archive refused it: {answer.reason}"
                yield self.hold(message, reason, unexpected=unexpected)
                continue
            yield Settled(
                Archived(message.ref, answer),
                removable=not unexpected,
                unexpected=unexpected,
                unowned=not entry.ownership.owners,
                size=len(message.raw),
            )

    def hold(self, message: SourceMessage, reason: str, *, unexpected: bool = False) -> Settled:
        """Keep a message whole and apart, for the reason given; raises `StateError`."""
        if self.dry_run:
            why = f"dry run: would be quarantined: {reason}"
            skipped = Skipped(message.ref, why)
            return Settled(skipped, unexpected=unexpected, would="would_quarantine")
        receipt = _asking.hold(self.quarantine, message, reason)
        return Settled(Quarantined(message.ref, receipt, reason), unexpected=unexpected)
