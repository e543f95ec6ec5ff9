"""Whose a line is, where the mailbox has one address and its owner has several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailarchive import Address, Archiver, UserId, Vault
from mailarchive.attribution import mailbox_owner
from mailarchive.testing.memory import MemoryCheckpoints, MemoryQuarantine, MemorySource
from mailarchive.users import StaticMap

if TYPE_CHECKING:
    from pathlib import Path

RAW = (
    b"From: alice.smith@example.com\r\nTo: bob@example.com\r\nBcc: eve@example.com\r\n"
    b"Subject: sent by an alias\r\n\r\nhello\r\n"
)
USERS = StaticMap(
    {
        "alice@example.com": "alice",
        "alice.smith@example.com": "alice",
        "bob@example.com": "bob",
    }
)


def test_who_sent_by_an_alias_sees_what_the_sender_may(tmp_path: Path) -> None:
    """The mailbox makes its owner, and nobody else; the alias makes that owner the sender."""
    source = MemorySource(mailbox=Address("alice@example.com"))
    source.add(RAW)
    state, quarantine = MemoryCheckpoints(), MemoryQuarantine()
    with Vault(tmp_path / "v", keys=None) as vault:
        archiver = Archiver(
            source, vault, USERS, state=state, quarantine=quarantine, attribution=mailbox_owner
        )
        archiver.run()
        (message,) = vault.view(UserId("alice")).messages()

        assert (message.content(), message.redacted) == (RAW, False)
        assert "eve@example.com" in {each.address.spec for each in message.recipients}
        assert vault.view(UserId("bob")).count() == 0
