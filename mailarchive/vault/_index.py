"""The index: where everything is, derived from the manifests and from nothing else.

Batches are applied in the order in which they were committed, live and after a crash and
in a rebuild alike, so that the same packs always give the same index.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import frozen

from mailarchive._model import Digest
from mailarchive.errors import SinkCorrupt, SinkError
from mailarchive.vault import _knowledge, _record, _schema
from mailarchive.vault._errors import sqlite_errors
from mailarchive.vault._manifest import POISONED, Fact, StoredObject, poison
from mailarchive.vault._record import StoredOriginal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path
    from typing import Any

    from mailarchive._model import Owner, UserId
    from mailarchive.vault._disk import Disk
    from mailarchive.vault._manifest import Manifest
    from mailarchive.vault._record import Record

_PATIENCE = 60.0
"""Seconds to wait for another program that has the index."""


def user_bytes(user: str) -> bytes:
    """Return a user's id as the index keeps it: any text at all, and never a name of anything."""
    return user.encode("utf-8", "surrogatepass")


def view_key(vault: str, user: str, fork: Digest) -> str:
    """Return the key of a message in one user's view, which means nothing in another's."""
    parts = (b"mailarchive/view/1", vault.encode("ascii"), user_bytes(user), fork.value)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return base64.urlsafe_b64encode(digest.digest()[:24]).decode("ascii")


@frozen
class PackRow:
    """How far a pack counts, and whether it is never written again."""

    name: str
    upto: int
    sealed: bool


@frozen
class Found:
    """An entry that is there: what it unpacks to, and where that is stored."""

    id: Digest
    stored: StoredObject
    pack: str
    verified: bool


@frozen
class Line:
    """Where a line of a manifest is: the manifest's digest, its pack, and the line in it."""

    n: int
    batch: Digest
    pack: str
    offset: int
    line: int


