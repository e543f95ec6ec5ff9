"""What of a trace of system calls would survive a loss of power at each acknowledgement.

A byte survives once its file was synced after it was written, no sync of that file has
failed, and the file's name is durable: its folder was synced after the name was made, and
so on upwards for folders that are new.

What a failed sync was to make durable has been forgotten by the kernel, and no second sync
brings it back.  Within one put the file is given up; after the put was refused, what is
written into it, or named in its folder, counts only if that was done anew.
"""

from __future__ import annotations

import os.path
import re
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from mailarchive.testing._traced import MARK

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
    failed: str
    """The name of what a sync of has failed by then, the first one; empty where none has."""
    asked_again: bool
    """Whether a file whose sync had failed was synced once more."""
    lacking: str
    """Names of files and folders that were made or written, and would not survive."""


@define(eq=False)
class _File:
    written: int = 0
    durable: int = 0
    failed: bool = False
    given_up: bool = False
    synced_at_once: bool = False

    def sync(self) -> None:
        if not self.given_up:
            self.durable = self.written

    def forget(self) -> None:
        self.failed = self.given_up = True

    def begin_anew(self) -> None:
        if self.given_up:
            self.given_up, self.written = False, self.durable


@define
class _Disk:
    """The files that were touched, by every name they have now."""

    files: dict[str, _File] = field(factory=dict)
    loose: dict[str, bool | None] = field(factory=dict)
    """Names that are not durable, and whether a sync of their folder has failed since.

    Of one that may have been there before, `None`: it is not lost by that.
    """
    gone: int = 0
    sent: int = 0
    failed: str = ""
    asked_again: bool = False

    def file(self, path: str) -> _File:
        return self.files.setdefault(path, _File())

    def name_is_durable(self, path: str) -> bool:
        while path not in self.loose:
            folder = os.path.dirname(path)  # noqa: PTH120 - a name in a trace, not a path of ours
            if folder == path:
                return True
            path = folder
        return False

    def names_in(self, folder: str) -> list[str]:
        return [path for path in self.loose if os.path.dirname(path) == folder]  # noqa: PTH120

    def durable(self) -> int:
        best: dict[int, int] = {}
        for path, file in self.files.items():
            if self.name_is_durable(path):
                best[id(file)] = file.durable
        return sum(best.values())

    def lacking(self) -> str:
        loose = {path for path, failed in self.loose.items() if failed is not None}
        torn = {path for path, file in self.files.items() if file.durable < file.written}
        return ", ".join(sorted({os.path.basename(path) for path in loose | torn}))  # noqa: PTH119 - names in a trace

    def synced_bytes(self) -> int:
        return sum({id(file): file.durable for file in self.files.values()}.values())


def moments(lines: Iterable[str]) -> Iterator[Moment]:
    """Yield every acknowledgement that a trace shows."""
    disk = _Disk()
    durable = synced = sent = 0
    for line in lines:
        call = _CALL.match(line)
        if call is None:
            continue
        if not call["name"].startswith(("access", "faccessat")):
            _take(disk, call)
        elif f'"{MARK}refused"' in call["arguments"]:
            for file in disk.files.values():
                file.begin_anew()
        elif f'"{MARK}acknowledged"' in call["arguments"]:
            now_is = disk.durable(), disk.synced_bytes(), disk.sent
            more = now_is[0] - durable, now_is[1] - synced, now_is[2] - sent
            yield Moment(*more, disk.failed, disk.asked_again, disk.lacking())
            durable, synced, sent = now_is


def _take(disk: _Disk, call: re.Match[str]) -> None:
    name, arguments, result = call["name"], call["arguments"], int(call["result"])
    if name in _SYNCS:
        _sync(disk, arguments, good=result == 0)
    elif result < 0:
        return
    elif name in _WRITES:
        _write(disk, arguments, result)
    elif name in {"sendto", "sendmsg"}:
        disk.sent += result
    elif name in _OPENS:
        _open(disk, arguments, call["rest"])
    elif name in _RENAMES | _LINKS:
        _rename(disk, arguments, keep=name in _LINKS)
    elif name in {"mkdir", "mkdirat"}:
        disk.loose.update(dict.fromkeys(_paths(arguments), False))
    elif name in {"unlink", "unlinkat"}:
        _unlink(disk, arguments)
    elif name in {"sync", "syncfs"}:
        _sync_all(disk)


def _write(disk: _Disk, arguments: str, count: int) -> None:
    path = _handle(arguments)
    if path.startswith(_SOCKET):
        disk.sent += count
        return
    file = disk.file(path)
    file.written += count
    if file.synced_at_once:
        file.sync()


def _sync(disk: _Disk, arguments: str, *, good: bool) -> None:
    path = _handle(arguments)
    file = disk.files.get(path)
    if not good:
        disk.failed = disk.failed or os.path.basename(path)  # noqa: PTH119 - a name in a trace
    if file is None:
        _sync_folder(disk, path, good=good)
    elif good:
        disk.asked_again |= file.failed
        file.sync()
    else:
        file.forget()


def _sync_folder(disk: _Disk, path: str, *, good: bool) -> None:
    """Make the names in a folder durable, but for those that a sync has failed for."""
    for name in disk.names_in(path):
        failed = disk.loose[name]
        if not good:
            disk.loose[name] = None if failed is None else True
        elif failed:
            disk.asked_again = True
        else:
            del disk.loose[name]


def _sync_all(disk: _Disk) -> None:
    for file in disk.files.values():
        file.sync()
    disk.loose = {path: failed for path, failed in disk.loose.items() if failed}


def _open(disk: _Disk, arguments: str, rest: str) -> None:
    if "O_CREAT" in arguments:
        for path in _paths(arguments):
            if path not in disk.files:  # whether it was there before cannot be told: be strict
                disk.loose[path] = False if "O_EXCL" in arguments else None
                disk.file(path)
    if "SYNC" in arguments:
        disk.file(_handle("0" + rest.strip())).synced_at_once = True


def _rename(disk: _Disk, arguments: str, *, keep: bool) -> None:
    paths = list(_paths(arguments))
    if len(paths) != len(("old", "new")):
        return
    old, new = paths
    if old in disk.files:
        disk.files[new] = disk.files[old] if keep else disk.files.pop(old)
    disk.loose[new] = False
    if not keep:
        disk.loose.pop(old, None)


def _unlink(disk: _Disk, arguments: str) -> None:
    """Take a name away: what has it next is another file, and this one's bytes still count."""
    for path in _paths(arguments):
        if path in disk.files:
            gone = f"{path} gone {disk.gone}"
            disk.gone += 1
            disk.files[gone] = disk.files.pop(path)
            if path in disk.loose:
                disk.loose[gone] = disk.loose.pop(path)


def _handle(arguments: str) -> str:
    match = _HANDLE.match(arguments)
    return match["path"] if match is not None else ""


def _paths(arguments: str) -> Iterator[str]:
    """Yield the paths that a call names, each whole."""
    for match in _AT.finditer(arguments):
        path = match["path"]
        yield os.path.normpath(os.path.join(match["folder"] or "", path))  # noqa: PTH118 - a name in a trace
