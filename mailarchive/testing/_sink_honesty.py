"""Laws of honesty: what a sink can do, whose mail it gives, what it costs, how it fails."""

from __future__ import annotations

import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import evolve

from mailarchive._model import Digest, Stored, UserId
from mailarchive.errors import MailArchiveError, Unsupported
from mailarchive.testing._open_files import can_be_counted, open_files
from mailarchive.testing._sink_kit import (
    SERIAL,
    as_a_run_makes_it,
    fails_well,
    is_first,
    law,
    marked,
    read_back,
    reads,
    receipts_of,
    stored,
    survives,
)
from mailarchive.testing._traced import NotTried
from mailarchive.testing.entries import entry, mail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from mailarchive._model import ArchiveEntry, Receipt
    from mailarchive.abc import Sink
    from mailarchive.testing._sink_kit import SinkMaker

_USERS: Final = (
    *("alice", "bob", "ali", "", "alice ", "ALICE", "%", "*", "../alice", "zo\xe9"),
    "zoe\u0301",
)
"""Users whom a careless comparison takes for one another, or for all."""
_NO_READING: Final = "it cannot be read back, and says so"
_MEBI: Final = 1 << 20
Look: TypeAlias = "Callable[[Sink, UserId], Iterable[bytes] | None]"


def _key() -> str:
    return f"honest-{next(SERIAL)}"


@law
def reading_is_as_the_capabilities_say(make: SinkMaker) -> str | None:
    """A sink that says it reads does so; another raises `Unsupported`, and nothing else."""
    one = entry(marked(1), key=_key())
    with make() as sink:
        receipt = stored(sink, one)
        try:
            found = sink.read(receipt)
        except Unsupported as error:
            assert not reads(sink), "it says that it can be read back, and cannot"
            fails_well(error, "reading back")
            return _NO_READING
        except MailArchiveError as error:
            kind = type(error).__name__
            raise AssertionError(
                f"it says that it can be read back, and reading raises {kind}"
            ) from error
        assert found == one.raw, "it says that it can be read back, and gives other bytes"
    return None


@law
def what_is_read_is_what_the_receipt_says(make: SinkMaker) -> str | None:
    """Never other bytes than those of `stored_digest`: rather an error.

    A receipt that points elsewhere is what a swapped or replaced message looks like to
    whoever kept the receipt; a digest kept beside the bytes would agree with them.
    """
    pair = [entry(marked(number), key=_key()) for number in (1, 2)]
    with make() as sink:
        first, second = receipts_of(sink.put_many(pair))
        if not reads(sink):
            return _NO_READING
        swapped = evolve(first, location=second.location)
        for receipt in (swapped, evolve(first, entry_id=second.entry_id)):
            try:
                found = sink.read(receipt)
            except MailArchiveError as error:
                fails_well(error, "reading a receipt that points elsewhere")
            else:
                assert Digest.of(found) == receipt.stored_digest, (
                    "gave another message than the one that the receipt is of"
                )
    return None


@law
def a_receipt_of_nothing_is_an_error(make: SinkMaker) -> str | None:
    """Reading what was never stored raises an error of the sink's own that says what to do."""
    one, never = entry(marked(1), key=_key()), entry(marked(2), key=_key())
    with make() as sink:
        receipt = stored(sink, one)
        if not reads(sink):
            return _NO_READING
        for location in (_like(receipt, never.id), "../../../etc/passwd", "/etc/passwd", "", "\0"):
            strange = evolve(
                receipt, entry_id=never.id, stored_digest=never.raw_digest, location=location
            )
            try:
                sink.read(strange)
            except MailArchiveError as error:
                fails_well(error, "reading what was never stored")
            else:
                raise AssertionError("read something that was never stored")
    return None


def _like(receipt: Receipt, other: Digest) -> str:
    """The location that another entry would have, where it is made of the id."""
    return receipt.location.replace(receipt.entry_id.hex, other.hex)


