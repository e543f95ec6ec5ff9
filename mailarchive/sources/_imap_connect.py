"""Connections, opened by imapclient: the one module that imports it.

imapclient 4.1 is used for what it does well: addresses, timeouts, TLS with verified
certificates, STARTTLS, the greeting and the capabilities.  Three traps are closed here:

- it sets imaplib's debug level to 5, which formats every literal whether or not anybody
  logs (six times the CPU): `QUIET` puts it back;
- imaplib reads lines and literals without a bound: its `read` and `readline`, which are
  documented to be overridden, read from a `Wire`;
- it writes the login name to its debug log: the login is ours (`_imap_login`).
"""

from __future__ import annotations

import imaplib
import re
import socket
import ssl
from typing import TYPE_CHECKING, Any, cast

from imapclient import IMAPClient, SocketTimeout
from imapclient.exceptions import CapabilityError
from typing_extensions import override

from mailarchive.errors import ConfigurationError, SourceError
from mailarchive.sources._imap_errors import (
    USE_SSL,
    Security,
    begins_with_tls,
    broken,
    not_connected,
    pause_asked,
    refused,
)
from mailarchive.sources._imap_session import SMALL, Refused, Session
from mailarchive.sources._imap_wire import Broken, Garbled, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailarchive.errors import MailArchiveError
    from mailarchive.sources._imap_errors import Place
    from mailarchive.sources._imap_limits import ImapLimits

_BYE = re.compile(rb"\* BYE\b", re.IGNORECASE)

QUIET = 0
"""imaplib's debug level; see the module's docstring."""


class _Imap(imaplib.IMAP4):
    """imaplib's connection, reading from a `Wire`."""

    wire: Wire

    def __init__(self, place: Place, limits: ImapLimits, context: ssl.SSLContext | None) -> None:
        self._place, self._limits, self._context = place, limits, context
        super().__init__(place.host, place.port, limits.connect_timeout)

    @override
    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        """Connect, with TLS at once where a context says so."""
        self.host, self.port = host, port
        self.sock = socket.create_connection((host, port), timeout)
        if self._context is not None and self._place.security is Security.SSL:
            self._wrap(self._context)
        else:
            self._use(self.sock)

    @override
    def starttls(self, ssl_context: ssl.SSLContext | None = None) -> tuple[Any, list[Any]]:
        """Turn to TLS; what came in clear text after the command is refused, not read."""
        try:
            answer = self.xatom("STARTTLS")
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            answer = "BAD", [str(error).encode("utf-8", "replace")]
        if answer[0] != "OK":
            said = b" ".join(each for each in answer[1] if isinstance(each, bytes))
            raise Broken("the server offers STARTTLS and refuses it", detail=said or b"NO")
        if self.wire.pending:
            raise Broken("the server mixes clear text into TLS")
        patience = self.sock.gettimeout()
        self.sock.settimeout(self._limits.connect_timeout)
        self._wrap(ssl_context or ssl.create_default_context())
        self.sock.settimeout(patience)
        return answer

    def _wrap(self, context: ssl.SSLContext) -> None:
        bare = self.sock
        try:
            self._use(context.wrap_socket(bare, server_hostname=self.host))
        except BaseException:
            bare.close()
            raise

    def _use(self, sock: socket.socket) -> None:
        self.sock = sock
        self.wire = Wire(sock, self._limits)
        self.wire.begin(SMALL)

    @override
    def read(self, size: int) -> bytes:
        """Read exactly so much."""
        return self.wire.exactly(size)

    @override
    def readline(self) -> bytes:
        """Read a line; raises `Broken` at a farewell, which imaplib takes for nonsense."""
        line = self.wire.line()
        if _BYE.match(line):
            raise Broken("the server turned us away", detail=line)
        return line

    @override
    def send(self, data: Any) -> None:
        """Send all of it."""
        self.wire.send(bytes(data))

    @override
    def shutdown(self) -> None:
        """Close the connection; it may be closed already."""
        self.sock.close()


