"""Access tokens from Microsoft's identity platform, by Microsoft's own library.

An application that acts for itself (app-only), as an archive of a whole organisation does::

    tokens = MsalTokens("contoso.com", client_id, ClientSecret(read_the_secret))

A person who signs in with a code on another device::

    tokens = MsalTokens("contoso.com", client_id, DeviceCode(print), cache=TokenFile("tokens"))

Either is a `TokenProvider`, for Graph and EWS as it is, and for IMAP by `scoped`.
"""

from __future__ import annotations

import json
import re
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlencode

from attrs import frozen
from typing_extensions import override
from urllib3.exceptions import HTTPError

from mailarchive import _web
from mailarchive.auth._clouds import GLOBAL, Cloud
from mailarchive.auth._entra import no_authority, refused
from mailarchive.auth._secrets import Secret, Unpicklable, ask
from mailarchive.auth._token_file import TokenFile
from mailarchive.errors import (
    AuthenticationFailed,
    ConfigurationError,
    SourceUnavailable,
    Throttled,
)

try:
    import msal
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        "mailarchive.auth.msal needs MSAL: pip install 'mailarchive[oauth]'", name=_error.name
    ) from _error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

__all__ = ["Certificate", "ClientSecret", "Credential", "DeviceCode", "MsalTokens", "TokenFile"]

LONGEST_ANSWER: Final = 1 << 20
"""Octets of an answer that are read; a real one has a few thousand."""

_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}\Z")
_CLIENT: Final = re.compile(r"[A-Za-z0-9-]{1,100}\Z")
_SHARED_TENANTS: Final = frozenset({"common", "consumers", "organizations"})


@frozen(repr=False)
class ClientSecret(Unpicklable):
    """A secret of the application; where it is a callable, it is asked for when needed."""

    secret: Secret

    @override
    def __repr__(self) -> str:
        """Show that there is one."""
        return "ClientSecret(...)"


@frozen(repr=False)
class Certificate(Unpicklable):
    """A certificate of the application with its private key, in PEM, in one text.

    To be preferred to a secret: the key never travels.
    """

    pem: Secret
    passphrase: Secret | None = None

    @override
    def __repr__(self) -> str:
        """Show that there is one."""
        return "Certificate(...)"


@frozen(repr=False)
class DeviceCode(Unpicklable):
    """A person signs in elsewhere: `prompt` is given the sentence that tells where and how.

    Without `prompt` nobody is there to sign in, and tokens come from the cache alone.
    `username` picks one of several people in the cache.
    """

    prompt: Callable[[str], object] | None
    username: str | None = None

    @override
    def __repr__(self) -> str:
        """Show that there is one."""
        return "DeviceCode(...)"


Credential: TypeAlias = ClientSecret | Certificate | DeviceCode
"""How an application proves to the identity platform who it is, or who sent it."""


