"""Laws of removing: exactly what has a receipt, and only while it is still the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from mailarchive._model import Archived, Digest, Fidelity, Kept, Removed, Vanished
from mailarchive.errors import Unsupported
from mailarchive.testing._source_kit import (
    SourceWorld,
    archived,
    is_honest,
    law,
    messages,
    read,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailarchive._model import RemovalResult
    from mailarchive.abc import Source


def _removable(world: SourceWorld, source: Source, count: int) -> list[Archived] | None:
    """Deliver and read messages; `None` where the source cannot remove, and says so."""
    world.deliver(messages(count))
    if source.capabilities.removes:
        return [archived(message) for message in read(world, source)]
    try:
        source.remove(())
    except Unsupported as error:
        is_honest(error)
        return None
    raise AssertionError("a source that cannot remove did not say so")


@law
def removing_takes_exactly_what_has_a_receipt(world: SourceWorld) -> None:
    """The others are there afterwards, as they were."""
    with world.source() as source:
        items = _removable(world, source, 6)
        if items is None:
            return
        results = source.remove([items[1], items[4]])

    expected = {Removed(items[1].ref), Removed(items[4].ref)}
    assert set(results) == expected, "what has a receipt was not removed"
    with world.source() as source:
        left = {message.ref for message in read(world, source)}
    others = {item.ref for item in items} - {items[1].ref, items[4].ref}
    assert left == others, "something else was removed, or what was removed is still there"


@law
def removing_again_is_harmless(world: SourceWorld) -> None:
    """What is gone has vanished, and nothing goes in its place."""
    with world.source() as source:
        items = _removable(world, source, 4)
        if items is None:
            return
        source.remove(items[:2])
    with world.source() as source:
        results = source.remove(items[:2])
        left = len(read(world, source))

    gone = {Vanished(item.ref) for item in items[:2]}
    assert set(results) == gone, "what was gone already is not said to be"
    assert left == len(items[2:]), "something went in the place of what was gone"


@law
def a_flagged_message_stays(world: SourceWorld) -> None:
    """Somebody wants to come back to it; the reason is told."""
    with world.source() as source:
        items = _removable(world, source, 2)
    if items is None:
        return
    world.flag(items[0].ref)
    with world.source() as source:
        kept, removed = sorted(
            source.remove(items), key=lambda result: isinstance(result, Removed)
        )

    assert isinstance(kept, Kept), "a flagged message was removed"
    assert kept.ref == items[0].ref, "another message than the flagged one was kept"
    assert kept.why, "what is kept is kept for a reason"
    assert removed == Removed(items[1].ref), "a flagged message kept another one"


@law
def what_is_not_what_was_archived_stays(world: SourceWorld) -> None:
    """A receipt for other bytes removes nothing; asked of sources that keep bytes as they came.

    Somebody may have put another message in the place of the one that was archived.
    """
    with world.source() as source:
        items = _removable(world, source, 2)
        if items is None or source.capabilities.fidelity is not Fidelity.WIRE:
            return
        results = source.remove([_with_another_digest(items[0]), items[1]])
        left = {message.ref for message in read(world, source)}

    assert _of(results, items[0]) == Kept, "a message with other bytes than archived was removed"
    assert _of(results, items[1]) == Removed, "one that changed kept another one"
    assert left == {items[0].ref}, "what was said of a removal is not what became of it"


def _with_another_digest(archived: Archived) -> Archived:
    other = Digest.of(b"another message")
    return evolve(archived, receipt=evolve(archived.receipt, stored_digest=other))


def _of(results: Sequence[RemovalResult], archived: Archived) -> type[RemovalResult]:
    return type(next(each for each in results if each.ref == archived.ref))


LAWS = (
    removing_takes_exactly_what_has_a_receipt,
    removing_again_is_harmless,
    a_flagged_message_stays,
    what_is_not_what_was_archived_stays,
)
"""Every one of them, in the order to read them."""
