"""Reading packs: members, manifests, and what is wrong with them.

Nothing here writes, and nothing here believes a size, an offset or a digest that it has
not compared.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeAlias

from attrs import evolve, field, frozen

from mailarchive._model import Digest
from mailarchive.vault import _disk, _manifest_bounds, _tar, _zstd
from mailarchive.vault._errors import Damage
from mailarchive.vault._manifest import BAD_JSON, Manifest
from mailarchive.vault._manifest_bounds import LARGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mailarchive.vault._manifest import StoredObject
    from mailarchive.vault._volumes import Volumes

_PIECE = 1 << 20


Member: TypeAlias = "tuple[int, str, int]"
"""Where a member begins, its name, and the bytes of its content."""


class Opener(Protocol):
    """Opens the messages of an encrypted vault."""

    def frame(self, stored: StoredObject, data: bytes) -> bytes:
        """Return the zstd frame in stored bytes; raises `ValueError`, `KeyUnavailable`."""
        ...

    def name(self, digest: Digest) -> Digest:
        """Return what the vault calls bytes with this digest."""
        ...


@frozen
class Pack:
    """An open pack of the vault with the id `vault`; `size` bytes of it count."""

    vault: str
    name: str
    handle: int
    size: int

    def damage(self, offset: int | None, kind: str, words: str) -> Damage:
        """Return a damage in this pack."""
        return Damage.at(self.name, offset, kind, words)

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on; raises `Damage` where there are fewer."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise self.damage(offset, "cut", "the pack ends in the middle of a member")
        try:
            found = _disk.read(self.handle, size, offset)
        except OSError as error:
            raise self.damage(offset, "unreadable", "the medium does not give it back") from error
        if len(found) != size:
            raise self.damage(offset, "cut", "the pack ends in the middle of a member")
        return found

    def header(self, offset: int) -> tuple[str, int] | None:
        """Return name and size of the member at `offset`; `None` at the end of the pack.

        Raises `Damage`.
        """
        block = self.read(offset, min(_tar.BLOCK, self.size - offset))
        if block == bytes(len(block)):
            return None
        parsed = _tar.parse(block)
        if parsed is None:
            raise self.damage(offset, "header", "no header of a member, or a changed one")
        if offset + _tar.member_size(parsed[1]) > self.size:
            raise self.damage(offset, "cut", "the pack ends in the middle of a member")
        return parsed

    def expect(self, offset: int, name: str, size: int) -> None:
        """Raise `Damage` unless this very member begins at `offset`."""
        if self.header(offset) != (name, size):
            raise self.damage(offset, "misplaced", "another member than the manifest says")

    def content(self, offset: int, name: str, size: int) -> bytes:
        """Return a member's bytes, compared with the digest in its name; raises `Damage`."""
        self.expect(offset, name, size)
        data = self.read(offset + _tar.BLOCK, size)
        if hashlib.sha256(data).hexdigest() not in name:
            raise self.damage(offset, "digest", "the content is not what its name says")
        return data

    def check(self, offset: int, name: str, size: int) -> None:
        """Compare a member with its name as `content` does, in little memory."""
        self.expect(offset, name, size)
        self.check_content(offset, name, size)

    def check_content(self, offset: int, name: str, size: int) -> None:
        """Compare content and padding of a member whose header was compared already."""
        if size <= _PIECE and self._is_whole(offset, name, size):
            return
        digest = hashlib.sha256()
        start, rest = offset + _tar.BLOCK, size
        while rest:
            piece = self.read(start, min(rest, _PIECE))
            digest.update(piece)
            start, rest = start + len(piece), rest - len(piece)
        if digest.hexdigest() not in name:
            raise self.damage(offset, "digest", "the content is not what its name says")
        self.check_padding(offset, size)

    def _is_whole(self, offset: int, name: str, size: int) -> bool:
        """Whether content and padding are what the name says; in one read."""
        try:
            data = self.read(offset + _tar.BLOCK, size + _tar.padding(size))
        except Damage:
            return False
        digest = hashlib.sha256(memoryview(data)[:size]).hexdigest()
        return digest in name and data.endswith(bytes(len(data) - size))

    def check_padding(self, offset: int, size: int) -> None:
        """Raise `Damage` unless nothing but NULs follow the content of a member."""
        end = offset + _tar.BLOCK + size
        if any(self.read(end, _tar.padding(size))):
            raise self.damage(end, "padding", "the padding of a member is not empty")

    def is_emptied(self, offset: int, size: int) -> bool:
        """Whether a member holds nothing but zeros, as one does that was erased."""
        start, rest = offset + _tar.BLOCK, size
        while rest:
            piece = self.read(start, min(rest, _PIECE))
            if any(piece):
                return False
            start, rest = start + len(piece), rest - len(piece)
        return True

    def check_unpacked(self, stored: StoredObject, opener: Opener | None = None) -> None:
        """Compare a message with its digest as `unpacked` does, in little memory.

        Of its stored bytes the header alone is looked at.  Raises `Damage`.
        """
        self.expect(*stored.member)
        digest = hashlib.sha256()
        try:
            for piece in _zstd.pieces(self._frame(stored, opener), stored.size, _PIECE):
                digest.update(piece)
        except ValueError as error:
            raise self.damage(stored.offset, "frame", str(error)) from error
        self._compare(stored, Digest(digest.digest()), opener)

    def _frame(self, stored: StoredObject, opener: Opener | None) -> Iterator[bytes]:
        start, size = stored.offset + _tar.BLOCK, stored.stored_size
        if opener is not None:
            yield opener.frame(stored, self.read(start, size))
            return
        for at in range(0, size, _PIECE):
            yield self.read(start + at, min(_PIECE, size - at))

    def _compare(self, stored: StoredObject, digest: Digest, opener: Opener | None) -> None:
        if (digest if opener is None else opener.name(digest)) != stored.raw:
            raise self.damage(stored.offset, "raw", "unpacks to other bytes than were put")

    def unpacked(self, stored: StoredObject, opener: Opener | None = None) -> bytes:
        """Return a message as it was put, compared with its digest; raises `Damage`.

        `opener` opens what is encrypted.
        """
        frame = self.content(stored.offset, stored.name, stored.stored_size)
        try:
            if opener is not None:
                frame = opener.frame(stored, frame)
            raw = _zstd.decompress(frame, stored.size)
        except ValueError as error:
            raise self.damage(stored.offset, "frame", str(error)) from error
        self._compare(stored, Digest.of(raw), opener)
        return raw

    def manifest(self, offset: int) -> Manifest:
        """Return the manifest whose member begins at `offset`; raises `Damage`."""
        parsed = self.header(offset)
        if parsed is None or not parsed[0].startswith("m/") or parsed[1] > LARGEST:
            raise self.damage(offset, "misplaced", "no manifest where one must be")
        self._refuse_unbounded(offset, parsed[1])
        try:
            data = self.content(offset, *parsed)
            manifest = Manifest.read(data, offset, _tar.digest(parsed[0]))
        except BAD_JSON as error:
            raise self.damage(offset, "manifest", "a manifest that cannot be read") from error
        head = manifest.head
        if (head.vault, head.pack) != (self.vault, self.name) or head.offset > offset:
            raise self.damage(offset, "misplaced", "a manifest that belongs elsewhere")
        return manifest

    def _refuse_unbounded(self, offset: int, size: int) -> None:
        """Raise `Damage` for too many lines, or too long a one; in little memory."""
        if not _manifest_bounds.needs_a_look(size):
            return
        start, end = offset + _tar.BLOCK, offset + _tar.BLOCK + size
        places = range(start, end, _PIECE)
        words = _manifest_bounds.doubt(self.read(at, min(_PIECE, end - at)) for at in places)
        if words is not None:
            raise self.damage(offset, "manifest", words)

    def is_laid_out(self, manifest: Manifest, seen: Sequence[Member]) -> bool:
        """Whether the members before a manifest, whose headers were compared, are its own.

        Each begins where the one before it ends, and so does the manifest.
        """
        objects = manifest.objects
        start = objects[0].offset if objects else manifest.offset
        return start == manifest.head.offset and seen == [it.member for it in objects]

    def check_layout(self, manifest: Manifest) -> None:
        """Compare headers and places of a batch with its manifest; raises `Damage`."""
        try:
            objects = manifest.objects
        except BAD_JSON as error:
            raise self.damage(
                manifest.offset, "manifest", "objects that cannot be read"
            ) from error
        at = manifest.head.offset
        for stored in objects:
            if stored.offset != at:
                raise self.damage(manifest.offset, "misplaced", "an object with a wrong offset")
            self.expect(at, stored.name, stored.stored_size)
            at += _tar.member_size(stored.stored_size)
        if at != manifest.offset:
            raise self.damage(at, "misplaced", "a member that no manifest names")

    def manifests(self, start: int = 0) -> Iterator[Manifest | Damage]:
        """Yield the manifests from `start` on; a damage is followed by whatever comes after."""
        for each in self.batches(start):
            yield each if isinstance(each, Damage) else each[0]

    def batches(self, start: int = 0) -> Iterator[tuple[Manifest, list[Member]] | Damage]:
        """Yield the manifests from `start` on, each with the members before it.

        Behind a damaged header the next manifest is looked for block by block.  One that
        is found so counts only where it names this pack and its own place in it.
        """
        offset = start
        seen: list[Member] = []
        while offset < self.size:
            try:
                parsed = self.header(offset)
                if parsed is None:
                    self._check_trailer(offset)
                    return
                if parsed[0].startswith("m/"):
                    yield self.manifest(offset), seen
                    seen = []
                else:
                    seen.append((offset, *parsed))
                offset += _tar.member_size(parsed[1])
            except Damage as damage:
                yield damage
                seen = []
                offset = self._next_manifest(offset + _tar.BLOCK)

    def _check_trailer(self, offset: int) -> None:
        rest = self.size - offset
        if rest > len(_tar.TRAILER) or any(self.read(offset, rest)):
            raise self.damage(offset, "trailer", "bytes behind the end of the archive")

    def _may_be_manifest(self, offset: int) -> bool:
        """Whether it is worth reading: its head names this pack, which no mail can know."""
        start = self.read(offset, min(4 * _tar.BLOCK, self.size - offset))
        head = start[_tar.BLOCK :]
        return _tar.parse(start[: _tar.BLOCK]) is not None and self.name.encode() in head

    def _next_manifest(self, offset: int) -> int:
        """Where the next block stands that can be a manifest's header, or the end."""
        while (data := _disk.data_from(self.handle, offset)) is not None:
            offset = max(offset, data - data % _tar.BLOCK)
            if offset >= self.size:
                break
            piece = self.read(offset, min(_PIECE, self.size - offset))
            for at in range(0, len(piece) - _tar.BLOCK + 1, _tar.BLOCK):
                if piece[at : at + 2] == b"m/" and self._may_be_manifest(offset + at):
                    return offset + at
            offset += len(piece)
        return self.size