class MsalTokens(Unpicklable):
    """A `TokenProvider` out of MSAL; may be called from several threads.

    Nothing is asked before the first token is.  Tokens are kept in memory, and in `cache`
    where one is given, until shortly before they expire.
    """

    def __init__(
        self,
        tenant: str,
        client_id: str,
        credential: Credential,
        *,
        cloud: Cloud = GLOBAL,
        cache: TokenFile | None = None,
        ca_file: str | PathLike[str] | None = None,
        proxy: str | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take who asks whom; `clock` is compared with dates in `Retry-After` only.

        Raises `ConfigurationError`.
        """
        self._authority: str = f"{cloud.login}/{_tenant(tenant, credential)}"
        self._client: str = _checked(_CLIENT, client_id, "client_id", "the application's id")
        self._credential: Credential = credential
        self._cache: TokenFile | None = cache
        self._store: Any = msal.SerializableTokenCache()
        self._http = _Http(_web.Web(ca_file=ca_file, proxy=proxy, read_timeout=60.0), clock)
        self._app: Any = None
        self._last: dict[str, str] = {}
        self._lock = threading.Lock()

    @override
    def __repr__(self) -> str:
        """Show that there is one."""
        return "MsalTokens(...)"

    def __call__(self, scope: str, /, *, refused: str | None = None) -> str:
        """Return a token; raises `AuthenticationFailed`, `SourceUnavailable`, `Throttled`."""
        with self._lock:
            self._load()
            anew = refused is not None and self._last.get(scope, refused) == refused
            try:
                answer = self._ask(scope, anew=anew)
            except HTTPError as error:
                raise _unreachable(error) from None
            self._save()
            token = _token(answer)
            self._last[scope] = token
            return token

    def _ask(self, scope: str, *, anew: bool) -> Mapping[str, Any] | None:
        app = self._app = self._app or self._make()
        try:
            if isinstance(self._credential, DeviceCode):
                return _for_a_person(app, self._credential, scope, anew=anew)
            if anew:
                app.remove_tokens_for_client()
            answer: Mapping[str, Any] | None = app.acquire_token_for_client([scope])
        except (KeyError, TypeError, ValueError, json.JSONDecodeError) as error:
            raise _odd(error) from None
        if answer is None or "access_token" not in answer:
            self._app = None  # a secret that was replaced meanwhile is read anew
        return answer

    def _make(self) -> Any:
        arguments: dict[str, Any] = {
            "authority": self._authority,
            "token_cache": self._store,
            "http_client": self._http,
            "instance_discovery": False,  # the host is configured, so nobody need vouch for it
        }
        try:
            if isinstance(self._credential, DeviceCode):
                return msal.PublicClientApplication(self._client, **arguments)
            return msal.ConfidentialClientApplication(
                self._client,
                client_credential=_presented(self._credential),
                azure_region=False,
                **arguments,
            )
        except ValueError:
            raise no_authority() from None

    def _load(self) -> None:
        text = "" if self._cache is None else self._cache.read()
        try:
            kept = json.loads(text) if text else None
        except ValueError:
            kept = None
        if isinstance(kept, dict):
            self._store.deserialize(text)

    def _save(self) -> None:
        if self._cache is not None and self._store.has_state_changed:
            self._cache.write(self._store.serialize())


def _for_a_person(
    app: Any, credential: DeviceCode, scope: str, *, anew: bool
) -> Mapping[str, Any] | None:
    """Take a token from the cache, or renew it, or let somebody sign in."""
    accounts = app.get_accounts(credential.username)
    if len(accounts) > 1:
        raise AuthenticationFailed(
            "several people are signed in, and nobody said which one is meant",
            suggestions=["name the user of the mailbox", "remove the file of tokens"],
        )
    answer: Mapping[str, Any] | None = None
    if accounts:
        answer = app.acquire_token_silent_with_error([scope], accounts[0], force_refresh=anew)
    if (answer is not None and "access_token" in answer) or credential.prompt is None:
        return answer
    flow = app.initiate_device_flow([scope])
    if "user_code" not in flow:
        return dict(flow)
    credential.prompt(str(flow.get("message") or f"Enter the code {flow['user_code']}"))
    signed_in: Mapping[str, Any] = app.acquire_token_by_device_flow(flow)
    return signed_in


@frozen
class _Answer:
    """An HTTP answer as MSAL wants it."""

    status_code: int
    text: str
    headers: Mapping[str, str]

    def raise_for_status(self) -> None:
        """Nothing: what is no answer was raised before."""


class _Http:
    """What MSAL speaks HTTP with: one that says when to come back.

    MSAL would forget how long a server asks us to wait, and try anew by itself.
    """

    def __init__(self, web: _web.Web, clock: Callable[[], datetime]) -> None:
        self._web, self._clock = web, clock

    def get(
        self,
        url: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **rest: object,
    ) -> _Answer:
        del rest
        query = f"?{urlencode(params)}" if params else ""
        return self._answer("GET", url + query, headers or {}, None)

    def post(
        self,
        url: str,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **rest: object,
    ) -> _Answer:
        del rest
        query = f"?{urlencode(params)}" if params else ""
        form = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
        return self._answer("POST", url + query, form, urlencode(data or {}).encode())

    def close(self) -> None:
        self._web.close()

    def _answer(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> _Answer:
        response = self._web.send(method, url, headers, body)
        try:
            text = response.read(LONGEST_ANSWER).decode("utf-8", "replace")
        finally:
            response.release_conn()
        status = response.status
        seconds = _web.pause(response.headers.get("Retry-After"), self._clock())
        if status == _TOO_MANY:
            raise Throttled(
                "the identity platform asks for a pause",
                suggestions=["run again later"],
                retry_after=seconds,
            )
        if status >= _BROKEN:
            raise SourceUnavailable(
                f"the identity platform is not available (HTTP {status})",
                suggestions=["run again later"],
                retry_after=seconds,
            )
        return _Answer(status, text, dict(response.headers))


_TOO_MANY: Final = 429
_BROKEN: Final = 500


def _presented(credential: ClientSecret | Certificate) -> str | dict[str, str]:
    """Return the credential as MSAL takes it; read now, since it may have been replaced."""
    if isinstance(credential, ClientSecret):
        return ask(credential.secret, "client secret")
    pem = ask(credential.pem, "certificate")
    presented = {"private_key": pem, "public_certificate": pem}
    if credential.passphrase is not None:
        presented["passphrase"] = ask(credential.passphrase, "certificate's passphrase")
    _check_certificate(pem, presented.get("passphrase"))
    return presented


def _check_certificate(pem: str, passphrase: str | None) -> None:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        x509.load_pem_x509_certificate(pem.encode())
        word = None if passphrase is None else passphrase.encode()
        if not isinstance(load_pem_private_key(pem.encode(), word), RSAPrivateKey):
            raise AuthenticationFailed(
                "the certificate cannot be used: its key is none of RSA",
                suggestions=["make a certificate with an RSA key: the platform takes no other"],
            )
    except (TypeError, ValueError, UnsupportedAlgorithm):
        raise AuthenticationFailed(
            "the certificate cannot be used: it is no PEM text with a certificate and its key, "
            "or the passphrase is not the key's",
            suggestions=[
                "put the private key and the certificate into one PEM file",
                "openssl pkcs12 -in both.pfx -out both.pem makes one of a PFX file",
            ],
        ) from None


def _tenant(tenant: str, credential: Credential) -> str:
    checked = _checked(_TENANT, tenant, "tenant", "the directory's id or one of its domains")
    if not isinstance(credential, DeviceCode) and checked.lower() in _SHARED_TENANTS:
        raise ConfigurationError(
            "an application that acts for itself does so in one tenant",
            suggestions=["set tenant to the directory's id or to one of its domains"],
        )
    return checked


def _checked(pattern: re.Pattern[str], value: str, what: str, it_is: str) -> str:
    if not pattern.match(value):
        raise ConfigurationError(f"{what} is not {it_is}", suggestions=[f"set {what} to {it_is}"])
    return value


def _token(answer: Mapping[str, Any] | None) -> str:
    if answer is None:
        raise AuthenticationFailed(
            "nobody is signed in", suggestions=["sign in once where a person can enter the code"]
        )
    token = answer.get("access_token")
    if not isinstance(token, str) or not token:
        raise refused(answer)
    return token


def _unreachable(error: HTTPError) -> SourceUnavailable:
    return SourceUnavailable(
        f"the identity platform cannot be reached: {type(error).__name__}",
        suggestions=["check the way to the login host, its proxy and its certificate"],
    )


def _odd(error: Exception) -> SourceUnavailable:
    return SourceUnavailable(
        f"the identity platform answers with something else than a token: {type(error).__name__}",
        suggestions=[
            "check the cloud, and what stands between here and the login host",
            "remove the file of tokens where there is one: it may be damaged",
        ],
    )
