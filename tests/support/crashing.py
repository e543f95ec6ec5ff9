"""What is crashed, and how: a run in a process of its own, whose system calls are disturbed.

The process is a fork, and strace takes hold of it before it begins: so calls are counted
from there, and none that Python makes while it starts is among them.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import traceback
import warnings
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from support import erase_child, files_child, vault_child

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

CALLS = (
    "openat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,link,linkat,mkdir,mkdirat,"
    "unlink,unlinkat,rmdir,ftruncate,utimensat,flock"
)
"""Everything with which a sink, or SQLite for it, changes a disk; `openat` where it creates."""

_LINE = re.compile(r"^(\d+) +(\w+)\((.*)$", re.MULTILINE)
_ANY_TRACER = (0x59616D61, -1)
_FAILED = 1


class Subject(NamedTuple):
    """Something that is filled, and what must be true of it afterwards."""

    child: ModuleType
    words: tuple[str, ...]
    check: Callable[[Path, frozenset[int]], None]

    @property
    def file(self) -> Path:
        """The program that fills it."""
        return Path(str(self.child.__file__))


def _files(kind: str) -> Subject:
    return Subject(files_child, (kind,), partial(files_child.check, kind))


SUBJECTS = {
    "vault": Subject(vault_child, (), vault_child.check),
    "encrypted": Subject(erase_child, (), erase_child.check),
    "eml": _files("eml"),
    "maildir": _files("maildir"),
    "mbox": _files("mbox"),
}


def run(subject: Subject, folder: Path, *injected: str) -> int:
    """Fill `folder` with these faults and return the exit status; killed it is -9."""
    waits, goes = os.pipe()
    pid = _forked(subject, folder, waits)
    faults = [word for fault in injected for word in ("-e", f"inject={fault}")]
    strace = subprocess.Popen(
        [
            "strace",
            "-f",
            "-y",
            "-e",
            f"trace={CALLS}",
            *faults,
            "-o",
            folder / "log",
            "-p",
            f"{pid}",
        ],
        stderr=subprocess.PIPE,
    )
    try:
        assert strace.stderr is not None
        assert b"attached" in strace.stderr.readline()
        os.write(goes, b"\n")
        strace.communicate(timeout=120)
    finally:
        os.close(goes)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
    return os.waitstatus_to_exitcode(status)


def _forked(subject: Subject, folder: Path, waits: int) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the threads that are not there
        pid = os.fork()
    if pid:
        os.close(waits)
        return pid
    status = _FAILED
    try:
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(*_ANY_TRACER, 0, 0, 0)
        os.read(waits, 1)
        status = subject.child.main(str(folder / "vault"), str(folder / "acks"), *subject.words)
    except BaseException:  # noqa: BLE001 - whatever it is, somebody wants to read it
        (folder / "error").write_text(traceback.format_exc())
    finally:
        os._exit(status)


def acknowledged(folder: Path) -> frozenset[int]:
    """Return what the run had acknowledged."""
    acks = folder / "acks"
    return frozenset(map(int, acks.read_text().split())) if acks.exists() else frozenset()


def calls(subject: Subject, folder: Path) -> list[tuple[str, int]]:
    """Return the calls of a whole run that change what it fills, by name and number.

    strace counts each kind of call by itself, and in each thread: a fault at a number that
    two threads reach happens in both.
    """
    assert run(subject, folder) == 0, (folder / "error").read_text()
    found: set[tuple[str, int]] = set()
    counted: dict[tuple[str, str], int] = {}
    for thread, call, rest in _LINE.findall((folder / "log").read_text()):
        number = counted[thread, call] = counted.get((thread, call), 0) + 1
        if str(folder / "vault") in rest and (call != "openat" or "O_CREAT" in rest):
            found.add((call, number))
    return sorted(found)
