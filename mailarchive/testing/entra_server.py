"""A small identity platform on loopback, over TLS, that MSAL itself logs in at.

It gives tokens as Microsoft's does to an application with a secret or a certificate and to
a person with a device code, and refuses as it does::

    with EntraServer() as login:
        tokens = MsalTokens(
            "contoso.example",
            login.client_id,
            ClientSecret(login.secret),
            cloud=login.cloud(),
            ca_file=login.ca_file,
        )

A token is opaque here: `audience` says for what it was given, and `is_good` whether it is.
"""

from __future__ import annotations

import base64
import itertools
import json
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl

from attrs import define, evolve, frozen

from mailarchive.auth import GLOBAL, Cloud
from mailarchive.testing._http_server import Answer, HttpServer, Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["EntraServer", "Refusal"]

_DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@frozen
class Refusal:
    """What the token endpoint says instead of a token, as often as it is told to."""

    error: str = "invalid_client"
    number: int = 7000215
    status: int = 400
    retry_after: str | None = None

    def answer(self) -> Answer:
        """Return it in the form of Microsoft's."""
        said = {
            "error": self.error,
            "error_codes": [self.number],
            "error_description": f"AADSTS{self.number}: user ann@contoso.example, Trace ID: 1",
        }
        headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
        return _json(said, self.status, headers)


@define
class _Token:
    audience: str
    until: datetime
    revoked: bool = False


class EntraServer:
    """The server: a context manager.  `asked` are the grants of each token that was asked for."""

    client_id = "00000000-aaaa-bbbb-cccc-000000000000"
    tenant = "contoso.example"
    user = "ann@contoso.example"

    def __init__(
        self,
        *,
        secret: str = "the application's secret",  # noqa: S107  # of a server for tests
        lifetime: int = 3600,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take the secret that is right, and for how many seconds a token is good."""
        self.secret: str = secret
        self.lifetime: int = lifetime
        self.asked: list[str] = []
        self.assertions: list[dict[str, Any]] = []
        self.refusals: list[Refusal] = []
        self.polls_before_sign_in: int = 0
        self._clock = clock
        self._tokens: dict[str, _Token] = {}
        self._wanted = ""
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._http = HttpServer(self._answer, tls=True)

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._http.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        """Hang up."""
        self._http.__exit__(*exc)

    @property
    def ca_file(self) -> Path | None:
        """The certificate to trust."""
        return self._http.ca_file

    def cloud(self, **origins: str) -> Cloud:
        """Return a cloud that logs in here; `graph` and `exchange` where they are elsewhere."""
        return evolve(GLOBAL, login=self._http.origin, **origins)

    def is_good(self, token: str, audience: str) -> bool:
        """Return whether a token is one of ours, for this origin, and neither old nor revoked."""
        known = self._tokens.get(token)
        if known is None or known.revoked or known.audience != audience:
            return False
        return self._clock() < known.until

    def revoke(self) -> None:
        """Make every token worthless, as a changed password or an administrator does."""
        with self._lock:
            for token in self._tokens.values():
                token.revoked = True

    def _answer(self, request: Request) -> Answer:
        tenant, _, rest = request.path.lstrip("/").partition("/")
        if tenant != self.tenant:
            return Refusal("invalid_tenant", 90002).answer()
        if rest == "v2.0/.well-known/openid-configuration":
            return _json(self._discovery())
        form = dict(parse_qsl(request.body.decode("ascii")))
        with self._lock:
            if rest == "oauth2/v2.0/devicecode":
                return self._device_code(form)
            if rest == "oauth2/v2.0/token":
                return self._token(form)
        return Answer(404)

    def _discovery(self) -> dict[str, str]:
        here = f"{self._http.origin}/{self.tenant}"
        return {
            "issuer": f"{here}/v2.0",
            "authorization_endpoint": f"{here}/oauth2/v2.0/authorize",
            "token_endpoint": f"{here}/oauth2/v2.0/token",
            "device_authorization_endpoint": f"{here}/oauth2/v2.0/devicecode",
        }

    def _device_code(self, form: dict[str, str]) -> Answer:
        self._wanted = form.get("scope", "")
        said = {
            "user_code": "ABCD1234",
            "device_code": "the device's code",
            "verification_uri": "https://login.example/device",
            "expires_in": 900,
            "interval": 0,
            "message": "Open https://login.example/device and enter ABCD1234",
        }
        return _json(said)

    def _token(self, form: dict[str, str]) -> Answer:
        grant = form.get("grant_type", "")
        self.asked.append(grant)
        if self.refusals:
            return self.refusals.pop(0).answer()
        if form.get("client_id") != self.client_id:
            return Refusal("unauthorized_client", 700016).answer()
        scope = _resource_scope(self._wanted if grant == _DEVICE else form.get("scope", ""))
        if scope is None:
            return Refusal("invalid_scope", 1002012).answer()
        if grant == "client_credentials":
            return self._for_application(form, scope)
        if grant in {_DEVICE, "refresh_token"}:
            return self._for_person(grant, scope)
        return Refusal("unsupported_grant_type", 70003).answer()

    def _for_application(self, form: dict[str, str], scope: str) -> Answer:
        if form.get("client_assertion_type") == _ASSERTION:
            header = form["client_assertion"].partition(".")[0]
            self.assertions.append(json.loads(base64.urlsafe_b64decode(header + "===")))
        elif form.get("client_secret") != self.secret:
            return Refusal().answer()
        return _json(self._issue(scope))

    def _for_person(self, grant: str, scope: str) -> Answer:
        if grant == _DEVICE and self.polls_before_sign_in > 0:
            self.polls_before_sign_in -= 1
            return Refusal("authorization_pending", 70016).answer()
        claims = {"preferred_username": self.user, "oid": "1", "tid": "2", "sub": "3"}
        claims |= {"iss": "https://login.example", "aud": self.client_id}
        extra = {
            "refresh_token": "a refresh token",
            "id_token": f"{_part({'alg': 'none'})}.{_part(claims | {'exp': 2**33, 'iat': 0})}.",
            "client_info": _part({"uid": "1", "utid": "2"}),
            "scope": scope,
        }
        return _json(self._issue(scope) | extra)

    def _issue(self, scope: str) -> dict[str, Any]:
        token = f"token-{next(self._numbers)}"
        until = self._clock() + timedelta(seconds=self.lifetime)
        self._tokens[token] = _Token(scope.removesuffix("/.default"), until)
        return {"token_type": "Bearer", "expires_in": self.lifetime, "access_token": token}


def _resource_scope(scopes: str) -> str | None:
    """Return the one scope that names a resource; the others are OpenID's."""
    named = [each for each in scopes.split() if each.endswith("/.default")]
    return named[0] if len(named) == 1 else None


def _part(claims: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


def _json(said: object, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return Answer(status, json.dumps(said).encode(), kind | (headers or {}))
