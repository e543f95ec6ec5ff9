"""Taking a batch into the index: what follows from its lines, and from those before them.

The rows of a whole batch are worked out first, with one question a table, and then written
a table at a time: most of what a message would cost by itself is the asking.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from mailarchive._model import Digest, UserId, one_spelling
from mailarchive.vault import _knowledge, _schema
from mailarchive.vault._forgetting import Forgetting
from mailarchive.vault._grants import Grant, Granted
from mailarchive.vault._manifest import BAD_JSON, ERASED, GRANTED, RECLAIMED, Fact
from mailarchive.vault._record import StoredOriginal
from mailarchive.vault._schema import blob

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from mailarchive._model import Address, Owner
    from mailarchive.vault._manifest import Manifest
    from mailarchive.vault._record import Record

_ID = re.compile("[0-9a-f]{64}")
_HEADS = (
    "WITH asked (user, raw) AS (VALUES {}) SELECT a.user, a.raw, ("
    "SELECT o.head FROM entry e JOIN owner o ON o.entry = e.n AND o.user = a.user"
    " WHERE e.raw = a.raw LIMIT 1) FROM asked a"
)
_dump = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode


def user_bytes(user: str) -> bytes:
    """Return a user's id as the index keeps it: any text at all, and never a name of anything."""
    return one_spelling(user).encode("utf-8", "surrogatepass")


def user_of(id_: bytes) -> UserId:
    """Return the user's id that the index keeps so."""
    return UserId(id_.decode("utf-8", "surrogatepass"))


class ViewKeys:
    """The keys of messages in one user's view, which mean nothing in another's."""

    def __init__(self, vault: str, user: bytes) -> None:
        """Take the vault's id and the user as `user_bytes` has it."""
        parts = (b"mailarchive/view/1", vault.encode("ascii"), user)
        self._start = hashlib.sha256(b"".join(len(p).to_bytes(8, "big") + p for p in parts))
        self._known: dict[bytes, bytes] = {}

    def of(self, fork: Digest) -> bytes:
        """Return the key of the message with this fork key, as the index keeps it."""
        known = self._known.get(fork.value)
        if known is None:
            whole = self._start.copy()
            whole.update(len(fork.value).to_bytes(8, "big") + fork.value)
            known = self._known[fork.value] = whole.digest()[:KEY_SIZE]
        return known


KEY_SIZE = 20


def shown_key(key: bytes) -> str:
    """Return the key of a message as people are given it."""
    return base64.b32encode(key).decode("ascii").lower()


def key_of(shown: str) -> bytes | None:
    """Return the key that people were given; `None` for what was never given to anybody."""
    try:
        key = base64.b32decode(shown.upper())
    except ValueError:
        return None
    return key if shown_key(key) == shown else None


@frozen
class _User:
    n: int
    keys: ViewKeys


@define
class _Message:
    """A message of one user: its first entry and time, and how many copies came just now."""

    user: int
    at: int
    head: int
    is_new: bool
    copies: int = 0


@define
class _Rows:
    """What is to be written for a batch."""

    entries: list[tuple[Any, ...]] = field(factory=list)
    parts: list[tuple[int, bytearray]] = field(factory=list)
    owners: list[tuple[Any, ...]] = field(factory=list)


