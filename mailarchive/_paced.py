"""An answer from a socket within a bound of time: whoever drips it is given up.

A timeout of a socket is for one read, and begins anew with each octet that comes.  Here
every answer has an account of its own: so many seconds of waiting, and more only for what
has come.  Waiting is the time inside a read; a slow archive is not a slow server.
"""

from __future__ import annotations

import io
import time
import urllib.request
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from attrs import field, frozen
from typing_extensions import override

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from _typeshed import WriteableBuffer

Clock: TypeAlias = "Callable[[], float]"

SLOWEST: Final = 1_024
"""Octets a second below which an answer that may be large is given up."""


@frozen
class Pace:
    """How long one answer is waited for, and how large it may be."""

    seconds: float
    """Of waiting, all together."""
    slowest: float = field(default=inf)
    """Octets that earn a second more; infinity where `seconds` are all there are."""
    octets: float = field(default=inf)
    """The most that is read."""

    def allowance(self, received: int) -> float:
        """Return the seconds that may be waited once so much has come."""
        return self.seconds + received / self.slowest


class Paced(io.RawIOBase):
    """A socket as a raw stream; raises `TimeoutError` for a peer that drips, or never ends."""

    def __init__(self, sock: socket.socket, pace: Pace, clock: Clock = time.monotonic) -> None:
        """Take a connected socket with a timeout, which stays that of a single read."""
        super().__init__()
        self._sock, self._pace, self._clock = sock, pace, clock
        self._raw = sock.makefile("rb", buffering=0)  # counts as a user of the socket
        self.begin()

    def begin(self) -> None:
        """Start the account of another answer."""
        self._received, self._waited = 0, 0.0

    @override
    def readable(self) -> bool:
        """Return that it is."""
        return True

    @override
    def close(self) -> None:
        """Let go of the socket, which stays its owner's to close."""
        if not self.closed:
            self._raw.close()
        super().close()

    @override
    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        """Return how many octets came; raises `TimeoutError`."""
        left = self._pace.allowance(self._received) - self._waited
        if left <= 0 or self._received > self._pace.octets:
            raise TimeoutError("the answer comes too slowly, or has no end")
        usual = self._sock.gettimeout()
        hurried = usual is not None and left < usual
        started = self._clock()
        try:
            if hurried:
                self._sock.settimeout(left)
            count = self._raw.readinto(buffer)
        finally:
            self._waited += self._clock() - started
            if hurried:
                self._sock.settimeout(usual)
        self._received += count or 0
        return count


@frozen
class _Files:
    """What `HTTPResponse` wants of a socket: a file to read from."""

    _sock: socket.socket
    _pace: Pace
    _clock: Clock

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the answer, paced."""
        assert mode == "rb", "it is read from alone"
        return io.BufferedReader(Paced(self._sock, self._pace, self._clock))


def answers(pace: Pace, clock: Clock = time.monotonic) -> type[HTTPResponse]:
    """Return a `response_class` for connections of HTTP, whose every answer is so paced."""

    class Answer(HTTPResponse):
        """Read through `Paced`."""

        def __init__(self, sock: socket.socket, *rest: Any, **more: Any) -> None:
            super().__init__(cast("socket.socket", _Files(sock, pace, clock)), *rest, **more)

    return Answer


def handlers(pace: Pace, clock: Clock = time.monotonic) -> tuple[urllib.request.BaseHandler, ...]:
    """Return what an opener of `urllib.request` takes, which then follows no redirection."""
    answer = answers(pace, clock)

    class Plain(HTTPConnection):
        """Over plain TCP."""

        response_class = answer

    class Secure(HTTPSConnection):
        """Over TLS."""

        response_class = answer

    return _Plainly(Plain), _Securely(Secure), _NoRedirect()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes an answer that points elsewhere for the error that it is."""

    @override
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Go nowhere."""


class _Plainly(urllib.request.HTTPHandler):
    """Asks over such connections as it is given."""

    def __init__(self, made: type[HTTPConnection]) -> None:
        super().__init__()
        self._made = made

    @override
    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        """Connect, and ask."""
        return self.do_open(self._made, req)


class _Securely(urllib.request.HTTPSHandler):
    """The same over TLS, against the system's authorities."""

    def __init__(self, made: type[HTTPSConnection]) -> None:
        super().__init__()
        self._made = made

    @override
    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        """Connect, and ask."""
        return self.do_open(self._made, req)


def pools(pace: Pace, clock: Clock = time.monotonic) -> dict[str, Any]:
    """Return what `pool_classes_by_scheme` of a pool manager of urllib3's takes."""
    # Here, since what needs no HTTP client loads none.
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    answer = answers(pace, clock)

    class Plain(HTTPConnection):
        """Over plain TCP."""

        response_class = answer

    class Secure(HTTPSConnection):
        """Over TLS."""

        response_class = answer

    class PlainPool(HTTPConnectionPool):
        """Of such connections."""

        ConnectionCls: Any = Plain

    class SecurePool(HTTPSConnectionPool):
        """Of such connections."""

        ConnectionCls: Any = Secure

    return {"http": PlainPool, "https": SecurePool}
