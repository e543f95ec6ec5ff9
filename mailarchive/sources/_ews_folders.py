"""Which folders a mailbox has, in which of its stores, and what each is for."""

from __future__ import annotations

from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive._model import Folder, FolderRole
from mailarchive.errors import ConfigurationError, MailboxNotFound, SourceError
from mailarchive.sources._ews_line import succeeded
from mailarchive.sources._ews_requests import (
    HIDDEN,
    Target,
    find_folders,
    get_folders,
    sync_hierarchy,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mailarchive.sources._ews_answer import Node
    from mailarchive.sources._ews_line import Line


class Store(StrEnum):
    """A tree of folders that belongs to a mailbox."""

    PRIMARY = "primary"
    """What people see as their mailbox."""
    RECOVERABLE = "recoverable"
    """Recoverable Items: what was deleted or is kept by a hold."""
    ARCHIVE = "archive"
    """The in-place archive mailbox."""
    ARCHIVE_RECOVERABLE = "archive-recoverable"
    """Recoverable Items of the archive mailbox."""
    PUBLIC = "public"
    """The public folders that the login may see; they belong to nobody's mailbox."""


_TOPS = {
    Store.PRIMARY: "msgfolderroot",
    Store.RECOVERABLE: "recoverableitemsroot",
    Store.ARCHIVE: "archivemsgfolderroot",
    Store.ARCHIVE_RECOVERABLE: "archiverecoverableitemsroot",
    Store.PUBLIC: "publicfoldersroot",
}
_PREFIX = {
    Store.RECOVERABLE: "Recoverable Items",
    Store.ARCHIVE: "In-Place Archive",
    Store.ARCHIVE_RECOVERABLE: "In-Place Archive Recoverable Items",
    Store.PUBLIC: "Public Folders",
}
"""What stands first in the paths of a store, so that no two stores share a path."""

_ROLES = {
    "inbox": FolderRole.INBOX,
    "sentitems": FolderRole.SENT,
    "drafts": FolderRole.DRAFTS,
    "junkemail": FolderRole.JUNK,
    "deleteditems": FolderRole.TRASH,
    "archivedeleteditems": FolderRole.TRASH,
}
_LISTING = "listing the folders"
_FOLDER_TAGS = frozenset(
    {"Folder", "CalendarFolder", "ContactsFolder", "TasksFolder", "SearchFolder"}
)


def _texts(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(names)


def _stores(names: Iterable[str]) -> tuple[Store, ...]:
    try:
        found = tuple(Store(name) for name in names)
    except ValueError:
        raise ConfigurationError(
            "a store of a mailbox that is none",
            suggestions=["name some of: " + ", ".join(Store)],
        ) from None
    if not found:
        raise ConfigurationError("no store of the mailbox is chosen", suggestions=["name one"])
    return found


@frozen(kw_only=True)
class Contents:
    """What of a mailbox counts as its mail: stores, and kinds of folders and items.

    A pattern is a class in Exchange's sense; `*` stands for any text.  The default is every
    item in the visible mail folders of the primary store.
    """

    stores: tuple[Store, ...] = field(default=(Store.PRIMARY,), converter=_stores)
    """The trees of folders that are listed."""

    folder_classes: tuple[str, ...] = field(
        default=("IPF.Note", "IPF.Note.*", "IPF.Imap", "IPF", ""), converter=_texts
    )
    """Classes of folders that are taken; `("*",)` takes calendars, contacts and tasks too.
    A folder that a migration left without a class counts as mail."""

    hidden_folders: bool = False
    """Whether folders that no mail program shows are taken as well."""

    item_classes: tuple[str, ...] = field(default=("*",), converter=_texts)
    """Classes of items that are listed, as `IPM.Note*`; others are passed over."""

    associated: bool = False
    """Whether hidden items are listed too: rules, views and settings kept as messages."""

    def takes_item(self, item_class: str | None) -> bool:
        """Return whether an item is listed; one whose class nobody tells is."""
        if item_class is None or "*" in self.item_classes:
            return True
        return any(fnmatchcase(item_class, pattern) for pattern in self.item_classes)

    def takes_folder(self, found: Found) -> bool:
        """Return whether a folder is of a kind that is taken."""
        if found.search or (found.hidden and not self.hidden_folders):
            return False
        return any(fnmatchcase(found.folder_class, pattern) for pattern in self.folder_classes)


@frozen
class Found:
    """A folder as the server tells of it."""

    id: str = field(repr=False)
    parent: str | None = field(repr=False)
    name: str = field(repr=False)
    folder_class: str
    total: int
    children: int
    hidden: bool
    search: bool


@frozen
class Listed:
    """A folder of ours, and what the server tells of it."""

    folder: Folder
    found: Found
    store: Store

    @property
    def recoverable(self) -> bool:
        """Whether it is a place of the server's own for what was deleted."""
        return self.store in {Store.RECOVERABLE, Store.ARCHIVE_RECOVERABLE}


class Folders:
    """The listing of a mailbox's folders, a page at a time."""

    def __init__(self, line: Line, mailbox: str | None, stores: tuple[Store, ...]) -> None:
        """Take whose folders; `mailbox` is `None` where it is the login's own."""
        self._line, self._mailbox, self._stores = line, mailbox, stores
        self.lacking: tuple[Store, ...] = ()
        """Stores that were asked for and that the mailbox has not, known after `listed`."""

    def listed(self) -> list[Listed]:
        """Return every folder of the stores, the inbox first; raises our errors."""
        roles = self._roles()
        found: list[Listed] = []
        for store in self._stores:
            try:
                found += self._of(store, roles)
            except MailboxNotFound:
                self.lacking += (store,)
                if store is Store.PRIMARY or self.lacking == self._stores:
                    raise
        return sorted(found, key=lambda each: _order(each.folder))

    def _target(self, distinguished: str) -> Target:
        public = distinguished == _TOPS[Store.PUBLIC]
        return Target(distinguished=distinguished, mailbox=None if public else self._mailbox)

    def _roles(self) -> dict[str, FolderRole]:
        """Return what the folders with a fixed name are for, by id; some may not be there."""
        names = [name for name in _ROLES if Store.ARCHIVE in self._stores or name[:4] != "arch"]
        replies = self._line.ask(get_folders(map(self._target, names)), _LISTING)
        roles: dict[str, FolderRole] = {}
        for name, reply in zip(names, replies, strict=False):
            for each in _folders_in(reply) if succeeded(reply) else ():
                roles[each.id] = _ROLES[name]
        return roles

    def _of(self, store: Store, roles: dict[str, FolderRole]) -> Iterator[Listed]:
        top = self._top(store)
        below = self._public(top) if store is Store.PUBLIC else self._synced(store)
        known: dict[str, Found] = {}
        for each in below:
            if each.id != top.id:
                known[each.id] = each
            if len(known) > self._line.limits.folders:
                raise SourceError(
                    f"{self._line.place}: the server lists more folders than the limit allows",
                    suggestions=["raise the limit where the mailbox really has so many"],
                )
        first = (_PREFIX[store],) if store in _PREFIX else ()
        if top.total:
            yield Listed(Folder(top.id, first or (top.name or "Top",)), top, store)
        for each in known.values():
            path = first + _path(each, known)
            yield Listed(Folder(each.id, path, roles.get(each.id)), each, store)

    def _top(self, store: Store) -> Found:
        reply = self._line.one(get_folders([self._target(_TOPS[store])]), _LISTING)
        found = next(iter(_folders_in(reply)), None)
        if found is None:
            raise self._unclear()
        return found

    def _synced(self, store: Store) -> Iterator[Found]:
        """Yield the folders below a store's top by SyncFolderHierarchy, page after page."""
        state: str | None = None
        while True:
            body = sync_hierarchy(self._target(_TOPS[store]), state)
            reply = self._line.one(body, _LISTING)
            changes = reply.find("Changes")
            yield from _folders_in(reply)
            before, state = state, reply.at("SyncState")
            if _true(reply.at("IncludesLastFolderInRange")):
                return
            if not state or (state == before and (changes is None or not changes.children)):
                raise self._unclear()

    def _public(self, top: Found) -> Iterator[Found]:
        """Yield public folders, which can only be listed a level at a time."""
        waiting = [top]
        seen = {top.id}
        while waiting:
            for each in self._right_below(waiting.pop()):
                if each.id not in seen:
                    seen.add(each.id)
                    yield each
                    waiting += [each] if each.children else []

    def _right_below(self, parent: Found) -> Iterator[Found]:
        offset = 0
        while True:
            reply = self._line.one(find_folders(Target(parent.id), offset), _LISTING)
            root = reply.find("RootFolder")
            found = list(_folders_in(reply))
            yield from found
            offset += len(found)
            if root is None or not found or _true(root.attributes.get("IncludesLastItemInRange")):
                return

    def _unclear(self) -> SourceError:
        return SourceError(
            f"{self._line.place}: the server does not tell the folders of the mailbox to the end",
            suggestions=["ask the server's log why"],
        )


def _order(folder: Folder) -> tuple[bool, tuple[str, ...]]:
    return folder.role is not FolderRole.INBOX, folder.path


def _path(found: Found, known: dict[str, Found]) -> tuple[str, ...]:
    path: list[str] = []
    here: Found | None = found
    passed: set[str] = set()
    while here is not None and here.id not in passed:  # a lying server may tell a circle
        passed.add(here.id)
        path.append(here.name or "?")
        here = known.get(here.parent or "")
    return tuple(reversed(path))


def _true(text: str | None) -> bool:
    return text in {"true", "1"}


def _folders_in(reply: Node) -> Iterator[Found]:
    """Yield the folders in a response message, wherever they stand in it."""
    waiting = list(reversed(reply.children))
    while waiting:
        node = waiting.pop()
        if node.tag == "Delete":
            continue
        if node.tag in _FOLDER_TAGS:
            found = _found(node)
            if found is not None:
                yield found
        else:
            waiting += reversed(node.children)


def _found(node: Node) -> Found | None:
    id_, parent = node.find("FolderId"), node.find("ParentFolderId")
    if id_ is None or not id_.attributes.get("Id"):
        return None
    return Found(
        id=id_.attributes["Id"],
        parent=None if parent is None else parent.attributes.get("Id"),
        name=node.at("DisplayName") or "",
        folder_class=node.at("FolderClass") or "",
        total=_number(node.at("TotalCount")),
        children=_number(node.at("ChildFolderCount")),
        hidden=_true(extended(node).get(int(HIDDEN, 16))),
        search=node.tag == "SearchFolder",
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 10 else 0  # noqa: PLR2004  # an xs:int


def extended(node: Node) -> dict[int, str]:
    """Return the MAPI properties of an item or a folder, by their tags."""
    told: dict[int, str] = {}
    for each in node.children:
        uri = each.find("ExtendedFieldURI") if each.tag == "ExtendedProperty" else None
        if uri is None:
            continue
        try:
            told[int(uri.attributes.get("PropertyTag", ""), 0)] = each.at("Value") or ""
        except ValueError:
            continue
    return told
