"""Appending batches: to a pack of one's own, durably, and to the index.

One batch is one write and one sync.  The commit point is its manifest, complete and
durable.  The index works out its rows meanwhile and is committed after that; what happens
to it can be made up for.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from mailarchive.errors import SinkError, SinkFull
from mailarchive.vault import _disk, _loading, _manifest, _manifest_bounds, _tar
from mailarchive.vault._errors import Damage, no_more_numbers
from mailarchive.vault._index import Found
from mailarchive.vault._manifest import Head, Manifest, StoredObject
from mailarchive.vault._volumes import following

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from mailarchive._model import Digest
    from mailarchive.vault._disk import Disk
    from mailarchive.vault._index import Index
    from mailarchive.vault._manifest import Fact
    from mailarchive.vault._packs import Packs
    from mailarchive.vault._place import Place
    from mailarchive.vault._record import Record

_SPARE = 4 << 20
"""Bytes that must stay free for the index when a batch is written."""
_LINE = 1024
"""Bytes of a manifest's line, on an average."""
_LITTLE = 1 << 17
"""Bytes of a batch that is not worth a thread's waking."""
_LARGE = 1 << 18
"""Bytes of a message that is written by itself, rather than copied beside others."""
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@frozen
class Packed:
    """A message as it will be stored, and the digests of both of its forms."""

    raw: Digest
    size: int
    stored: Digest
    frame: bytes = field(repr=False)
    suite: str = _manifest.PLAIN


@frozen
class Draft:
    """What a batch is to hold."""

    objects: tuple[Packed, ...] = ()
    contents: tuple[Record | Fact, ...] = ()

    @property
    def size(self) -> int:
        """Roughly the bytes that the batch will take in a pack."""
        members = sum(_tar.member_size(len(each.frame)) for each in self.objects)
        return members + _LINE * (len(self.objects) + len(self.contents))


@frozen
class _Own:
    """The pack that this writer has for itself, held by a lock on its open file."""

    volume: str
    name: str
    handle: int


