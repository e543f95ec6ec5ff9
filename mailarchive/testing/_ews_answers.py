"""What the EWS server on loopback answers when nothing is wrong: one function an operation."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, TypeAlias, TypeVar
from xml.etree.ElementTree import Element
from xml.sax.saxutils import quoteattr

from attrs import define, field, frozen

from mailarchive.testing._ews_restrict import Restriction, of_folder, of_item
from mailarchive.testing._ews_shapes import (
    MESSAGES,
    TYPES,
    Shape,
    element,
    folder_xml,
    item_id,
    item_xml,
    text_of,
)
from mailarchive.testing._ews_store import EwsMailbox, NoSyncState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mailarchive.testing._ews_store import Change, EwsFolder, EwsItem

_T = TypeVar("_T")

_TOP = Element(f"{TYPES}DistinguishedFolderId", {"Id": "msgfolderroot"})

_TEXTS = {
    "ErrorItemNotFound": "The specified object was not found in the store.",
    "ErrorFolderNotFound": "The specified folder could not be found in the store.",
    "ErrorAccessDenied": "Access is denied. Check credentials and try again.",
    "ErrorNonExistentMailbox": "The SMTP address has no mailbox associated with it.",
    "ErrorInvalidSyncStateData": "Synchronization state data is corrupt or otherwise invalid.",
    "ErrorImpersonateUserDenied": "The account does not have permission to impersonate the "
    "requested user.",
    "ErrorServerBusy": "The server cannot service this request right now. Try again later.",
}
_LARGEST_PAGE = 512


class Denied(Exception):  # becomes an answer
    """An operation, or one part of it, that is refused with a response code."""

    def __init__(self, code: str) -> None:
        """Take the code."""
        super().__init__(code)
        self.code = code


@define(eq=False)
class World:
    """Every mailbox there is, and who may do what."""

    mailboxes: dict[str, EwsMailbox] = field(factory=dict)
    public: EwsMailbox = field(factory=lambda: EwsMailbox("public"))
    impersonators: set[str] = field(factory=set)
    owners: dict[str, str] = field(factory=dict)
    """The mailbox of each user."""
    fraction: str = ""
    """Fractional seconds that are written behind a time, as `.1234567`."""
    render: Callable[[bytes], bytes] = field(default=lambda raw: raw)
    """How MIME is made of what was delivered; Exchange makes it anew on each request."""

    def all_mailboxes(self) -> Iterable[EwsMailbox]:
        """Return them, and the public folders."""
        return (*self.mailboxes.values(), self.public)


@frozen
class Caller:
    """Who asks: the user that logged in, and the mailbox that is then one's own."""

    world: World
    user: str
    own: EwsMailbox | None
    impersonating: bool = False

    def mailbox(self, address: str | None) -> EwsMailbox:
        """Return a mailbox that this caller may open; raises `Denied`."""
        if address is None:
            if self.own is None:
                raise Denied("ErrorMissingEmailAddress")
            return self.own
        found = self.world.mailboxes.get(address.lower())
        if found is None:
            raise Denied("ErrorNonExistentMailbox")
        if not self._may_open(found):
            raise Denied("ErrorAccessDenied")
        return found

    def _may_open(self, mailbox: EwsMailbox) -> bool:
        if mailbox in {self.own, self.world.public}:
            return True
        return not self.impersonating and self.user in mailbox.delegates

    def folder(self, target: Element) -> tuple[EwsMailbox, EwsFolder]:
        """Return the folder that an id or a distinguished name stands for; raises `Denied`."""
        if target.tag == f"{TYPES}FolderId":
            for mailbox in self.world.all_mailboxes():
                if target.attrib["Id"] in mailbox.folders and self._may_open(mailbox):
                    return mailbox, mailbox.folders[target.attrib["Id"]]
            raise Denied("ErrorFolderNotFound")
        name = target.attrib["Id"]
        address = target.findtext(f"{TYPES}Mailbox/{TYPES}EmailAddress")
        public = name == "publicfoldersroot"
        mailbox = self.world.public if public else self.mailbox(address)
        try:
            return mailbox, mailbox.folder(name)
        except KeyError:
            raise Denied("ErrorFolderNotFound") from None

    def item(self, id_: str) -> tuple[EwsMailbox, EwsFolder, EwsItem]:
        """Return an item by its id; raises `Denied`."""
        for mailbox in self.world.all_mailboxes():
            for folder in mailbox.folders.values():
                if id_ in folder.items and self._may_open(mailbox):
                    return mailbox, folder, folder.items[id_]
        raise Denied("ErrorItemNotFound")


