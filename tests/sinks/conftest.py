"""The servers behind an object vault, started once for each module that asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailarchive.testing import s3_server
from mailarchive.testing.postgres import Postgres, postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

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
