"""Listing a folder: what changed since a sync state, a page at a time.

A token is the server's sync state with a checksum of ours over it and the folder, because
some servers take a state that they do not know for an empty one and would tell everything
anew, or nothing.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from mailarchive._model import MessageRef, Page
from mailarchive.errors import SourceError
from mailarchive.sources._ews_errors import invalid_token
from mailarchive.sources._ews_requests import sync_items

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailarchive._model import Folder
    from mailarchive.sources._ews_answer import Node
    from mailarchive.sources._ews_folders import Contents
    from mailarchive.sources._ews_line import Line

_VERSION = "1"
_LISTED = frozenset({"Create", "Update"})
_QUIET_ROUNDS = 100
"""Answers without a change, one after the other, that promise more."""
_SCANNING = "listing a folder"


def token_of(folder: str, state: str) -> str:
    """Return the token that stands for a sync state of a folder."""
    return f"{_VERSION}.{_checksum(folder, state)}.{state}"


def state_of(folder: str, token: str) -> str | None:
    """Return the sync state in a token; `None` for what is no token of this folder."""
    version, _, rest = token.partition(".")
    checksum, _, state = rest.partition(".")
    fine = version == _VERSION and state and checksum == _checksum(folder, state)
    return state if fine else None


def _checksum(folder: str, state: str) -> str:
    text = f"{folder}\n{state}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()[:16]


class Scanning:
    """The listing of one folder by SyncFolderItems; every step may be done again."""

    def __init__(self, line: Line, folder: Folder, contents: Contents) -> None:
        """Take what to list."""
        self._line, self._folder, self._contents = line, folder, contents

    def pages(self, after: str | None) -> Iterator[Page]:
        """Yield what came or changed after a token; the newest first, as Exchange tells it.

        The server's word that there is no more is believed when there is nothing new behind
        it: a round that was closed early goes on at once.  Raises `CheckpointInvalid`.
        """
        state = None if after is None else self._state(after)
        told: set[int] = set()
        ended, quiet = False, 0
        halfway = after is not None  # for all that is known of the token
        while True:
            reply = self._ask(state)
            before, state = state, self._next(reply)
            changes = reply.find("Changes")
            told_any = changes is not None and bool(changes.children)
            refs = self._refs(reply)
            if ended:  # a server that knows its own state no more begins anew
                refs = tuple(ref for ref in refs if hash(ref) not in told)
            told.update(map(hash, refs))
            last = reply.at("IncludesLastItemInRange") in {"true", "1"}
            if refs or (state != before and (told_any or (last and halfway))):
                # Also the end of a round in which nothing was left: a token from the midst of
                # it would lead there again, and never to what came since.
                yield Page(self._folder, refs, token_of(self._folder.key, state))
                halfway = not last
            ended = ended or last
            if ended and not refs:
                return
            quiet = 0 if refs else quiet + 1
            if (state == before and not refs) or quiet > _QUIET_ROUNDS:
                raise self._stuck()

    def _ask(self, state: str | None) -> Node:
        contents, limits = self._contents, self._line.limits
        body = sync_items(self._folder.key, state, limits.page, associated=contents.associated)
        return self._line.one(body, _SCANNING)

    def _state(self, token: str) -> str:
        state = state_of(self._folder.key, token)
        if state is None:
            raise invalid_token(self._line.place, "it is not of this folder")
        return state

    def _next(self, reply: Node) -> str:
        state = reply.at("SyncState")
        if not state or len(state) > self._line.limits.token_octets:
            what = "no sync state" if not state else "a larger sync state than the limit allows"
            raise SourceError(
                f"{self._line.place}: the server gives {what}",
                suggestions=["ask the server's log why"],
            )
        return state

    def _stuck(self) -> SourceError:
        return SourceError(
            f"{self._line.place}: the server says that there is more, and never tells it",
            suggestions=["run again: the listing goes on from where it stopped"],
        )

    def _refs(self, reply: Node) -> tuple[MessageRef, ...]:
        found: dict[str, MessageRef] = {}
        changes = reply.find("Changes")
        for change in changes.children if changes is not None else ():
            for item in change.children if change.tag in _LISTED else ():
                ref = self._ref(item)
                if ref is not None and self._contents.takes_item(item.at("ItemClass")):
                    found[ref.key] = ref
        return tuple(found.values())

    def _ref(self, item: Node) -> MessageRef | None:
        id_ = item.find("ItemId")
        if id_ is None or not id_.attributes.get("Id"):
            return None
        size = item.at("Size")
        return MessageRef(
            self._line.place.name,
            self._folder.key,
            id_.attributes["Id"],
            int(size) if size and size.isdecimal() and len(size) < 12 else None,  # noqa: PLR2004  # bytes of one item
            id_.attributes.get("ChangeKey"),
        )
