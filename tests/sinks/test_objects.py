"""Packs as objects: a real S3 (SeaweedFS), moto for what is quick, rclone to be refused."""

from __future__ import annotations

import hashlib
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from obstore.store import (
    AzureStore,
    GCSStore,
    HTTPStore,
    LocalStore,
    MemoryStore,
    S3Store,
)
from support.objects import Here, name_of, object_vault, receipts, some

from mailarchive import Durability, Receipt, Rejected, Stored, UserId, Vault
from mailarchive.errors import (
    ConfigurationError,
    SinkCorrupt,
    SinkError,
    SinkNotWritable,
    SinkUnavailable,
    Unsupported,
)
from mailarchive.testing import s3_server
from mailarchive.testing.entries import entry
from mailarchive.testing.sink_contract import SinkContract
from mailarchive.testing.sink_laws import SinkMaker, Spawned
from mailarchive.vault import _object_index
from mailarchive.vault._object_store import Objects
from mailarchive.vault.objects import ObjectVault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailarchive.testing.postgres import Postgres
    from mailarchive.testing.s3_server import S3Server


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    """A quick one, in memory."""
    with s3_server.moto() as server:
        yield server


class TestObjectVault(SinkContract):
    """It keeps every law, on a real object store and a real PostgreSQL."""

    largest = 32 << 20
    points = 2

    @pytest.fixture
    def open_sink(self, seaweed: S3Server, index: Postgres) -> SinkMaker:
        """A new bucket and a new database; other processes are new interpreters."""
        bucket, database = seaweed.new_bucket(), index.new_database()
        return Spawned(partial(object_vault, seaweed.port, bucket, database))


@pytest.fixture
def here(moto: S3Server, index: Postgres) -> Here:
    """A new vault on the quick store."""
    return Here(moto, index)


# -- what it stores -----------------------------------------------------------------------------


def test_copied_into_a_folder_it_is_a_vault(here: Here, tmp_path: Path) -> None:
    """With views and verification; and tar and zstd alone open it, to the byte."""
    entries = some(5)
    with here.open() as vault:
        vault.put_many(entries[:3])
        vault.put_many(entries[2:])
    (tmp_path / "v" / "volumes" / "0001" / "packs").mkdir(parents=True)
    for key in ["vault.json", *here.packs()]:
        (tmp_path / "v" / key).write_bytes(here.get(key))
    with Vault(tmp_path / "v") as folder:
        shown = [each.content() for each in folder.view(UserId("alice")).messages()]
        assert sorted(shown) == sorted(each.raw for each in entries)
        assert folder.verify("content").ok
    for pack in (tmp_path / "v").rglob("*.tar"):
        subprocess.run(["tar", "xf", pack, "-C", tmp_path], check=True)
    raws = {
        subprocess.run(["zstd", "-dc", file], check=True, capture_output=True).stdout
        for file in (tmp_path / "b").iterdir()
    }
    assert raws == {each.raw for each in entries}


def test_a_large_batch_becomes_several_packs(here: Here) -> None:
    """None much larger than it may be; and equal bytes are stored once."""
    raws = [hashlib.sha512(bytes([n])).digest() * 400 for n in range(6)]
    entries = [entry(raw, key=f"{n}-{twice}") for n, raw in enumerate(raws) for twice in "ab"]
    with here.open(pack_size=1, compression_level=1) as vault:
        found = receipts(vault.put_many(entries))
        assert [vault.read(each) for each in found] == [each.raw for each in entries]

    assert here.index.sql("SELECT count(*) FROM mailarchive.object", name_of(here)).strip() == "6"
    assert len(here.packs()) == len(entries)


def test_receipts_say_what_is_known(here: Here) -> None:
    """Verified where it was read back; as durable as the operator says."""
    with here.open(durability=Durability.REPLICATED) as vault:
        (read,) = receipts(vault.put_many(some(1)))
    with here.open(read_back=False) as vault:
        (unread,) = receipts(vault.put_many(some(1, start=1)))

    assert (read.verified, read.durability) == (True, Durability.REPLICATED)
    assert (unread.verified, unread.durability) == (False, Durability.MEDIA)


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        (S3Store("bucket", region="us-east-1"), Durability.MEDIA),
        (AzureStore("container", account_name="a", account_key="AAAA"), Durability.MEDIA),
        (GCSStore("bucket", skip_signature=True), Durability.MEDIA),
        (LocalStore(), Durability.PROCESS),
        (MemoryStore(), Durability.BUFFERED),
        (HTTPStore("http://127.0.0.1:1"), Durability.BUFFERED),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_store_is_no_more_durable_than_its_kind(store: Any, expected: Durability) -> None:
    """Unless its operator says so, and for whatever it then is."""
    stated = ObjectVault(store, "", durability=Durability.REPLICATED)

    assert ObjectVault(store, "").capabilities.durability is expected
    assert stated.capabilities.durability is Durability.REPLICATED


def test_a_receipt_from_a_folder_promises_no_sync(index: Postgres, tmp_path: Path) -> None:
    """obstore writes and links, and never syncs; that it was read back tells nothing of it."""
    with ObjectVault(LocalStore(tmp_path), index.new_database()) as vault:
        (receipt,) = receipts(vault.put_many(some(1)))

    assert (receipt.durability, receipt.verified) == (Durability.PROCESS, True)


