"""Ten thousand items, every fault there is, and an account of each."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from support.ews import ALICE, SECRET, Clock, Desk

from mailarchive import Digest
from mailarchive.archiver import Archiver, RetryPlan
from mailarchive.auth import OAuth
from mailarchive.retry import RetryingSource
from mailarchive.sources.ews import EwsLimits
from mailarchive.testing import ews_faults as faults
from mailarchive.testing.ews_server import Call, EwsServer
from mailarchive.testing.memory import MemoryCheckpoints, MemoryQuarantine, MemorySink, NoUsers

if TYPE_CHECKING:
    from mailarchive import RunReport

ITEMS = 10_000
POISONED = 5
LOST_AT = 40
"""Calls before the server forgets every sync state."""
LIMITS = EwsLimits(items=100, retries=8)


class Weather:
    """Every fault in its turn, and some items that are lost for good."""

    def __init__(self, desk: Desk) -> None:
        """Choose the victims."""
        items = list(desk.mailbox.folder("inbox").items.values())
        self.poisoned = items[:: ITEMS // POISONED][:POISONED]
        for item in self.poisoned:
            item.error = "ErrorMimeContentConversionFailed"
        self.moved = items[-500]  # in the first page, behind its first chunk
        self._desk, self._inbox = desk, desk.mailbox.folder("inbox")
        self._seen = 0
        cut = faults.cut_xml(lambda answer: len(answer) * 4 // 5)
        self._turns = [
            faults.busy(milliseconds=400),
            faults.too_many_requests("3"),
            faults.status(503),
            cut,
            faults.hang_up(5_000),
            faults.doctype_bomb(),
            faults.answers_html(),
            faults.item_error("ErrorMailboxMoveInProgress"),
            faults.truncated(),
            faults.damaged(lambda text: text[:9] + b"!" + text[9:]),
            faults.early_end(),
            faults.items_swapped(),
        ]

    def __call__(self, call: Call) -> bool:
        """Strike every third call."""
        self._seen += 1
        self._desk.clock.now += timedelta(seconds=1)  # tokens grow old
        if call.operation == "GetItem" and self.moved.id in self._inbox.items:
            self._desk.mailbox.move(self.moved, "sentitems")
        if self._seen == LOST_AT:
            self._desk.mailbox.forget_sync_states()
        if self._seen % 3 == 0:
            turn = self._turns[self._seen // 3 % len(self._turns)]
            return turn(call)
        return False


@pytest.mark.slow
def test_ten_thousand_items_with_every_fault_end_complete(clock: Clock) -> None:
    """What can be had is archived once, to the byte; the rest is named, and owed."""
    with EwsServer(clock=clock) as server:
        desk = Desk(server, server.add_mailbox(ALICE, password=SECRET), clock)
        whole = desk.deliver(ITEMS)
        server.fault = weather = Weather(desk)
        sink, state = MemorySink(), MemoryCheckpoints()

        def run() -> RunReport:
            token = OAuth(ALICE, lambda: server.token(ALICE, seconds=60))
            source = desk.source(auth=token, method=None, limits=LIMITS)
            return Archiver(
                RetryingSource(source),
                sink,
                NoUsers(),
                state=state,
                quarantine=MemoryQuarantine(),
                clock=clock,
                retries=RetryPlan(),
            ).run()

        first = run()
        clock.now += timedelta(days=1)
        second = run()

    listed = first.stored + first.present + first.failed + first.vanished
    assert (first.listed, first.vanished, len(first.relisted)) == (listed, 1, 1)
    assert (first.stored, first.waiting) == (ITEMS - 1 - POISONED, POISONED)
    assert not first.failures
    assert (second.retried, second.stored, second.waiting) == (POISONED, 0, POISONED)
    lost = {Digest.of(item.raw) for item in [*weather.poisoned, weather.moved]}
    expected = {Digest.of(raw) for raw in whole} - lost
    assert {entry.raw_digest for entry in sink.entries.values()} == expected
    assert {retry.ref.key for retry in state.saved[-1].retry} == {i.id for i in weather.poisoned}
    assert {400 / 1000, 3.0} <= set(clock.waits)
