"""The vault's packs as objects in a store such as S3, with an index in PostgreSQL.

For many machines that archive into one place; **never encrypted** by the library, so that
whoever can read the store can read the mail.  `pip install 'mailarchive[objects]'`.
The objects are those of a vault in a folder, under the same names::

    vault.json
    volumes/0001/packs/<pack>.tar

Copied into a folder they are a vault, with its views, its search and its verification.
Everything in PostgreSQL can be made again from them: `ObjectVault.reconcile`.
"""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, final

from attrs import frozen
from typing_extensions import override

from mailarchive._model import Durability, Receipt, Rejected, SinkCapabilities, Stored
from mailarchive.abc import Sink
from mailarchive.errors import ConfigurationError, SinkCorrupt, SinkUnavailable
from mailarchive.vault import _place, _tar, _zstd
from mailarchive.vault._choice import PLAIN
from mailarchive.vault._errors import Damage, closed
from mailarchive.vault._manifest import BAD_JSON, LARGEST, Manifest
from mailarchive.vault._object_index import ObjectIndex
from mailarchive.vault._object_store import Objects, S3Store, missing
from mailarchive.vault._packing import Packing
from mailarchive.vault._reading import location
from mailarchive.vault._volumes import FIRST
from mailarchive.vault._writer import Draft, assemble, new_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from obstore.store import ObjectStore

    from mailarchive._model import ArchiveEntry, Digest
    from mailarchive.vault._index import Found
    from mailarchive.vault._packing import Prepared
    from mailarchive.vault._writer import Packed

__all__ = ["ObjectVault", "S3Store"]

_PACKS: Final = f"volumes/{FIRST}/packs"
_MOST_ENTRIES: Final = 2_000
_HEADER: Final = "vault.json"


def _now() -> datetime:
    return datetime.now(UTC)


@frozen
class _Session:
    """The parts of an open object vault."""

    vault: str
    objects: Objects
    index: ObjectIndex
    packing: Packing

    def close(self) -> None:
        """Let go of everything."""
        self.packing.close()
        self.index.close()


