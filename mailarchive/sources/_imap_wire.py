"""Bytes to and from one socket, bounded in size and in time.

Whoever is at the other end may be broken or hostile: it can be silent, drip a byte a
minute, or never stop.  A `Wire` gives up on each of them, and no answer makes it hold more
than it was told to expect.
"""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

from typing_extensions import override

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from _typeshed import WriteableBuffer

    from mailarchive.sources._imap_limits import ImapLimits

BUFFER = 1 << 18
LINE = 1 << 16


class Broken(Exception):  # says what the connection is
    """The connection cannot be used any more; the text is ours, never the server's.

    `detail` is what the server said, for our own eyes: to tell one case from another.
    """

    def __init__(self, text: str, *, detail: bytes = b"") -> None:
        """Take a constant sentence."""
        super().__init__(text)
        self.detail = detail


class Silent(Broken):
    """Nothing came, or too slowly, for longer than we wait."""


class Garbled(Broken):
    """What came breaks the protocol, or a limit."""


class _Tap(io.RawIOBase):
    """A socket as a raw stream that counts what comes and how long it was waited for.

    Only the time inside `recv` counts: a slow archive is not a slow server.
    """

    def __init__(
        self, sock: socket.socket, limits: ImapLimits, clock: Callable[[], float]
    ) -> None:
        super().__init__()
        self._sock, self._limits, self._clock = sock, limits, clock
        self.received = 0
        self.waited = 0.0
        self._from = 0

    def begin(self) -> None:
        """Start the account of a new command."""
        self.waited, self._from = 0.0, self.received

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: WriteableBuffer, /) -> int:
        started = self._clock()
        try:
            count = self._sock.recv_into(buffer)
        except TimeoutError:
            raise Silent("the server has stopped answering") from None
        except OSError as error:
            raise Broken("the connection was lost") from error
        self.waited += self._clock() - started
        self.received += count
        earned = (self.received - self._from) / self._limits.slowest_octets
        if self.waited > self._limits.read_timeout + earned:
            raise Silent("the server answers too slowly")
        return count


class Wire:
    """Lines and exact runs of bytes from a socket, within a budget for each command."""

    def __init__(
        self,
        sock: socket.socket,
        limits: ImapLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take a connected socket that has a timeout; it stays the caller's to close."""
        self._sock = sock
        self._tap = _Tap(sock, limits, clock)
        # A BufferedReader fills large reads straight into the bytes that it returns, so a
        # message is in memory once.
        self._file = io.BufferedReader(self._tap, BUFFER)
        self._budget = 0
        self._taken = 0

    @property
    def received(self) -> int:
        """Octets received so far."""
        return self._tap.received

    @property
    def pending(self) -> int:
        """Octets that came and were not yet taken."""
        return self._tap.received - self._taken

    def begin(self, octets: int) -> None:
        """Expect an answer of at most so many octets to what is sent next."""
        self._budget = octets
        self._tap.begin()

    def allow(self, octets: int) -> None:
        """Let the answer be larger by so many octets: a body that was asked for."""
        self._budget += octets

    def hurry(self, seconds: float) -> None:
        """Wait no longer than so many seconds from now on."""
        self._sock.settimeout(seconds)

    def send(self, data: bytes) -> None:
        """Send all of it; raises `Broken`."""
        try:
            self._sock.sendall(data)
        except TimeoutError:
            raise Silent("the server has stopped reading") from None
        except OSError as error:
            raise Broken("the connection was lost") from error

    def piece(self) -> bytes:
        """Return a line, or as much of it as one line may be long."""
        piece = self._file.readline(LINE)
        self._spend(len(piece))
        if not piece:
            raise Broken("the server closed the connection")
        self._taken += len(piece)
        return piece

    def line(self) -> bytes:
        """Return a line with its end; raises `Garbled` for one that is too long."""
        line = self.piece()
        if line[-1:] != b"\n":
            if len(line) < LINE:
                raise Broken("the server closed the connection in the middle of a line")
            raise Garbled("the server sent a line without an end")
        return line

    def exactly(self, size: int) -> bytes:
        """Return so many octets; raises `Broken` where they do not come."""
        self._spend(size)
        data = self._file.read(size)
        self._taken += len(data)
        if len(data) != size:
            raise Broken("the server closed the connection in the middle of a message")
        return data

    def skip(self, size: int) -> None:
        """Read so many octets and keep none of them."""
        while size > 0:
            size -= len(self.exactly(min(size, BUFFER)))

    def _spend(self, octets: int) -> None:
        self._budget -= octets
        if self._budget < 0:
            raise Garbled("the server sent more than was asked for")
