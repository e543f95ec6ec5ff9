"""The Merkle tree of RFC 6962, section 2.1: roots, proofs, and checking them.  Pure.

A proof shows that one leaf is in a tree, or that one tree begins with another, by a few
hashes.  Making one needs the hashes of the tree's complete subtrees; checking one needs
nothing but the roots.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Node: TypeAlias = Callable[[int, int], bytes]
    """`node(height, n)` is the hash of leaves `n << height` up to `(n + 1) << height`."""

EMPTY = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of one leaf."""
    return hashlib.sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash over two subtrees."""
    return hashlib.sha256(b"\1" + left + right).digest()


def joined(subtrees: Sequence[bytes]) -> bytes:
    """Return the root over complete subtrees, largest first."""
    if not subtrees:
        return EMPTY
    root = subtrees[-1]
    for left in reversed(subtrees[:-1]):
        root = node_hash(left, root)
    return root


def subtrees(start: int, end: int, node: Node) -> list[bytes]:
    """Return the complete subtrees that leaves `start` to `end` consist of, largest first.

    `start` must be one where a subtree as large as the range could begin.
    """
    found = []
    while start < end:
        height = (end - start).bit_length() - 1
        found.append(node(height, start >> height))
        start += 1 << height
    return found


def root_of(size: int, node: Node) -> bytes:
    """Return the root of the first `size` leaves."""
    return joined(subtrees(0, size, node))


# -- making proofs ------------------------------------------------------------------------


def _split(start: int, end: int) -> int:
    """Where RFC 6962 cuts a range: at the largest power of two that is smaller than it."""
    return start + (1 << (end - start - 1).bit_length() - 1)


def inclusion(index: int, size: int, node: Node) -> tuple[bytes, ...]:
    """Return the path from leaf `index` to the root of `size` leaves, the leaf's end first."""
    start, end, path = 0, size, []
    while end - start > 1:
        middle = _split(start, end)
        if index < middle:
            path.append(joined(subtrees(middle, end, node)))
            end = middle
        else:
            path.append(joined(subtrees(start, middle, node)))
            start = middle
    return tuple(reversed(path))


def consistency(old: int, size: int, node: Node) -> tuple[bytes, ...]:
    """Return the hashes that lead from the first `old` leaves to the first `size`."""
    if old in {0, size}:
        return ()
    start, end, path = 0, size, []
    while end != old:
        middle = _split(start, end)
        if old <= middle:
            path.append(joined(subtrees(middle, end, node)))
            end = middle
        else:
            path.append(joined(subtrees(start, middle, node)))
            start = middle
    if start:
        path.append(joined(subtrees(start, end, node)))
    return tuple(reversed(path))


# -- checking proofs ----------------------------------------------------------------------


def includes(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether `path` shows that the leaf with this hash is number `index` under `root`."""
    if not 0 <= index < size:
        return False
    sides, start, end = [], 0, size
    while end - start > 1:
        middle = _split(start, end)
        sides.append(index < middle)
        start, end = (start, middle) if index < middle else (middle, end)
    if len(sides) != len(path):
        return False
    for is_left, sibling in zip(reversed(sides), path, strict=True):
        leaf = node_hash(leaf, sibling) if is_left else node_hash(sibling, leaf)
    return leaf == root


def extends(old: int, old_root: bytes, size: int, root: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` shows that the tree under `root` begins with the one under `old_root`."""
    if not 0 <= old <= size:
        return False
    if old == 0:
        return not path and old_root == EMPTY
    sides, start, end = [], 0, size
    while end != old:
        middle = _split(start, end)
        sides.append(old <= middle)
        start, end = (start, middle) if old <= middle else (middle, end)
    if len(path) != len(sides) + (start > 0):
        return False
    before = after = path[0] if start else old_root
    for is_left, sibling in zip(reversed(sides), path[start > 0 :], strict=True):
        if is_left:
            after = node_hash(after, sibling)
        else:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
    return before == old_root and after == root
