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
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, final

from attrs import frozen
from typing_extensions import override

from mailarchive._model import Receipt, Rejected, SinkCapabilities, Stored
from mailarchive.abc import Sink
from mailarchive.errors import ConfigurationError, SinkCorrupt, SinkUnavailable
from mailarchive.vault import _header, _tar, _zstd
from mailarchive.vault._choice import PLAIN
from mailarchive.vault._errors import Damage, closed
from mailarchive.vault._object_index import ObjectIndex, altered
from mailarchive.vault._object_manifests import PACKS, Manifests, key
from mailarchive.vault._object_packs import Looked, ObjectPacks
from mailarchive.vault._object_store import Objects, S3Store, durability_of, missing
from mailarchive.vault._packing import Packing
from mailarchive.vault._reading import location
from mailarchive.vault._writer import Draft

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from obstore.store import ObjectStore

    from mailarchive._model import ArchiveEntry, Digest, Durability
    from mailarchive.vault._index import Found
    from mailarchive.vault._object_index import Place
    from mailarchive.vault._packing import Prepared
    from mailarchive.vault._writer import Packed

__all__ = ["ObjectVault", "S3Store"]

_MOST_ENTRIES: Final = 2_000


def _now() -> datetime:
    return datetime.now(UTC)


@frozen
class _Session:
    """The parts of an open object vault."""

    vault: str
    index: ObjectIndex
    packs: ObjectPacks
    packing: Packing

    def close(self) -> None:
        """Let go of everything."""
        self.packing.close()
        self.index.close()


