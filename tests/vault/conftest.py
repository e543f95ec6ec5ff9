"""A vault to put things in, and a clock in the hand of the test."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from support.vaults import Clock

from mailarchive.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.vaults import OpenVault


@pytest.fixture
def clock() -> Clock:
    """A clock that moves when the test says so."""
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the vault of this test is."""
    return tmp_path / "acme.vault"


@pytest.fixture
def open_vault(folder: Path, clock: Clock) -> Iterator[OpenVault]:
    """Opens the vault of this test; whatever was opened is closed when the test ends."""
    with ExitStack() as stack:

        def opened(**settings: Any) -> Vault:
            return stack.enter_context(Vault(folder, **{"clock": clock, "keys": None, **settings}))

        yield opened


@pytest.fixture
def vault(open_vault: OpenVault) -> Vault:
    """An open, empty vault."""
    return open_vault()
