"""Removal: exactly the items that have a receipt, each only if it is still the same.

An item is the same while its change key is the one that was listed; that is asked just
before, and named in the request.  The default moves items to Deleted Items, where people
and the server's own retention find them.

What is where removed items go already stays there, and so does what is in Recoverable Items:
it would come up there anew, under another id, to be archived and removed for ever.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from mailarchive._model import Kept, Removed, Vanished
from mailarchive.errors import Transient
from mailarchive.sources._ews_errors import GONE, PASSING, back_off_of, broken, code_of, refusal
from mailarchive.sources._ews_folders import extended
from mailarchive.sources._ews_line import succeeded
from mailarchive.sources._ews_requests import FLAG_STATUS, delete_items, get_states

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailarchive._model import Archived, RemovalResult
    from mailarchive.sources._ews_answer import Node
    from mailarchive.sources._ews_line import Line

_AT_ONCE = 100
_CHANGED = frozenset({"ErrorIrresolvableConflict", "ErrorStaleObject", "ErrorInvalidChangeKey"})
_FLAGGED = "2"
_REMOVING = "removing messages"


class Disposal(StrEnum):
    """Where removed items go (Microsoft's DisposalType)."""

    DELETED_ITEMS = "MoveToDeletedItems"
    """To the folder of deleted items; whoever has the mailbox can take them out again."""
    SOFT = "SoftDelete"
    """To Recoverable Items, for as long as the server keeps those."""
    HARD = "HardDelete"
    """Gone, but for a hold."""


class Removing:
    """The removal of some items; may be done again after a break."""

    def __init__(
        self, line: Line, archived: Sequence[Archived], how: Disposal, kept: frozenset[str]
    ) -> None:
        """Take the items with their receipts, and the folders that nothing is taken from."""
        self._line, self._how = line, how
        self._archived = [each for each in archived if each.ref.folder not in kept]
        self._there = [each for each in archived if each.ref.folder in kept]
        self._asked: set[str] = set()

    def results(self) -> Iterator[RemovalResult]:
        """Remove, and yield one result for each; raises our errors."""
        yield from (Kept(each.ref, "it is where removed items go") for each in self._there)
        for start in range(0, len(self._archived), _AT_ONCE):
            some = {each.ref.key: each for each in self._archived[start : start + _AT_ONCE]}
            yield from self._line.run(lambda some=some: self._remove(some))  # type: ignore[misc]  # mypy cannot tell the default's type

    def _remove(self, some: dict[str, Archived]) -> list[RemovalResult]:
        results: dict[str, RemovalResult] = {}
        same = []
        for key, reply in self._ask(get_states(some), list(some)):
            result = self._judge(some[key], reply)
            if result is None:
                same.append(key)
            else:
                results[key] = result
        if same:
            ids = [(key, some[key].ref.revision) for key in same]
            self._asked.update(same)
            for key, reply in self._ask(delete_items(ids, self._how), same):
                results[key] = self._outcome(some[key], reply)
        return list(results.values())

    def _judge(self, each: Archived, reply: Node) -> RemovalResult | None:
        """Return what stands against a removal; `None` where nothing does."""
        code = code_of(reply)
        if code in GONE:
            return self._is_gone(each)
        items = reply.find("Items")
        item = items.children[0] if items is not None and items.children else None
        id_ = None if item is None else item.find("ItemId")
        if not succeeded(reply) or item is None or id_ is None:
            return Kept(each.ref, f"the server does not show it: {code}")
        if id_.attributes.get("Id") != each.ref.key:
            return Kept(each.ref, "the server shows another item")
        if each.ref.revision is None or id_.attributes.get("ChangeKey") != each.ref.revision:
            return Kept(each.ref, "changed: it has another change key")
        if extended(item).get(int(FLAG_STATUS, 16)) == _FLAGGED:
            return Kept(each.ref, "flagged")
        return None

    def _outcome(self, each: Archived, reply: Node) -> RemovalResult:
        code = code_of(reply)
        if succeeded(reply):
            return Removed(each.ref)
        if code in GONE:
            return self._is_gone(each)
        if code in _CHANGED:
            return Kept(each.ref, "changed while it was about to be removed")
        return Kept(each.ref, f"the server refuses: {code}")

    def _is_gone(self, each: Archived) -> RemovalResult:
        """An item that went after we asked for it is one that we removed."""
        return Removed(each.ref) if each.ref.key in self._asked else Vanished(each.ref)

    def _ask(self, body: str, keys: list[str]) -> list[tuple[str, Node]]:
        replies = list(self._line.stream(body, _REMOVING))
        for reply in replies:
            code = code_of(reply)
            if code in PASSING:
                error = refusal(self._line.place, _REMOVING, code, back_off_of(reply))
                assert isinstance(error, Transient)
                raise error
        if len(replies) != len(keys):
            raise broken(self._line.place, "the answer has not the parts that were asked for")
        return list(zip(keys, replies, strict=True))
