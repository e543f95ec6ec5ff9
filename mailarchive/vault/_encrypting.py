"""What an encrypted vault writes: a batch before and after it is encrypted.

Each message is encrypted with a key of its own.  That key stands in the encrypted part of
every entry that needs the message, and the key of the entry is in `keys.db`, wrapped for
each owner and for the vault.  So whoever may open an entry can read its message, and once
the keys of all its entries are gone nobody can.

What a line says in clear is authenticated with what it says encrypted.
"""

from __future__ import annotations

import base64
import json
import secrets
from contextlib import nullcontext
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from mailarchive import _crypt
from mailarchive._model import Digest
from mailarchive.errors import Erased
from mailarchive.vault import _leaf, _loading, _record
from mailarchive.vault._choice import UNDECIDED, is_encrypted, is_plain
from mailarchive.vault._errors import owner_lost
from mailarchive.vault._keyring import EntryKey, Keyring, Wrapping
from mailarchive.vault._manifest import BAD_JSON, CLEAR, ENCRYPTED, GRANTED, Fact
from mailarchive.vault._record import StoredOriginal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mailarchive._model import UserId
    from mailarchive.abc import KeyProvider
    from mailarchive.vault._choice import Undecided
    from mailarchive.vault._disk import Disk
    from mailarchive.vault._packs import Packs
    from mailarchive.vault._place import Place
    from mailarchive.vault._record import Json, Record
    from mailarchive.vault._writer import Draft, Packed

