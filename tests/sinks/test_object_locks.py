"""What a store is told to lock, and what it makes of many who create one object at once."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Barrier, Thread
from typing import TYPE_CHECKING, Any

import obstore
import pytest
from botocore.exceptions import ClientError
from obstore import exceptions
from obstore.store import S3Store
from support.objects import Here, receipts, some
from typing_extensions import override

from mailarchive import Stored
from mailarchive.errors import SinkError, SinkUnavailable, Unsupported
from mailarchive.vault._object_store import Objects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore.store import ClientConfig

    from mailarchive.testing.postgres import Postgres
    from mailarchive.testing.s3_server import S3Server


def test_a_lock_is_looked_for_where_it_is_wanted(seaweed: S3Server, index: Postgres) -> None:
    """A bucket without one is refused; in one with it a pack cannot be taken away."""
    with pytest.raises(Unsupported, match="does not lock"), Here(seaweed, index).open(locked=True):
        pass
    here = Here(seaweed, index, seaweed.new_bucket(locked_days=1))
    with here.open(locked=True) as vault:
        (receipt,) = receipts(vault.put_many(some(1)))
        assert vault.read(receipt) == some(1)[0].raw
    with seaweed.client() as client:
        found = client.list_object_versions(Bucket=here.bucket, Prefix="volumes/")
    (version,) = found["Versions"]
    with pytest.raises(ClientError, match=r"Denied|denied|locked|WORM|retention"):
        here.delete(version["Key"], VersionId=version["VersionId"])


def lock(here: Here, mode: str) -> None:
    """Give a bucket another default retention."""
    rule = {"DefaultRetention": {"Mode": mode, "Days": 1}}
    with here.server.client() as client:
        client.put_object_lock_configuration(
            Bucket=here.bucket,
            ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule},
        )


@pytest.fixture
def locked(seaweed: S3Server, index: Postgres) -> Here:
    """A vault in a bucket that locks what is written to it."""
    return Here(seaweed, index, seaweed.new_bucket(locked_days=1))


def test_a_lock_that_was_weakened_is_noticed_at_opening(locked: Here) -> None:
    """Though what was written before is locked still."""
    with locked.open(locked=True) as vault:
        vault.put_many(some(1))
    lock(locked, "GOVERNANCE")
    with pytest.raises(Unsupported, match="does not lock"), locked.open(locked=True):
        pass
    with locked.open() as vault:
        assert receipts(vault.put_many(some(1)))


def test_a_lock_that_was_turned_on_later_is_enough(seaweed: S3Server, index: Postgres) -> None:
    """A bucket that was opened before without one is refused no longer."""
    with seaweed.client() as client:
        client.create_bucket(Bucket="later", ObjectLockEnabledForBucket=True)
    here = Here(seaweed, index, "later")
    with here.open() as vault:
        vault.put_many(some(1))
    with pytest.raises(Unsupported, match="does not lock") as caught, here.open(locked=True):
        pass
    lock(here, "COMPLIANCE")
    with here.open(locked=True) as vault:
        outcomes = [each.outcome for each in receipts(vault.put_many(some(2)))]

    assert "default retention" in caught.value.suggestions[0]
    assert outcomes == [Stored.PRESENT, Stored.STORED]


def test_a_pack_without_a_lock_has_no_receipt(locked: Here) -> None:
    """However often it is put, until somebody has locked what was written."""
    with locked.open(locked=True) as vault:
        lock(locked, "GOVERNANCE")
        with pytest.raises(SinkError, match="has not locked it"):
            vault.put_many(some(1))
        lock(locked, "COMPLIANCE")
        (pack,) = locked.packs()
        with pytest.raises(SinkError, match=f"{pack} was stored, .* has not locked it"):
            vault.put_many(some(2))
        with locked.server.client() as client:
            client.put_object_retention(
                Bucket=locked.bucket,
                Key=pack,
                Retention={
                    "Mode": "COMPLIANCE",
                    "RetainUntilDate": datetime.now(UTC) + timedelta(days=2),
                },
                BypassGovernanceRetention=True,
            )
        outcomes = [each.outcome for each in receipts(vault.put_many(some(2)))]

    assert outcomes == [Stored.PRESENT, Stored.STORED]


def test_a_lock_costs_one_request_a_pack(locked: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one at opening; none where no lock is wanted."""
    calls: list[str] = []
    sign = obstore.sign

    def counting(*args: Any) -> Any:
        calls.append(args[1])
        return sign(*args)

    monkeypatch.setattr(obstore, "sign", counting)
    with locked.open(locked=True) as vault:
        assert calls == ["HEAD"]
        vault.put_many(some(3))
    with locked.open() as vault:
        vault.put_many(some(4))

    assert calls == ["HEAD"] * 2


