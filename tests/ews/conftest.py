"""An EWS server on loopback with one mailbox, fresh for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.ews import ALICE, SECRET, Clock, Desk

from mailarchive.testing.ews_server import EwsServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Iterator[EwsServer]:
    """An honest server that keeps every request and every answer."""
    with EwsServer(record=True, clock=clock) as running:
        yield running


@pytest.fixture
def desk(server: EwsServer, clock: Clock) -> Desk:
    """The server with Alice's mailbox on it."""
    return Desk(server, server.add_mailbox(ALICE, password=SECRET), clock)
