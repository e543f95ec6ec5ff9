"""Laws of survival: what has a receipt is there, whatever happens afterwards.

They use other processes, and where Linux has strace a hand on the system calls of these.
"""

from __future__ import annotations

import contextlib
import random
import re
from typing import TYPE_CHECKING, Final

from mailarchive._model import Durability, Stored
from mailarchive.errors import MailArchiveError
from mailarchive.testing import _medium
from mailarchive.testing._elsewhere import (
    CHANGES,
    MARK,
    SYNCS,
    Died,
    Elsewhere,
    NotTried,
    why_not_traced,
)
from mailarchive.testing._sink_kit import (
    SERIAL,
    fails_well,
    is_first,
    law,
    read_back,
    receipt_of,
    receipts_of,
    stored,
)
from mailarchive.testing.entries import entry, mail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mailarchive._model import ArchiveEntry, Receipt
    from mailarchive.testing._sink_kit import SinkMaker

_NO_PROCESS: Final = "it promises nothing beyond its own process"
_NO_MEDIUM: Final = "it does not promise to survive a loss of power"
_PAYLOAD: Final = 256 << 10
_ENOUGH: Final = _PAYLOAD * 9 // 10
"""What cannot be compressed may still take a little less than it has."""
_BATCHES: Final = (1, 1, 3)
_CHANGES: Final = frozenset(CHANGES.split(","))
_SENDS: Final = frozenset({"sendto", "sendmsg"})
_ON_FILE: Final = re.compile(r"\w+\((?:\d+</(?!dev/)|AT_FDCWD|\"|\))")
"""A call by the name of a file, or by a handle that is one: no pipe, socket or event."""


def _promises(make: SinkMaker) -> Durability:
    with make() as sink:
        return sink.capabilities.durability


def _says(make: SinkMaker) -> Durability:
    """What it promises before it is opened, so that the archive itself is made under watch."""
    return make().capabilities.durability


def _entries(count: int, *, octets: int = 2_000) -> list[ArchiveEntry]:
    """Return entries that cannot be compressed, so that each is written somewhere."""
    numbers = (next(SERIAL) for _ in range(count))
    return [
        entry(mail(n) + random.Random(n).randbytes(octets), key=f"survives-{n}") for n in numbers
    ]


def _all_there(make: SinkMaker, kept: Sequence[tuple[ArchiveEntry, Receipt]], when: str) -> None:
    """Open the archive anew and see that every acknowledged entry is in it, once."""
    with make() as sink:
        for each, receipt in kept:
            again = stored(sink, each, when)
            assert again.outcome is Stored.PRESENT, f"{when}: an acknowledged entry is not there"
            is_first(again, receipt, when)
            read_back(sink, receipt, each.raw, when)


@law
def what_is_acknowledged_is_there_in_a_new_process(make: SinkMaker) -> str | None:
    """One process puts and ends as it should; others open the archive and find all of it."""
    if _promises(make) < Durability.PROCESS:
        return _NO_PROCESS
    entries = _entries(5)
    when = "after another process put it"
    with Elsewhere(make) as putting:
        putting.open()
        receipts = receipts_of(putting.put(*entries))
        putting.close()
    _all_there(make, list(zip(entries, receipts, strict=True)), when)
    with Elsewhere(make) as reading, make() as here:
        reading.open()
        for each, receipt in zip(entries, receipts, strict=True):
            if here.capabilities.reads:
                assert reading.read(receipt) == each.raw, f"{when}: other bytes came back"
            is_first(receipt_of(reading.put(each)[0]), receipt, when)
    return None


@law
def a_killed_process_loses_nothing_acknowledged(make: SinkMaker, *, points: int = 6) -> str | None:
    """SIGKILL at some steps of a run of puts: what has a receipt is there, the rest can be put.

    With strace the process dies inside `points` of the calls that change the disk; without
    it between two puts.
    """
    if _promises(make) < Durability.PROCESS:
        return _NO_PROCESS
    _killed_run(make, None)
    if why_not_traced() is None:
        for call in _calls(make, [], points):
            _killed_run(make, call("signal=SIGKILL"))
    return None


def _killed_run(make: SinkMaker, inject: str | None) -> None:
    entries = _entries(4)
    kept: list[tuple[ArchiveEntry, Receipt]] = []
    with Elsewhere(make) as there, contextlib.suppress(Died):
        if inject is not None:
            there.trace(inject=inject)
        there.open()
        _acknowledged(there, entries, kept)
        there.kill()
    _all_there(make, kept, "after the process was killed")
    _takes_the_rest(make, entries, "after the process was killed")


