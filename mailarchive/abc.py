"""The interfaces between the parts of a run.  The first file to open.

Two kinds, never mixed.  A *strategy* with one or two methods is a `Protocol`: any object
of that shape will do.  Where the library keeps a promise around somebody's code it is an
abstract class: the implementer writes the underscored hooks, and the public methods are
final.  They let only errors of this library out, and they check what comes back.

=================  ========  ====================================================
`Source`           class     where mail comes from
`Intake`           class     where mail arrives by itself
`Sink`             class     where it goes to
`Decoder`          strategy  raw bytes to an envelope and the originals inside
`UserMap`          strategy  addresses to users
`Directory`        strategy  the users there are
`CheckpointStore`  strategy  how far each folder is done
`Quarantine`       strategy  where a message goes that cannot be archived
`KeyProvider`      strategy  the keys of an encrypted archive
`Observer`         strategy  who is told of progress
=================  ========  ====================================================
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, final

from attrs import evolve
from typing_extensions import override

from mailarchive._guarding import Opened, SourceDefect, sink_errors, source_errors
from mailarchive._model import (
    Fidelity,
    Folder,
    Kept,
    MessageRef,
    Page,
    Receipt,
    Rejected,
    Removed,
    SinkCapabilities,
    SourceCapabilities,
    SourceMessage,
    Stored,
    Unavailable,
    Vanished,
)
from mailarchive.errors import (
    MailArchiveError,
    ReceiptMismatch,
    Unsupported,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from mailarchive._model import (
        Address,
        Archived,
        ArchiveEntry,
        Checkpoint,
        CoverageGap,
        Decoded,
        Digest,
        Quarantined,
        RemovalResult,
        User,
        UserId,
    )
    from mailarchive.events import Event, SourceNotice

__all__ = [
    "Arrival",
    "CheckpointStore",
    "Decoder",
    "Directory",
    "Intake",
    "KeyProvider",
    "Observer",
    "Quarantine",
    "Sink",
    "Source",
    "UserMap",
]


class Decoder(Protocol):
    """Reads an envelope and the originals from raw bytes; pure."""

    def __call__(self, raw: bytes, /) -> Decoded:
        """Return what `raw` says; raises only `DecodeError`, which means quarantine."""
        ...


class UserMap(Protocol):
    """Turns addresses into users."""

    def resolve(self, addresses: Collection[Address], /) -> Mapping[Address, frozenset[UserId]]:
        """Return the users of each known address; an unknown one is left out or empty.

        Asked once a batch, with every address of the batch.  Raises `DirectoryError`.
        """
        ...


class Directory(Protocol):
    """The users there are."""

    def users(self) -> Iterable[User]:
        """Return every user; raises `DirectoryError`."""
        ...


class CheckpointStore(Protocol):
    """Remembers how far each folder of each source is done."""

    def load(self, source: str, folder: str, /) -> Checkpoint | None:
        """Return the newest saved checkpoint of the folder key; raises `StateError`."""
        ...

    def save(self, checkpoint: Checkpoint, /) -> None:
        """Replace the folder's checkpoint, durably before it returns; raises `StateError`."""
        ...


class Quarantine(Protocol):
    """Keeps messages whole that could not be archived."""

    def hold(self, message: SourceMessage, reason: str, /) -> Receipt:
        """Keep the message durably and return the receipt; the same message is kept once."""
        ...


class KeyProvider(Protocol):
    """Wraps and unwraps the keys of an archive: a file, a key management service, a token.

    `owner` is whose key it is, and `None` for the archive's own.  Keys have 32 bytes; a
    wrapped one may have any form.  A provider is asked once for each owner while an
    archive is open.  `unwrap` must fail for what it did not wrap, and for another owner's key; any
    exception becomes `KeyUnavailable`.
    """

    def wrap(self, owner: UserId | None, key: bytes) -> bytes:
        """Return the key in a form that only this provider can read."""
        ...

    def unwrap(self, owner: UserId | None, wrapped: bytes) -> bytes:
        """Return the key that `wrap` was given for this owner."""
        ...


class Observer(Protocol):
    """Is told of progress; what it raises is counted and goes no further."""

    def __call__(self, event: Event, /) -> None:
        """Take note of `event`."""
        ...


def _repeated(answer: Receipt | Rejected | None, again: bool) -> Receipt | Rejected | None:
    """The answer to an entry, or to one with the same id that came before it in the batch."""
    return (
        evolve(answer, outcome=Stored.PRESENT) if again and isinstance(answer, Receipt) else answer
    )


