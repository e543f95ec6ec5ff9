"""A handful of IMAP commands over a plain socket, to set the scene for a test.

Not the library's own client: a test that filled a mailbox with what it tests would prove
less.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

_IN_FLIGHT = 50


class RawImap:
    """One connection; every command's whole answer is returned as lines."""

    def __init__(self, host: str, port: int) -> None:
        """Connect and read the greeting."""
        self._sock = socket.create_connection((host, port), 60)
        self._file = self._sock.makefile("rb")
        self._tag = 0
        self._file.readline()

    def __enter__(self) -> Self:
        """Nothing more to do."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Hang up."""
        self._file.close()
        self._sock.close()

    def log_in(self, user: str, password: str) -> None:
        """Log in with LOGIN."""
        self.command(f'LOGIN "{user}" "{password}"')

    def command(self, text: str) -> list[bytes]:
        """Send a command without literals and return the answer; raises unless it is OK."""
        return self._answer(self._send(text.encode() + b"\r\n"))

    def append(self, folder: str, messages: Iterable[bytes], flags: Iterable[str] = ()) -> None:
        """Append messages, many at a time, to a folder that is made where it is missing."""
        if folder.upper() != "INBOX":
            self._answer(self._send(f'CREATE "{folder}"\r\n'.encode()), must=False)
        start = f'APPEND "{folder}" ({" ".join(flags)}) '.encode()
        waiting: list[bytes] = []
        for raw in messages:
            waiting.append(self._send(start + b"{%d+}\r\n" % len(raw) + raw + b"\r\n"))
            if len(waiting) >= _IN_FLIGHT:
                self._answer(waiting.pop(0))
        for tag in waiting:
            self._answer(tag)

    def _send(self, line: bytes) -> bytes:
        self._tag += 1
        tag = b"R%d" % self._tag
        self._sock.sendall(tag + b" " + line)
        return tag

    def _answer(self, tag: bytes, *, must: bool = True) -> list[bytes]:
        lines: list[bytes] = []
        while not (line := self._file.readline()).startswith(tag + b" "):
            if not line:
                raise RuntimeError("the server hung up")
            lines.append(line)
        if must and not line.startswith(tag + b" OK"):
            raise RuntimeError(f"the server said {line!r}")
        return lines