_dump = json.JSONEncoder(ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode


@frozen
class Needed:
    """How to find what stands in the vault already: the key of an entry, or of a message.

    `owns` says whether a user has mail here, and so had a key.
    """

    entry: Callable[[Digest], EntryKey]
    message: Callable[[Digest], bytes]
    owns: Callable[[UserId], bool]


class Encryption:
    """Encrypts batches and opens their lines, with the keys of one vault."""

    def __init__(self, vault: str, keys: Keyring) -> None:
        """Use the keys of the vault with this id."""
        self._vault = vault.encode("ascii")
        self.keys = keys

    # -- writing --------------------------------------------------------------------------

    def draft(self, draft: Draft, needed: Needed) -> Draft:
        """Return the batch encrypted, once the keys to it are durable; raises `SinkError`."""
        made = {packed.raw: _message_key(packed.raw, needed) for packed in draft.objects}
        objects = tuple(self._object(packed, made[packed.raw]) for packed in draft.objects)
        wrappings: list[Wrapping] = []
        contents: list[Record | Fact] = []
        for each in draft.contents:
            if isinstance(each, Fact):
                contents.append(self._fact(each, needed, wrappings))
            else:
                parts = [each.raw, *(part.digest for part in _parts(each))]
                keys = {part: made.get(part) or needed.message(part) for part in parts}
                contents.append(self._entry(each, keys, wrappings))
        if wrappings:
            self._refuse_lost(wrappings, needed)
            self.keys.add(wrappings)
        return evolve(draft, objects=objects, contents=tuple(contents))

    def _refuse_lost(self, wrappings: Iterable[Wrapping], needed: Needed) -> None:
        """Raise where a new key would be made in the place of one that was lost.

        With it all that the owner has so far would be closed to them for good.
        """
        owners = dict.fromkeys(owner for each in wrappings for owner in each.owners)
        if any(map(needed.owns, self.keys.without(owners))):
            raise owner_lost()

    def _object(self, packed: Packed, key: bytes) -> Packed:
        name = self.keys.name(packed.raw)
        encrypted = _crypt.encrypt_message(key, packed.frame, self._message(name, packed.size))
        return evolve(
            packed, raw=name, stored=Digest.of(encrypted), frame=encrypted, suite=ENCRYPTED
        )

    def _entry(
        self, record: Record, keys: Mapping[Digest, bytes], wrappings: list[Wrapping]
    ) -> Fact:
        key = EntryKey.new(self.keys.name(record.id))
        users = tuple(owner.user for owner in record.ownership.owners)
        wrappings.append(Wrapping(key, users))
        tree, salt = _record.dump(record), secrets.token_bytes(32)
        kind = tree.pop("kind")
        opened = _leaf.hidden({**tree, "kind": kind}, salt)
        clear: Json = {
            "id": key.entry.hex,
            "raw": self.keys.name(record.raw).hex,
            "size": record.size,
            "key": key.name.hex(),
            "commitments": {each.label: each.commitment() for each in opened},
        }
        if parts := [self.keys.name(part.digest).hex for part in _parts(record)]:
            clear["parts"] = parts
        secret = {part.hex: secret.hex() for part, secret in keys.items()}
        return self._encrypted(
            kind, clear, {"entry": tree, "keys": secret, "salt": salt.hex()}, key
        )

    def _fact(self, fact: Fact, needed: Needed, wrappings: list[Wrapping]) -> Fact:
        if fact.kind in CLEAR:
            return fact
        clear: Json = {}
        body = dict(fact.body)
        if "entry" in body:
            entry = _loading.digest(body.pop("entry"))
            clear["entry"] = self.keys.name(entry).hex
            if fact.kind == GRANTED:
                key = needed.entry(entry)
                users = tuple(_loading.load_owner(each).user for each in body["owners"])
                wrappings.append(Wrapping(key, users))
                return self._encrypted(fact.kind, {**clear, "key": key.name.hex()}, body, key)
        return self._encrypted(fact.kind, clear, body, None)

    def _encrypted(self, kind: str, clear: Json, body: Json, key: EntryKey | None) -> Fact:
        secret = self.keys.fact_key if key is None else key.secret
        data = _crypt.encrypt(secret, _dump(body).encode("ascii"), self._line(kind, clear))
        return Fact(kind, {**clear, "encrypted": base64.b64encode(data).decode("ascii")})

    # -- reading --------------------------------------------------------------------------

    def key_of(self, tree: Json) -> tuple[bytes, Digest] | None:
        """Return the name of the key that a line is encrypted with, and its entry.

        `None` for a fact that is encrypted with the vault's own.  Raises one of `BAD_JSON`.
        """
        if "key" not in tree:
            return None
        entry = tree["id"] if tree["kind"] == "entry" else tree["entry"]
        return bytes.fromhex(tree["key"]), _loading.digest(entry)

    def opened(self, tree: Json, key: EntryKey | None) -> Json:
        """Return what a line says encrypted; raises one of `BAD_JSON`."""
        clear = {name: each for name, each in tree.items() if name not in {"kind", "encrypted"}}
        secret = self.keys.fact_key if key is None else key.secret
        data = base64.b64decode(tree["encrypted"], validate=True)
        found: Json = json.loads(_crypt.decrypt(secret, data, self._line(tree["kind"], clear)))
        return found

    def whole(self, tree: Json) -> Json | None:
        """Return a line with what it says encrypted; `None` where nothing here opens it."""
        try:
            of = self.key_of(tree)
            key = None if of is None else self.keys.get(*of)
            if of is not None and key is None:
                return None
            return {**self.opened(tree, key), **tree}
        except BAD_JSON:
            return None

    def is_false(self, tree: Json) -> bool:
        """Whether a line does not open with the key it names, though that key is there.

        Of an entry only whether it names one: who opens it sees the rest.
        """
        try:
            of = self.key_of(tree)
            if tree["kind"] == "entry":
                return of is None
            key = None if of is None else self.keys.get(*of)
            if of is None or key is not None:
                self.opened(tree, key)
        except BAD_JSON:
            return True
        return False

    def indexed(self, tree: Json, opened: Json) -> Record | Fact:
        """Return an entry or a fact as the index takes it: under the names of the vault.

        Raises one of `BAD_JSON`.
        """
        if tree["kind"] != "entry":
            return self.fact(tree, opened)
        record = _loading.load(opened["entry"])
        return evolve(
            record,
            id=_loading.digest(tree["id"]),
            raw=_loading.digest(tree["raw"]),
            originals=tuple(
                evolve(part, digest=self.keys.name(part.digest))
                if isinstance(part, StoredOriginal)
                else part
                for part in record.originals
            ),
        )

    def fact(self, tree: Json, opened: Json) -> Fact:
        """Return a fact whole; the entry that it is about has the name that the vault gives."""
        clear = {name: each for name, each in tree.items() if name not in {"kind", "encrypted"}}
        return Fact(str(tree["kind"]), {**opened, **clear})

    def message(self, name: Digest, size: int, key: bytes, data: bytes) -> bytes:
        """Return the zstd frame of a message; raises `ValueError`."""
        return _crypt.decrypt_message(key, data, self._message(name, size))

    # -- what things are ------------------------------------------------------------------

    def _message(self, name: Digest, size: int) -> bytes:
        return _crypt.about(b"mailarchive/message/1", self._vault, name.value, b"%d" % size)

    def _line(self, kind: str, clear: Json) -> bytes:
        words = _dump({**clear, "kind": kind}).encode("ascii")
        return _crypt.about(b"mailarchive/line/1", self._vault, words)


def unlocked(
    place: Place, packs: Packs, provider: KeyProvider | Undecided | None, disk: Disk
) -> Encryption | None:
    """Open the keys of an encrypted vault; `None` without a provider, or a need of one."""
    if provider is UNDECIDED:
        return None
    if provider is None:
        if place.identity.is_encrypted:
            raise is_encrypted()
        return None
    if not place.identity.is_encrypted:
        raise is_plain()
    with nullcontext() if place.read_only else place.writing():
        new = not packs.names()
        if new and not place.read_only:
            place.make_keys()
        parts = place.identity.id, provider, disk
        ring = Keyring.open(place.keys, parts, read_only=place.read_only, new=new)
    return Encryption(place.identity.id, ring)


def _message_key(raw: Digest, needed: Needed) -> bytes:
    """The key that an entry has for bytes whose member was damaged, or a new one."""
    try:
        return needed.message(raw)
    except Erased:
        return _crypt.new_key()


def _parts(record: Record) -> Iterable[StoredOriginal]:
    return [part for part in record.originals if isinstance(part, StoredOriginal)]
