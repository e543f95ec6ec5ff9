"""Removing messages by Graph: to where users can still recover them, and only the same ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from mailarchive._graph.errors import Damaged, Kind, Refused, damaged, explained
from mailarchive._graph.wire import escaped, is_id
from mailarchive._model import Kept, Removed, Vanished
from mailarchive.sources._foreign_key import not_removed
from mailarchive.sources._graph_items import FLAGGED, meta

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailarchive._graph.wire import Wire
    from mailarchive._model import Archived, MessageRef, RemovalResult
    from mailarchive.sources._graph_items import Meta

_DOING = "removing a message"
_SELECT = "id,changeKey,parentFolderId,flag"
TRASH = "deleteditems"


@frozen
class Removing:
    """Moves messages to a folder, or deletes them softly where `target` is `None`."""

    wire: Wire
    user: str
    target: str | None

    def results(self, archived: Sequence[Archived]) -> Iterator[RemovalResult]:
        """Yield what became of each, in order; raises `SourceError`."""
        try:
            target = self._target_id()
        except Refused as error:
            raise explained(self.wire.place, "looking for the folder to move to", error) from None
        except Damaged as error:
            raise damaged(self.wire.place, _DOING, error) from None
        for each in archived:
            if each.ref.folder == target:
                yield Kept(each.ref, "it is where removed messages go")
                continue
            try:
                yield self._one(each.ref)
            except Refused as error:
                raise explained(self.wire.place, _DOING, error) from None
            except Damaged as error:
                raise damaged(self.wire.place, _DOING, error) from None

    def _target_id(self) -> str | None:
        if self.target is None:
            return None
        path = f"users/{self.user}/mailFolders/{escaped(self.target)}?$select=id"
        found = self.wire.get(path).get("id")
        return found if isinstance(found, str) else None

    def _one(self, ref: MessageRef) -> RemovalResult:
        if not is_id(ref.key):
            return not_removed(ref)
        path = f"users/{self.user}/messages/{escaped(ref.key)}"
        try:
            now = meta(self.wire.get(f"{path}?$select={_SELECT}"))
        except Refused as error:
            if error.kind is Kind.GONE:
                return Vanished(ref)
            raise
        if now.parent is not None and now.parent != ref.folder:
            return Vanished(ref)  # somebody moved it, perhaps we did
        why = _why_not(ref, now)
        return Kept(ref, why) if why else self._take(ref, path, now)

    def _take(self, ref: MessageRef, path: str, now: Meta) -> RemovalResult:
        """Remove it unless it changes in this moment, which `If-Match` tells the server."""
        try:
            if self.target is None:
                self.wire.send("DELETE", path, etag=now.etag)
            else:
                body = {"destinationId": self.target}
                self.wire.send("POST", f"{path}/move", body=body, etag=now.etag)
        except Refused as error:
            if error.kind is Kind.CHANGED:
                return Kept(ref, "changed while it was removed")
            if error.kind is Kind.GONE:
                return Vanished(ref)
            raise
        return Removed(ref)


def _why_not(ref: MessageRef, now: Meta) -> str | None:
    if now.revision is None or now.etag is None:
        return "the server does not tell its version"
    if now.revision != ref.revision:
        return "changed since it was archived"
    if FLAGGED in now.flags:
        return "flagged"
    return None
