"""Entries made by hand, a clock that ticks when it is told to, and what a vault shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from mailarchive import (
    Address,
    ArchiveEntry,
    Copy,
    Digest,
    Envelope,
    Fidelity,
    Folder,
    Origin,
    Owner,
    Ownership,
    Provenance,
    Receipt,
    Recipient,
    Role,
    Span,
    UserId,
    entry_id,
    headers,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mailarchive._model import Original
    from mailarchive.vault import Vault

USERS = {"alice": ("alice@example.com",), "bob": ("bob@example.com",)}
"""Who owns an entry unless a test says otherwise, and by which address."""


class Clock:
    """Says the same time until it is moved."""

    def __init__(self) -> None:
        """Begin some day in 2026."""
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def advance(self, **amount: float) -> None:
        """Let time pass."""
        self.now += timedelta(**amount)


class OpenVault(Protocol):
    """Opens the vault of a test, again and again."""

    def __call__(self, **settings: Any) -> Vault:
        """Return it open, with these settings."""
        ...


def mail(n: int = 0, *, body: bytes = b"Hello.\r\n", extra: bytes = b"") -> bytes:
    """Return a message from alice to bob, with a copy to carol; `n` makes it another one."""
    return (
        b"From: Alice <alice@example.com>\r\nTo: bob@example.com\r\n"
        b"Cc: carol@example.com\r\n%bSubject: Message %d\r\n"
        b"Message-ID: <%d@example.com>\r\n\r\n%b" % (extra, n, n, body)
    )


def entry(
    raw: bytes,
    *,
    owners: Mapping[str, tuple[str, ...]] = USERS,
    unresolved: tuple[str, ...] = (),
    key: str = "1",
    source: str = "journal",
    fidelity: Fidelity = Fidelity.WIRE,
    originals: tuple[Original, ...] = (),
    path: tuple[str, ...] = ("Inbox",),
    **more: Any,
) -> ArchiveEntry:
    """Return an entry, made as the archiver would; `more` are fields of `ArchiveEntry`."""
    digest, copy = Digest.of(raw), Copy(source, "INBOX", key)
    first = originals[0] if originals else raw
    content = first.of(raw) if isinstance(first, Span) else first
    found = [Owner(UserId(u), frozenset(map(Address, their))) for u, their in owners.items()]
    values: dict[str, Any] = {
        "id": entry_id(copy, digest, fidelity),
        "raw": raw,
        "raw_digest": digest,
        "originals": originals,
        "envelope": headers.envelope(content),
        "ownership": Ownership(tuple(found), frozenset(map(Address, unresolved))),
        "copy": copy,
        "folder": Folder("INBOX", path),
        "fork_key": headers.fork_key(content),
        "received_at": datetime(2026, 2, 1, tzinfo=UTC),
        "provenance": Provenance(fidelity, is_report=bool(originals)),
    }
    return ArchiveEntry(**{**values, **more})


def entries(count: int, *, start: int = 0, **more: Any) -> list[ArchiveEntry]:
    """Return so many different entries."""
    return [entry(mail(n), key=str(n), **more) for n in range(start, start + count)]


def journaled(
    original: bytes,
    recipients: Sequence[Recipient],
    *,
    encoded: bool = False,
    **more: Any,
) -> ArchiveEntry:
    """Return the entry of a journal report by alice that names these recipients.

    The original is a part of it, or where it is `encoded` stands beside it.
    """
    lines = "".join(f"Recipient: {each.address}\r\n" for each in recipients).encode()
    head = b"Subject: report\r\n\r\nSender: alice@example.com\r\n" + lines + b"\r\n"
    raw = head + (b"encoded" if encoded else original) + b"\r\n--end--\r\n"
    part: Original = original if encoded else Span(len(head), len(head) + len(original))
    envelope = Envelope(
        sender=Address("alice@example.com"),
        recipients=tuple(recipients),
        subject="The plan",
        origin=Origin.JOURNAL,
    )
    return entry(raw, originals=(part,), **{"envelope": envelope, **more})


def to(spec: str, role: Role = Role.RECIPIENT) -> Recipient:
    """Return a recipient."""
    return Recipient(Address(spec), role)


def receipts(answers: Sequence[object]) -> list[Receipt]:
    """Return the answers, all of which must be receipts."""
    found = [answer for answer in answers if isinstance(answer, Receipt)]
    assert len(found) == len(answers)
    return found


def everything(vault: Vault) -> dict[str, list[Any]]:
    """Return what each user of a vault sees and reads, and all that an auditor does."""
    auditor = vault.auditor("test", "to compare")
    seen: dict[str, list[Any]] = {
        user: [(each, each.content()) for each in vault.view(user).messages()]
        for user in auditor.users()
    }
    seen["the auditor"] = [(each, each.raw(), each.originals()) for each in auditor.entries()]
    return seen
