"""A fresh Graph server for each test, which must not have been treated badly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.graph import GraphWorld, Time

from mailarchive.testing.graph_server import GraphServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def time() -> Time:
    """A clock that stands still."""
    return Time()


@pytest.fixture
def server(time: Time) -> Iterator[GraphServer]:
    """A Graph server with Ann's mailbox; what no client may do fails the test."""
    with GraphServer(clock=time.clock) as running:
        yield running
    assert running.violations == []


@pytest.fixture
def world(server: GraphServer, time: Time) -> GraphWorld:
    """Ann's mailbox."""
    return GraphWorld(server, time)
