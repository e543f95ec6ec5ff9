"""The receiving side of an SMTP receiver: a loop on a thread of its own."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import errno
import math
import socket
import threading
from typing import TYPE_CHECKING

from mailarchive.errors import ConfigurationError, SourceUnavailable
from mailarchive.sources._smtp_gate import one_client
from mailarchive.sources._smtp_room import Waiting
from mailarchive.sources._smtp_session import Conversation, House, quiet

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailarchive._model import Delivery, SourceMessage
    from mailarchive.errors import MailArchiveError
    from mailarchive.sources._smtp_gate import Gate
    from mailarchive.sources._smtp_limits import SmtpLimits
    from mailarchive.sources._smtp_room import Memory, Share, WaitingRoom
    from mailarchive.sources._smtp_tls import Protection

_OUT_OF_FILES = 0.1
"""Seconds to wait where the system has no socket to give."""

_LONG_ENOUGH = b"421 4.4.2 this connection has lasted long enough, come again\r\n"


class Listener:
    """Accepts clients, at most so many, and sees them out; all of it on its own thread."""

    def __init__(
        self,
        sock: socket.socket,
        room: WaitingRoom,
        memory: Memory,
        *,
        gate: Gate,
        limits: SmtpLimits,
        hostname: str,
        protection: Protection,
        make: Callable[[bytes, Delivery], SourceMessage],
    ) -> None:
        """Take the listening socket, and what makes a message of what came."""
        self._sock, self._room, self._limits, self._make = sock, room, limits, make
        self._house = House(gate, limits, memory, self, hostname, protection)
        self._talks: set[Conversation] = set()
        self._calls: set[asyncio.Task[None]] = set()
        self._clients: collections.Counter[str] = collections.Counter()
        self._loop = asyncio.new_event_loop()
        # A connection that breaks off is told to nobody: its client comes again.
        self._loop.set_exception_handler(lambda _loop, _context: None)
        self._stopped, self._lost = asyncio.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name="mailarchive-smtp")

    def start(self) -> None:
        """Begin to accept."""
        self._sock.setblocking(False)
        self._thread.start()

    def stop(self) -> None:
        """Accept no more, and see those out who are here; returns at once, from any thread."""
        self._tell(self._stopped.set)

    def hang_up(self) -> None:
        """Let go of everybody without a word, and of the thread."""
        self._tell(self._lost.set)
        if self._thread.is_alive():
            self._thread.join()

    def _tell(self, what: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: it is over already
            self._loop.call_soon_threadsafe(what)

    # -- everything below runs on the thread ------------------------------------------------

    def _serve(self) -> None:
        with quiet(), contextlib.closing(self._loop):
            try:
                self._loop.run_until_complete(self._receive())
            finally:
                self._sock.close()
                self._room.end()

    async def _receive(self) -> None:
        accepting = self._loop.create_task(self._accept())
        ends = [self._loop.create_task(each.wait()) for each in (self._stopped, self._lost)]
        await asyncio.wait([accepting, *ends], return_when=asyncio.FIRST_COMPLETED)
        await _cancel([accepting])
        self._sock.close()
        if not self._lost.is_set():
            await self._see_out(ends[1])
        for talk in self._talks:
            talk.hang_up()
        await _cancel([*ends, *self._calls])
        await self._loop.shutdown_asyncgens()

    async def _see_out(self, lost: asyncio.Task[bool]) -> None:
        """Say goodbye to the idle, and wait for the others, but not for ever."""
        for talk in list(self._talks):
            talk.say_goodbye()
        if self._calls:
            over = self._loop.create_task(asyncio.wait(self._calls))
            await asyncio.wait(
                [over, lost],
                timeout=self._limits.leaving_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )

    async def _accept(self) -> None:
        while True:
            try:
                sock, address = await self._loop.sock_accept(self._sock)
            except OSError:
                await asyncio.sleep(_OUT_OF_FILES)
                continue
            client = str(address[0])
            if not self._house.gate.lets_in(client):
                self._turn_away(sock, b"554 5.7.1 this network may not send here\r\n")
            elif self._is_full(client):
                self._turn_away(sock, b"421 4.7.0 too many connections, try again later\r\n")
            else:
                self._clients[one_client(client)] += 1
                call = self._loop.create_task(self._talk(sock, client))
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)
            # Who waits is accepted without waiting: let those speak who are here already.
            await asyncio.sleep(0)

    def _is_full(self, client: str) -> bool:
        return (
            len(self._calls) >= self._limits.connections
            or self._clients[one_client(client)] >= self._limits.connections_of_a_client
        )

    def _turn_away(self, sock: socket.socket, words: bytes) -> None:
        with contextlib.closing(sock), contextlib.suppress(OSError):
            if not self._house.protection.implicit:
                sock.setblocking(False)
                sock.send(words)

    async def _talk(self, sock: socket.socket, client: str) -> None:
        """Talk with one client until one of us hangs up."""
        protection = self._house.protection
        protection.renew()
        talk = Conversation(self._house, client, self._loop)
        tls = protection.context if protection.implicit else None
        limit = None if tls is None else self._limits.handshake_seconds
        self._talks.add(talk)
        try:
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: talk, sock, ssl=tls, ssl_handshake_timeout=limit
            )
            limits = self._limits
            for seconds, quiet in (
                (limits.session_seconds, limits.quiet_seconds),
                (limits.answer_seconds, math.inf),
            ):
                if await self._is_over(talk, transport, seconds, quiet):
                    break
                talk.say_goodbye(_LONG_ENOUGH)
        except OSError:
            sock.close()
        finally:
            talk.hang_up()
            self._talks.discard(talk)
            self._clients[one_client(client)] -= 1
            self._clients += collections.Counter()  # forget those who have no connection

    async def _is_over(
        self, talk: Conversation, transport: asyncio.BaseTransport, seconds: float, quiet: float
    ) -> bool:
        """Wait for so many seconds, and return whether a conversation is over by then.

        Not as long where no message comes for the seconds of `quiet`.
        """
        ends = self._loop.time() + seconds
        while not (talk.over.is_set() or transport.is_closing()):
            left = min(ends - self._loop.time(), quiet - talk.quiet_for())
            if left <= 0:
                return False
            # A look now and then, so that nothing that was forgotten keeps its place.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, self._limits.command_seconds)):
                    await talk.over.wait()
        return True

    async def hand_in(self, raw: bytes, delivery: Delivery, share: Share) -> str:
        """Let a message wait until it is answered, and return the reply."""
        reply: asyncio.Future[str] = self._loop.create_future()
        try:
            waiting = Waiting(self._make(raw, delivery), share, self._loop, reply)
        except BaseException:
            share.let_go()  # nobody else will
            raise
        self._room.enter(waiting)
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                return await reply
        except TimeoutError:
            return "451 4.3.0 not archived yet, try again later"


async def _cancel(tasks: list[asyncio.Task[None] | asyncio.Task[bool]]) -> None:
    for each in tasks:
        each.cancel()
    if tasks:
        await asyncio.wait(tasks)


_UNKNOWN = {
    getattr(socket, name)
    for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY", "EAI_FAMILY")
    if hasattr(socket, name)  # not every system has each
}
"""What says that nobody has a name; any other error may be over in a moment."""

_OURS = 'set host to an address of this machine, or to "0.0.0.0" or "::" for all of them'
_MISTAKES = {
    errno.EADDRNOTAVAIL: ("host is no address of this machine", _OURS),
    errno.EAFNOSUPPORT: ("this machine has no addresses of the kind that host is", _OURS),
    errno.EINVAL: ("host is no address that can be listened on", _OURS),
    errno.EACCES: (
        "this user may not listen there",
        "a port below 1024 needs the right CAP_NET_BIND_SERVICE; or set port to a higher one",
    ),
}


def not_listening(name: str, port: int, error: OSError | UnicodeError) -> MailArchiveError:
    """A wrong setting, unless it may be over in a moment: a port taken, a name server away."""
    where = f"source {name}: cannot listen on port {port}"
    if isinstance(error, socket.gaierror) and error.errno not in _UNKNOWN:
        return SourceUnavailable(
            f"{where}: the name in host could not be looked up",
            suggestions=["try again when the name server answers, or set host to an address"],
        )
    if isinstance(error, socket.gaierror | UnicodeError):
        return ConfigurationError(f"{where}: the name in host is not known", suggestions=[_OURS])
    symbol = errno.errorcode.get(error.errno or 0, type(error).__name__)
    if error.errno in _MISTAKES:
        why, todo = _MISTAKES[error.errno]
        return ConfigurationError(f"{where}: {why} ({symbol})", suggestions=[todo])
    if error.errno == errno.EADDRINUSE:
        return SourceUnavailable(
            f"{where}: somebody else listens there ({symbol})",
            suggestions=["stop whoever does, another receiver perhaps, or set another port"],
        )
    return SourceUnavailable(
        f"{where}: the system refused ({symbol})",
        suggestions=["check host and port, and what the system allows this process"],
    )
