"""Laws of removing: exactly what has a receipt, and only while it is still the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from mailarchive._model import Archived, Digest, Fidelity, Kept, Removed, Vanished
from mailarchive.errors import Unsupported
from mailarchive.testing._source_kit import (
    CANNOT_REMOVE,
    SourceWorld,
    archived,
    is_honest,
    lacking,
    law,
    names_nobody,
    pages_of,
    read,
    refs_of,
)
from mailarchive.testing._source_mail import messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailarchive._model import MessageRef, RemovalResult, SourceMessage
    from mailarchive.abc import Source


def _removable(world: SourceWorld, source: Source, count: int) -> list[SourceMessage] | None:
    """Deliver and read messages; `None` where the source cannot remove, and says so."""
    world.deliver(messages(count))
    if source.capabilities.removes:
        found = read(world, source)
        assert len(found) == count, "not everything was read"
        return found
    try:
        source.remove(())
    except Unsupported as error:
        is_honest(error)
        return None
    raise AssertionError("a source that cannot remove did not say so")


def _by_ref(source: Source, found: Sequence[SourceMessage]) -> dict[MessageRef, SourceMessage]:
    """Return messages by their refs, without the bytes of those that are made on request."""
    wire = source.capabilities.fidelity is Fidelity.WIRE
    return {each.ref: each if wire else evolve(each, raw=b"") for each in found}


@law
def removing_takes_exactly_what_has_a_receipt(world: SourceWorld) -> str | None:
    """The others are there afterwards, as they were: bytes, flags and time."""
    with world.source() as source:
        found = _removable(world, source, 6)
        if found is None:
            return CANNOT_REMOVE
        others = _by_ref(source, found)
        results = source.remove([archived(found[1]), archived(found[4])])
        then = world.look()  # not by another source: a place may take one client at a time
    assert world.look() == then, (
        "a removal takes place when the source is closed: a crash before undoes what was told"
    )
    for each in (found[1], found[4]):
        del others[each.ref]
    with world.source() as source:
        left = _by_ref(source, read(world, source))

    told = {result.ref: type(result) for result in results}
    for each in (found[1], found[4]):
        _is_true(told[each.ref], there=each.ref in left)
        assert told[each.ref] is Removed, "what has a receipt was not removed"
    assert left.keys() == others.keys(), "something else was removed than what has a receipt"
    assert left == others, "a message that was to stay is not what it was"
    return None


def _is_true(told: type[RemovalResult], *, there: bool) -> None:
    """What is said of a removal is what became of it."""
    said = "kept" if told is Kept else "gone" if told is Vanished else "removed"
    if said == "kept":
        assert there, "a message was said to be kept, and is gone"
    else:
        assert not there, f"a message was said to be {said}, and is still there"


@law
def removing_touches_nothing_else(world: SourceWorld) -> str | None:
    """What somebody flagged, or marked and has not taken away yet, is left just so.

    What others marked is listed all the same, and theirs to take away; what nobody marked gets
    no mark.
    """
    with world.source() as source:
        others = _removable(world, source, 4)
        if others is None:
            return CANNOT_REMOVE
    if lacking(world, "flag") is None:
        world.flag(others[0].ref)
    world.mark_deleted(others[1].ref)
    before = world.look()
    _are_listed(world, others)
    come_and_go(world, 2)

    after = world.look()
    assert after == before, "what was not to be removed was taken away, or marked, or changed"
    return None


def _are_listed(world: SourceWorld, marked: Sequence[SourceMessage]) -> None:
    """A mark can be taken back: what has one is listed, or waits before the token."""
    with world.source() as source:
        keys = {ref.key for ref in refs_of(pages_of(world, source))}
        assert source.unripe() or keys >= {each.ref.key for each in marked}, (
            "what somebody flagged or marked is passed over: where the mark is taken back again"
            " nobody ever archives it"
        )


def come_and_go(world: SourceWorld, count: int) -> None:
    """Deliver messages and remove these alone; what is there already stays listed."""
    with world.source() as source:
        keys = {each.ref.key for each in read(world, source)}
        world.deliver(messages(count, start=100))
        new = [each for each in read(world, source) if each.ref.key not in keys]
        results = source.remove([archived(each) for each in new])
    with world.source() as source:
        left = {each.ref.key for each in read(world, source)}

    assert set(results) == {Removed(each.ref) for each in new}, "what came was not removed"
    assert not left & {each.ref.key for each in new}, (
        "a message was said to be removed, and is still there"
    )
    assert left == keys, "what was not to be removed was taken away, or came from nowhere"


@law
def removing_again_is_harmless(world: SourceWorld) -> str | None:
    """What is gone has vanished, and nothing goes in its place."""
    with world.source() as source:
        found = _removable(world, source, 4)
        if found is None:
            return CANNOT_REMOVE
        items = [archived(each) for each in found]
        source.remove(items[:2])
    with world.source() as source:
        results = source.remove(items[:2])
        left = len(read(world, source))

    gone = {Vanished(item.ref) for item in items[:2]}
    assert set(results) == gone, "what was gone already is not said to be"
    assert left == len(items[2:]), "something went in the place of what was gone"
    return None


@law
def a_flagged_message_stays(world: SourceWorld) -> str | None:
    """Somebody wants to come back to it; the reason is told.

    Whether it was flagged before the source was opened, or after it was read.
    """
    with world.source() as source:
        found = _removable(world, source, 4)
        if found is None:
            return CANNOT_REMOVE
        if (note := lacking(world, "flag")) is not None:
            return note
        world.flag(found[0].ref)
        _keeps_the_first(source, found[:2])
    world.flag(found[2].ref)
    with world.source() as source:
        _keeps_the_first(source, found[2:])
        left = {each.ref for each in read(world, source)}

    assert left == {found[0].ref, found[2].ref}, "a flagged message was removed"
    return None


def _keeps_the_first(source: Source, found: Sequence[SourceMessage]) -> None:
    items = [archived(each) for each in found]
    told = {result.ref: result for result in source.remove(items)}
    kept, removed = (told[each.ref] for each in found)
    assert isinstance(kept, Kept), "a flagged message was removed"
    assert kept.why, "what is kept is kept for a reason"
    names_nobody(kept.why, "the reason of a Kept")
    assert isinstance(removed, Removed), "a flagged message kept another one"


@law
def what_is_not_what_was_archived_stays(world: SourceWorld) -> str | None:
    """A receipt for other bytes removes nothing; asked of sources that keep bytes as they came.

    Somebody may have put another message in the place of the one that was archived.
    """
    with world.source() as source:
        found = _removable(world, source, 2)
        if found is None:
            return CANNOT_REMOVE
        if source.capabilities.fidelity is not Fidelity.WIRE:
            return "its bytes are made on request, so that two readings may differ"
        items = [archived(each) for each in found]
        results = source.remove([_with_another_digest(items[0]), items[1]])
        left = {message.ref for message in read(world, source)}

    assert _of(results, items[0]) == Kept, "a message with other bytes than archived was removed"
    assert _of(results, items[1]) == Removed, "one that changed kept another one"
    for each in items:
        _is_true(_of(results, each), there=each.ref in left)
    return None


@law
def a_message_that_was_changed_stays(world: SourceWorld) -> str | None:
    """Who edits a message where it is, after it was read, finds it there; its twin goes."""
    with world.source() as source:
        found = _removable(world, source, 2)
        if found is None:
            return CANNOT_REMOVE
        if (note := lacking(world, "change")) is not None:
            return note
        items = [archived(each) for each in found]
        world.change(items[0].ref, *messages(1, start=50))
        results = source.remove(items)
    with world.source() as source:
        left = [each.raw for each in read(world, source)]

    assert _of(results, items[0]) != Removed, "a message that was changed since was removed"
    assert _of(results, items[1]) == Removed, "one that changed kept another one"
    assert left == [world.stored(messages(1, start=50)[0])], "what was changed is not there"
    return None


def _with_another_digest(archived: Archived) -> Archived:
    other = Digest.of(b"another message")
    return evolve(archived, receipt=evolve(archived.receipt, stored_digest=other))


def _of(results: Sequence[RemovalResult], archived: Archived) -> type[RemovalResult]:
    result = next(each for each in results if each.ref == archived.ref)
    if isinstance(result, Kept):
        names_nobody(result.why, "the reason of a Kept")
    return type(result)


LAWS = (
    removing_takes_exactly_what_has_a_receipt,
    removing_touches_nothing_else,
    removing_again_is_harmless,
    a_flagged_message_stays,
    what_is_not_what_was_archived_stays,
    a_message_that_was_changed_stays,
)
"""Every one of them, in the order to read them."""
