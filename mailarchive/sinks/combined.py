"""Sinks made of sinks, and a sink made of a function.

Each keeps the contract that its parts keep, and promises no more than the least of them.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, final

from attrs import evolve
from typing_extensions import override

from mailarchive._model import (
    Digest,
    Durability,
    Receipt,
    Rejected,
    SinkCapabilities,
    Stored,
)
from mailarchive.abc import Sink
from mailarchive.errors import (
    ConfigurationError,
    MailArchiveError,
    ReceiptMismatch,
    SinkCorrupt,
    Unsupported,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mailarchive._model import ArchiveEntry

__all__ = ["FunctionSink", "ReadBack", "Router", "Tee", "sink"]


class _Combined(Sink):
    """Opens its parts and closes them again; a part may be in no other combination."""

    def __init__(self, parts: Sequence[Sink], name: str) -> None:
        if not parts:
            raise ConfigurationError(f"the sink {name} has no part", suggestions=["give it one"])
        if len(set(map(id, _within(parts)))) < len(_within(parts)):
            raise ConfigurationError(
                f"the sink {name} has the same part twice",
                suggestions=["give each part a place of its own"],
            )
        self.name: str = name
        self.capabilities: SinkCapabilities = _least(parts)
        self._parts = tuple(parts)
        self._opened = ExitStack()

    @override
    def _open(self) -> None:
        for part in self._parts:
            self._opened.enter_context(part)
        self.capabilities = _least(self._parts)

    @override
    def _close(self) -> None:
        self._opened.close()

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt | Rejected:
        (answer,) = self._put_many((entry,))
        return answer

    def _foreign(self) -> SinkCorrupt:
        return SinkCorrupt(
            f"no part of the sink {self.name} gave this receipt",
            suggestions=["is it made of the same parts, under the same names, as before?"],
        )


def _within(parts: Iterable[Sink]) -> list[Sink]:
    """Return the parts, and theirs, and so on."""
    inner = [_within(part._parts) if isinstance(part, _Combined) else [] for part in parts]  # noqa: SLF001 - of a relative
    return [*parts, *(each for some in inner for each in some)]


def _foresee_all(told: Iterable[tuple[Sink, Sequence[ArchiveEntry]]]) -> None:
    """Tell each part what is its own, also after one that raises; then raise the first error."""
    errors: list[MailArchiveError] = []
    for part, entries in told:
        try:
            part.foresee(entries)
        except MailArchiveError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _least(parts: Iterable[Sink]) -> SinkCapabilities:
    """Return what all of the parts promise."""
    all_ = [part.capabilities for part in parts]
    return SinkCapabilities(
        reads=all(each.reads for each in all_),
        durability=min(each.durability for each in all_),
        concurrent_puts=all(each.concurrent_puts for each in all_),
    )


@final
class Tee(_Combined):
    """Puts each entry into every part; the worst answer of all counts.

    A receipt says `STORED` where any part stored the entry now, has the least durability of
    all, and is `verified` only where each part has verified.  What one part rejects is
    rejected, though others have it; after an error nothing is known, and it is put again.

    Reading asks every part, and each must give what it has a receipt of, so that a removal
    rests on all of them.  To read one copy, read from the part.  A rendered item keeps the
    bytes that the first part has, also where another part is filled later; one that had an
    earlier rendering before it was a part keeps that, and is read and compared with it.
    """

    def __init__(self, **parts: Sink) -> None:
        """Take the parts, not yet opened, by the names that receipts will know them by.

        A name is for ever: a part that is called otherwise is another part.  Raises
        `ConfigurationError` where there is none.
        """
        super().__init__(tuple(parts.values()), f"tee({','.join(parts)})")
        self._named = parts

    @override
    def _put_many(self, entries: Sequence[ArchiveEntry]) -> list[Receipt | Rejected]:
        answers: list[dict[str, Receipt | Rejected]] = [{} for _ in entries]
        wanted = list(entries)
        for name, part in self._named.items():
            for place, answer in enumerate(part.put_many(tuple(wanted))):
                if not answers[place]:
                    wanted[place] = _as_stored(part, wanted[place], answer)
                answers[place][name] = answer
        return [self._worst(entry, each) for entry, each in zip(entries, answers, strict=True)]

    @override
    def _foresee(self, entries: Sequence[ArchiveEntry]) -> None:
        _foresee_all((part, entries) for part in self._parts)

    def _worst(
        self, entry: ArchiveEntry, answers: Mapping[str, Receipt | Rejected]
    ) -> Receipt | Rejected:
        receipts = {name: each for name, each in answers.items() if isinstance(each, Receipt)}
        for each in answers.values():
            if isinstance(each, Rejected):
                return each
        first = next(iter(receipts.values()))
        new = any(each.outcome is Stored.STORED for each in receipts.values())
        earlier = first.stored_digest != entry.raw_digest  # an earlier rendering is what counts
        return Receipt(
            sink=self.name,
            entry_id=entry.id,
            stored_digest=first.stored_digest,
            location=json.dumps({name: _place(r, first) for name, r in receipts.items()}),
            outcome=Stored.STORED if new and not earlier else Stored.PRESENT,
            durability=min(each.durability for each in receipts.values()),
            verified=all(each.verified for each in receipts.values()),
        )

    @override
    def _read(self, receipt: Receipt) -> bytes:
        try:
            places = json.loads(receipt.location)
            theirs = [
                (part, _of_part(receipt, *places[name])) for name, part in self._named.items()
            ]
        except (ValueError, TypeError, LookupError, RecursionError):
            raise self._foreign() from None
        found = [_sound(part, each) for part, each in theirs]
        return found[0]


def _place(receipt: Receipt, first: Receipt) -> list[str]:
    """Return what is to be known of the receipt of a part beside that of the first."""
    same = receipt.stored_digest == first.stored_digest
    return [receipt.sink, receipt.location, *([] if same else [receipt.stored_digest.hex])]


def _of_part(receipt: Receipt, sink: object, location: object, digest: str = "") -> Receipt:
    """Return the receipt that a part gave; raises `ValueError` where it is none."""
    theirs = evolve(receipt, sink=str(sink), location=str(location))
    return evolve(theirs, stored_digest=Digest(bytes.fromhex(digest))) if digest else theirs


def _as_stored(part: Sink, entry: ArchiveEntry, answer: Receipt | Rejected) -> ArchiveEntry:
    """Return the entry with the bytes that a part has of it, for the parts after it."""
    if isinstance(answer, Rejected) or answer.stored_digest == entry.raw_digest:
        return entry
    if not part.capabilities.reads:
        return entry
    raw = _sound(part, answer)
    # Where an original stands in other bytes nobody has said: they are read as they are.
    return evolve(entry, raw=raw, raw_digest=answer.stored_digest, originals=())


def _sound(part: Sink, receipt: Receipt) -> bytes:
    """Read from a part and compare; raises `SinkError`."""
    raw = part.read(receipt)
    if Digest.of(raw) != receipt.stored_digest:
        raise SinkCorrupt(
            f"sink {part.name} gives other bytes than its receipt says",
            suggestions=["restore it from a copy, and find out what changed it"],
        )
    return raw


@final
class Router(_Combined):
    """Puts each entry into the one part that a function names.

    The function must be pure, and say the same of one entry for ever, or the entry is
    stored in two parts: choose by the folder, the source or the date that it was received,
    not by owners, who may be others in the next run.  An entry for which it names no part
    is rejected, and goes to the quarantine.
    """

    def __init__(self, route: Callable[[ArchiveEntry], str], **parts: Sink) -> None:
        """Take the function, and the parts, not yet opened, by the names that it gives.

        A name is for ever: receipts know the parts by it.  Raises `ConfigurationError`
        where there is none.
        """
        super().__init__(tuple(parts.values()), f"router({','.join(parts)})")
        self._route = route
        self._named = parts

    @override
    def _put_many(self, entries: Sequence[ArchiveEntry]) -> Iterable[Receipt | Rejected]:
        for name, some in self._sorted(entries).items():
            if name not in self._named:
                yield from (Rejected(each.id, "no part of the router is for it") for each in some)
                continue
            for answer in self._named[name].put_many(some):
                yield answer if isinstance(answer, Rejected) else self._ours(name, answer)

    @override
    def _foresee(self, entries: Sequence[ArchiveEntry]) -> None:
        theirs = self._sorted(entries).items()
        _foresee_all((self._named[name], some) for name, some in theirs if name in self._named)

    def _sorted(self, entries: Sequence[ArchiveEntry]) -> dict[str, list[ArchiveEntry]]:
        """Return the entries by the name that the function gives for each."""
        found: dict[str, list[ArchiveEntry]] = {}
        for entry in entries:
            found.setdefault(self._route(entry), []).append(entry)
        return found

    def _ours(self, name: str, receipt: Receipt) -> Receipt:
        place = json.dumps([name, receipt.sink, receipt.location])
        return evolve(receipt, sink=self.name, location=place)

    @override
    def _read(self, receipt: Receipt) -> bytes:
        try:
            name, their, location = json.loads(receipt.location)
            part = self._named[name]
        except (ValueError, TypeError, LookupError, RecursionError):
            raise self._foreign() from None
        return part.read(evolve(receipt, sink=str(their), location=str(location)))


@final
class ReadBack(_Combined):
    """Reads each entry back from its part before a receipt is given, which then is `verified`.

    It reads through the part, and so from wherever the part reads: a cache of the system
    may answer.  The receipts are those of the part otherwise.
    """

    def __init__(self, part: Sink) -> None:
        """Take a part that can be read back; raises `Unsupported` for any other."""
        super().__init__((part,), part.name)
        self._part = part
        self._refuse()

    def _refuse(self) -> None:
        if not self._part.capabilities.reads:
            raise Unsupported(
                f"sink {self._part.name} cannot be read back",
                suggestions=["use it without ReadBack; its receipts are not verified then"],
            )

    @override
    def _open(self) -> None:
        super()._open()
        self._refuse()
        self.name: str = self._part.name

    @override
    def _put_many(self, entries: Sequence[ArchiveEntry]) -> Iterable[Receipt | Rejected]:
        for answer in self._part.put_many(entries):
            yield answer if isinstance(answer, Rejected) else self._verified(answer)

    @override
    def _foresee(self, entries: Sequence[ArchiveEntry]) -> None:
        self._part.foresee(entries)

    def _verified(self, receipt: Receipt) -> Receipt:
        if Digest.of(self._part.read(receipt)) != receipt.stored_digest:
            raise ReceiptMismatch(
                f"sink {self.name} gives other bytes back than were put",
                suggestions=["stop using this sink until it is mended; nothing was removed"],
            )
        return evolve(receipt, verified=True)

    @override
    def _read(self, receipt: Receipt) -> bytes:
        return self._part.read(receipt)


@final
class FunctionSink(Sink):
    """A sink made of a function; see `sink`."""

    def __init__(
        self,
        put: Callable[[ArchiveEntry], Receipt | Rejected],
        name: str,
        durability: Durability,
    ) -> None:
        """Take the function, and what the sink is called and promises."""
        self.name: str = name
        self.capabilities: SinkCapabilities = SinkCapabilities(durability=durability)
        self._function = put
        self._reader: Callable[[Receipt], bytes] | None = None

    def reader(self, read: Callable[[Receipt], bytes]) -> FunctionSink:
        """Take the function that reads an entry back; the sink can be read from then on."""
        self._reader = read
        self.capabilities = evolve(self.capabilities, reads=True)
        return self

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt | Rejected:
        answer = self._function(entry)
        if isinstance(answer, Receipt):
            self._look_at(answer)
        return answer

    def _look_at(self, receipt: Receipt) -> None:
        """Refuse a receipt that is another sink's, or promises something else than this one."""
        if receipt.sink != self.name:
            raise ReceiptMismatch(
                f"the function of the sink {self.name} gave a receipt of another sink",
                suggestions=["give the receipt the name that stands in @sink(...)"],
            )
        if receipt.durability != self.capabilities.durability:
            raise ReceiptMismatch(
                f"the function of the sink {self.name} promises {receipt.durability.name},"
                f" and the sink {self.capabilities.durability.name}",
                suggestions=["say the same in @sink(..., durability=...) and in the receipt"],
            )

    @override
    def _read(self, receipt: Receipt) -> bytes:
        return super()._read(receipt) if self._reader is None else self._reader(receipt)


def sink(
    name: str, *, durability: Durability = Durability.BUFFERED
) -> Callable[[Callable[[ArchiveEntry], Receipt | Rejected]], FunctionSink]:
    """Make a sink of a function that stores one entry and returns its receipt.

    The function keeps the contract of `Sink`: durable when it returns, and idempotent on
    `entry.id`.  Its receipts have the name and the durability that are given here; others
    are refused, with a `ReceiptMismatch`.  Without a reader the sink cannot be read back::

        @sink("spool", durability=Durability.MEDIA)
        def spool(entry):
            where, kept, outcome = store_once(entry.id.hex, entry.raw)
            digest = Digest.of(kept)  # a rendering that was there before is what is kept
            return Receipt("spool", entry.id, digest, where, outcome, Durability.MEDIA)


        @spool.reader
        def _(receipt):
            return load(receipt.location)

    Raises `ConfigurationError` where it is written without the name.
    """
    given: object = name
    if not isinstance(given, str):
        raise ConfigurationError(
            "@sink has no name", suggestions=["write one behind it, in brackets and quotes"]
        )

    def made(put: Callable[[ArchiveEntry], Receipt | Rejected]) -> FunctionSink:
        return FunctionSink(put, name, durability)

    return made
