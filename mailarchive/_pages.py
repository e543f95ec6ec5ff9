"""From what is read to settled pages: cut into batches, each taken through the same stages.

While one batch is stored the next one is described and the one behind it decoded, so that
threads which hash and compress, and a sink that works ahead, are never waited for.  What
is under way may be of the next page; only where removal comes between two pages does a
page end before the next one is begun.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from attrs import field, frozen

from mailarchive._model import Failed, SourceMessage, Unavailable, Vanished
from mailarchive._reading import PageBegins
from mailarchive._report import Settled
from mailarchive.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailarchive._model import MessageRef
    from mailarchive._policy import Batching
    from mailarchive._reading import Read

T = TypeVar("T")


@frozen(eq=False)
class PageUnderWay:
    """A page, and what became of its messages so far."""

    begins: PageBegins
    settled: list[Settled] = field(factory=list, repr=False)

    def outcomes(self) -> list[Settled]:
        """Return one outcome for each ref, once nothing of the page is under way."""
        seen: set[MessageRef] = {each.outcome.ref for each in self.settled}
        gone = [Settled(Vanished(ref)) for ref in self.begins.refs if ref not in seen]
        return [*self.settled, *gone]


@frozen
class Part:
    """A part of a page, which is stored as one batch; `last` says that no more of it come.

    `large` is one that takes more memory than most: a message larger than a batch.
    """

    page: PageUnderWay
    large: bool
    last: bool = False


def batches(
    reading: Iterator[Read], batching: Batching
) -> Iterator[tuple[Part, list[SourceMessage]]]:
    """Yield what is read in batches; what cannot be had is settled at once.

    The last batch of a page comes as soon as the page ends, and may be empty.
    """
    for item in reading:
        if isinstance(item, PageBegins):
            yield from _of_page(PageUnderWay(item), reading, batching)


def _of_page(
    page: PageUnderWay, reading: Iterator[Read], batching: Batching
) -> Iterator[tuple[Part, list[SourceMessage]]]:
    batch: list[SourceMessage] = []
    size = 0
    for item in reading:
        if isinstance(item, SourceMessage):
            if batch and batching.is_full(len(batch), size + len(item.raw)):
                yield Part(page, size > batching.max_bytes), batch
                batch, size = [], 0
            batch.append(item)
            size += len(item.raw)
        elif isinstance(item, Unavailable):
            page.settled.append(Settled(Failed(item.ref, item.reason)))
        else:
            break  # `PageEnds`: `Source.fetch` lets nothing else through
    yield Part(page, size > batching.max_bytes, last=True), batch


def one_ahead(
    stage: Iterator[tuple[Part, T]], may_wait: Callable[[Part], bool]
) -> Iterator[tuple[Part, T]]:
    """Yield what a stage yields, each once the stage has done the next one.

    What may not wait for that is yielded at once.
    """
    held: tuple[Part, T] | None = None
    try:
        for each in stage:
            if held is not None:
                yield held
            held = each
            if not may_wait(each[0]):
                yield held
                held = None
    except SourceError:
        if held is not None:
            yield held  # what was read before the source failed counts all the same
        raise
    if held is not None:
        yield held