_REPEATS = 3
"""How often in a row a source may say a page again before its scan counts as endless."""


_QUIET = 10_000
"""Pages in a row that name nothing, after which a scan counts as endless.

A server may have much to tell that names nothing, such as what went away: at 500 a page, as
Graph is asked by default, these are five million messages.  The tokens are good: a next
scan goes on from the last page.
"""


def _says_nothing_new(page: Page, before: Page) -> bool:
    """Whether a page says the one before it again, or a part of it."""
    return page.token == before.token and set(page.refs) <= set(before.refs)


def _is_ref(ref: object) -> bool:
    return isinstance(ref, MessageRef) and isinstance(ref.key, str)


class Source(Opened):
    """Where mail comes from: folders, listed a page at a time, read, and perhaps removed.

    A context manager.  Every call comes from one thread, the same from open to close.
    `fetch` and `remove` may come between two pages of a `scan`; never while a `fetch` is
    being read.  `name` says which mailbox this is, stays the same for its whole life, and
    holds no address, because it stands in logs.  After a `Transient` error the next call
    connects anew.
    """

    mailbox: Address | None = None
    capabilities: SourceCapabilities = SourceCapabilities()
    left_out: tuple[Folder, ...] = ()
    """Folders that are there and are not archived, known after `folders()`."""
    unmatched: tuple[str, ...] = ()
    """What the choice of folders asks for or leaves out and no folder fits, known then too."""
    notices: tuple[SourceNotice, ...] = ()
    """What to tell whoever runs this, once a run; an observer hears it."""

    @override
    def _guard(self, doing: str) -> AbstractContextManager[None]:
        return source_errors(self.name, doing)

    @abstractmethod
    def _folders(self) -> Iterable[Folder]:
        """Return the folders to archive."""

    @abstractmethod
    def _scan(self, folder: Folder, after: str | None) -> Iterable[Page]:
        """Return what came after the token, oldest first where the server can.

        Raises `CheckpointInvalid` where the token means nothing any more.
        """

    @abstractmethod
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterable[SourceMessage | Unavailable]:
        """Hand over a page's items, streamed, in any order, without marking them.

        An item that is gone is left out.  Raises `CheckpointInvalid` where the folder has
        been numbered anew since it was listed.
        """

    def _remove(self, archived: Sequence[Archived]) -> Iterable[RemovalResult]:
        """Remove exactly these, each only if it is still the same and not flagged.

        One result each.  Calling it again is harmless: what is gone has `Vanished`.
        """
        del archived
        raise self._cannot_remove()

    def _gaps(self) -> Iterable[CoverageGap]:
        """Return what may be in the mailbox and cannot be reached; touches no server."""
        return ()

    def _unripe(self) -> int:
        """Return how many messages wait until they are old enough, say; touches no server.

        They are on no page yet: a later scan lists them.
        """
        return 0

    def _cannot_remove(self) -> Unsupported:
        return Unsupported(
            f"source {self.name} cannot remove messages",
            suggestions=["leave removal off for this source"],
        )

    @final
    def folders(self) -> tuple[Folder, ...]:
        """Return the folders to archive; raises `SourceError`."""
        with self._guard("listing folders"):
            folders = tuple(self._folders())
        if not all(isinstance(each, Folder) for each in folders):
            raise self._broken("listed something that is no folder")
        return folders

    @final
    def gaps(self) -> tuple[CoverageGap, ...]:
        """Return what cannot be reached in this way, as far as it is known by now."""
        with self._guard("summing up"):
            return tuple(self._gaps())

    @final
    def unripe(self) -> int:
        """Return how many messages were seen and left for a later scan, as far as was listed."""
        with self._guard("summing up"):
            return self._unripe()

    @final
    def scan(self, folder: Folder, after: str | None = None) -> Iterator[Page]:
        """Yield the pages after a token; raises `SourceError`, `CheckpointInvalid`.

        A page that only says the one before it again is left out, as one that closes a scan
        may; where more than a few do, the scan gets no further, and is refused.  So is one
        with ten thousand pages in a row that name nothing.
        """
        before: Page | None = None
        repeats = quiet = 0
        with self._guard("listing messages"):
            for page in self._scan(folder, after):
                self._check_page(page, folder)
                if before is not None and _says_nothing_new(page, before):
                    repeats += 1
                    if repeats > _REPEATS:
                        raise self._broken("listed a page again, and its token goes no further")
                    continue
                before, repeats = page, 0
                quiet = 0 if page.refs else quiet + 1
                if quiet > _QUIET:
                    raise self._broken(f"listed {_QUIET} pages in a row that name nothing")
                yield page

    def _check_page(self, page: object, folder: Folder) -> None:
        """See that a page is of this folder: a token behind others would pass over its mail."""
        if not isinstance(page, Page):
            raise self._broken("listed something that is no page")
        if page.folder.key != folder.key:
            raise self._broken("listed a page of another folder")
        if not isinstance(page.token, str):
            raise self._broken("gave a page a token that is no text")
        for ref in page.refs:
            if not _is_ref(ref):
                raise self._broken("named an item by something that is no ref")
            if ref.source != self.name or ref.folder != folder.key:
                raise self._broken("named an item of another source or folder")
        if len(set(page.refs)) != len(page.refs):
            raise self._broken("named an item twice on one page")

    @final
    def fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        """Yield each item at most once and nothing else; what is gone is left out.

        Raises `SourceError`, also where a source hands over what was not asked for, and
        `CheckpointInvalid` where the folder has been numbered anew since it was listed.
        """
        asked = frozenset(refs)
        wanted = set(asked)
        with self._guard("reading messages"):
            for item in self._fetch(refs):
                if isinstance(item, Vanished):
                    continue  # said aloud what leaving it out says
                if not isinstance(item, SourceMessage | Unavailable):
                    raise self._broken("handed over something that is no message")
                if item.ref not in wanted:
                    again = item.ref in asked
                    why = "twice" if again else "that was not asked for"
                    raise self._broken(f"handed over an item {why}")
                self._check_item(item)
                wanted.remove(item.ref)
                yield item

    def _check_item(self, item: SourceMessage | Unavailable) -> None:
        """See that a message is what an archive can keep."""
        if isinstance(item, Unavailable):
            return
        if not isinstance(item.raw, bytes):
            raise self._broken("handed over a message that is no bytes")
        if not isinstance(item.received_at, datetime | None):
            raise self._broken("handed over a message with a time that is none")

    @final
    def remove(self, archived: Sequence[Archived]) -> tuple[RemovalResult, ...]:
        """Remove what has a receipt; one result each; raises `SourceError`.

        An item without a receipt cannot even be named here.
        """
        if not self.capabilities.removes:
            raise self._cannot_remove()
        with self._guard("removing messages"):
            results = tuple(self._remove(archived))
        for result in results:
            if not isinstance(result, Removed | Kept | Vanished):
                raise self._broken("answered a removal with something else")
        # Whole refs: the same key may stand in two folders.
        if Counter(each.ref for each in archived) != Counter(each.ref for each in results):
            raise self._broken("did not answer each removal once")
        return results

    def _broken(self, what: str) -> SourceDefect:
        return SourceDefect(f"source {self.name} {what}")