@final
class ObjectVault(Sink):
    """Packs as objects that are written once, and where each entry is in PostgreSQL.

    A put is one object: created under a condition, with a checksum of its upload, read back
    and compared, and then one transaction of the index; of bytes that are stored already,
    by another entry, their member is read and compared.  So put many at a time.  Opening it
    tries the store, and refuses one that would replace what is there.  Any number of
    processes on any machines may write; one of them stores at a time.

    It takes no keys and is never encrypted: what encryption there is, is the store's own.
    Opening one that says it is encrypted raises `Unsupported`.

    What a crash leaves behind is found by whoever opens the vault or writes next: a pack
    that was begun is taken in where it arrived whole, and else its name is closed for ever,
    so that no late upload can follow.  Opening lists the store once and takes in every pack
    that the index does not know, such as after PostgreSQL was put back from a dump.

    The index is not believed: before a receipt its rows are compared with the manifest that
    ends their pack, two requests for each pack that was not asked lately.  Where the store
    gives fewer bytes than it says it has, nothing is decided, and nothing new stored.

    A number is given to one pack of a store: where two databases write to one, the second
    to store gets a `SinkError`.  While a pack is missing or damaged, of which nobody can
    tell what it holds, the vault is read and stores nothing (`SinkCorrupt`).
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
        durability: Durability | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """Use the objects under `prefix` in `store`, one of obstore's.

        `database` is what psycopg connects to PostgreSQL with; a schema `mailarchive` is
        made in it.  With `locked` the bucket must lock each new object by itself (S3 Object
        Lock, a default retention in COMPLIANCE mode); each pack is asked for its lock before
        it has a receipt, and each opening leaves a locked object of five bytes.  With
        `read_back` each pack is read again and compared, and receipts say `verified`.  A
        batch larger than `pack_size` bytes becomes several packs.

        `durability` is your word for what the store keeps, and receipts repeat it: give
        `REPLICATED` where there are copies on several machines.  Without it receipts say
        what the kind of the store promises: `MEDIA` for S3, Azure and Google; `PROCESS` for
        obstore's `LocalStore`, which syncs nothing; `BUFFERED` for any other.

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
            reads=True,
            durability=durability_of(store) if durability is None else durability,
            concurrent_puts=True,
        )
        self._objects = Objects(store, prefix, locked=locked)
        self._database = database
        self._read_back = read_back
        self._level = compression_level
        self._pack_size = pack_size
        self._clock = clock
        self._turn = threading.RLock()
        self._session: _Session | None = None
        self._opened = False
        self._looked = Looked()

    # -- a sink ---------------------------------------------------------------------------

    @override
    def _open(self) -> None:
        self._objects.probe()
        self._opened = True
        session = self._connected()
        self.name = f"objects:{session.vault[:8]}"
        with session.index.writing():
            self._look(session)

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
        with self._in_turn() as session:
            return self._stored(session, entries)

    @override
    def _foresee(self, entries: Sequence[ArchiveEntry]) -> None:
        with self._in_turn() as session:
            session.packing.begin(entries)

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
        given = [self._receipt(found, each, new) for each in ids]
        session.packs.manifests.confirm(found.values())
        return [*rejected, *given]

    def _receipt(self, found: dict[Digest, Place], id_: Digest, new: frozenset[Digest]) -> Receipt:
        where = found.get(id_)
        if where is None:
            raise altered("looking for what was stored")
        if where.pack in self._looked.lost:
            raise missing(key(where.pack))
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
        with self._in_turn() as session:
            found = session.index.find((receipt.entry_id,)).get(receipt.entry_id)
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
        stored, pack = found.stored, key(found.pack)
        member = self._objects.part(pack, stored.offset, _tar.member_size(stored.stored_size))
        if member is None:
            raise missing(pack)
        frame = bytes(member[_tar.BLOCK :][: stored.stored_size])
        if _tar.parse(bytes(member[: _tar.BLOCK])) != (stored.name, stored.stored_size):
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
            undecided = session.packs.settle()
            known = session.index.find(each.record.id for each in ready)
            wanted = [each for each in ready if each.record.id not in known]
            if wanted:
                self._refuse_doubt(undecided or self._looked.trouble)
            there = self._there(session, wanted)
            for some in self._portions(wanted, packed):
                parts = dict.fromkeys(digest for each in some for digest in each.parts)
                objects = tuple(packed[digest] for digest in parts if digest not in there)
                there.update(each.raw for each in objects)
                records = tuple(each.record for each in some)
                session.packs.write(
                    Draft(objects, records), self._clock(), read_back=self._read_back
                )
        return frozenset(each.record.id for each in wanted)

    def _there(self, session: _Session, wanted: Sequence[Prepared]) -> set[Digest]:
        """Return what is stored already of these, read again where receipts will say so."""
        found = session.index.places(digest for each in wanted for digest in each.parts)
        session.packs.manifests.confirm(found.values())
        if self._read_back:
            for each in found.values():
                self._unpacked(each)
        return set(found)

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

    # -- what a crash left behind, and what others did ------------------------------------

    def reconcile(self) -> int:
        """Take in every pack that the index does not know; return how many there were.

        Opening the vault does the same.  Raises `SinkError`; `SinkCorrupt` where a pack is
        missing or not whole, after all others were taken in.
        """
        with self._turn, self._guard("reconciling"):
            session = self._connected()
            with session.index.writing():
                looked = self._look(session)
        if looked.trouble is not None:
            raise looked.trouble
        return looked.taken

    def _look(self, session: _Session) -> Looked:
        self._looked = session.packs.look()
        return self._looked

    def _refuse_doubt(self, trouble: SinkCorrupt | None) -> None:
        """Store nothing while a pack cannot be read: it may hold what would be stored again."""
        if trouble is not None:
            raise SinkCorrupt(
                f"nothing is stored while packs are missing or damaged: {trouble}",
                suggestions=[
                    *trouble.suggestions,
                    "restore what is missing, and open the vault again",
                ],
            ) from trouble

    # -- the parts ------------------------------------------------------------------------

    @contextmanager
    def _in_turn(self) -> Iterator[_Session]:
        """Give the parts to one thread at a time; after an outage the next one connects anew."""
        with self._turn:
            try:
                yield self._connected()
            except SinkUnavailable:
                self._hang_up()  # the connection may be gone, and with it the right to write
                raise

    def _connected(self) -> _Session:
        if not self._opened:
            raise closed()
        if self._session is None:
            vault = self._identify()
            index = ObjectIndex(self._database, vault)
            packing = Packing(self._level, index.stored)
            packs = ObjectPacks(vault, self._objects, index, Manifests(vault, self._objects))
            self._session = _Session(vault, index, packs, packing)
        return self._session

    def _identify(self) -> str:
        """Return the vault's id, which is made up where nothing is there yet."""
        data = self._objects.get(_header.NAME)
        if data is None:
            if next(self._objects.names(PACKS), None) is not None:
                raise SinkCorrupt(
                    "vault.json is missing from a store that holds packs",
                    suggestions=["restore it from a copy; every manifest names the vault's id"],
                )
            self._objects.create(_header.NAME, _header.new(self._clock(), PLAIN))
            data = self._objects.get(_header.NAME)
        if data is None:
            raise missing(_header.NAME)
        return _header.parse(data).id

    def _hang_up(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()
