"""Entries made by hand, as the archiver would make them, to put into a sink under test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailarchive import headers
from mailarchive._model import (
    Address,
    ArchiveEntry,
    Copy,
    Digest,
    Fidelity,
    Folder,
    Owner,
    Ownership,
    Provenance,
    UserId,
    entry_id,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["INBOX", "entry", "mail"]

INBOX = Folder("INBOX", ("Inbox",))
"""Where an entry comes from unless it is told otherwise."""


def mail(number: int = 0, *, message_id: str | None = None, octets: int = 0) -> bytes:
    """Return a small message; each number is another one, of at least so many octets."""
    head = (
        f"From: Alice <alice@example.com>\r\nTo: bob@example.com\r\nSubject: Message {number}\r\n"
        f"Message-ID: {message_id or f'<{number}@example.com>'}\r\n\r\nNumber {number}.\r\n"
    )
    line = b"0123456789abcdef" * 4 + b"\r\n"
    return head.encode() + line * -(-octets // len(line))


def entry(
    raw: bytes,
    *,
    key: str = "1",
    source: str = "kit",
    folder: Folder = INBOX,
    users: Iterable[str] = ("alice",),
    fidelity: Fidelity = Fidelity.WIRE,
    flags: Iterable[str] = (),
) -> ArchiveEntry:
    """Return the entry of a message: `source`, the folder and `key` say which copy it is.

    Each user owns it by the address `user@example.com`.
    """
    digest, copy = Digest.of(raw), Copy(source, folder.key, key)
    owners = (Owner(UserId(user), frozenset({Address(f"{user}@example.com")})) for user in users)
    return ArchiveEntry(
        id=entry_id(copy, digest, fidelity),
        raw=raw,
        raw_digest=digest,
        originals=(),
        envelope=headers.envelope(raw),
        ownership=Ownership(tuple(owners)),
        copy=copy,
        folder=folder,
        fork_key=headers.fork_key(raw),
        flags=frozenset(flags),
        provenance=Provenance(fidelity),
    )
