"""Laws of survival: what has a receipt is there, whatever happens afterwards.

They use other processes, and where Linux has strace a hand on the system calls of these.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Final

from mailarchive._model import Durability, Stored
from mailarchive.errors import MailArchiveError
from mailarchive.testing._elsewhere import Died, Elsewhere, new_interpreter
from mailarchive.testing._sink_kit import (
    PAYLOAD,
    fails_well,
    incompressible,
    is_first,
    law,
    opened,
    read_back,
    receipt_of,
    receipts_of,
    stored,
)
from mailarchive.testing._traced import (
    CHANGES,
    MARK,
    Call,
    Kept,
    NotTried,
    file_of,
    why_not_traced,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailarchive._model import ArchiveEntry, Receipt, SinkCapabilities
    from mailarchive.testing._sink_kit import SinkMaker

_NO_PROCESS: Final = "it promises nothing beyond its own process"
FORKS_ALONE: Final = Kept(
    "in a fork alone, as the maker cannot be handed to a new interpreter: what differs between"
    " two of them, such as hash(), was not seen"
)
"""What the law of a new process notes where no other interpreter can have the maker."""
_NEARLY_FULL: Final = (PAYLOAD // 4, PAYLOAD * 2)
"""The least that a file may have at most, for one of an entry and for one of several."""
_CHANGES: Final = frozenset(CHANGES.split(","))
_SENDS: Final = frozenset({"sendto", "sendmsg"})
_ON_FILE: Final = re.compile(r"\w+\((?:\d+</(?!dev/)|AT_FDCWD|\"|\))")
"""A call by the name of a file, or by a handle that is one: no pipe, socket or event."""
_EMPTIES: Final = re.compile(r"(?:creat|f?truncate)\(|open.*O_(?:CREAT|TRUNC)")


def _promises(make: SinkMaker) -> SinkCapabilities:
    with make() as sink:
        return sink.capabilities


def _all_there(make: SinkMaker, kept: Sequence[tuple[ArchiveEntry, Receipt]], when: str) -> None:
    """Open the archive anew and see that every acknowledged entry is in it, once."""
    with opened(make, when) as sink:
        for each, receipt in kept:
            again = stored(sink, each, when)
            assert again.outcome is Stored.PRESENT, f"{when}: an acknowledged entry is not there"
            is_first(again, receipt, when)
            read_back(sink, receipt, each.raw, when)


@law
def what_is_acknowledged_is_there_in_a_new_process(make: SinkMaker) -> str | None:
    """One process puts and ends as it should; others open the archive and find all of it.

    The first is a new interpreter wherever the maker can be pickled: what differs between
    two of them, such as `hash()`, is the same in a fork.
    """
    promised = _promises(make)
    if promised.durability < Durability.PROCESS:
        return _NO_PROCESS
    entries = incompressible(5)
    when = "after another process put it"
    anew = new_interpreter(make)
    with anew or Elsewhere(make) as putting:
        putting.open()
        receipts = receipts_of(putting.put(*entries))
        putting.close()
    _all_there(make, list(zip(entries, receipts, strict=True)), when)
    with Elsewhere(make) as reading:
        reading.open()
        for each, receipt in zip(entries, receipts, strict=True):
            if promised.reads:
                assert reading.read(receipt) == each.raw, f"{when}: other bytes came back"
            is_first(receipt_of(reading.put(each)[0]), receipt, when)
        reading.close()
    return None if anew else FORKS_ALONE


@law
def a_killed_process_loses_nothing_acknowledged(make: SinkMaker, *, points: int = 6) -> str | None:
    """SIGKILL at some steps of a run of puts: what has a receipt is there, the rest can be put.

    With strace the process dies inside `points` of the calls that change the disk; without
    it between two puts.
    """
    if _promises(make).durability < Durability.PROCESS:
        return _NO_PROCESS
    _killed_run(make, None)
    why = why_not_traced()
    if why is not None:
        return Kept(f"killed between two puts alone: {why}")
    calls, of = _calls(make, [], points)
    for call in calls:
        _killed_run(make, call)
    return Kept(f"killed in {len(calls)} of {of} system calls")


def _killed_run(make: SinkMaker, call: Call | None) -> None:
    entries = incompressible(4)
    kept: list[tuple[ArchiveEntry, Receipt]] = []
    with Elsewhere(make) as there, contextlib.suppress(Died):
        if call is not None:
            there.trace(inject=call.inject("signal=SIGKILL"))
        there.open()
        _acknowledged(there, entries, kept)
        there.kill()
    when = f"after the process was killed {'between two puts' if call is None else f'in {call}'}"
    _all_there(make, kept, when)
    _takes_the_rest(make, entries, when)


def _acknowledged(
    there: Elsewhere,
    entries: Sequence[ArchiveEntry],
    kept: list[tuple[ArchiveEntry, Receipt]],
) -> None:
    """Put one after another, and note each answer as it comes."""
    for each in entries:
        answer = receipt_of(there.put(each)[0], "an entry that a sound disk would take")
        kept.append((each, answer))


def _takes_the_rest(make: SinkMaker, entries: Sequence[ArchiveEntry], when: str) -> None:
    """Put everything again, as a run does that does not know what was stored."""
    with opened(make, when) as sink:
        for each in entries:
            read_back(sink, stored(sink, each, when), each.raw, when)


def _calls(
    make: SinkMaker, before: Sequence[ArchiveEntry], count: int, *, on_files: bool = False
) -> tuple[list[Call], int]:
    """Choose about `count` of the calls of a run that change a disk or are sent; of how many.

    Always among them are the first, the first one after the sink was opened, and those
    right after something was made or cut off, which is then empty, for the first and the
    last time.  With `on_files` only those that change a file here: a server's disk cannot
    be made to fail.
    """
    with Elsewhere(make) as there:
        trace = there.trace()
        there.open()
        for each in [*before, *incompressible(4)]:
            there.put(each)
        there.kill()
    names = [line.partition("(")[0] for line in trace.lines]
    possible = [
        at
        for at, name in enumerate(names)
        if (name in _CHANGES and _ON_FILE.match(trace.lines[at]))
        or (name in _SENDS and not on_files)
    ]
    marks = [at for at, line in enumerate(trace.lines) if f'"{MARK}opened"' in line]
    emptied = [at for at, line in enumerate(trace.lines) if _EMPTIES.match(line)]
    following = {next((at for at in possible if at > mark), None) for mark in marks[:1]}
    after = [next((at for at in possible if at > empty), None) for empty in emptied]
    wanted = {*possible[:: max(1, len(possible) // count)], *following, *after[:1], *after[-1:]}
    chosen = sorted(at for at in wanted if at is not None)
    # strace counts each kind of call by itself
    calls = [
        Call(names[at], names[: at + 1].count(names[at]), file_of(trace.lines[at]))
        for at in chosen
    ]
    return calls, len(possible)


@law
def a_lost_reply_harms_nothing(make: SinkMaker) -> str | None:
    """The put succeeded and its answer was lost: put again, it is `present`."""
    if _promises(make).durability < Durability.PROCESS:
        return _NO_PROCESS
    entries = incompressible(3)
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
    error is one of the library.  A disk that is nearly full takes the beginning of a write,
    says how much, and raises nothing.
    """
    if _promises(make).durability < Durability.PROCESS:
        return _NO_PROCESS
    (first,) = incompressible(1)
    with make() as sink:
        kept = [(first, stored(sink, first))]
    for octets in _NEARLY_FULL:
        kept += _failing_run(make, kept[0], octets)
    why = why_not_traced()
    if why is not None:
        return why
    calls, of = _calls(make, [first], points, on_files=True)
    for call in calls:
        for fault in ("ENOSPC", "EIO"):
            kept += _failing_run(make, kept[0], call, fault)
    _all_there(make, kept, "after puts that failed")
    tried = Kept(f"a full and a failing disk at {len(calls)} of {of} system calls")
    return tried if calls else NotTried("it changes no file of this machine")


def _failing_run(
    make: SinkMaker, before: tuple[ArchiveEntry, Receipt], at: Call | int, fault: str = ""
) -> list[tuple[ArchiveEntry, Receipt]]:
    """Put where a call fails, or where no file grows beyond so many bytes."""
    entries = incompressible(3, octets=PAYLOAD if isinstance(at, int) else 2_000)
    kept: list[tuple[ArchiveEntry, Receipt]] = []
    with Elsewhere(make) as there:
        try:
            if isinstance(at, Call):
                there.trace(inject=at.inject(f"error={fault}"))
            there.open()
            there.put(before[0])
            if isinstance(at, int):
                there.limit(at)
            _acknowledged(there, entries, kept)
        except MailArchiveError as error:
            fails_well(error, "a put onto a failing disk")
        there.kill()
    how = f"{fault} from {at}" if fault else "a disk that took part of a write"
    _all_there(make, [before, *kept], f"after a put that failed, {how}")
    _takes_the_rest(make, entries, f"after a put that failed, {how}")
    return kept


LAWS = (
    what_is_acknowledged_is_there_in_a_new_process,
    a_killed_process_loses_nothing_acknowledged,
    a_lost_reply_harms_nothing,
    a_failed_put_leaves_nothing_half,
)
