"""The only place that knows the order of the steps of a run.

What a run promises, and where it keeps the promise (the numbers stand at the lines):

(1)  A checkpoint never passes a message that is not accounted for: archived, quarantined,
     skipped, vanished, or on its retry list with a reason.  Retries that are due come first.
     What vanished is on that list too until the next page, or the end of its folder, as a
     source may see it come back and takes it back with that page.
(2)  Nothing is removed without a receipt whose durability meets the policy and whose bytes
     were read back through the sink and compared.  The intent is durable before the first
     removal and is carried along until it is confirmed.  The source checks that the item
     is still the same; quarantined, unexpected and flagged messages are never removed.
(3)  Putting is idempotent on the entry's id: a run may repeat, the archive does not.
(4)  A receipt's stored digest equals the one taken before the put, or the run stops; only
     a rendered message that was already present may differ.  (`Sink.put_many` compares.)
(5)  Message bytes are never serialised anew.
(6)  Nothing that came in a mail names a path, a key, a query or a log format.
(7)  Only errors of this library leave; only `Transient` is tried again, by the decorators
     of `mailarchive.retry`; after an unknown outcome the batch is put again.
(8)  No address, subject, body or secret in an exception, a log line or a repr.
(9)  Outcomes are yielded only once accounted for; dropping the iterator loses nothing.
(10) Counts add up, a folder that fails is reported and the others go on, and anything
     failed makes the report not ok.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, final

from attrs import evolve, field, frozen

from mailarchive import _asking, _waiting, decoding
from mailarchive import attribution as attribution_
from mailarchive._digesting import Digesting
from mailarchive._leftovers import give_up, release
from mailarchive._model import (
    Archived,
    Checkpoint,
    Digest,
    Folder,
    SourceMessage,
    Stored,
)
from mailarchive._pages import batches, one_ahead
from mailarchive._policy import Batching, Removal, RetryPlan
from mailarchive._reading import PageBegins, PageEnds, Worker, read_folder, size_of
from mailarchive._report import FolderFailure, RunReport, Settled, Tally
from mailarchive._storing import Begun, Storing
from mailarchive.abc import Sink, Source
from mailarchive.errors import (
    AuthenticationFailed,
    CheckpointInvalid,
    ConfigurationError,
    MailArchiveError,
    ReceiptMismatch,
    SourceError,
    Transient,
    Unsupported,
)
from mailarchive.events import (
    BatchStored,
    CheckpointLost,
    FolderFailed,
    FolderStarted,
    PageDone,
    PageListed,
    RemovalDone,
    RunFinished,
    RunStarted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from mailarchive._model import (
        MessageRef,
        Outcome,
        Receipt,
        RemovalResult,
        Retry,
    )
    from mailarchive._pages import PageUnderWay
    from mailarchive._reading import Read
    from mailarchive.abc import (
        CheckpointStore,
        Decoder,
        Observer,
        Quarantine,
        UserMap,
    )
    from mailarchive.attribution import Attribution, Unknown
    from mailarchive.events import Event

__all__ = [
    "Archiver",
    "Batching",
    "FolderFailure",
    "Removal",
    "RetryPlan",
    "Run",
    "RunReport",
    "give_up",
    "release",
]


def _now() -> datetime:
    return datetime.now(UTC)


def _everything(message: SourceMessage, /) -> str | None:
    """Leave nothing out."""
    del message
    return None


def _check_kind(role: str, part: object, kind: type) -> None:
    if not isinstance(part, kind):
        raise ConfigurationError(
            f"the {role} is a {type(part).__name__}, which is no {kind.__name__}",
            suggestions=[
                f"give what mailarchive.{role}s has, or a subclass of abc.{kind.__name__}"
            ],
        )


@frozen
class Archiver:
    """One source, one sink, and everything between them.

    `run()` archives what is new and returns the report; `outcomes()` gives each message's
    outcome while it goes on.  The source is opened and closed by the run; the sink must be
    open and stays so.  A message for which `select` returns a reason is skipped.  With
    `dry_run` nothing is stored, saved or removed: each message is skipped with what would
    have become of it.  `retry_now` takes every message on a retry list, due or not.

    Raises at construction `ConfigurationError` where the source or the sink is none, and
    `Unsupported` where removal is asked of a sink that cannot be read back.
    """

    source: Source
    sink: Sink
    users: UserMap
    state: CheckpointStore = field(kw_only=True)
    quarantine: Quarantine = field(kw_only=True)
    decoder: Decoder = field(default=decoding.ordinary, kw_only=True)
    attribution: Attribution = field(default=attribution_.all_participants, kw_only=True)
    unknown: Unknown = field(factory=attribution_.KeepUnowned, kw_only=True)
    removal: Removal = field(factory=Removal.never, kw_only=True)
    batching: Batching = field(factory=Batching, kw_only=True)
    retries: RetryPlan = field(factory=RetryPlan, kw_only=True)
    select: Callable[[SourceMessage], str | None] = field(default=_everything, kw_only=True)
    observer: Observer | None = field(default=None, kw_only=True)
    clock: Callable[[], datetime] = field(default=_now, kw_only=True)
    dry_run: bool = field(default=False, kw_only=True)
    retry_now: bool = field(default=False, kw_only=True)

    def __attrs_post_init__(self) -> None:
        """Refuse what is no source or sink, and what could remove what was never read back."""
        _check_kind("source", self.source, Source)
        _check_kind("sink", self.sink, Sink)
        self._check_sink()

    def _check_sink(self) -> None:
        able = self.sink.capabilities
        if self.removal.enabled and not able.reads:
            raise Unsupported(
                f"removal needs a sink that can be read back, and {self.sink.name} cannot",
                suggestions=["leave removal off, or archive into a vault"],
            )
        if self.removal.enabled and able.durability < self.removal.durability:
            raise Unsupported(
                f"removal asks for more durability than the sink {self.sink.name} promises",
                suggestions=["leave removal off, or archive into a vault on a local disk"],
            )

    def run(self) -> RunReport:
        """Archive what is new and return the report; raises `MailArchiveError`."""
        with self.outcomes() as run:
            for _ in run:
                pass
            return run.report

    def outcomes(self) -> Run:
        """Return the run as an iterator of outcomes; it begins with the first one."""
        return Run(self)


@final
class Run:
    """A run under way: an iterator of outcomes, each of a message that is accounted for.

    Closing it, leaving its context or dropping it stops the run between two pages and joins
    its thread; what was yielded is done, and the rest comes next time.  (9)
    """

    def __init__(self, archiver: Archiver) -> None:
        """Begin with the first `next`."""
        # What drives it must not refer to it: nothing but the garbage collector would ever
        # notice that a run was dropped, and its thread would wait until then.
        self._course = _Course(archiver)
        self._steps = self._course.drive()

    def __iter__(self) -> Self:
        """Return the run itself."""
        return self

    def __next__(self) -> Outcome:
        """Return the next outcome; raises `MailArchiveError` where the run must stop."""
        return next(self._steps)

    def __enter__(self) -> Self:
        """Return the run itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the run."""
        self.close()

    def close(self) -> None:
        """Stop between two pages and join the thread."""
        self._steps.close()

    @property
    def report(self) -> RunReport:
        """What the run did so far; `finished` once it is over."""
        return self._course.report


class _Course:
    """What a run does, and how far it is."""

    def __init__(self, archiver: Archiver) -> None:
        self._plan = archiver
        self._source = archiver.source
        self._tally = Tally(archiver.source.name, dry_run=archiver.dry_run)
        self._checkpoint = Checkpoint(archiver.source.name, "")
        self._unreachable = False

    @property
    def report(self) -> RunReport:
        return self._tally.report()

    def _tell(self, event: Event) -> None:
        if self._plan.observer is None:
            return
        try:
            self._plan.observer(event)
        except Exception:  # noqa: BLE001 - an observer only watches: what it raises is counted
            self._tally.add("observer_errors")

    def drive(self) -> Generator[Outcome]:
        self._tell(RunStarted(self._source.name, self._plan.dry_run))
        for notice in self._source.notices:
            self._tell(notice)
        worker = Worker(self._plan.batching.read_ahead)
        with worker, Digesting.in_threads() as digesting, contextlib.ExitStack() as stack:
            # First, as a signal may come while it is being opened.
            stack.push(lambda *error: worker.last(lambda: self._leave(error)))
            worker.call(self._source.__enter__)
            self._check_source()
            self._storing = self._make_storing(digesting)
            folders = worker.call(self._source.folders)
            self._tally.left_out = self._source.left_out
            self._tally.unmatched = self._source.unmatched
            for folder in folders:
                yield from self._guarded(worker, folder)
            self._tally.finished = True
        self._tell(RunFinished(self._source.name, self.report.ok))

    def _leave(self, error: tuple[object, ...]) -> None:
        """Sum up and close the source; the first error is the one to tell."""
        try:
            with contextlib.suppress(MailArchiveError):
                self._tally.gaps = self._source.gaps()
                self._tally.unripe = self._source.unripe()
        finally:
            self._source.__exit__(*error)

    def _check_source(self) -> None:
        self._plan._check_sink()  # noqa: SLF001 - its own class; capabilities may change on opening
        if self._plan.removal.enabled and not self._source.capabilities.removes:
            raise Unsupported(
                f"removal is on, and the source {self._source.name} cannot remove messages",
                suggestions=["leave removal off for this source"],
            )

    def _guarded(self, worker: Worker, folder: Folder) -> Iterator[Outcome]:
        """(10) One folder that fails is reported and the others go on."""
        self._tally.add("folders")
        self._checkpoint = Checkpoint(self._source.name, folder.key)
        try:
            yield from self._folder(worker, folder)
            self._unreachable = False
        except AuthenticationFailed:
            raise
        except SourceError as error:
            if isinstance(error, Transient) and self._unreachable:
                raise  # two folders in a row: it is the source that is gone or asks for a pause
            self._unreachable = isinstance(error, Transient)
            failure = FolderFailure(folder, error.code, str(error), error.suggestions)
            self._tally.failures.append(failure)
            self._tell(FolderFailed(folder, error.code))
        finally:
            self._tally.add("waiting", len(self._checkpoint.retry))

    def _folder(self, worker: Worker, folder: Folder) -> Iterator[Outcome]:
        found = _asking.load(self._plan.state, self._source.name, folder.key)
        self._tell(FolderStarted(folder, resumed=found is not None))
        if found is not None:
            self._checkpoint = found
            self._finish(worker, folder)
        now = None if self._plan.retry_now else _asking.now(self._plan.clock)
        due = _waiting.due(self._checkpoint.retry, now)
        try:
            yield from self._pages(worker, folder, self._checkpoint.token, due)
        except CheckpointInvalid:
            # Once, also where the folder changed before its first page was accounted for.
            if self._checkpoint.token is not None:
                self._lose_token(folder)
            yield from self._pages(worker, folder, None, ())
        self._let_go()

    def _let_go(self) -> None:
        """(1) Owe nothing for what vanished: the folder was listed to the end."""
        left = _waiting.without_gone(self._checkpoint.retry)
        if left != self._checkpoint.retry and not self._plan.dry_run:
            self._checkpoint = evolve(self._checkpoint, retry=left)
            _asking.save(self._plan.state, self._checkpoint)

    def _lose_token(self, folder: Folder) -> None:
        """(1) Forget the token for good, also where no page of the folder is saved after this.

        A folder that gives numbers again reaches those of the token one day: a later run
        would go on behind them and pass everything below.
        """
        self._checkpoint = evolve(self._checkpoint, token=None)
        if not self._plan.dry_run:
            _asking.save(self._plan.state, self._checkpoint)
        self._tally.relisted.append(folder)
        self._tell(CheckpointLost(folder))

    def _pages(
        self,
        worker: Worker,
        folder: Folder,
        after: str | None,
        due: tuple[MessageRef, ...],
    ) -> Iterator[Outcome]:
        # Removal comes between two pages, so it waits there; otherwise reading runs ahead.
        removes = self._plan.removal.enabled and not self._plan.dry_run
        pause = PageEnds if removes else None
        reading = worker.stream(
            lambda: read_folder(self._source, folder, after, due), size_of, pause
        )
        try:
            for page in self._settled_pages(folder, reading, across_pages=not removes):
                settled = page.outcomes()
                self._account(folder, page.begins, settled)
                self._remove(worker, folder)
                yield from (each.outcome for each in settled)
        finally:
            reading.close()

    def _settled_pages(
        self, folder: Folder, reading: Iterator[Read], *, across_pages: bool
    ) -> Iterator[PageUnderWay]:
        """Store what is read, a batch at a time, and yield each page once it is settled."""
        storing = self._storing
        cut = batches(reading, self._plan.batching)
        decoded = one_ahead(
            ((part, storing.decode(each)) for part, each in cut),
            lambda part: (across_pages or not part.last) and not part.large,
        )
        begun = one_ahead(
            ((part, storing.begin(folder, each)) for part, each in decoded),
            lambda part: across_pages or not part.last,
        )
        told: PageUnderWay | None = None
        for part, each in begun:
            page = part.page
            if page is not told:
                told, refs = page, page.begins.refs
                self._tell(PageListed(folder, len(refs), retried=page.begins.token is None))
            page.settled.extend(self._put(folder, each))
            del each  # its messages need not stay while the next ones are read
            if part.last:
                yield page

    def _make_storing(self, digesting: Digesting) -> Storing:
        plan = self._plan
        return Storing(
            sink=plan.sink,
            users=plan.users,
            decoder=plan.decoder,
            attribution=plan.attribution,
            unknown=plan.unknown,
            quarantine=plan.quarantine,
            select=plan.select,
            fidelity=self._source.capabilities.fidelity,
            mailbox=self._source.mailbox,
            dry_run=plan.dry_run,
            digesting=digesting,
        )

    def _put(self, folder: Folder, begun: Begun) -> list[Settled]:
        """(3) Put again what was put before the last crash: the archive stores it once."""
        if not begun.messages:
            return begun.settled
        settled = self._storing.finish(begun)
        receipts = [e.outcome.receipt for e in settled if isinstance(e.outcome, Archived)]
        present = sum(receipt.outcome is Stored.PRESENT for receipt in receipts)
        size = sum(len(message.raw) for message in begun.messages)
        self._tell(BatchStored(folder, len(receipts) - present, present, size))
        return settled

    def _account(self, folder: Folder, page: PageBegins, settled: Sequence[Settled]) -> None:
        """(1) Save the checkpoint once every message of the page has an outcome."""
        self._tally.add("listed" if page.token is not None else "retried", len(page.refs))
        counts = self._tally.settle(settled)
        if not self._plan.dry_run:
            token = self._checkpoint.token if page.token is None else page.token
            self._checkpoint = evolve(
                self._checkpoint,
                token=token,
                removing=self._checkpoint.removing + self._removable(settled),
                retry=self._retries(page, settled),
            )
            _asking.save(self._plan.state, self._checkpoint)
        self._tell(
            PageDone(
                folder,
                archived=counts["stored"] + counts["present"],
                quarantined=counts["quarantined"],
                skipped=counts["skipped"],
                vanished=counts["vanished"],
                failed=counts["failed"],
            )
        )

    def _retries(self, page: PageBegins, settled: Sequence[Settled]) -> tuple[Retry, ...]:
        """Return what waits after a page; raises `SourceError` where that is too much."""
        outcomes = (each.outcome for each in settled)
        now = _asking.now(self._plan.clock)
        listed = page.token is not None
        before, plan = self._checkpoint.retry, self._plan.retries
        after = _waiting.after(before, outcomes, plan, now, listed=listed)
        if _waiting.too_many(after):
            raise SourceError(
                f"source {self._source.name}: more than {_waiting.AT_MOST} messages of one "
                "folder cannot be read",
                suggestions=["find out why the server does not hand them over, and run again"],
            )
        return after

    def _removable(self, settled: Sequence[Settled]) -> tuple[Archived, ...]:
        """(2) What may be removed: each receipt good enough and its bytes read back."""
        if not self._plan.removal.enabled:
            return ()
        found = [
            each.outcome
            for each in settled
            if each.removable and isinstance(each.outcome, Archived)
        ]
        return tuple(each for each in found if self._proven(each.receipt))

    def _proven(self, receipt: Receipt) -> bool:
        if receipt.durability < self._plan.removal.durability:
            return False
        if Digest.of(self._plan.sink.read(receipt)) == receipt.stored_digest:
            return True
        raise ReceiptMismatch(
            f"the sink {self._plan.sink.name} gives back other bytes than it has a receipt for",
            suggestions=["verify the archive; nothing of this page was removed at the source"],
        )

    def _finish(self, worker: Worker, folder: Folder) -> None:
        """(2) Carry out what an earlier run intended, after reading it back once more."""
        if self._plan.removal.enabled:
            proven = tuple(e for e in self._checkpoint.removing if self._proven(e.receipt))
            self._checkpoint = evolve(self._checkpoint, removing=proven)
            self._remove(worker, folder)

    def _remove(self, worker: Worker, folder: Folder) -> None:
        """(2) Remove what the saved checkpoint intends, then save that it is done."""
        removing = self._checkpoint.removing
        if not removing or self._plan.dry_run or not self._plan.removal.enabled:
            return
        results: tuple[RemovalResult, ...] = worker.call(lambda: self._source.remove(removing))
        removed, kept = self._tally.removals(results)
        self._checkpoint = evolve(self._checkpoint, removing=())
        _asking.save(self._plan.state, self._checkpoint)
        self._tell(RemovalDone(folder, removed, kept))