@final
class ObjectVault(Sink):
    """Packs as objects that are written once, and where each entry is in PostgreSQL.

    A put is one object: created under a condition, with a checksum of its upload, read back
    and compared, and then one transaction of the index.  So put many at a time.  Opening it
    tries the store, and refuses one that would replace what is there.  Any number of
    processes on any machines may write; one of them stores at a time.

    It takes no keys and is never encrypted: what encryption there is, is the store's own.
    Opening one that says it is encrypted raises `Unsupported`.

    What a crash leaves behind is found by whoever opens the vault or writes next: a pack
    that was begun is taken in where it arrived whole, and else its name is closed for ever,
    so that no late upload can follow.
    """

    def __init__(
        self,
        store: ObjectStore,
        database: str,
        *,
        prefix: str = "",
        locked: bool = False,
        read_back: bool = True,
        compression_level: int = _zstd.USUAL,
        pack_size: int = 64 << 20,
        durability: Durability = Durability.MEDIA,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """Use the objects under `prefix` in `store`, one of obstore's.

        `database` is what psycopg connects to PostgreSQL with; a schema `mailarchive` is
        made in it.  With `locked` the bucket must lock each new object by itself (S3 Object
        Lock, a default retention in COMPLIANCE mode).  With `read_back` each pack is read
        again and compared, and receipts say `verified`.  A batch larger than `pack_size`
        bytes becomes several packs.  `durability` is what is known of the store; give
        `REPLICATED` where it keeps copies on several machines.

        Raises `ConfigurationError` for a setting that cannot be.
        """
        lowest, highest = _zstd.levels()
        if not lowest <= compression_level <= highest or pack_size < 1:
            raise ConfigurationError(
                f"compression_level must be {lowest} to {highest}, and pack_size at least 1",
                suggestions=["leave both out"],
            )
        self.name: str = "objects"
        self.capabilities: SinkCapabilities = SinkCapabilities(
            reads=True, durability=durability, concurrent_puts=True
        )
        self._objects = Objects(store, prefix)
        self._database = database
        self._locked = locked
        self._read_back = read_back
        self._level = compression_level
        self._pack_size = pack_size
        self._clock = clock
        self._turn = threading.RLock()
        self._session: _Session | None = None
        self._opened = False

    # -- a sink ---------------------------------------------------------------------------

    @override
    def _open(self) -> None:
        self._objects.probe(locked=self._locked)
        self._opened = True
        session = self._connected()
        self.name = f"objects:{session.vault[:8]}"
        known = session.index.packs()
        with session.index.writing():
            self._settle(session)
            if not known:
                self._adopt(session)

    @override
    def _close(self) -> None:
        self._opened = False
        self._hang_up()

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt | Rejected:
        (answer,) = self._put_many((entry,))
        return answer

    @override
    def _put_many(self, entries: Sequence[ArchiveEntry]) -> list[Receipt | Rejected]:
        with self._turn:
            session = self._connected()
            try:
                return self._stored(session, entries)
            except SinkUnavailable:
                self._hang_up()  # the connection may be gone, and with it the right to write
                raise

    def _stored(
        self, session: _Session, entries: Sequence[ArchiveEntry]
    ) -> list[Receipt | Rejected]:
        known = session.index.find(entry.id for entry in entries)
        unknown = [entry for entry in entries if entry.id not in known]
        prepared, packed = session.packing.prepare(unknown)
        rejected = [each for each in prepared if isinstance(each, Rejected)]
        ready = [each for each in prepared if not isinstance(each, Rejected)]
        new = self._store(session, ready, packed) if ready else frozenset()
        refused = {each.entry_id for each in rejected}
        ids = [entry.id for entry in entries if entry.id not in refused]
        found = session.index.find(ids)
        return [*rejected, *(self._receipt(found, each, new) for each in ids)]

    def _receipt(self, found: dict[Digest, Found], id_: Digest, new: frozenset[Digest]) -> Receipt:
        where = found[id_]
        return Receipt(
            sink=self.name,
            entry_id=id_,
            stored_digest=where.stored.raw,
            location=location(where),
            outcome=Stored.STORED if id_ in new else Stored.PRESENT,
            durability=self.capabilities.durability,
            verified=where.verified,
        )

    @override
    def _read(self, receipt: Receipt) -> bytes:
        with self._turn:
            session = self._connected()
            try:
                found = session.index.find((receipt.entry_id,)).get(receipt.entry_id)
            except SinkUnavailable:
                self._hang_up()
                raise
        if found is None or (found.stored.raw, location(found)) != (
            receipt.stored_digest,
            receipt.location,
        ):
            raise SinkCorrupt(
                "the vault holds nothing that belongs to this receipt",
                suggestions=["is this the vault that gave it? reconcile the index with the packs"],
            )
        return self._unpacked(found)

    def _unpacked(self, found: Found) -> bytes:
        """Return bytes as they were put, compared with every digest on the way."""
        stored, key = found.stored, _key(found.pack)
        member = self._objects.part(key, stored.offset, _tar.member_size(stored.stored_size))
        if member is None:
            raise missing(key)
        frame = member[_tar.BLOCK :][: stored.stored_size]
        if _tar.parse(member[: _tar.BLOCK]) != (stored.name, stored.stored_size):
            raise Damage.at(found.pack, stored.offset, "misplaced", "another member stands here")
        if hashlib.sha256(frame).digest() != stored.stored.value:
            raise Damage.at(found.pack, stored.offset, "digest", "not what its name says")
        try:
            raw = _zstd.decompress(frame, stored.size)
        except ValueError as error:
            raise Damage.at(found.pack, stored.offset, "frame", str(error)) from error
        if hashlib.sha256(raw).digest() != stored.raw.value:
            raise Damage.at(found.pack, stored.offset, "raw", "unpacks to other bytes")
        return raw

    # -- writing --------------------------------------------------------------------------

    def _store(
        self, session: _Session, ready: Sequence[Prepared], packed: dict[Digest, Packed]
    ) -> frozenset[Digest]:
        """Store what is not there yet, and return the ids that are new."""
        with session.index.writing():
            self._settle(session)
            known = session.index.find(each.record.id for each in ready)
            wanted = [each for each in ready if each.record.id not in known]
            there = session.index.stored(digest for each in wanted for digest in each.parts)
            for some in self._portions(wanted, packed):
                parts = dict.fromkeys(digest for each in some for digest in each.parts)
                objects = tuple(packed[digest] for digest in parts if digest not in there)
                there.update(each.raw for each in objects)
                records = tuple(each.record for each in some)
                self._write(session, Draft(objects, records))
        return frozenset(each.record.id for each in wanted)

    def _portions(
        self, wanted: Sequence[Prepared], packed: dict[Digest, Packed]
    ) -> Iterator[list[Prepared]]:
        """Cut a batch into what one pack may hold."""
        portion: list[Prepared] = []
        size = 0
        for each in wanted:
            more = sum(len(packed[digest].frame) for digest in each.parts if digest in packed)
            if portion and (size + more > self._pack_size or len(portion) == _MOST_ENTRIES):
                yield portion
                portion, size = [], 0
            portion.append(each)
            size += more
        if portion:
            yield portion

    def _write(self, session: _Session, draft: Draft) -> None:
        """Create one pack, and take it into the index."""
        now = self._clock()
        name = new_name(now)
        last = session.index.last()
        manifest, members = assemble(draft, session.vault, (FIRST, name), 0, last=last, at=now)
        data = b"".join([*members, _tar.TRAILER])
        session.index.begin(name)
        created = self._objects.create(_key(name), data)
        if (self._read_back or not created) and self._objects.get(_key(name)) != data:
            raise SinkUnavailable(
                "a pack did not arrive as it was sent, and counts for nothing",
                suggestions=["run again: what was in it is stored in another pack"],
            )
        session.index.take(manifest, verified=self._read_back)

    # -- what a crash left behind ---------------------------------------------------------

    def reconcile(self) -> int:
        """Take in every pack that the index does not know; return how many there were.

        Also how an index is made anew: give the vault an empty database.  Raises
        `SinkError`; `SinkCorrupt` for a pack that is not whole, after all others.
        """
        with self._turn, self._guard("reconciling"):
            session = self._connected()
            with session.index.writing():
                self._settle(session)
                return self._adopt(session)

    def _settle(self, session: _Session) -> None:
        """Decide what became of each pack that was begun and of which nothing more is known."""
        for name in sorted(session.index.packs(begun=True)):
            # Whoever began it is dead: it held the right to write that this one holds now.
            self._objects.create(_key(name), b"")
            try:
                self._take(session, name)
            except Damage:
                session.index.void(name)  # it arrived changed, and was never acknowledged

    def _adopt(self, session: _Session) -> int:
        known = session.index.packs()
        files = (name for name, _ in self._objects.names(_PACKS) if name.endswith(".tar"))
        names = (name.removesuffix(".tar") for name in files)
        unknown = sorted(name for name in names if _tar.is_pack(name) and name not in known)
        trouble: SinkCorrupt | None = None
        for name in unknown:
            try:
                self._take(session, name)
            except SinkCorrupt as error:
                trouble = error
        if trouble is not None:
            raise trouble
        return len(unknown)

    def _take(self, session: _Session, name: str) -> None:
        """Take in a pack as it is in the store; an empty one is closed."""
        data = self._objects.get(_key(name))
        if data is None:
            raise missing(_key(name))
        if not data:
            session.index.void(name)
            return
        session.index.take(_manifest_of(session.vault, name, data), verified=True)

    # -- the parts ------------------------------------------------------------------------

    def _connected(self) -> _Session:
        if not self._opened:
            raise closed()
        if self._session is None:
            vault = self._identify()
            index = ObjectIndex(self._database, vault)
            packing = Packing(self._level, index.stored)
            self._session = _Session(vault, self._objects, index, packing)
        return self._session

    def _identify(self) -> str:
        """Return the vault's id, which is made up where nothing is there yet."""
        data = self._objects.get(_HEADER)
        if data is None:
            if next(self._objects.names(_PACKS), None) is not None:
                raise SinkCorrupt(
                    "vault.json is missing from a store that holds packs",
                    suggestions=["restore it from a copy; every manifest names the vault's id"],
                )
            self._objects.create(_HEADER, _place.new_header(self._clock(), PLAIN))
            data = self._objects.get(_HEADER)
        if data is None:
            raise missing(_HEADER)
        return _place.parse_header(data).id

    def _hang_up(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()


def _key(pack: str) -> str:
    return f"{_PACKS}/{pack}.tar"


def _manifest_of(vault: str, name: str, data: bytes) -> Manifest:
    """Return the manifest of a whole pack, every byte of it compared; raises `Damage`."""
    at = 0
    while at < len(data):
        parsed = _tar.parse(data[at : at + _tar.BLOCK])
        if parsed is None:
            break
        member, size = parsed
        content = data[at + _tar.BLOCK :][:size]
        if len(content) != size or hashlib.sha256(content).hexdigest() not in member:
            raise Damage.at(name, at, "digest", "the content is not what its name says")
        if member.startswith("m/"):
            return _checked(vault, name, at, content)
        at += _tar.member_size(size)
    raise Damage.at(name, at, "header", "no manifest where one must be")


def _checked(vault: str, name: str, at: int, content: bytes) -> Manifest:
    try:
        manifest = Manifest.read(content, at)
        whole = len(content) <= LARGEST and manifest.is_readable()
    except BAD_JSON as error:
        raise Damage.at(name, at, "manifest", "a manifest that cannot be read") from error
    head = manifest.head
    if not whole or (head.vault, head.pack, head.offset) != (vault, name, 0):
        raise Damage.at(name, at, "misplaced", "a manifest that belongs elsewhere")
    return manifest
