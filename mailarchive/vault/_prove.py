"""Proofs out of a sealed log; each is checked before anybody gets it."""

from __future__ import annotations

import json
from bisect import bisect_left
from typing import TYPE_CHECKING

from mailarchive.errors import NotProven, SinkCorrupt, Unsupported
from mailarchive.vault import _leaf, _merkle
from mailarchive.vault._errors import os_errors
from mailarchive.vault._log import LogFolder
from mailarchive.vault._manifest import BAD_JSON
from mailarchive.vault._tiles import Tiles
from mailarchive.vault.proofs import ConsistencyProof, InclusionProof

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import TypeVar

    from mailarchive.vault._disk import Disk
    from mailarchive.vault._leaf import Opened
    from mailarchive.vault._manifest import Manifest
    from mailarchive.vault._note import LogCheckpoint
    from mailarchive.vault._place import Place

    T = TypeVar("T")


class Proving:
    """Makes proofs out of the log of one open vault."""

    def __init__(self, place: Place, disk: Disk) -> None:
        """Read the log of the vault at `place`."""
        self._place = place
        self._disk = disk

    def checkpoints(self) -> tuple[LogCheckpoint, ...]:
        """Return the saved checkpoints that can be read, the smallest first."""
        return self._read(_saved, nothing=())

    def line(
        self,
        manifest: Manifest,
        number: int,
        show: Collection[str],
        checkpoint: LogCheckpoint | None,
        hidden: Sequence[Opened] = (),
    ) -> InclusionProof:
        """Return the proof for one line of a manifest, with what is to be shown opened.

        `hidden` is what only its keys open of an encrypted line.  The proof is under
        `checkpoint`, or under the newest one.  Raises `Unsupported` where that does not
        cover the line, `SinkCorrupt` where the log is not what it must be.
        """
        return self._read(
            lambda log: _line(
                log, manifest, number, checkpoint or log.newest(), show=show, hidden=hidden
            )
        )

    def consistency(self, old: LogCheckpoint, new: LogCheckpoint | None) -> ConsistencyProof:
        """Return the proof that the log under `new`, or the newest, begins with `old`.

        Raises `NotProven` where it does not.
        """
        return self._read(lambda log: _consistency(log, old, new or log.newest()))

    def _read(self, work: Callable[[LogFolder], T], *, nothing: T | None = None) -> T:
        with os_errors("reading the log"):
            log = LogFolder.open(self._place.volume(), self._disk)
            if log is None:
                if nothing is not None:
                    return nothing
                raise _unsealed()
            with log:
                return work(log)


def _saved(log: LogFolder) -> tuple[LogCheckpoint, ...]:
    return tuple(dict.fromkeys(made for _, made in log.checkpoints() if made is not None))


def _line(
    log: LogFolder,
    manifest: Manifest,
    number: int,
    checkpoint: LogCheckpoint | None,
    *,
    show: Collection[str],
    hidden: Sequence[Opened],
) -> InclusionProof:
    if checkpoint is None:
        raise _unsealed()
    tiles = Tiles(checkpoint.size, log.read)
    try:
        leaf = _leaf.leaf(manifest, number)
        known = [*hidden, *_leaf.openings(manifest, number)]
        opened = [each for each in known if each.label in show]
        place = manifest.head.sequence, number
        index = bisect_left(range(tiles.size), place, key=lambda n: _place(tiles.leaf(n)))
    except BAD_JSON as error:
        raise _damaged() from error
    if index == tiles.size:
        raise _unsealed()
    path = _merkle.inclusion(index, tiles.size, tiles.node)
    proof = InclusionProof(checkpoint, index, leaf, path, tuple(opened))
    try:
        proof.check()
    except NotProven as error:
        raise _damaged() from error
    return proof


def _consistency(
    log: LogFolder, old: LogCheckpoint, new: LogCheckpoint | None
) -> ConsistencyProof:
    if new is None:
        raise _unsealed()
    if old.size > new.size:
        raise NotProven(
            f"the log has {new.size} lines, and the older checkpoint covers {old.size}",
            suggestions=["an older copy of the archive stands here: bring the newer one back"],
        )
    path = _merkle.consistency(old.size, new.size, Tiles(new.size, log.read).node)
    proof = ConsistencyProof(old, new, path)
    proof.check()
    return proof


def _place(leaf: bytes) -> tuple[int, int]:
    tree = json.loads(leaf)
    return int(tree["batch"]), int(tree.get("line", 0))


def _unsealed() -> Unsupported:
    return Unsupported(
        "the log does not cover this yet",
        suggestions=["seal the vault; then there is a checkpoint to prove it under"],
    )


def _damaged() -> SinkCorrupt:
    return SinkCorrupt(
        "the log, or the pack, is not what the checkpoint says",
        suggestions=["verify the vault at the level log"],
    )
