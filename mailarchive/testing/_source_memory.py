"""Laws of memory: a page is streamed, whatever the sizes of its messages."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Final

from mailarchive._model import Digest, SourceMessage
from mailarchive.testing._source_kit import SourceWorld, law, pages_of, refs_of
from mailarchive.testing._source_mail import messages
from mailarchive.testing._traced import NotTried

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailarchive._model import MessageRef
    from mailarchive.abc import Source

_MEBI: Final = 1 << 20
_FEW: Final = 8
"""How many times the size of a message its reading may take."""


@law
def memory_is_bounded_by_a_few_messages(world: SourceWorld) -> None:
    """A page is streamed: it is never in memory as a whole, while it is listed or read."""
    count, octets = 40, _MEBI
    world.deliver(messages(count, octets=octets))
    with world.source() as source:
        tracemalloc.start()
        try:
            refs = refs_of(pages_of(world, source))
            listing = tracemalloc.get_traced_memory()[1]
            tracemalloc.reset_peak()
            read = sum(len(item.raw) for item in _messages(source, refs))
            reading = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert read >= count * octets, "not everything was read"
    assert listing < _FEW * octets, "to list a folder, all of its messages were held"
    assert reading < _FEW * octets, "a page was held as a whole"


def _messages(source: Source, refs: Sequence[MessageRef]) -> Iterator[SourceMessage]:
    for item in source.fetch(refs):
        if isinstance(item, SourceMessage):
            yield item


@law
def a_large_message_is_held_alone(world: SourceWorld) -> str | None:
    """Small messages take little memory in a folder that has a large one, which comes whole.

    Whoever reads a folder as a whole holds the large one, of `SourceWorld.large` octets, all
    the time.  It is asked for last, and a few others may be read beside it.
    """
    octets, some = world.large, 40
    if not octets:
        return NotTried("the world takes no large message: say in `large` how many octets it may")
    world.deliver(messages(some))
    with world.source() as source:
        pages = pages_of(world, source)
    (raw,) = messages(1, start=some, octets=octets)
    world.deliver([raw])
    with world.source() as source:
        large = refs_of(pages_of(world, source, pages[-1].token))
        peaks, (length, digest) = _peaks(source, [*refs_of(pages), *large])

    assert len(peaks) == some + 1, "not everything was read"
    whole = world.stored(raw)
    assert length == len(whole), f"a large message comes with {length} octets for {len(whole)}"
    assert digest == Digest.of(whole), "a large message comes with other bytes, as many of them"
    light = sum(peak < octets // 2 for peak in peaks)
    assert light > some // 2, "a large message was held while small ones were read"
    assert max(peaks) < _FEW * octets, "a large message was held many times over"
    return None


def _peaks(source: Source, refs: Sequence[MessageRef]) -> tuple[list[int], tuple[int, Digest]]:
    """Return how much memory there was at most while each was read, and which was longest."""
    peaks: list[int] = []
    longest = 0, Digest.of(b"")
    tracemalloc.start()
    try:
        for item in _messages(source, refs):
            peaks.append(tracemalloc.get_traced_memory()[1])
            if len(item.raw) > longest[0]:
                longest = len(item.raw), Digest.of(item.raw)
            tracemalloc.reset_peak()
    finally:
        tracemalloc.stop()
    return peaks, longest


LAWS = (memory_is_bounded_by_a_few_messages, a_large_message_is_held_alone)
"""Every one of them, in the order to read them."""
