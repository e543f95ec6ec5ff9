"""Connections to an Exchange server: the one module that imports exchangelib and requests.

exchangelib 5.6 is used for what it does well: a pool of sessions, logins by Basic, NTLM and
Kerberos, and the hook of its retry policy.  Its traps are closed here:

- `Protocol` is cached for the whole process by endpoint and credentials, so that a second
  configuration is silently the first: ours is a `BaseProtocol`, which nobody caches, and
  belongs to one source;
- a 401 is taken for throttling and tried again for an hour: our policy raises at once;
- 403, 429 and `Retry-After` get a type;
- its `post_ratelimited` waits by a clock of its own, and logs whole requests, which hold
  addresses, where something breaks: sessions are used without it;
- an answer is loaded and then read a byte at a time: ours is streamed in pieces;
- requests would read proxies, certificates and passwords from the environment and from
  `.netrc`: it is told not to.
"""

from __future__ import annotations

import random
import ssl
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from exchangelib.configuration import Configuration
from exchangelib.credentials import Credentials
from exchangelib.protocol import BaseProtocol, RetryPolicy
from exchangelib.transport import AUTH_TYPE_MAP, BASIC, GSSAPI, NTLM
from requests import Session
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.exceptions import ConnectionError as NotConnected
from requests.exceptions import ProxyError, RequestException, SSLError, Timeout
from typing_extensions import override
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError

