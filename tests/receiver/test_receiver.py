"""A receiver takes what arrives and answers once for each, whatever the intake is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.world import LocalParts, mail
from typing_extensions import override

from mailarchive import (
    Archived,
    ArchiveEntry,
    Batching,
    Digest,
    Quarantined,
    Receipt,
    Receiver,
    headers,
)
from mailarchive.decoding import JournalMailbox
from mailarchive.errors import ReceiptMismatch, SinkError, SinkUnavailable, SourceUnavailable
from mailarchive.events import BatchPutOff, BatchStored, FolderStarted, RunFinished, RunStarted
from mailarchive.testing.memory import MemoryIntake, MemoryQuarantine, MemorySink


class Choosy(MemorySink):
    """Fails at some messages."""

    def __init__(self, bad: frozenset[bytes], error: type[SinkError]) -> None:
        super().__init__()
        self.bad, self.error = bad, error

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        if entry.raw in self.bad:
            raise self.error("not this one")
        return super()._put(entry)


@given(
    st.lists(st.integers(0, 6), max_size=20),
    st.frozensets(st.integers(0, 6)),
    st.integers(1, 5),
    st.sampled_from([SinkError, SinkUnavailable]),
)
def test_each_arrival_has_one_answer_and_it_is_true(
    numbers: list[int], bad: frozenset[int], together: int, error: type[SinkError]
) -> None:
    """What was accepted is in the sink, once; what was put off is not counted as anything else."""
    sink = Choosy(frozenset(map(mail, bad)), error)
    intake = MemoryIntake(map(mail, numbers))
    receiver = Receiver(
        intake,
        sink,
        LocalParts(),
        quarantine=MemoryQuarantine(),
        batching=Batching(max_messages=together),
    )
    done = receiver.run()

    stored = {entry.raw for entry in sink.entries.values()}
    answers = [arrival.answer for arrival in intake.arrivals]
    accepted = [a for a in intake.arrivals if isinstance(a.answer, Archived | Quarantined)]
    archived = [a.message.raw for a in accepted if isinstance(a.answer, Archived)]
    assert None not in answers
    assert set(archived) <= stored
    assert done.stored + done.present + done.quarantined == len(accepted)
    assert done.put_off == len(numbers) - len(accepted)
    if error is SinkError:
        # One message's fault is no other's.
        assert stored == {mail(number) for number in numbers if number not in bad}


def test_a_message_too_large_for_the_process_is_no_others_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is put off, where it ended the receiver, and ended it again each time it came."""
    key = headers.fork_key

    def fork_key(raw: bytes) -> Digest:
        if raw == mail(2):
            raise MemoryError
        return key(raw)

    monkeypatch.setattr(headers, "fork_key", fork_key)
    sink = MemorySink()
    intake = MemoryIntake([mail(1), mail(2), mail(3)])

    done = Receiver(intake, sink, LocalParts(), quarantine=MemoryQuarantine()).run()

    assert (done.stored, done.put_off) == (2, 1)
    assert isinstance(intake.arrivals[1].answer, SinkError)


def test_what_it_does_is_told() -> None:
    """Beginning, batches, and the end; what an observer raises is counted."""
    told: list[object] = []
    sink = Choosy(frozenset({mail(3)}), SinkUnavailable)

    def observe(event: object) -> None:
        told.append(event)
        raise ValueError

    receiver = Receiver(
        MemoryIntake([mail(1), mail(2), mail(3)]),
        sink,
        LocalParts(),
        quarantine=MemoryQuarantine(),
        batching=Batching(max_messages=2),
        observer=observe,
    )
    done = receiver.run()

    kinds = [type(event) for event in told]
    assert kinds == [RunStarted, FolderStarted, BatchStored, BatchPutOff, RunFinished]
    assert done.observer_errors == len(told)
    assert receiver.received == done


def test_what_cannot_be_decoded_is_kept_apart_and_accepted() -> None:
    """The sender could do nothing about it."""
    quarantine = MemoryQuarantine()
    intake = MemoryIntake([b"X-MS-Journal-Report:\r\n\r\nno report\r\n"])
    Receiver(
        intake, MemorySink(), LocalParts(), quarantine=quarantine, decoder=JournalMailbox()
    ).run()

    assert isinstance(intake.arrivals[0].answer, Quarantined)
    assert len(quarantine.held) == 1


class Liar(MemorySink):
    """Has receipts for other bytes."""

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        return Receipt(self.name, entry.id, entry.id, "somewhere")


def test_a_sink_that_lies_ends_it_and_nothing_is_accepted() -> None:
    """Whoever waits keeps its message."""
    intake = MemoryIntake([mail(1), mail(2)])
    with pytest.raises(ReceiptMismatch):
        Receiver(intake, Liar(), LocalParts(), quarantine=MemoryQuarantine()).run()

    assert all(isinstance(each.answer, ReceiptMismatch) for each in intake.arrivals)


def test_a_stopped_one_takes_no_more() -> None:
    """What was not taken was not answered for."""
    intake = MemoryIntake([mail(1), mail(2)])
    receiver = Receiver(
        intake,
        MemorySink(),
        LocalParts(),
        quarantine=MemoryQuarantine(),
        batching=Batching(max_messages=1),
        observer=lambda event: intake.stop() if isinstance(event, BatchStored) else None,
    )

    assert receiver.run().arrived == 1
    assert intake.arrivals[1].answer is None


class Deaf(MemoryIntake):
    """Cannot be opened."""

    @override
    def _open(self) -> None:
        raise ConnectionError


def test_an_intake_that_cannot_be_opened_is_our_error() -> None:
    """With a type."""
    with pytest.raises(SourceUnavailable):
        Receiver(Deaf(), MemorySink(), LocalParts(), quarantine=MemoryQuarantine()).run()
