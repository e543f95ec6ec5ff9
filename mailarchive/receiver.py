"""One intake, one sink, and everything between them: a run that mail starts by arriving.

It keeps an archiver's promises by an archiver's own means (`_storing`): a message is
decoded, mapped, put and answered for.  What is different is who remembers: there is no
checkpoint, because the sender keeps each message until it hears that we have it.

(1)  A sender hears that its message is held only once there is a receipt for it, from the
     sink or from the quarantine.  Whatever goes wrong before is said to be for now.
(2)  A message that arrives again, because the answer was lost, is stored once: the same
     bytes with the same envelope are the same copy.
(3)  What cannot be decoded, and what the sink refuses for good, is quarantined, and that
     is an answer: the sender could do nothing about it.  So is what the sink fails at
     again and again while it takes others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

from mailarchive import attribution as attribution_
from mailarchive import decoding
from mailarchive._durable import no_fuse
from mailarchive._model import Archived, Fidelity, Quarantined, Stored
from mailarchive._policy import Batching
from mailarchive._storing import Storing
from mailarchive.errors import (
    MailArchiveError,
    ReceiptMismatch,
    SinkCorrupt,
    SinkError,
    SinkFull,
    Transient,
)
from mailarchive.events import BatchPutOff, BatchStored, FolderStarted, RunFinished, RunStarted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailarchive._durable import Fuse
    from mailarchive._model import MessageRef, SourceMessage
    from mailarchive._report import Settled
    from mailarchive.abc import Arrival, Decoder, Intake, Observer, Quarantine, Sink, UserMap
    from mailarchive.attribution import Attribution, Unknown
    from mailarchive.events import Event

__all__ = ["Received", "Receiver"]

_BEYOND_TRUST = (ReceiptMismatch, SinkCorrupt)
"""Errors after which the archive must not be given more mail."""


_TOO_OFTEN = 5
"""Failures of one message, while others are taken, after which it is quarantined."""

_REMEMBERED = 1_000


@frozen
class Received:
    """What a receiver did: each message that arrived is counted once.

    `present` were in the archive already, `put_off` were not taken and come again.
    `unowned` and `unexpected` are among the archived and quarantined ones.
    """

    source: str
    stored: int = 0
    present: int = 0
    quarantined: int = 0
    put_off: int = 0
    unowned: int = 0
    unexpected: int = 0
    size: int = 0
    observer_errors: int = 0

    @property
    def arrived(self) -> int:
        """Every message that was answered."""
        return self.stored + self.present + self.quarantined + self.put_off


def _everything(message: SourceMessage, /) -> str | None:
    """Leave nothing out: its sender would forget it."""
    del message
    return None


@define
class _Stubborn:
    """Messages that the archive fails at; the last thousand are remembered."""

    _failed: dict[MessageRef, tuple[int, int]] = field(factory=dict)

    def has_failed(self, ref: MessageRef, taken: int) -> bool:
        """Note a failure; true where it is one of many, and others were taken meanwhile."""
        times, before = self._failed.pop(ref, (0, taken))
        self._failed[ref] = (times + 1, before)
        if len(self._failed) > _REMEMBERED:
            del self._failed[next(iter(self._failed))]
        return times + 1 >= _TOO_OFTEN and taken > before

    def forget(self, ref: MessageRef) -> None:
        """It is held now."""
        self._failed.pop(ref, None)


def _is_new(settled: Settled) -> bool:
    outcome = settled.outcome
    return isinstance(outcome, Archived) and outcome.receipt.outcome is Stored.STORED


class Receiver:
    """Archives what arrives, until it is stopped.

    The intake is opened and closed by `run`; the sink must be open and stays so, and is
    used on the thread that calls `run` alone.  Messages that wait at the same time are
    stored as one batch.
    """

    def __init__(
        self,
        intake: Intake,
        sink: Sink,
        users: UserMap,
        *,
        quarantine: Quarantine,
        decoder: Decoder = decoding.ordinary,
        attribution: Attribution = attribution_.all_participants,
        unknown: Unknown | None = None,
        batching: Batching | None = None,
        observer: Observer | None = None,
        fuse: Fuse = no_fuse,
    ) -> None:
        """Take the parts; nothing is opened yet.

        `fuse` is called before each answer, for tests that crash there.
        """
        self._intake, self._observer, self._fuse = intake, observer, fuse
        self._batching = batching or Batching()
        self._received = Received(intake.name)
        self._stubborn = _Stubborn()
        self._storing = Storing(
            sink=sink,
            users=users,
            decoder=decoder,
            attribution=attribution,
            unknown=unknown or attribution_.KeepUnowned(),
            quarantine=quarantine,
            select=_everything,
            fidelity=Fidelity.WIRE,
            mailbox=intake.mailbox,
            dry_run=False,
        )

    @property
    def received(self) -> Received:
        """What was done so far."""
        return self._received

    def run(self) -> Received:
        """Archive what arrives until `stop`, and return what was done.

        Raises `MailArchiveError` where the intake cannot be opened, and where the archive
        gave a receipt that is not of what it was given; everything else puts off the
        messages that are concerned and goes on.
        """
        with self._intake as intake:
            self._tell(RunStarted(intake.name))
            self._tell(FolderStarted(intake.folder, resumed=True))
            for batch in intake.batches(self._batching.max_messages, self._batching.max_bytes):
                self._take(batch)
        self._tell(RunFinished(intake.name, not self._received.put_off))
        return self._received

    def stop(self) -> None:
        """Let no more arrive, and end `run` when what is here is answered; from any thread."""
        self._intake.stop()

    def _take(self, batch: Sequence[Arrival]) -> None:
        """(1) Store a batch, and only then answer for it."""
        messages = list({each.message.ref: each.message for each in batch}.values())
        try:
            settled = self._storing.store(self._intake.folder, messages)
        except MailArchiveError as error:
            self._after(batch, error)
            return
        self._answer(batch, settled)

    def _answer(self, batch: Sequence[Arrival], settled: Sequence[Settled]) -> None:
        """Say that each is held; the same copy may wait twice, over two connections."""
        outcomes = {each.outcome.ref: each.outcome for each in settled}
        for arrival in batch:
            outcome = outcomes[arrival.message.ref]
            assert isinstance(outcome, Archived | Quarantined)
            self._fuse("answer")
            arrival.accept(outcome)
        self._count(settled, len(batch) - len(settled))

    def _after(self, batch: Sequence[Arrival], error: MailArchiveError) -> None:
        """Let nobody wait for a neighbour's fault: try each alone, unless all must wait."""
        if isinstance(error, _BEYOND_TRUST):
            self._put_off(batch, error)
            raise error
        if isinstance(error, Transient | SinkFull):
            self._put_off(batch, error)
            return
        if len(batch) == 1:
            self._after_one(batch[0], error)
            return
        for arrival in batch:
            self._take([arrival])

    def _after_one(self, arrival: Arrival, error: MailArchiveError) -> None:
        """(3) A message that never can be stored would be sent for days, and then be lost."""
        message = arrival.message
        taken = self._received.stored
        if isinstance(error, SinkError) and self._stubborn.has_failed(message.ref, taken):
            try:
                settled = self._storing.hold(message, f"the archive fails at it: {error.code}")
            except MailArchiveError as worse:
                self._put_off([arrival], worse)
                return
            self._stubborn.forget(message.ref)
            self._answer([arrival], [settled])
            return
        self._put_off([arrival], error)

    def _put_off(self, batch: Sequence[Arrival], error: MailArchiveError) -> None:
        for arrival in batch:
            arrival.put_off(error)
        self._received = evolve(self._received, put_off=self._received.put_off + len(batch))
        self._tell(BatchPutOff(self._intake.folder, len(batch), error.code))

    def _count(self, settled: Sequence[Settled], again: int) -> None:
        had, outcomes = self._received, [each.outcome for each in settled]
        receipts = [each.receipt for each in outcomes if isinstance(each, Archived)]
        new = [each for each in settled if _is_new(each)]
        size = sum(each.size for each in new)
        present = len(receipts) - len(new) + again
        self._received = evolve(
            had,
            stored=had.stored + len(new),
            present=had.present + present,
            quarantined=had.quarantined + len(outcomes) - len(receipts),
            unowned=had.unowned + sum(each.unowned for each in settled),
            unexpected=had.unexpected + sum(each.unexpected for each in settled),
            size=had.size + size,
        )
        self._tell(BatchStored(self._intake.folder, len(new), present, size))

    def _tell(self, event: Event) -> None:
        if self._observer is None:
            return
        try:
            self._observer(event)
        except Exception:  # noqa: BLE001 - an observer only watches: what it raises is counted
            errors = self._received.observer_errors + 1
            self._received = evolve(self._received, observer_errors=errors)