from mailarchive import _paced
from mailarchive._handshake import HUNG_UP, OTHER_NAME
from mailarchive.auth import Password, token_for
from mailarchive.errors import ConfigurationError, MailArchiveError, SourceUnavailable
from mailarchive.sources._ews_errors import (
    broken,
    no_endpoint,
    pause_in,
    status_error,
    unauthorized,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from requests import PreparedRequest, Response

    from mailarchive.auth import TokenProvider
    from mailarchive.sources._ews_errors import Place
    from mailarchive.sources._ews_limits import EwsLimits

PIECE = 1 << 16
"""Octets of an answer that are read at once."""

_UNAUTHORIZED = 401
_FINE, _FAULT = 200, 500
_METHODS = {"basic": BASIC, "ntlm": NTLM, "kerberos": GSSAPI}
_PROTOCOLS = {"ntlm": "ntlm", "basic": "basic", "bearer": "oauth", "negotiate": "kerberos"}


class Refused(Exception):
    """The server answered 401; `error` is what it becomes where no other token helps."""

    def __init__(self, error: MailArchiveError) -> None:
        """Take our error."""
        super().__init__(error.code)
        self.error = error


@frozen
class Endpoint:
    """Where and how to connect; everything but the secret."""

    place: Place
    url: str = field(repr=False)
    method: str | None
    password: Password | None
    tokens: TokenProvider | None
    scope: str
    context: ssl.SSLContext | None = field(repr=False)
    proxy: str | None = field(repr=False)
    agent: str
    limits: EwsLimits
    now: Callable[[], datetime] = field(repr=False)


class _Bearer(AuthBase):
    """An access token on every request."""

    def __init__(self, token: str) -> None:
        self._token = token

    @override
    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        r.headers["Authorization"] = f"Bearer {self._token}"
        return r


class _Tls(HTTPAdapter):
    """TLS as a context says, and as nothing else does."""

    def __init__(
        self,
        context: ssl.SSLContext | None,
        limits: EwsLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        pace = _paced.Pace(limits.read_timeout, limits.slowest_octets)
        self._pools = _paced.pools(pace, clock)
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0, pool_block=True)

    @override
    def init_poolmanager(self, *arguments: Any, **keywords: Any) -> None:
        super().init_poolmanager(*arguments, ssl_context=self._context, **keywords)
        self.poolmanager.pool_classes_by_scheme = self._pools

    @override
    def proxy_manager_for(self, *arguments: Any, **keywords: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, ssl_context=self._context, **keywords)
        manager.pool_classes_by_scheme = self._pools
        return manager

    @override
    def build_connection_pool_key_attributes(
        self, request: PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, ({"ssl_context": self._context} if self._context is not None else {})

    @override
    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave it to the context."""


class _AtOnce(RetryPolicy):  # type: ignore[misc]  # exchangelib is not typed
    """exchangelib's retry hook: nothing is tried again there, and every error is ours."""

    def __init__(self, endpoint: Endpoint, method: str | None) -> None:
        self._endpoint, self._how = endpoint, method or "oauth"

    @property
    @override
    def fail_fast(self) -> Any:
        """Nothing is tried again."""
        return True

    @property
    @override
    def back_off_until(self) -> Any:
        """There is nothing to wait for."""
        return None

    @back_off_until.setter
    def back_off_until(self, value: object) -> None:
        """Keep nothing."""

    @override
    def back_off(self, seconds: float) -> None:
        """Waiting is done elsewhere, with the caller's own clock."""

    @override
    def raise_response_errors(self, response: Response) -> None:
        """Raise our error for what is no answer of EWS."""
        status, place = response.status_code, self._endpoint.place
        kind = response.headers.get("Content-Type", "").lower()
        if status == _FINE or (status == _FAULT and "xml" in kind):
            return
        if status == _UNAUTHORIZED:
            offered = _offered(response.headers.get("WWW-Authenticate", ""))
            raise Refused(unauthorized(place, self._how, ", ".join(offered)))
        pause = pause_in(response.headers, self._endpoint.now)
        raise status_error(place, status, response.headers, pause)


class _Protocol(BaseProtocol):  # type: ignore[misc]  # as above
    """One source's sessions: never cached, never guessed."""

    def __init__(self, endpoint: Endpoint, method: str | None, token: str | None) -> None:
        self._endpoint, self._token = endpoint, token
        credentials, password = None, endpoint.password
        if password is not None and token is None:
            credentials = Credentials(password.username, password.password())
        super().__init__(
            Configuration(
                credentials=credentials,
                service_endpoint=endpoint.url,
                auth_type=_METHODS[method] if method is not None else None,
                retry_policy=_AtOnce(endpoint, method),
                max_connections=1,
            )
        )

    @override
    def get_auth_type(self) -> None:
        raise AssertionError  # it is always given, or OAuth

    @override
    def raw_session(self, prefix: str, *rest: Any, **keywords: Any) -> Session:
        """Return a session that knows nothing but what it was told."""
        del rest, keywords
        session = _bare_session(self._endpoint, prefix)
        session.headers["Content-Type"] = "text/xml; charset=utf-8"
        session.headers["Accept-Encoding"] = "gzip, deflate"
        return session

    @override
    def create_session(self) -> Session:
        """Return a session that logs in with a fresh token, or as exchangelib does."""
        if self._token is None:
            made: Session = super().create_session()
            return made
        session: Any = self.raw_session(self._endpoint.url)
        session.auth = _Bearer(self._token)
        session.session_id, session.usage_count = random.randint(10_000, 99_999), 0  # noqa: S311  # a name for debugging, as exchangelib gives
        return session  # type: ignore[no-any-return]  # exchangelib hangs attributes on it


def _bare_session(endpoint: Endpoint, prefix: str) -> Session:
    session = Session()
    session.trust_env = False
    session.headers["User-Agent"] = endpoint.agent
    if endpoint.proxy is not None:
        session.proxies = {"http": endpoint.proxy, "https": endpoint.proxy}
    session.mount(prefix, _Tls(endpoint.context, endpoint.limits))
    return session


def _offered(header: str) -> list[str]:
    """Return our names of the logins in a WWW-Authenticate header, in its order."""
    words = [part.strip().partition(" ")[0].lower() for part in header.split(",")]
    return [_PROTOCOLS[word] for word in dict.fromkeys(words) if word in _PROTOCOLS]


class Pool:
    """The sessions of one source; made when one is needed, all let go when one breaks."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Take where to connect; nothing is connected yet."""
        self.endpoint = endpoint
        self._protocol: _Protocol | None = None
        self._method = endpoint.method
        self._token: str | None = None
        self._refused: str | None = None

    def drop(self) -> None:
        """Let go of every connection and secret; the next request makes them anew."""
        protocol, self._protocol = self._protocol, None
        self._token = None
        if protocol is not None:
            protocol.close()

    @contextmanager
    def post(self, content: bytes, headers: Mapping[str, str]) -> Iterator[Iterator[bytes]]:
        """Send a request and give the pieces of its answer.

        A connection whose answer was not read to its end is dropped.  Raises our errors,
        and `Refused`.
        """
        with self._translated():
            protocol = self._connected()
            session = protocol.get_session()
            try:
                with session.post(
                    self.endpoint.url,
                    data=content,
                    headers=dict(headers),
                    allow_redirects=False,
                    stream=True,
                    timeout=(
                        self.endpoint.limits.connect_timeout,
                        self.endpoint.limits.read_timeout,
                    ),
                ) as response:
                    protocol.retry_policy.raise_response_errors(response)
                    self._refused = None
                    yield response.iter_content(PIECE)
            except Refused:
                refused = self._token
                protocol.close_session(session)
                self.drop()
                self._refused = refused
                raise
            except BaseException:
                protocol.close_session(session)
                self.drop()
                raise
            protocol.release_session(session)

    @property
    def has_other_token(self) -> bool:
        """Whether a token was refused, so that another one may be asked for."""
        return self._refused is not None

    def _connected(self) -> _Protocol:
        if self._protocol is None:
            tokens = self.endpoint.tokens
            if tokens is not None:
                self._token = token_for(tokens, self.endpoint.scope, refused=self._refused)
            elif self._method is None:
                self._method = self._ask_method()
            if self._method == "kerberos" and GSSAPI not in AUTH_TYPE_MAP:
                raise ConfigurationError(
                    f"{self.endpoint.place}: Kerberos needs a package that is not installed",
                    suggestions=["pip install 'mailarchive[kerberos]'"],
                )
            self._protocol = _Protocol(self.endpoint, self._method, self._token)
        return self._protocol

    def _ask_method(self) -> str:
        """Return the login that the server offers, asked without sending a secret."""
        limits = self.endpoint.limits
        with _bare_session(self.endpoint, self.endpoint.url) as session:
            response = session.post(
                self.endpoint.url,
                allow_redirects=False,
                stream=True,
                timeout=(limits.connect_timeout, limits.read_timeout),
            )
            with response:
                if response.status_code != _UNAUTHORIZED:
                    pause = pause_in(response.headers, self.endpoint.now)
                    status, headers = response.status_code, response.headers
                    if status == _FINE:
                        raise no_endpoint(self.endpoint.place)
                    raise status_error(self.endpoint.place, status, headers, pause)
                offered = _offered(response.headers.get("WWW-Authenticate", ""))
        for method in ("ntlm", "basic"):
            if method in offered:
                return method
        raise unauthorized(self.endpoint.place, "a password", ", ".join(offered))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        place = self.endpoint.place
        try:
            yield
        except (MailArchiveError, Refused):
            raise
        except SSLError as error:
            raise _no_tls(place, error) from None
        except Timeout:
            raise broken(place, "the server did not answer in time") from None
        except NotConnected as error:
            raise _not_connected(self.endpoint, error) from None
        except (RequestException, HTTPError, KeyError) as error:
            # requests_ntlm lets a KeyError out where the server breaks its handshake.
            raise broken(place, f"the connection broke off ({type(error).__name__})") from None
        except PermissionError:  # requests_ntlm's, where no challenge comes to its first word
            raise unauthorized(place, "ntlm", "") from None


def _not_connected(endpoint: Endpoint, error: NotConnected) -> SourceUnavailable:
    """Say which step failed: the proxy, the name, the port, or what answers on it."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    way = "check the host and the port in url, and the firewall on the way"
    if isinstance(error, ProxyError):
        what, todo = "the proxy cannot be reached, or refused", ["check proxy"]
    elif isinstance(reason, NameResolutionError):
        what, todo = "its host name is not known", ["check the host in url"]
    elif isinstance(reason, NewConnectionError):
        what, todo = "nothing listens on its port", [way]
    else:
        what, todo = "the server hung up", [way]
        if endpoint.url.lower().startswith("http:"):
            todo.insert(0, "set url to one with https: a port with TLS ends what is in clear")
    return SourceUnavailable(f"{endpoint.place}: {what}", suggestions=todo)


def _no_tls(place: Place, error: SSLError) -> MailArchiveError:
    """Certificates are a matter of configuration, whoever is at fault."""
    cause: Any = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    inner = next(
        (each for each in getattr(reason, "args", ()) if isinstance(each, ssl.SSLError)), reason
    )
    if isinstance(inner, HUNG_UP):
        return broken(place, "the server hung up")
    if isinstance(inner, ssl.SSLCertVerificationError):
        named = inner.verify_code in OTHER_NAME
        what = "is for another name" if named else f"is not trusted ({inner.verify_code})"
        todo = (
            "set url to a name that is in the certificate"
            if named
            else "set ca_file to the certificate of the authority that signed the server's"
        )
        return ConfigurationError(f"{place}: the server's certificate {what}", suggestions=[todo])
    return ConfigurationError(
        f"{place}: the port speaks no TLS, or the two sides share no version of it",
        suggestions=["check the scheme and the port in url", "update the server"],
    )
