r"""An Exchange Web Services server on loopback that can be told to fail in every way.

By default it is honest: mailboxes in memory, answers after Microsoft's published schema,
logins by password, by NTLM or by an access token, impersonation and delegates::

    with EwsServer() as server:
        alice = server.add_mailbox("alice@example.com", password="secret")
        alice.deliver(b"Subject: a\r\n\r\nbody\r\n")
        EwsSource(server.url, auth=Password("alice@example.com", "secret"), ...)

A `Fault` sees each call first and may answer it in its own way; `mailarchive.testing.ews_faults`
has those that Exchange is known for.  It listens on loopback, in clear text.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self, TypeAlias, cast

from attrs import define, field, frozen
from typing_extensions import override

from mailarchive.testing._ews_answers import OPERATIONS, Caller, Denied, World, message
from mailarchive.testing._ews_shapes import TYPES, text_of
from mailarchive.testing._ews_store import EwsFolder, EwsItem, EwsMailbox

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping

__all__ = [
    "Call",
    "EwsFolder",
    "EwsItem",
    "EwsMailbox",
    "EwsServer",
    "Fault",
    "Hangup",
    "honest",
]

SOAP = "{http://schemas.xmlsoap.org/soap/envelope/}"

_HEAD = (
    '<?xml version="1.0" encoding="utf-8"?>'
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">'
    '<s:Header><h:ServerVersionInfo MajorVersion="15" MinorVersion="0" MajorBuildNumber="1497" '
    'MinorBuildNumber="0" Version="V2_23" '
    'xmlns:h="http://schemas.microsoft.com/exchange/services/2006/types"/></s:Header><s:Body>'
)
_TAIL = "</s:Body></s:Envelope>"
_NAMESPACES = (
    'xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" '
    'xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)
_CONTENT_TYPE = "text/xml; charset=utf-8"
_LARGEST_REQUEST = 64 << 20


class Hangup(Exception):  # what a fault does
    """Raised by a fault to close the connection at once."""


class _Fault(Exception):
    """A request that is refused as a whole, with a SOAP fault."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@frozen
class _Login:
    user: str
    password: str | None
    mailbox: str | None


@frozen
class _Token:
    user: str
    until: datetime


@define(eq=False)
class Call:
    """One request under way: what was asked, by whom, and how to answer it.

    `number` counts calls from 1 on, over all connections.
    """

    server: EwsServer = field(repr=False)
    number: int
    user: str
    operation: str
    request: bytes = field(repr=False)
    body: ET.Element[str] = field(repr=False)
    header: ET.Element[str] | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    _handler: _Handler = field(alias="handler", repr=False)

    @property
    def ids(self) -> list[str]:
        """The ids of the items that are asked for."""
        return [each.attrib["Id"] for each in self.body.iter(f"{TYPES}ItemId")]

    def parts(self) -> Iterator[bytes]:
        """Yield the honest answer in pieces, one for each item."""
        yield f"{_HEAD}<m:{self.operation}Response {_NAMESPACES}><m:ResponseMessages>".encode()
        answer = OPERATIONS.get(self.operation)
        if answer is None:
            raise _Fault("ErrorInvalidRequest")
        for part in answer(self._caller(), self.body):
            yield part.encode()
        yield f"</m:ResponseMessages></m:{self.operation}Response>{_TAIL}".encode()

    def answer(self) -> bytes:
        """Return the honest answer."""
        return b"".join(self.parts())

    def refuse(self, code: str) -> bytes:
        """Return an answer in which every part is an error of this code."""
        parts = "".join(message(self.operation, "", code=code) for _ in self.ids or [""])
        return (
            f"{_HEAD}<m:{self.operation}Response {_NAMESPACES}><m:ResponseMessages>{parts}"
            f"</m:ResponseMessages></m:{self.operation}Response>{_TAIL}"
        ).encode()

    def send(
        self, content: bytes, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> bool:
        """Answer with exactly these bytes; true, so that a fault can end with it."""
        self._handler.reply(status, content, {"Content-Type": _CONTENT_TYPE, **(headers or {})})
        return True

    def send_raw(self, data: bytes) -> None:
        """Put bytes on the wire as they are, status line and all."""
        self._handler.wfile.write(data)

    def _caller(self) -> Caller:
        world = self.server.world
        address = None
        if self.header is not None:
            address = self.header.findtext(
                f"{TYPES}ExchangeImpersonation/{TYPES}ConnectingSID/{TYPES}PrimarySmtpAddress"
            )
        if address is None:
            own = self.server.logins[self.user].mailbox
            return Caller(world, self.user, world.mailboxes.get((own or "").lower()))
        if self.user not in world.impersonators:
            raise _Fault("ErrorImpersonateUserDenied")
        if address.lower() not in world.mailboxes:
            raise _Fault("ErrorNonExistentMailbox")
        own_box = world.mailboxes[address.lower()]
        return Caller(world, address.lower(), own_box, impersonating=True)


def honest(call: Call) -> bool:
    """Leave every call to the honest server."""
    del call
    return False


Fault: TypeAlias = Callable[[Call], bool]
"""Sees a call before the honest server does; true where it has answered."""


def fault_xml(code: str, text: str, values: Mapping[str, str] | None = None) -> bytes:
    """Return a SOAP fault as Exchange writes it; `values` go into its MessageXml."""
    told = "".join(
        f'<t:Value Name="{n}">{text_of(v)}</t:Value>' for n, v in (values or {}).items()
    )
    types = TYPES.strip("{}")
    xml = f'<t:MessageXml xmlns:t="{types}">{told}</t:MessageXml>' if told else ""
    errors = 'xmlns:e="http://schemas.microsoft.com/exchange/services/2006/errors"'
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault>'
        f'<faultcode xmlns:a="{types}">a:{code}</faultcode>'
        f'<faultstring xml:lang="en-US">{text_of(text)}</faultstring><detail>'
        f"<e:ResponseCode {errors}>{code}</e:ResponseCode>"
        f"<e:Message {errors}>{text_of(text)}</e:Message>{xml}</detail></s:Fault>{_TAIL}"
    ).encode()


