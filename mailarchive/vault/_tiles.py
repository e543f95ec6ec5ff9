"""A log's tree as tiles: C2SP tlog-tiles, of height 8.  Pure.

A full tile holds 256 hashes; one at level 0 those of leaves, one above those of full tiles
below.  Beside each tile of level 0 stands a bundle with the leaves themselves.  What a
tree grows by changes no full tile, so that a log is only ever added to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from mailarchive.vault import _merkle
from mailarchive.vault._errors import log_damage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Path: TypeAlias = "tuple[str, ...]"
    """Where a file of the log is, folder by folder."""
    Read: TypeAlias = Callable[[Path], bytes | None]
    """Reads a file of the log; `None` where there is none."""

WIDTH = 256
"""Hashes of a full tile, and leaves of a full bundle."""
HEIGHT = 8
HASH = 32
LARGEST_LEAF = (1 << 16) - 1
"""Bytes of the largest leaf that a bundle can hold."""
ENTRIES = "entries"


def path(level: int | str, n: int, width: int = WIDTH) -> Path:
    """Return where tile `n` of a level is; of less than the full width a partial one."""
    digits = f"{n:d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    names = [*(f"x{part}" for part in parts[:-1]), parts[-1]]
    if width != WIDTH:
        names[-1:] = [f"{names[-1]}.p", str(width)]
    return ("tile", str(level), *names)


def partials(full: Path) -> Path:
    """Return the folder of the partial tiles that became the tile at `full`."""
    return (*full[:-1], f"{full[-1]}.p")


def completed(partial: Path) -> Path:
    """Return where the tile is that a partial one became."""
    return (*partial[:-2], partial[-2].removesuffix(".p"))


def bundle(leaves: list[bytes]) -> bytes:
    """Return a bundle: each leaf behind its length, two bytes, big-endian."""
    return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)


def unbundle(data: bytes) -> list[bytes]:
    """Return the leaves of a bundle; raises `ValueError`."""
    leaves, at = [], 0
    while at < len(data):
        start = at + 2
        at = start + int.from_bytes(data[at:start], "big")
        if at > len(data):
            msg = "a leaf is cut off"
            raise ValueError(msg)
        leaves.append(data[start:at])
    return leaves


def _list_node(hashes: list[bytes]) -> _merkle.Node:
    """The nodes over a list of hashes."""

    def node(height: int, n: int) -> bytes:
        some = hashes[n << height : (n + 1) << height]
        while len(some) > 1:
            pairs = zip(some[::2], some[1::2], strict=True)
            some = [_merkle.node_hash(left, right) for left, right in pairs]
        return some[0]

    return node


class Tree:
    """A tree that grows, and the tiles that it fills as it does."""

    def __init__(self) -> None:
        """Begin without leaves."""
        self.size = 0
        self._rows: list[list[bytes]] = [[]]
        self._leaves: list[bytes] = []

    @classmethod
    def of(cls, tiles: Tiles) -> Tree:
        """Return the tree that stands in tiles, to go on from; raises `SinkCorrupt`."""
        made = cls()
        made.size = tiles.size
        made._rows = [
            tiles.hashes(level, rest // WIDTH) if rest % WIDTH else []
            for level in range(64 // HEIGHT)
            if (rest := tiles.size >> (level * HEIGHT)) or not level
        ]
        if tiles.size % WIDTH:
            made._leaves = tiles.leaves(tiles.size // WIDTH)
        return made

    def add(self, leaf: bytes) -> list[tuple[Path, bytes]]:
        """Take in a leaf; return the full tiles that it completes, and where they belong."""
        self._leaves.append(leaf)
        self._rows[0].append(_merkle.leaf_hash(leaf))
        self.size += 1
        return [] if self.size % WIDTH else self._completed()

    def _completed(self) -> list[tuple[Path, bytes]]:
        n = self.size // WIDTH - 1
        found = [(path(ENTRIES, n), bundle(self._leaves))]
        self._leaves = []
        level = 0
        while len(self._rows[level]) == WIDTH:
            row, self._rows[level] = self._rows[level], []
            found.append((path(level, n), b"".join(row)))
            level += 1
            if level == len(self._rows):
                self._rows.append([])
            self._rows[level].append(_list_node(row)(HEIGHT, 0))
            n = (self.size >> (level * HEIGHT)) // WIDTH - 1
        return found

    def partial(self) -> list[tuple[Path, bytes]]:
        """Return the partial tiles of the tree as it is now, and where they belong."""
        found = [
            (path(level, self._n(level), len(row)), b"".join(row))
            for level, row in enumerate(self._rows)
            if row
        ]
        if self._leaves:
            found.append((path(ENTRIES, self._n(0), len(self._leaves)), bundle(self._leaves)))
        return found

    def _n(self, level: int) -> int:
        return (self.size >> (level * HEIGHT)) // WIDTH

    def root(self) -> bytes:
        """Return the root as it is now."""
        found: list[bytes] = []
        for row in reversed(self._rows):
            found += _merkle.subtrees(0, len(row), _list_node(row))
        return _merkle.joined(found)


class Tiles:
    """The tree of `size` leaves as its tiles say, each compared with nothing but its length.

    What they say is worth something once a root that follows from them is the one of a
    checkpoint.  Every method raises `SinkCorrupt` where a tile is missing or of another
    length.
    """

    def __init__(self, size: int, read: Read) -> None:
        """Look at a tree of `size` leaves; `read` gives its files."""
        self.size = size
        self._read = read
        self._kept: dict[tuple[int, int], list[bytes]] = {}

    def _file(self, level: int | str, n: int, width: int) -> bytes:
        """A tile of at least this width: where a partial one is gone, the full one is there."""
        data = self._read(path(level, n, width))
        if data is None and width != WIDTH:
            data = self._read(path(level, n))
        if data is None:
            raise log_damage("/".join(path(level, n, width)), "is missing")
        return data

    def width(self, level: int, n: int) -> int:
        """Return how many hashes tile `n` of a level has in this tree."""
        return min(WIDTH, (self.size >> (level * HEIGHT)) - n * WIDTH)

    def hashes(self, level: int, n: int) -> list[bytes]:
        """Return the hashes of a tile."""
        kept = self._kept.get((level, n))
        if kept is not None:
            return kept
        width = self.width(level, n)
        data = self._file(level, n, width)
        if len(data) not in {width * HASH, WIDTH * HASH}:
            raise log_damage("/".join(path(level, n, width)), "has another length")
        found = [data[at : at + HASH] for at in range(0, width * HASH, HASH)]
        if len(self._kept) > HEIGHT:
            self._kept.clear()
        self._kept[level, n] = found
        return found

    def leaves(self, n: int) -> list[bytes]:
        """Return the leaves of a bundle."""
        width = self.width(0, n)
        data = self._file(ENTRIES, n, width)
        try:
            found = unbundle(data)
        except ValueError as error:
            raise log_damage("/".join(path(ENTRIES, n, width)), "is cut off") from error
        if len(found) not in {width, WIDTH}:
            raise log_damage("/".join(path(ENTRIES, n, width)), "has another length")
        return found[:width]

    def leaf(self, index: int) -> bytes:
        """Return one leaf."""
        return self.leaves(index // WIDTH)[index % WIDTH]

    def node(self, height: int, n: int) -> bytes:
        """Return the hash of leaves `n << height` up to `(n + 1) << height`."""
        level, inner = divmod(height, HEIGHT)
        start = n << inner
        hashes = self.hashes(level, start // WIDTH)
        at = start % WIDTH
        return _list_node(hashes[at : at + (1 << inner)])(inner, 0)

    def is_sound(self, n: int) -> bool:
        """Whether tile `n` of level 0, and each one above it, is what the next one says."""
        level = 0
        while self.width(level, n) == WIDTH:
            root = _list_node(self.hashes(level, n))(HEIGHT, 0)
            if self.hashes(level + 1, n // WIDTH)[n % WIDTH] != root:
                return False
            level, n = level + 1, n // WIDTH
        return True

    def root(self) -> bytes:
        """Return the root that follows from the tiles."""
        return _merkle.root_of(self.size, self.node)

    def all_leaves(self) -> Iterator[bytes]:
        """Yield every leaf in order."""
        for n in range(-(-self.size // WIDTH)):
            yield from self.leaves(n)
