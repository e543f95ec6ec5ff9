"""A sink in another process, with a hand on its system calls.

The process is a fork of this one, made before anything is put, so that nothing of what the
sink keeps in memory is shared; or a new interpreter, where the maker is `Spawned`.  It can
be killed, and traced with strace (Linux), which also makes chosen system calls fail.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast, final

from attrs import frozen

from mailarchive.errors import MailArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self

    from mailarchive._model import ArchiveEntry, Receipt, Rejected
    from mailarchive.abc import Sink

_HEAD: Final = struct.Struct(">Q")
_ANY_TRACER: Final = (0x59616D61, -1)
MARK: Final = "/mailarchive:"
"""How a path begins that is asked for to leave a mark in a trace; nothing is ever there."""


@frozen
class Spawned:
    """A maker whose other processes are new interpreters, because forks cannot use it.

    It must be picklable: a function of an importable module, or a `functools.partial` of
    one.  Needed for sinks with a runtime of their own that does not survive a fork.
    """

    make: Callable[[], Sink]

    def __call__(self) -> Sink:
        """Return a sink, not yet opened."""
        return self.make()


@final
class Died(Exception):
    """The other process is no more."""


@final
class ForeignError(Exception):
    """Something that is no error of this library left a public method; the name says what."""


class Elsewhere:
    """The other process, and the sink in it; a context manager that ends it."""

    def __init__(self, make: Callable[[], Sink]) -> None:
        """Start the process; the sink is opened by `open`."""
        self._line, theirs = socket.socketpair()
        with theirs:
            self.pid: int = (
                _spawned(make, theirs)
                if isinstance(make, Spawned)
                else _forked(make, theirs, self._line)
            )
        self._traces: list[Trace] = []
        self._ended = False
        self._wait_until_it_serves()

    def _wait_until_it_serves(self) -> None:
        try:
            _receive(self._line)
        except OSError:
            self.kill()
            raise RuntimeError(
                "the other process did not start: a Spawned maker must be a function of a module "
                "that can be imported, or a functools.partial of one"
            ) from None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """End the process, in whatever it is."""
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL and wait until it is gone; once is enough."""
        if self._ended:
            return
        self._ended = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        self._line.close()
        if self._traces:
            self._traces[-1].finish()

    def trace(self, *, inject: str | None = None) -> Trace:
        """Begin to note system calls, and with `inject` to disturb them, as strace says it.

        What was begun before ends, so that `inject` counts from here on.
        """
        if self._traces:
            self._traces[-1].leave()
        self._traces.append(Trace(self.pid, inject))
        return self._traces[-1]

    @property
    def lines(self) -> tuple[str, ...]:
        """Everything that was noted, in order; known once the process has ended."""
        return tuple(line for trace in self._traces for line in trace.lines)

    def open(self) -> None:
        """Make the sink and open it; raises what it raises."""
        self._ask("open")

    def close(self) -> None:
        """Close the sink."""
        self._ask("close")

    def put(self, *entries: ArchiveEntry) -> tuple[Receipt | Rejected, ...]:
        """Put a batch; raises `Died` where the process did not live to answer."""
        return cast("tuple[Receipt | Rejected, ...]", self._ask("put", entries))

    def read(self, receipt: Receipt) -> bytes:
        """Read one entry back."""
        return cast("bytes", self._ask("read", receipt))

    def _ask(self, what: str, *about: object) -> object:
        try:
            _send(self._line, (what, *about))
            good, answer = _receive(self._line)
        except OSError as error:
            raise Died(what) from error
        if not good:
            raise answer
        return answer


def _forked(make: Callable[[], Sink], line: socket.socket, ours: socket.socket) -> int:
    with warnings.catch_warnings():
        # The other threads of this process are not there afterwards; the sink is made anew.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return pid
    ours.close()
    try:
        _serve(line, make)
    finally:
        os._exit(0)


def _spawned(make: Spawned, line: socket.socket) -> int:
    program = "from mailarchive.testing._elsewhere import main; main()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(line.fileno()), pickle.dumps(make.make).hex()],
        pass_fds=[line.fileno()],
        env=environment,
    )
    process.returncode = 0  # waited for by its number, like a fork
    return process.pid


def main() -> None:
    """Serve the sink that the command line names, in a process of its own."""
    number, parcel = sys.argv[1:]
    make = pickle.loads(bytes.fromhex(parcel))  # noqa: S301 - from the process that started this
    _serve(socket.socket(fileno=int(number)), make)
    os._exit(0)


def _serve(line: socket.socket, make: Callable[[], Sink]) -> None:
    """Do what is asked until nobody asks any more."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(*_ANY_TRACER, 0, 0, 0)
    _send(line, "ready")
    sink: Sink | None = None
    while True:
        try:
            what, *about = _receive(line)
        except OSError:
            return
        try:
            if what == "open":
                sink = make().__enter__()
                mark("opened")
                answer: object = None
            else:
                answer = _done(cast("Sink", sink), what, *about)
        except MailArchiveError as error:
            _send(line, (False, error))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the other side wants to know
            _send(line, (False, ForeignError(type(error).__name__)))
        else:
            _send(line, (True, answer))


def _done(sink: Sink, what: str, *about: Any) -> object:
    if what == "put":
        try:
            answers = sink.put_many(*about)
        except BaseException:
            mark("refused")
            raise
        mark("acknowledged")
        return answers
    if what == "read":
        return sink.read(*about)
    return sink.__exit__(None, None, None)


def mark(word: str) -> None:
    """Leave a word in the trace of this process."""
    os.access(f"{MARK}{word}", os.F_OK)


def _send(line: socket.socket, what: object) -> None:
    data = pickle.dumps(what)
    line.sendall(_HEAD.pack(len(data)) + data)


def _receive(line: socket.socket) -> Any:
    (size,) = _HEAD.unpack(_exactly(line, _HEAD.size))
    return pickle.loads(_exactly(line, size))  # noqa: S301 - both ends are this module


def _exactly(line: socket.socket, size: int) -> bytearray:
    data = bytearray()
    while len(data) < size:
        piece = line.recv(min(size - len(data), 1 << 20))
        if not piece:
            raise ConnectionError
        data += piece
    return data


# -- system calls -----------------------------------------------------------------------------

WRITES: Final = "write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range"
SYNCS: Final = "fsync,fdatasync,sync_file_range,syncfs,sync"
NAMES: Final = "rename,renameat,renameat2,link,linkat,mkdir,mkdirat,unlink,unlinkat"
CHANGES: Final = f"{WRITES},{SYNCS},{NAMES},ftruncate,truncate"
"""Every call that changes a disk."""
_SEEN: Final = f"{CHANGES},open,openat,openat2,creat,access,faccessat,faccessat2,sendto,sendmsg"


class NotTried(str):  # noqa: SLOT000 - a text that says of what kind it is
    """Why something could not be tried here, though it is promised."""


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