@law
def several_threads_may_put_at_once(make: SinkMaker, *, threads: int = 4) -> str | None:
    """Where `concurrent_puts` says so: the same and other entries at once, each stored once.

    And read by all of them at once, each to the byte.
    """
    shared = [entry(mail(number), key=_key()) for number in range(6)]
    own = [[entry(mail(number), key=_key()) for number in range(4)] for _ in range(threads)]
    start = threading.Barrier(threads)
    with make() as sink:
        if not sink.capabilities.concurrent_puts:
            return "it wants to be called from one thread"

        def work(number: int) -> list[Receipt]:
            start.wait()
            return receipts_of([sink.put(each) for each in [*shared, *own[number]]])

        with ThreadPoolExecutor(threads) as pool:
            found = [receipt for some in pool.map(work, range(threads)) for receipt in some]
        for each in [*shared, *(one for some in own for one in some)]:
            mine = [receipt for receipt in found if receipt.entry_id == each.id]
            new = [receipt for receipt in mine if receipt.outcome is Stored.STORED]
            assert new, "several threads put a new entry, and none was told that it stored it"
            assert len(new) == 1, f"{len(new)} threads stored one entry, each for the first time"
            places = {receipt.location for receipt in mine}
            assert len(places) == 1, "threads that put one entry were told different places"
            read_back(sink, mine[0], each.raw, "put by several threads")
        known = {receipt.entry_id: receipt for receipt in found}

        def look(number: int) -> None:
            start.wait()
            for each in [*shared[number:], *own[number], *shared[:number]] * 5:
                read_back(sink, known[each.id], each.raw, "read by several threads")

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(look, range(threads)))
    return None


@law
def two_sinks_may_be_open_at_once(make: SinkMaker, *, patience: float = 30) -> str | None:
    """Each keeps what it acknowledged, whatever the other one does; or the second one refuses.

    What one has stored is `present` to the other, with the first receipt.  Two runs of two
    jobs, or somebody who exports while a run goes on, open an archive twice.
    """
    mine, others = ([entry(mail(next(SERIAL)), key=_key()) for _ in range(4)] for _ in range(2))
    # Each is used by one thread; the second thread is joined once the first sink is closed.
    with ThreadPoolExecutor(1) as beside, make() as one:
        first = receipts_of(one.put_many(mine[:2]))
        putting = beside.submit(_put_beside, make, [*others[:2], mine[0]])
        try:
            second = putting.result(patience)
        except FutureTimeout:
            raise AssertionError(
                "a second sink waits for as long as the first one is open, and does not say so"
            ) from None
        if second is None:
            return "it refuses to be opened twice"
        is_first(second.pop(), first[0], "put while another sink was open that has it")
        is_first(stored(one, others[0]), second[0], "put while another sink was open that has it")
        first += receipts_of(one.put_many(mine[2:]))
        again = beside.submit(_put_beside, make, others[2:]).result(patience)
        assert again is not None, "a second sink is taken once, and refused the next time"
        for receipt, each in zip(first, mine, strict=True):
            read_back(one, receipt, each.raw, "stored while another sink was open")
    with make() as sink:
        for receipt, each in zip([*first, *second, *again], mine + others, strict=True):
            read_back(sink, receipt, each.raw, "stored while another sink was open")
    return None


def _put_beside(make: SinkMaker, entries: Sequence[ArchiveEntry]) -> list[Receipt] | None:
    """Put into a sink of one's own; `None` where it refuses, as one that wants to be alone."""
    try:
        with make() as sink:
            return receipts_of(sink.put_many(entries))
    except MailArchiveError as error:
        fails_well(error, "opening a second sink")
        return None


@law
def nobody_sees_the_mail_of_others(make: SinkMaker, *, seen_by: Look | None = None) -> str | None:
    """Where a sink shows users their mail, each sees exactly what is theirs.

    `seen_by` says what a user is shown; without it the sink's method `of(user)`, as
    `MemorySink` has it.  Two messages belong to two users: one as an entry of both, one as
    two copies with equal bytes.
    """
    look = seen_by or _by_method
    theirs = {user: {mail(next(SERIAL)) for _ in range(2)} for user in _USERS}
    both, twice = mail(next(SERIAL)), mail(next(SERIAL))
    puts: list[tuple[bytes, tuple[str, ...]]]
    puts = [(raw, (user,)) for user, raws in theirs.items() for raw in raws]
    puts += [(both, ("alice", "bob")), (twice, ("alice",)), (twice, ("bob",))]
    for user in ("alice", "bob"):
        theirs[user] |= {both, twice}
    with make() as sink:
        receipts_of([sink.put(entry(raw, key=_key(), users=users)) for raw, users in puts])
        if look(sink, UserId("alice")) is None:
            return "it shows nobody anything"
        _each_sees_theirs(sink, look, theirs, "")
        if not survives(sink):
            return None
    with make() as sink:
        _each_sees_theirs(sink, look, theirs, ", after opening anew")
    return None


