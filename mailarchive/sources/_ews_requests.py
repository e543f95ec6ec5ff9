"""What is sent to an Exchange server: envelopes after Microsoft's schema, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

_OPEN = (
    '<?xml version="1.0" encoding="utf-8"?>'
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" '
    'xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types">'
)

MESSAGE_FLAGS, FLAG_STATUS, LAST_VERB = "0x0E07", "0x1090", "0x1081"
"""MAPI properties that every version of Exchange tells: PidTagMessageFlags,
PidTagFlagStatus, PidTagLastVerbExecuted (MS-OXCMSG, MS-OXOFLAG)."""

HIDDEN = "0x10F4"
"""PidTagAttributeHidden of a folder."""


@frozen
class Target:
    """A folder as a request names it: by its id, or by what it is in somebody's mailbox."""

    id: str | None = None
    distinguished: str | None = None
    mailbox: str | None = None

    def xml(self) -> str:
        """Write it."""
        if self.id is not None:
            return f"<t:FolderId Id={quoteattr(self.id)}/>"
        name = quoteattr(self.distinguished or "")
        if self.mailbox is None:
            return f"<t:DistinguishedFolderId Id={name}/>"
        spec = escape(self.mailbox)
        whose = f"<t:Mailbox><t:EmailAddress>{spec}</t:EmailAddress></t:Mailbox>"
        return f"<t:DistinguishedFolderId Id={name}>{whose}</t:DistinguishedFolderId>"


def envelope(body: str, version: str, impersonated: str | None) -> bytes:
    """Return a whole request; `impersonated` is the primary address to act as."""
    who = ""
    if impersonated is not None:
        who = (
            "<t:ExchangeImpersonation><t:ConnectingSID><t:PrimarySmtpAddress>"
            f"{escape(impersonated)}"
            "</t:PrimarySmtpAddress></t:ConnectingSID></t:ExchangeImpersonation>"
        )
    header = f"<s:Header><t:RequestServerVersion Version={quoteattr(version)}/>{who}</s:Header>"
    return f"{_OPEN}{header}<s:Body>{body}</s:Body></s:Envelope>".encode()


def _extended(tag: str, kind: str) -> str:
    return f'<t:ExtendedFieldURI PropertyTag="{tag}" PropertyType="{kind}"/>'


def _shape(name: str, paths: Iterable[str], extended: str = "", *, mime: bool = False) -> str:
    fields = "".join(f'<t:FieldURI FieldURI="{path}"/>' for path in paths) + extended
    more = f"<t:AdditionalProperties>{fields}</t:AdditionalProperties>" if fields else ""
    with_mime = "<t:IncludeMimeContent>true</t:IncludeMimeContent>" if mime else ""
    return f"<m:{name}><t:BaseShape>IdOnly</t:BaseShape>{with_mime}{more}</m:{name}>"


_FOLDER_SHAPE = _shape(
    "FolderShape",
    (
        "folder:DisplayName",
        "folder:ParentFolderId",
        "folder:FolderClass",
        "folder:TotalCount",
        "folder:ChildFolderCount",
    ),
    _extended(HIDDEN, "Boolean"),
)
_LISTING = _shape("ItemShape", ("item:Size", "item:ItemClass"))
_READING = _shape(
    "ItemShape",
    ("item:DateTimeReceived", "item:DateTimeSent", "item:DateTimeCreated"),
    "".join(_extended(tag, "Integer") for tag in (MESSAGE_FLAGS, FLAG_STATUS, LAST_VERB)),
    mime=True,
)
_CHECKING = _shape("ItemShape", (), _extended(FLAG_STATUS, "Integer"))


def get_folders(targets: Iterable[Target]) -> str:
    """Ask what some folders are."""
    ids = "".join(target.xml() for target in targets)
    return f"<m:GetFolder>{_FOLDER_SHAPE}<m:FolderIds>{ids}</m:FolderIds></m:GetFolder>"


def sync_hierarchy(top: Target, state: str | None) -> str:
    """Ask for the folders below one, as changes since a state."""
    since = "" if state is None else f"<m:SyncState>{escape(state)}</m:SyncState>"
    return (
        f"<m:SyncFolderHierarchy>{_FOLDER_SHAPE}"
        f"<m:SyncFolderId>{top.xml()}</m:SyncFolderId>{since}</m:SyncFolderHierarchy>"
    )


def find_folders(top: Target, offset: int) -> str:
    """Ask for a page of the folders right below one."""
    return (
        f'<m:FindFolder Traversal="Shallow">{_FOLDER_SHAPE}'
        f'<m:IndexedPageFolderView MaxEntriesReturned="500" Offset="{offset}" '
        f'BasePoint="Beginning"/><m:ParentFolderIds>{top.xml()}</m:ParentFolderIds>'
        "</m:FindFolder>"
    )


def sync_items(folder: str, state: str | None, most: int, *, associated: bool) -> str:
    """Ask what changed in a folder since a state."""
    since = "" if state is None else f"<m:SyncState>{escape(state)}</m:SyncState>"
    scope = "NormalAndAssociatedItems" if associated else "NormalItems"
    return (
        f"<m:SyncFolderItems>{_LISTING}<m:SyncFolderId>{Target(folder).xml()}</m:SyncFolderId>"
        f"{since}<m:MaxChangesReturned>{most}</m:MaxChangesReturned>"
        f"<m:SyncScope>{scope}</m:SyncScope></m:SyncFolderItems>"
    )


def _items(ids: Iterable[tuple[str, str | None]]) -> str:
    each = "".join(
        f"<t:ItemId Id={quoteattr(id_)}{_revision(revision)}/>" for id_, revision in ids
    )
    return f"<m:ItemIds>{each}</m:ItemIds>"


def _revision(revision: str | None) -> str:
    return "" if revision is None else f" ChangeKey={quoteattr(revision)}"


def get_mime(ids: Iterable[str]) -> str:
    """Ask for items with their MIME, as they are now."""
    return f"<m:GetItem>{_READING}{_items((id_, None) for id_ in ids)}</m:GetItem>"


def get_states(ids: Iterable[str]) -> str:
    """Ask which change keys some items have, and whether they are flagged."""
    return f"<m:GetItem>{_CHECKING}{_items((id_, None) for id_ in ids)}</m:GetItem>"


def delete_items(ids: Iterable[tuple[str, str | None]], how: str) -> str:
    """Ask to delete items of these change keys; `how` is Microsoft's DisposalType."""
    return (
        f"<m:DeleteItem DeleteType={quoteattr(how)} SendMeetingCancellations='SendToNone' "
        f"AffectedTaskOccurrences='SpecifiedOccurrenceOnly'>{_items(ids)}</m:DeleteItem>"
    )


def move_items(ids: Iterable[tuple[str, str | None]], to: Target) -> str:
    """Ask to move items of these change keys."""
    return f"<m:MoveItem><m:ToFolderId>{to.xml()}</m:ToFolderId>{_items(ids)}</m:MoveItem>"
