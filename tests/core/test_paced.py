"""Who drips an answer an octet at a time is given up, wherever this library asks somebody."""

from __future__ import annotations

import io
import socket
from math import inf
from typing import TYPE_CHECKING

import pytest
from attrs import define, field
from requests import Session
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError, ReadTimeoutError

from mailarchive._paced import Pace, Paced
from mailarchive._web import Web
from mailarchive.errors import SinkUnavailable
from mailarchive.sinks.lmtp import LmtpSink
from mailarchive.sources._ews_connect import _Tls
from mailarchive.sources._ews_limits import EwsLimits
from mailarchive.vault._note import LogCheckpoint
from mailarchive.vault.timestamps import TimestampAnchor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TICK = 10.0
"""Seconds that pass whenever the clock is asked: once before a read, and once behind it."""
SECONDS = 60.0
READS = SECONDS / TICK


@define
class Dripping:
    """A server that sends one octet of its script at each look at the clock, and then its last.

    It is both peer and clock, so that nobody sleeps and nobody races: an octet is there
    before it is read.
    """

    script: bytes
    listener: socket.socket = field(factory=lambda: socket.create_server(("127.0.0.1", 0)))
    at_once: int = 0
    """So many octets come together, first."""
    now: float = 0.0
    sent: int = 0
    _peer: socket.socket | None = None

    def clock(self) -> float:
        """Return the time, which has passed meanwhile."""
        if self._peer is None:
            self._peer, _ = self.listener.accept()
            self._peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        size = 1 if self.sent else max(self.at_once, 1)
        piece = self.script[self.sent : self.sent + size] or self.script[-1:]
        self._peer.sendall(piece)
        self.sent += size
        self.now += TICK
        return self.now

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self.listener.getsockname()[1]
        return port

    def close(self) -> None:
        """Let go."""
        self.listener.close()
        if self._peer is not None:
            self._peer.close()


@pytest.fixture
def dripping() -> Iterator[Dripping]:
    """A server of HTTP whose headers have no end."""
    server = Dripping(b"HTTP/1.1 200 OK\r\nX: x")
    yield server
    server.close()


def given_up(server: Dripping) -> bool:
    """Whether it was asked for no more than its time was good for: two octets a read."""
    return server.sent - max(server.at_once, 1) <= 2 * READS + 1


def test_headers_without_an_end_are_given_up(dripping: Dripping) -> None:
    """Over what speaks with Graph and with the identity platform."""
    web = Web(read_timeout=SECONDS, clock=dripping.clock)
    with pytest.raises(ReadTimeoutError):
        web.send("GET", f"http://127.0.0.1:{dripping.port}/", {})
    web.close()

    assert given_up(dripping)


