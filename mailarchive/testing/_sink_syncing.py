"""Laws of the medium: what was acknowledged was synced, and no failed sync is believed.

They look at the system calls of another process, and so need Linux and strace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailarchive._model import Durability
from mailarchive.errors import MailArchiveError
from mailarchive.testing import _medium
from mailarchive.testing._elsewhere import Died, Elsewhere
from mailarchive.testing._sink_kit import PAYLOAD, fails_well, incompressible, law, receipts_of
from mailarchive.testing._traced import SYNCS, Call, NotTried, why_not_traced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailarchive._model import ArchiveEntry
    from mailarchive.testing._sink_kit import SinkMaker

_NO_MEDIUM: Final = "it does not promise to survive a loss of power"
_ENOUGH: Final = PAYLOAD * 9 // 10
"""What cannot be compressed may still take a little less than it has."""
_BATCHES: Final = (1, 1, 3)


def _why_not_tried(make: SinkMaker) -> str | None:
    return _NO_MEDIUM if _says(make) < Durability.MEDIA else why_not_traced()


def _says(make: SinkMaker) -> Durability:
    """What it promises before it is opened, so that the archive itself is made under watch."""
    return make().capabilities.durability


@law
def acknowledged_means_on_the_medium(make: SinkMaker) -> str | None:
    """Before an answer is given every byte was synced, and so was the folder that names it.

    Seen in the system calls of another process.  A sink that hands the bytes to a server
    cannot be looked at so.
    """
    if (why := _why_not_tried(make)) is not None:
        return why
    with Elsewhere(make) as there:
        trace = there.trace()
        there.open()
        for count in _BATCHES:
            receipts_of(there.put(*incompressible(count, octets=PAYLOAD)))
        there.close()
    found = list(zip(_BATCHES, _medium.moments(trace.lines), strict=True))
    if all(each.durable < count * _ENOUGH <= each.sent for count, each in found):
        return NotTried("it hands the bytes to a server, where they cannot be seen from here")
    for count, each in found:
        assert each.synced >= count * _ENOUGH, (
            f"acknowledged before the bytes were synced to the medium: {each.lacking}"
        )
    for count, each in found:
        assert each.durable >= count * _ENOUGH, (
            "acknowledged before the names of the files were synced to the medium: a new file, or"
            " one that was renamed, is there for certain only once its folder was synced:"
            f" {each.lacking}"
        )
    return None


@law
def what_a_dead_writer_left_is_synced_before_it_counts(
    make: SinkMaker, *, points: int = 4
) -> str | None:
    """A writer that died at a sync may have left the entry whole, and on no medium.

    Whoever finds it there must make it durable before it says that it is `present`.
    """
    if (why := _why_not_tried(make)) is not None:
        return why
    _at_each_sync(make, points, _dying_run)
    return None


@law
def a_failed_sync_is_never_asked_again(make: SinkMaker, *, points: int = 4) -> str | None:
    """What a failed sync was to make durable is acknowledged by no other sync of it.

    Neither at once nor when the entry is put again.  By then the kernel has forgotten what
    was never written, and says that all is well.
    """
    if (why := _why_not_tried(make)) is not None:
        return why
    _at_each_sync(make, points, _disturbed_run)
    return None


def _at_each_sync(
    make: SinkMaker, points: int, run: Callable[[SinkMaker, Call, bool], bool]
) -> None:
    """Run with something amiss at each of the first `points` syncs.

    Counted from the beginning, where there may be many before a put, and from the moment
    when the sink is open, each kind of sync by itself.  `run` says whether it came so far.
    """
    for late, kinds in ((False, [SYNCS]), (True, _kinds_of_sync(make))):
        for kind in kinds:
            for at in range(1, points + 1):
                if not run(make, Call(kind, at), late):
                    break


def _kinds_of_sync(make: SinkMaker) -> list[str]:
    with Elsewhere(make) as there:
        there.open()
        there.trace()
        there.put(*incompressible(1))
    names = {line.partition("(")[0] for line in there.lines}
    return sorted(names.intersection(SYNCS.split(",")))


def _open_under(there: Elsewhere, inject: str, *, late: bool) -> None:
    """Open under watch, and disturb what comes from now on, or what is `late`."""
    there.trace(inject=None if late else inject)
    there.open()
    if late:
        there.trace(inject=inject)


def _dying_run(make: SinkMaker, at: Call, late: bool) -> bool:
    (one,) = incompressible(1, octets=PAYLOAD)
    with Elsewhere(make) as dying:
        try:
            _open_under(dying, at.inject("signal=SIGKILL"), late=late)
            dying.put(one)
        except Died:
            pass
        else:
            return False
    with Elsewhere(make) as there:
        there.trace()
        there.open()
        receipts_of(there.put(one))
    (moment,) = _medium.moments([*dying.lines, *there.lines])
    assert max(moment.durable, moment.sent) >= _ENOUGH, (
        f"said to be present what a writer left behind that died before its sync: {at}"
        f" {_since(late)}, and not synced since: {moment.lacking}"
    )
    return True


def _disturbed_run(make: SinkMaker, at: Call, late: bool) -> bool:
    with Elsewhere(make) as there:
        try:
            _open_under(there, at.inject("error=EIO"), late=late)
        except MailArchiveError as error:
            fails_well(error, "a sync that fails")
        else:
            _put_again_what_is_refused(there, incompressible(1, octets=PAYLOAD))
    for moment in _medium.moments(there.lines):
        lacking = max(moment.durable, moment.sent) < _ENOUGH
        how = (
            "was asked for again, and its second answer was believed"
            if moment.asked_again
            else "and the entry was acknowledged all the same"
        )
        assert not (moment.failed and lacking), (
            f"a sync failed, {how}: {at} {_since(late)}, of {moment.failed}"
        )
    return any(line.endswith("(INJECTED)") for line in there.lines)


def _since(late: bool) -> str:
    return "counted from when the sink was open" if late else "of all"


def _put_again_what_is_refused(there: Elsewhere, entries: Sequence[ArchiveEntry]) -> None:
    for _ in range(2):
        try:
            answers = there.put(*entries)
        except MailArchiveError as error:
            fails_well(error, "a sync that fails")
        else:
            receipts_of(answers, "an entry, because a sync failed")
            return


LAWS = (
    acknowledged_means_on_the_medium,
    what_a_dead_writer_left_is_synced_before_it_counts,
    a_failed_sync_is_never_asked_again,
)
