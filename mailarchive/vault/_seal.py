"""Sealing a log: new lines get their places, and a signer puts its name under all of them.

The order of steps is the only one that a crash cannot hurt: tiles, the signer's memory,
the saved checkpoint, the anchors.  Up to the signer nothing has happened; behind it a
repetition finds its own checkpoint and goes on from there.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import frozen

from mailarchive.errors import HistoryChanged, MailArchiveError, SinkCorrupt, SinkError
from mailarchive.vault import _leaf, _loading, _log, _merkle, _tiles
from mailarchive.vault._manifest import BAD_JSON
from mailarchive.vault._note import LogCheckpoint
from mailarchive.vault._tiles import Tiles, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailarchive._model import Digest
    from mailarchive.vault._index import Index, Line
    from mailarchive.vault._log import LogFolder
    from mailarchive.vault._manifest import Manifest
    from mailarchive.vault._packs import Packs
    from mailarchive.vault._tiles import Path
    from mailarchive.vault.anchors import Anchor
    from mailarchive.vault.signing import Signer

_ANCHOR = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}\Z")


@frozen
class Anchored:
    """What became of handing a checkpoint to an anchor: `failure` says why it did not work."""

    anchor: str
    failure: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the anchor has it, now or since an earlier seal."""
        return self.failure is None


@frozen
class Seal:
    """A signed checkpoint over everything in the vault, and who else has it.

    `added` counts the lines of the log that no checkpoint covered before.
    """

    checkpoint: LogCheckpoint
    added: int
    anchored: tuple[Anchored, ...] = ()


@frozen
class _End:
    """The last batch that is in the log: its number and the digest of its manifest."""

    sequence: int = 0
    digest: Digest | None = None


class Sealing:
    """One seal of a vault, while nobody else seals it."""

    def __init__(self, packs: Packs, index: Index, log: LogFolder, origin: str) -> None:
        """Seal what `index` finds in `packs`, in the log of this origin."""
        self._packs = packs
        self._index = index
        self._log = log
        self._origin = origin
        self._full: list[Path] = []

    def run(self, signer: Signer) -> Seal:
        """Return the new checkpoint, saved; raises `HistoryChanged`, `SinkCorrupt`, `OSError`."""
        known = self._log.newest()
        with _foreign():
            own = signer.latest(self._origin)
        for each in (known, own):
            if each is not None and each.origin != self._origin:
                raise _other_log()
        tree, end = self._taken_up(known) or self._anew([each for each in (known, own) if each])
        for manifest in self._behind(end):
            for leaf in _readable(manifest):
                self._keep(tree.add(leaf))
        self._write(tree)
        signed = self._signed(tree, signer, own)
        self._save(signed)
        return Seal(signed, tree.size - (known.size if known is not None else 0))

    def remake(self) -> None:
        """Make the tiles of what is sealed anew from the packs.

        Raises `HistoryChanged` where the packs are not what was sealed, `SinkCorrupt`, `OSError`.
        """
        known = self._log.newest()
        if known is not None:
            self._anew([known], [each for _, each in self._log.checkpoints() if each])
            self._log.settle()
            self._drop()

    # -- the tree -------------------------------------------------------------------------

    def _taken_up(self, known: LogCheckpoint | None) -> tuple[Tree, _End] | None:
        """The tree as it was sealed last, if its tiles and the packs still say the same."""
        if known is None or not known.size:
            return None
        tiles = Tiles(known.size, self._log.read)
        try:
            tree = Tree.of(tiles)
            if tree.root() != known.root:
                return None
            last = _loading.count(json.loads(tiles.leaf(known.size - 1))["batch"])
            (line,) = self._index.batches(last - 1, last)
            manifest = self._manifest(line)
            ours = [_merkle.leaf_hash(leaf) for leaf in _leaf.leaves(manifest)]
            start = max(0, known.size - len(ours))
            logged = [tiles.node(0, n) for n in range(start, known.size)]
        except (SinkCorrupt, *BAD_JSON):
            return None
        return (tree, _End(last, manifest.digest)) if logged == ours else None

    def _anew(
        self, known: Sequence[LogCheckpoint], older: Sequence[LogCheckpoint] = ()
    ) -> tuple[Tree, _End]:
        """The whole tree from the packs; raises where it does not begin with what is known.

        Partial tiles are made of what is known, and of those `older` ones that it begins with.
        """
        self._compare(known)
        tree, end = Tree(), _End()
        roots = {each.size: each.root for each in (*older, *known)}
        partial: dict[Path, bytes] = {}
        for grown in self._growing():
            tree, end, tiles = grown
            self._keep(tiles)
            if full := {path for path, _ in tiles}:
                partial = {it: partial[it] for it in partial if _tiles.completed(it) not in full}
            if tree.size in roots and tree.root() == roots[tree.size]:
                partial.update(tree.partial())
        for path, data in partial.items():
            self._log.write(path, data)
        return tree, end

    def _compare(self, known: Sequence[LogCheckpoint]) -> None:
        """Raise where the packs do not begin with what is known.

        Before any tile is written: those that are there tell what is wrong.
        """
        reached = 0
        for tree, _, _ in self._growing():
            there = [each for each in known if each.size == tree.size]
            if any(each.root != tree.root() for each in there):
                raise _altered(tree.size)
            reached = tree.size
        missing = max((each.size for each in known), default=0)
        if missing > reached:
            raise _taken_back(missing, reached)

    def _growing(self) -> Iterator[tuple[Tree, _End, list[tuple[Path, bytes]]]]:
        """The tree from the packs after each leaf, its last batch, and the tiles made full."""
        tree = Tree()
        for manifest in self._behind(_End()):
            end = _End(manifest.head.sequence, manifest.digest)
            for leaf in _readable(manifest):
                yield tree, end, tree.add(leaf)

    def _behind(self, end: _End) -> Iterator[Manifest]:
        """The batches behind the last one that is sealed, each of which names the one before."""
        for line in self._index.batches(end.sequence):
            manifest = self._manifest(line)
            head = manifest.head
            if (head.sequence, head.previous) != (end.sequence + 1, end.digest):
                raise SinkCorrupt(
                    f"batch {head.sequence} does not follow the one that is there before it",
                    suggestions=["verify the vault, and repair it from a copy, before sealing it"],
                )
            yield manifest
            end = _End(head.sequence, manifest.digest)

    def _manifest(self, line: Line) -> Manifest:
        with self._packs.open(line.pack) as pack:
            manifest = pack.manifest(line.offset)
        if manifest.digest != line.batch:
            raise SinkCorrupt(
                "another manifest stands where the index says",
                suggestions=["verify the vault, and rebuild the index"],
            )
        return manifest

    # -- files ----------------------------------------------------------------------------

    def _keep(self, tiles: list[tuple[Path, bytes]]) -> None:
        for path, data in tiles:
            self._log.write(path, data)
            self._full.append(path)

    def _write(self, tree: Tree) -> None:
        for path, data in tree.partial():
            self._log.write(path, data)
        self._log.settle()

    def _signed(self, tree: Tree, signer: Signer, own: LogCheckpoint | None) -> LogCheckpoint:
        ours = LogCheckpoint(self._origin, tree.size, tree.root())
        if own is not None and own.text() == ours.text():
            return own
        old = 0 if own is None else own.size
        if old > tree.size:
            raise _taken_back(old, tree.size)
        proof = _merkle.consistency(old, tree.size, Tiles(tree.size, self._log.read).node)
        with _foreign():
            signed = signer.sign(ours, proof)
        if signed.text() != ours.text():
            raise HistoryChanged(
                "the signer signed another checkpoint than it was given",
                suggestions=["check the signer"],
            )
        return signed

    def _save(self, signed: LogCheckpoint) -> None:
        data = signed.to_bytes()
        if self._log.read(_log.saved(signed.size)) is None:
            self._log.write(_log.saved(signed.size), data)
            self._log.settle()
        self._log.write(_log.CHECKPOINT, data)
        self._log.settle()
        self._drop()

    def _drop(self) -> None:
        """Remove the partial tiles of those that are full, and durable, by now."""
        for path in self._full:
            self._log.drop(_tiles.partials(path))

    # -- anchors --------------------------------------------------------------------------

    def anchor(self, checkpoint: LogCheckpoint, anchor: Anchor) -> Anchored:
        """Hand a checkpoint to an anchor that does not have it yet; never raises for it."""
        name: object = anchor.name
        if not isinstance(name, str) or not _ANCHOR.match(name):
            return Anchored(repr(name), "its name is not made of small letters, digits, - and .")
        path = _log.evidence(checkpoint.size, name)
        if self._log.read(path) is not None:
            return Anchored(name)
        try:
            evidence = anchor.anchor(checkpoint)
        except Exception as error:  # noqa: BLE001 - foreign code; a seal is not lost for it
            return Anchored(name, f"{type(error).__name__}: {error}")
        self._log.write(path, bytes(evidence))
        self._log.settle()
        return Anchored(name)


