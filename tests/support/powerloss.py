"""A disk on paper: what a run did to it, and what may be left after a loss of power.

POSIX promises little.  Bytes are durable once the file was synced, a name once its folder
was.  Of everything else any part may be there: all, nothing, bytes without their names,
names without their bytes, or some of both with the last write torn.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from mailarchive.errors import MailArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

CALLS = (
    "openat,pwrite64,write,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,"
    "mkdir,mkdirat,ftruncate,rmdir,link,linkat"
)
"""Everything that changes a disk; one that nothing here knows how to play fails the run."""
_CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"^\d+ +<\.\.\. \w+ resumed>(.*)")


class Op(NamedTuple):
    """One step: `what` was done to `path`."""

    what: str
    path: str
    data: bytes = b""
    at: int = 0
    to: str = ""


def unmeasured() -> dict[str, str]:
    """The environment for a process whose calls fail: its coverage would be damaged too."""
    return {name: value for name, value in os.environ.items() if "COVERAGE" not in name}


def record(folder: Path, child: Path, *words: str) -> list[Op]:
    """Let a child fill what it fills in `folder` under strace, and return what that did."""
    log = folder / "log"
    folder.mkdir()
    command = [
        *("strace", "-f", "-y", "-xx", "-s", "100000000", "-e", f"trace={CALLS}"),
        *("-o", str(log), sys.executable, str(child), str(folder / "vault"), str(folder / "acks")),
        *words,
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120, env=unmeasured())
    return list(_ops(log.read_text().splitlines(), str(folder)))


def _whole(lines: Iterable[str]) -> Iterator[str]:
    """Join the halves of a call during which another thread made one: it is over when it ends."""
    begun: dict[str, str] = {}
    for line in lines:
        thread = line.partition(" ")[0]
        resumed = _RESUMED.match(line)
        if line.endswith(_UNFINISHED):
            begun[thread] = line.removesuffix(_UNFINISHED)
        elif resumed is not None:
            yield begun.pop(thread) + resumed[1]
        else:
            yield line


def _ops(lines: Iterable[str], top: str) -> Iterator[Op]:
    for line in _whole(lines):
        call = _CALL.match(line)
        if call is not None and int(call[3]) >= 0:
            yield from _op(call[1], _arguments(call[2]), top)


def _arguments(text: str) -> list[bytes]:
    """The arguments, with everything that strace wrote in hexadecimal as bytes."""
    return [
        b"".join(
            bytes.fromhex(piece.replace("\\x", "")) if piece.startswith("\\x") else piece.encode()
            for piece in re.split(r"((?:\\x[0-9a-f]{2})+)", part)
        )
        for part in text.split(", ")
    ]


def _path(folder: bytes, name: bytes = b"") -> str:
    """The path of an open file as `3</folder>`, or of a name in it."""
    where = folder.partition(b"<")[2].removesuffix(b">").decode()
    inner = name.strip(b'"').decode()
    return inner if inner.startswith("/") else f"{where}/{inner}" if inner else where


def _op(call: str, args: list[bytes], top: str) -> Iterator[Op]:
    """The step that a call is, if it is one on what matters here."""
    path = args[0].strip(b'"').decode() if args[0].startswith(b'"') else _path(args[0])
    if call in _WITHIN:
        path = _path(args[0], args[1])
    op = _STEPS[call](path, args)
    inside = op is not None and (op.path == top or op.path.startswith(f"{top}/"))
    if op is not None and inside and not op.path.endswith("-shm"):
        yield op


def _created(path: str, args: list[bytes]) -> Op | None:
    return Op("create", path) if b"O_CREAT" in args[2] else None


_WITHIN = frozenset({"openat", "mkdirat", "unlinkat", "renameat"})
_STEPS: dict[str, Callable[[str, list[bytes]], Op | None]] = {
    "openat": _created,
    "pwrite64": lambda path, args: Op("write", path, _bytes(args[1]), int(args[3])),
    "write": lambda path, args: Op("append", path, _bytes(args[1])),
    "fsync": lambda path, _: Op("sync", path),
    "fdatasync": lambda path, _: Op("sync", path),
    "ftruncate": lambda path, args: Op("resize", path, at=int(args[1], 0)),
    "mkdir": lambda path, _: Op("mkdir", path),
    "mkdirat": lambda path, _: Op("mkdir", path),
    "unlink": lambda path, _: Op("unlink", path),
    "unlinkat": lambda path, _: Op("unlink", path),
    "rename": lambda path, args: Op("rename", path, to=args[1].strip(b'"').decode()),
    "renameat": lambda path, args: Op("rename", path, to=_path(args[2], args[3])),
}


def _bytes(argument: bytes) -> bytes:
    return argument.removeprefix(b'"').removesuffix(b'"')


class _File:
    """Bytes that are durable, and the changes since then, in order."""

    def __init__(self) -> None:
        self.durable = b""
        self.pending: list[tuple[int, bytes | None]] = []

    def after(self, changes: Iterable[tuple[int, bytes | None]]) -> bytes:
        data = bytearray(self.durable)
        for at, piece in changes:
            size = at if piece is None else max(len(data), at + len(piece))
            data[len(data) :] = bytes(max(size - len(data), 0))
            del data[size:]
            if piece is not None:
                data[at : at + len(piece)] = piece
        return bytes(data)


class Disk:
    """The disk after some steps; `state` is one that a loss of power may leave."""

    def __init__(self, top: str) -> None:
        """Begin with an empty folder `top`."""
        self._top = top
        self._names: dict[str, _File | None] = {top: None}
        self._durable: dict[str, _File | None] = {top: None}
        self._pending: dict[str, list[tuple[str, str, _File | None]]] = {}
        self.acks: list[int] = []

    def step(self, op: Op) -> None:
        """Take a step."""
        getattr(self, f"_{op.what}")(op)

    def _create(self, op: Op) -> None:
        if op.path not in self._names:
            self._name(op.path, _File())

    def _mkdir(self, op: Op) -> None:
        self._name(op.path, None)

    def _name(self, path: str, file: _File | None) -> None:
        self._names[path] = file
        self._later("add", path, file)

    def _later(self, what: str, path: str, file: _File | None) -> None:
        self._pending.setdefault(path.rpartition("/")[0], []).append((what, path, file))

    def _file(self, path: str) -> _File:
        file = self._names[path]
        assert file is not None
        return file

    def _write(self, op: Op) -> None:
        self._file(op.path).pending.append((op.at, op.data))

    def _append(self, op: Op) -> None:
        if op.path.endswith("/acks"):
            self.acks.append(int(op.data))
        else:
            file = self._file(op.path)
            file.pending.append((len(file.after(file.pending)), op.data))

    def _resize(self, op: Op) -> None:
        self._file(op.path).pending.append((op.at, None))

    def _unlink(self, op: Op) -> None:
        self._later("remove", op.path, self._names.pop(op.path))

    def _rename(self, op: Op) -> None:
        file = self._names.pop(op.path)
        self._later("remove", op.path, file)
        self._name(op.to, file)

    def _sync(self, op: Op) -> None:
        file = self._names[op.path]
        if file is None:
            for change in self._pending.pop(op.path, []):
                _apply(self._durable, change)
        else:
            file.durable = file.after(file.pending)
            file.pending = []

    def state(self, mode: str, random: Random) -> dict[str, bytes | None]:
        """Return paths and what is there: bytes, or `None` for a folder."""
        names = dict(self._durable)
        for changes in self._pending.values():
            for change in _some(changes, mode in {"all", "names"}, mode, random):
                _apply(names, change)
        found: dict[str, bytes | None] = {}
        for path, file in sorted(names.items()):
            if path != self._top and path.rpartition("/")[0] not in {self._top, *found}:
                continue
            if file is None:
                found[path] = None
                continue
            writes = _some(file.pending, mode in {"all", "data"}, mode, random)
            found[path] = file.after(_torn(writes, random) if mode == "random" else writes)
        return found


def _apply(names: dict[str, _File | None], change: tuple[str, str, _File | None]) -> None:
    what, path, file = change
    if what == "add":
        names[path] = file
    elif names.get(path) is file:
        names.pop(path, None)


_T = TypeVar("_T")


def _some(changes: list[_T], whole: bool, mode: str, random: Random) -> list[_T]:
    if mode == "random":
        return [each for each in changes if random.randrange(2)]
    return list(changes) if whole else []


def _torn(
    changes: list[tuple[int, bytes | None]], random: Random
) -> list[tuple[int, bytes | None]]:
    """The last write may be there in part."""
    if not changes or changes[-1][1] is None:
        return changes
    at, data = changes[-1]
    return [*changes[:-1], (at, data[: random.randrange(len(data) + 1)] if data else data)]


MODES = ("synced", "all", "data", "names")


def explore(
    ops: list[Op], top: Path, stride: int, random: Random, mixtures: int = 2
) -> Iterator[tuple[str, frozenset[int], dict[str, bytes | None]]]:
    """Yield different states after every `stride`-th step, with what was acknowledged.

    Of each step the four plain ones, and so many mixtures that are drawn by chance.
    """
    disk = Disk(str(top))
    seen: set[bytes] = set()
    for number, op in enumerate(ops):
        disk.step(op)
        if number % stride:
            continue
        for mode in (*MODES, *("random",) * mixtures):
            state = disk.state(mode, random)
            name = hashlib.sha256(repr((sorted(state.items()), disk.acks)).encode()).digest()
            if name not in seen:
                seen.add(name)
                yield f"{mode} after step {number}: {op.what}", frozenset(disk.acks), state


def build(state: dict[str, bytes | None], top: Path, place: Path) -> None:
    """Make a state of `top` real in `place`."""
    place.mkdir()
    for path, data in sorted(state.items()):
        target = place / Path(path).relative_to(top)
        if data is None:
            target.mkdir(exist_ok=True)
        else:
            target.write_bytes(data)


def bad_states(
    folder: Path,
    child: Path,
    words: Sequence[str],
    check: Callable[[Path, frozenset[int]], None],
    steps: tuple[int, int],
) -> tuple[int, list[str]]:
    """Return how many states of the disk were tried, and those in which something was wrong.

    `steps` says how many there are from one loss of power to the next, and how many
    mixtures are tried of each.
    """
    top, place = folder / "recorded", folder / "state"
    stride, mixtures = steps
    tried, bad = 0, []
    ops = record(top, child, *words)
    for name, acks, state in explore(ops, top, stride, Random(1), mixtures):
        tried += 1
        build(state, top, place)
        try:
            check(place / "vault", acks)
        except (AssertionError, MailArchiveError) as error:
            bad.append(f"{name}: {error}")
        shutil.rmtree(place)
    return tried, bad
