r"""An Exchange Web Services server on loopback that can be told to fail in every way.

By default it is honest: mailboxes in memory, answers after Microsoft's published schema,
logins by password, by NTLM or by an access token, impersonation and delegates::

    with EwsServer() as server:
        alice = server.add_mailbox("alice@example.com", password="secret")
        alice.deliver(b"Subject: a\r\n\r\nbody\r\n")
        EwsSource(server.url, auth=Password("alice@example.com", "secret"), ...)

A `Fault` sees each call first and may answer it in its own way; `mailarchive.testing.ews_faults`
has those that Exchange is known for.  It listens on loopback, in clear text unless it is
given a TLS context.
"""

from __future__ import annotations

import base64
import contextlib
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self, TypeAlias

from attrs import define, field, frozen

from mailarchive.testing._ews_answers import OPERATIONS, Caller, Denied, World, message
from mailarchive.testing._ews_http import DISCOVERY, Handler, Hangup, Http
from mailarchive.testing._ews_shapes import TYPES, text_of
from mailarchive.testing._ews_store import EwsFolder, EwsItem, EwsMailbox

if TYPE_CHECKING:
    import ssl
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
_DISCOVERY = (
    '<?xml version="1.0" encoding="utf-8"?><Autodiscover '
    'xmlns="http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006">%s'
    "</Autodiscover>"
)
_DISCOVERED = (
    '<Response xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/'
    'responseschema/2006a"><User><DisplayName>x</DisplayName><LegacyDN>/o=x</LegacyDN>'
    "<AutoDiscoverSMTPAddress>x@example.com</AutoDiscoverSMTPAddress>"
    "<DeploymentId>00000000-0000-0000-0000-000000000000</DeploymentId></User><Account>"
    "<AccountType>email</AccountType><Action>settings</Action>"
    "<MicrosoftOnline>False</MicrosoftOnline><Protocol><Type>EXPR</Type>"
    "<EwsUrl>%s</EwsUrl></Protocol></Account></Response>"
)
_NOT_DISCOVERED = (
    '<Response><Error Time="12:00:00.0000000" Id="1"><ErrorCode>500</ErrorCode>'
    "<Message>The email address can't be found.</Message><DebugData/></Error></Response>"
)


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
    _handler: Handler = field(alias="handler", repr=False)

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

    `calls` are the operations in the order they came, `refused_logins` a count.  With
    `record` each request and its answer are kept in `transcript`.  `fault` may be replaced
    at any time.  `endpoint` is what Autodiscover tells.
    """

    host: str = "127.0.0.1"

    def __init__(
        self,
        fault: Fault = honest,
        *,
        record: bool = False,
        ntlm: bool = False,
        tls: ssl.SSLContext | None = None,
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
        self.refused_logins: int = 0
        self.endpoint: str = "https://mail.example.com/EWS/Exchange.asmx"
        self.transcript: list[tuple[bytes, bytes]] = []
        self.record: bool = record
        self._lock = threading.Lock()
        self._http = Http((self.host, 0), Handler)
        self._http.owner = self
        self._scheme = "http" if tls is None else "https"
        if tls is not None:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self.port: int = self._http.server_address[1]

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"{self._scheme}://{self.host}:{self.port}/EWS/Exchange.asmx"

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

    @property
    def autodiscover_url(self) -> str:
        """Where the endpoint of a mailbox is told."""
        return f"{self._scheme}://{self.host}:{self.port}{DISCOVERY}"

    def discovered(self, request: bytes) -> bytes:
        """Answer a request of Autodiscover; `endpoint` is what it tells."""
        asked = ET.fromstring(request)  # noqa: S314  # from a test, on loopback
        address = next((e.text for e in asked.iter() if e.tag.endswith("}EMailAddress")), "")
        if (address or "").lower() not in self.world.mailboxes:
            return (_DISCOVERY % _NOT_DISCOVERED).encode()
        return (_DISCOVERY % (_DISCOVERED % text_of(self.endpoint))).encode()

    def _count(self, operation: str) -> int:
        with self._lock:
            self.calls.append(operation)
            return len(self.calls)

    def serve(self, handler: Handler, user: str, request: bytes) -> None:
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
            self._note(request, content)
            handler.reply(500, content, {"Content-Type": _CONTENT_TYPE})

    def _stream(self, handler: Handler, call: Call) -> None:
        parts = call.parts()
        first = next(parts) + next(parts)  # an operation that is refused has not begun
        kept = [first]
        handler.begin({"Content-Type": _CONTENT_TYPE})
        handler.piece(first)
        for part in parts:
            handler.piece(part)
            if self.record:
                kept.append(part)
        self._note(call.request, b"".join(kept))  # before its end is told
        handler.piece(b"")

    def _note(self, request: bytes, answer: bytes) -> None:
        if self.record:
            self.transcript.append((request, answer))