class Arrival(Protocol):
    """A message that arrived, and whose sender waits for an answer; one, once."""

    @property
    def message(self) -> SourceMessage:
        """What arrived."""
        ...

    def accept(self, outcome: Archived | Quarantined, /) -> None:
        """Say that it is held durably: the sender may forget it."""
        ...

    def put_off(self, error: MailArchiveError, /) -> None:
        """Say that it is not: the sender tries again later."""
        ...


class Intake(Opened):
    """Where mail arrives by itself: each message waits until it is answered.

    A context manager.  Closing it answers nobody any more: who waits then tries again.
    The same message with the same envelope has the same ref, whenever it arrives, so that
    what arrives twice is stored once.
    """

    mailbox: Address | None = None
    folder: Folder

    @override
    def _guard(self, doing: str) -> AbstractContextManager[None]:
        return source_errors(self.name, doing)

    @abstractmethod
    def _batches(self, messages: int, octets: int) -> Iterable[Sequence[Arrival]]:
        """Wait, and return those that wait too; ends some time after `_stop`."""

    @abstractmethod
    def _stop(self) -> None:
        """Let no more arrive; returns at once, and is called from any thread."""

    @final
    def batches(self, messages: int, octets: int) -> Iterator[Sequence[Arrival]]:
        """Yield arrivals, at most so many at once; raises `SourceError`.

        A single one may be larger than `octets`.  Each must be answered.
        """
        with self._guard("receiving"):
            yield from self._batches(messages, octets)

    @final
    def stop(self) -> None:
        """Let no more arrive; `batches` ends when those that are here are answered."""
        with self._guard("stopping"):
            self._stop()