def message(operation: str, content: str, *, code: str = "NoError", extra: str = "") -> str:
    """Return one response message; anything but NoError makes it an error."""
    fine = code == "NoError"
    told = "" if fine else f"<m:MessageText>{text_of(_TEXTS.get(code, code))}</m:MessageText>"
    link = "" if fine else "<m:DescriptiveLinkKey>0</m:DescriptiveLinkKey>"
    return (
        f'<m:{operation}ResponseMessage ResponseClass="{"Success" if fine else "Error"}">'
        f"{told}<m:ResponseCode>{code}</m:ResponseCode>{link}{extra}{content}"
        f"</m:{operation}ResponseMessage>"
    )


Operation: TypeAlias = "Callable[[Caller, Element], Iterator[str]]"


def _each(
    operation: str,
    targets: Element | None,
    work: Callable[[Element], str],
    empty: str = "",
) -> Iterator[str]:
    """Answer for each target in its turn, an error included."""
    for target in () if targets is None else targets:  # one without children counts as false
        try:
            yield message(operation, work(target))
        except Denied as error:
            yield message(operation, empty, code=error.code)


def _children(mailbox: EwsMailbox, folder: EwsFolder) -> list[EwsFolder]:
    return [each for each in mailbox.folders.values() if each.parent is folder]


def get_folder(caller: Caller, request: Element) -> Iterator[str]:
    """Folders by their ids or distinguished names."""
    shape = Shape.of(request.find(f"{MESSAGES}FolderShape"))

    def one(target: Element) -> str:
        mailbox, folder = caller.folder(target)
        children = len(_children(mailbox, folder))
        return f"<m:Folders>{folder_xml(folder, shape, children)}</m:Folders>"

    yield from _each("GetFolder", request.find(f"{MESSAGES}FolderIds"), one, "<m:Folders/>")


def find_folder(caller: Caller, request: Element) -> Iterator[str]:
    """The folders below some, in pages where the request asks for them."""
    shape = Shape.of(request.find(f"{MESSAGES}FolderShape"))
    deep = request.attrib["Traversal"] == "Deep"
    view = request.find(f"{MESSAGES}IndexedPageFolderView")
    wanted = Restriction.of(request.find(f"{MESSAGES}Restriction"))

    def one(target: Element) -> str:
        mailbox, top = caller.folder(target)
        if deep and mailbox is caller.world.public:
            raise Denied("ErrorInvalidOperation")
        found = mailbox.below(top) if deep else _children(mailbox, top)
        some, paging = _page([f for f in found if wanted.holds(of_folder(f))], view)
        inner = "".join(folder_xml(f, shape, len(_children(mailbox, f))) for f in some)
        return f"<m:RootFolder {paging}><t:Folders>{inner}</t:Folders></m:RootFolder>"

    yield from _each("FindFolder", request.find(f"{MESSAGES}ParentFolderIds"), one)


def _page(found: list[_T], view: Element | None) -> tuple[list[_T], str]:
    offset = 0 if view is None else int(view.get("Offset", "0"))
    most = len(found) if view is None else int(view.get("MaxEntriesReturned", str(len(found))))
    some = found[offset : offset + most]
    after = offset + len(some)
    last = after >= len(found)
    return some, (
        f'IndexedPagingOffset="{after}" TotalItemsInView="{len(found)}" '
        f'IncludesLastItemInRange="{str(last).lower()}"'
    )


def find_item(caller: Caller, request: Element) -> Iterator[str]:
    """The items of some folders, the newest first, in pages."""
    shape = Shape.of(request.find(f"{MESSAGES}ItemShape"))
    associated = request.attrib["Traversal"] == "Associated"
    view = request.find(f"{MESSAGES}IndexedPageItemView")
    wanted = Restriction.of(request.find(f"{MESSAGES}Restriction"))

    def one(target: Element) -> str:
        _, folder = caller.folder(target)
        newest = sorted(folder.items.values(), key=lambda item: item.received_at, reverse=True)
        found = [i for i in newest if i.associated is associated and wanted.holds(of_item(i))]
        some, paging = _page(found, view)
        inner = "".join(item_xml(i, folder, shape, "", caller.world.fraction) for i in some)
        return f"<m:RootFolder {paging}><t:Items>{inner}</t:Items></m:RootFolder>"

    yield from _each("FindItem", request.find(f"{MESSAGES}ParentFolderIds"), one)


