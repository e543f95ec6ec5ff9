"""HTTP on a loopback port, for the servers of the test kit: one function answers everything."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qsl, urlsplit

from attrs import field, frozen
from typing_extensions import override

from mailarchive.testing.certificates import self_signed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HOST = "127.0.0.1"


@frozen
class Request:
    """What a client sent; header names are in small letters, the body is read."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@frozen
class Answer:
    """What the server sends back.

    `length` is what `Content-Length` says where that is a lie; below zero it says nothing.
    With `hangup` the connection is closed behind the body.
    """

    status: int = 200
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(factory=dict)
    length: int | None = None
    hangup: bool = False


class HttpServer:
    """Listens on a random port while it is open; every request is given to `answer`.

    With `tls` it has a certificate for its address, which `ca_file` verifies.  `answer`
    runs on a thread for each connection.
    """

    def __init__(self, answer: Callable[[Request], Answer], *, tls: bool = False) -> None:
        """Take what answers; nothing listens yet."""
        self._answer = answer
        self._folder = tempfile.TemporaryDirectory(prefix="mailarchive-http-") if tls else None
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._server = _Server((HOST, 0), _handler(self))
        if self._folder is not None:
            self._server.context = _tls(Path(self._folder.name))

    @property
    def origin(self) -> str:
        """The scheme, the address and the port."""
        scheme = "http" if self._folder is None else "https"
        return f"{scheme}://{HOST}:{self._server.server_port}"

    @property
    def ca_file(self) -> Path | None:
        """The certificate to trust, where there is TLS."""
        return None if self._folder is None else Path(self._folder.name, "cert.pem")

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Hang up on everybody."""
        self._server.shutdown()
        self._thread.join()
        with self._lock:
            for each in self._sockets:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        if self._folder is not None:
            self._folder.cleanup()

    def _connected(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.add(sock)

    def _gone(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(sock)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 64
    context: ssl.SSLContext | None = None

    @override
    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a connection that broke is its client's doing."""


def _handler(server: HttpServer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        @override
        def setup(self) -> None:
            context = self.server.context if isinstance(self.server, _Server) else None
            if context is not None:
                self.request = context.wrap_socket(self.request, server_side=True)
            server._connected(self.request)  # noqa: SLF001 - its own connection
            super().setup()

        @override
        def finish(self) -> None:
            with contextlib.suppress(OSError):
                super().finish()
            server._gone(self.request)  # noqa: SLF001 - its own connection
            self.request.close()

        @override
        def log_message(self, format: str, *args: object) -> None:
            del format, args

        def _serve(self) -> None:
            split = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = tuple(parse_qsl(split.query, keep_blank_values=True))
            self._send(server._answer(Request(self.command, split.path, query, headers, body)))  # noqa: SLF001

        def _send(self, answer: Answer) -> None:
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            length = len(answer.body) if answer.length is None else answer.length
            if length >= 0:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(answer.body)
            self.wfile.flush()
            self.close_connection = self.close_connection or answer.hangup

        do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - the names are http.server's

    return Handler


def _tls(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*self_signed(folder, [f"IP:{HOST}"]))
    return context
