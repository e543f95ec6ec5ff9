"""A port of loopback on which a test says what happens to each connection."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def port_of(serve: Callable[[socket.socket, int], object]) -> Iterator[int]:
    """A port on which each connection, counted from 1 on, is served and then closed."""
    threads: list[threading.Thread] = []

    def answer(sock: socket.socket, number: int) -> None:
        with sock, suppress(OSError):
            serve(sock, number)

    def accept() -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                threads.append(threading.Thread(target=answer, args=(sock, len(threads))))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads.append(threading.Thread(target=accept))
        threads[0].start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()


def relay(sock: socket.socket, port: int) -> None:
    """Pass everything on to another port, and back."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    with socket.create_connection(("127.0.0.1", port)) as other:
        back = threading.Thread(target=pump, args=(other, sock))
        back.start()
        pump(sock, other)
        back.join()


def hang_up(sock: socket.socket, number: int) -> None:
    """Take what the client begins with, and end the connection."""
    del number
    sock.recv(1 << 16)