class Applying:
    """Writes the rows of one batch, inside a transaction of the index."""

    def __init__(self, db: sqlite3.Connection, vault: str) -> None:
        """Write into `db`, the index of the vault with this id."""
        self._db = db
        self._vault = vault
        self._users: dict[str, _User] = {}
        self._heads: dict[tuple[int, bytes], int] = {}
        self._messages: dict[bytes, _Message] = {}

    def batch(self, manifest: Manifest, *, verified: bool, lost: Collection[Digest]) -> None:
        """Write the rows of a batch; raises one of `BAD_JSON` before the first one.

        Facts that cannot be read, or say again what is so, change nothing: whoever can
        write in the folder may have put them there.
        """
        objects, contents = manifest.objects, manifest.contents
        head = manifest.head
        batch = self._db.execute(
            "INSERT INTO batch (sequence, digest, pack, offset, at, verified)"
            " SELECT ?, ?, n, ?, ?, ? FROM pack WHERE name = ?",
            (
                head.sequence,
                manifest.digest.value,
                manifest.offset,
                _knowledge.moment(head.at),
                verified,
                head.pack,
            ),
        ).lastrowid
        self._db.executemany(
            "INSERT OR IGNORE INTO object (raw, size, stored, stored_size, batch, offset)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [
                (
                    blob(it.raw.value),
                    it.size,
                    blob(it.stored.value),
                    it.stored_size,
                    batch,
                    it.offset,
                )
                for it in objects
                if it.stored not in lost
            ],
        )
        facts = [(line, content) for line, content in contents if isinstance(content, Fact)]
        records = self._new(
            (line, content) for line, content in contents if not isinstance(content, Fact)
        )
        granted = self._granted(_grants(fact for _, fact in facts))
        self._learn([*(record for _, record in records), *granted])
        self._write(self._rows(records, granted, batch or 0, _knowledge.moment(head.at)))
        self._write_granted(granted)
        self._write_facts(facts, batch or 0)
        self._forget(fact for _, fact in facts)

    # -- what there is already ------------------------------------------------------------

    def _new(self, records: Iterable[tuple[int, Record]]) -> list[tuple[int, Record]]:
        """The entries that are not there yet, each once."""
        distinct: dict[bytes, tuple[int, Record]] = {}
        for line, record in records:
            distinct.setdefault(record.id.value, (line, record))
        for (known,) in self._among("SELECT id FROM entry WHERE id IN ({})", distinct):
            del distinct[known]
        return list(distinct.values())

    def _granted(self, grants: Iterable[Grant]) -> list[Granted]:
        """What was granted of entries that are there, to users who had not got them yet."""
        found: list[Granted] = []
        just_now: dict[int, set[bytes]] = {}
        for grant in grants:
            rows = self._db.execute(
                "SELECT n, raw, owners, summary FROM entry WHERE id = ? AND NOT erased",
                (grant.entry.value,),
            ).fetchall()
            for n, raw, owners, summary in rows:
                there = self._db.execute(
                    "SELECT u.id FROM owner o JOIN user u ON u.n = o.user WHERE o.entry = ?", (n,)
                )
                known = just_now.setdefault(n, {name for (name,) in there})
                new = [owner for owner in grant.owners if user_bytes(owner.user) not in known]
                known.update(user_bytes(owner.user) for owner in new)
                found.append(
                    Granted.of(
                        grant, new, n, Digest(raw), owners=owners, summary=json.loads(summary)
                    )
                )
        return found

    def _learn(self, records: list[Record | Granted]) -> None:
        """Ask for everything at once that the rows of these entries depend on."""
        self._learn_users([owner.user for record in records for owner in record.ownership.owners])
        self._learn_heads(records)
        keys = {
            self._users[owner.user].keys.of(record.fork_key)
            for record in records
            for owner in record.ownership.owners
        }
        rows = self._among("SELECT key, user, at, head FROM message WHERE key IN ({})", keys)
        self._messages = {
            key: _Message(user, at, head, is_new=False) for key, user, at, head in rows
        }

    def _learn_heads(self, records: Iterable[Record | Granted]) -> None:
        """Ask behind which of their messages users have these very bytes already."""
        raws = {record.raw.value for record in records}
        found = self._among("SELECT DISTINCT raw FROM entry WHERE raw IN ({})", raws)
        there = {raw for (raw,) in found}
        asked = {
            (self._users[owner.user].n, record.raw.value)
            for record in records
            if record.raw.value in there
            for owner in record.ownership.owners
        }
        rows = _schema.among(self._db, _HEADS, asked, columns=2)
        self._heads = {(user, raw): head for user, raw, head in rows if head is not None}

    def _learn_users(self, users: list[str]) -> None:
        """Number the users, new ones in the order in which they appear."""
        names = {user: user_bytes(user) for user in users}
        numbers = dict(self._among("SELECT id, n FROM user WHERE id IN ({})", names.values()))
        last = self._last("user")
        new = [name for name in dict.fromkeys(names.values()) if name not in numbers]
        numbers.update({name: n for n, name in enumerate(new, last + 1)})
        self._db.executemany(
            "INSERT INTO user (n, id) VALUES (?, ?)", [(numbers[name], name) for name in new]
        )
        self._users = {
            user: _User(numbers[name], ViewKeys(self._vault, name)) for user, name in names.items()
        }

    # -- what follows from it -------------------------------------------------------------

    def _rows(
        self,
        records: list[tuple[int, Record]],
        granted: list[Granted],
        batch: int,
        archived: int,
    ) -> _Rows:
        rows = _Rows()
        for n, (line, record) in enumerate(records, self._last("entry") + 1):
            at = _knowledge.sorting_time(record, archived)
            rows.entries.append((n, batch, line, at, *_entry(record)))
            rows.parts += [
                (n, blob(part.digest.value))
                for part in record.originals
                if isinstance(part, StoredOriginal)
            ]
            folder = _knowledge.folder_is_known(record.ownership.owners)
            rows.owners += self._owners(record, n, at, folder=folder)
        for it in granted:
            rows.owners += self._owners(it, it.n, it.at, folder=it.folder)
        return rows

    def _owners(
        self, record: Record | Granted, n: int, at: int, *, folder: bool
    ) -> Iterator[tuple[Any, ...]]:
        lines = _knowledge.lines_of(record.envelope)
        senders = record.envelope.senders
        for owner in record.ownership.owners:
            user = self._users[owner.user]
            head, copy = self._place(record, user, at, n)
            sender = not owner.addresses.isdisjoint(senders)
            own, search = _own(record, owner, lines)
            yield user.n, head, n, int(copy), int(sender), int(folder), own, blob(search)

    def _place(self, record: Record | Granted, user: _User, at: int, n: int) -> tuple[int, bool]:
        """The message that an entry is behind, and whether it is another copy of it."""
        mine = user.n, record.raw.value
        head = self._heads.get(mine)
        if head is not None:
            return head, False
        key = user.keys.of(record.fork_key)
        message = self._messages.setdefault(key, _Message(user.n, at, n, is_new=True))
        message.copies += 1
        self._heads[mine] = message.head
        return message.head, True

    def _write(self, rows: _Rows) -> None:
        write = self._db.executemany
        write(
            "INSERT INTO entry (n, batch, line, at, erased, id, raw, owners, unresolved, sender,"
            " behalf, folder, summary, shown, hidden)"
            " VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows.entries,
        )
        write("INSERT INTO part (entry, raw) VALUES (?, ?)", rows.parts)
        write("INSERT INTO owner VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows.owners)
        write(
            "INSERT INTO message VALUES (?, ?, ?, ?, ?)",
            [
                (it.user, it.at, it.head, blob(key), it.copies)
                for key, it in self._messages.items()
                if it.is_new
            ],
        )
        write(
            "UPDATE message SET copies = copies + ? WHERE user = ? AND at = ? AND head = ?",
            [
                (it.copies, it.user, it.at, it.head)
                for it in self._messages.values()
                if it.copies and not it.is_new
            ],
        )

    def _write_granted(self, granted: Iterable[Granted]) -> None:
        self._db.executemany(
            "UPDATE entry SET owners = owners + ?, unresolved = max(unresolved - ?, 0)"
            " WHERE n = ?",
            [(len(it.ownership.owners), it.resolved, it.n) for it in granted],
        )

    def _write_facts(self, facts: Iterable[tuple[int, Fact]], batch: int) -> None:
        self._db.executemany(
            "INSERT INTO fact (kind, entry, batch, line)"
            " VALUES (?, (SELECT n FROM entry WHERE id = ?), ?, ?)",
            [
                (user_bytes(it.kind).decode("utf-8", "replace"), _about(it), batch, line)
                for line, it in facts
            ],
        )

    def _forget(self, facts: Iterable[Fact]) -> None:
        """Take out what was erased; a fact that cannot be read erases nothing, and is named."""
        forgetting = Forgetting(self._db)
        for fact in facts:
            with suppress(*BAD_JSON):
                if fact.kind == ERASED:
                    forgetting.entry(fact)
                elif fact.kind == RECLAIMED:
                    forgetting.reclaimed(fact)

    def _last(self, table: str) -> int:
        ((last,),) = self._db.execute(f"SELECT coalesce(max(n), 0) FROM {table}").fetchall()  # noqa: S608 - only constants
        return int(last)

    def _among(self, query: str, values: Collection[Any]) -> list[tuple[Any, ...]]:
        return _schema.among(self._db, query, values)


def _entry(record: Record) -> tuple[Any, ...]:
    """The columns of an entry that follow from it alone."""
    envelope = record.envelope
    visible: list[Address] = [*envelope.senders]
    hidden: list[Address] = []
    for recipient, role in zip(envelope.recipients, record.shown, strict=True):
        (hidden if role is None else visible).append(recipient.address)
    return (
        blob(record.id.value),
        blob(record.raw.value),
        len(record.ownership.owners),
        len(record.ownership.unresolved),
        envelope.sender and blob(user_bytes(envelope.sender.normal)),
        envelope.on_behalf_of and blob(user_bytes(envelope.on_behalf_of.normal)),
        blob(user_bytes(record.folder.name)),
        _dump(record.summary),
        blob(_knowledge.searchable([envelope.subject, *(each.spec for each in visible)])),
        blob(_knowledge.searchable([each.spec for each in hidden])),
    )


def _grants(facts: Iterable[Fact]) -> Iterator[Grant]:
    """What is granted; a fact that cannot be read grants nothing, and `verify` names it."""
    for fact in facts:
        if fact.kind == GRANTED and "encrypted" not in fact.body:
            with suppress(*BAD_JSON):
                yield Grant.load(fact)


def _about(fact: Fact) -> bytes | None:
    """The id of the entry that a fact is about, if it is about one."""
    entry = fact.body.get("entry")
    return bytes.fromhex(entry) if isinstance(entry, str) and _ID.fullmatch(entry) else None


def _own(
    record: Record | Granted, owner: Owner, lines: Mapping[Address, Sequence[int]]
) -> tuple[str, bytes]:
    """The owner's own recipient lines, and what can be found by them alone."""
    own = _knowledge.own_lines(lines, owner)
    hidden = [record.envelope.recipients[n].address.spec for n in own if record.shown[n] is None]
    return _dump_own(tuple(own)), _knowledge.searchable(hidden)


@lru_cache(maxsize=1_000)
def _dump_own(own: tuple[int, ...]) -> str:
    """Most owners are one of a few recipients."""
    return _dump(own)
