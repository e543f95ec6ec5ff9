"""Reading an encrypted vault: an index of what is encrypted, in the memory of this process.

The index on the disk follows from what the manifests say in clear, and holds nothing of
anybody's.  The one here follows from all of them, opened, batch by batch as the one on
the disk grows, also where another process wrote them.  It is never on a disk.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from typing_extensions import override

from mailarchive._model import Digest
from mailarchive._sqlite import made
from mailarchive.errors import KeyUnavailable, SinkCorrupt
from mailarchive.vault import _leaf, _loading, _schema
from mailarchive.vault._apply import user_bytes
from mailarchive.vault._disk import Disk
from mailarchive.vault._encrypting import Encryption, Needed
from mailarchive.vault._errors import Damage, erased, index_disagrees, keys_lost, sqlite_errors
from mailarchive.vault._index import Index
from mailarchive.vault._lines import Heard, Lines
from mailarchive.vault._manifest import BAD_JSON, ENCRYPTED, Fact
from mailarchive.vault._reading import Reading

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from typing import Any

    from mailarchive._model import UserId
    from mailarchive.vault._index import Found, Line
    from mailarchive.vault._keyring import EntryKey
    from mailarchive.vault._manifest import Manifest, StoredObject
    from mailarchive.vault._note import LogCheckpoint
    from mailarchive.vault._packs import Packs
    from mailarchive.vault._prove import Proving
    from mailarchive.vault._record import Json, Record
    from mailarchive.vault.proofs import InclusionProof

_DIGITS = 64
"""How many a whole id has, in hexadecimal."""


class OpenedIndex(Index):
    """The index of an encrypted vault, opened; it follows the one on the disk."""

    def __init__(self, stored: Index, packs: Packs, encryption: Encryption) -> None:
        """Follow `stored`; what it finds is read in `packs` and opened by `encryption`."""
        with sqlite_errors("making an index in memory"):
            memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            with made(memory) as connection:
                connection.execute("PRAGMA temp_store = MEMORY")
                _schema.create(connection, packs.vault)
        super().__init__(connection, packs.vault, Disk())
        self.suite = ENCRYPTED
        self._stored = stored
        self._from = packs
        self._encryption = encryption
        self.read_by = Lines(is_encrypted=True, encryption=encryption)
        self._heard = Heard()
        self._raws: dict[Digest, Digest] = {}
        self._upto: tuple[int, Digest | None] = 0, None
        self._busy = False
        self._closed_lines: dict[tuple[Digest, int], Digest] = {}
        self._damaged = False

    @override
    def name(self, digest: Digest) -> Digest:
        """Return the keyed digest by which the vault calls it."""
        return self._encryption.keys.name(digest)

    @override
    def _raw(self, name: Digest) -> Digest:
        return self._raws.get(name, name)

    @override
    def rows(self, query: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """Return what a query finds, of all that is committed now."""
        self.catch_up()
        return super().rows(query, values)

    @override
    def known(self, ids: Iterable[Digest]) -> dict[Digest, bool]:
        """Return those of the entries that are, or were, here, and whether each was erased."""
        self.catch_up()
        return super().known(ids)

    @override
    def _found(self, query: str, digests: Iterable[Digest]) -> dict[Digest, Found]:
        self.catch_up()
        return super()._found(query, digests)

    # -- following ------------------------------------------------------------------------

    def lost(self) -> int:
        """Return how many entries, not erased, have no key that opens them."""
        self.catch_up()
        with self._lock:
            if self._closed_lines:
                gone = self._stored_erased(set(self._closed_lines.values()))
                left = self._closed_lines.items()
                self._closed_lines = {at: it for at, it in left if it.value not in gone}
            return len(set(self._closed_lines.values()))

    def refuse_gaps(self) -> None:
        """Raise `KeyUnavailable` or `SinkCorrupt` where something there would seem new."""
        if lost := self.lost():
            raise keys_lost(lost)
        if self._damaged:
            raise SinkCorrupt(
                "a manifest of the vault is damaged: what it holds could be taken for new",
                suggestions=["verify the vault, and repair it from a copy"],
            )

    def catch_up(self) -> None:
        """Take in what the index on the disk has, and this one has not yet."""
        with self._lock:
            if self._busy:
                return
            self._busy = True
            try:
                newest = self._stored.last()
                if newest != self._upto:
                    self._follow(newest)
            except ValueError as error:
                raise index_disagrees("a batch that cannot be") from error
            finally:
                self._busy = False

    def _follow(self, newest: tuple[int, Digest | None]) -> None:
        if not self._continues():
            self.forget()
        for line in self._stored.batches(self._upto[0], newest[0]):
            self._take(line)
        self._upto = newest

    def forget(self) -> None:
        """Begin anew: what could not be read may be there again."""
        with self._lock:
            with self.transaction():
                self.reset()
            self._heard.forget()
            self._raws.clear()
            self._closed_lines.clear()
            self._upto, self._damaged = (0, None), False

    def _continues(self) -> bool:
        """Whether the index on the disk still begins as it did: a repair makes it anew."""
        sequence, digest = self._upto
        if digest is None:
            return sequence == 0
        found = self._stored.batches(sequence - 1, sequence)
        return bool(found) and found[-1].batch == digest

    def _take(self, line: Line) -> None:
        try:
            with self._from.open(line.pack) as pack:
                manifest = pack.manifest(line.offset)
            if manifest.digest != line.batch:
                raise index_disagrees("another manifest stands there")
            contents = list(self._opened(manifest))
        except (Damage, *BAD_JSON):
            self._damaged = True  # the others can be read all the same
            return
        there = self._stored.rows(
            "SELECT o.stored, b.verified FROM batch b LEFT JOIN object o ON o.batch = b.n"
            " WHERE b.n = ?",
            (line.n,),
        )
        known = {stored for stored, _ in there}
        lost = {it.stored for it in manifest.objects if it.stored.value not in known}
        verified = bool(there and there[0][1])
        with self.transaction():
            taken = self.adopt(manifest.with_contents(contents), verified=verified, lost=lost)
        self._damaged = self._damaged or not taken

    def _opened(self, manifest: Manifest) -> Iterator[tuple[int, Record | Fact]]:
        """Entries and facts, opened as far as there are keys; raises one of `BAD_JSON`.

        What nobody with the keys wrote is left out: whoever it names owns nothing by it.
        """
        trees = {number: manifest.tree(number) for number, _ in manifest.contents}
        forged = {number for number, tree in trees.items() if self._is_forged(manifest, tree)}
        encrypted = {n: it for n, it in trees.items() if "encrypted" in it and n not in forged}
        asked = {n: self._encryption.key_of(tree) for n, tree in encrypted.items()}
        keys = self._encryption.keys.several({each[0]: each[1] for each in asked.values() if each})
        for number, content in manifest.contents:
            of = asked.get(number)
            key = keys.get(of[0]) if of else None
            if number in forged:
                continue
            if number not in encrypted:
                yield number, content
            elif of and key is None:
                self._note_closed(manifest, number, trees[number])
                yield number, content
            else:
                yield number, self._open(manifest, number, key, content)

    def _is_forged(self, manifest: Manifest, tree: Json) -> bool:
        batch = manifest.head.pack, manifest.offset
        return self.read_by.is_forged(tree) or self._heard.is_copy(tree, batch)

    def _open(
        self, manifest: Manifest, number: int, key: EntryKey | None, content: Record | Fact
    ) -> Record | Fact:
        tree = manifest.tree(number)
        try:
            opened = self._encryption.opened(tree, key)
            found = self._encryption.indexed(tree, opened)
            for raw in opened.get("keys", ()):
                self._raws[self.name(_loading.digest(raw))] = _loading.digest(raw)
        except BAD_JSON:
            if key is None:
                raise
            self._note_closed(manifest, number, tree)
            return content
        return found

    def _note_closed(self, manifest: Manifest, number: int, tree: Json) -> None:
        if tree["kind"] == "entry":
            self._closed_lines[manifest.digest, number] = _loading.digest(tree["id"])

    def _stored_erased(self, names: Collection[Digest]) -> set[bytes]:
        found = self._stored.erased(names)
        return {each.value for each in found}


class OpenedReading(Reading):
    """Reads an encrypted vault with its keys."""

    def __init__(
        self, packs: Packs, index: OpenedIndex, proving: Proving, encryption: Encryption
    ) -> None:
        """Read what `index` finds in `packs`, opened by `encryption`."""
        super().__init__(packs.vault, packs, index, proving)
        self.opened_index = index
        self._encryption = encryption
        self.lines: Lines = index.read_by
        self.opener = self

    @property
    def needed(self) -> Needed:
        """Finds the keys of what stands in the vault already."""
        return Needed(self._key_of_entry, self._key_of_message, self._owns)

    @override
    def record(self, line: Line, user: UserId | None = None) -> Record:
        """Return the entry on a line, opened; a blank one of what was erased.

        Raises `KeyUnavailable` where this user, or the vault, has no key to it.
        """
        try:
            opened = self._opened(line, user)
            return _loading.load(opened["entry"])
        except KeyUnavailable:
            if not self.index.is_erased(line):
                raise
            return super().record(line)
        except BAD_JSON as error:
            raise index_disagrees("no entry stands on that line") from error

    @override
    def entry_id(self, n: int, known_as: Digest) -> Digest:
        """Return the id of an entry, which only its line says."""
        return self.record(self.index.lines("t.n = ?", (n,))[0]).id

    @override
    def ids(self, beginning: str) -> list[Digest]:
        """Return the ids that begin so; all entries are opened, unless it is a whole id."""
        if len(beginning) == _DIGITS:
            whole = Digest(bytes.fromhex(beginning))
            name = self.index.name(whole).value
            return [whole for _ in self.index.rows("SELECT 1 FROM entry WHERE id = ?", (name,))]
        rows = self.index.rows("SELECT n, id FROM entry ORDER BY n")
        every = (self.entry_id(n, Digest(id_)) for n, id_ in rows)
        return list(islice((it for it in every if it.hex.startswith(beginning.lower())), 2))

    @override
    def fact(self, line: Line) -> Fact:
        """Return the fact on a line, opened."""
        try:
            manifest = self.manifest(line)
            tree = manifest.tree(line.line)
            if "encrypted" not in tree:
                return manifest.fact(line.line)
            return self._encryption.fact(
                tree, self._encryption.opened(tree, self._key(tree, None))
            )
        except BAD_JSON as error:
            raise index_disagrees("no fact stands on that line") from error

    @override
    def proof(
        self, line: Line, show: Collection[str], checkpoint: LogCheckpoint | None
    ) -> InclusionProof:
        """Return the proof for a line, with what only its keys open of it."""
        hidden: list[_leaf.Opened] = []
        with suppress(KeyUnavailable):  # of what was erased there is only that it was there
            opened = self._opened(line, None)
            hidden = _leaf.hidden({**opened["entry"], "kind": "entry"}, _salt(opened))
        return self.proving.line(self.manifest(line), line.line, show, checkpoint, hidden)

    # -- an opener ------------------------------------------------------------------------

    def frame(self, stored: StoredObject, data: bytes) -> bytes:
        """Return the zstd frame in stored bytes; raises `ValueError`, `KeyUnavailable`."""
        key = self._message_key(stored.raw)
        return self._encryption.message(stored.raw, stored.size, key, data)

    def name(self, digest: Digest) -> Digest:
        """Return what the vault calls bytes with this digest."""
        return self._encryption.keys.name(digest)

    # -- keys -----------------------------------------------------------------------------

    def _opened(self, line: Line, user: UserId | None) -> Json:
        """What an entry's line says encrypted; raises `KeyUnavailable`, one of `BAD_JSON`."""
        tree = self.manifest(line).tree(line.line)
        return self._encryption.opened(tree, self._key(tree, user))

    def _key(self, tree: Json, user: UserId | None) -> EntryKey | None:
        of = self._encryption.key_of(tree)
        if of is None:
            return None
        key = self._encryption.keys.get(*of, user)
        if key is None:
            raise keys_lost(1)
        return key

    def _key_of_entry(self, entry: Digest) -> EntryKey:
        lines = self.index.lines("t.id = ?", (self.name(entry).value,))
        key = self._key(self.manifest(lines[0]).tree(lines[0].line), None) if lines else None
        if key is None:
            raise index_disagrees("an entry without a key")
        return key

    def _owns(self, user: UserId) -> bool:
        query = "SELECT 1 FROM message m JOIN user u ON u.n = m.user WHERE u.id = ? LIMIT 1"
        return bool(self.index.rows(query, (user_bytes(user),)))

    def _key_of_message(self, raw: Digest) -> bytes:
        return self._message_key(self.name(raw))

    def _message_key(self, name: Digest) -> bytes:
        """The key of a message, from an entry that needs it, is there and can be opened."""
        there = "NOT t.erased AND {} LIMIT 100"
        lines = self.index.lines(there.format("t.raw = ?"), (name.value,))
        if not lines:
            part = "t.n IN (SELECT entry FROM part WHERE raw = ?)"
            lines = self.index.lines(there.format(part), (name.value,))
        if not lines:
            raise erased()
        for line in lines:
            with suppress(KeyUnavailable, *BAD_JSON):
                for raw, key in self._opened(line, None)["keys"].items():
                    if self.name(_loading.digest(raw)) == name:
                        return bytes.fromhex(key)
        raise keys_lost(len(lines))


def _salt(opened: Json) -> bytes:
    return _loading.digest(opened["salt"]).value
