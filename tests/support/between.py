"""What may stand between a vault and its object store: it counts, and may cut answers short."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from typing_extensions import override

if TYPE_CHECKING:
    from mailarchive.testing.s3_server import S3Server

_OF_THE_WAY = {"connection", "transfer-encoding", "content-length", "keep-alive"}


class Between:
    """A proxy before an S3 server, on a port of its own.

    `given` counts the bytes of objects that came through, `asked` the requests by their
    method.  An object whose name ends with a key of `cut` is given only up to so many
    bytes, each time, under a length that agrees.
    """

    def __init__(self, server: S3Server) -> None:
        """Take the server to stand before."""
        self.given = 0
        self.asked: Counter[str] = Counter()
        self.cut: dict[str, int] = {}
        handler = type("Handler", (_Handler,), {"between": self, "behind": server.port})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        """Begin to pass on."""
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()

    def forget(self) -> None:
        """Count anew."""
        self.given = 0
        self.asked.clear()

    def passed(self, method: str, path: str, body: bytes) -> bytes:
        """Count an answer, and return what is given of it."""
        self.asked[method] += 1
        if method != "GET" or "?" in path:  # a listing
            return body
        kept = body[: next((n for end, n in self.cut.items() if path.endswith(end)), None)]
        self.given += len(kept)
        return kept


class _Handler(BaseHTTPRequestHandler):
    """Passes on one request after another, its host as it was signed."""

    protocol_version = "HTTP/1.1"
    between: Between
    behind: int

    def _pass_on(self) -> None:
        sent = self.rfile.read(int(self.headers.get("content-length") or 0))
        connection = http.client.HTTPConnection("127.0.0.1", self.behind, timeout=60)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders(sent)
        answer = connection.getresponse()
        body = self.between.passed(self.command, self.path, answer.read())
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _OF_THE_WAY:
                self.send_header(name, value)
        size = answer.getheader("content-length") if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", size or "0")
        self.end_headers()
        self.wfile.write(body)
        connection.close()

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = _pass_on  # noqa: N815 - named by http.server

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
