"""What the packs of an object vault say is in them, and what they are called.

A manifest is the record, and rows of the index are copies of it, which somebody may have
altered who can write the database.  So what a receipt says is looked for in the manifests.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from mailarchive._model import Digest
from mailarchive.vault import _tar
from mailarchive.vault._errors import Damage
from mailarchive.vault._manifest import BAD_JSON, Manifest
from mailarchive.vault._manifest_bounds import LARGEST
from mailarchive.vault._object_index import altered
from mailarchive.vault._object_store import missing
from mailarchive.vault._volumes import FIRST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailarchive.vault._object_index import Place
    from mailarchive.vault._object_store import Objects, Reading
    from mailarchive.vault._packs import Member

PACKS: Final = f"volumes/{FIRST}/packs"
_TAIL: Final = 128 << 10
"""Bytes of a pack's end that are read first: the manifest of some two hundred entries."""
_MORE: Final = 16
"""How many times as much is read where the manifest does not begin in that."""
_KEPT: Final = 16
"""Manifests that are kept in memory: a pack stores two thousand entries at most."""


# -- names ------------------------------------------------------------------------------------


def key(pack: str) -> str:
    """Return the name of the object that a pack is."""
    return f"{PACKS}/{pack}.tar"


_NUMBERED: Final = re.compile(r"00000000T000000Z-([0-9]{10})-([0-9a-f]{8})([0-9a-f]{4})\Z")


def named(vault: str, number: int, attempt: int) -> str:
    """Return the one name that the pack of this number has, at this attempt to store it."""
    return f"00000000T000000Z-{number:010}-{vault[:8]}{attempt:04x}"


def parsed(vault: str, name: str) -> tuple[int, int] | None:
    """Return number and attempt of a pack, `None` where its name follows from something else."""
    found = _NUMBERED.match(name)
    if found is None or found[2] != vault[:8]:
        return None
    return int(found[1]), int(found[3], 16)


# -- a whole pack -----------------------------------------------------------------------------


def whole(vault: str, name: str, there: Reading) -> Manifest:
    """Return the manifest of a pack, every member of it compared; raises `Damage`.

    Of the messages no more than a piece is in memory at a time.
    """
    at = 0
    seen: list[Member] = []
    while (found := _tar.parse(there.read(_tar.BLOCK))) is not None:
        member, size = found
        if member.startswith("m/"):
            return _last(vault, name, (at, member, size), there, seen)
        if not _is_sound(there, member, size):
            raise _other_content(name, at)
        there.read(_tar.padding(size))
        seen.append((at, member, size))
        at += _tar.member_size(size)
    raise _no_manifest(name, at)


def _is_sound(there: Reading, member: str, size: int) -> bool:
    """Whether the next bytes are as many as the header says, and have the digest in the name."""
    digest = hashlib.sha256()
    for piece in there.pieces(size):
        digest.update(piece)
        size -= len(piece)
    return not size and digest.hexdigest() in member


def _last(vault: str, name: str, place: Member, there: Reading, seen: list[Member]) -> Manifest:
    """Return the manifest that comes next: behind it there must be nothing."""
    at, member, size = place
    content = there.read(min(size, LARGEST + 1))
    if len(content) != size or not _is_called(content, member):
        raise _other_content(name, at)
    there.read(_tar.padding(size))
    if there.read(len(_tar.TRAILER) + 1) not in (b"", _tar.TRAILER):
        end = at + _tar.member_size(size)
        raise Damage.at(name, end, "misplaced", "more than one batch, which none here has")
    manifest = _checked(vault, name, at, content)
    if [it.member for it in manifest.objects] != seen:
        raise Damage.at(name, at, "misplaced", "other members than the manifest says")
    return manifest


def _is_called(content: bytes | memoryview, member: str) -> bool:
    return Digest.of(content) == _tar.digest(member)


