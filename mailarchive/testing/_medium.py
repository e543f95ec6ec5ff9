"""What of a trace of system calls would survive a loss of power at each acknowledgement.

A byte survives once its file was synced after it was written, no sync of that file has
failed, and the file's name is durable: its folder was synced after the name was made, and
so on upwards for folders that are new.
"""

from __future__ import annotations

import os.path
import re
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from mailarchive.testing._elsewhere import MARK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CALL: Final = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\)\s+= (?P<result>-?\d+)(?P<rest>.*)")
_HANDLE: Final = re.compile(r"-?\w+<(?P<path>[^<>]*)>")
_TEXT: Final = re.compile(r'"(?P<path>(?:[^"\\]|\\.)*)"')
_AT: Final = re.compile(r'(?:\w+<(?P<folder>[^<>]*)>, )?"(?P<path>(?:[^"\\]|\\.)*)"')
_SOCKET: Final = ("socket:", "TCP:", "TCPv6:", "UNIX", "UDP:")
_WRITES: Final = frozenset({"write", "pwrite64", "writev", "pwritev", "pwritev2"})
_SYNCS: Final = frozenset({"fsync", "fdatasync"})
_RENAMES: Final = frozenset({"rename", "renameat", "renameat2"})
_LINKS: Final = frozenset({"link", "linkat"})
_OPENS: Final = frozenset({"open", "openat", "openat2", "creat"})


@frozen
class Moment:
    """An acknowledgement: how many bytes more are durable since the last, and were sent."""

    durable: int
    synced: int
    """The same, if every name were durable."""
    sent: int
    failed: bool
    """Whether a sync has failed by then."""
    asked_again: bool
    """Whether a file whose sync had failed was synced once more."""


@define(eq=False)
class _File:
    written: int = 0
    durable: int = 0
    failed: bool = False
    synced_at_once: bool = False


@define
class _Disk:
    """The files that were touched, by every name they have now."""

    files: dict[str, _File] = field(factory=dict)
    born: dict[str, int] = field(factory=dict)
    synced: dict[str, int] = field(factory=dict)
    sent: int = 0
    failed: bool = False
    asked_again: bool = False

    def file(self, path: str) -> _File:
        return self.files.setdefault(path, _File())

    def name_is_durable(self, path: str) -> bool:
        while path in self.born:
            folder = os.path.dirname(path)  # noqa: PTH120 - a name in a trace, not a path of ours
            if self.synced.get(folder, -1) < self.born[path]:
                return False
            path = folder
        return True

    def durable(self) -> int:
        best: dict[int, int] = {}
        for path, file in self.files.items():
            if self.name_is_durable(path):
                best[id(file)] = file.durable
        return sum(best.values())

    def synced_bytes(self) -> int:
        return sum({id(file): file.durable for file in self.files.values()}.values())


def moments(lines: Iterable[str]) -> Iterator[Moment]:
    """Yield every acknowledgement that a trace shows."""
    disk = _Disk()
    durable = synced = sent = 0
    for now, line in enumerate(lines):
        call = _CALL.match(line)
        if call is None:
            continue
        if call["name"].startswith(("access", "faccessat")):
            if f'"{MARK}acknowledged"' in call["arguments"]:
                now_is = disk.durable(), disk.synced_bytes(), disk.sent
                more = now_is[0] - durable, now_is[1] - synced, now_is[2] - sent
                yield Moment(*more, disk.failed, disk.asked_again)
                durable, synced, sent = now_is
            continue
        _take(disk, now, call)


def _take(disk: _Disk, now: int, call: re.Match[str]) -> None:
    name, arguments, result = call["name"], call["arguments"], int(call["result"])
    if name in _SYNCS:
        _sync(disk, now, arguments, good=result == 0)
    elif result < 0:
        return
    elif name in _WRITES:
        _write(disk, arguments, result)
    elif name in {"sendto", "sendmsg"}:
        disk.sent += result
    elif name in _OPENS:
        _open(disk, now, arguments, call["rest"])
    elif name in _RENAMES | _LINKS:
        _rename(disk, now, arguments, keep=name in _LINKS)
    elif name in {"mkdir", "mkdirat"}:
        for path in _paths(arguments):
            disk.born[path] = now
    elif name in {"sync", "syncfs"}:
        _sync_all(disk, now)


def _write(disk: _Disk, arguments: str, count: int) -> None:
    path = _handle(arguments)
    if path.startswith(_SOCKET):
        disk.sent += count
        return
    file = disk.file(path)
    file.written += count
    if file.synced_at_once and not file.failed:
        file.durable = file.written


def _sync(disk: _Disk, now: int, arguments: str, *, good: bool) -> None:
    path = _handle(arguments)
    file = disk.files.get(path)
    if not good:
        disk.failed = True
        if file is not None:
            file.failed = True
    elif file is None:
        # A folder.  Asked again it may be believed: a file system that cannot write its
        # own names any more says so until it is repaired.
        disk.synced[path] = now
    elif file.failed:
        disk.asked_again = True
    else:
        file.durable = file.written


def _sync_all(disk: _Disk, now: int) -> None:
    for file in disk.files.values():
        if not file.failed:
            file.durable = file.written
    for path in disk.born:
        disk.synced[os.path.dirname(path)] = now  # noqa: PTH120 - a name in a trace


def _open(disk: _Disk, now: int, arguments: str, rest: str) -> None:
    if "O_CREAT" in arguments:
        for path in _paths(arguments):
            if path not in disk.files:  # whether it was there before cannot be told: be strict
                disk.born[path] = now
                disk.file(path)
    if "SYNC" in arguments:
        disk.file(_handle("0" + rest.strip())).synced_at_once = True


def _rename(disk: _Disk, now: int, arguments: str, *, keep: bool) -> None:
    paths = list(_paths(arguments))
    if len(paths) != len(("old", "new")):
        return
    old, new = paths
    if old in disk.files:
        disk.files[new] = disk.files[old] if keep else disk.files.pop(old)
    disk.born[new] = now
    if not keep:
        disk.born.pop(old, None)


def _handle(arguments: str) -> str:
    match = _HANDLE.match(arguments)
    return match["path"] if match is not None else ""


def _paths(arguments: str) -> Iterator[str]:
    """Yield the paths that a call names, each whole."""
    for match in _AT.finditer(arguments):
        path = match["path"]
        yield os.path.normpath(os.path.join(match["folder"] or "", path))  # noqa: PTH118 - a name in a trace
