"""What is missing from the folder of a log, or is no file of it, as far as that can be told.

A crash of the first seal leaves tiles without a checkpoint, and one saved checkpoint without
the newest one: neither is accused.  What an anchor gave is its own to judge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailarchive.vault import _log, _tiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailarchive.vault._log import LogFolder

_ANCHORS, _BUNDLES = ("anchors",), ("tile", _tiles.ENTRIES)


def doubts(log: LogFolder) -> Iterator[str]:
    """Yield in words what is wrong; what is sealed meanwhile is not accused.

    Raises `OSError`.
    """
    for name in log.strange():
        yield f"the log's file {name} is a link, or not of the kind that it must be"
    newest, sizes, again = log.size(), log.sizes(), log.size()
    if newest is not None and newest not in sizes:
        yield f"the log's file checkpoints/{newest} is missing, and checkpoint is of that size"
    for size in sorted(_anchored(log) - {*sizes}):
        yield f"the log's file checkpoints/{size} is missing, and an anchor has it"
    if _is_behind(log, sizes, again):
        yield "the log's file checkpoint is missing, or older than what was saved: seal again"
    if not sizes and again is None and _was_sealed(log):
        yield "the log has tiles of several seals, and no checkpoint of any"


def _anchored(log: LogFolder) -> set[int]:
    return {int(name) for name in log.names(_ANCHORS) if _log.is_size(name)}


def _is_behind(log: LogFolder, sizes: Sequence[int], newest: int | None) -> bool:
    """Whether more than the last seal, which may have broken off, lies behind it."""
    if newest is None:
        return len(sizes) > 1 and not log.has(_log.CHECKPOINT)
    return len(sizes) > 1 and newest < sizes[-2]


def _was_sealed(log: LogFolder) -> bool:
    """Whether the newest bundle stands there in the sizes of several seals."""
    path: tuple[str, ...] = _BUNDLES
    while names := log.names(path):
        path = (*path, names[-1])
        if names[-1].endswith(".p"):
            return len(log.names(path)) > 1
    return False
