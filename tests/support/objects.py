"""Object vaults on servers that are running."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from obstore.store import MemoryStore

from mailarchive import Receipt
from mailarchive.testing.entries import entry, mail
from mailarchive.testing.s3_server import S3Server
from mailarchive.vault._object_store import Objects, Reading
from mailarchive.vault.objects import ObjectVault

if TYPE_CHECKING:
    from mailarchive.testing.postgres import Postgres


def object_vault(port: int, bucket: str, database: str, **settings: Any) -> ObjectVault:
    """Return a vault in a bucket of the server at a port; a partial of it can be pickled."""
    return ObjectVault(S3Server(port).store(bucket), database, **settings)


class Here:
    """A vault's bucket and database, to be opened again and again."""

    def __init__(self, server: S3Server, index: Postgres, bucket: str | None = None) -> None:
        self.server = server
        self.index = index
        self.bucket = bucket or server.new_bucket()
        self.database = index.new_database()

    def open(self, **settings: Any) -> ObjectVault:
        """Return the vault, not yet opened."""
        return object_vault(self.server.port, self.bucket, self.database, **settings)

    def packs(self) -> dict[str, bytes]:
        """Return what is in the bucket under the packs."""
        with self.server.client() as client:
            found = client.list_objects_v2(Bucket=self.bucket, Prefix="volumes/")
        return {each["Key"]: self.get(each["Key"]) for each in found.get("Contents", [])}

    def get(self, key: str) -> bytes:
        """Return an object."""
        with self.server.client() as client:
            body: bytes = client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return body

    def replace(self, key: str, data: bytes) -> None:
        """Put something else in the place of an object, as somebody with the key might."""
        with self.server.client() as client:
            client.put_object(Bucket=self.bucket, Key=key, Body=data)

    def delete(self, key: str, **which: str) -> None:
        """Take an object away, or a version of it."""
        with self.server.client() as client:
            client.delete_object(Bucket=self.bucket, Key=key, **which)


def reading(data: bytes) -> Reading:
    """Return these bytes as an object on its way."""
    objects = Objects(MemoryStore(), "")
    objects.create("x", data)
    found = objects.reading("x")
    assert found is not None
    return found


def receipts(answers: Any) -> list[Receipt]:
    """Return the answers, all receipts."""
    found = [answer for answer in answers if isinstance(answer, Receipt)]
    assert len(found) == len(list(answers))
    return found


def some(count: int, *, start: int = 0) -> list[Any]:
    """Return so many entries."""
    return [entry(mail(n), key=str(n)) for n in range(start, start + count)]


def name_of(here: Here) -> str:
    """Return the name of a vault's database."""
    return here.database.rpartition("=")[2]
