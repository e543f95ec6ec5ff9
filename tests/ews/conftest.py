"""An EWS server on loopback with one mailbox, fresh for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.ews import ALICE, SECRET, Clock, Desk
from support.ews_schema import Schema, fetched

from mailarchive.testing.ews_server import EwsServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture(scope="session")
def schema(pytestconfig: pytest.Config) -> Schema:
    """Microsoft's schema, kept beside the sources."""
    return Schema(fetched(pytestconfig.rootpath / ".servers"))


@pytest.fixture
def server(clock: Clock, schema: Schema) -> Iterator[EwsServer]:
    """An honest server; every request that it had and every answer keeps to the schema."""
    with EwsServer(record=True, clock=clock) as running:
        yield running
    schema.check(running.transcript)


@pytest.fixture
def desk(server: EwsServer, clock: Clock) -> Desk:
    """The server with Alice's mailbox on it."""
    return Desk(server, server.add_mailbox(ALICE, password=SECRET), clock)
