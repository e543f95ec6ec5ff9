"""What Graph tells of a message beside its bytes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from attrs import frozen

SELECT: Final = "id,changeKey,receivedDateTime,isRead,isDraft,flag"
"""What a listing asks for: what names a message, and what is kept beside it."""

FLAGGED: Final = "\\Flagged"


@frozen
class Meta:
    """One message of a listing; `revision` is its change key."""

    id: str
    revision: str | None
    received_at: datetime | None
    flags: frozenset[str]
    etag: str | None = None
    parent: str | None = None


def meta(told: dict[str, Any]) -> Meta:
    """Read an item of a listing; what it does not tell is unknown."""
    return Meta(
        told["id"],
        _text(told.get("changeKey")),
        _moment(told.get("receivedDateTime")),
        frozenset(_flags(told)),
        _text(told.get("@odata.etag")),
        _text(told.get("parentFolderId")),
    )


def _flags(told: dict[str, Any]) -> list[str]:
    """Name the flags as IMAP does (RFC 9051, section 2.3.2)."""
    flag = told.get("flag")
    flagged = isinstance(flag, dict) and flag.get("flagStatus") == "flagged"
    states = ((told.get("isRead"), "\\Seen"), (told.get("isDraft"), "\\Draft"), (flagged, FLAGGED))
    return [name for state, name in states if state is True]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _moment(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    if found is None:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
