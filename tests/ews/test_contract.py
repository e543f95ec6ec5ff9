"""The laws of a source, kept by EWS on the server on loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.ews import ALICE, SECRET, Clock, Desk, EwsWorld

from mailarchive.testing.ews_server import EwsServer
from mailarchive.testing.source_contract import SourceContract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailarchive.testing.source_contract import SourceWorld


class TestOnLoopback(SourceContract):
    """Every law."""

    @pytest.fixture
    def world(self, clock: Clock) -> Iterator[SourceWorld]:
        """A fresh server, which keeps no copies of what it says."""
        with EwsServer(clock=clock) as server:
            mailbox = server.add_mailbox(ALICE, password=SECRET)
            yield EwsWorld(Desk(server, mailbox, clock))
