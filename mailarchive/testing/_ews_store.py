"""What the EWS server on loopback holds: mailboxes, their folders, and items with a history.

A folder keeps a log of what happened in it, which is never rewritten; a sync state names a
stretch of that log and how much of it was told, so that any state can be asked again and
gives the same answer.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FOLDERS = {
    "inbox": ("Inbox", "IPF.Note"),
    "drafts": ("Drafts", "IPF.Note"),
    "sentitems": ("Sent Items", "IPF.Note"),
    "deleteditems": ("Deleted Items", "IPF.Note"),
    "junkemail": ("Junk Email", "IPF.Note"),
    "outbox": ("Outbox", "IPF.Note"),
    "calendar": ("Calendar", "IPF.Appointment"),
    "contacts": ("Contacts", "IPF.Contact"),
    "tasks": ("Tasks", "IPF.Task"),
}
_RECOVERABLE = {
    "recoverableitemsdeletions": "Deletions",
    "recoverableitemsversions": "Versions",
    "recoverableitemspurges": "Purges",
}


class NoSyncState(Exception):
    """A sync state that is none of this folder's, or no more."""


@define(eq=False)
class EwsItem:
    """An item; `raw` is what the server renders as MIME."""

    id: str
    number: int
    change_key: str
    raw: bytes = field(repr=False)
    received_at: datetime
    item_class: str = "IPM.Note"
    read: bool = False
    flagged: bool = False
    associated: bool = False
    size: int | None = None
    """What the server says of its size; the length of `raw` unless set."""
    error: str | None = None
    """The response code that asking for its MIME is answered with, if any."""

    @property
    def told_size(self) -> int:
        """The size that the server tells."""
        return len(self.raw) if self.size is None else self.size


@frozen
class Change:
    """One line of an answer to SyncFolderItems; `item` is `None` where it is gone."""

    kind: str
    id: str
    item: EwsItem | None


@define(eq=False)
class EwsFolder:
    """A folder and everything that ever happened in it."""

    id: str
    name: str
    parent: EwsFolder | None = field(default=None, repr=False)
    folder_class: str = "IPF.Note"
    distinguished: str | None = None
    hidden: bool = False
    search: bool = False
    items: dict[str, EwsItem] = field(factory=dict, repr=False)
    log: list[tuple[str, str]] = field(factory=list, repr=False)

    @property
    def number(self) -> str:
        """A short name for sync states."""
        return self.id[-8:]


