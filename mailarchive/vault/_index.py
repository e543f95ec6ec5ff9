"""The index: where everything is, derived from the manifests and from nothing else.

Batches are applied in the order in which they were committed, live and after a crash and
in a rebuild alike, so that the same packs always give the same index.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import frozen

from mailarchive._model import Digest
from mailarchive._sqlite import made
from mailarchive.errors import SinkCorrupt, SinkError
from mailarchive.vault import _derived, _schema
from mailarchive.vault._apply import Applying
from mailarchive.vault._errors import MEND_INDEX, Damage, sqlite_errors, translated
from mailarchive.vault._manifest import BAD_JSON, PLAIN, StoredObject
from mailarchive.vault._volumes import FIRST

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Iterator
    from pathlib import Path
    from typing import Any

    from mailarchive.vault._database import Database
    from mailarchive.vault._disk import Disk
    from mailarchive.vault._manifest import Manifest

_PATIENCE = 60.0
"""Seconds to wait for another program that has the index."""
_STATEMENTS = 512
_CACHE_KIB = 8 << 10
_WAL_PAGES = 8 << 10


@frozen
class PackRow:
    """Where a pack is, how far it counts, and whether it is never written again.

    `owed` says that it was poisoned, and that no manifest says so yet.
    """

    name: str
    upto: int = 0
    sealed: bool = False
    owed: bool = False
    volume: str = FIRST


@frozen
class Found:
    """Bytes that are there: what they unpack to, and where that is stored.

    `id` is what was asked for: of an entry, or of the bytes themselves.  `raw` is the
    digest of the bytes, where `stored` may have another name for it.
    """

    id: Digest
    stored: StoredObject
    pack: str
    verified: bool
    raw: Digest
    volume: str = FIRST


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
        self.suite: str = PLAIN

    def name(self, digest: Digest) -> Digest:
        """Return what the vault calls an entry, or bytes, with this digest: just that."""
        return digest

    def _raw(self, name: Digest) -> Digest:
        """The digest of bytes that the vault calls so."""
        return name

    @classmethod
    def temporary(cls, vault: str, disk: Disk) -> Index:
        """Return an empty index that is nowhere but here, and is gone when closed."""
        with sqlite_errors("making an index for this process"):
            scratch = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            with made(scratch) as connection:
                _schema.create(connection, vault)
        return cls(connection, vault, disk)

    @classmethod
    def open(cls, file: Database, vault: str, disk: Disk) -> Index:
        """Open the index for reading and writing; it may be empty, see `usable`."""
        with sqlite_errors("opening it"):
            found = file.connect(
                check_same_thread=False, timeout=_PATIENCE, cached_statements=_STATEMENTS
            )
            with made(found) as connection:
                connection.execute("PRAGMA trusted_schema = OFF")
                # The manifests are the commit point: an index that falls back catches up.
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
                # Digests fall on pages at random: one that is written back less often was
                # changed more often by then.
                connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
                ((mode,),) = connection.execute("PRAGMA journal_mode = WAL").fetchall()
        if mode != "wal":
            connection.close()
            raise SinkError(
                "the index could not be opened with a write-ahead log",
                suggestions=["end other programs that use index.db, and check the disk"],
            )
        return cls(connection, vault, disk)

    @classmethod
    def open_read_only(cls, path: Path, vault: str, disk: Disk) -> Index:
        """Open the index for reading alone, also where nothing beside it may be written.

        SQLite reads a database in WAL mode with two files beside it.  Where they are not
        there, and cannot be made, nobody has it open and nothing waits in them.
        """
        beside = [path.with_name(name) for name in _derived.parts(path.name)[1:]]
        alone = not any(each.exists() for each in beside) and not os.access(path.parent, os.W_OK)
        with sqlite_errors("opening it"):
            found = sqlite3.connect(
                f"{path.absolute().as_uri()}?{'immutable=1' if alone else 'mode=ro'}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=_PATIENCE,
            )
            with made(found) as connection:
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
                suggestions=[MEND_INDEX],
            )
        return True

    def rows(self, query: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        try:
            with self._lock:
                return self._db.execute(query, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise translated(error, "reading it") from error

    def attach(self, file: Database, name: str) -> None:
        """Have another database asked too, under a name; raises `SinkCorrupt` for a link."""
        self.rows(f"ATTACH ? AS {name}", (str(file.path.absolute()),))
        try:
            file.refuse_other(self._db, name)
        except BaseException:
            self.rows(f"DETACH {name}")
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do everything in the block, or nothing of it; holds the index meanwhile."""
        with self._lock, sqlite_errors("writing to it"):
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
        return self._packs("WHERE sealed = 0" if unsealed else "")

    def poisoned(self) -> list[PackRow]:
        """Return the packs that were poisoned, and of which no manifest says so yet."""
        return self._packs("WHERE owed")

    def pack(self, name: str) -> PackRow | None:
        """Return what the index knows of a pack."""
        rows = self._packs("WHERE name = ?", name)
        return rows[0] if rows else None

    def _packs(self, where: str, *values: str) -> list[PackRow]:
        rows = self.rows(
            "SELECT name, upto, sealed, owed, volume"  # noqa: S608 - only constants
            f" FROM pack {where} ORDER BY name",
            values,
        )
        return [
            PackRow(name, upto, bool(sealed), bool(owed), volume)
            for name, upto, sealed, owed, volume in rows
        ]

    def newest_volume(self) -> tuple[str, int]:
        """Return the volume that packs are added to, and roughly how many bytes it has."""
        rows = self.rows(
            "SELECT volume, sum(upto) FROM pack GROUP BY volume"
            " ORDER BY CAST(volume AS INTEGER) DESC LIMIT 1"
        )
        return (rows[0][0], rows[0][1]) if rows else (FIRST, 0)

    def snapshot(self) -> None:
        """Read from here on only what is committed now."""
        self.rows("BEGIN")
        self.rows("SELECT count(*) FROM sqlite_master")

    def stream(self, query: str) -> Generator[tuple[Any, ...]]:
        """Yield what a query finds, in little memory; for an index of one's own."""
        with sqlite_errors("reading it"):
            yield from self._db.execute(query)

    def last(self) -> tuple[int, Digest | None]:
        """Return number and digest of the newest batch."""
        rows = self.rows(
            "SELECT sequence, digest FROM batch ORDER BY sequence DESC, n DESC LIMIT 1"
        )
        return (rows[0][0], Digest(rows[0][1])) if rows else (0, None)

    def find(self, ids: Iterable[Digest]) -> dict[Digest, Found]:
        """Return those of the entries that are there, and whose bytes somebody knows of."""
        return self._found(_BY_ID, ids)

    def known(self, ids: Iterable[Digest]) -> dict[Digest, bool]:
        """Return those of the entries that are, or were, here, and whether each was erased."""
        asked = {self.name(digest).value: digest for digest in ids}
        query = "SELECT id, erased FROM entry WHERE id IN ({})"
        try:
            with self._lock:
                rows = _schema.among(self._db, query, asked)
        except sqlite3.Error as error:
            raise translated(error, "reading it") from error
        return {asked[id_]: bool(erased) for id_, erased in rows}

    def erased(self, ids: Iterable[Digest]) -> frozenset[Digest]:
        """Return those of the entries that were here, and were erased."""
        return frozenset(id_ for id_, erased in self.known(ids).items() if erased)

    def is_erased(self, line: Line) -> bool:
        """Whether the entry on a line was erased."""
        return bool(self.rows("SELECT 1 FROM entry WHERE n = ? AND erased", (line.n,)))

    def objects(self, raws: Iterable[Digest]) -> dict[Digest, Found]:
        """Return where the bytes with these digests are stored, as far as they are."""
        return self._found(_BY_RAW, raws)

    def _found(self, query: str, digests: Iterable[Digest]) -> dict[Digest, Found]:
        asked = {self.name(digest).value: digest for digest in digests}
        try:
            with self._lock:
                rows = _schema.among(self._db, query, asked)
        except sqlite3.Error as error:
            raise translated(error, "reading it") from error
        found: dict[Digest, Found] = {}
        for of, stored, stored_size, raw, size, offset, pack, volume, verified in rows:
            name = Digest(raw)
            where = StoredObject(Digest(stored), stored_size, name, size, offset, self.suite)
            found[asked[of]] = Found(
                asked[of], where, pack, bool(verified), self._raw(name), volume
            )
        return found

    def numbers(self, manifests: Iterable[Digest]) -> dict[Digest, int]:
        """Return the numbers of those of the manifests that are in the index."""
        asked = [digest.value for digest in manifests]
        query = "SELECT digest, sequence FROM batch WHERE digest IN ({})"
        with self._lock, sqlite_errors("reading it"):
            rows = _schema.among(self._db, query, asked)
        return {Digest(digest): number for digest, number in rows}

    def knows(self, manifest: Digest) -> bool:
        """Whether a manifest is in the index."""
        return bool(self.rows("SELECT 1 FROM batch WHERE digest = ?", (manifest.value,)))

    def batches(self, after: int, upto: int | None = None) -> list[Line]:
        """Return where the manifests with these numbers are, in the order of the batches."""
        rows = self.rows(
            "SELECT b.n, b.digest, p.name, b.offset FROM batch b JOIN pack p ON p.n = b.pack"
            " WHERE b.sequence > ? AND b.sequence <= coalesce(?, b.sequence)"
            " ORDER BY b.sequence, b.n",
            (after, upto),
        )
        return [Line(n, Digest(digest), pack, at, 0) for n, digest, pack, at in rows]

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
        _schema.create(self._db, self._vault)

    def doubt(self) -> None:
        """Have it made anew when the vault is opened the next time: something was missing."""
        self._db.execute("PRAGMA user_version = 0")

    def register(self, pack: str, volume: str) -> None:
        """Take note of a pack before it exists, so that it is looked for after a crash."""
        self._db.execute(
            "INSERT OR IGNORE INTO pack (name, volume, upto, sealed, owed) VALUES (?, ?, 0, 0, 0)",
            (pack, volume),
        )

    def seal(self, pack: str, *, owed: bool = False) -> None:
        """Take note that a pack is never written again.

        With `owed` it was poisoned, and a manifest has yet to say so.
        """
        self.register(pack, FIRST)
        self._db.execute("UPDATE pack SET sealed = 1, owed = ? WHERE name = ?", (owed, pack))

    def apply(self, manifest: Manifest, *, verified: bool, lost: Collection[Digest] = ()) -> None:
        """Take in a batch; one that is there already changes nothing.

        `verified` says that its bytes were read from the medium; objects in `lost` are
        damaged, and so are not there.  Raises `Damage` where its rows contradict one another
        or those that are there: no batch of ours does, and the transaction is to be undone.
        """
        if self.knows(manifest.digest):
            return
        head = manifest.head
        self.register(head.pack, head.volume)
        self._db.execute(
            "UPDATE pack SET upto = max(upto, ?), volume = ? WHERE name = ?",
            (manifest.end, head.volume, head.pack),
        )
        try:
            Applying(self._db, self._vault).batch(manifest, verified=verified, lost=lost)
        except _CONTRADICTS as error:
            words = "a batch that contradicts itself, or what is there"
            raise Damage.at(head.pack, manifest.offset, "manifest", words) from error
        for pack in manifest.poisoned():
            self.seal(pack)

    def adopt(self, manifest: Manifest, *, verified: bool, lost: Collection[Digest] = ()) -> bool:
        """Take in a batch that anybody may have written; `False` where nothing of it can be."""
        self._db.execute("SAVEPOINT batch")
        try:
            self.apply(manifest, verified=verified, lost=lost)
        except Damage:
            self._db.execute("ROLLBACK TO batch")
            return False
        finally:
            if self._db.in_transaction:
                self._db.execute("RELEASE batch")
        return True


_CONTRADICTS = (*BAD_JSON, OverflowError, sqlite3.IntegrityError, sqlite3.InterfaceError)
_STORED = (
    "SELECT {0}, o.stored, o.stored_size, o.raw, o.size, o.offset, p.name, p.volume, b.verified"
    " FROM {1} JOIN batch b ON b.n = o.batch JOIN pack p ON p.n = b.pack WHERE {0} IN ({{}})"
)
_BY_ID = _STORED.format("e.id", "entry e JOIN object o ON o.raw = e.raw AND NOT e.erased")
_BY_RAW = _STORED.format("o.raw", "object o")
