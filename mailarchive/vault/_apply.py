"""Taking a batch into the index: what follows from its lines, and from those before them."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING

from mailarchive.vault import _knowledge, _record
from mailarchive.vault._manifest import Fact
from mailarchive.vault._record import StoredOriginal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection
    from typing import Any

    from mailarchive._model import Address, Digest, Owner, UserId
    from mailarchive.vault._manifest import Manifest
    from mailarchive.vault._record import Record

_dump = json.JSONEncoder(separators=(",", ":")).encode


def one_spelling(text: str) -> str:
    """Return the text as JSON gives it back: two halves of a character become the whole one."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def user_bytes(user: str) -> bytes:
    """Return a user's id as the index keeps it: any text at all, and never a name of anything."""
    return one_spelling(user).encode("utf-8", "surrogatepass")


def view_key(vault: str, user: str, fork: Digest) -> str:
    """Return the key of a message in one user's view, which means nothing in another's."""
    parts = (b"mailarchive/view/1", vault.encode("ascii"), user_bytes(user), fork.value)
    message = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return base64.urlsafe_b64encode(hashlib.sha256(message).digest()[:24]).decode("ascii")


class Applying:
    """Writes the rows of one batch, inside a transaction of the index."""

    def __init__(self, db: sqlite3.Connection, vault: str) -> None:
        """Write into `db`, the index of the vault with this id."""
        self._db = db
        self._vault = vault
        self._users: dict[str, int] = {}

    def batch(self, manifest: Manifest, *, verified: bool, lost: Collection[Digest]) -> None:
        """Write the rows of a batch; raises one of `BAD_JSON` before the first one."""
        objects, contents = manifest.objects, manifest.contents
        head = manifest.head
        batch = self._insert(
            "INSERT INTO batch (sequence, digest, pack, offset, verified)"
            " SELECT ?, ?, n, ?, ? FROM pack WHERE name = ?",
            (head.sequence, manifest.digest.value, manifest.offset, verified, head.pack),
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO object (raw, size, stored, stored_size, batch, offset)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [
                (it.raw.value, it.size, it.stored.value, it.stored_size, batch, it.offset)
                for it in objects
                if it.stored not in lost
            ],
        )
        archived = _knowledge.moment(head.at)
        for line, content in contents:
            if isinstance(content, Fact):
                self._fact(content, batch, line)
            else:
                self._entry(content, batch, line, archived)

    def _fact(self, fact: Fact, batch: int, line: int) -> None:
        kind = user_bytes(fact.kind).decode("utf-8", "replace")
        self._insert("INSERT INTO fact (kind, batch, line) VALUES (?, ?, ?)", (kind, batch, line))

    def _entry(self, record: Record, batch: int, line: int, archived: int) -> None:
        if self._fetch("SELECT 1 FROM entry WHERE id = ?", (record.id.value,)):
            return
        again = bool(self._fetch("SELECT 1 FROM entry WHERE raw = ? LIMIT 1", (record.raw.value,)))
        n = self._insert_entry(record, batch, line)
        for part in record.originals:
            if isinstance(part, StoredOriginal):
                self._insert("INSERT INTO part (entry, raw) VALUES (?, ?)", (n, part.digest.value))
        at = _knowledge.sorting_time(record, archived)
        folder = _knowledge.folder_is_known(record)
        self._db.executemany(
            "INSERT INTO owner VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *self._place(record, owner.user, at, n, again=again),
                    record.is_sender(owner),
                    folder,
                    *_own(record, owner),
                )
                for owner in record.ownership.owners
            ],
        )

    def _insert_entry(self, record: Record, batch: int, line: int) -> int:
        envelope = record.envelope
        visible: list[Address] = [*envelope.senders]
        hidden: list[Address] = []
        for recipient, role in zip(envelope.recipients, record.shown, strict=True):
            (hidden if role is None else visible).append(recipient.address)
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
                _dump(_record.dump_summary(record)),
                _knowledge.searchable([envelope.subject, *(each.spec for each in visible)]),
                _knowledge.searchable([each.spec for each in hidden]),
            ),
        )

    def _place(
        self, record: Record, owner: UserId, at: int, n: int, *, again: bool
    ) -> tuple[int, int, int, bool]:
        """User, message, entry, and whether this is another copy of the message."""
        user = self._user(owner)
        head = self._same_bytes(user, record.raw) if again else None
        if head is not None:
            return user, head, n, False
        key = view_key(self._vault, owner, record.fork_key)
        return user, self._message(user, key, at, n), n, True

    def _user(self, user: UserId) -> int:
        known = self._users.get(user)
        if known is None:
            name = (user_bytes(user),)
            rows = self._fetch("SELECT n FROM user WHERE id = ?", name)
            known = rows[0][0] if rows else self._insert("INSERT INTO user (id) VALUES (?)", name)
            self._users[user] = known
        return known

    def _same_bytes(self, user: int, raw: Digest) -> int | None:
        """The message behind which the user already has these bytes."""
        rows = self._fetch(
            "SELECT o.head FROM entry e JOIN owner o ON o.entry = e.n AND o.user = ?"
            " WHERE e.raw = ? LIMIT 1",
            (user, raw.value),
        )
        return rows[0][0] if rows else None

    def _message(self, user: int, key: str, at: int, n: int) -> int:
        """The message that this copy belongs to; a new one where it is the first."""
        rows = self._fetch("SELECT at, head FROM message WHERE user = ? AND key = ?", (user, key))
        if not rows:
            self._db.execute("INSERT INTO message VALUES (?, ?, ?, ?, 1)", (user, at, n, key))
            return n
        self._db.execute(
            "UPDATE message SET copies = copies + 1 WHERE user = ? AND at = ? AND head = ?",
            (user, *rows[0]),
        )
        head: int = rows[0][1]
        return head

    def _insert(self, statement: str, values: tuple[Any, ...]) -> int:
        row = self._db.execute(statement, values).lastrowid
        assert row is not None
        return row

    def _fetch(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return self._db.execute(query, values).fetchall()


def _own(record: Record, owner: Owner) -> tuple[str, bytes]:
    """The owner's own recipient lines, and what can be found by them alone."""
    own = _knowledge.own_lines(record.envelope, owner)
    hidden = [record.envelope.recipients[n].address.spec for n in own if record.shown[n] is None]
    return _dump(own), _knowledge.searchable(hidden)
