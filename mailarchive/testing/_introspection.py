"""A token introspection endpoint (RFC 7662): what an identity provider is to a mail server."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs

from typing_extensions import override

if TYPE_CHECKING:
    from http.server import HTTPServer


class Introspection:
    """Says whose an access token is; `tokens` may be changed while it runs."""

    def __init__(self) -> None:
        """Listen on a random loopback port, from `__enter__` on."""
        self.tokens: dict[str, str] = {}
        tokens = self.tokens

        class Handler(_Handler):
            known = tokens

        self._server: HTTPServer = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self.port = self._server.server_port

    def __enter__(self) -> Self:
        """Serve in a thread."""
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    known: dict[str, str]

    def do_POST(self) -> None:  # the name that http.server calls
        length = int(self.headers.get("content-length", 0))
        asked = parse_qs(self.rfile.read(length).decode())
        user = self.known.get(asked.get("token", [""])[0])
        answer = {"active": "true", "email": user} if user else {"active": "false"}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Keep a test's output clean."""