class EwsServer:
    """The server: a context manager that listens on a random loopback port.

    `calls` are the operations in the order they came.  With `record` each request and its
    answer are kept in `transcript`.  `fault` may be replaced at any time.
    """

    host: str = "127.0.0.1"

    def __init__(
        self,
        fault: Fault = honest,
        *,
        record: bool = False,
        ntlm: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take what goes wrong, and the time by which tokens expire.

        `ntlm` offers NTLM, by pyspnego, which reads the passwords from the file that the
        variable NTLM_USER_FILE names, a line each: `DOMAIN:user:password`.
        """
        self.fault: Fault = fault
        self.clock: Callable[[], datetime] = clock
        self.ntlm: bool = ntlm
        self.world: World = World(public=EwsMailbox("public", clock))
        top = self.world.public.add_folder("IPM_SUBTREE", None, distinguished="publicfoldersroot")
        self.public_top: EwsFolder = top
        self.logins: dict[str, _Login] = {}
        self.tokens: dict[str, _Token] = {}
        self.calls: list[str] = []
        self.transcript: list[tuple[bytes, bytes]] = []
        self.record: bool = record
        self._lock = threading.Lock()
        self._http = _Http((self.host, 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self.port: int = self._http.server_address[1]

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://{self.host}:{self.port}/EWS/Exchange.asmx"

    def add_mailbox(self, address: str, *, password: str | None = None) -> EwsMailbox:
        """Make a mailbox with its folders, and a user of the same name who owns it."""
        made = EwsMailbox(address, self.clock).fill()
        self.world.mailboxes[address.lower()] = made
        self.add_user(address, password=password, mailbox=address)
        return made

    def add_user(
        self,
        user: str,
        *,
        password: str | None = None,
        mailbox: str | None = None,
        impersonates: bool = False,
    ) -> None:
        """Make a user who may log in, with a mailbox or without."""
        self.logins[user.lower()] = _Login(user.lower(), password, mailbox)
        if impersonates:
            self.world.impersonators.add(user.lower())

    def token(self, user: str, seconds: float = 3600) -> str:
        """Return a new access token of a user."""
        token = f"token-{len(self.tokens) + 1}"
        until = self.clock() + timedelta(seconds=seconds)
        self.tokens[token] = _Token(user.lower(), until)
        return token

    def __enter__(self) -> Self:
        """Begin to accept connections."""
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Hang up on everybody and join every thread."""
        self._http.shutdown()
        self._thread.join()
        self._http.hang_up()
        self._http.server_close()

    def who(self, authorization: str) -> str | None:
        """Return the user that an Authorization header proves; `None` for nobody."""
        kind, _, value = authorization.partition(" ")
        if kind.lower() == "bearer":
            token = self.tokens.get(value)
            return token.user if token is not None and token.until > self.clock() else None
        if kind.lower() != "basic":
            return None
        with contextlib.suppress(ValueError):
            user, _, password = base64.b64decode(value).decode("utf-8").partition(":")
            login = self.logins.get(user.lower())
            if login is not None and login.password is not None and login.password == password:
                return login.user
        return None

    def _count(self, operation: str) -> int:
        with self._lock:
            self.calls.append(operation)
            return len(self.calls)

    def serve(self, handler: _Handler, user: str, request: bytes) -> None:
        """Answer one request."""
        envelope = ET.fromstring(request)  # noqa: S314  # from a test, on loopback
        body = envelope.find(f"{SOAP}Body")
        operation = body[0] if body is not None and len(body) else ET.Element("nothing")
        name = operation.tag.rpartition("}")[2]
        call = Call(
            server=self,
            number=self._count(name),
            user=user,
            operation=name,
            request=request,
            body=operation,
            header=envelope.find(f"{SOAP}Header"),
            headers=dict(handler.headers.items()),
            handler=handler,
        )
        if self.fault(call):
            return
        try:
            self._stream(handler, call)
        except (_Fault, Denied) as error:
            content = fault_xml(error.code, error.code)
            handler.reply(500, content, {"Content-Type": _CONTENT_TYPE})
            self._note(request, content)

    def _stream(self, handler: _Handler, call: Call) -> None:
        parts = call.parts()
        first = next(parts) + next(parts)  # an operation that is refused has not begun
        kept = [first]
        handler.begin({"Content-Type": _CONTENT_TYPE})
        handler.piece(first)
        for part in parts:
            handler.piece(part)
            if self.record:
                kept.append(part)
        handler.piece(b"")
        self._note(call.request, b"".join(kept))

    def _note(self, request: bytes, answer: bytes) -> None:
        if self.record:
            self.transcript.append((request, answer))


class _Http(http.server.ThreadingHTTPServer):
    """Threads for connections, all of which are joined in the end."""

    daemon_threads = False
    block_on_close = True
    owner: EwsServer

    def __init__(self, *arguments: object) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*arguments)  # type: ignore[arg-type]  # passed on as they came

    @override
    def process_request(self, request: object, client_address: object) -> None:
        self._open.add(cast("socket.socket", request))
        super().process_request(request, client_address)  # type: ignore[arg-type]  # as above

    @override
    def shutdown_request(self, request: object) -> None:
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


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http
    user: str | None = None
    """Whom NTLM proved, for as long as the connection lasts."""

    @override
    def setup(self) -> None:
        super().setup()
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
        owner = self.server.owner
        request = self._request()
        user = self._user()
        if user is None:
            self._challenge()
            return
        try:
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
        if self.server.owner.ntlm and authorization.startswith(("NTLM ", "Negotiate ")):
            return self._by_ntlm(authorization.partition(" ")[2])
        return self.user or self.server.owner.who(authorization)

    def _by_ntlm(self, token: str) -> str | None:
        """Go one step of NTLM; what is to be sent back stands in `self._ntlm_answer`."""
        import spnego

        if self._ntlm is None:
            self._ntlm = spnego.server(protocol="ntlm")
        context = cast("spnego.ContextProxy", self._ntlm)
        try:
            answer = context.step(base64.b64decode(token))
        except spnego.exceptions.SpnegoError:
            self._ntlm = None
            return None
        if context.complete:
            self.user = (context.client_principal or "").lower()
            return self.user
        self._answer = b"" if answer is None else answer
        return None

    _answer: bytes = b""

    def _challenge(self) -> None:
        self.send_response(401)
        answer, self._answer = self._answer, b""
        if answer:
            self.send_header("WWW-Authenticate", f"NTLM {base64.b64encode(answer).decode()}")
        else:
            if self.server.owner.ntlm:
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
