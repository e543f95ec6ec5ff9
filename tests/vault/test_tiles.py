"""Tiles are those of C2SP tlog-tiles: where they are, what is in them, and what follows."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailarchive.errors import SinkCorrupt
from mailarchive.vault import _merkle, _tiles
from mailarchive.vault._tiles import Tiles, Tree

if TYPE_CHECKING:
    from mailarchive.vault._tiles import Path


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ((0, 0), "tile/0/000"),
        ((0, 67), "tile/0/067"),
        ((2, 1234067), "tile/2/x001/x234/067"),
        ((0, 1000), "tile/0/x001/000"),
        ((1, 999, 17), "tile/1/999.p/17"),
        (("entries", 1234067, 1), "tile/entries/x001/x234/067.p/1"),
    ],
)
def test_a_tile_stands_where_the_specification_says(
    place: tuple[int | str, int], expected: str
) -> None:
    """The path of a tile is that of C2SP tlog-tiles, its own example among them."""
    assert "/".join(_tiles.path(*place)) == expected


def _leaf(n: int) -> bytes:
    return b"leaf %d" % n


def _files(tree: Tree, end: int) -> dict[Path, bytes]:
    """What growing a tree to `end` leaves writes."""
    found: dict[Path, bytes] = {}
    while tree.size < end:
        found.update(tree.add(_leaf(tree.size)))
    found.update(tree.partial())
    return found


def _root(start: int, end: int) -> bytes:
    """The root over some leaves as RFC 6962 defines it."""
    if end - start == 1:
        return hashlib.sha256(b"\0" + _leaf(start)).digest()
    cut = 1
    while cut * 2 < end - start:
        cut *= 2
    left, right = _root(start, start + cut), _root(start + cut, end)
    return hashlib.sha256(b"\1" + left + right).digest()


def test_seventy_thousand_leaves_are_the_tiles_of_the_example() -> None:
    """A tree of 70,000 leaves has the tiles that the specification says it has."""
    found = _files(Tree(), 70_000)

    levels = [sorted(path[2:] for path in found if path[1] == level) for level in "012"]
    full = [[path for path in level if len(path) == 1] for level in levels]
    partial = [path for level in levels for path in level if len(path) == 2]
    assert [len(each) for each in full] == [273, 1, 0]
    assert partial == [("273.p", "112"), ("001.p", "17"), ("000.p", "1")]
    assert {len(found["tile", "0", *path]) for path in full[0]} == {8192}
    assert found["tile", "2", "000.p", "1"] == _root(0, 65_536)
    assert found["tile", "1", "000"][32:64] == _root(256, 512)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 1400), min_size=1, max_size=4).map(sorted), st.data())
def test_a_tree_is_taken_up_from_its_tiles(sizes: list[int], data: st.DataObject) -> None:
    """Grown in steps, each from the tiles of the one before, a tree is the same tree."""
    files: dict[Path, bytes] = {}
    tree = Tree()
    for size in sizes:
        files |= _files(tree, size)
        tree = Tree.of(Tiles(size, files.get))
    end = sizes[-1]
    whole = _files(Tree(), end)

    assert {path: files[path] for path in whole} == whole
    assert tree.root() == Tiles(end, files.get).root() == (_root(0, end) if end else _merkle.EMPTY)
    for old, new in pairwise(sizes):
        path = _merkle.consistency(old, new, Tiles(new, files.get).node)
        roots = [Tiles(size, files.get).root() for size in (old, new)]
        assert _merkle.extends(old, roots[0], new, roots[1], path)
    if end:
        index = data.draw(st.integers(0, end - 1))
        tiles = Tiles(end, files.get)
        path = _merkle.inclusion(index, end, tiles.node)
        leaf = _merkle.leaf_hash(tiles.leaf(index))
        assert tiles.leaf(index) == _leaf(index)
        assert _merkle.includes(leaf, index, end, path, _root(0, end))


def test_a_partial_tile_that_is_gone_is_read_from_the_full_one() -> None:
    """An older tree is read from what became of its partial tiles."""
    tree = Tree()
    files = _files(tree, 300)
    for gone in (("tile", name, "001.p", "44") for name in ("0", "entries")):
        del files[gone]
    files |= _files(tree, 600)

    assert Tiles(300, files.get).root() == _root(0, 300)
    assert Tiles(300, files.get).leaves(1) == [_leaf(n) for n in range(256, 300)]


@pytest.mark.parametrize("change", ["missing", "cut", "longer"])
@pytest.mark.parametrize("name", ["0", "entries"])
def test_a_damaged_tile_is_named(change: str, name: str) -> None:
    """A tile that is missing or of another length is an error that says which one."""
    files = _files(Tree(), 300)
    path = ("tile", name, "001.p", "44")
    data = files.pop(path)
    if change != "missing":
        files[path] = data[:-1] if change == "cut" else data + data[:32]

    with pytest.raises(SinkCorrupt, match=f"tile/{name}/001"):
        Tree.of(Tiles(300, files.get))


@given(st.lists(st.binary(max_size=300), max_size=5), st.binary(max_size=50))
def test_a_bundle_gives_its_leaves_back(leaves: list[bytes], junk: bytes) -> None:
    """Leaves come out of a bundle as they went in; other bytes are leaves or an error."""
    assert _tiles.unbundle(_tiles.bundle(leaves)) == leaves
    try:
        found = _tiles.unbundle(junk)
    except ValueError:
        return
    assert _tiles.bundle(found) == junk
