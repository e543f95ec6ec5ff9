"""The laws of a sink, on the sinks that the kit itself relies on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from mailarchive import Durability, UserId, Vault
from mailarchive.testing import sink_laws
from mailarchive.testing.broken_sinks import OneFileEach
from mailarchive.testing.memory import MemorySink
from mailarchive.testing.sink_contract import SinkContract
from mailarchive.vault import FileKeys

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mailarchive import Sink
    from mailarchive.testing.sink_laws import SinkMaker


class TestMemorySink(SinkContract):
    """The sink in memory, as honest as it can be."""

    @pytest.fixture
    def open_sink(self) -> SinkMaker:
        """One sink, since nothing outlives it."""
        sink = MemorySink(durability=Durability.BUFFERED)
        return lambda: sink


class TestVault(SinkContract):
    """The embedded archive; with the message of 200 MiB."""

    @pytest.fixture
    def open_sink(self, tmp_path: Path) -> SinkMaker:
        """A vault in a folder."""
        return partial(Vault, tmp_path / "acme.vault", keys=None)

    @override
    def seen_by(self, sink: Sink, user: UserId) -> Iterable[bytes]:
        """What a view shows."""
        assert isinstance(sink, Vault)
        return [each.content() for each in sink.view(user).messages()]


class TestVaultThatRolls(TestVault):
    """The same archive, each of its packs in a volume of its own."""

    largest = 8 << 20

    @pytest.fixture
    @override
    def open_sink(self, tmp_path: Path) -> SinkMaker:
        """A vault in a folder, whose volumes are full at once."""
        return partial(Vault, tmp_path / "acme.vault", keys=None, pack_size=1, volume_size=1)


class TestEncryptedVault(TestVault):
    """The same archive, encrypted, by the same laws."""

    largest = 8 << 20

    @pytest.fixture
    @override
    def open_sink(self, tmp_path: Path) -> SinkMaker:
        """A vault in a folder, and its keys beside it."""
        keys = FileKeys.create(tmp_path / "acme.key")
        return partial(Vault, tmp_path / "acme.vault", keys=keys)


class TestOneFileEach(SinkContract):
    """The sound sink that the broken ones are made from."""

    largest = 8 << 20

    @pytest.fixture
    def open_sink(self, tmp_path: Path) -> SinkMaker:
        """Files in a folder."""
        return partial(OneFileEach, tmp_path)


class TestSpawned(SinkContract):
    """The same, with new interpreters where the others have forks."""

    largest = 8 << 20

    @pytest.fixture
    def open_sink(self, tmp_path: Path) -> SinkMaker:
        """Files in a folder, opened elsewhere by their module's name."""
        return sink_laws.Spawned(partial(OneFileEach, tmp_path))