def test_an_entry_that_cannot_be_kept_is_rejected(here: Here) -> None:
    """And the rest of the batch is stored."""
    from attrs import evolve

    good, bad = some(2)
    bad = evolve(bad, raw=b"other bytes")
    with here.open() as vault:
        answers = vault.put_many((bad, good))

    assert isinstance(answers[0], Rejected)
    assert isinstance(answers[1], Receipt)


def test_two_writers_store_each_entry_once(seaweed: S3Server, index: Postgres) -> None:
    """Both at once, the same entries: one object each, one chain of manifests."""
    here, entries = Here(seaweed, index), some(6)
    with here.open() as one, here.open() as other, ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda sink: [sink.put(each) for each in entries], (one, other)))
    outcomes = [each.outcome for some_ in answers for each in receipts(some_)]

    assert outcomes.count(Stored.STORED) == len(entries) == len(here.packs())
    sequences = here.index.sql(
        "SELECT array_agg(sequence ORDER BY sequence) FROM mailarchive.pack", name_of(here)
    )
    assert sequences.strip() == "{1,2,3,4,5,6}"


# -- what a crash leaves behind -------------------------------------------------------------------


class Crash(BaseException):
    """The process ends here."""


def test_a_pack_that_arrived_and_was_not_noted_is_taken_in(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process died between the object and the index: the entries are there, once."""
    with monkeypatch.context() as patch, here.open() as vault:
        patch.setattr(_object_index.ObjectIndex, "take", _crash)
        with pytest.raises(Crash):
            vault.put_many(some(3))
    with here.open() as vault:
        outcomes = [each.outcome for each in receipts(vault.put_many(some(4)))]

    assert outcomes == [Stored.PRESENT] * 3 + [Stored.STORED]
    assert len(here.packs()) == 2


def _crash(*_: Any, **__: Any) -> None:
    raise Crash


def test_a_pack_that_never_arrived_is_closed_for_ever(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload that comes late finds its name taken: nothing is stored twice."""
    late: list[tuple[str, bytes]] = []

    def create(self: Any, name: str, data: bytes) -> bool:
        late.append((name, data))
        raise Crash

    with here.open() as vault:
        with monkeypatch.context() as patch:
            patch.setattr(Objects, "create", create)
            with pytest.raises(Crash):
                vault.put_many(some(2))
        vault.put_many(some(3))
        assert not vault._objects.create(*late[0])
        assert {each.outcome for each in receipts(vault.put_many(some(3)))} == {Stored.PRESENT}

    assert min(map(len, here.packs().values())) == 0
    assert here.index.sql("SELECT count(*) FROM mailarchive.entry", name_of(here)).strip() == "3"


def test_a_pack_that_arrived_changed_counts_for_nothing(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The put is to be tried again, and what is in the way harms no later one."""
    create = Objects.create

    def damage(self: Any, name: str, data: bytes) -> bool:
        return create(self, name, data.replace(b"b/", b"c/", 1) if "packs" in name else data)

    with here.open() as vault:
        with monkeypatch.context() as patch:
            patch.setattr(Objects, "create", damage)
            with pytest.raises(SinkUnavailable, match="as it was sent"):
                vault.put_many(some(2))
        assert {each.outcome for each in receipts(vault.put_many(some(2)))} == {Stored.STORED}


def test_the_index_is_made_anew_from_the_packs(here: Here) -> None:
    """With an empty database everything is as it was; and reconciling again finds nothing."""
    with here.open() as vault:
        before = receipts(vault.put_many(some(3)) + vault.put_many(some(2, start=3)))
    here.database = here.index.new_database()
    with here.open() as vault:
        assert vault.reconcile() == 0
        again = receipts(vault.put_many(some(5)))
        assert {each.outcome for each in again} == {Stored.PRESENT}
        assert [each.location for each in again] == [each.location for each in before]
        assert [vault.read(each) for each in before] == [each.raw for each in some(5)]


def test_a_pack_from_elsewhere_is_taken_in_where_it_is_sound(here: Here) -> None:
    """A restored one is; a damaged one is said, after the others."""
    with here.open() as vault:
        vault.put_many(some(2))
        (key,) = here.packs()
        data = here.get(key)
        here.index.sql("DELETE FROM mailarchive.pack", name_of(here))
        here.index.sql("DELETE FROM mailarchive.entry", name_of(here))
        here.replace(f"{key[:-5]}0.tar" if key[-5] != "0" else f"{key[:-5]}1.tar", data)
        with pytest.raises(SinkCorrupt, match="belongs elsewhere"):
            vault.reconcile()
        assert {each.outcome for each in receipts(vault.put_many(some(2)))} == {Stored.PRESENT}


# -- what is wrong with a store -------------------------------------------------------------------


def test_a_store_that_replaces_objects_is_refused(index: Postgres) -> None:
    """rclone takes every condition and keeps none."""
    with s3_server.rclone() as server:
        vault = object_vault(server.port, server.new_bucket(), index.new_database())
        with pytest.raises(Unsupported, match="told to create only"), vault:
            pass


def test_uploads_without_a_checksum_are_refused(here: Here) -> None:
    """They might arrive changed."""
    store = here.server.store(here.bucket)
    plain: Any = {k: v for k, v in store.config.items() if k != "checksum_algorithm"}
    store = S3Store(config=plain, client_options={"allow_http": True})
    with pytest.raises(Unsupported, match="checksum"), ObjectVault(store, here.database):
        pass


def test_a_real_store_refuses_what_arrives_with_a_wrong_checksum(seaweed: S3Server) -> None:
    """So that what the vault asks for is worth something."""
    bucket, wrong = seaweed.new_bucket(), "A" * 43 + "="
    with seaweed.client() as client:
        with pytest.raises(ClientError, match=r"checksum|Checksum|digest|BadDigest"):
            client.put_object(Bucket=bucket, Key="x", Body=b"data", ChecksumSHA256=wrong)
        assert "Contents" not in client.list_objects_v2(Bucket=bucket)


def test_a_store_without_locks_has_none(index: Postgres) -> None:
    """Any store of obstore's will do, but for that."""
    store = MemoryStore()
    with ObjectVault(store, index.new_database(), prefix="/deep/er/") as vault:
        (receipt,) = receipts(vault.put_many(some(1)))
        assert vault.read(receipt) == some(1)[0].raw
    assert all(each["path"].startswith("deep/er/") for each in store.list().collect())
    with (
        pytest.raises(Unsupported, match="does not lock"),
        ObjectVault(store, index.new_database(), prefix="deep/er", locked=True),
    ):
        pass


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:530] + bytes([data[530] ^ 1]) + data[531:],
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
        lambda data: data[:540],
        lambda _: b"",
    ],
)
def test_a_changed_object_is_said_and_not_handed_over(here: Here, damage: Any) -> None:
    """Whatever was changed in it."""
    with here.open() as vault:
        (receipt,) = receipts([vault.put(entry(hashlib.sha512(b"x").digest() * 9))])
        (key,) = here.packs()
        here.replace(key, damage(here.get(key)))
        with pytest.raises(SinkCorrupt):
            vault.read(receipt)
        here.delete(key)
        with pytest.raises(SinkCorrupt, match="not in the store"):
            vault.read(receipt)


