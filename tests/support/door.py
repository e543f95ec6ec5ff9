"""A door before a server: what goes through it is passed on, until it is shut."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"


class Door:
    """A port of loopback that leads to another one; while it is shut nobody comes through."""

    def __init__(self, port: int) -> None:
        """Take the port to lead to."""
        self._behind = port
        self._shut = threading.Event()
        self._through: set[socket.socket] = set()
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        """Let people in."""
        threading.Thread(target=self._let_in, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Let nobody in any more."""
        self._throw_out()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @contextmanager
    def shut(self) -> Iterator[None]:
        """Hang up on everybody, and on whoever comes meanwhile."""
        self._shut.set()
        self._throw_out()
        try:
            yield
        finally:
            self._shut.clear()

    def _throw_out(self) -> None:
        for each in list(self._through):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _let_in(self) -> None:
        with suppress(OSError):
            while True:
                guest, _ = self._listener.accept()
                if self._shut.is_set():
                    guest.close()
                    continue
                threading.Thread(target=self._lead, args=(guest,), daemon=True).start()

    def _lead(self, guest: socket.socket) -> None:
        """Pass on what the guest says and hears, until either hangs up."""
        with guest, suppress(OSError), socket.create_connection((HOST, self._behind)) as host:
            self._through |= {guest, host}
            back = threading.Thread(target=_pass_on, args=(host, guest), daemon=True)
            back.start()
            _pass_on(guest, host)
            back.join()
            self._through -= {guest, host}


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    """Pass on until one says nothing more; then nothing more comes from the other either."""
    with suppress(OSError):
        while some := one.recv(1 << 16):
            other.sendall(some)
    for each in (one, other):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
