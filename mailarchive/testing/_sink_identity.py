"""Laws of identity: an entry is its id, put once, and nothing else makes two one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve
from typing_extensions import override

from mailarchive._model import Address, Fidelity, Folder, Owner, Ownership, Stored, UserId
from mailarchive._policy import Batching
from mailarchive.errors import MailArchiveError
from mailarchive.testing._elsewhere import Elsewhere
from mailarchive.testing._sink_kit import (
    SERIAL,
    as_a_run_makes_it,
    is_first,
    law,
    read_back,
    receipts_of,
    stored,
    survives,
)
from mailarchive.testing._traced import NotTried
from mailarchive.testing.entries import entry, mail

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailarchive._model import ArchiveEntry, Digest, Receipt
    from mailarchive.abc import Sink
    from mailarchive.testing._sink_kit import SinkMaker


_ALIKE: Final = ((25142, 82687), (22539, 47951))
"""Mails, each under its number as key, whose ids have four bytes, or their CRC, alike."""


def _key() -> str:
    return f"key-{next(SERIAL)}"


@law
def an_entry_is_stored_once(make: SinkMaker) -> str | None:
    """Put again, it is `present` with its first receipt: at once, in a batch, opened anew.

    Its id says that it is the same, whoever owns it by now and whatever else is told of it;
    and one whose id is nearly the same is another one.
    """
    one, other = entry(mail(1), key=_key()), entry(mail(2), key=_key())
    with make() as sink:
        first = stored(sink, one)
        assert first.outcome is Stored.STORED, "a new entry is said to be there already"
        is_first(stored(sink, one), first, "put again")
        again, fresh = receipts_of(sink.put_many((one, other)))
        is_first(again, first, "put again in a batch")
        assert fresh.outcome is Stored.STORED, "a new entry of a batch is said to be there already"
        twice = receipts_of(sink.put_many((other, other)))
        is_first(twice[0], fresh, "put twice in a batch")
        assert sink.put_many(()) == (), "an empty batch has an answer"
        for what, told in _told_otherwise(one):
            is_first(stored(sink, told), first, f"put again with {what}")
        for each in (entry(mail(n), key=str(n)) for pair in _ALIKE for n in pair):
            receipt = stored(sink, each)
            assert receipt.outcome is Stored.STORED, "an entry was taken for one with a like id"
            read_back(sink, receipt, each.raw, "another entry has a like id")
        read_back(sink, first, one.raw, "after it was put again")
        if not survives(sink):
            return "nothing is promised of a sink that is opened anew"
    with make() as sink:
        is_first(stored(sink, one), first, "put again after opening anew")
        read_back(sink, first, one.raw, "after opening anew")
    return None


def _told_otherwise(one: ArchiveEntry) -> Iterator[tuple[str, ArchiveEntry]]:
    """Yield the entry with what its id is not made of, as another run may tell it."""
    carol = Owner(UserId("carol"), frozenset({Address("carol@example.com")}))
    yield "other owners", evolve(one, ownership=Ownership((*one.ownership.owners, carol)))
    yield "other flags", evolve(one, flags=frozenset({"seen"}))
    then = datetime(2026, 1, 2, tzinfo=UTC)
    yield "another time of receipt", evolve(one, received_at=then)
    moved = Folder(one.folder.key, ("Moved", "Away"))
    yield "another path of its folder", evolve(one, folder=moved)


@law
def other_bytes_of_one_item_are_both_kept(make: SinkMaker) -> str | None:
    """An item of a wire source whose bytes changed is another entry; none takes its place."""
    key = _key()
    versions = [entry(mail(number), key=key) for number in (1, 2, 3)]
    with make() as sink:
        found = [stored(sink, each) for each in versions]
        assert all(each.outcome is Stored.STORED for each in found), (
            "other bytes of one item were taken for the same entry"
        )
        for receipt, each in zip(found, versions, strict=True):
            read_back(sink, receipt, each.raw, "one item was put with other bytes")
    return None


@law
def a_rendered_item_keeps_its_first_bytes(make: SinkMaker) -> str | None:
    """A second rendering of an item is `present`; the first is what is kept, and what is said."""
    key = _key()
    one, other = (entry(mail(n), key=key, fidelity=Fidelity.RENDERED) for n in (1, 2))
    with make() as sink:
        first = stored(sink, one)
        is_first(stored(sink, other), first, "another rendering of one item")
        read_back(sink, first, one.raw, "the first rendering was overwritten by the second")
    return None


@law
def a_message_id_is_no_identity(make: SinkMaker) -> str | None:
    """Two messages with one Message-ID are two messages."""
    raws = [mail(number, message_id="<one@example.com>") for number in (1, 2)]
    with make() as sink:
        found = [(raw, stored(sink, entry(raw, key=_key()))) for raw in raws]
        for raw, receipt in found:
            assert receipt.outcome is Stored.STORED, (
                "a message was taken for another one with the same Message-ID"
            )
            read_back(sink, receipt, raw, "another message had the same Message-ID")
    return None


@law
def equal_bytes_of_two_copies_are_both_acknowledged(make: SinkMaker) -> str | None:
    """A copy under another name, as after a full crawl, has a receipt that can be read."""
    raw = mail(1)
    copies = [entry(raw, key=_key(), users=(user,)) for user in ("alice", "alice", "bob")]
    with make() as sink:
        found = receipts_of(sink.put_many(copies))
        assert [each.entry_id for each in found] == [each.id for each in copies]
        for receipt in found:
            read_back(sink, receipt, raw, "equal bytes came from several copies")
    return None


@law
def any_order_and_any_split_gives_one_archive(
    make: SinkMaker, *, runs: int = 8, steps: int = 10
) -> str | None:
    """Whatever is put again, in any order and any batches, the archive is the same.

    `runs` walks of so many `steps`, chosen by hypothesis, beside a plain dictionary.
    """
    try:
        from hypothesis import HealthCheck, Phase, errors, settings
        from hypothesis.stateful import run_state_machine_as_test
    except ImportError:
        return NotTried("hypothesis is missing: pip install 'mailarchive[testing]'")

    chosen = settings(
        max_examples=runs,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    try:
        run_state_machine_as_test(_machine(make), settings=chosen)
    except errors.Flaky as error:
        raise AssertionError("the sink answers the same puts in different ways") from error
    return None


class _Walk:
    """A sink, and a dictionary of what it has acknowledged."""

    def __init__(self, make: SinkMaker) -> None:
        self.make = make
        self.salt = next(SERIAL)
        self.model: dict[Digest, tuple[Receipt, bytes]] = {}
        self.sink: Sink = make().__enter__()

    def close(self) -> None:
        self.sink.__exit__(None, None, None)

    def put(self, batch: Sequence[tuple[int, int, bool]]) -> None:
        entries = [self.entry(*each) for each in batch]
        for each, receipt in zip(entries, receipts_of(self.sink.put_many(entries)), strict=True):
            first, _ = self.model.setdefault(each.id, (receipt, each.raw))
            if first is not receipt:
                assert receipt.outcome is Stored.PRESENT, "one entry was stored twice"
                is_first(receipt, first, "put again")

    def open_anew(self) -> None:
        if survives(self.sink):
            self.close()
            self.sink = self.make().__enter__()

    def look(self) -> None:
        for receipt, raw in self.model.values():
            read_back(self.sink, receipt, raw, "after some puts in some order")

    def entry(self, item: int, version: int, rendered: bool) -> ArchiveEntry:
        fidelity = Fidelity.RENDERED if rendered else Fidelity.WIRE
        key = f"walk-{self.salt}-{item}-{rendered}"
        return entry(mail(version), key=key, fidelity=fidelity)


def _machine(make: SinkMaker) -> Any:
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

    items = st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans())

    class Redelivery(RuleBasedStateMachine):
        """A walk whose steps hypothesis chooses."""

        def __init__(self) -> None:
            super().__init__()
            self.walk = _Walk(make)

        @override
        def teardown(self) -> None:
            self.walk.close()

        @rule(batch=st.lists(items, min_size=1, max_size=6))
        def put(self, batch: list[tuple[int, int, bool]]) -> None:
            self.walk.put(batch)

        @rule()
        def open_anew(self) -> None:
            self.walk.open_anew()

        @invariant()
        def everything_is_there(self) -> None:
            self.walk.look()

    return Redelivery


@law
def foreseeing_changes_nothing(
    make: SinkMaker, *, batch: int = Batching().max_messages
) -> str | None:
    """In the order of a run: only what is put is stored, be it foreseen or not.

    The first batch has `batch` messages, as many as one of a run has by default.
    """
    first, second, third, never = (_batch(count) for count in (batch, 3, 3, 3))
    with make() as sink:
        _foresee(sink, first)
        _foresee(sink, second)
        receipts = _put_foreseen(sink, first)
        _foresee(sink, third)
        receipts += _put_foreseen(sink, second)
        _foresee(sink, never)
        receipts += _put_foreseen(sink, third)
        if not survives(sink):
            _put_foreseen(sink, never)
            return "nothing is promised of a sink that is opened anew"
    with Elsewhere(make) as there:
        there.open()
        for receipt in receipts_of(there.put(*never)):
            assert receipt.outcome is Stored.STORED, (
                "what was foreseen and never put is said to be there by another process"
            )
        there.close()
    with make() as sink:
        again = receipts_of(sink.put_many([*first, *second, *third]))
        for one, receipt in zip(receipts, again, strict=True):
            is_first(receipt, one, "put again after opening anew")
    return None


def _batch(count: int) -> list[ArchiveEntry]:
    """Return entries as a run makes them, of which no two have one and the same bytes."""
    numbers = (next(SERIAL) for _ in range(count))
    return [as_a_run_makes_it(entry(mail(n), key=f"key-{n}")) for n in numbers]


def _foresee(sink: Sink, entries: Sequence[ArchiveEntry]) -> None:
    try:
        sink.foresee(entries)
    except MailArchiveError as error:
        raise AssertionError(f"foreseeing raises {type(error).__name__}: {error}") from error


def _put_foreseen(sink: Sink, entries: Sequence[ArchiveEntry]) -> list[Receipt]:
    """Put a batch that was foreseen, and see that it is there now, and was not before."""
    receipts = receipts_of(sink.put_many(entries))
    for each, receipt in zip(entries, receipts, strict=True):
        assert receipt.outcome is Stored.STORED, "what was only foreseen is said to be there"
        read_back(sink, receipt, each.raw, f"one of {len(entries)} that were foreseen and put")
    return receipts


LAWS = (
    an_entry_is_stored_once,
    other_bytes_of_one_item_are_both_kept,
    a_rendered_item_keeps_its_first_bytes,
    a_message_id_is_no_identity,
    equal_bytes_of_two_copies_are_both_acknowledged,
    any_order_and_any_split_gives_one_archive,
    foreseeing_changes_nothing,
)
