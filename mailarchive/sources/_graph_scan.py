"""Listing a folder by Graph: delta rounds, checked now and then against a plain listing.

A token is a small JSON object: the delta or next link (without its origin), the number of
the page, the epoch of the listing, and when the folder was last reconciled.

A round of `messages/delta` tells what came, changed and went.  After it the server's count
is compared with what is remembered (`SeenIds`); where they differ, or enough time has
passed, every id of the folder is listed, and what was never seen, or has another change
key, is a page of its own.  That finds what delta queries lose.
"""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from attrs import define, evolve, field, frozen
from typing_extensions import override

from mailarchive._graph.errors import Damaged, Kind, Refused, damaged, explained, lost
from mailarchive._graph.wire import escaped, items
from mailarchive._model import MessageRef, Page
from mailarchive.errors import SourceError
from mailarchive.sources._graph_items import SELECT, Meta, meta

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from mailarchive._graph.wire import Wire
    from mailarchive._model import Folder
    from mailarchive.sources._graph_seen import SeenFolder, SeenIds

_VERSION: Final = 1
_LONGEST_TOKEN: Final = 65_536
_AT_ONCE: Final = 1_000
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


@frozen
class Token:
    """How far a folder is listed.  `others` are items that the server counts and never lists."""

    epoch: str
    page: int = 0
    link: str = ""
    reconciled: datetime = _NEVER
    others: int = 0

    @override
    def __str__(self) -> str:
        """Return the text of the token."""
        parts = [_VERSION, self.epoch, self.page, self.link, int(self.reconciled.timestamp())]
        return json.dumps([*parts, self.others], separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Token | None:
        """Return the token that a text is, or `None`."""
        try:
            told = json.loads(text) if len(text) <= _LONGEST_TOKEN else None
        except (ValueError, RecursionError):
            return None
        if not isinstance(told, list) or [type(each) for each in told] != _TYPES:
            return None
        version, epoch, page, link, seconds, others = told
        if version != _VERSION or min(page, seconds, others) < 0 or seconds > _LATEST:
            return None
        return cls(epoch, page, link, datetime.fromtimestamp(seconds, UTC), others)


_TYPES: Final = [int, str, int, str, int, int]
_LATEST: Final = 1 << 40


@define
class Notes:
    """What a source remembers from one call to the next, while it is open."""

    metas: dict[str, Meta] = field(factory=dict)
    """What the last pages told of each message, so that fetching need not ask again."""
    lost: dict[str, Token] = field(factory=dict)
    """Folders whose delta link was lost: what they had seen is not listed again."""
    unreconciled: set[str] = field(factory=set)
    """Folders that could not be reconciled, since what was seen before is not known."""
    unlisted: dict[str, int] = field(factory=dict)
    """How many messages of a folder cannot be listed at all."""
    others: dict[str, int] = field(factory=dict)
    """How many items of a folder are counted and are no messages to Graph."""


@define
class Scanning:
    """One scan of one folder."""

    wire: Wire
    user: str
    folder: Folder
    seen_ids: SeenIds
    notes: Notes
    source: str
    clock: Callable[[], datetime]
    reconcile_after: timedelta
    use_delta: bool = True
    _seen: SeenFolder = field(init=False)
    _token: Token = field(init=False)

    def pages(self, after: str | None) -> Iterator[Page]:
        """Yield the pages after a token; raises `CheckpointInvalid`, `SourceError`."""
        self._begin(after)
        if self.use_delta:
            yield from self._rounds()
        if self._is_due():
            yield from self._reconcile()

    def _begin(self, after: str | None) -> None:
        if after is None:
            before = self.notes.lost.pop(self.folder.key, None)
            self._token = Token(secrets.token_hex(4) if before is None else before.epoch)
            if before is not None:
                self._token = evolve(self._token, page=before.page)
        else:
            found = Token.parse(after)
            if found is None:
                raise lost(self.wire.place, "it is none of this source")
            self._token = found
        token = self._token
        self._seen = self.seen_ids.folder(self.source, self.folder.key, token.epoch, token.page)

    # -- delta ----------------------------------------------------------------------------

    def _rounds(self) -> Iterator[Page]:
        link = self._token.link or self._first_link()
        while True:
            try:
                told = self.wire.get(link, prefer=f"odata.maxpagesize={self.wire.limits.page}")
            except Refused as error:
                if error.kind is Kind.LOST:
                    raise self._lost(error) from None
                if not _blames_an_item(error):
                    raise explained(self.wire.place, "listing a folder", error) from None
                yield from self._around(error)
                return
            except Damaged as error:
                raise damaged(self.wire.place, "listing a folder", error) from None
            following = told.get("@odata.nextLink")
            link = self.wire.link(told.get("@odata.deltaLink") if following is None else following)
            yield from self._delta_page(told, link)
            if following is None:
                return

    def _first_link(self) -> str:
        return f"{self._path()}/messages/delta?$select={SELECT}"

    def _path(self) -> str:
        return f"users/{self.user}/mailFolders/{escaped(self.folder.key)}"

    def _lost(self, error: Refused) -> Exception:
        self.notes.lost[self.folder.key] = self._token
        return lost(self.wire.place, str(error))

    def _delta_page(self, told: dict[str, Any], link: str) -> Iterator[Page]:
        listed = items(self.wire, told)
        gone = [each["id"] for each in listed if "@removed" in each]
        self._seen.mark(gone, here=False)
        there = [meta(each) for each in listed if "@removed" not in each]
        changed = link != self._token.link
        self._token = evolve(self._token, link=link)
        yield from self._page(there, always=changed)

    def _page(self, there: list[Meta], *, always: bool) -> Iterator[Page]:
        """Yield those that were never seen as a page, and remember them before that."""
        new = {each.id: each for each in there if not self._seen.knows(each.id, each.revision)}
        self._seen.mark([each.id for each in there if each.id not in new], here=True)
        if not new and not always:
            return
        self._token = evolve(self._token, page=self._token.page + 1)
        self._seen.add([(each.id, each.revision) for each in new.values()], self._token.page)
        self.notes.metas = new or self.notes.metas
        refs = tuple(
            MessageRef(self.source, self.folder.key, each.id, None, each.revision)
            for each in new.values()
        )
        yield Page(self.folder, refs, str(self._token))

    # -- a plain listing ------------------------------------------------------------------

    def _is_due(self) -> bool:
        """Whether the folder is to be listed in full now.

        Where what was seen is not known every message would be read once more: that is
        done where it is remembered from then on.
        """
        if not self.use_delta:
            return True
        if not self._seen.complete:
            self.notes.unreconciled |= set() if self.seen_ids.durable else {self.folder.key}
            return self.seen_ids.durable
        total = self._total()
        differ = total is not None and total - self._token.others != self._seen.count()
        return differ or self.clock() - self._token.reconciled >= self.reconcile_after

    def _total(self) -> int | None:
        told = self.wire.told(f"{self._path()}?$select=totalItemCount", "counting a folder")
        total = told.get("totalItemCount")
        return total if type(total) is int else None

    def _reconcile(self) -> Iterator[Page]:
        """List every id, yield what delta did not tell, and take stock."""
        now = self.clock()
        self._seen.mark_all_gone()
        listing = Listing(self.wire, self.user, self.folder.key)
        for there in listing.pages():
            yield from self._page(there, always=False)
        total = self._total()
        others = max((total or 0) - self._seen.count() - listing.unlisted, 0)
        self._token = evolve(self._token, reconciled=now, others=others)
        self._take_stock(listing.unlisted, others)
        self._seen.completed()
        yield from self._page([], always=True)

    def _take_stock(self, unlisted: int, others: int) -> None:
        for counts, count in ((self.notes.unlisted, unlisted), (self.notes.others, others)):
            counts.pop(self.folder.key, None)
            if count:
                counts[self.folder.key] = count

    def _around(self, error: Refused) -> Iterator[Page]:
        """Archive everything but the message that no listing can contain, then say so."""
        yield from self._reconcile()
        if not (unlisted := self.notes.unlisted.get(self.folder.key)):
            return
        raise SourceError(
            f"{self.wire.place}: {unlisted} messages of this folder cannot be listed ({error}); "
            "the others were, without them",
            suggestions=[
                "find the message in the folder, newest first, and repair or move it",
                "read the folder over EWS or IMAP, which list it in another way",
            ],
        )


def _blames_an_item(error: Refused) -> bool:
    """Whether a listing fails because of what is in it; a server that is ill says otherwise."""
    return error.kind is Kind.BAD_ITEM


@define
class Listing:
    """Every message of a folder by plain pages, around those that break a page."""

    wire: Wire
    user: str
    folder: str
    unlisted: int = 0

    def pages(self) -> Iterator[list[Meta]]:
        """Yield what there is; `unlisted` counts what no page can contain."""
        skip = 0
        while True:
            found, more = self._range(skip, _AT_ONCE)
            yield found
            if not more:
                return
            skip += _AT_ONCE

    def _range(self, skip: int, count: int) -> tuple[list[Meta], bool]:
        """Return so many messages from a place on, and whether there are more behind them."""
        try:
            told = self._ask(skip, count, SELECT)
        except Refused as error:
            if not _blames_an_item(error):
                raise explained(self.wire.place, "listing a folder", error) from None
            if count == 1:
                return self._one(skip)
            first, more = self._range(skip, count // 2)
            if not more:
                return first, False
            rest, more = self._range(skip + count // 2, count - count // 2)
            return first + rest, more
        return [meta(each) for each in items(self.wire, told)], "@odata.nextLink" in told

    def _one(self, skip: int) -> tuple[list[Meta], bool]:
        """Return a message that breaks a listing by its id, or count it as lost to us."""
        try:
            told = self._ask(skip, 1, "id")
            found = [self._alone(each) for each in items(self.wire, told)]
        except Refused as error:
            if not _blames_an_item(error):
                raise explained(self.wire.place, "listing a folder", error) from None
            self.unlisted += 1
            return [], True  # whether there are more, the next place tells
        return found, "@odata.nextLink" in told

    def _alone(self, listed: dict[str, Any]) -> Meta:
        """Ask for one message what the listing could not tell of it."""
        path = f"users/{self.user}/messages/{escaped(listed['id'])}?$select={SELECT}"
        try:
            return meta(self.wire.get(path))
        except (Refused, Damaged):
            return meta(listed)

    def _ask(self, skip: int, count: int, select: str) -> dict[str, Any]:
        path = f"users/{self.user}/mailFolders/{escaped(self.folder)}/messages"
        place = f"&$skip={skip}" if skip else ""
        try:
            return self.wire.get(f"{path}?$select={select}&$top={count}{place}")
        except Damaged as error:
            raise damaged(self.wire.place, "listing a folder", error) from None
