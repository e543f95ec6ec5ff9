"""The source in memory is held to the laws of every source: it is an implementation, no mock."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest
from support.memory_worlds import MemoryWorld
from typing_extensions import override

from mailarchive.retry import RetryingSource, RetryPolicy
from mailarchive.testing.source_contract import SourceContract, SourceWorld

if TYPE_CHECKING:
    from mailarchive.abc import Source


class TestMemorySource(SourceContract):
    """The source itself."""

    @pytest.fixture
    def world(self) -> SourceWorld:
        """A fresh mailbox."""
        return MemoryWorld()


class RetryingWorld(MemoryWorld):
    """The same behind the decorator that tries again."""

    cannot = MappingProxyType({"deliver_young": "what it wraps leaves nothing for later"})

    @override
    def source(self) -> Source:
        """Return the mailbox, not opened again."""
        return RetryingSource(self.memory, RetryPolicy(tries=2, sleep=lambda seconds: None))


class TestRetryingSource(SourceContract):
    """A decorator keeps the laws of what it wraps."""

    @pytest.fixture
    def world(self) -> SourceWorld:
        """A fresh mailbox."""
        return RetryingWorld()
