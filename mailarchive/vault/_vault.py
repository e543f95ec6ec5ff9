"""The embedded archive: packs, their index, and the ways to read them.

Laws, each with a test:

1. A receipt is given once the batch's manifest is complete and on the medium.
2. Nothing in a pack is ever changed, shortened or deleted.
3. An entry id is stored once; putting it again writes nothing and gives its first receipt.
4. Equal bytes are stored once, however many entries and owners there are.
5. A view shows a user what that user owns, and of it what that user may know.
6. Everything that is read is compared with the digest that it was stored under.
7. The index follows from the packs: deleted and rebuilt, it gives the same views.
8. Nothing is signed that does not continue what was signed before.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, final

from typing_extensions import override

from mailarchive._durable import no_fuse
from mailarchive._model import Durability, Receipt, Rejected, SinkCapabilities, Stored
from mailarchive.abc import Sink
from mailarchive.errors import ConfigurationError, SinkCorrupt, Unsupported
from mailarchive.vault import _zstd
from mailarchive.vault._audit import Auditor, reading_fact
from mailarchive.vault._choice import UNDECIDED
from mailarchive.vault._disk import Disk
from mailarchive.vault._errors import closed, erased, forked, os_errors
from mailarchive.vault._findings import Level, Looking, VerifyReport
from mailarchive.vault._grants import grants
from mailarchive.vault._keeper import Keeper
from mailarchive.vault._packing import Prepared
from mailarchive.vault._parts import Settings
from mailarchive.vault._reading import location
from mailarchive.vault._session import Session, rebuild
from mailarchive.vault._turn import Turn
from mailarchive.vault._views import View
from mailarchive.vault.signing import FileSigner

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import timedelta

    from mailarchive._durable import Fuse
    from mailarchive._model import ArchiveEntry, Digest, UserId
    from mailarchive.abc import UserMap
    from mailarchive.vault._choice import Undecided
    from mailarchive.vault._index import Found
    from mailarchive.vault._note import LogCheckpoint, VerifierKey
    from mailarchive.vault._repair import RepairPlan
    from mailarchive.vault._seal import Seal
    from mailarchive.vault.anchors import Anchor
    from mailarchive.vault.keys import KeyProvider
    from mailarchive.vault.proofs import ConsistencyProof
    from mailarchive.vault.signing import Signer


def _now() -> datetime:
    return datetime.now(UTC)


def _is_inside(folder: Path, vault: Path) -> bool:
    return folder.resolve().is_relative_to(vault.resolve())


@final
class Vault(Sink):
    """An archive in a folder: append-only packs of tar and zstd, and an index beside them.

    A sink whose receipts say that a message survives a loss of power (on Linux; elsewhere
    the end of the process), and the only reader of what it stored.  A context manager; may
    be shared by threads, and several processes of one machine may write to one vault.
    Opening it raises `SinkError`, `SinkNotWritable`, `SinkCorrupt`, and `Unsupported` for a
    later format or a network file system; of an encrypted one also `KeyUnavailable`, for
    keys that are missing, or not those of the vault.  Making one raises
    `ConfigurationError`, with nothing written, where `keys` does not say what it is to be.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        create: bool = True,
        read_only: bool = False,
        read_back: bool = True,
        compression_level: int = _zstd.USUAL,
        pack_size: int = 512 << 20,
        volume_size: int = 1 << 40,
        keys: KeyProvider | Undecided | None = UNDECIDED,
        clock: Callable[[], datetime] = _now,
        fuse: Fuse | None = None,
    ) -> None:
        """Use the folder `path`; with `create` it is made where it is missing or empty.

        With `read_only` nothing is written, so that neither a put nor an auditor's reading
        is possible.  With `read_back` each batch is read from the medium and compared
        before its receipts are given, and they say `verified`.  `compression_level` is
        zstd's; at the usual one large messages are packed faster.  A pack is closed at about
        `pack_size` bytes, and a new volume begun once the packs of one have about
        `volume_size`.

        Whether a vault is encrypted is said when it is made, and for good: with `keys` it
        is, and it can be read with these keys alone; with **`keys=None` it is not**, and
        whoever can read the folder can read the mail.  Left out, a vault that exists is
        opened, an encrypted one to be verified and nothing else, and none is made: entering
        raises `ConfigurationError`.  What is said and is not so is refused as well.  `fuse`
        is called before each step that changes something on the disk, for tests that crash
        there.

        Raises `ConfigurationError` for a setting that cannot be.
        """
        lowest, highest = _zstd.levels()
        if not lowest <= compression_level <= highest or min(pack_size, volume_size) < 1:
            raise ConfigurationError(
                f"compression_level must be {lowest} to {highest}, pack_size and volume_size at"
                " least 1",
                suggestions=["leave them out: the defaults are measured"],
            )
        self.name: str = "vault"
        durability = Durability.MEDIA if sys.platform == "linux" else Durability.PROCESS
        self.capabilities: SinkCapabilities = SinkCapabilities(
            reads=True, durability=durability, concurrent_puts=True
        )
        self._settings = Settings(
            path=Path(path),
            create=create,
            read_only=read_only,
            read_back=read_back,
            compression_level=compression_level,
            pack_size=pack_size,
            volume_size=volume_size,
            clock=clock,
            keys=keys,
        )
        self._disk = Disk(fuse or no_fuse)
        self._session: Session | None = None
        self._was_open = False

    # -- a sink ---------------------------------------------------------------------------

    @override
    def _open(self) -> None:
        self._session = Session(self._settings, self._disk)
        self._was_open = True
        self.name = f"vault:{self._session.place.identity.id[:8]}"

    @override
    def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt | Rejected:
        (answer,) = self._put_many((entry,))
        return answer

    @override
    def _put_many(self, entries: Sequence[ArchiveEntry]) -> Iterator[Receipt | Rejected]:
        session = self._readable()
        try:
            yield from self._stored(session, entries)
        except Exception as error:
            if self._session is session:
                raise
            raise closed() from error  # whatever it met with is of no interest any more

    def _stored(
        self, session: Session, entries: Sequence[ArchiveEntry]
    ) -> Iterator[Receipt | Rejected]:
        session.refuse_read_only()
        session.refuse_other_index()
        session.refuse_gaps()
        distinct: dict[Digest, ArchiveEntry] = {}
        for entry in entries:
            distinct.setdefault(entry.id, entry)
        asked_at = session.index.last()
        known = session.index.known(distinct)
        for gone in (id_ for id_, was_erased in known.items() if was_erased):
            del distinct[gone]
            yield Rejected(gone, "it was erased from this archive, and is not taken again")
        there = session.index.find(known.keys() & distinct.keys()) if known else {}
        session.refuse_lost(there.values())
        yield from (self._receipt(found, Stored.PRESENT) for found in there.values())
        unknown = [entry for entry in distinct.values() if entry.id not in there]
        prepared, packed = session.packing.prepare(unknown)
        yield from (each for each in prepared if isinstance(each, Rejected))
        ready = [each for each in prepared if isinstance(each, Prepared)]
        if ready:
            new, places = session.store(ready, packed, asked_at)
            session.refuse_lost([it for id_, it in places.items() if id_ not in new])
            for found in places.values():
                yield self._receipt(found, Stored.STORED if found.id in new else Stored.PRESENT)

    def _receipt(self, found: Found, outcome: Stored) -> Receipt:
        return Receipt(
            sink=self.name,
            entry_id=found.id,
            stored_digest=found.raw,
            location=location(found),
            outcome=outcome,
            durability=self.capabilities.durability,
            verified=found.verified,
        )

    @override
    def _foresee(self, entries: Sequence[ArchiveEntry]) -> None:
        self._readable().packing.begin(entries)

    @override
    def _read(self, receipt: Receipt) -> bytes:
        found = self._readable().index.find((receipt.entry_id,)).get(receipt.entry_id)
        if found is None and self._readable().index.erased((receipt.entry_id,)):
            raise erased()
        if found is None:
            raise SinkCorrupt(
                "the vault does not hold an entry that it gave a receipt for",
                suggestions=["verify the vault; is this the vault that gave the receipt?"],
            )
        if (found.raw, location(found)) != (receipt.stored_digest, receipt.location):
            raise SinkCorrupt(
                "the vault holds this entry elsewhere, or other bytes, than the receipt says",
                suggestions=["verify the vault; is this the vault that gave the receipt?"],
            )
        return self._readable().reading.at(found, from_medium=True)

    def _readable(self) -> Session:
        """The open vault, with whatever keys it needs."""
        session = self._opened()
        session.refuse_closed()
        return session

    def _opened(self) -> Session:
        if self._session is None:
            raise closed()
        if self._session.is_foreign:
            raise forked()
        return self._session

    # -- the only reader ------------------------------------------------------------------

    def view(self, user: UserId) -> View:
        """Return what this user owns; the ordinary way to read.

        The id may be any text; one that owns nothing sees nothing.
        """
        session = self._readable()
        return View(session.reading, session.fulltext, user)

    def auditor(self, actor: str, reason: str) -> Auditor:
        """Return a way to read everything, after having put on record who reads and why.

        The record is on the medium before this returns.  Raises `Unsupported` where actor
        or reason is empty, `SinkNotWritable` where the vault was opened with `read_only`,
        and whatever a put raises.
        """
        session = self._readable()
        fact = reading_fact(actor, reason, self._settings.clock())
        with os_errors("putting an auditor's reading on record"):
            session.state(fact)
        return Auditor(session.reading)

    def keeper(self, actor: str, reason: str) -> Keeper:
        """Return the way to hold, retain and erase, in somebody's name.

        Raises `Unsupported` where actor or reason is empty.
        """
        return Keeper(self._readable(), actor, reason, self._settings.clock)

    def reattribute(self, users: UserMap) -> int:
        """Give mail to those whom the user map knows by now, and return how many got an owner.

        Asked for are the addresses of each entry that belonged to nobody when it was
        archived; a user who is found owns the entry from now on, beside those who do
        already.  Each grant is a fact on the medium.  Again it changes nothing.  Raises
        `DirectoryError`, and whatever a put raises.
        """
        session = self._readable()
        session.refuse_read_only()
        given = 0
        with os_errors("giving mail to its owners"):
            for some in grants(session.reading, users, self._settings.clock()):
                given += session.give(some)
        return given

    def verify(
        self,
        level: Level | str = Level.QUICK,
        *,
        checkpoints: Iterable[LogCheckpoint] = (),
        key: VerifierKey | None = None,
        budget: timedelta | None = None,
        resume: str | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> VerifyReport:
        """Return what is not as it was put; writes nothing, and mends nothing.

        `quick` compares headers, manifests, their order and which batches the index has;
        `stored` every stored byte with its digest; `content` unpacks every message too, and
        compares every row of the index; `log` compares, beside what `stored` does, everything
        with the log and its checkpoints, and every row of the index.

        `checkpoints` are those that were kept elsewhere, and `key` is the one by which all
        must be signed: both are for the level `log`.  Once `budget` is used up no further
        stored bytes are looked at, and the report says in `resume` where another call goes
        on; everything else is looked at in each call.  `on_progress` is told bytes done and
        of how many.  Other processes may go on writing.

        Raises `SinkError`, and `ConfigurationError` for settings that do not go together.
        """
        session, kept = self._opened(), tuple(checkpoints)
        if level not in frozenset(Level):
            raise ConfigurationError(f"level must be one of {', '.join(Level)}")
        if level != Level.LOG and (kept or key is not None):
            raise ConfigurationError(
                "a checkpoint and a key are compared at the level log alone",
                suggestions=["verify at the level log"],
            )
        turn, now = Turn(resume, budget, monotonic), self._settings.clock()
        looking = Looking(Level(level), turn, on_progress=on_progress, now=now)
        with os_errors("verifying the vault"):
            return session.verifying().run(looking, kept, key)

    def update_search(self, *, on_progress: Callable[[int], None] | None = None) -> int:
        """Bring the full text up to date and return how many messages it took in.

        A search does so by itself; after a large import it is better done beforehand.
        `on_progress` is told the number as it grows.  Raises `SinkError`.
        """
        return self._readable().fulltext.catch_up(on_progress)

    @property
    def origin(self) -> str:
        """The name of this vault's log, which its checkpoints and their signatures carry."""
        return self._opened().place.identity.origin

    def seal(self, signer: Signer, anchors: Iterable[Anchor] = ()) -> Seal:
        """Return a signed checkpoint over everything that is in the vault now.

        Each anchor is handed the checkpoint unless it has it; what fails there is in
        `Seal.anchored`, and is tried again at the next seal.  With nothing new nothing is
        signed.  Raises `HistoryChanged` where the vault is no continuation of the newest
        checkpoint that it or the signer knows, `SinkCorrupt` where it must be repaired
        first, `ConfigurationError` for a signer that is kept inside the vault, and
        `SinkError`.
        """
        session = self._opened()
        if isinstance(signer, FileSigner) and _is_inside(signer.folder, self._settings.path):
            raise ConfigurationError(
                "the signer's folder is inside the vault, and would be taken back with it",
                suggestions=["give a folder elsewhere, best on another disk or machine"],
            )
        with os_errors("sealing the vault"):
            return session.seal(signer, tuple(anchors))

    def checkpoints(self) -> tuple[LogCheckpoint, ...]:
        """Return the checkpoints that are saved in the vault, the smallest first."""
        return self._opened().proving.checkpoints()

    def consistency(
        self, old: LogCheckpoint, new: LogCheckpoint | None = None
    ) -> ConsistencyProof:
        """Return the proof that the log under `new`, or the newest, only adds to `old`.

        Raises `NotProven` where it does not, `Unsupported` where nothing is sealed,
        `SinkCorrupt` and `SinkError`.
        """
        return self._opened().proving.consistency(old, new)

    def plan_repair(
        self, replica: Vault, *, newer: bool = False, key: VerifierKey | None = None
    ) -> RepairPlan:
        """Return what is damaged and can be restored from another copy.

        `replica` is an open vault: a copy of this one, or another one that holds the same
        messages.  Its batches are taken where the index, the other batches or the sealed
        log of this vault name them.  With `newer` also those that go on behind: what they
        hold, and what they erase, is then believed whoever can write to the replica.
        A saved checkpoint is taken where `key` has signed it and the log of this vault leads
        to it.  Reads every stored byte, and writes nothing.  Raises `SinkError`.
        """
        with os_errors("planning a repair"):
            return self._opened().plan_repair(replica._opened(), newer=newer, key=key)

    def repair(self, plan: RepairPlan, replica: Vault, *, actor: str, reason: str) -> None:
        """Restore what the plan says, from the replica that it was made with.

        Each pack is put on record first, with who and why.  Restored packs are new files; a
        damaged one is kept beside, and nothing of it is lost; a checkpoint is replaced, and
        no fact is made of it.  Raises `Unsupported` where
        actor or reason is empty, `SinkNotWritable`, and `SinkError` where something has
        changed since the plan was made: then plan again.
        """
        if not actor.strip() or not reason.strip():
            raise Unsupported(
                "a repair needs a name and a reason",
                suggestions=["say who repairs, and why; both are kept in the archive"],
            )
        with os_errors("repairing the vault"):
            self._opened().repair(plan, replica._opened(), actor, reason)

    def rebuild(self, *, without_missing: bool = False) -> None:
        """Make the index, and the tiles of the log, anew from the packs alone.

        A vault that was never open is opened for that, and closed: the one way where it cannot
        be opened, because the index is damaged or none.  What stands in its place then, or in
        that of the full text, is removed; a folder is kept beside, under another name.

        What the index alone still knows of would be forgotten: where a pack is missing, or
        ends too early, this raises `SinkCorrupt` unless it is to be done `without_missing`.
        It raises it afterwards where the packs or the log say that something is missing:
        then the vault can be read, and not written to.

        Raises `HistoryChanged` where the packs are not what was sealed: the index is made
        all the same, and the log stays as it is.  Raises `SinkError`.
        """
        with os_errors("rebuilding the index"):
            if self._was_open:
                self._opened().rebuild(without_missing=without_missing)
            else:
                rebuild(self._settings, self._disk, without_missing=without_missing)