def _each_sees_theirs(
    sink: Sink, look: Look, theirs: Mapping[str, AbstractSet[bytes]], when: str
) -> None:
    every = frozenset[bytes]().union(*theirs.values())
    for user, raws in theirs.items():
        shown = set(look(sink, UserId(user)) or ())
        assert not shown & (every - raws), f"a user is shown the mail of another one{when}"
        assert raws <= shown, f"a user is not shown mail that is theirs{when}" + (
            ", and somebody else's too" if user in {"alice", "bob"} else ""
        )
    assert not list(look(sink, UserId("nobody")) or ()), f"somebody unknown is shown mail{when}"


def _by_method(sink: Sink, user: UserId) -> Iterable[bytes] | None:
    method: Callable[[UserId], Iterable[bytes]] | None = getattr(sink, "of", None)
    return None if method is None else method(user)


@law
def an_open_and_a_close_leave_nothing_open(make: SinkMaker, *, rounds: int = 5) -> str | None:
    """No handle and no thread is left over, however often it is opened, put to and read."""
    if not can_be_counted():
        return NotTried(f"open files cannot be counted on {sys.platform}")
    _round(make)  # what is loaded once may stay
    before = open_files(), threading.active_count()
    for _ in range(rounds):
        _round(make)
    after = open_files(), threading.active_count()

    assert after[0] < before[0] + rounds, "each time it is opened it leaves a file open"
    assert after[1] < before[1] + rounds, "each time it is opened it leaves a thread behind"
    with make() as sink:
        stored(sink, entry(mail(1), key=_key()))
        before = open_files(), threading.active_count()
        for _ in range(rounds * 4):
            one = entry(mail(1), key=_key())
            read_back(sink, stored(sink, one), one.raw, "put many times")
        assert open_files() < before[0] + rounds * 4, "each put leaves a file open"
        if reads(sink):
            _failed_reads_leave_nothing(sink, rounds * 4)
    return None


def _failed_reads_leave_nothing(sink: Sink, times: int) -> None:
    receipt, never = stored(sink, entry(mail(1), key=_key())), entry(mail(2), key=_key())
    lost = evolve(receipt, entry_id=never.id, stored_digest=never.raw_digest)
    before = open_files()
    for _ in range(times):
        with suppress(MailArchiveError):
            sink.read(lost)
    assert open_files() < before + times, "each read that fails leaves a file open"


def _round(make: SinkMaker) -> None:
    one = entry(mail(1), key=_key())
    with make() as sink:
        read_back(sink, stored(sink, one), one.raw, "opened many times")


@law
def memory_is_bounded(make: SinkMaker, *, count: int = 48) -> str | None:
    """Messages of 1 MiB, foreseen and put one after another, do not pile up in memory."""
    with make() as sink:
        if not survives(sink):
            return "it promises nothing beyond this process, and may keep mail in memory"
        stored(sink, entry(mail(1, octets=_MEBI), key=_key()))
        tracemalloc.start()
        try:
            following = _large(0)
            for number in range(1, count):
                now, following = following, _large(number)
                sink.foresee([following])
                stored(sink, now)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < count // 2 * _MEBI, f"{count} messages of 1 MiB took {peak >> 20} MiB of memory"
    return None


def _large(number: int) -> ArchiveEntry:
    return as_a_run_makes_it(entry(mail(number, octets=_MEBI), key=_key()))


LAWS = (
    reading_is_as_the_capabilities_say,
    what_is_read_is_what_the_receipt_says,
    a_receipt_of_nothing_is_an_error,
    several_threads_may_put_at_once,
    two_sinks_may_be_open_at_once,
    nobody_sees_the_mail_of_others,
    an_open_and_a_close_leave_nothing_open,
    memory_is_bounded,
)
