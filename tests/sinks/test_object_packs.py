"""A number is given once in a store: whatever the index has forgotten, nothing is twice."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from obstore.store import MemoryStore
from psycopg import sql
from support.objects import Here, reading, receipts, some

from mailarchive import Digest, Receipt, Stored, Vault
from mailarchive.errors import SinkCorrupt, SinkError, SinkUnavailable, Transient
from mailarchive.testing import s3_server
from mailarchive.testing.entries import entry, mail
from mailarchive.vault import _object_manifests, _object_packs, _tar
from mailarchive.vault._manifest import StoredObject
from mailarchive.vault._object_store import Objects
from mailarchive.vault.objects import ObjectVault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import LiteralString

    from mailarchive.testing.postgres import Postgres
    from mailarchive.testing.s3_server import S3Server


@pytest.fixture
def here(index: Postgres, moto: S3Server) -> Here:
    """A new vault on the quick store."""
    return Here(moto, index)


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    """A quick one, in memory."""
    with s3_server.moto() as server:
        yield server


class Crash(BaseException):
    """The process ends here."""


def _crash(*_: Any, **__: Any) -> None:
    raise Crash


_TABLES = ("pack", "object", "entry")


def verified(store: Objects, folder: Path) -> list[tuple[str, str]]:
    """Copy a vault into a folder, and return what its verification finds."""
    for name in ["vault.json", *(f"volumes/{name}" for name, _ in store.names("volumes"))]:
        found = store.reading(name)
        assert found is not None
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(found.read(found.size))
    with Vault(folder, read_only=True) as vault:
        return [(each.kind, each.words) for each in vault.verify("content").findings]


def test_a_database_from_an_older_dump_takes_in_what_it_lacks(
    index: Postgres, tmp_path: Path
) -> None:
    """What was stored after the dump is there, once, and no number is given again."""
    store, database, entries = MemoryStore(), index.new_database(), some(6)
    with ObjectVault(store, database) as vault:
        vault.put_many(entries[:2])
        with psycopg.connect(database) as base:
            dump = {
                each: base.execute(_sql("SELECT * FROM mailarchive.{}", each)).fetchall()
                for each in _TABLES
            }
        vault.put_many(entries[2:4])
    _put_back(database, dump)
    with ObjectVault(store, database) as vault:
        outcomes = [each.outcome for each in receipts(vault.put_many(entries))]

    assert outcomes == [Stored.PRESENT] * 4 + [Stored.STORED] * 2
    assert verified(Objects(store, ""), tmp_path / "v") == []


def _put_back(database: str, dump: dict[str, list[Any]]) -> None:
    with psycopg.connect(database) as base, base.cursor() as cursor:
        for table, rows in dump.items():
            cursor.execute(_sql("TRUNCATE mailarchive.{}", table))
            places = sql.SQL(", ").join([sql.Placeholder()] * len(rows[0]))
            into = _sql("INSERT INTO mailarchive.{} VALUES ", table)
            cursor.executemany(into + sql.SQL("({})").format(places), rows)


def _sql(question: LiteralString, table: str) -> sql.Composed:
    return sql.SQL(question).format(sql.Identifier(table))


def test_a_database_that_is_put_back_under_an_open_vault_makes_no_rival(
    index: Postgres, tmp_path: Path
) -> None:
    """The store itself refuses the number; who opens the vault anew goes on."""
    store, database, entries = MemoryStore(), index.new_database(), some(3)
    with ObjectVault(store, database) as vault:
        vault.put(entries[0])
        vault.put(entries[1])
        index.sql("DELETE FROM mailarchive.pack WHERE sequence = 2", database.rpartition("=")[2])
        for _ in range(2):
            with pytest.raises(SinkError, match="nothing was stored"):
                vault.put(entries[2])
    with ObjectVault(store, database) as vault:
        outcomes = [each.outcome for each in receipts(vault.put_many(entries))]

    assert outcomes == [Stored.PRESENT, Stored.PRESENT, Stored.STORED]
    assert verified(Objects(store, ""), tmp_path / "v") == []


def test_two_databases_on_one_store_make_no_rival(index: Postgres, tmp_path: Path) -> None:
    """The second to store is refused, and knows everything once it is opened anew."""
    store, entries = MemoryStore(), some(4)
    first, second = index.new_database(), index.new_database()
    with ObjectVault(store, first) as one, ObjectVault(store, second) as other:
        one.put_many(entries[:2])
        with pytest.raises(SinkError, match="the index knows nothing of it") as caught:
            other.put_many(entries)
        assert not isinstance(caught.value, Transient)
        assert other.reconcile() == 1
        outcomes = [each.outcome for each in receipts(other.put_many(entries[:3]))]
        assert outcomes == [Stored.PRESENT, Stored.PRESENT, Stored.STORED]
        with pytest.raises(SinkError, match="the index knows nothing of it"):
            one.put_many(entries)
    with ObjectVault(store, first) as one:
        outcomes = [each.outcome for each in receipts(one.put_many(entries))]

    assert outcomes == [Stored.PRESENT] * 3 + [Stored.STORED]
    assert verified(Objects(store, ""), tmp_path / "v") == []


def test_two_databases_at_once_make_no_rival(
    seaweed: S3Server, index: Postgres, tmp_path: Path
) -> None:
    """On a real store, both storing as fast as they can, each opened again when refused."""
    here, there = Here(seaweed, index), Here(seaweed, index)
    there.bucket, entries = here.bucket, some(4)
    with here.open():
        pass

    def store_all(each: Here) -> list[Receipt]:
        return [_stubbornly(each, entry_) for entry_ in entries]

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(store_all, (here, there)))
    outcomes = [each.outcome for found in both for each in found]

    assert outcomes.count(Stored.STORED) == len(entries)
    assert verified(Objects(seaweed.store(here.bucket), ""), tmp_path / "v") == []


def _stubbornly(here: Here, entry_: Any) -> Receipt:
    for _ in range(9):
        with here.open() as vault, contextlib.suppress(SinkError):
            (receipt,) = receipts([vault.put(entry_)])
            return receipt
    raise AssertionError("refused again and again")


def test_nothing_is_stored_while_a_pack_is_damaged(here: Here, tmp_path: Path) -> None:
    """However often it is opened; what can be read is read, and what is restored is taken in."""
    with here.open() as vault:
        known = [*receipts([vault.put(each) for each in some(3)])]
    newest = max(here.packs())
    sound = here.get(newest)
    here.replace(newest, sound[:-1500])
    here.database = here.index.new_database()
    for _ in range(2):
        with here.open() as vault:
            assert vault.read(known[0]) == some(1)[0].raw
            assert [each.outcome for each in receipts(vault.put_many(some(2)))] == [
                Stored.PRESENT
            ] * 2
            with pytest.raises(SinkCorrupt, match=r"nothing is stored .* pack .*0000000003"):
                vault.put_many(some(4))
    here.replace(newest, sound)
    with here.open() as vault:
        outcomes = [each.outcome for each in receipts(vault.put_many(some(4)))]

    assert outcomes == [Stored.PRESENT] * 3 + [Stored.STORED]
    store = Objects(here.server.store(here.bucket), "")
    assert verified(store, tmp_path / "v") == []


@pytest.mark.parametrize("emptied", [False, True])
def test_what_the_store_has_no_more_is_not_present(here: Here, *, emptied: bool) -> None:
    """The index is no record: it knows of a pack, and the pack is gone."""
    with here.open() as vault:
        vault.put_many(some(1))
        vault.put_many(some(1, start=1))
    oldest = min(here.packs())
    sound = here.get(oldest)
    here.replace(oldest, b"") if emptied else here.delete(oldest)
    with here.open() as vault:
        (receipt,) = receipts(vault.put_many(some(1, start=1)))
        assert receipt.outcome is Stored.PRESENT
        for each in (0, 2):
            with pytest.raises(SinkCorrupt, match="is not in the store"):
                vault.put_many(some(1, start=each))
        here.replace(oldest, sound)
        assert vault.reconcile() == 0
        assert len(receipts(vault.put_many(some(3)))) == 3


def test_nothing_is_stored_while_a_number_is_missing(here: Here) -> None:
    """By an index that was made anew while a pack was away."""
    with here.open() as vault:
        for each in some(3):
            vault.put(each)
    gone = sorted(here.packs())[1]
    sound = here.get(gone)
    here.delete(gone)
    here.database = here.index.new_database()
    with here.open() as vault:
        with pytest.raises(SinkCorrupt, match="pack number 2 is not in the store"):
            vault.put(some(2)[1])
        here.replace(gone, sound)
        assert vault.reconcile() == 1
        outcomes = [each.outcome for each in receipts(vault.put_many(some(4)))]

    assert outcomes == [Stored.PRESENT] * 3 + [Stored.STORED]


def test_a_pack_that_arrived_changed_is_passed_over_by_a_new_index(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later attempt has its number: it was never acknowledged, and damages nothing."""
    create = Objects.create

    def damage(self: Any, name: str, data: bytes) -> bool:
        return create(self, name, data[:-1500] if "packs" in name else data)

    with here.open() as vault:
        with monkeypatch.context() as patch:
            patch.setattr(Objects, "create", damage)
            with pytest.raises(SinkUnavailable, match="as it was sent"):
                vault.put_many(some(1))
        vault.put_many(some(1))
    here.database = here.index.new_database()
    with here.open() as vault:
        outcomes = [each.outcome for each in receipts(vault.put_many(some(2)))]

    assert outcomes == [Stored.PRESENT, Stored.STORED]
    assert len(here.packs()) == 3


