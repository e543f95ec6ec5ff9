"""What reading costs, counted before a real store; and what a short answer decides: nothing."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.between import Between
from support.objects import Here, name_of, object_vault, receipts, some

from mailarchive import Stored
from mailarchive.errors import SinkCorrupt, SinkUnavailable
from mailarchive.testing.entries import entry
from mailarchive.vault import _object_index, _tar
from mailarchive.vault._object_store import Objects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailarchive.testing.postgres import Postgres
    from mailarchive.testing.s3_server import S3Server

_MIB = 1 << 20


@pytest.fixture
def between(seaweed: S3Server) -> Iterator[Between]:
    """What stands before the real store."""
    with Between(seaweed) as proxy:
        yield proxy


@pytest.fixture
def here(seaweed: S3Server, index: Postgres) -> Here:
    """A new vault on the real store."""
    return Here(seaweed, index)


def through(between: Between, here: Here, **settings: Any) -> Any:
    """Return the same vault, to be opened through what stands before its store."""
    return object_vault(between.port, here.bucket, here.database, **settings)


# -- what it costs --------------------------------------------------------------------------------

_TAKING = """
import resource, sys
from mailarchive.testing.s3_server import S3Server
from mailarchive.vault._object_manifests import whole
from mailarchive.vault._object_store import Objects
port, bucket, vault, pack, name = sys.argv[1:]
objects = Objects(S3Server(int(port)).store(bucket), "")
objects.get("vault.json")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
whole(vault, pack, objects.reading(name))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_large_pack_is_never_whole_in_memory_nor_read_for_one_message(
    here: Here, between: Between
) -> None:
    """A message costs its own bytes; `present` a piece of the end; a new index all, in pieces."""
    chance = random.Random(0)
    large = [entry(chance.randbytes(_MIB), key=str(each)) for each in range(63)]
    with here.open() as vault:
        found = receipts(vault.put_many(large))
    (key,) = here.packs()
    size = len(here.get(key))
    assert size > 63 * _MIB
    with through(between, here) as vault:
        between.forget()
        assert vault.read(found[5]) == large[5].raw
        assert between.given <= _MIB + 2 * _tar.BLOCK
        assert between.asked == {"GET": 1}
        between.forget()
        assert {each.outcome for each in receipts(vault.put_many(large))} == {Stored.PRESENT}
        assert between.given <= 128 << 10
        assert between.asked == {"HEAD": 1, "GET": 1}
    here.database = here.index.new_database()
    with through(between, here) as vault:
        assert size < between.given < size + _MIB
        arguments = [str(between.port), here.bucket, vault._session.vault]
    pack = key.rpartition("/")[2].removesuffix(".tar")
    child = [sys.executable, "-c", _TAKING, *arguments, pack, key]
    grown = subprocess.run(child, check=True, capture_output=True, text=True)
    assert int(grown.stdout) << 10 < 16 * _MIB


# -- a short answer -------------------------------------------------------------------------------


class Crash(BaseException):
    """The process ends here."""


def _crash(*_: Any, **__: Any) -> None:
    raise Crash


def closed(here: Here) -> str:
    """How many names are closed."""
    asked = "SELECT count(*) FROM mailarchive.pack WHERE void"
    return here.index.sql(asked, name_of(here)).strip()


@pytest.mark.parametrize("given", [0, 700, 1_536])
def test_a_short_answer_closes_no_pack_that_was_begun(
    here: Here, between: Between, monkeypatch: pytest.MonkeyPatch, given: int
) -> None:
    """It arrived whole, and its writer died: what was stored earlier is read, and present."""
    with here.open() as vault:
        (first,) = receipts(vault.put_many(some(1)))
        with monkeypatch.context() as patch:
            patch.setattr(_object_index.ObjectIndex, "take", _crash)
            with pytest.raises(Crash):
                vault.put_many(some(3))
    between.cut[max(here.packs())] = given
    for _ in range(2):
        with through(between, here) as vault:
            assert vault.read(first) == some(1)[0].raw
            assert receipts(vault.put_many(some(1)))[0].outcome is Stored.PRESENT
            with pytest.raises(SinkCorrupt, match=rf"gives {given:,} bytes of .*says that it has"):
                vault.put_many(some(3))
    between.cut.clear()
    with through(between, here) as vault:
        outcomes = [each.outcome for each in receipts(vault.put_many(some(3)))]

    assert outcomes == [Stored.PRESENT] * 3
    assert (closed(here), len(here.packs())) == ("0", 2)