class _Client(IMAPClient):  # type: ignore[misc]  # imapclient is not typed
    """imapclient's client over a connection of ours."""

    def __init__(self, place: Place, limits: ImapLimits, context: ssl.SSLContext | None) -> None:
        self._connection: Callable[[], _Imap] = lambda: _Imap(place, limits, context)
        super().__init__(
            place.host,
            place.port,
            ssl=place.security is Security.SSL,
            # Declared as a number, and documented to be this.
            timeout=cast("Any", SocketTimeout(limits.connect_timeout, limits.read_timeout)),
        )
        self._imap.debug = QUIET

    @override
    def _create_IMAP4(self) -> Any:
        return self._connection()

    @property
    def wire(self) -> Wire:
        """What is read from and written to."""
        wire: Wire = self._imap.wire
        return wire


def connect(place: Place, limits: ImapLimits, context: ssl.SSLContext | None) -> Session:
    """Return a connection, not logged in, with TLS where it must be; raises our errors."""
    try:
        client = _Client(place, limits, context)
    except _TROUBLE as error:
        if _is_silent(place, error) and _speaks_tls(place, limits):
            raise begins_with_tls(place) from None
        raise _failure(place, error) from None
    try:
        return _session(place, client, context)
    except _TROUBLE as error:
        client.shutdown()
        raise _failure(place, error) from None
    except BaseException:
        client.shutdown()
        raise


_TROUBLE = (OSError, imaplib.IMAP4.error, Broken, Refused, ValueError)
"""What the two libraries raise at a server that is not there, or is no IMAP server."""


def _is_silent(place: Place, error: BaseException) -> bool:
    """Whether somebody took the connection and did not begin to speak, though it was theirs."""
    mute = isinstance(error, Broken) and not isinstance(error, Garbled) and not error.detail
    return mute and place.security is not Security.SSL


def _speaks_tls(place: Place, limits: ImapLimits) -> bool:
    """Whether the port answers a handshake; nothing else is sent, so anybody may answer it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    timeout = min(limits.connect_timeout, limits.read_timeout)
    try:
        with socket.create_connection((place.host, place.port), timeout) as bare:
            context.wrap_socket(bare, server_hostname=place.host).close()
    except (OSError, ValueError):
        return False
    return True


def _session(place: Place, client: _Client, context: ssl.SSLContext | None) -> Session:
    greeting = (client.welcome or b"").upper()
    preauthenticated = greeting.startswith(b"* PREAUTH")
    if place.security is Security.STARTTLS:
        _start_tls(place, client, context, preauthenticated=preauthenticated)
    # What was said before TLS may be anybody's word (RFC 9051, 6.2.1), and once somebody is
    # logged in imapclient asks by itself, and takes an answer without any for `None`.
    asked = preauthenticated or place.security is Security.STARTTLS
    words = () if asked else client.capabilities()
    able = frozenset(str(word, "ascii", "replace").upper() for word in words)
    session = Session(client.wire, able, client.shutdown)
    session.preauthenticated = preauthenticated
    session.exchange = b"MICROSOFT EXCHANGE" in greeting
    if asked:
        session.tell(b"CAPABILITY")
    return session


def _start_tls(
    place: Place, client: _Client, context: ssl.SSLContext | None, *, preauthenticated: bool
) -> None:
    if preauthenticated:
        raise SourceError(
            f"{place}: the server logs everybody in before STARTTLS could protect it",
            suggestions=[USE_SSL],
        )
    try:
        client.starttls(context)
    except CapabilityError:
        raise ConfigurationError(
            f"{place}: the server offers no STARTTLS; nothing was sent in clear text",
            suggestions=[USE_SSL],
        ) from None


def _failure(place: Place, error: BaseException) -> MailArchiveError:
    if isinstance(error, Refused):
        return refused(place, "asked what it can do", error)
    if isinstance(error, Garbled) or (isinstance(error, Broken) and error.detail):
        return broken(place, error)
    if isinstance(error, Broken):
        return not_connected(place, error.__cause__ or error)
    if isinstance(error, OSError):
        return not_connected(place, error)
    said = str(error).encode("utf-8", "replace")
    if pause_asked(said) is not None:
        return broken(place, Broken("the server turned us away", detail=said))
    return ConfigurationError(
        f"{place}: what answers on port {place.port} is no IMAP server",
        suggestions=["check the host and the port: IMAP is mostly on 993 (TLS) or 143"],
    )
