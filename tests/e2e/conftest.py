"""One real Dovecot for a module, and a fresh mailbox in it for each test that asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailarchive.testing.dovecot import Dovecot, dovecot

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server() -> Iterator[Dovecot]:
    """A running Dovecot."""
    with dovecot() as running:
        yield running


@pytest.fixture
def mailbox(server: Dovecot) -> str:
    """The name of a mailbox with nothing in it."""
    return server.new_user()
