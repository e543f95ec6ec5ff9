"""What Microsoft's identity platform refuses, and what a person can do about it.

The OAuth `error` decides the class (RFC 6749, section 5.2).  The AADSTS number is a hint
for the suggestion only: Microsoft says that the numbers may change.  The description that
comes with them names users and tenants, and goes no further.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailarchive.errors import AuthenticationFailed, SourceError, SourceUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_WORD: Final = re.compile(r"[a-z_]{1,40}\Z")
_AADSTS: Final = re.compile(r"AADSTS(\d{4,8})")

_TENANT = "set tenant to the directory's id or to one of its domains"
_SECRET = "make a new secret, and take its value: its id looks alike and is not it"  # noqa: S105
_USER_MUST = (
    "sign in as a person with a device code, or let the application act for itself "
    "with a certificate"
)
_CONSENT = "let an administrator grant the application its permissions (admin consent)"

_HINTS: Final[dict[int, str]] = {
    7000215: _SECRET,
    7000222: "the secret has expired: " + _SECRET,
    700027: "upload this certificate to the application's registration",
    700024: "set this machine's clock: the certificate's proof is from another time",
    700016: "check client_id: this tenant knows no such application",
    7000218: "allow public client flows in the application's registration, or give a secret",
    7000112: "the application is disabled: let an administrator enable it",
    90002: _TENANT,
    900023: _TENANT,
    50034: "check the user name: the directory knows nobody of that name",
    50126: "check the user name and the password",
    50053: "the account is locked: wait, and find out who tries its password",
    50057: "the account is disabled: let an administrator enable it",
    50076: "the user must prove more than a password: " + _USER_MUST,
    50079: "the user must set up a second factor: " + _USER_MUST,
    53003: "a Conditional Access policy forbids it: ask for an exception for this application",
    65001: _CONSENT,
    70011: "ask for a scope that ends in /.default",
    1002012: "ask for a scope that ends in /.default",
    500011: "check the cloud: this tenant knows no such resource",
    70008: "sign in again: the consent has expired",
    700082: "sign in again: nothing was asked for longer than the directory allows",
    50173: "sign in again: the password was changed",
    70020: "sign in again, and enter the code before it expires",
    70019: "sign in again, and enter the code before it expires",
}

_BY_WORD: Final[dict[str, str]] = {
    "invalid_client": "check client_id, and its secret or certificate",
    "unauthorized_client": "check client_id and tenant, and what the registration allows",
    "invalid_grant": "sign in again",
    "interaction_required": "sign in again",
    "invalid_scope": "ask for a scope that ends in /.default",
    "invalid_resource": "check the cloud: this tenant knows no such resource",
    "access_denied": "sign in again, and agree to what the application asks for",
    "authorization_declined": "sign in again, and agree to what the application asks for",
    "expired_token": "sign in again, and enter the code before it expires",
    "consent_required": _CONSENT,
}

_TRANSIENT: Final = frozenset({"temporarily_unavailable", "server_error", "slow_down"})


def refused(answer: Mapping[str, Any]) -> SourceError:
    """Return the error for what the token endpoint, or MSAL, answered instead of a token."""
    word = str(answer.get("error") or "")
    word = word if _WORD.match(word) else "no reason that we know"
    if word in _TRANSIENT:
        return SourceUnavailable(
            f"the identity platform gives no token now: {word}", suggestions=["run again later"]
        )
    numbers = _numbers(answer)
    hints = list(dict.fromkeys(_HINTS[number] for number in numbers if number in _HINTS))
    hints = hints or [_BY_WORD.get(word, "check tenant, client_id and the credential")]
    code = f" (AADSTS{numbers[0]})" if numbers else ""
    return AuthenticationFailed(
        f"the identity platform gives no token: {word}{code}", suggestions=hints
    )


def no_authority() -> AuthenticationFailed:
    """Return the error for a tenant that the login host does not know."""
    return AuthenticationFailed(
        "the identity platform does not know the tenant",
        suggestions=[_TENANT, "check the cloud: each knows its own tenants only"],
    )


def _numbers(answer: Mapping[str, Any]) -> list[int]:
    listed = answer.get("error_codes")
    numbers = [each for each in listed if type(each) is int] if isinstance(listed, list) else []
    return numbers or [int(n) for n in _AADSTS.findall(str(answer.get("error_description")))]
