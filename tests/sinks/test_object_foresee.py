"""A vault of objects works ahead as one in a folder does, and stores nothing for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.objects import Here, name_of, receipts, some

from mailarchive import Stored
from mailarchive.errors import SinkUnavailable
from mailarchive.testing import s3_server
from mailarchive.testing._sink_kit import as_a_run_makes_it

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailarchive import ArchiveEntry
    from mailarchive.testing.postgres import Postgres


@pytest.fixture
def here(index: Postgres) -> Iterator[Here]:
    """A new vault on a store in memory."""
    with s3_server.moto() as server:
        yield Here(server, index)


def of_a_run(count: int) -> list[ArchiveEntry]:
    """Return entries with the digests that a run has taken."""
    return [as_a_run_makes_it(each) for each in some(count)]


def test_what_is_foreseen_is_packed_ahead(here: Here, packed: list[int]) -> None:
    """Nothing is left to pack at the put, and what is there already is not packed at all."""
    entries = of_a_run(5)
    with here.open() as vault:
        vault.foresee(entries)
        assert packed == [5]
        assert here.packs() == {}

        packed.clear()
        outcomes = [each.outcome for each in receipts(vault.put_many(entries))]
        vault.foresee(entries)

    assert outcomes == [Stored.STORED] * 5
    assert sum(packed) == 0


def test_an_outage_that_is_foreseen_costs_no_put(here: Here) -> None:
    """Whoever is told ahead notices that the connection is gone; the put connects anew."""
    entries = of_a_run(2)
    with here.open() as vault:
        here.index.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            name_of(here),
        )
        with pytest.raises(SinkUnavailable):
            vault.foresee(entries)
        assert len(receipts(vault.put_many(entries))) == 2
