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
import resource
import signal
import socket
import struct
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any, Final, cast, final

from attrs import field, frozen

from mailarchive._model import Receipt
from mailarchive.errors import MailArchiveError
from mailarchive.testing._traced import MARK, Trace

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from mailarchive._model import ArchiveEntry, Rejected
    from mailarchive.abc import Sink

_HEAD: Final = struct.Struct(">Q")
_ANY_TRACER: Final = (0x59616D61, -1)


def _is_picklable(_: object, __: object, make: Callable[[], Sink]) -> None:
    try:
        pickle.dumps(make)
    except Exception as error:
        raise TypeError(
            "a maker for a new interpreter must be one that can be pickled: a function of a"
            " module that can be imported, or a functools.partial of one; no lambda"
        ) from error


@frozen
class Spawned:
    """A maker whose other processes are new interpreters, because forks cannot use it.

    It must be picklable, or this is a `TypeError`: a function of an importable module, or a
    `functools.partial` of one.  Needed for sinks with a runtime of their own that does not
    survive a fork.
    """

    make: Callable[[], Sink] = field(validator=_is_picklable)

    def __call__(self) -> Sink:
        """Return a sink, not yet opened."""
        return self.make()


@final
class Died(Exception):
    """The other process is no more."""


@final
class ForeignError(Exception):
    """Something that is no error of this library left a public method; the name says what."""


@final
class NotStarted(RuntimeError):
    """The other process could not be started: the maker's fault, or the machine's."""


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
            why = _receive(self._line)
        except OSError:
            why = "it ended"
        if why is not None:
            self.kill()
            raise NotStarted(
                f"the other process did not start ({why}): a Spawned maker must be a function of a"
                " module that can be imported, or a functools.partial of one"
            )

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

    def limit(self, octets: int) -> None:
        """Let no file grow beyond so many bytes: a write up to there is a short one."""
        self._ask("limit", octets)

    def put(self, *entries: ArchiveEntry) -> tuple[Receipt | Rejected, ...]:
        """Put a batch; raises `Died` where the process did not live to answer."""
        return cast("tuple[Receipt | Rejected, ...]", self._ask("put", entries))

    def read(self, receipt: Receipt) -> bytes:
        """Read one entry back."""
        return cast("bytes", self._ask("read", receipt))

    def _ask(self, what: str, *about: object) -> object:
        try:
            _send(self._line, (what, *about))
            good, answer, cause = _receive(self._line)
        except OSError as error:
            raise Died(what) from error
        if not good:
            raise answer from cause
        return answer


def new_interpreter(make: Callable[[], Sink]) -> Elsewhere | None:
    """Start a new interpreter with the sink in it; `None` where the maker cannot get there."""
    try:
        return Elsewhere(make if isinstance(make, Spawned) else Spawned(make))
    except (TypeError, NotStarted):
        if isinstance(make, Spawned):
            raise
        return None


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
    line = socket.socket(fileno=int(number))
    try:
        make = pickle.loads(bytes.fromhex(parcel))  # noqa: S301 - from the process that started this
    except BaseException as error:  # noqa: BLE001 - whatever it is, the other side wants to know
        _send(line, type(error).__name__)
    else:
        _serve(line, make)
    os._exit(0)


def _serve(line: socket.socket, make: Callable[[], Sink]) -> None:
    """Do what is asked until nobody asks any more."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(*_ANY_TRACER, 0, 0, 0)
    _send(line, None)
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
            _send(line, (False, error, _cause(error)))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the other side wants to know
            _send(line, (False, ForeignError(type(error).__name__), None))
        else:
            _send(line, (True, answer, None))


def _cause(error: MailArchiveError) -> ForeignError | None:
    """Name what the error was made of, which is lost when it is pickled."""
    cause = error.__cause__
    if isinstance(cause, MailArchiveError | OSError | None):
        return None
    return ForeignError(type(cause).__name__)


def _done(sink: Sink, what: str, *about: Any) -> object:
    if what == "put":
        try:
            answers = sink.put_many(*about)
        except BaseException:
            mark("refused")
            raise
        # What is rejected has no receipt: the mark is for those that have.
        mark("acknowledged" if all(isinstance(a, Receipt) for a in answers) else "refused")
        return answers
    if what == "read":
        return sink.read(*about)
    if what == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (*about, resource.RLIM_INFINITY))
        return None
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