class Writer:
    """Appends the batches of one open vault; used by whoever holds the vault's lock."""

    def __init__(
        self,
        parts: tuple[Place, Packs, Index],
        disk: Disk,
        clock: Callable[[], datetime],
        *,
        sizes: tuple[int, int],
        read_back: bool,
    ) -> None:
        """Write packs and volumes of about these sizes; with `read_back` compare each batch."""
        self._place, self._packs, self._index = parts
        self._disk = disk
        self._clock = clock
        self._pack_size, self._volume_size = sizes
        self._read_back = read_back
        self._own: _Own | None = None
        self._settled = False
        self._newest: Manifest | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mailarchive-pack")

    def close(self) -> None:
        """Let go of everything."""
        self._thread.shutdown()
        self._let_go()

    def _let_go(self) -> None:
        """Let go of the pack, as it is: whoever writes next may go on with it."""
        if self._own is not None:
            _disk.close(self._own.handle)
            self._own = None

    def append(self, draft: Draft) -> None:
        """Write a batch, make it durable and take it into the index.

        A pack in which a write, a sync or the reading back failed is poisoned: it counts up
        to its last good batch and is never written again, and the batch goes into a new
        pack, once; one that the index refuses is not tried again.  Raises `SinkFull`,
        `SinkError`, `OSError`.
        """
        try:
            self._newest = self._write(draft, fresh=False)
        except Damage:
            self._poison()
            raise
        except OSError as error:
            poisoned = self._poison()
            if error.errno in _NO_ROOM or not poisoned:
                raise
            self._newest = self._write_again(draft)

    def placed(self, records: Iterable[Record]) -> dict[Digest, Found]:
        """Return where the batch that was appended last has these entries' own bytes, by id."""
        if self._newest is None:
            return {}
        head, verified = self._newest.head, self._read_back and _disk.CAN_EVICT
        objects = {stored.raw: stored for stored in self._newest.objects}
        return {
            it.id: Found(it.id, objects[it.raw], head.pack, verified, it.raw, head.volume)
            for it in records
            if it.raw in objects
        }

    def _write_again(self, draft: Draft) -> Manifest:
        try:
            return self._write(draft, fresh=True)
        except OSError:
            self._poison()
            raise

    def _write(self, draft: Draft, *, fresh: bool) -> Manifest:
        owed = [_manifest.poisoned(row.name, row.upto) for row in self._index.poisoned()]
        draft = evolve(draft, contents=(*owed, *draft.contents))
        own, start = self._pack_for(draft.size, fresh=fresh)
        manifest, members = assemble(
            draft,
            self._place.identity.id,
            (own.volume, own.name),
            start,
            last=self._index.last(),
            at=self._clock(),
        )
        try:
            durable = self._begin(own.handle, members, start)
            with self._index.transaction():
                self._index.apply(manifest, verified=self._read_back and _disk.CAN_EVICT)
                durable.result()
        except BaseException:
            self._wait()
            raise
        return manifest

    def _wait(self) -> None:
        """Return once no write is under way, however often somebody interrupts."""
        idle: Future[int] | None = None
        while idle is None or not idle.done():
            with suppress(KeyboardInterrupt):  # the first one is on its way already
                idle = idle or self._thread.submit(int)
                futures.wait((idle,))

    def _begin(self, handle: int, members: Sequence[bytes], start: int) -> Future[None]:
        """Begin to make a batch durable; a small one is so when this returns."""
        if sum(map(len, members)) > _LITTLE:
            return self._thread.submit(self._make_durable, handle, members, start)
        self._make_durable(handle, members, start)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def _make_durable(self, handle: int, members: Sequence[bytes], start: int) -> None:
        for at, piece in _pieces(members, start):  # joined anew below, and never all at once
            self._disk.write(handle, piece, at)
        self._disk.sync(handle)
        if self._read_back:
            for at, piece in _pieces(members, start):
                self._disk.read_back(handle, piece, at)

    # -- which pack -----------------------------------------------------------------------

    def _pack_for(self, size: int, *, fresh: bool) -> tuple[_Own, int]:
        """The pack to append to, and where its end is."""
        if self._own is not None:
            end = self._goes_on(self._own, size)
            if end is not None:
                return self._own, end
            self._let_go()
        if not self._settled:
            self._place.settle()
            self._settled = True
        found = None if fresh else self._left_over(size)
        if found is None:
            found = self._new_pack(), 0
        self._own = found[0]
        self._check_room(self._own, size)
        return found

    def _goes_on(self, own: _Own, size: int) -> int | None:
        """Where the own pack ends; `None` where it is full or not to be touched again."""
        row = self._index.pack(own.name)
        if row is None or row.sealed or os.fstat(own.handle).st_size != row.upto:
            return None
        if row.upto and row.upto + size > self._pack_size:
            self._finish(own, row.upto)
            return None
        self._check_room(own, size)
        return row.upto

    def _finish(self, own: _Own, end: int) -> None:
        """Close a full pack as tar wants it; what it holds is durable already."""
        self._disk.write(own.handle, _tar.TRAILER, end)
        with self._index.transaction():
            self._index.seal(own.name)

    def _left_over(self, size: int) -> tuple[_Own, int] | None:
        """A pack of the newest volume that its writer has let go of, whole, with room for more."""
        newest, _ = self._index.newest_volume()
        for row in self._index.packs(unsealed=True):
            if row.volume != newest or self._packs.size(row.name) != row.upto:
                continue
            if row.upto + size > self._pack_size:
                continue
            with self._packs.folder(row.name) as folder:
                handle = _disk.open_file(f"{row.name}.tar", folder, writing=True)
            # Its writer may have died before the name was durable.
            if self._take(handle, row.volume):
                return _Own(row.volume, row.name, handle), row.upto
        return None

    def _new_pack(self) -> _Own:
        name, volume = new_name(self._clock()), self._volume()
        with self._index.transaction():
            self._index.register(name, volume)
        try:
            volumes = self._place.volumes()
            volumes.make(volume)
            with volumes.packs(volume) as folder:
                handle = self._disk.create(f"{name}.tar", folder)
            self._take(handle, volume)
        except OSError:
            with self._index.transaction():
                self._index.seal(name)
            raise
        return _Own(volume, name, handle)

    def _volume(self) -> str:
        """The volume for a new pack: the newest one, or the one after it once that is full."""
        newest, size = self._index.newest_volume()
        return newest if size < self._volume_size else following(newest)

    def _take(self, handle: int, volume: str) -> bool:
        """Lock a pack for oneself and make its name durable; `False` where another has it."""
        taken = False
        try:
            taken = _lock(handle)
            if taken:
                with self._place.volumes().packs(volume) as folder:
                    self._disk.sync_folder(folder)
        except OSError:
            taken = False
            raise
        finally:
            if not taken:
                _disk.close(handle)
        return taken

    def _check_room(self, own: _Own, size: int) -> None:
        """Rather write nothing at all than half of a batch."""
        needed = size + _SPARE
        if _disk.free_space(own.handle) < needed:
            raise SinkFull(
                f"the disk has no room for the next batch and its index: {needed >> 10} KiB",
                suggestions=["make room on the disk of the vault, then run again"],
            )

    def _poison(self) -> bool:
        """Never touch the own pack again; the next batch says so to whoever reads the packs."""
        own = self._own
        self._let_go()
        if own is None:
            return False
        with self._index.transaction():
            self._index.seal(own.name, owed=True)
        return True


