"""`keys/keys.db`: the keys of an encrypted vault, wrapped.

Outside of the packs, since a key that is deleted here makes what it opened unreadable
wherever its bytes have got to.  Deleted rows are overwritten.  A key is durable before
anything is stored that needs it; one that nothing needs does no harm.
"""

from __future__ import annotations

import hmac
import os
import sqlite3
import stat
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive import _crypt
from mailarchive._model import Digest, UserId, one_spelling
from mailarchive.errors import KeyUnavailable
from mailarchive.vault import _schema
from mailarchive.vault._apply import user_bytes
from mailarchive.vault._errors import keys_damaged, keys_missing, translated, wrong_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path
    from typing import Any

    from mailarchive.vault._disk import Disk
    from mailarchive.vault.keys import KeyProvider

_VERSION = 1
_PATIENCE = 60.0
_ARCHIVE = b""
"""The tag of the vault's own key."""
_CHECK = b"mailarchive/check/1"
_TABLES = (
    "CREATE TABLE about (vault TEXT NOT NULL, proof BLOB NOT NULL)",
    "CREATE TABLE owner (tag BLOB PRIMARY KEY, wrapped BLOB NOT NULL) WITHOUT ROWID",
    # The key of an entry, once for each owner; `entry` is what the index calls the entry.
    """CREATE TABLE wrap (
        key BLOB NOT NULL, owner BLOB NOT NULL, entry BLOB NOT NULL, wrapped BLOB NOT NULL,
        PRIMARY KEY (key, owner)) WITHOUT ROWID""",
    "CREATE INDEX wrap_entry ON wrap (entry)",
)


@frozen
class EntryKey:
    """The key that opens one entry: its name on the entry's line, and what it is."""

    name: bytes
    entry: Digest
    secret: bytes = field(repr=False)

    @classmethod
    def new(cls, entry: Digest) -> EntryKey:
        """Return a new key for an entry, which is called so in the index."""
        return cls(os.urandom(16), entry, _crypt.new_key())


@frozen
class Wrapping:
    """Who is to have the key of an entry, beside the vault itself."""

    key: EntryKey
    owners: tuple[UserId, ...] = field(repr=False)