class Sink(Opened):
    """Where mail goes to: each entry put whole, once, and answered with a receipt.

    A context manager.  Calls come from one thread, unless `capabilities.concurrent_puts`.
    """

    capabilities: SinkCapabilities = SinkCapabilities()

    @override
    def _guard(self, doing: str) -> AbstractContextManager[None]:
        return sink_errors(self.name, doing)

    @abstractmethod
    def _put(self, entry: ArchiveEntry) -> Receipt | Rejected:
        """Store the entry; durable, as promised, when it returns.

        Idempotent on `entry.id`: an entry that is there already keeps its first receipt,
        with the outcome `PRESENT`.  An entry that it will never take is `Rejected`, and the
        others go on.  May raise; then whether it was stored is unknown, and
        it will be put again.
        """

    def _put_many(self, entries: Sequence[ArchiveEntry]) -> Iterable[Receipt | Rejected]:
        """Store a batch, one answer each, in any order; overridden where that is cheaper."""
        return [self._put(entry) for entry in entries]

    def _foresee(self, entries: Sequence[ArchiveEntry]) -> None:
        """Begin, where that saves time, what putting these soon will take and changes nothing.

        Called while a batch before them is yet to be put; none of them may ever be put.
        The order of a run is foresee, foresee, put, foresee, put.  What it raises ends no
        run, which puts the entries all the same.
        """

    def _read(self, receipt: Receipt) -> bytes:
        """Return the raw bytes that the receipt stands for, from where they are stored."""
        del receipt
        msg = f"sink {self.name} cannot be read back"
        raise Unsupported(msg, suggestions=["leave removal and read-back off for this sink"])

    @final
    def put(self, entry: ArchiveEntry) -> Receipt | Rejected:
        """Store one entry; raises `SinkError`.  See `put_many`."""
        (answer,) = self.put_many((entry,))
        return answer

    @final
    def put_many(self, entries: Sequence[ArchiveEntry]) -> tuple[Receipt | Rejected, ...]:
        """Store a batch and return one answer for each entry, in the order given.

        Raises `SinkError`; `ReceiptMismatch` where a receipt is not of what was put.  After
        an error nothing is known of the batch: put it again, it is stored once.  An id that
        stands in the batch again is stored once, and answered as one that is `PRESENT`.
        """
        first: dict[Digest, ArchiveEntry] = {}
        for entry in entries:
            first.setdefault(entry.id, entry)
        with self._guard("storing"):
            answers = self._by_id(self._put_many(tuple(first.values())))
        return tuple(
            self._checked(entry, _repeated(answers.get(entry.id), entry is not first[entry.id]))
            for entry in entries
        )

    @final
    def foresee(self, entries: Sequence[ArchiveEntry]) -> None:
        """Tell what is likely to be put next, after what was told before; raises `SinkError`.

        A sink may compress it meanwhile, say.  Nothing is stored, and nothing is promised.
        """
        with self._guard("getting ready to store"):
            self._foresee(entries)

    @final
    def read(self, receipt: Receipt) -> bytes:
        """Return the raw bytes that the receipt stands for; raises `SinkError`."""
        if not self.capabilities.reads:
            msg = f"sink {self.name} cannot be read back"
            raise Unsupported(msg, suggestions=["leave removal and read-back off for this sink"])
        with self._guard("reading back"):
            raw = self._read(receipt)
        if not isinstance(raw, bytes):
            raise self._mismatch("gave back something that is no bytes")
        return raw

    def _by_id(self, answers: Iterable[Receipt | Rejected]) -> dict[Digest, Receipt | Rejected]:
        """Return the answers by the id that each names; whatever a hook gave is looked at."""
        given: object = answers
        found: list[object] = [given] if given is None else list(answers)
        if not all(isinstance(each, Receipt | Rejected) for each in found):
            raise self._mismatch("gave something that is no receipt")
        return {each.entry_id: each for each in found if isinstance(each, Receipt | Rejected)}

    def _checked(
        self, entry: ArchiveEntry, answer: Receipt | Rejected | None
    ) -> Receipt | Rejected:
        if answer is None:
            raise self._mismatch("gave no answer for an entry")
        if isinstance(answer, Rejected):
            return answer
        if answer.stored_digest == entry.raw_digest:
            return answer
        rendered = entry.provenance.fidelity is Fidelity.RENDERED
        if rendered and answer.outcome is Stored.PRESENT:
            return answer
        raise self._mismatch("stored other bytes than it was given")

    def _mismatch(self, what: str) -> ReceiptMismatch:
        return ReceiptMismatch(
            f"sink {self.name} {what}",
            suggestions=["stop using this sink until it is mended; nothing was removed"],
        )