class Index:
    """A connection to the index; may be shared by threads.

    Every method raises only errors of this library.
    """

    def __init__(self, connection: sqlite3.Connection, vault: str, disk: Disk) -> None:
        """Use an open connection to the index of the vault with this id."""
        self._db = connection
        self._vault = vault
        self._disk = disk
        self._lock = threading.RLock()
        self._users: dict[str, int] = {}

    @classmethod
    def temporary(cls, vault: str, disk: Disk) -> Index:
        """Return an empty index that is nowhere but here, and is gone when closed."""
        with sqlite_errors("making an index for this process"):
            connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            _schema.create(connection, vault)
        return cls(connection, vault, disk)

    @classmethod
    def open(cls, path: Path, vault: str, disk: Disk) -> Index:
        """Open the index for reading and writing; it may be empty, see `usable`."""
        with sqlite_errors("opening it"):
            connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=_PATIENCE
            )
            try:
                connection.execute("PRAGMA trusted_schema = OFF")
                # The manifests are the commit point: an index that falls back catches up.
                connection.execute("PRAGMA synchronous = NORMAL")
                ((mode,),) = connection.execute("PRAGMA journal_mode = WAL").fetchall()
            except BaseException:
                connection.close()
                raise
        if mode != "wal":
            connection.close()
            raise SinkError(
                "the index could not be opened with a write-ahead log",
                suggestions=["end other programs that use index.db, and check the disk"],
            )
        return cls(connection, vault, disk)

    @classmethod
    def open_read_only(cls, path: Path, vault: str, disk: Disk) -> Index:
        """Open the index for reading alone."""
        with sqlite_errors("opening it"):
            connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=_PATIENCE,
            )
            connection.execute("PRAGMA trusted_schema = OFF")
        return cls(connection, vault, disk)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    def usable(self) -> bool:
        """Whether the index is of this version and not empty.

        Raises `SinkCorrupt` where it is of another vault, or its tables are not ours.
        """
        ((version,),) = self.rows("PRAGMA user_version")
        if version != _schema.VERSION:
            return False
        with self._lock, sqlite_errors("checking its tables"):
            ours = _schema.is_ours(self._db)
        if not ours or self.rows("SELECT vault FROM about") != [(self._vault,)]:
            raise SinkCorrupt(
                "the index is not the one of this vault",
                suggestions=[
                    "move index.db away and open the vault again: it is rebuilt from the packs"
                ],
            )
        return True

    def rows(self, query: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        with self._lock, sqlite_errors("reading it"):
            return self._db.execute(query, tuple(values)).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do everything in the block, or nothing of it; holds the index meanwhile."""
        with self._lock, sqlite_errors("writing to it"):
            self._users.clear()
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._disk.commit(self._db)
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    # -- what is there --------------------------------------------------------------------

    def packs(self, *, unsealed: bool = False) -> list[PackRow]:
        """Return the packs that the index knows."""
        where = " WHERE sealed = 0" if unsealed else ""
        rows = self.rows(f"SELECT name, upto, sealed FROM pack{where} ORDER BY name")  # noqa: S608 - only constants
        return [PackRow(name, upto, bool(sealed)) for name, upto, sealed in rows]

    def pack(self, name: str) -> PackRow | None:
        """Return what the index knows of a pack."""
        rows = self.rows("SELECT name, upto, sealed FROM pack WHERE name = ?", (name,))
        return PackRow(rows[0][0], rows[0][1], bool(rows[0][2])) if rows else None

    def snapshot(self) -> None:
        """Read from here on only what is committed now."""
        self.rows("BEGIN")
        self.rows("SELECT count(*) FROM sqlite_master")

    def stream(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Yield what a query finds, in little memory; for an index of one's own."""
        with sqlite_errors("reading it"):
            yield from self._db.execute(query)

    def last(self) -> tuple[int, Digest | None]:
        """Return number and digest of the newest batch."""
        rows = self.rows(
            "SELECT sequence, digest FROM batch ORDER BY sequence DESC, n DESC LIMIT 1"
        )
        return (rows[0][0], Digest(rows[0][1])) if rows else (0, None)

    def find(self, entry_id: Digest) -> Found | None:
        """Return the entry with this id, unless nobody knows where its bytes are."""
        return self._found(_BY_ID, entry_id)

    def object(self, raw: Digest) -> Found | None:
        """Return where the bytes with this digest are stored."""
        return self._found(_BY_RAW, raw)

    def _found(self, query: str, digest: Digest) -> Found | None:
        rows = self.rows(query, (digest.value,))
        if not rows:
            return None
        stored, stored_size, raw, size, offset, pack, verified = rows[0]
        where = StoredObject(Digest(stored), stored_size, Digest(raw), size, offset)
        return Found(digest, where, pack, bool(verified))

    def knows(self, manifest: Digest) -> bool:
        """Whether a manifest is in the index."""
        return bool(self.rows("SELECT 1 FROM batch WHERE digest = ?", (manifest.value,)))

    def lines(self, condition: str, values: Iterable[Any], *, table: str = "entry") -> list[Line]:
        """Return where lines of entries or facts are; `condition` is on the table `t`."""
        rows = self.rows(
            "SELECT t.n, b.digest, p.name, b.offset, t.line"  # noqa: S608 - only constants
            f" FROM {table} t JOIN batch b ON b.n = t.batch JOIN pack p ON p.n = b.pack"
            f" WHERE {condition}",
            values,
        )
        return [Line(n, Digest(digest), pack, at, line) for n, digest, pack, at, line in rows]

    # -- what is new; inside a transaction ------------------------------------------------

    def reset(self) -> None:
        """Forget everything."""
        self._users.clear()
        _schema.create(self._db, self._vault)

    def register(self, pack: str) -> None:
        """Take note of a pack before it exists, so that it is looked for after a crash."""
        self._db.execute(
            "INSERT OR IGNORE INTO pack (name, upto, sealed) VALUES (?, 0, 0)", (pack,)
        )

    def seal(self, pack: str, upto: int | None = None) -> None:
        """Take note that a pack is never written again, and counts no further than `upto`."""
        self.register(pack)
        self._db.execute(
            "UPDATE pack SET sealed = 1, upto = min(upto, coalesce(?, upto)) WHERE name = ?",
            (upto, pack),
        )

    def apply(self, manifest: Manifest, *, verified: bool, lost: Collection[Digest] = ()) -> None:
        """Take in a batch; one that is there already changes nothing.

        `verified` says that its bytes were read from the medium; objects in `lost` are
        damaged, and so are not there.
        """
        head = manifest.head
        if self.knows(manifest.digest):
            return
        self.register(head.pack)
        self._db.execute(
            "UPDATE pack SET upto = max(upto, ?) WHERE name = ?", (manifest.end, head.pack)
        )
        batch = self._insert(
            "INSERT INTO batch (sequence, digest, pack, offset, verified)"
            " SELECT ?, ?, n, ?, ? FROM pack WHERE name = ?",
            (head.sequence, manifest.digest.value, manifest.offset, verified, head.pack),
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO object (raw, size, stored, stored_size, batch, offset)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [
                (
                    each.raw.value,
                    each.size,
                    each.stored.value,
                    each.stored_size,
                    batch,
                    each.offset,
                )
                for each in manifest.objects
                if each.stored not in lost
            ],
        )
        archived = _knowledge.moment(head.at)
        for line, content in manifest.contents:
            if isinstance(content, Fact):
                self._apply_fact(content, batch, line)
            else:
                self._apply_entry(content, batch, line, archived)

    def _insert(self, statement: str, values: Iterable[Any]) -> int:
        row = self._db.execute(statement, tuple(values)).lastrowid
        assert row is not None
        return row

    def _apply_fact(self, fact: Fact, batch: int, line: int) -> None:
        self._insert(
            "INSERT INTO fact (kind, batch, line) VALUES (?, ?, ?)",
            (user_bytes(fact.kind).decode("utf-8", "replace"), batch, line),
        )
        if fact.kind == POISONED:
            self.seal(*poison(fact))

    def _apply_entry(self, record: Record, batch: int, line: int, archived: int) -> None:
        if self.rows("SELECT 1 FROM entry WHERE id = ?", (record.id.value,)):
            return
        again = bool(self.rows("SELECT 1 FROM entry WHERE raw = ? LIMIT 1", (record.raw.value,)))
        n = self._insert_entry(record, batch, line)
        parts = [each for each in record.originals if isinstance(each, StoredOriginal)]
        self._db.executemany(
            "INSERT INTO part (entry, raw) VALUES (?, ?)",
            [(n, each.digest.value) for each in parts],
        )
        at = _knowledge.sorting_time(record, archived)
        for owner in record.ownership.owners:
            user = self._user(owner.user)
            head = self._same_bytes(user, record.raw) if again else None
            copy = head is None
            if head is None:
                head = self._message(
                    user, view_key(self._vault, owner.user, record.fork_key), at, n
                )
            self._insert_owner(record, owner, (user, head, n, copy))

    def _insert_entry(self, record: Record, batch: int, line: int) -> int:
        envelope = record.envelope
        visible = _knowledge.recipients_for(envelope, record.shown, (), sender=False)
        hidden = [
            recipient.address
            for recipient, role in zip(envelope.recipients, record.shown, strict=True)
            if role is None
        ]
        shown = [*envelope.senders, *(each.address for each in visible)]
        return self._insert(
            "INSERT INTO entry (id, raw, batch, line, owners, sender, behalf, folder,"
            " summary, shown, hidden) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record.id.value,
                record.raw.value,
                batch,
                line,
                len(record.ownership.owners),
                envelope.sender and user_bytes(envelope.sender.normal),
                envelope.on_behalf_of and user_bytes(envelope.on_behalf_of.normal),
                user_bytes(record.folder.name),
                json.dumps(_record.dump_summary(record), separators=(",", ":")),
                _knowledge.searchable([envelope.subject, *_knowledge.spelled(shown)]),
                _knowledge.searchable(_knowledge.spelled(hidden)),
            ),
        )

    def _insert_owner(
        self, record: Record, owner: Owner, place: tuple[int, int, int, bool]
    ) -> None:
        own = _knowledge.own_lines(record.envelope, owner)
        mine = (record.envelope.recipients[n].address for n in own if record.shown[n] is None)
        self._db.execute(
            "INSERT INTO owner VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *place,
                record.is_sender(owner),
                _knowledge.folder_is_known(record),
                json.dumps(own),
                _knowledge.searchable(_knowledge.spelled(mine)),
            ),
        )

    def _user(self, user: UserId) -> int:
        known = self._users.get(user)
        if known is None:
            name = (user_bytes(user),)
            rows = self.rows("SELECT n FROM user WHERE id = ?", name)
            known = rows[0][0] if rows else self._insert("INSERT INTO user (id) VALUES (?)", name)
            self._users[user] = known
        return known

    def _same_bytes(self, user: int, raw: Digest) -> int | None:
        """The message behind which the user already has these bytes."""
        rows = self.rows(
            "SELECT o.head FROM entry e JOIN owner o ON o.entry = e.n AND o.user = ?"
            " WHERE e.raw = ? LIMIT 1",
            (user, raw.value),
        )
        return rows[0][0] if rows else None

    def _message(self, user: int, key: str, at: int, n: int) -> int:
        """The message that this copy belongs to; a new one where it is the first."""
        rows = self.rows("SELECT at, head FROM message WHERE user = ? AND key = ?", (user, key))
        if not rows:
            self._db.execute("INSERT INTO message VALUES (?, ?, ?, ?, 1)", (user, at, n, key))
            return n
        self._db.execute(
            "UPDATE message SET copies = copies + 1 WHERE user = ? AND at = ? AND head = ?",
            (user, *rows[0]),
        )
        head: int = rows[0][1]
        return head


_STORED = (
    "SELECT o.stored, o.stored_size, o.raw, o.size, o.offset, p.name, b.verified"
    " FROM {} JOIN batch b ON b.n = o.batch JOIN pack p ON p.n = b.pack WHERE {} = ?"
)
_BY_ID = _STORED.format("entry e JOIN object o ON o.raw = e.raw", "e.id")
_BY_RAW = _STORED.format("object o", "o.raw")