def get_item(caller: Caller, request: Element) -> Iterator[str]:
    """Items by their ids, with MIME where it is asked for."""
    shape = Shape.of(request.find(f"{MESSAGES}ItemShape"))

    def one(target: Element) -> str:
        _, folder, item = caller.item(target.attrib["Id"])
        mime = ""
        if shape.mime and item.error is not None:
            raise Denied(item.error)
        if shape.mime:
            raw = base64.b64encode(caller.world.render(item.raw)).decode("ascii")
            mime = f'<t:MimeContent CharacterSet="UTF-8">{raw}</t:MimeContent>'
        xml = item_xml(item, folder, shape, mime, caller.world.fraction)
        return f"<m:Items>{xml}</m:Items>"

    yield from _each("GetItem", request.find(f"{MESSAGES}ItemIds"), one, "<m:Items/>")


def _synced(operation: str, work: Callable[[], str]) -> Iterator[str]:
    """Answer a call for what changed since a state."""
    try:
        yield message(operation, work())
    except Denied as error:
        yield message(operation, "", code=error.code)
    except NoSyncState:
        yield message(operation, "", code="ErrorInvalidSyncStateData")


def _state_xml(state: str, last_name: str, *, last: bool) -> str:
    name = f"m:IncludesLast{last_name}InRange"
    return f"<m:SyncState>{state}</m:SyncState><{name}>{str(last).lower()}</{name}>"


def sync_hierarchy(caller: Caller, request: Element) -> Iterator[str]:
    """The folders below one, as changes since a state."""
    shape = Shape.of(request.find(f"{MESSAGES}FolderShape"))
    base = request.find(f"{MESSAGES}SyncFolderId")
    told = request.findtext(f"{MESSAGES}SyncState", "")

    def work() -> str:
        mailbox, top = caller.folder(base[0] if base is not None else _TOP)
        if mailbox is caller.world.public:
            raise Denied("ErrorInvalidOperation")
        start = _number(told, mailbox.epoch)
        found = mailbox.below(top)
        some = found[start : start + _LARGEST_PAGE]
        end = start + len(some)
        state = base64.b64encode(f"{mailbox.epoch} {end}".encode()).decode()
        inner = "".join(
            f"<t:Create>{folder_xml(f, shape, len(_children(mailbox, f)))}</t:Create>"
            for f in some
        )
        head = _state_xml(state, "Folder", last=end >= len(found))
        return f"{head}<m:Changes>{inner}</m:Changes>"

    yield from _synced("SyncFolderHierarchy", work)


def _number(state: str, epoch: int) -> int:
    if not state:
        return 0
    try:
        told, number = base64.b64decode(state, validate=True).split()
        if int(told) == epoch:
            return int(number)
    except ValueError:
        pass
    raise NoSyncState


def sync_items(caller: Caller, request: Element) -> Iterator[str]:
    """What changed in a folder since a state, at most so many changes."""
    shape = Shape.of(request.find(f"{MESSAGES}ItemShape"))
    most = int(request.findtext(f"{MESSAGES}MaxChangesReturned", str(_LARGEST_PAGE)))
    associated = request.findtext(f"{MESSAGES}SyncScope") == "NormalAndAssociatedItems"
    told = request.findtext(f"{MESSAGES}SyncState", "")

    def work() -> str:
        mailbox, folder = caller.folder(_inner(request, "SyncFolderId"))
        if folder.search:
            raise Denied("ErrorSyncFolderNotFound")
        limit = min(most, _LARGEST_PAGE)
        changes, state, last = mailbox.sync(folder, told, limit, associated=associated)
        inner = "".join(_change(each, folder, shape) for each in changes)
        return f"{_state_xml(state, 'Item', last=last)}<m:Changes>{inner}</m:Changes>"

    yield from _synced("SyncFolderItems", work)


def _inner(request: Element, name: str) -> Element:
    """Return the one element in another, which the schema demands."""
    outer = request.find(f"{MESSAGES}{name}")
    if outer is None or not len(outer):
        raise Denied("ErrorInvalidRequest")
    return outer[0]


