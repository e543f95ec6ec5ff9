"""How the EWS server on loopback writes items and folders: as XML, after Microsoft's schema.

What a request asks for is a shape: a base shape and paths of further properties.  The
schema fixes the order in which properties are written, so that order is the tables' own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from email.policy import default
from email.utils import getaddresses
from typing import TYPE_CHECKING, Self
from xml.sax.saxutils import escape, quoteattr

from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from email.message import Message
    from xml.etree.ElementTree import Element

    from mailarchive.testing._ews_store import EwsFolder, EwsItem

TYPES = "{http://schemas.microsoft.com/exchange/services/2006/types}"
MESSAGES = "{http://schemas.microsoft.com/exchange/services/2006/messages}"

_READ, _UNSENT, _ASSOCIATED = 0x1, 0x8, 0x40
_FLAGGED = "2"
_MIME = "item:MimeContent"


def text_of(value: str) -> str:
    """Return text for an element's content; what XML cannot carry becomes U+FFFD."""
    return escape("".join(c if c >= " " or c in "\t\r\n" else "\ufffd" for c in value))


def element(tag: str, value: str) -> str:
    """Return an element of the types' namespace."""
    return f"<t:{tag}>{text_of(value)}</t:{tag}>"


def moment(when: datetime, fraction: str = "") -> str:
    """Return a time as EWS writes it, in UTC."""
    return when.astimezone(UTC).strftime(f"%Y-%m-%dT%H:%M:%S{fraction}Z")


@frozen
class Extended:
    """A property by its MAPI tag or its name, as a request writes it."""

    attributes: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, uri: Element) -> Self:
        """Read the path of a request."""
        return cls(tuple(sorted(uri.attrib.items())))

    @property
    def tag(self) -> int | None:
        """The number of a property that has one."""
        text = dict(self.attributes).get("PropertyTag")
        return None if text is None else int(text, 0)

    def xml(self, value: str) -> str:
        """Write the property and its value."""
        path = " ".join(f"{name}={quoteattr(text)}" for name, text in self.attributes)
        uri = f"<t:ExtendedFieldURI {path}/>"
        return f"<t:ExtendedProperty>{uri}{element('Value', value)}</t:ExtendedProperty>"


@define
class Shape:
    """What a request wants to know: `base`, MIME or not, and further paths."""

    base: str = "IdOnly"
    mime: bool = False
    paths: frozenset[str] = frozenset()
    extended: tuple[Extended, ...] = field(default=())

    @classmethod
    def of(cls, shape: Element | None) -> Self:
        """Read the shape of a request."""
        if shape is None:
            return cls()
        uris = shape.find(f"{TYPES}AdditionalProperties")
        paths: Iterable[Element] = () if uris is None else uris
        names = frozenset(p.attrib["FieldURI"] for p in paths if p.tag == f"{TYPES}FieldURI")
        return cls(
            shape.findtext(f"{TYPES}BaseShape", "IdOnly"),
            shape.findtext(f"{TYPES}IncludeMimeContent") in {"true", "1"} or _MIME in names,
            names,
            tuple(Extended.of(p) for p in paths if p.tag == f"{TYPES}ExtendedFieldURI"),
        )

    def wants(self, path: str) -> bool:
        """Return whether a property is to be written."""
        return path in self.paths or self.base in {"Default", "AllProperties"}


@define
class Head:
    """The headers of a message, read when they are asked for."""

    raw: bytes = field(repr=False)
    _parsed: Message | None = field(default=None, alias="parsed", repr=False)

    def get(self, name: str) -> str:
        """Return a header's text, empty where there is none."""
        if self._parsed is None:
            self._parsed = BytesHeaderParser(policy=default).parsebytes(self.raw[: 64 << 10])
        try:
            return str(self._parsed.get(name, ""))
        except Exception:  # noqa: BLE001  # the policy stumbles over hostile headers in many ways
            return ""

    def mailboxes(self, name: str) -> str:
        """Return a header's addresses as mailboxes."""
        return "".join(
            f"<t:Mailbox>{element('Name', real or spec)}{element('EmailAddress', spec)}"
            "<t:RoutingType>SMTP</t:RoutingType></t:Mailbox>"
            for real, spec in getaddresses([self.get(name)])
            if spec
        )


def tag_of(item_class: str) -> str:
    """Return the element that an item of a class comes as."""
    if item_class.startswith("IPM.Appointment"):
        return "CalendarItem"
    if item_class.startswith("IPM.Contact"):
        return "Contact"
    if item_class.startswith("IPM.Task"):
        return "Task"
    if item_class.startswith("IPM.Post"):
        return "PostItem"
    return "Message" if item_class.startswith(("IPM.Note", "REPORT.")) else "Item"


def item_id(item: EwsItem) -> str:
    """Return an item's id element."""
    return f"<t:ItemId Id={quoteattr(item.id)} ChangeKey={quoteattr(item.change_key)}/>"