def _checked(vault: str, name: str, at: int, content: bytes) -> Manifest:
    """Return a manifest that can be read and belongs to this pack; raises `Damage`."""
    try:
        manifest = Manifest.read(content, at)
        readable = manifest.is_readable()
    except BAD_JSON as error:
        raise Damage.at(name, at, "manifest", "a manifest that cannot be read") from error
    head, own = manifest.head, parsed(vault, name)
    numbered = own is None or own[0] == head.sequence
    if not (readable and numbered) or (head.vault, head.pack, head.offset) != (vault, name, 0):
        raise Damage.at(name, at, "misplaced", "a manifest that belongs elsewhere")
    return manifest


def _other_content(name: str, at: int) -> Damage:
    return Damage.at(name, at, "digest", "the content is not what its name says")


def _no_manifest(name: str, at: int) -> Damage:
    return Damage.at(name, at, "header", "no manifest where one must be")


# -- the end of a pack ------------------------------------------------------------------------


def at_the_end(vault: str, name: str, objects: Objects) -> Manifest:
    """Return the manifest that a pack ends with, and read little more; raises `SinkCorrupt`.

    It must reach to the very end of the object.  So no message that was stored can pass for
    it: what follows on the message has a salt in it, which nobody knew who wrote the message.
    """
    size = objects.size(key(name))
    length = _TAIL
    while size is not None:
        start = max(0, size - length) // _tar.BLOCK * _tar.BLOCK
        data = objects.part(key(name), start, size - start) if size else memoryview(b"")
        if data is None:
            break
        found = _ending(data)
        if found is not None:
            at, content = found
            return _checked(vault, name, start + at, content)
        if not start:
            raise _no_manifest(name, size)
        length *= _MORE
    raise missing(key(name))


def _ending(data: memoryview) -> tuple[int, bytes] | None:
    """Return where the manifest begins that these bytes end with, and its own."""
    for at in range(len(data) // _tar.BLOCK * _tar.BLOCK, -1, -_tar.BLOCK):
        if bytes(data[at : at + 2]) != b"m/":
            continue
        found = _tar.parse(bytes(data[at : at + _tar.BLOCK]))
        if found is None or data[at + _tar.member_size(found[1]) :] not in (b"", _tar.TRAILER):
            continue
        content = data[at + _tar.BLOCK :][: found[1]]
        if _is_called(content, found[0]):
            return at, bytes(content)
    return None


# -- what the index says, compared ------------------------------------------------------------


@frozen
class Manifests:
    """The manifests of one vault's packs; a few that were asked for last are kept."""

    vault: str
    objects: Objects
    _kept: dict[str, Manifest] = field(factory=dict, init=False, repr=False)

    def of(self, pack: str) -> Manifest:
        """Return the manifest of a pack, read from the store where it is not known."""
        found = self._kept.pop(pack, None) or at_the_end(self.vault, pack, self.objects)
        self._kept[pack] = found
        if len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
        return found

    def keep(self, manifest: Manifest) -> None:
        """Keep a manifest that was stored just now."""
        pack = manifest.head.pack
        self._kept[pack] = evolve(manifest)  # without what was read from it, which takes room
        self.of(pack)

    def confirm(self, places: Iterable[Place]) -> None:
        """Raise `SinkCorrupt` unless the packs say of each entry and its bytes what rows do."""
        wanted: dict[str, set[Place]] = {}
        for each in places:
            for pack in {each.pack, each.by or each.pack}:
                wanted.setdefault(pack, set()).add(each)
        for pack in sorted(wanted):
            manifest = self.of(pack)
            objects = {each.raw: each for each in manifest.objects}
            for each in wanted[pack]:
                there = each.pack != pack or objects.get(each.raw) == each.stored
                if not there or (each.by == pack and not _says(manifest, each)):
                    raise altered(f"pack {pack} says otherwise")

    def confirm_newest(self, number: int, digest: Digest, pack: str) -> None:
        """Raise `SinkCorrupt` unless this is the manifest of the pack, and has this number."""
        manifest = self.of(pack)
        if (manifest.head.sequence, manifest.digest) != (number, digest):
            raise altered("a newest pack that is none")


def _says(manifest: Manifest, place: Place) -> bool:
    """Whether the line has this entry, of these bytes."""
    try:
        record = manifest.entry(place.line)
    except BAD_JSON:
        return False
    return (record.id, record.raw) == (place.id, place.raw)