def _acknowledged(
    there: Elsewhere,
    entries: Sequence[ArchiveEntry],
    kept: list[tuple[ArchiveEntry, Receipt]],
) -> None:
    """Put one after another, and note each answer as it comes."""
    for each in entries:
        answer = receipt_of(there.put(each)[0])
        kept.append((each, answer))


def _takes_the_rest(make: SinkMaker, entries: Sequence[ArchiveEntry], when: str) -> None:
    """Put everything again, as a run does that does not know what was stored."""
    with make() as sink:
        for each in entries:
            read_back(sink, stored(sink, each, when), each.raw, when)


def _calls(
    make: SinkMaker, before: Sequence[ArchiveEntry], count: int, *, on_files: bool = False
) -> Iterator[Callable[[str], str]]:
    """Choose among the calls of a run that change a disk or are sent.

    Always among them are the first, and the first one after the sink was opened.

    With `on_files` only those that change a file here: a server's disk cannot be made to
    fail.  Yields a function from what is to happen to what strace is told.
    """
    with Elsewhere(make) as there:
        trace = there.trace()
        there.open()
        for each in [*before, *_entries(4)]:
            there.put(each)
        there.kill()
    names = [line.partition("(")[0] for line in trace.lines]
    chosen = [
        (at, name)
        for at, name in enumerate(names)
        if (name in _CHANGES and _ON_FILE.match(trace.lines[at]))
        or (name in _SENDS and not on_files)
    ]
    opened = next(at for at, line in enumerate(trace.lines) if f'"{MARK}opened"' in line)
    wanted = chosen[:: max(1, len(chosen) // count)]
    wanted += [each for each in chosen if each[0] > opened][:1]
    for at, name in sorted(set(wanted)):
        number = names[: at + 1].count(name)  # strace counts each kind of call by itself
        yield f"{name}:{{}}:when={number}".format


@law
def a_lost_reply_harms_nothing(make: SinkMaker) -> str | None:
    """The put succeeded and its answer was lost: put again, it is `present`."""
    if _promises(make) < Durability.PROCESS:
        return _NO_PROCESS
    entries = _entries(3)
    with Elsewhere(make) as there:
        there.open()
        lost = receipts_of(there.put(*entries))
        there.kill()
    with make() as sink:
        for each, first in zip(entries, lost, strict=True):
            is_first(stored(sink, each), first, "put again because the answer was lost")
            read_back(sink, first, each.raw, "put again because the answer was lost")
    return None


@law
def a_failed_put_leaves_nothing_half(make: SinkMaker, *, points: int = 5) -> str | None:
    """A full or failing disk at some step: the put raises, or holds; put again, it is whole.

    Nothing that was acknowledged before is touched, least of all by cleaning up, and the
    error is one of the library.
    """
    why = why_not_traced()
    if why is not None or _promises(make) < Durability.PROCESS:
        return why or _NO_PROCESS
    (first,) = _entries(1)
    with make() as sink:
        kept = [(first, stored(sink, first))]
    calls = list(_calls(make, [first], points, on_files=True))
    for call in calls:
        for fault in ("ENOSPC", "EIO"):
            kept += _failing_run(make, kept[0], call(f"error={fault}"))
    _all_there(make, kept, "after puts that failed")
    return None if calls else NotTried("it changes no file of this machine")


def _failing_run(
    make: SinkMaker, before: tuple[ArchiveEntry, Receipt], inject: str
) -> list[tuple[ArchiveEntry, Receipt]]:
    entries = _entries(3)
    kept: list[tuple[ArchiveEntry, Receipt]] = []
    with Elsewhere(make) as there:
        there.trace(inject=inject)
        try:
            there.open()
            there.put(before[0])
            _acknowledged(there, entries, kept)
        except MailArchiveError as error:
            fails_well(error, "a put onto a failing disk")
        there.kill()
    _all_there(make, [before, *kept], "after a put that failed")
    _takes_the_rest(make, entries, "after a put that failed")
    return kept


@law
def acknowledged_means_on_the_medium(make: SinkMaker) -> str | None:
    """Before an answer is given every byte was synced, and so was the folder that names it.

    Seen in the system calls of another process.  A sink that hands the bytes to a server
    cannot be looked at so.
    """
    if _says(make) < Durability.MEDIA:
        return _NO_MEDIUM
    why = why_not_traced()
    if why is not None:
        return why
    with Elsewhere(make) as there:
        trace = there.trace()
        there.open()
        for count in _BATCHES:
            receipts_of(there.put(*_entries(count, octets=_PAYLOAD)))
        there.close()
    found = list(zip(_BATCHES, _medium.moments(trace.lines), strict=True))
    if all(each.durable < count * _ENOUGH <= each.sent for count, each in found):
        return NotTried("it hands the bytes to a server, where they cannot be seen from here")
    assert all(each.synced >= count * _ENOUGH for count, each in found), (
        "acknowledged before the bytes were synced to the medium"
    )
    assert all(each.durable >= count * _ENOUGH for count, each in found), (
        "acknowledged before the names of the files were synced to the medium: a new file, or"
        " one that was renamed, is there for certain only once its folder was synced"
    )
    return None


@law
def what_a_dead_writer_left_is_synced_before_it_counts(
    make: SinkMaker, *, points: int = 4
) -> str | None:
    """A writer that died at a sync may have left the entry whole, and on no medium.

    Whoever finds it there must make it durable before it says that it is `present`.
    """
    if _says(make) < Durability.MEDIA:
        return _NO_MEDIUM
    why = why_not_traced()
    if why is not None:
        return why
    _at_each_sync(make, points, _dying_run)
    return None


@law
def a_failed_sync_is_never_asked_again(make: SinkMaker, *, points: int = 4) -> str | None:
    """What a failed sync was to make durable is acknowledged by no other sync of it.

    Neither at once nor when the entry is put again.  By then the kernel has forgotten what
    was never written, and says that all is well.
    """
    if _says(make) < Durability.MEDIA:
        return _NO_MEDIUM
    why = why_not_traced()
    if why is not None:
        return why
    _at_each_sync(make, points, _disturbed_run)
    return None


def _at_each_sync(
    make: SinkMaker, points: int, run: Callable[[SinkMaker, str, bool], bool]
) -> None:
    """Run with something amiss at each of the first `points` syncs.

    Counted from the beginning, where there may be many before a put, and from the moment
    when the sink is open, each kind of sync by itself.  `run` says whether it came so far.
    """
    for late, kinds in ((False, [SYNCS]), (True, _kinds_of_sync(make))):
        for kind in kinds:
            for at in range(1, points + 1):
                if not run(make, f"{kind}:{{}}:when={at}", late):
                    break


def _kinds_of_sync(make: SinkMaker) -> list[str]:
    with Elsewhere(make) as there:
        there.open()
        there.trace()
        there.put(*_entries(1))
    names = {line.partition("(")[0] for line in there.lines}
    return sorted(names.intersection(SYNCS.split(",")))


def _open_under(there: Elsewhere, inject: str, *, late: bool) -> None:
    """Open under watch, and disturb what comes from now on, or what is `late`."""
    there.trace(inject=None if late else inject)
    there.open()
    if late:
        there.trace(inject=inject)


def _dying_run(make: SinkMaker, at: str, late: bool) -> bool:
    (one,) = _entries(1, octets=_PAYLOAD)
    with Elsewhere(make) as dying:
        try:
            _open_under(dying, at.format("signal=SIGKILL"), late=late)
            dying.put(one)
        except Died:
            pass
        else:
            return False
    with Elsewhere(make) as there:
        there.trace()
        there.open()
        there.put(one)
    (moment,) = _medium.moments([*dying.lines, *there.lines])
    assert max(moment.durable, moment.sent) >= _ENOUGH, (
        "said to be present what a writer left behind that died before its sync"
    )
    return True


def _disturbed_run(make: SinkMaker, at: str, late: bool) -> bool:
    with Elsewhere(make) as there:
        try:
            _open_under(there, at.format("error=EIO"), late=late)
        except MailArchiveError as error:
            fails_well(error, "a sync that fails")
        else:
            _put_again_what_is_refused(there, _entries(1, octets=_PAYLOAD))
    for moment in _medium.moments(there.lines):
        lacking = max(moment.durable, moment.sent) < _ENOUGH
        assert not (moment.failed and lacking), (
            "a sync failed, was asked for again, and its second answer was believed"
            if moment.asked_again
            else "a sync failed, and the entry was acknowledged all the same"
        )
    return any(line.endswith("(INJECTED)") for line in there.lines)


def _put_again_what_is_refused(there: Elsewhere, entries: Sequence[ArchiveEntry]) -> None:
    for _ in range(2):
        try:
            there.put(*entries)
        except MailArchiveError as error:
            fails_well(error, "a sync that fails")
        else:
            return


LAWS = (
    what_is_acknowledged_is_there_in_a_new_process,
    a_killed_process_loses_nothing_acknowledged,
    a_lost_reply_harms_nothing,
    a_failed_put_leaves_nothing_half,
    acknowledged_means_on_the_medium,
    what_a_dead_writer_left_is_synced_before_it_counts,
    a_failed_sync_is_never_asked_again,
)