def value_of(item: EwsItem, prop: Extended) -> str | None:
    """Return the value of a property by its tag; `None` where the item has none."""
    flags = _READ * item.read | _ASSOCIATED * item.associated
    values = {
        0x0E07: str(flags),
        0x0E08: str(item.told_size),
        0x0E23: str(item.number),
        0x001A: item.item_class,
        0x0037: Head(item.raw).get("Subject") if prop.tag == 0x0037 else "",  # noqa: PLR2004
    }
    if item.flagged:
        values[0x1090] = _FLAGGED
    return values.get(prop.tag or 0)


def item_xml(
    item: EwsItem, place: EwsFolder, shape: Shape, mime: str = "", fraction: str = ""
) -> str:
    """Return an item after a shape; `mime` is its MimeContent element."""
    head = Head(item.raw)
    tag = tag_of(item.item_class)
    known: list[tuple[str, Callable[[], str]]] = [
        ("item:ParentFolderId", lambda: f"<t:ParentFolderId Id={quoteattr(place.id)}/>"),
        ("item:ItemClass", lambda: element("ItemClass", item.item_class)),
        ("item:Subject", lambda: element("Subject", head.get("Subject"))),
        ("item:DateTimeReceived", lambda: _date("DateTimeReceived", item, fraction)),
        ("item:Size", lambda: element("Size", str(item.told_size))),
        ("item:DateTimeSent", lambda: _date("DateTimeSent", item, fraction)),
        ("item:DateTimeCreated", lambda: _date("DateTimeCreated", item, fraction)),
        ("item:HasAttachments", lambda: element("HasAttachments", "false")),
    ]
    parts = [mime, item_id(item)]
    parts += [write() for path, write in known if shape.wants(path)]
    for prop in shape.extended:
        value = value_of(item, prop)
        parts += [prop.xml(value)] if value is not None else []
    if tag == "Message":
        parts += [write(head, item) for path, write in _OF_A_MESSAGE if shape.wants(path)]
    return f"<t:{tag}>{''.join(parts)}</t:{tag}>"


def _date(tag: str, item: EwsItem, fraction: str) -> str:
    return element(tag, moment(item.received_at, fraction))


def _people(tag: str, header: str) -> Callable[[Head, EwsItem], str]:
    def write(head: Head, item: EwsItem) -> str:
        del item
        found = head.mailboxes(header)
        if tag == "From":
            found = found[: found.find("</t:Mailbox>") + len("</t:Mailbox>")] if found else ""
        return f"<t:{tag}>{found}</t:{tag}>" if found else ""

    return write


def _message_id(head: Head, item: EwsItem) -> str:
    del item
    value = head.get("Message-ID")
    return element("InternetMessageId", value) if value else ""


def _is_read(head: Head, item: EwsItem) -> str:
    del head
    return element("IsRead", str(item.read).lower())


_OF_A_MESSAGE: tuple[tuple[str, Callable[[Head, EwsItem], str]], ...] = (
    ("message:ToRecipients", _people("ToRecipients", "To")),
    ("message:CcRecipients", _people("CcRecipients", "Cc")),
    ("message:From", _people("From", "From")),
    ("message:InternetMessageId", _message_id),
    ("message:IsRead", _is_read),
)


def folder_xml(folder: EwsFolder, shape: Shape, children: int) -> str:
    """Return a folder after a shape."""
    tag = _folder_tag(folder)
    parent = folder.parent
    known = [
        ("folder:ParentFolderId", parent and f"<t:ParentFolderId Id={quoteattr(parent.id)}/>"),
        ("folder:FolderClass", element("FolderClass", folder.folder_class)),
        ("folder:DisplayName", element("DisplayName", folder.name)),
        ("folder:TotalCount", element("TotalCount", str(len(folder.items)))),
        ("folder:ChildFolderCount", element("ChildFolderCount", str(children))),
    ]
    parts = [f'<t:FolderId Id={quoteattr(folder.id)} ChangeKey="AQAAAA=="/>']
    parts += [text for path, text in known if text and shape.wants(path)]
    for prop in shape.extended:
        parts += [prop.xml(value)] if (value := folder_value(folder, prop)) is not None else []
    unread = sum(not item.read for item in folder.items.values())
    if tag == "Folder" and shape.wants("folder:UnreadCount"):
        parts.append(element("UnreadCount", str(unread)))
    return f"<t:{tag}>{''.join(parts)}</t:{tag}>"


def _folder_tag(folder: EwsFolder) -> str:
    if folder.search:
        return "SearchFolder"
    kinds = {"IPF.Appointment": "CalendarFolder", "IPF.Contact": "ContactsFolder"}
    return kinds.get(folder.folder_class, "TasksFolder" if _is_tasks(folder) else "Folder")


def _is_tasks(folder: EwsFolder) -> bool:
    return folder.folder_class == "IPF.Task"


def folder_value(folder: EwsFolder, prop: Extended) -> str | None:
    """Return the value of a folder's property by its tag; `None` where it has none."""
    values = {
        0x10F4: str(folder.hidden).lower(),
        0x3613: folder.folder_class,
        0x3001: folder.name,
        0x670A: "2026-01-01T00:00:00Z",
    }
    return values.get(prop.tag or 0)
