r"""A small IMAP server on loopback that can be told to lie, break off and stall.

By default it is honest: folders of messages in memory, and as much of RFC 3501 as a reader
and remover of mail needs.  A `Lie` sees each command first and may answer it in its own
way; that is how a test meets a server that nobody would run::

    def endless(talk: Talk, command: Command) -> bool:
        if command.name != "UID FETCH":
            return False
        talk.send(b"* 1 FETCH (UID 1 BODY[] {100}\r\nonly so much")
        talk.stall()
        return True

    with ImapServer({"INBOX": [b"Subject: a\r\n\r\n"]}, endless) as server:
        ImapSource(server.host, port=server.port, security="plain", ...)

It knows no TLS; the logins that it accepts are all of them, unless a lie refuses.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Self, TypeAlias

from attrs import define, field, frozen

from mailarchive.testing._imap_answers import Box, Item, answer, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "CAPABILITIES",
    "Box",
    "Command",
    "Hangup",
    "ImapServer",
    "Item",
    "Lie",
    "Talk",
    "honest",
]

CAPABILITIES = "IMAP4rev1 LITERAL+ SASL-IR AUTH=PLAIN AUTH=XOAUTH2 UIDPLUS UNSELECT MOVE"

_LITERAL = re.compile(rb"\{(\d+)(\+?)\}\r\n\Z")


class Hangup(Exception):  # what a lie does
    """Raised by a lie to close the connection at once."""


@frozen
class Command:
    """What a client sent: `name` is in capitals, with its `UID`.

    Literals stand in line as quoted strings.
    """

    tag: bytes
    name: str
    arguments: bytes

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read a command line without its end."""
        tag, _, rest = line.partition(b" ")
        name, _, arguments = rest.partition(b" ")
        if name.upper() == b"UID":
            second, _, arguments = arguments.partition(b" ")
            name += b" " + second
        return cls(tag, name.decode("latin-1").upper(), arguments)


@define
class Talk:
    """One connection: what a lie says, and to whom."""

    number: int
    """Which connection this is, from 1 on."""
    boxes: Mapping[str, Box]
    capabilities: str
    selected: Box | None = None
    writable: bool = False
    _sock: socket.socket = field(alias="sock", kw_only=True, repr=False)
    _over: threading.Event = field(alias="over", kw_only=True, repr=False)

    def send(self, data: bytes) -> None:
        """Send exactly these bytes."""
        self._sock.sendall(data)

    def ok(self, command: Command, text: bytes = b"done") -> None:
        """End a command well."""
        self.send(command.tag + b" OK " + text + b"\r\n")

    def no(self, command: Command, text: bytes = b"no") -> None:
        """Refuse a command."""
        self.send(command.tag + b" NO " + text + b"\r\n")

    def bad(self, command: Command, text: bytes = b"what?") -> None:
        """Say that a command makes no sense."""
        self.send(command.tag + b" BAD " + text + b"\r\n")

    def stall(self) -> None:
        """Say nothing more until the client hangs up or the test is over."""
        self._sock.settimeout(0.02)
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                if not self._sock.recv(4096):
                    break
        raise Hangup

    def flood(self, data: bytes) -> None:
        """Send this for as long as the client reads."""
        while not self._over.is_set():
            self.send(data)
        raise Hangup


Lie: TypeAlias = Callable[[Talk, Command], bool]
"""Sees a command before the honest server does; true where it has answered."""


def honest(talk: Talk, command: Command) -> bool:
    """Leave every command to the honest server."""
    del talk, command
    return False


class ImapServer:
    """The server: a context manager that listens on a random loopback port.

    `commands` are all that were received, over all connections, in their order; `lie` may
    be changed while clients are connected.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        folders: Mapping[str, Sequence[bytes]],
        lie: Lie = honest,
        *,
        greeting: bytes = b"* OK ready\r\n",
        capabilities: str = CAPABILITIES,
        uidvalidity: int = 1,
    ) -> None:
        """Take the folders with their messages, by wire name, and what to lie about."""
        self.boxes: dict[str, Box] = {
            name: Box(name, list(raws), uidvalidity) for name, raws in folders.items()
        }
        self.commands: list[Command] = []
        self.connections: int = 0
        self.lie: Lie = lie
        self._greeting, self._capabilities = greeting, capabilities
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((self.host, 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        """Begin to accept connections."""
        self._start(self._accept)
        return self

    def __exit__(self, *exc: object) -> None:
        """Hang up on everybody; what a thread raised by then was its client's doing."""
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._serve, sock, self.connections)

    def _serve(self, sock: socket.socket, number: int) -> None:
        sock.settimeout(0.05)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        talk = Talk(number, self.boxes, self._capabilities, sock=sock, over=self._over)
        with sock, contextlib.suppress(OSError, Hangup):
            sock.sendall(self._greeting)
            lines = _Lines(sock, self._over)
            while (line := lines.command()) is not None:
                command = Command.parse(line)
                self.commands.append(command)
                sock.settimeout(None)
                if not self.lie(talk, command):
                    answer(talk, command, lines.plain)
                sock.settimeout(0.05)


class _Lines:
    """Command lines from a socket, literals and all."""

    def __init__(self, sock: socket.socket, over: threading.Event) -> None:
        self._sock, self._over, self._buffer = sock, over, b""

    def command(self) -> bytes | None:
        """Return a whole command without its end; `None` at the end of the connection."""
        whole = b""
        while (line := self.plain()) is not None:
            literal = _LITERAL.search(line)
            if literal is None:
                return whole + line.rstrip(b"\r\n")
            if not literal[2]:
                self._sock.sendall(b"+ go on\r\n")
            text = self._exactly(int(literal[1]))
            whole += line[: literal.start()] + quoted(text)
        return None

    def plain(self) -> bytes | None:
        """Return a line with its end."""
        while b"\n" not in self._buffer:
            if not self._more():
                return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line + b"\n"

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size and self._more():
            pass
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _more(self) -> bool:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                data = self._sock.recv(65536)
                self._buffer += data
                return bool(data)
        return False
