"""A Dovecot for the whole session, and a fresh mailbox on it for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.imap import Mailbox

from mailarchive.testing.cyrus import Cyrus, cyrus
from mailarchive.testing.dovecot import Dovecot, dovecot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.imap import Numbered


@pytest.fixture(scope="session")
def server() -> Iterator[Dovecot]:
    """A real Dovecot."""
    with dovecot() as running:
        yield running


@pytest.fixture(scope="session")
def cyrus_packages(pytestconfig: pytest.Config) -> Path:
    """Where the packages of Cyrus are kept: beside the sources."""
    cache = pytestconfig.rootpath / ".servers"
    cache.mkdir(exist_ok=True)
    return cache


@pytest.fixture(scope="session")
def cyrus_server(cyrus_packages: Path) -> Iterator[Cyrus]:
    """A real Cyrus."""
    with cyrus(cyrus_packages) as running:
        yield running


@pytest.fixture
def mailbox(server: Dovecot) -> Mailbox:
    """An empty mailbox."""
    return Mailbox(server, server.new_user())


@pytest.fixture
def numbered() -> Numbered:
    """A maker of messages that are all different."""

    def make(count: int, size: int = 0) -> list[bytes]:
        filler = b"0123456789abcdef" * 4 + b"\r\n"
        return [
            b"From: a@example.com\r\nSubject: message %d\r\n\r\nbody %d\r\n" % (n, n)
            + filler * (size // len(filler))
            for n in range(count)
        ]

    return make