def test_a_store_that_does_not_say_is_asked_again_later(
    locked: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no store without locks; and the signed address is in no error."""
    with locked.open(locked=True) as vault:
        with monkeypatch.context() as patch:
            patch.setattr(obstore, "sign", lambda *_: "http://127.0.0.1:1/signed-secret")
            with pytest.raises(SinkUnavailable, match="whether an object is locked") as caught:
                vault.put_many(some(1))
        assert "secret" not in repr(caught.value)
        assert caught.value.__cause__ is None
        assert len(receipts(vault.put_many(some(1)))) == 1


@pytest.mark.parametrize("code", [408, 429, 503])
def test_a_store_that_is_busy_is_not_one_without_locks(
    locked: Here, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """It is asked again, and what was stored meanwhile has its receipt then."""

    def busy(_: Any, asked: Any, **__: Any) -> Any:
        raise urllib.error.HTTPError(asked.full_url, code, "busy", Message(), None)

    with locked.open(locked=True) as vault:
        with monkeypatch.context() as patch:
            patch.setattr(urllib.request.OpenerDirector, "open", busy)
            with pytest.raises(SinkUnavailable, match="whether an object is locked"):
                vault.put_many(some(1))
        assert len(receipts(vault.put_many(some(1)))) == 1


class Answering(BaseHTTPRequestHandler):
    """Says that everything is locked, or points elsewhere; and notes what it is asked."""

    asked: list[str]
    elsewhere: str | None = None

    def do_HEAD(self) -> None:
        """Answer, and keep the signature to itself."""
        self.asked.append(f"{self.command} {self.path.partition('?')[0]}")
        self.send_response(200 if self.elsewhere is None else 307)
        if self.elsewhere is not None:
            self.send_header("Location", self.elsewhere)
        self.send_header("x-amz-object-lock-mode", "COMPLIANCE")
        self.end_headers()

    def do_GET(self) -> None:
        """Answer what urllib makes of a HEAD that it follows."""
        self.do_HEAD()

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def answering(elsewhere: str | None = None) -> Iterator[tuple[str, list[str]]]:
    """Serve on loopback; gives the address, and what was asked there."""
    asked: list[str] = []
    handler = type("Handler", (Answering,), {"asked": asked, "elsewhere": elsewhere})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def objects_at(address: str, proxy: str | None = None) -> Objects:
    """Return the objects of a store at an address, each of which must be locked."""
    options: ClientConfig = {"allow_http": True}
    if proxy is not None:
        options["proxy_url"] = proxy
    store = S3Store(
        "bucket",
        endpoint=address,
        region="us-east-1",
        access_key_id="a",
        secret_access_key="b",
        client_options=options,
    )
    return Objects(store, "", locked=True)


def test_no_other_host_is_asked_for_a_lock() -> None:
    """Whoever a store points at gets no signed address, and is not believed."""
    with (
        answering() as (other, there),
        answering(f"{other}/x") as (store, here),
        pytest.raises(SinkUnavailable, match="whether an object is locked"),
    ):
        objects_at(store).kept("x")

    assert (here, there) == (["HEAD /bucket/x"], [])


def test_a_lock_is_looked_for_through_the_proxy_of_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As everything else of it; one of the environment's is for a store that has none."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with answering() as (store, direct), answering() as (own, through), answering() as (env, by):
        monkeypatch.setenv("http_proxy", env)
        assert objects_at(store, own).kept("x")
        assert objects_at(store).kept("y")

    assert direct == []
    assert through == [f"HEAD {store}/bucket/x"]
    assert by == [f"HEAD {store}/bucket/y"]


def test_a_lock_that_may_not_be_seen_is_none(
    locked: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 tells of a retention only those who have the right to know it."""
    sign = obstore.sign

    def forged(*args: Any) -> str:
        return f"{sign(*args)}0"

    monkeypatch.setattr(obstore, "sign", forged)
    with pytest.raises(Unsupported, match="does not lock") as caught, locked.open(locked=True):
        pass

    assert any("GetObjectRetention" in each for each in caught.value.suggestions)


# -- many who create one object ------------------------------------------------------------------

_RACERS = 8
_ROUNDS = 4


def test_of_many_who_create_one_object_one_wins(seaweed: S3Server) -> None:
    """No lock of ours in between: each has a connection of its own, and all go at once."""
    bucket = seaweed.new_bucket()
    stores = [seaweed.store(bucket) for _ in range(_RACERS)]
    for number in range(_ROUNDS):
        answers = _race(stores, f"race/{number}")
        (winner,) = [racer for racer, lost in enumerate(answers) if lost is None]
        lost = Counter(type(each) for each in answers if each is not None)

        assert lost == {exceptions.AlreadyExistsError: _RACERS - 1}
        there = bytes(obstore.get(stores[0], f"race/{number}").bytes())
        assert there == _bytes_of(winner)
        with seaweed.client() as client:
            found = client.list_object_versions(Bucket=bucket, Prefix=f"race/{number}")
        assert len(found["Versions"]) == 1


def _race(stores: list[Any], name: str) -> list[BaseException | None]:
    """Let every store create the object; return what each got for it."""
    start = Barrier(len(stores))

    def create(racer: int) -> BaseException | None:
        start.wait()
        try:
            obstore.put(stores[racer], name, _bytes_of(racer), mode="create")
        except exceptions.BaseError as error:
            return error
        return None

    with ThreadPoolExecutor(len(stores)) as pool:
        return list(pool.map(create, range(len(stores))))


def _bytes_of(racer: int) -> bytes:
    return b"%d" % racer * 100_000


def test_of_many_who_create_one_pack_one_has_created_it(seaweed: S3Server) -> None:
    """What the vault asks, it is told: all others that there is one, with the winner's bytes."""
    bucket = seaweed.new_bucket()
    objects = [Objects(seaweed.store(bucket), "x") for _ in range(_RACERS)]
    start = Barrier(_RACERS)

    def create(racer: int) -> bool:
        start.wait()
        return objects[racer].create("pack", _bytes_of(racer))

    with ThreadPoolExecutor(_RACERS) as pool:
        created = list(pool.map(create, range(_RACERS)))

    assert sum(created) == 1
    won = objects[0].reading("pack")
    assert won is not None
    assert won.is_equal(_bytes_of(created.index(True)))
