"""Saved checkpoints that are damaged, put right from another copy of the vault.

One is taken from a replica only where it bears the number of its name and is signed by a key
that was given, and where this vault's own log leads to it: then it is what was saved here.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive._model import Digest
from mailarchive.errors import ConfigurationError, SinkCorrupt, SinkError
from mailarchive.vault._log import LogFolder, saved
from mailarchive.vault._note import LogCheckpoint
from mailarchive.vault._tiles import Tiles

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailarchive.vault._disk import Disk
    from mailarchive.vault._note import VerifierKey


@frozen
class CheckpointRepair:
    """A saved checkpoint to restore: the one over `size` lines, to the bytes `data`.

    `damaged` is the SHA-256 of the file as it is, and `None` where there is none.
    """

    size: int
    data: bytes = field(repr=False)
    damaged: Digest | None


@frozen
class Checkpoints:
    """What can be restored, and the sizes of the damaged ones that cannot."""

    repairs: tuple[CheckpointRepair, ...] = ()
    lost: tuple[int, ...] = ()


def plan(ours: int, theirs: int, origin: str, key: VerifierKey | None, disk: Disk) -> Checkpoints:
    """Compare the logs in two open first volumes; raises `SinkCorrupt`, `OSError`."""
    with ExitStack() as stack:
        own = LogFolder.open(ours, disk)
        if own is None:
            return Checkpoints()
        stack.enter_context(own)
        other = None
        with suppress(SinkCorrupt):  # something else stands there: it has nothing for us
            other = LogFolder.open(theirs, disk)
        if other is not None:
            stack.enter_context(other)
        return _compared(own, other, origin, key)


def _compared(
    own: LogFolder, other: LogFolder | None, origin: str, key: VerifierKey | None
) -> Checkpoints:
    repairs, lost = list[CheckpointRepair](), list[int]()
    sizes = {*own.sizes(), *(() if other is None else other.sizes())}
    for size in sorted(sizes):
        if _verified(own, size, origin, key) is not None:
            continue
        found = None if other is None or key is None else _verified(other, size, origin, key)
        if found is not None and _leads_to(own, found):
            repairs.append(CheckpointRepair(size, found.to_bytes(), _there(own, size)))
        elif own.has(saved(size)):
            lost.append(size)
    return Checkpoints(tuple(repairs), tuple(lost))


def _verified(
    log: LogFolder, size: int, origin: str, key: VerifierKey | None
) -> LogCheckpoint | None:
    """The checkpoint of a size, if it is what its name says, and the key's where one is given."""
    try:
        made = LogCheckpoint.parse(log.read(saved(size)) or b"")
    except (ConfigurationError, SinkCorrupt):
        return None
    is_right = (made.size, made.origin) == (size, origin)
    return made if is_right and (key is None or key.check(made)) else None


def _leads_to(log: LogFolder, made: LogCheckpoint) -> bool:
    """Whether the tiles of a log have what a checkpoint is over."""
    try:
        return Tiles(made.size, log.read).root() == made.root
    except SinkCorrupt:
        return False


def _there(log: LogFolder, size: int) -> Digest | None:
    """The digest of what is in the file; `None` where there is none, or something else."""
    try:
        data = log.read(saved(size))
    except SinkCorrupt:
        return None
    return None if data is None else Digest.of(data)


def restore(volume: int, repairs: Iterable[CheckpointRepair], disk: Disk) -> None:
    """Put checkpoints in their places, durably.

    Raises `SinkError` where something is not any more as the plan says, `OSError`.
    """
    opened = LogFolder.open(volume, disk, create=True)
    assert opened is not None
    with opened as log, log.sealing():
        for each in repairs:
            if _there(log, each.size) != each.damaged:
                raise SinkError(
                    f"checkpoint {each.size} is not as it was when the repair was planned",
                    suggestions=["plan the repair again"],
                )
            log.write(saved(each.size), each.data)
        log.settle()
