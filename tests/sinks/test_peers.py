"""What people reach for first, held to the same laws: the kit says what is wrong with it."""

from __future__ import annotations

import mailbox
import sqlite3
from functools import partial
from typing import TYPE_CHECKING

import obstore
import pytest
from obstore.store import LocalStore
from typing_extensions import override

from mailarchive import Digest, Durability, Receipt, Sink, SinkCapabilities, Stored
from mailarchive.errors import SinkCorrupt
from mailarchive.testing import sink_laws as laws

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailarchive import ArchiveEntry


class Peer(Sink):
    """A sink over a store with keys, as one would write it in ten minutes."""

    def __init__(self, folder: Path) -> None:
        self.name = "peer"
        self.capabilities = SinkCapabilities(reads=True, durability=Durability.MEDIA)
        self.folder = folder

    def _load(self, key: str) -> bytes | None:
        """Return what is stored."""
        raise NotImplementedError

    def _store(self, key: str, raw: bytes) -> None:
        """Store something."""
        raise NotImplementedError

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        known = self._load(entry.id.hex)
        if known is None:
            self._store(entry.id.hex, entry.raw)
        return Receipt(
            self.name,
            entry.id,
            entry.raw_digest if known is None else Digest.of(known),
            entry.id.hex,
            Stored.STORED if known is None else Stored.PRESENT,
            Durability.MEDIA,
        )

    @override
    def _read(self, receipt: Receipt) -> bytes:
        found = self._load(receipt.entry_id.hex)
        if found is None:
            raise SinkCorrupt("not there", suggestions=["look elsewhere"])
        return found


class StandardMaildir(Peer):
    """`mailbox.Maildir`: syncs the file, and not the folder that has its name."""

    @override
    def _open(self) -> None:
        self.box = mailbox.Maildir(self.folder / "box")
        self.keys: dict[str, str] = {}

    @override
    def _load(self, key: str) -> bytes | None:
        return self.box.get_bytes(self.keys[key]) if key in self.keys else None

    @override
    def _store(self, key: str, raw: bytes) -> None:
        self.keys[key] = self.box.add(raw)


class StandardMbox(StandardMaildir):
    """`mailbox.mbox`: quotes lines `From `, and does not take it back."""

    @override
    def _open(self) -> None:
        self.box = mailbox.mbox(self.folder / "box")  # type: ignore[assignment]  # alike enough
        self.keys = {}

    @override
    def _close(self) -> None:
        self.box.close()

    @override
    def _store(self, key: str, raw: bytes) -> None:
        super()._store(key, raw)
        self.box.flush()


class LocalObjects(Peer):
    """obstore's store of local files: no sync at all."""

    @override
    def _open(self) -> None:
        self.objects = LocalStore(self.folder)

    @override
    def _load(self, key: str) -> bytes | None:
        try:
            return bytes(obstore.get(self.objects, key).bytes())
        except FileNotFoundError:
            return None

    @override
    def _store(self, key: str, raw: bytes) -> None:
        obstore.put(self.objects, key, raw, mode="create")


class QuickSqlite(Peer):
    """SQLite as it is often tuned: `synchronous = OFF`."""

    @override
    def _open(self) -> None:
        self.base = sqlite3.connect(self.folder / "base.db", isolation_level=None)
        self.base.execute("PRAGMA synchronous = OFF")
        self.base.execute("CREATE TABLE IF NOT EXISTS mail (key TEXT PRIMARY KEY, raw BLOB)")

    @override
    def _close(self) -> None:
        self.base.close()

    @override
    def _load(self, key: str) -> bytes | None:
        row = self.base.execute("SELECT raw FROM mail WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    @override
    def _store(self, key: str, raw: bytes) -> None:
        self.base.execute("INSERT INTO mail VALUES (?, ?)", (key, raw))


class WalSqlite(QuickSqlite):
    """SQLite with a write-ahead log, as its documentation recommends it: not durable."""

    @override
    def _open(self) -> None:
        super()._open()
        self.base.execute("PRAGMA journal_mode = WAL")
        self.base.execute("PRAGMA synchronous = NORMAL")


@pytest.mark.parametrize(
    ("peer", "law", "fault"),
    [
        (StandardMaildir, laws.acknowledged_means_on_the_medium, "synced to the medium"),
        (StandardMaildir, laws.an_entry_is_stored_once, "a second time"),
        (StandardMbox, laws.every_byte_comes_back, "came back"),
        (LocalObjects, laws.acknowledged_means_on_the_medium, "synced to the medium"),
        (QuickSqlite, laws.acknowledged_means_on_the_medium, "synced to the medium"),
        (WalSqlite, laws.acknowledged_means_on_the_medium, "synced to the medium"),
    ],
)
def test_what_is_wrong_with_a_common_store_is_named(
    peer: Callable[[Path], Sink],
    law: laws.Law,
    fault: str,
    tmp_path: Path,
) -> None:
    """None of them keeps what its receipts would have to say."""
    with pytest.raises(AssertionError) as caught:
        law(laws.Spawned(partial(peer, tmp_path)))  # obstore cannot be used in a fork

    assert fault in str(caught.value)