def test_what_is_not_there_is_said_with_what_to_do(here: Here) -> None:
    """No store, no bucket, no right, no index."""
    with pytest.raises(SinkUnavailable, match="did not answer"), object_vault(1, "b", "x"):
        pass
    with pytest.raises(SinkError), object_vault(here.server.port, "nowhere", here.database):
        pass
    nobody = "host=127.0.0.1 port=1 user=nobody dbname=nothing"
    vault = object_vault(here.server.port, here.bucket, nobody)
    with pytest.raises(SinkUnavailable, match="index cannot be reached") as caught, vault:
        pass
    assert caught.value.suggestions
    with pytest.raises(SinkError, match="not open"):
        here.open().put(some(1)[0])
    with pytest.raises(ConfigurationError):
        here.open(pack_size=0)


def test_an_index_that_went_away_is_connected_anew(here: Here) -> None:
    """The put is to be tried again, and then succeeds."""
    with here.open() as vault:
        vault.put_many(some(1))
        here.index.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
            f"'{name_of(here)}'"
        )
        with pytest.raises(SinkUnavailable, match="index cannot be reached"):
            vault.put_many(some(2))
        outcomes = [each.outcome for each in receipts(vault.put_many(some(2)))]
        assert outcomes == [Stored.PRESENT, Stored.STORED]


def test_a_user_who_may_not_write_is_told_so(here: Here) -> None:
    """By the index."""
    with here.open():
        pass
    here.index.sql("CREATE ROLE reader LOGIN", name_of(here))
    database = here.database.replace("user=postgres", "user=reader")
    vault = object_vault(here.server.port, here.bucket, database)
    with pytest.raises(SinkNotWritable, match="may not be written"), vault:
        pass


@pytest.mark.parametrize("prefix", ["a//b", "../a", "a/./b", "a\nb"])
def test_a_prefix_that_cannot_be_is_refused_at_once(prefix: str) -> None:
    """Before anything is asked."""
    with pytest.raises(ConfigurationError, match="prefix"):
        ObjectVault(MemoryStore(), "", prefix=prefix)


def test_a_name_that_cannot_be_is_said_to_be_one(here: Here) -> None:
    """Beside the packs: whoever can write there can make one, and a listing ends at it."""
    with here.open() as vault:
        vault.put_many(some(1))
    here.replace("volumes/0001/packs//x", b"")
    with pytest.raises(SinkError, match="a name that no object") as caught, here.open():
        pass
    assert "remove objects" in caught.value.suggestions[0]


def test_packs_without_their_header_are_no_new_vault(here: Here) -> None:
    """They belong to one, and its id must come back first."""
    with here.open() as vault:
        vault.put_many(some(1))
    here.delete("vault.json")
    with pytest.raises(SinkCorrupt, match=r"vault\.json is missing"), here.open():
        pass
