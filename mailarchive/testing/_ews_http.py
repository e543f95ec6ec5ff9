"""HTTP for the EWS server on loopback: connections, logins and answers in pieces."""

from __future__ import annotations

import base64
import contextlib
import http.server
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Protocol, cast

from typing_extensions import override

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

_LARGEST_REQUEST = 64 << 20
DISCOVERY = "/autodiscover/autodiscover.xml"


class Hangup(Exception):  # what a fault does
    """Raised by a fault to close the connection at once."""


class Owner(Protocol):
    """What a connection asks of the server that it belongs to."""

    ntlm: bool
    refused_logins: int

    def who(self, authorization: str) -> str | None:
        """Return the user that an Authorization header proves; `None` for nobody."""
        ...

    def serve(self, handler: Handler, user: str, request: bytes) -> None:
        """Answer one request."""
        ...

    def discovered(self, request: bytes) -> bytes:
        """Answer a request of Autodiscover."""
        ...


class Http(http.server.ThreadingHTTPServer):
    """Threads for connections, all of which are joined in the end."""

    daemon_threads = False
    block_on_close = True
    owner: Owner

    def __init__(self, *arguments: object) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*arguments)  # type: ignore[arg-type]  # passed on as they came

    @override
    def process_request(self, request: object, client_address: object) -> None:
        """Take note of a connection, and serve it."""
        self._open.add(cast("socket.socket", request))
        super().process_request(request, client_address)  # type: ignore[arg-type]  # as above

    @override
    def shutdown_request(self, request: object) -> None:
        """End a connection."""
        self._open.discard(cast("socket.socket", request))
        super().shutdown_request(request)  # type: ignore[arg-type]  # as above

    @override
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news; anything else is."""
        import sys

        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # as above

    def hang_up(self) -> None:
        """Close what is still open, so that its thread ends."""
        for each in tuple(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(2)


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    user: str | None = None
    """Whom NTLM proved, for as long as the connection lasts."""

    @override
    def setup(self) -> None:
        """Begin with nobody logged in."""
        super().setup()
        self.owner: Owner = cast("Http", self.server).owner
        self._ntlm: object | None = None

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Say whether the login is right, which is what some clients begin with."""
        if self._user() is None:
            self._challenge()
        else:
            self.reply(200, b"", {"Content-Type": "text/html"})

    def do_POST(self) -> None:
        """Serve a call."""
        owner = self.owner
        request = self._request()
        user = self._user()
        if user is None:
            self._challenge()
            return
        try:
            if self.path == DISCOVERY:
                self.reply(200, owner.discovered(request), {"Content-Type": "text/xml"})
            else:
                owner.serve(self, user, request)
        except Hangup:
            self.close_connection = True
            self.connection.close()
        except ET.ParseError:
            self.reply(400, b"", {})

    def _request(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(min(int(self.headers.get("Content-Length", "0")), _LARGEST_REQUEST))

    def _user(self) -> str | None:
        authorization = self.headers.get("Authorization", "")
        if self.owner.ntlm and authorization.startswith(("NTLM ", "Negotiate ")):
            return self._by_ntlm(authorization.partition(" ")[2])
        return self.user or self.owner.who(authorization)

    def _by_ntlm(self, token: str) -> str | None:
        """Go one step of NTLM; what is to be sent back stands in `self._ntlm_answer`."""
        import spnego
        from spnego.exceptions import SpnegoError

        if self._ntlm is None:
            self._ntlm = spnego.server(protocol="ntlm")
        context = cast("spnego.ContextProxy", self._ntlm)
        try:
            answer = context.step(base64.b64decode(token))
        except SpnegoError:
            self._ntlm = None
            return None
        if context.complete:
            self.user = (context.client_principal or "").lower()
            return self.user
        self._answer = b"" if answer is None else answer
        return None

    _answer: bytes = b""

    def _challenge(self) -> None:
        if "Authorization" in self.headers and not self._answer:
            self.owner.refused_logins += 1
        self.send_response(401)
        answer, self._answer = self._answer, b""
        if answer:
            self.send_header("WWW-Authenticate", f"NTLM {base64.b64encode(answer).decode()}")
        else:
            if self.owner.ntlm:
                self.send_header("WWW-Authenticate", "NTLM")
            self.send_header("WWW-Authenticate", 'Basic realm="loopback"')
            self.send_header("WWW-Authenticate", "Bearer")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def reply(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        """Answer with all of it."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def begin(self, headers: Mapping[str, str]) -> None:
        """Begin an answer that comes in pieces."""
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def piece(self, data: bytes) -> None:
        """Send a piece; an empty one is the end."""
        self.wfile.write(b"%X\r\n%b\r\n" % (len(data), data))