def test_a_closed_name_is_no_hindrance_to_another_database(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has not heard of a crash finds the name closed, and takes the next attempt."""
    other = Here(here.server, here.index, here.bucket)
    with here.open() as vault:
        with monkeypatch.context() as patch, other.open() as crashing:
            patch.setattr(Objects, "create", _crash)
            with pytest.raises(Crash):
                crashing.put_many(some(1))
        with other.open():
            assert list(here.packs().values()) == [b""]
        with monkeypatch.context() as patch:
            patch.setattr(_object_packs, "_ATTEMPTS", 1)
            with pytest.raises(SinkError, match="attempts at one pack"):
                vault.put_many(some(1))
        (receipt,) = receipts(vault.put_many(some(1)))

    assert receipt.outcome is Stored.STORED
    assert len(here.packs()) == 2


def test_a_pack_of_several_batches_is_not_taken_for_one(here: Here) -> None:
    """Such as a vault in a folder writes; half of it would be overlooked."""
    with here.open() as vault:
        vault.put_many(some(1))
    (pack,) = here.packs()
    here.replace(pack, here.get(pack)[:-1024] * 2)
    here.database = here.index.new_database()
    with here.open() as vault, pytest.raises(SinkCorrupt, match="more than one batch"):
        vault.reconcile()


@pytest.mark.parametrize("how", ["gone", "changed"])
def test_bytes_that_are_stored_already_are_read_before_a_receipt_says_so(
    here: Here, how: str
) -> None:
    """A second entry of the same bytes rests on a pack that somebody may have destroyed."""
    first, second = (entry(mail(1), key=each) for each in "ab")
    with here.open(read_back=False) as vault:
        (unread,) = receipts([vault.put(first)])
    (pack,) = here.packs()
    sound = here.get(pack)
    with here.open() as vault:
        here.delete(pack) if how == "gone" else here.replace(pack, bytes(len(sound)))
        with pytest.raises(SinkCorrupt):
            vault.put(second)
        here.replace(pack, sound)
        (receipt,) = receipts([vault.put(second)])
        assert vault.read(receipt) == mail(1)

    assert (unread.verified, receipt.verified) == (False, True)


def _forged(here: Here, *lines: bytes, number: int = 2, **changes: Any) -> None:
    """Put a pack into the store that only somebody with the key to it could make."""
    (pack, data), *_ = sorted(here.packs().items())
    name = _object_manifests.named(_vault_of(here), number, 0)
    start = data.index(b'{"at"')
    head = json.loads(data[start : data.index(b"\n", start)])
    head |= {"pack": name, "sequence": number, "objects": len(lines), **changes}
    text = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
    manifest = b"".join([text, b"\n", *lines])
    member = _tar.member(_tar.MANIFEST.format(Digest.of(manifest).hex), manifest)
    here.replace(_object_manifests.key(name), b"".join(member) + _tar.TRAILER)
    assert pack != _object_manifests.key(name)


def _vault_of(here: Here) -> str:
    return str(json.loads(here.get("vault.json"))["id"])


@pytest.mark.parametrize("changes", [{"sequence": True}, {"sequence": 7}, {"sequence": 1 << 61}])
def test_a_number_that_its_name_does_not_say_is_not_taken_in(
    here: Here, changes: dict[str, Any]
) -> None:
    """Such a pack keeps nobody from reading, and is named as what it is."""
    with here.open() as vault:
        (receipt,) = receipts(vault.put_many(some(1)))
    _forged(here, **changes)
    with here.open() as vault:
        assert vault.read(receipt) == some(1)[0].raw
        with pytest.raises(SinkCorrupt, match=r"0000000002-.* a manifest that"):
            vault.reconcile()


def test_a_place_where_nothing_stands_is_not_taken_in(here: Here) -> None:
    """Whoever knew of a mail to come could have it taken for one that is stored."""
    with here.open() as vault:
        vault.put_many(some(1))
    to_come = StoredObject(Digest.of(b"x"), 10, Digest.of(mail(9)), len(mail(9)), 0)
    _forged(here, to_come.line())
    with here.open() as vault:
        with pytest.raises(SinkCorrupt, match="other members than the manifest says"):
            vault.reconcile()
        with pytest.raises(SinkCorrupt, match="nothing is stored"):
            vault.put_many(some(1, start=9))


def test_a_pack_of_very_many_members_is_read_once() -> None:
    """And not what is left of it for each: an hour, for one that is full of empty members."""
    data = _tar.header(_tar.MESSAGE.format(Digest.of(b"").hex), 0) * 1_000
    there = reading(data)
    read: list[int] = []
    pieces = there.pieces

    def counted(size: int) -> Iterator[memoryview]:
        for piece in pieces(size):
            read.append(len(piece))
            yield piece

    there.pieces = counted  # type: ignore[method-assign]  # it counts, and gives the same
    with pytest.raises(SinkCorrupt, match="no manifest"):
        _object_manifests.whole("v", "p", there)

    assert sum(read) == len(data)


_ALTERATIONS = {
    "entry": ["raw = '\\x00'"],
    "object": ["stored = '\\x00'", "start = -5", "stored_size = -1000", "size = -1"],
    "pack": ["manifest = '\\x01'"],
}


@pytest.mark.parametrize(
    ("table", "change"), [(table, each) for table, some_ in _ALTERATIONS.items() for each in some_]
)
def test_an_index_that_somebody_has_altered_is_said_and_made_anew(
    index: Postgres, table: LiteralString, change: LiteralString
) -> None:
    """It is no defect of ours: the error tells what to do, and that helps."""
    store, database, entries = MemoryStore(), index.new_database(), some(2)
    with ObjectVault(store, database) as vault:
        (receipt,) = receipts([vault.put(entries[0])])
        with psycopg.connect(database) as base:
            base.execute(
                sql.SQL("UPDATE mailarchive.{} SET ").format(sql.Identifier(table))
                + sql.SQL(change)
            )
        with pytest.raises(SinkCorrupt) as caught:
            vault.put_many(entries)
    assert "drop the schema mailarchive" in caught.value.suggestions[0]
    with psycopg.connect(database) as base:
        base.execute("DROP SCHEMA mailarchive CASCADE")
    with ObjectVault(store, database) as vault:
        assert vault.read(receipt) == entries[0].raw
        (again, _) = receipts(vault.put_many(entries))
        assert (again.outcome, again.location) == (Stored.PRESENT, receipt.location)


def test_opening_lists_the_store_once(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """And asks for nothing that the index knows already; a put lists nothing."""
    with here.open() as vault:
        for each in some(3):
            vault.put(each)
    calls: list[str] = []
    for name in ("create", "get", "names", "reading", "size", "part"):
        monkeypatch.setattr(Objects, name, _counted(name, calls))
    with here.open() as vault:
        opening = Counter(calls)
        calls.clear()
        vault.put(some(4)[3])
        first = Counter(calls)
        calls.clear()
        vault.put(some(5)[4])

    assert opening == {"create": 2, "get": 2, "names": 1}  # two of each are the probe, vault.json
    # The first asks the newest pack for its manifest; the next one's is known.
    assert first == {"size": 1, "part": 1, "create": 1, "reading": 1}
    assert Counter(calls) == {"create": 1, "reading": 1}


def _counted(name: str, calls: list[str]) -> Any:
    plain = getattr(Objects, name)

    def counting(self: Any, *args: Any) -> Any:
        calls.append(name)
        return plain(self, *args)

    return counting
