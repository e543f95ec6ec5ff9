"""The laws of a source, kept by IMAP on a real Dovecot and on the scripted server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.imap_worlds import OnAScript, OnDovecot

from mailarchive.testing import source_contract
from mailarchive.testing.imap_server import ImapServer
from mailarchive.testing.source_contract import SourceContract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.imap import Mailbox

    from mailarchive.testing.source_contract import SourceWorld


class TestOnDovecot(SourceContract):
    """Every law, on a real server."""

    @pytest.fixture
    def world(self, mailbox: Mailbox) -> SourceWorld:
        """A fresh mailbox."""
        return OnDovecot(mailbox)


class TestOnAScript(SourceContract):
    """Every law, on a server that is small enough to read."""

    @pytest.fixture
    def world(self) -> Iterator[SourceWorld]:
        """A fresh server."""
        with ImapServer({"INBOX": []}) as server:
            yield OnAScript(server)


def test_every_law_is_a_test_of_the_contract() -> None:
    """A law that nobody runs would be none."""
    tests = {name.removeprefix("test_") for name in vars(SourceContract) if "test_" in name}

    assert [law.__name__ for law in source_contract.LAWS if law.__name__ not in tests] == []
    assert len(tests) == len(source_contract.LAWS)