@define(eq=False)
class EwsMailbox:
    """A mailbox: its address, whom it lets in beside its owner, and its folders.

    `clock` gives the time of what is delivered without one.
    """

    address: str
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC), repr=False)
    delegates: set[str] = field(factory=set, repr=False)
    epoch: int = 1
    folders: dict[str, EwsFolder] = field(factory=dict, repr=False)
    _numbers: Iterator[int] = field(factory=lambda: count(1), alias="numbers", repr=False)

    def fill(self) -> EwsMailbox:
        """Make the folders that every mailbox has, with an archive and recoverable items."""
        root = self.add_folder("root", None, distinguished="root")
        top = self.add_folder("Top of Information Store", root, distinguished="msgfolderroot")
        for distinguished, (name, kind) in _FOLDERS.items():
            self.add_folder(name, top, kind, distinguished=distinguished)
        self._add_recoverable("", root)
        archive = self.add_folder("archive root", None, distinguished="archiveroot")
        self.add_folder("Archive", archive, distinguished="archivemsgfolderroot")
        self._add_recoverable("archive", archive)
        return self

    def _add_recoverable(self, prefix: str, root: EwsFolder) -> None:
        name = f"{prefix}recoverableitemsroot"
        top = self.add_folder("Recoverable Items", root, distinguished=name)
        for distinguished, name in _RECOVERABLE.items():
            self.add_folder(name, top, distinguished=prefix + distinguished)

    def add_folder(
        self,
        name: str,
        parent: str | EwsFolder | None = "msgfolderroot",
        folder_class: str = "IPF.Note",
        *,
        distinguished: str | None = None,
        hidden: bool = False,
        search: bool = False,
    ) -> EwsFolder:
        """Make a folder and return it; `parent` may be a distinguished name."""
        above = self.folder(parent) if isinstance(parent, str) else parent
        made = EwsFolder(
            self._id("folder"), name, above, folder_class, distinguished, hidden, search
        )
        self.folders[made.id] = made
        return made

    def folder(self, name: str) -> EwsFolder:
        """Return a folder by its distinguished name or its display name."""
        for each in self.folders.values():
            if name in {each.distinguished, each.name}:
                return each
        raise KeyError(name)

    def deliver(
        self,
        raw: bytes,
        folder: str | EwsFolder = "inbox",
        *,
        item_class: str = "IPM.Note",
        received_at: datetime | None = None,
        flagged: bool = False,
        associated: bool = False,
        size: int | None = None,
    ) -> EwsItem:
        """Put an item into a folder and return it."""
        place = self.folder(folder) if isinstance(folder, str) else folder
        item = EwsItem(
            id=self._id("item"),
            number=next(self._numbers),
            change_key=self._id("key"),
            raw=raw,
            received_at=received_at or self.clock(),
            item_class=item_class,
            flagged=flagged,
            associated=associated,
            size=size,
        )
        place.items[item.id] = item
        place.log.append(("Create", item.id))
        return item

    def change(self, item: EwsItem, raw: bytes | None = None) -> None:
        """Change an item, as its owner might: another change key, perhaps other bytes."""
        if raw is not None:
            item.raw = raw
        self._touch(item, "Update")

    def read(self, item: EwsItem) -> None:
        """Mark an item as read, which changes its change key too."""
        item.read = True
        self._touch(item, "ReadFlagChange")

    def flag(self, item: EwsItem) -> None:
        """Flag an item, as a person does who wants to come back to it."""
        item.flagged = True
        self._touch(item, "Update")

    def delete(self, item: EwsItem) -> None:
        """Take an item away for good."""
        place = self.place_of(item)
        del place.items[item.id]
        place.log.append(("Delete", item.id))

    def move(self, item: EwsItem, to: str | EwsFolder) -> EwsItem:
        """Move an item, which gives it another id, and return it."""
        self.delete(item)
        target = self.folder(to) if isinstance(to, str) else to
        item.id, item.number = self._id("item"), next(self._numbers)
        item.change_key = self._id("key")
        target.items[item.id] = item
        target.log.append(("Create", item.id))
        return item

    def forget_sync_states(self) -> None:
        """Make every sync state worthless, as a move to another database does."""
        self.epoch += 1

    def place_of(self, item: EwsItem) -> EwsFolder:
        """Return the folder that an item is in."""
        return next(each for each in self.folders.values() if item.id in each.items)

    def below(self, top: EwsFolder) -> list[EwsFolder]:
        """Return every folder below one, at any depth, in the order they were made."""
        return [each for each in self.folders.values() if _is_below(each, top)]

    def _touch(self, item: EwsItem, kind: str) -> None:
        item.change_key = self._id("key")
        self.place_of(item).log.append((kind, item.id))

    def _id(self, what: str) -> str:
        text = f"{self.address}/{what}/{next(self._numbers):08d}".encode()
        return "AAMk" + base64.b64encode(text).decode()

    def sync(
        self, folder: EwsFolder, state: str, limit: int, *, associated: bool
    ) -> tuple[list[Change], str, bool]:
        """Return what changed since a state, at most `limit`; the next state; whether all.

        A round covers the log up to where it was when the round began, each item once,
        the newest first.  Raises `NoSyncState`.
        """
        start, end, told = self._parse(folder, state)
        if told < 0:
            start, end, told = end, len(folder.log), 0
        stretch = _collapse(folder, start, end)
        page = [_change(folder, *each) for each in stretch[told : told + limit]]
        last = told + limit >= len(stretch)
        seen = [each for each in page if _is_told(each, associated=associated)]
        done = -1 if last else told + len(page)
        return seen, self._state(folder, start, end, done), last

    def _state(self, folder: EwsFolder, start: int, end: int, told: int) -> str:
        text = f"{self.epoch} {folder.number} {start} {end} {told}"
        return base64.b64encode(text.encode()).decode()

    def _parse(self, folder: EwsFolder, state: str) -> tuple[int, int, int]:
        if not state:
            return 0, 0, -1
        try:
            epoch, number, start, end, told = base64.b64decode(state, validate=True).split(b" ")
            if (int(epoch), number.decode()) != (self.epoch, folder.number):
                raise NoSyncState
            return int(start), int(end), int(told)
        except (ValueError, binascii.Error):
            raise NoSyncState from None


def _is_told(change: Change, *, associated: bool) -> bool:
    if change.item is None:
        return change.kind == "Delete"
    return associated or not change.item.associated


def _is_below(folder: EwsFolder, top: EwsFolder) -> bool:
    above = folder.parent
    while above is not None and above is not top:
        above = above.parent
    return above is top


def _collapse(folder: EwsFolder, start: int, end: int) -> list[tuple[str, set[str]]]:
    """Return what happened to each item in a stretch of the log, the newest item first."""
    kinds: dict[str, set[str]] = {}
    for kind, id_ in folder.log[start:end]:
        kinds.setdefault(id_, set()).add(kind)
    return list(reversed(kinds.items()))


def _change(folder: EwsFolder, id_: str, kinds: set[str]) -> Change:
    item = folder.items.get(id_)
    if item is None:
        # One that came and went keeps its place, or the pages of a round would shift.
        return Change("" if "Create" in kinds else "Delete", id_, None)
    kind = next(kind for kind in ("Create", "Update", "ReadFlagChange") if kind in kinds)
    return Change(kind, id_, item)
