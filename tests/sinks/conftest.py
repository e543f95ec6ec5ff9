"""The servers behind an object vault, once for each module, and what vaults pack, counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailarchive.testing import s3_server
from mailarchive.testing.postgres import Postgres, postgres
from mailarchive.vault._packing import Packing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mailarchive import Digest
    from mailarchive.testing.s3_server import S3Server


@pytest.fixture(scope="module")
def index() -> Iterator[Postgres]:
    """A PostgreSQL."""
    with postgres() as server:
        yield server


@pytest.fixture(scope="module")
def seaweed() -> Iterator[S3Server]:
    """A real object store."""
    with s3_server.seaweedfs() as server:
        yield server


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many messages were handed to the threads of a vault, at each call."""
    counts: list[int] = []
    submitted = Packing._submitted

    def counting(self: Packing, data: Mapping[Digest, bytes]) -> object:
        counts.append(len(data))
        return submitted(self, data)

    monkeypatch.setattr(Packing, "_submitted", counting)
    return counts
