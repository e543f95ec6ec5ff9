"""Comparing packs with the log, and both with every checkpoint there is.

The leaves that follow from the packs are put together again as a tree.  Where its roots
are those of all checkpoints, the packs are what was signed, and a tile that differs is the
tile's fault.  Where one is not, the log itself, if its tiles lead to that checkpoint, says
which batches were sealed and are something else now.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from mailarchive.errors import SinkCorrupt
from mailarchive.vault import _leaf, _merkle, _tiles, _verify_log_files
from mailarchive.vault._manifest import BAD_JSON
from mailarchive.vault._recovery import loaded, survey, that_count
from mailarchive.vault._tiles import Tiles, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TypeAlias

    from mailarchive.vault._index import PackRow
    from mailarchive.vault._log import LogFolder
    from mailarchive.vault._manifest import Manifest
    from mailarchive.vault._note import LogCheckpoint, VerifierKey
    from mailarchive.vault._packs import Packs
    from mailarchive.vault._recovery import Tail, Where
    from mailarchive.vault._tiles import Path

    _Finding: TypeAlias = "tuple[str, str | None, int | None, str]"

_MOST = 100
"""Findings about tiles; more would say nothing new."""


@frozen
class _Claim:
    """A checkpoint, what it is called, and whether it was kept outside of the vault."""

    name: str
    checkpoint: LogCheckpoint
    kept: bool


@frozen
class _Batch:
    """Where a batch is, and the digest of all of its leaves."""

    pack: str
    offset: int
    leaves: bytes = field(repr=False)


@frozen
class Judgement:
    """How many leaves a checkpoint covers that holds, and what is not as it was sealed.

    `known` is the same of the checkpoints that were kept elsewhere, where any were given.
    A finding is its kind, pack, offset and words.
    """

    sealed: int
    known: int
    findings: tuple[_Finding, ...]


class LogCheck:
    """One comparison; batches are handed to `take` in their order, then `finish` judges."""

    def __init__(
        self,
        log: LogFolder | None,
        origin: str,
        kept: Sequence[LogCheckpoint],
        key: VerifierKey | None,
    ) -> None:
        """Compare with what is in `log` and with checkpoints that were `kept` elsewhere.

        With `key` each checkpoint must be signed by it.  What is in the log is read now:
        what is sealed meanwhile is not yet there.  Raises `OSError`.
        """
        self._log = log
        self._settings = (origin, kept, key)
        self._key = key
        self._notes: list[tuple[str, str]] = []
        self._claims: list[_Claim] = []
        for words in _verify_log_files.doubts(log) if log is not None else ():
            self._note("log-checkpoint", words)
        for path, made in log.checkpoints() if log is not None else []:
            self._claim("the log's file " + "/".join(path), made, origin, kept=False)
        for n, made in enumerate(kept, 1):
            self._claim(f"checkpoint {n} that was kept elsewhere", made, origin, kept=True)
        sizes = {each.checkpoint.size for each in self._claims}
        self._roots: dict[int, bytes | None] = dict.fromkeys(sizes)
        self._roots[0] = _merkle.EMPTY
        self._saved = {each.checkpoint.size for each in self._claims if not each.kept}
        self._largest = max(self._saved, default=0)
        self._tree = Tree()
        self._batches: dict[str, _Batch] = {}
        self._numbers: dict[int, _Batch] = {}
        self._differing: list[tuple[Path, int]] = []
        self._partial: list[tuple[Path, int]] = []

    def _claim(self, name: str, made: LogCheckpoint | None, origin: str, *, kept: bool) -> None:
        if made is None:
            self._note("log-checkpoint", f"{name} is no checkpoint, or not the one of its name")
        elif made.origin != origin:
            self._note("log-checkpoint", f"{name} is of another log")
        else:
            if self._key is not None and not self._key.check(made):
                self._note("log-signature", f"{name} is not signed by the key that was given")
            self._claims.append(_Claim(name, made, kept))

    def _note(self, kind: str, words: str) -> None:
        self._notes.append((kind, words))

    @property
    def size(self) -> int:
        """How many leaves follow from the packs so far."""
        return self._tree.size

    # -- the packs ------------------------------------------------------------------------

    def take(self, manifest: Manifest) -> None:
        """Take in the next batch; one whose leaves cannot be told is as good as missing."""
        try:
            leaves = list(_leaf.leaves(manifest))
        except BAD_JSON:
            return
        digest = _digest(leaves)
        batch = _Batch(manifest.head.pack, manifest.head.offset, digest)
        self._batches[manifest.digest.hex] = self._numbers[manifest.head.sequence] = batch
        for leaf in leaves:
            for path, data in self._tree.add(leaf):
                self._compare(path, data)
            size = self._tree.size
            if size in self._roots:
                self._roots[size] = self._tree.root()
            for path, data in self._tree.partial() if size in self._saved else ():
                self._compare_partial(path, data)

    def _compare(self, path: Path, data: bytes) -> None:
        """Note a full tile that differs, and from which size on it has to be there."""
        if self._tree.size <= self._largest and self._read(path) != data:
            self._differing.append((path, self._tree.size))

    def _compare_partial(self, path: Path, data: bytes) -> None:
        """Note a partial tile that differs, or is gone and has no full one in its place."""
        if self._read(path) != data and (self._has(path) or not self._has(_tiles.completed(path))):
            self._partial.append((path, self._tree.size))

    def _has(self, path: Path) -> bool:
        assert self._log is not None
        return self._log.has(path)

    def _read(self, path: Path) -> bytes | None:
        assert self._log is not None
        try:
            return self._log.read(path)
        except SinkCorrupt:
            return None

    # -- the judgement --------------------------------------------------------------------

    def anew(self, packs: Packs, found: list[Where]) -> LogCheck:
        """Return the same comparison of other batches; raises `OSError`."""
        made = LogCheck(self._log, *self._settings)
        for _, manifest in loaded(packs, found):
            made.take(manifest)
        return made

    def finish(self) -> Judgement:
        """Return what is covered by a checkpoint that holds, and what is not as it was sealed."""
        right = [each for each in self._claims if self._is_right(each.checkpoint)]
        covered = max((each.checkpoint.size for each in right), default=0)
        found: dict[_Finding, None] = {
            (kind, None, None, words): None for kind, words in self._notes
        }
        for claim in self._claims:
            if claim not in right:
                found.update(dict.fromkeys(self._wrong(claim, covered)))
        saved = {each.checkpoint.size for each in right if not each.kept}
        found.update(dict.fromkeys(self._tiles(saved)))
        kept = [each.checkpoint.size for each in right if each.kept]
        known = max(kept, default=0) if any(each.kept for each in self._claims) else covered
        return Judgement(covered, known, tuple(found))

    def _is_right(self, checkpoint: LogCheckpoint) -> bool:
        return self._roots[checkpoint.size] == checkpoint.root

    def _wrong(self, claim: _Claim, covered: int) -> Iterator[_Finding]:
        """What a checkpoint says that the packs do not lead to."""
        size, there = claim.checkpoint.size, self._tree.size
        if not claim.kept and size <= covered:
            words = f"{claim.name} is no part of the history that a later one is of"
            yield "log-checkpoint", None, None, words
            return
        signed = self._key is not None and self._key.check(claim.checkpoint)
        if not claim.kept and not signed and not self._leads_to(claim):
            words = f"neither the packs nor the log's tiles lead to {claim.name}"
            yield "log-checkpoint", None, None, words
            return
        if size > there:
            words = f"{claim.name} covers {size} lines, and only {there} are there"
            yield "rolled-back", None, None, words
        else:
            words = f"the first {size} lines are not those that {claim.name} covers"
            yield "history", None, None, words
        yield from self._sealed(claim)

    def _leads_to(self, claim: _Claim) -> bool:
        """Whether the log's own tiles lead to a checkpoint."""
        if self._log is None:
            return False
        try:
            root = Tiles(claim.checkpoint.size, self._log.read).root()
        except SinkCorrupt:
            return False
        return root == claim.checkpoint.root

    def _sealed(self, claim: _Claim) -> Iterator[_Finding]:
        """The batches that the log has otherwise than the packs, if its word can be taken."""
        if not self._leads_to(claim):
            return
        assert self._log is not None
        for number, group in _groups(Tiles(claim.checkpoint.size, self._log.read)):
            if group is None:
                continue
            head = _loaded(group[0])
            batch = self._batches.get(str(head.get("manifest")))
            if batch is not None and batch.leaves == _digest(group):
                continue
            other = self._numbers.get(number)
            if other is None:
                words = f"batch {number} was sealed, and is not there"
                yield "sealed-batch", str(head.get("pack")), None, words
            else:
                words = f"batch {number} is not the one that was sealed"
                yield "sealed-batch", other.pack, other.offset, words

    def _tiles(self, saved: set[int]) -> Iterator[_Finding]:
        """The tiles that are not what they must be under the right checkpoints of these sizes."""
        newest = max(saved, default=0)
        differing = [path for path, size in self._differing if size <= newest]
        gone = set(differing)
        for path, size in self._partial:
            if size in saved and (self._has(path) or _tiles.completed(path) not in gone):
                differing.append(path)
        for path in differing[:_MOST]:
            words = f"the log's file {'/'.join(path)} does not follow from the packs: rebuild"
            yield "log-tile", None, None, words