@pytest.mark.parametrize("length", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_a_body_that_drips_is_given_up(length: str, dripping: Dripping) -> None:
    """What came at once has earned no more than its share."""
    head = f"HTTP/1.1 200 OK\r\n{length}\r\n\r\n".encode()
    dripping.script, dripping.at_once = head + b"0", len(head)
    web = Web(read_timeout=SECONDS, clock=dripping.clock)
    answer = web.send("GET", f"http://127.0.0.1:{dripping.port}/", {})
    with pytest.raises(HTTPError):
        answer.read()
    web.close()

    assert given_up(dripping)


@pytest.mark.parametrize("proxied", [False, True])
def test_an_exchange_server_that_drips_is_given_up(proxied: bool, dripping: Dripping) -> None:
    """With and without a proxy."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n"
    dripping.script, dripping.at_once = head + b"<", len(head)
    limits = EwsLimits(read_timeout=SECONDS)
    origin = f"http://127.0.0.1:{dripping.port}"
    with Session() as session:
        session.trust_env = False
        session.mount("http://", _Tls(None, limits, dripping.clock))
        url = "http://mail.example/EWS" if proxied else origin
        session.proxies = {"http": origin} if proxied else {}
        with (
            pytest.raises(RequestException),
            session.post(url, stream=True, timeout=SECONDS) as answer,
        ):
            list(answer.iter_content(1 << 16))

    assert given_up(dripping)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.0 200 OK\r\n\r\n"])
def test_an_authority_that_drips_keeps_no_seal_waiting(head: bytes, dripping: Dripping) -> None:
    """The time is for the whole answer, whatever has come of it."""
    dripping.script, dripping.at_once = head + b"0", len(head)
    anchor = TimestampAnchor(
        f"http://127.0.0.1:{dripping.port}/", timeout=SECONDS, clock=dripping.clock
    )
    with pytest.raises(SinkUnavailable, match="TimeoutError"):
        anchor.anchor(LogCheckpoint("log.example/x", 1, bytes(32)))

    assert given_up(dripping)


@pytest.mark.parametrize("said", [b"220 hello\r\n2", b"2", b"220-hello\r\n"])
def test_an_lmtp_server_that_drips_is_given_up(
    said: bytes, dripping: Dripping, tmp_path: Path
) -> None:
    """In its greeting, and in the answer to LHLO; each has time of its own."""
    dripping.script, dripping.at_once = said, len(said) if b" " in said else 0
    sink = LmtpSink(
        "127.0.0.1",
        dripping.port,
        recipients=["a@example.com"],
        ledger=tmp_path / "ledger",
        timeout=SECONDS,
        clock=dripping.clock,
    )
    with pytest.raises(SinkUnavailable), sink:
        pass

    assert dripping.sent - dripping.at_once <= 2 * (2 * READS + 1)


def pair(data: bytes) -> tuple[socket.socket, socket.socket]:
    """A socket from which this much can be read, and its other end."""
    near, far = socket.socketpair()
    near.settimeout(SECONDS)
    far.sendall(data)
    return near, far


def test_what_comes_fast_enough_has_all_the_time_it_needs() -> None:
    """Each octet earns its share, so that a large message over a slow line arrives."""
    near, far = pair(b"x" * 1_000)
    ticks = iter(range(0, 100_000, 50))
    with near, far, Paced(near, Pace(SECONDS, slowest=1), lambda: float(next(ticks))) as raw:
        data = [raw.read(100) for _ in range(10)]

    assert b"".join(each or b"" for each in data) == b"x" * 1_000


def test_a_read_has_only_the_time_that_is_left() -> None:
    """And the socket has its own timeout again behind it, for what is sent next."""
    near, far = pair(b"x")
    told: list[float | None] = []
    ticks = iter([0.0, 45.0, 45.0])

    def clock() -> float:
        now = next(ticks, 60.0)
        told.append(near.gettimeout())
        return now

    with near, far, Paced(near, Pace(SECONDS), clock) as raw:
        assert raw.read(1) == b"x"
        far.sendall(b"y")
        assert raw.read(1) == b"y"
        assert near.gettimeout() == SECONDS
        with pytest.raises(TimeoutError, match="no end"):
            raw.read(1)
        raw.begin()
        far.sendall(b"z")
        assert raw.read(1) == b"z"

    assert told[:4] == [SECONDS, SECONDS, SECONDS, 15.0]


def test_an_answer_without_an_end_is_given_up_however_fast_it_comes() -> None:
    """As a server may send one `100 Continue` after the other."""
    near, far = pair(b"x" * 100)
    with near, far, Paced(near, Pace(SECONDS, octets=20), lambda: 0.0) as raw:
        assert [raw.read(10) for _ in range(3)] == [b"x" * 10] * 3
        with pytest.raises(TimeoutError):
            raw.read(10)


def test_nothing_there_yet_is_nothing() -> None:
    """A socket that does not wait is asked whether somebody has said more."""
    near, far = pair(b"")
    with near, far, io.BufferedReader(Paced(near, Pace(SECONDS, inf))) as file:
        near.settimeout(0)
        assert file.peek() == b""
        far.sendall(b"more")
        assert file.peek() == b"more"