class Keyring:
    """The keys of one open vault; may be shared by threads."""

    def __init__(
        self, db: sqlite3.Connection, vault: str, provider: KeyProvider, disk: Disk
    ) -> None:
        """Use an open `keys.db`; `open` is the way to one."""
        self._db = db
        self._vault = vault.encode("ascii")
        self._provider = provider
        self._disk = disk
        self._lock = threading.RLock()
        self._owners: dict[bytes, bytes] = {}
        self._name_key = self._tag_key = b""
        self.fact_key: bytes = b""

    @classmethod
    def open(
        cls,
        path: Path,
        parts: tuple[str, KeyProvider, Disk],
        *,
        read_only: bool,
        new: bool,
    ) -> Keyring:
        """Open the keys of a vault, given its id, and compare them with the provider's.

        `new` says that nothing was ever stored, so that an empty file is none that was lost.
        Raises `KeyUnavailable` where they are missing, damaged, of another vault or of
        another provider.
        """
        _refuse_links(path)
        with key_errors("opening it"):
            db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=_PATIENCE,
            )
        ring = cls(db, *parts)
        try:
            ring._begin(new=new and not read_only)
        except BaseException:
            ring.close()
            raise
        return ring

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    def _begin(self, *, new: bool) -> None:
        with key_errors("opening it"):
            self._db.execute("PRAGMA trusted_schema = OFF")
            self._db.execute("PRAGMA temp_store = MEMORY")
            self._db.execute("PRAGMA secure_delete = ON").fetchall()
            self._db.execute("PRAGMA synchronous = EXTRA")
            ((version,),) = self._db.execute("PRAGMA user_version").fetchall()
            tables = self._db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")
            found = sorted(sql for (sql,) in tables)
            if version == 0 and not found and new:
                self._create()
            elif version != _VERSION or found != sorted(_TABLES):
                raise keys_damaged()
            ((sound, *_),) = self._db.execute("PRAGMA quick_check(1)").fetchall()
            about = self._db.execute("SELECT vault, proof FROM about").fetchall()
        if sound != "ok" or len(about) != 1:
            raise keys_damaged()
        self._check(*about[0])

    def _create(self) -> None:
        """Make the tables and the vault's own key."""
        key = _crypt.new_key()
        proof = hmac.digest(_crypt.derive(key, _CHECK), self._vault, "sha256")
        with self._transaction():
            for statement in _TABLES:
                self._db.execute(statement)
            self._db.execute("INSERT INTO about VALUES (?, ?)", (self._vault.decode(), proof))
            wrapped = self._wrapped(None, key)
            self._db.execute("INSERT INTO owner VALUES (?, ?)", (_ARCHIVE, wrapped))
            self._db.execute(f"PRAGMA user_version = {_VERSION}")

    def _check(self, vault: str, proof: bytes) -> None:
        if vault != self._vault.decode():
            raise wrong_keys("keys.db belongs to another vault")
        key = self._owner_key(_ARCHIVE, None)
        if key is None:
            raise keys_damaged()
        expected = hmac.digest(_crypt.derive(key, _CHECK), self._vault, "sha256")
        if not hmac.compare_digest(expected, proof):
            raise wrong_keys("the key provider gives another key than this vault was made with")
        self._name_key = _crypt.derive(key, b"mailarchive/names/1")
        self._tag_key = _crypt.derive(key, b"mailarchive/owners/1")
        self.fact_key = _crypt.derive(key, b"mailarchive/facts/1")

    # -- names ----------------------------------------------------------------------------

    def name(self, digest: Digest) -> Digest:
        """Return what a digest is called where everybody can read it."""
        return Digest(hmac.digest(self._name_key, digest.value, "sha256"))

    def _tag(self, owner: UserId | None) -> bytes:
        if owner is None:
            return _ARCHIVE
        return hmac.digest(self._tag_key, user_bytes(owner), "sha256")

    # -- the keys of entries --------------------------------------------------------------

    def add(self, wrappings: Iterable[Wrapping]) -> None:
        """Keep the keys of entries for their owners and for the vault, durably."""
        with key_errors("keeping new keys"), self._transaction():
            for each in wrappings:
                for owner in (None, *each.owners):
                    self._add(each.key, owner)

    def _add(self, key: EntryKey, owner: UserId | None) -> None:
        tag = self._tag(owner)
        secret = self._owner_key(tag, owner) or self._new_owner(tag, owner)
        wrapped = _crypt.encrypt(secret, key.secret, self._about(key.name, tag, key.entry))
        self._db.execute(
            "INSERT OR REPLACE INTO wrap VALUES (?, ?, ?, ?)",
            (key.name, tag, key.entry.value, wrapped),
        )

    def _about(self, name: bytes, tag: bytes, entry: Digest) -> bytes:
        return _crypt.about(b"mailarchive/wrap/1", self._vault, name, tag, entry.value)

    def get(self, name: bytes, entry: Digest, owner: UserId | None = None) -> EntryKey | None:
        """Return the key of an entry as its owner, or the vault, has it; `None` without one."""
        return self.several({name: entry}, owner).get(name)

    def several(
        self, asked: dict[bytes, Digest], owner: UserId | None = None
    ) -> dict[bytes, EntryKey]:
        """Return the keys with these names, each of that entry, as far as they open."""
        tag = self._tag(owner)
        with self._lock, key_errors("reading it"):
            secret = self._owner_key(tag, owner) or b""
            mine = f"owner = x'{tag.hex()}'"
            query = f"SELECT key, wrapped FROM wrap WHERE {mine} AND key IN ({{}})"  # noqa: S608 - hexadecimal digits
            rows = _schema.among(self._db, query, asked)
        found: dict[bytes, EntryKey] = {}
        for name, wrapped in rows if secret else ():
            entry = asked[name]
            try:
                opened = _crypt.decrypt(secret, wrapped, self._about(name, tag, entry))
            except (ValueError, TypeError):
                continue  # swapped or damaged: then there is no key
            found[name] = EntryKey(name, entry, opened)
        return found

    def of(self, entries: Collection[bytes]) -> list[bytes]:
        """Return those of the entries, as the index calls them, that have a key."""
        with self._lock, key_errors("reading it"):
            query = "SELECT DISTINCT entry FROM wrap WHERE entry IN ({})"
            return [entry for (entry,) in _schema.among(self._db, query, entries)]

    def rows(self, names: Collection[bytes]) -> list[tuple[bytes, bytes]]:
        """Return of the keys with these names each one there is, with the entry it is said of."""
        with self._lock, key_errors("reading it"):
            query = "SELECT key, entry FROM wrap WHERE key IN ({})"
            return [(key, entry) for key, entry in _schema.among(self._db, query, names)]

    def destroy(self, entries: Iterable[bytes], names: Iterable[bytes]) -> None:
        """Delete, durably, every key of these entries and every one with these names.

        Entries are given as the index calls them.
        """
        gone = [(entry,) for entry in entries]
        if gone:
            with key_errors("destroying keys"), self._transaction():
                self._db.executemany("DELETE FROM wrap WHERE entry = ?", gone)
                self._db.executemany("DELETE FROM wrap WHERE key = ?", [(it,) for it in names])

    # -- the keys of owners ---------------------------------------------------------------

    def forget_owners(self) -> None:
        """Take the keys of owners from the file anew: it may be another one by now."""
        with self._lock:
            self._owners.clear()

    def without(self, owners: Iterable[UserId]) -> list[UserId]:
        """Return those of the owners who have no key yet."""
        with self._lock, key_errors("reading it"):
            tags = {self._tag(owner): owner for owner in owners}
            asked = [tag for tag in tags if tag not in self._owners]
            query = "SELECT tag FROM owner WHERE tag IN ({})"
            there = {tag for (tag,) in _schema.among(self._db, query, asked)}
        return [tags[tag] for tag in asked if tag not in there]

    def _owner_key(self, tag: bytes, owner: UserId | None) -> bytes | None:
        known = self._owners.get(tag)
        if known is None:
            rows = self._db.execute("SELECT wrapped FROM owner WHERE tag = ?", (tag,)).fetchall()
            if not rows:
                return None
            known = self._owners[tag] = self._asked(self._provider.unwrap, owner, rows[0][0])
            if len(known) != _crypt.KEY:
                del self._owners[tag]
                raise wrong_keys("the key provider gives no key of 32 bytes")
        return known

    def _new_owner(self, tag: bytes, owner: UserId | None) -> bytes:
        """Make the key of an owner, and see that it can be had again."""
        if owner is None:
            raise keys_damaged()  # the vault's own is made once, with the vault
        key = _crypt.new_key()
        wrapped = self._wrapped(owner, key)
        self._db.execute("INSERT INTO owner VALUES (?, ?)", (tag, wrapped))
        if self._owner_key(tag, owner) != key:
            raise wrong_keys("the key provider does not give back what it was given")
        return key

    def _wrapped(self, owner: UserId | None, key: bytes) -> bytes:
        return self._asked(self._provider.wrap, owner, key)

    def _asked(
        self, ask: Callable[[Any, bytes], bytes], owner: UserId | None, value: bytes
    ) -> bytes:
        whose = None if owner is None else UserId(one_spelling(owner))
        try:
            return bytes(ask(whose, value))
        except KeyUnavailable:
            raise
        except Exception as error:
            raise KeyUnavailable(
                f"the key provider failed: {type(error).__name__}",
                suggestions=["see why the key provider cannot wrap or unwrap a key"],
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._disk.fuse("commit keys")
                self._db.execute("COMMIT")
            except BaseException:
                self._owners.clear()  # one of them may never have been kept
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


def _refuse_links(path: Path) -> None:
    for name in (path.parent, path, path.with_name(f"{path.name}-journal")):
        try:
            found = os.lstat(name)
        except FileNotFoundError:
            if name == path:
                raise keys_missing() from None
            continue
        expected = stat.S_ISDIR if name == path.parent else stat.S_ISREG
        if not expected(found.st_mode):
            raise keys_damaged()


@contextmanager
def key_errors(doing: str) -> Iterator[None]:
    """Give every error of SQLite about the keys one of our types."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            raise keys_damaged() from error
        raise translated(error, doing, "keys.db") from error