def sealed(log: LogFolder) -> frozenset[Digest]:
    """Return the manifests that the newest checkpoint is over, as the log itself has them.

    Nothing where the log does not give the root of that checkpoint.
    """
    newest = log.newest()
    if newest is None:
        return frozenset()
    tree = Tree()
    found: set[Digest] = set()
    try:
        for data in Tiles(newest.size, log.read).all_leaves():
            tree.add(data)
            if (leaf := json.loads(data))["kind"] == "batch":
                found.add(_loading.digest(leaf["manifest"]))
    except (SinkCorrupt, *BAD_JSON):
        return frozenset()
    return frozenset(found) if tree.root() == newest.root else frozenset()


@contextmanager
def _foreign() -> Iterator[None]:
    """Whatever a signer raises that is no error of ours becomes one."""
    try:
        yield
    except MailArchiveError:
        raise
    except Exception as error:
        raise SinkError(
            f"the signer failed: {type(error).__name__}",
            suggestions=["check the signer; nothing was signed, and nothing is lost"],
        ) from error


def _readable(manifest: Manifest) -> list[bytes]:
    """The leaves of a batch."""
    try:
        return list(_leaf.leaves(manifest))
    except BAD_JSON as error:
        raise SinkCorrupt(
            f"the manifest of batch {manifest.head.sequence} cannot be read",
            suggestions=["verify the vault, and repair it from a copy, before sealing it"],
        ) from error


def _other_log() -> SinkCorrupt:
    return SinkCorrupt(
        "a checkpoint in this vault, or of this signer, is of another log",
        suggestions=["is this the signer, and the vault, that you mean?"],
    )


def _altered(size: int) -> HistoryChanged:
    return HistoryChanged(
        f"the first {size} lines of the log are not those that were signed",
        suggestions=["verify the vault at the level log, and repair it from a copy"],
    )


def _taken_back(signed: int, there: int) -> HistoryChanged:
    return HistoryChanged(
        f"{signed} lines of the log were signed, and only {there} are there",
        suggestions=["an older copy of the archive stands here: bring the newer one back"],
    )
