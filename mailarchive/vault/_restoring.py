"""The work of a repair: whole packs in the place of damaged ones, which are kept."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mailarchive.errors import SinkError
from mailarchive.vault import _disk, _loading, _tar
from mailarchive.vault._manifest import BAD_JSON, REPAIR, Fact
from mailarchive.vault._repair import MEMBERS, bring, check, digest_of, pieces_of
from mailarchive.vault._volumes import FIRST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mailarchive.vault._disk import Disk
    from mailarchive.vault._place import Place
    from mailarchive.vault._repair import Copy, PackRepair

DAMAGED = "damaged"
"""The folder of a volume in which damaged packs are kept."""

_INTENT = "repair.json"
_LARGEST_INTENT = 64 << 20


class Restoring:
    """Restores packs, one after the other; the vault's lock must be held."""

    def __init__(self, place: Place, ours: Copy, replica: Copy | None, disk: Disk) -> None:
        """Write into the vault at `place` what `replica` has.

        Without a replica only what a repair that broke off has done can be told.
        """
        self._place = place
        self._ours = ours
        self._replica = replica
        self._disk = disk

    # What a repair is about to do is durable before it is done.  It becomes a fact of the
    # archive afterwards: before, its batch could take the number of one that is restored.

    def intend(self, intended: Iterable[Fact]) -> None:
        """Take down, durably, the facts of what is about to be done."""
        tree = [each.dump() for each in intended]
        with self._kept() as folder:
            beside = f".{_INTENT}.{secrets.token_hex(6)}"
            handle = self._disk.create(beside, folder)
            try:
                self._disk.write(handle, json.dumps(tree).encode("ascii"), 0)
                self._disk.sync(handle)
            finally:
                _disk.close(handle)
            self._disk.rename(beside, _INTENT, folder)
            self._disk.sync_folder(folder)

    def done(self) -> tuple[Fact, ...]:
        """Return the facts of what was intended and has happened since."""
        found = []
        for fact in _intended(self._place.volume()) or ():
            now = digest_of(self._ours.packs, fact.body["pack"])
            if now is not None and now.hex != fact.body["damaged"]:
                found.append(fact)
        return tuple(found)

    def forget(self) -> None:
        """Let go of what was intended: it is a fact, or did not happen."""
        with self._kept() as folder:
            self._disk.remove(_INTENT, folder)
            self._disk.sync_folder(folder)

    @contextmanager
    def _kept(self, volume: str = FIRST) -> Iterator[int]:
        """The folder for damaged packs of a volume, open; on the disk that they are on."""
        with self._place.volumes().opened(volume) as within:
            self._disk.make_folder(DAMAGED, within)
            self._disk.sync_folder(within)
            folder = _disk.open_folder(DAMAGED, within)
        try:
            yield folder
        finally:
            _disk.close(folder)

    def restore(self, each: PackRepair) -> None:
        """Put a whole pack into the place of a damaged or missing one.

        Raises `SinkError` where something is not any more as the plan says, `OSError`.
        """
        row = self._ours.index.pack(each.pack)
        if digest_of(self._ours.packs, each.pack) != each.damaged or (
            row and row.upto > each.size
        ):
            raise SinkError(
                f"pack {each.pack} is not any more as it was when the repair was planned",
                suggestions=["plan the repair again"],
            )
        volumes = self._place.volumes()
        volume = volumes.of(each.pack) or each.volume
        volumes.make(volume)
        with volumes.packs(volume) as packs:
            beside = self._written(each, packs)
            if each.damaged is not None:
                kept = f"{each.pack}-{each.damaged.hex[:16]}.tar"
                self._set_aside(f"{each.pack}.tar", packs, kept, volume)
            self._disk.rename(beside, f"{each.pack}.tar", packs)
            self._disk.sync_folder(packs)

    def _written(self, each: PackRepair, packs: int) -> str:
        """Write a whole pack beside the damaged one, durably, and return its name there."""
        beside = f".{each.pack}.{secrets.token_hex(6)}"
        handle = self._disk.create(beside, packs)
        try:
            self._fill(handle, each)
            self._disk.sync(handle)
        except Exception:
            with suppress(OSError):  # the first error is the one to tell
                self._disk.remove(beside, packs)
            raise
        finally:
            _disk.close(handle)
        return beside

    def _fill(self, handle: int, each: PackRepair) -> None:
        """Write what is left of the pack, then each member in its place, then the end."""
        if each.damaged is not None:
            with self._ours.packs.open(each.pack, each.size) as pack:
                for start, piece in pieces_of(pack):
                    self._disk.write(handle, piece, start)
        for member in each.members:
            data = None if self._replica is None else bring(self._replica, each.pack, member)
            if data is None:
                raise SinkError(
                    "the replica does not have any more what it had",
                    suggestions=["plan the repair again"],
                )
            self._disk.write(handle, b"".join(_tar.member(member.name, data)), member.offset)
        # A whole pack with an end: nobody goes on writing to it, or to what it replaces.
        self._disk.write(handle, _tar.TRAILER, each.size)
        with self._ours.packs.reading(each.pack, os.dup(handle)) as pack:
            for member in each.members:
                check(pack, member)

    def _set_aside(self, name: str, packs: int, kept: str, volume: str) -> None:
        """Keep the damaged file under another name too, before its own goes to another."""
        with self._kept(volume) as folder:
            self._disk.link(name, packs, kept, folder)
            self._disk.sync_folder(folder)


def has_intent(place: Place) -> bool:
    """Whether a repair was begun here, and its facts are not in the archive yet."""
    return bool(_intended(place.volume()))


def bad_intent(place: Place) -> str | None:
    """Return in words that there is an intent of a repair that no repair wrote."""
    if _intended(place.volume()) is not None:
        return None
    return f"{DAMAGED}/{_INTENT} is not what a repair leaves there: look at it, and remove it"


def _intended(volume: int) -> list[Fact] | None:
    """The facts of a repair that was begun; `None` where no repair wrote what is there.

    The file has no key and no digest: nothing is believed of it but that it may be what
    `intend` wrote, or else whoever can write a file could have any fact written.
    """
    data = _intent(volume)
    if data is None:
        return []
    try:
        tree = json.loads(data)
        return [_repair(each) for each in tree] if isinstance(tree, list) else None
    except BAD_JSON:
        return None


def _intent(volume: int) -> bytes | None:
    """What stands in the file, and nothing for what is no file."""
    try:
        folder = _disk.open_folder(DAMAGED, volume)
    except OSError:
        return None
    try:
        handle = _disk.open_file(_INTENT, folder)
    except OSError:
        return None
    finally:
        _disk.close(folder)
    try:
        return _disk.read(handle, _LARGEST_INTENT, 0)
    except OSError:
        return b""
    finally:
        _disk.close(handle)


def _repair(tree: dict[str, Any]) -> Fact:
    """The fact of a repair; raises one of `BAD_JSON` for any other."""
    body = {name: each for name, each in tree.items() if name != "kind"}
    texts = [body[name] for name in ("pack", "actor", "reason", "at")]
    digest = body["damaged"] is None or _loading.digest(body["damaged"])
    sound = (
        tree["kind"] == REPAIR
        and body.keys() == MEMBERS
        and all(isinstance(each, str) for each in texts)
        and _tar.is_pack(body["pack"])
        and _loading.count(body["members"]) > 0
        and datetime.fromisoformat(body["at"]).tzinfo is not None
    )
    if not (sound and digest):
        msg = "no fact of a repair"
        raise ValueError(msg)
    return Fact(REPAIR, body)
