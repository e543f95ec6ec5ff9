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
    law,
    messages,
    read,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailarchive._model import MessageRef, RemovalResult, SourceMessage
    from mailarchive.abc import Source


def _removable(world: SourceWorld, source: Source, count: int) -> list[SourceMessage] | None:
    """Deliver and read messages; `None` where the source cannot remove, and says so."""
    world.deliver(messages(count))
    if source.capabilities.removes:
        return read(world, source)
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
    for each in (found[1], found[4]):
        del others[each.ref]
    with world.source() as source:
        left = _by_ref(source, read(world, source))

    expected = {Removed(found[1].ref), Removed(found[4].ref)}
    assert set(results) == expected, "what has a receipt was not removed"
    assert left.keys() == others.keys(), (
        "something else was removed, or what was removed is still there"
    )
    assert left == others, "a message that was to stay is not what it was"
    return None


@law
def removing_touches_nothing_else(world: SourceWorld) -> str | None:
    """What somebody flagged, or marked and has not taken away yet, is left just so.

    What others marked is theirs to take away; what nobody marked gets no mark.
    """
    with world.source() as source:
        others = _removable(world, source, 4)
        if others is None:
            return CANNOT_REMOVE
    world.flag(others[0].ref)
    world.mark_deleted(others[1].ref)
    before = world.look()
    come_and_go(world, 2)

    after = world.look()
    assert after == before, "what was not to be removed was taken away, or marked, or changed"
    return None


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
    """Somebody wants to come back to it; the reason is told."""
    with world.source() as source:
        found = _removable(world, source, 2)
    if found is None:
        return CANNOT_REMOVE
    items = [archived(each) for each in found]
    world.flag(items[0].ref)
    with world.source() as source:
        kept, removed = sorted(
            source.remove(items), key=lambda result: isinstance(result, Removed)
        )

    assert isinstance(kept, Kept), "a flagged message was removed"
    assert kept.ref == items[0].ref, "another message than the flagged one was kept"
    assert kept.why, "what is kept is kept for a reason"
    assert removed == Removed(items[1].ref), "a flagged message kept another one"
    return None


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
    assert left == {items[0].ref}, "what was said of a removal is not what became of it"
    return None


def _with_another_digest(archived: Archived) -> Archived:
    other = Digest.of(b"another message")
    return evolve(archived, receipt=evolve(archived.receipt, stored_digest=other))


def _of(results: Sequence[RemovalResult], archived: Archived) -> type[RemovalResult]:
    return type(next(each for each in results if each.ref == archived.ref))


LAWS = (
    removing_takes_exactly_what_has_a_receipt,
    removing_touches_nothing_else,
    removing_again_is_harmless,
    a_flagged_message_stays,
    what_is_not_what_was_archived_stays,
)
"""Every one of them, in the order to read them."""