def _loaded(leaf: bytes) -> dict[str, Any]:
    """What a leaf says; nothing, where somebody signed something that is no leaf of ours."""
    try:
        tree: dict[str, Any] = json.loads(leaf)
        int(tree["batch"])
    except BAD_JSON:
        return {}
    return tree


def unindexed(packs: Packs, found: list[Where], rows: Mapping[str, PackRow]) -> list[Tail]:
    """Return the whole batches that stand in the packs and are not in the index."""
    known = {where.digest for where in found}
    tails = []
    for name in packs.names():
        row = rows.get(name)
        try:
            with packs.open(name) as pack:
                tail = survey(pack, row.upto if row is not None else 0, hashing=True)
        except SinkCorrupt:
            continue
        whole = (each for each in tail.found if not each.lost and each.digest not in known)
        tails.append(evolve(tail, found=tuple(whole)))
    return that_count(tails, newest_too=False)


def _digest(leaves: list[bytes]) -> bytes:
    return hashlib.sha256(_tiles.bundle(leaves)).digest()


def _groups(tiles: Tiles) -> Iterator[tuple[int, list[bytes] | None]]:
    """The batches of a log with their leaves; `None` where a part of them cannot be trusted."""
    number, group = 0, None
    for leaf in _trusted(tiles):
        tree = {} if leaf is None else _loaded(leaf)
        if leaf is not None and tree.get("kind") == "batch":
            if number:
                yield number, group
            number, group = int(tree["batch"]), [leaf]
        elif leaf is None or group is None:
            group = None
        else:
            group.append(leaf)
    if number:
        yield number, group


def _trusted(tiles: Tiles) -> Iterator[bytes | None]:
    """Every leaf that hashes to what the root follows from; `None` for any other."""
    for n in range(-(-tiles.size // _tiles.WIDTH)):
        width = tiles.width(0, n)
        try:
            hashes = tiles.hashes(0, n) if tiles.is_sound(n) else []
            leaves = tiles.leaves(n)
        except SinkCorrupt:
            hashes, leaves = [], []
        if [_merkle.leaf_hash(leaf) for leaf in leaves] == hashes:
            yield from leaves
        else:
            yield from [None] * width