def _change(change: Change, folder: EwsFolder, shape: Shape) -> str:
    if change.item is None:
        return f"<t:Delete><t:ItemId Id={quoteattr(change.id)}/></t:Delete>"
    if change.kind == "ReadFlagChange":
        inner = item_id(change.item) + element("IsRead", str(change.item.read).lower())
        return f"<t:ReadFlagChange>{inner}</t:ReadFlagChange>"
    return f"<t:{change.kind}>{item_xml(change.item, folder, shape)}</t:{change.kind}>"


def delete_item(caller: Caller, request: Element) -> Iterator[str]:
    """Items moved to Deleted Items, or into the dumpster, or gone."""
    how = request.attrib["DeleteType"]

    def one(target: Element) -> str:
        mailbox, _, item = caller.item(target.attrib["Id"])
        _same(item, target)
        if how == "HardDelete":
            mailbox.delete(item)
        else:
            soft = how == "SoftDelete"
            mailbox.move(item, "recoverableitemsdeletions" if soft else "deleteditems")
        return ""

    yield from _each("DeleteItem", request.find(f"{MESSAGES}ItemIds"), one)


def move_item(caller: Caller, request: Element) -> Iterator[str]:
    """Items moved to a folder of the same mailbox, which gives them other ids."""
    _, to = caller.folder(_inner(request, "ToFolderId"))

    def one(target: Element) -> str:
        mailbox, _, item = caller.item(target.attrib["Id"])
        _same(item, target)
        if to.id not in mailbox.folders:
            raise Denied("ErrorCrossMailboxMoveCopy")
        moved = mailbox.move(item, to)
        return f"<m:Items>{item_xml(moved, to, Shape())}</m:Items>"

    yield from _each("MoveItem", request.find(f"{MESSAGES}ItemIds"), one, "<m:Items/>")


def _same(item: EwsItem, target: Element) -> None:
    """Refuse what names a change key that is not the item's, as Exchange does."""
    if target.get("ChangeKey", item.change_key) != item.change_key:
        raise Denied("ErrorIrresolvableConflict")


def convert_id(caller: Caller, request: Element) -> Iterator[str]:
    """The same ids in another format; here every format is the same."""
    wanted = request.attrib["DestinationFormat"]

    def one(source: Element) -> str:
        id_, box = source.attrib.get("Id", ""), source.attrib.get("Mailbox", "")
        if not any(id_ in f.items or id_ == f.id for f in _reachable(caller)):
            raise Denied("ErrorInvalidIdMalformed")
        return (
            '<m:AlternateId xsi:type="t:AlternateIdType" '
            f"Format={quoteattr(wanted)} Id={quoteattr(id_)} Mailbox={quoteattr(box)}/>"
        )

    yield from _each("ConvertId", request.find(f"{MESSAGES}SourceIds"), one)


def _reachable(caller: Caller) -> Iterator[EwsFolder]:
    for mailbox in caller.world.all_mailboxes():
        yield from mailbox.folders.values()


def resolve_names(caller: Caller, request: Element) -> Iterator[str]:
    """Mailboxes whose address begins so."""
    asked = request.findtext(f"{MESSAGES}UnresolvedEntry", "").removeprefix("smtp:").lower()
    found = [box for name, box in caller.world.mailboxes.items() if name.startswith(asked)]
    if not found:
        yield message("ResolveNames", "", code="ErrorNameResolutionNoResults")
        return
    inner = "".join(
        f"<t:Resolution><t:Mailbox>{element('Name', box.address)}"
        f"{element('EmailAddress', box.address)}<t:RoutingType>SMTP</t:RoutingType>"
        "<t:MailboxType>Mailbox</t:MailboxType></t:Mailbox></t:Resolution>"
        for box in found
    )
    paging = f'TotalItemsInView="{len(found)}" IncludesLastItemInRange="true"'
    yield message("ResolveNames", f"<m:ResolutionSet {paging}>{inner}</m:ResolutionSet>")


OPERATIONS: dict[str, Operation] = {
    "GetFolder": get_folder,
    "FindFolder": find_folder,
    "FindItem": find_item,
    "GetItem": get_item,
    "SyncFolderHierarchy": sync_hierarchy,
    "SyncFolderItems": sync_items,
    "DeleteItem": delete_item,
    "MoveItem": move_item,
    "ConvertId": convert_id,
    "ResolveNames": resolve_names,
}
"""What the server can do; anything else is answered with a fault."""