def assemble(
    draft: Draft,
    vault: str,
    place: tuple[str, str],
    start: int,
    *,
    last: tuple[int, Digest | None],
    at: datetime,
) -> tuple[Manifest, list[bytes]]:
    """Return the manifest of a batch, and the batch in pieces, which begins at `start`.

    `place` is the volume and the pack, `last` the number and the digest of the manifest
    before.  Raises `SinkError` where there is too much in it.
    """
    members: list[bytes] = []
    objects: list[StoredObject] = []
    end = start
    for packed in draft.objects:
        size = len(packed.frame)
        objects.append(
            StoredObject(packed.stored, size, packed.raw, packed.size, end, packed.suite)
        )
        members += _tar.member(objects[-1].name, packed.frame)
        end += _tar.member_size(size)
    sequence, previous = last
    if sequence >= _loading.MOST:
        raise no_more_numbers()
    volume, pack = place
    head = Head(
        vault=vault,
        volume=volume,
        pack=pack,
        offset=start,
        sequence=sequence + 1,
        previous=previous,
        at=at,
        objects=len(objects),
        salt=secrets.token_bytes(32),
    )
    manifest = Manifest.written(head, tuple(objects), draft.contents, end)
    if not _manifest_bounds.fits(manifest.data):
        raise SinkError(
            "the manifest of a batch would be too large to be read back: nothing was written",
            suggestions=[
                "put fewer messages at a time",
                "where a hold or a rule names very many, divide it into several",
            ],
        )
    members += _tar.member(_tar.MANIFEST.format(manifest.digest.hex), manifest.data)
    return manifest, members


def _pieces(members: Iterable[bytes], start: int) -> Iterator[tuple[int, bytes]]:
    """Join what is small, mostly a whole batch, and copy nothing that is large."""
    small: list[bytes] = []
    at = size = start
    for member in members:
        if len(member) >= _LARGE:
            yield at, b"".join(small)
            yield size, member
            small, at = [], size + len(member)
        else:
            small.append(member)
        size += len(member)
    yield at, b"".join(small)


def new_name(now: datetime) -> str:
    """Return a name that no other pack has."""
    return f"{now:%Y%m%dT%H%M%SZ}-{os.getpid()}-{secrets.token_hex(6)}"


def _lock(handle: int) -> bool:
    """Take a pack for oneself; `False` where another process has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
