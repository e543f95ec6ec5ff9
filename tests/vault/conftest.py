"""Entries made by hand, a clock that ticks when it is told to, and vaults to put them in."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from attrs import frozen

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
from mailarchive.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from mailarchive._model import Original


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


@frozen
class Builder:
    """Makes entries of plain values, as the archiver would."""

    def mail(self, n: int = 0, *, body: bytes = b"Hello.\r\n", extra: bytes = b"") -> bytes:
        """Return a message from alice to bob; `n` makes it another one."""
        return (
            b"From: Alice <alice@example.com>\r\nTo: bob@example.com\r\n"
            b"Cc: carol@example.com\r\n%bSubject: Message %d\r\n"
            b"Message-ID: <%d@example.com>\r\n\r\n%b" % (extra, n, n, body)
        )

    def entry(
        self,
        raw: bytes = b"Subject: x\r\n\r\n",
        *,
        owners: Mapping[str, tuple[str, ...]] | None = None,
        key: str = "1",
        source: str = "journal",
        fidelity: Fidelity = Fidelity.WIRE,
        originals: tuple[Original, ...] = (),
        **more: Any,
    ) -> ArchiveEntry:
        """Return an entry; `owners` are users with the addresses that made them owners."""
        digest = Digest.of(raw)
        copy = Copy(source, "INBOX", key)
        users = {"alice": ("alice@example.com",), "bob": ("bob@example.com",)}
        ownership = Ownership(
            tuple(
                Owner(UserId(user), frozenset(map(Address, addresses)))
                for user, addresses in (users if owners is None else owners).items()
            ),
            more.pop("unresolved", frozenset()),
        )
        first = originals[0] if originals else raw
        content = first.of(raw) if isinstance(first, Span) else first
        values: dict[str, Any] = {
            "envelope": headers.envelope(content),
            "folder": Folder("INBOX", ("Inbox",)),
            "fork_key": headers.fork_key(content),
            "received_at": datetime(2026, 2, 1, tzinfo=UTC),
            "flags": frozenset(),
            "provenance": Provenance(fidelity, is_report=bool(originals)),
        }
        return ArchiveEntry(
            id=entry_id(copy, digest, fidelity),
            raw=raw,
            raw_digest=digest,
            originals=originals,
            ownership=ownership,
            copy=copy,
            **{**values, **more},
        )

    def entries(self, count: int, *, start: int = 0, **more: Any) -> list[ArchiveEntry]:
        """Return different entries."""
        return [
            self.entry(self.mail(n), key=str(n), **more) for n in range(start, start + count)
        ]

    def journaled(
        self,
        original: bytes,
        *,
        recipients: Mapping[str, Role],
        key: str = "1",
        encoded: bool = False,
        **more: Any,
    ) -> ArchiveEntry:
        """Return the entry of a journal report that names these recipients."""
        lines = "".join(f"Recipient: {address}\r\n" for address in recipients).encode()
        head = b"Subject: report\r\n\r\nSender: alice@example.com\r\n" + lines + b"\r\n"
        raw = head + (b"encoded" if encoded else original) + b"\r\n--end--\r\n"
        part: Original = original if encoded else Span(len(head), len(head) + len(original))
        envelope = Envelope(
            sender=Address("alice@example.com"),
            recipients=tuple(Recipient(Address(a), role) for a, role in recipients.items()),
            subject="secret plan",
            origin=Origin.JOURNAL,
        )
        return self.entry(raw, key=key, originals=(part,), **{"envelope": envelope, **more})


class OpenVault(Protocol):
    """Opens the vault of this test, again and again."""

    def __call__(self, **settings: Any) -> Vault:
        """Return it open, with these settings."""
        ...


@pytest.fixture
def make() -> Builder:
    """Makes entries."""
    return Builder()


@pytest.fixture
def clock() -> Clock:
    """A clock in the hand of the test."""
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the vault of this test is."""
    return tmp_path / "acme.vault"


@pytest.fixture
def open_vault(folder: Path, clock: Clock) -> Iterator[OpenVault]:
    """Opens the vault of this test; it is closed when the test ends."""
    with ExitStack() as stack:

        def opened(**settings: Any) -> Vault:
            return stack.enter_context(Vault(folder, **{"clock": clock, **settings}))

        yield opened


@pytest.fixture
def vault(open_vault: OpenVault) -> Vault:
    """An open, empty vault."""
    return open_vault()


@pytest.fixture
def everything() -> Callable[[Vault], dict[str, list[Any]]]:
    """Tells what each user of a vault sees, and what an index knows that nobody sees."""

    def told(vault: Vault) -> dict[str, list[Any]]:
        auditor = vault.auditor("test", "compare")
        users = auditor.users()
        seen: dict[str, list[Any]] = {
            user: [(each, each.content()) for each in vault.view(user).messages()]
            for user in users
        }
        seen["*"] = [(each, each.raw(), each.originals()) for each in auditor.entries()]
        return seen

    return told


@pytest.fixture
def stored() -> Callable[[Receipt | object], Receipt]:
    """Narrows an answer to the receipt that it must be."""

    def receipt(answer: object) -> Receipt:
        assert isinstance(answer, Receipt)
        return answer

    return receipt
