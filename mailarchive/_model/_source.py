"""What a source lists and hands over."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive._model._digest import hint

if TYPE_CHECKING:
    from datetime import datetime

    from mailarchive._model._envelope import Delivery


class FolderRole(StrEnum):
    """What a folder is for, where the source says (RFC 6154)."""

    INBOX = "inbox"
    SENT = "sent"
    DRAFTS = "drafts"
    JUNK = "junk"
    TRASH = "trash"
    ARCHIVE = "archive"
    ALL = "all"
    FLAGGED = "flagged"


@frozen
class Folder:
    """A folder of a source: `key` is the source's own name for it, `path` for people."""

    key: str = field(repr=lambda key: "#" + hint(key))
    path: tuple[str, ...] = field(repr=False)
    role: FolderRole | None = None

    @property
    def name(self) -> str:
        """The path in one line, parts joined by a slash."""
        return "/".join(self.path)


@frozen
class MessageRef:
    """One item in one folder of one source; `key` is opaque to all but the source.

    `key` holds the folder's epoch too (a UIDVALIDITY), so that a reused number is another
    key.  `revision` is the change key or ETag where the source has one.  `size` is in
    bytes, and an estimate with some servers.
    """

    source: str
    folder: str = field(repr=lambda key: "#" + hint(key))
    key: str
    size: int | None = field(default=None, eq=False)
    revision: str | None = None


@frozen
class Page:
    """Some items of a folder in the order to read them; `token` resumes right after."""

    folder: Folder
    refs: tuple[MessageRef, ...] = field(repr=lambda refs: f"<{len(refs)}>")
    token: str


@frozen
class SourceMessage:
    """An item and the exact bytes that the source handed over.

    `delivery` says who handed it to us, where it came by itself (SMTP).
    """

    ref: MessageRef
    raw: bytes = field(repr=False)
    received_at: datetime | None = None
    flags: frozenset[str] = frozenset()
    delivery: Delivery | None = None


@frozen
class Unavailable:
    """The source could not hand this item over now, or (`permanent`) ever."""

    ref: MessageRef
    reason: str
    permanent: bool = False


@frozen
class Vanished:
    """The item is gone from the source.  Both what a source says and an outcome."""

    ref: MessageRef


class Fidelity(StrEnum):
    """Whether a source stores the bytes that it hands over, or makes them on request."""

    WIRE = "wire"
    RENDERED = "rendered"


@frozen
class SourceCapabilities:
    """What a source can do, decided when it is open, since a server decides it."""

    fidelity: Fidelity = Fidelity.WIRE
    removes: bool = False


@frozen
class CoverageGap:
    """Mail that is, or may be, in a mailbox and cannot be reached in this way.

    `code` is a stable word for programs; `message` says what, `count` how many items where
    that is known, and `suggestions` how they can be had.  No word of a mail is in it.
    """

    code: str
    message: str
    suggestions: tuple[str, ...] = ()
    count: int | None = None
