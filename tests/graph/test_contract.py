"""The laws of a source, kept by Graph on the loopback server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from mailarchive.testing.source_contract import SourceContract

if TYPE_CHECKING:
    from pathlib import Path

    from support.graph import GraphWorld

    from mailarchive.testing.source_contract import SourceWorld


BOTH = ("Inbox", "Sent Items")


class TestInMemory(SourceContract):
    """Every law, with nothing remembered from one source to the next."""

    @pytest.fixture
    def world(self, world: GraphWorld) -> SourceWorld:
        """A fresh mailbox."""
        return evolve(world, names=BOTH)


class TestWithAFile(SourceContract):
    """Every law, with what was listed remembered in a file."""

    @pytest.fixture
    def world(self, world: GraphWorld, tmp_path: Path) -> SourceWorld:
        """A fresh mailbox."""
        return evolve(world, names=BOTH, seen=tmp_path / "seen.db")
