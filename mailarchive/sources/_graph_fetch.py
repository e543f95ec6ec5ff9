"""Reading messages by Graph, several at a time: its answers take long, and the wire is idle.

Four requests are in flight for as long as there are messages to ask for; a message that
came is handed on while the next ones are on their way.
"""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeAlias

from attrs import define, field

from mailarchive._graph.errors import RUN_AGAIN, Damaged, Kind, Refused, explained
from mailarchive._graph.wire import TooLarge, escaped, is_id
from mailarchive._model import SourceMessage, Unavailable
from mailarchive.errors import AccessDenied, SourceUnavailable
from mailarchive.sources._foreign_key import not_read
from mailarchive.sources._graph_items import SELECT, Meta, meta

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailarchive._graph.wire import Wire
    from mailarchive._model import MessageRef

    Item: TypeAlias = SourceMessage | Unavailable | None

_DOING = "reading a message"

ILL_AT_MOST = 8
"""So many messages in a row may fail for a reason that can pass; then the folder does."""


@define
class Fetching:
    """Hands over messages; `bad` counts those that Graph can never hand over."""

    wire: Wire
    user: str
    metas: dict[str, Meta]
    threads: ThreadPoolExecutor
    bad: int = 0
    _ill: int = field(default=0, init=False)
    """Messages in a row that failed for a reason that may be the server's."""

    def items(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        """Yield each message as it comes; what is gone is left out; raises `SourceError`."""
        left = iter(refs)
        flying: set[Future[Item]] = set()
        try:
            self._fill(flying, left)
            while flying:
                done, flying = wait(flying, return_when=FIRST_COMPLETED)
                for each in done:
                    self._fill(flying, left)
                    item = each.result()
                    del each
                    if item is not None:
                        yield item
                        del item
                del done
        finally:
            for each in flying:
                each.cancel()
            if flying:
                with self.wire.stopped():
                    wait(flying)

    def _fill(self, flying: set[Future[Item]], left: Iterator[MessageRef]) -> None:
        while len(flying) < self.wire.limits.in_flight:
            ref = next(left, None)
            if ref is None:
                return
            flying.add(self.threads.submit(self._one, ref))

    def _one(self, ref: MessageRef) -> Item:
        """Read one message; where many fail in a row it is the server that fails."""
        item = self._read(ref)
        if not isinstance(item, Unavailable) or item.permanent:
            self._ill = 0
            return item
        self._ill += 1
        if self._ill <= ILL_AT_MOST:
            return item
        raise SourceUnavailable(
            f"{self.wire.place}: Graph hands over no message any more: {item.reason}",
            suggestions=["check what stands between here and Graph, such as a proxy", RUN_AGAIN],
        )

    def _read(self, ref: MessageRef) -> Item:
        if not is_id(ref.key):
            return not_read(ref)
        path = f"users/{self.user}/messages/{escaped(ref.key)}"
        try:
            known = self.metas.get(ref.key) or meta(self.wire.get(f"{path}?$select={SELECT}"))
            raw = self.wire.mime(f"{path}/$value")
        except Refused as error:
            return self._refused(ref, path, error)
        except Damaged as error:
            return Unavailable(ref, f"Graph's answer is damaged: {error}")
        except TooLarge:
            return Unavailable(ref, "the message is larger than the limit", permanent=True)
        return SourceMessage(ref, raw, known.received_at, known.flags)

    def _refused(self, ref: MessageRef, path: str, error: Refused) -> Item:
        """Tell what concerns this message alone from what stops the run."""
        match error.kind:
            case Kind.GONE:
                return None
            case Kind.BAD_ITEM:
                self.bad += 1
                return Unavailable(ref, f"Graph cannot make it a message: {error}", permanent=True)
            case Kind.ODD | Kind.BUSY | Kind.NO_FOLDER | Kind.CHANGED | Kind.LOST:
                return Unavailable(ref, f"Graph does not hand it over: {error}")
            case Kind.DENIED:
                return self._denied(ref, path, error)
        raise explained(self.wire.place, _DOING, error) from None

    def _denied(self, ref: MessageRef, path: str, error: Refused) -> Item:
        """Ask for less: one protected message must not stop the others."""
        try:
            self.wire.get(f"{path}?$select=id")
        except (Refused, Damaged):
            denied = explained(self.wire.place, _DOING, error)
            assert isinstance(denied, AccessDenied)
            raise denied from None
        return Unavailable(ref, f"Graph allows nobody to read it: {error}")
