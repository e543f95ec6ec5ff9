"""The system calls of a process, seen and disturbed with strace (Linux)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MARK: Final = "/mailarchive:"
"""How a path begins that is asked for to leave a mark in a trace; nothing is ever there."""

WRITES: Final = "write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range"
SYNCS: Final = "fsync,fdatasync,sync_file_range,syncfs,sync"
NAMES: Final = "rename,renameat,renameat2,link,linkat,mkdir,mkdirat,unlink,unlinkat"
CHANGES: Final = f"{WRITES},{SYNCS},{NAMES},ftruncate,truncate"
"""Every call that changes a disk."""
_SEEN: Final = f"{CHANGES},open,openat,openat2,creat,access,faccessat,faccessat2,sendto,sendmsg"


@frozen
class Call:
    """One of the system calls of a process, counted by its name, or by several of a kind."""

    name: str
    number: int
    file: str = ""

    def inject(self, what: str) -> str:
        """Return what strace is told so that this happens to the call."""
        return f"{self.name}:{what}:when={self.number}"

    @override
    def __str__(self) -> str:
        """As people count them."""
        name = "sync" if self.name == SYNCS else self.name
        return f"{name} number {self.number}{self.file and f' ({self.file})'}"


def file_of(line: str) -> str:
    """Return the name, and no path, of the last file that a call names."""
    pairs = re.findall(r'<(/[^<>]*)>|"([^"]+)"', line.partition(" = ")[0])
    return os.path.basename("".join(pairs[-1])) if pairs else ""  # noqa: PTH119 - a name in a trace


class NotTried(str):  # noqa: SLOT000 - a text that says of what kind it is
    """Why something could not be tried here, though it is promised."""


class Kept(str):  # noqa: SLOT000 - a text that says of what kind it is
    """How far a law was tried that holds as far as that."""


@cache
def why_not_traced() -> NotTried | None:
    """Return why no process can be traced here, or `None` where it can."""
    if sys.platform != "linux":
        return NotTried("system calls can be seen on Linux alone")
    if shutil.which("strace") is None:
        return NotTried("strace is not installed")
    tried = subprocess.run(
        ["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, check=False
    )
    return NotTried("strace may not trace a process here") if tried.returncode else None


class Trace:
    """What strace notes of a process, from now until it ends."""

    def __init__(self, pid: int, inject: str | None) -> None:
        """Attach, and return once every call is seen."""
        self._folder = tempfile.TemporaryDirectory(prefix="mailarchive-trace-")
        self._file = Path(self._folder.name, "trace")
        self.lines: tuple[str, ...] = ()
        """The calls in the order in which they returned; known once the trace has ended."""
        command = ["strace", "-f", "-y", "-s", "0", "-o", str(self._file), "-e", f"trace={_SEEN}"]
        if inject is not None:
            command += ["-e", f"inject={inject}"]
        self._process = subprocess.Popen(
            [*command, "-p", str(pid)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        said = self._process.stderr.readline() if self._process.stderr else b""
        if b"attached" not in said:
            self.finish()
            raise RuntimeError(f"strace cannot attach: {said.decode('utf-8', 'replace').strip()}")

    def leave(self) -> None:
        """Let go of the process, which goes on."""
        self._process.terminate()
        self.finish()

    def finish(self) -> None:
        """Wait for the end of the trace; the process must have ended."""
        self._process.communicate()
        if self._file.exists():
            noted = self._file.read_text("utf-8", "replace").splitlines()
            self.lines = tuple(_joined(noted))
        self._folder.cleanup()


def _joined(lines: Sequence[str]) -> Iterator[str]:
    """Put calls together that were interrupted by another thread."""
    begun: dict[str, str] = {}
    for line in lines:
        pid, _, rest = line.partition(" ")
        rest = rest.lstrip()
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest.removesuffix("<unfinished ...>").rstrip()
        elif rest.startswith("<... "):
            yield begun.pop(pid, "") + rest.partition("resumed>")[2]
        else:
            yield rest