@frozen
class Packs:
    """The packs of the vault with the id `vault`, in all of its volumes, by name."""

    vault: str
    volumes: Callable[[], Volumes] = field(repr=False)

    def names(self) -> list[str]:
        """Return the names of all packs there are."""
        volumes = self.volumes()
        files = {file for volume in volumes.names() for file in volumes.files(volume)}
        names = (file.removesuffix(".tar") for file in files if file[-4:] == ".tar")
        return sorted(filter(_tar.is_pack, names))

    def size(self, name: str) -> int | None:
        """Return the bytes of a pack, or `None` where there is no such file."""
        try:
            with self.folder(name) as folder:
                found = os.stat(f"{name}.tar", dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    @contextmanager
    def folder(self, name: str) -> Iterator[int]:
        """Open the folder that a pack is in; raises `FileNotFoundError`."""
        volumes = self.volumes()
        volume = volumes.of(name)
        if volume is None:
            raise FileNotFoundError(errno.ENOENT, "the pack is in none of the volumes")
        with volumes.packs(volume) as handle:
            yield handle

    @contextmanager
    def open(self, name: str, upto: int | None = None) -> Iterator[Pack]:
        """Open a pack, of which the first `upto` bytes count; raises `Damage`."""
        with self.reading(name, self._open(name)) as pack:
            yield pack if upto is None else evolve(pack, size=min(pack.size, upto))

    @contextmanager
    def reading(self, name: str, handle: int) -> Iterator[Pack]:
        """Read a file that is open as the pack of this name; closes it in the end."""
        try:
            yield Pack(self.vault, name, handle, os.fstat(handle).st_size)
        finally:
            os.close(handle)

    def _open(self, name: str) -> int:
        if not _tar.is_pack(name):
            raise Damage.at("?", None, "name", "a name that no pack can have")
        try:
            with self.folder(name) as folder:
                handle = _disk.open_file(f"{name}.tar", folder)
        except FileNotFoundError as error:
            raise Damage.at(name, None, "missing-pack", "the pack is not there") from error
        except OSError as error:
            if error.errno in _disk.NO_FILE:
                raise _no_file(name) from error
            raise
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise _no_file(name)
        return handle


def _no_file(name: str) -> Damage:
    return Damage.at(name, None, "not-a-file", "no file of the vault stands under its name")