@pytest.mark.parametrize("given", [0, 700])
def test_a_short_answer_closes_no_pack_that_a_new_index_meets(
    here: Here, between: Between, given: int
) -> None:
    """Not even one whose number a later attempt has."""
    with here.open() as vault:
        vault.put_many(some(1))
        for change in (
            "UPDATE mailarchive.pack SET void = true, sequence = NULL",
            "DELETE FROM mailarchive.entry",
            "DELETE FROM mailarchive.object",
        ):
            here.index.sql(change, name_of(here))
        vault.put_many(some(1, start=1))
    assert len(here.packs()) == 2
    here.database = here.index.new_database()
    between.cut[min(here.packs())] = given
    with through(between, here) as vault, pytest.raises(SinkCorrupt, match="nothing was decided"):
        vault.put_many(some(1))
    between.cut.clear()
    with through(between, here) as vault:
        outcomes = [each.outcome for each in receipts(vault.put_many(some(2)))]

    assert outcomes == [Stored.PRESENT] * 2
    assert closed(here) == "0"


def test_a_short_answer_to_reading_back_closes_nothing(here: Here, between: Between) -> None:
    """However often it is put again; afterwards it is there, once."""
    between.cut[".tar"] = 700
    with through(between, here) as vault:
        for _ in range(2):
            with pytest.raises(SinkCorrupt, match="gives 700 bytes of"):
                vault.put_many(some(2))
        between.cut.clear()
        outcomes = [each.outcome for each in receipts(vault.put_many(some(2)))]

    assert outcomes == [Stored.PRESENT] * 2
    assert (closed(here), len(here.packs())) == ("0", 1)


def test_a_store_that_does_not_find_what_it_took_decides_nothing(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is put again, and later found; what is stored is read meanwhile."""
    with here.open() as vault:
        (first,) = receipts(vault.put_many(some(1)))
        with monkeypatch.context() as patch:
            patch.setattr(Objects, "reading", lambda *_: None)
            with pytest.raises(SinkUnavailable, match="as it was sent"):
                vault.put_many(some(2))
            with here.open() as other:
                assert other.read(first) == some(1)[0].raw
                with pytest.raises(SinkCorrupt, match="is not in the store"):
                    other.put_many(some(2))
        outcomes = [each.outcome for each in receipts(vault.put_many(some(2)))]

    assert outcomes == [Stored.PRESENT] * 2
    assert (closed(here), len(here.packs())) == ("0", 2)


def test_an_empty_answer_closes_no_name_that_is_another_databases(
    here: Here, between: Between
) -> None:
    """Who has written there is not known here, and nothing is written beside it."""
    other = Here(here.server, here.index, here.bucket)
    with here.open() as vault, through(between, other) as late:
        vault.put_many(some(1))
        between.cut[".tar"] = 0
        with pytest.raises(SinkCorrupt, match="gives 0 bytes of"):
            late.put_many(some(2))
        between.cut.clear()
        assert [each.outcome for each in receipts(late.put_many(some(2)))] == [
            Stored.PRESENT,
            Stored.STORED,
        ]
    assert closed(other) == "0"


def test_an_object_is_as_large_as_the_store_says_in_three_ways(here: Here) -> None:
    """Asked for, asked about, and listed; and none is none."""
    store = Objects(here.server.store(here.bucket), "deep/er")
    for name, data in [("f/a", b"1"), ("f/ab", b"12"), ("f/b", b"123")]:
        store.create(name, data)

    assert [store.size(f"f/{each}") for each in ("a", "ab", "b", "c")] == [1, 2, 3, None]
    assert [store.listed(f"f/{each}") for each in ("a", "ab", "b", "c")] == [1, 2, 3, None]
    assert store.reading("f/c") is None


@pytest.mark.parametrize("data", [b"", b"12", b"1234", b"12345"])
def test_only_the_very_bytes_are_equal(here: Here, data: bytes) -> None:
    """Not what only begins like them."""
    store = Objects(here.server.store(here.bucket), "")
    store.create("x", b"1234")
    there = store.reading("x")
    assert there is not None

    assert there.is_equal(data) is (data == b"1234")
