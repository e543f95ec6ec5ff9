"""Laws of bytes: all mail comes, once, as it is, whatever is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailarchive._model import SourceMessage
from mailarchive.testing._source_kit import (
    SourceWorld,
    check_kept,
    law,
    pages_of,
    places,
    raws_of,
    read,
    refs_of,
)
from mailarchive.testing._source_mail import ODD, STRANGE, Odd, messages
from mailarchive.testing._traced import NotTried

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailarchive._model import MessageRef


@law
def every_byte_is_handed_over(world: SourceWorld) -> None:
    """Each message comes once, as the very bytes that were delivered, under its own ref.

    From each folder its own.  Among them are lines and headers that programs like to change.
    """
    both = places(world)
    delivered = [
        [*messages(5 + n, start=100 * n), *messages(1, start=90, octets=70_000), *STRANGE.values()]
        for n in range(len(both))
    ]
    for place, raws in zip(both, delivered, strict=True):
        place.deliver(raws)
    for place, raws in zip(both, delivered, strict=True):
        _comes_whole(place, raws)


def _comes_whole(world: SourceWorld, raws: Sequence[bytes]) -> None:
    with world.source() as source:
        pages = pages_of(world, source)
        refs = refs_of(pages)
        items = [item for page in pages for item in source.fetch(page.refs)]
        folder = world.folder(source)

    check_kept(world, raws_of(items), raws, *STRANGE)
    assert {item.ref for item in items} == set(refs), "what was listed is not what was read"
    named = {(ref.source, ref.folder) for ref in refs}
    assert named == {(source.name, folder.key)}, "a ref names another source or folder"
    assert all(page.folder == folder for page in pages), "a page is of another folder"
    for item in items:
        if isinstance(item, SourceMessage):
            _is_told_as_it_is(item, refs)


def _is_told_as_it_is(item: SourceMessage, refs: Sequence[MessageRef]) -> None:
    """A time has a zone; a size may be an estimate, by which memory is set aside."""
    assert item.received_at is None or item.received_at.tzinfo is not None, (
        "a time without a zone means nothing"
    )
    told, octets = refs[refs.index(item.ref)].size, len(item.raw)
    assert told is None or octets / 2 - 4_096 <= told <= octets * 2 + 4_096, (
        f"a ref tells a size of {told} octets for a message of {octets}"
    )


@law
def odd_bytes_are_handed_over(world: SourceWorld) -> str | None:
    """What hardly any mail is like comes as it is, too, where the place takes it in.

    A bare CR, a NUL, no header: `SourceWorld.takes` says which.
    """
    if world.takes is None:
        return NotTried("the world does not say in `takes` which odd mail its place takes in")
    taken = [odd for odd in Odd if odd in world.takes]
    raws = [ODD[odd] for odd in taken]
    world.deliver(raws)
    with world.source() as source:
        pages = pages_of(world, source)
        found = raws_of([item for page in pages for item in source.fetch(page.refs)])

    check_kept(world, found, raws, *(odd.value for odd in taken))
    refused = ", ".join(odd.value for odd in Odd if odd not in world.takes)
    return f"the place does not take in: {refused}" if refused else None


@law
def a_message_id_is_no_identity(world: SourceWorld) -> None:
    """Two mails may have one Message-ID, or be equal to the last byte: all of them come."""
    named = b"Message-ID: <one@example.com>\r\n"
    raws = [named + raw for raw in messages(3)] + messages(1, start=9) * 2
    world.deliver(raws)
    with world.source() as source:
        found = raws_of(read(world, source))

    assert len(found) >= len(raws), (
        "one of several mails with the same Message-ID, or the same bytes, was left out"
    )
    check_kept(world, found, raws)


LAWS = (every_byte_is_handed_over, odd_bytes_are_handed_over, a_message_id_is_no_identity)
"""Every one of them, in the order to read them."""
