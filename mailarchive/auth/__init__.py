"""Logins: who we are to a server, and the secret that proves it.

A login is a frozen value whose repr shows neither a name nor a secret, and which cannot be
pickled: a job that travels to another machine carries the *place* of a secret, never the
secret.  Where a secret may change (an access token always does, a password when it is
rotated) give a callable; it is asked again on every connect.

`TokenProvider` is the one way to an access token, for Graph, EWS and IMAP alike;
`mailarchive.auth.msal` has the one of Microsoft's identity platform, and `Cloud` says
which of Microsoft's clouds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import field, frozen
from attrs.validators import instance_of, optional
from typing_extensions import override

from mailarchive.auth._clouds import CHINA, GLOBAL, US_DOD, US_GOV, Cloud
from mailarchive.auth._secrets import Secret, Unpicklable, ask, checked_name
from mailarchive.auth._tokens import (
    Scoped,
    TokenProvider,
    any_scope,
    checked_token,
    scoped,
    token_for,
)
from mailarchive.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from attrs import Attribute

__all__ = [
    "CHINA",
    "GLOBAL",
    "US_DOD",
    "US_GOV",
    "Auth",
    "ClientCertificate",
    "Cloud",
    "Kerberos",
    "OAuth",
    "OAuthMechanism",
    "Password",
    "Secret",
    "TokenProvider",
    "any_scope",
    "checked_name",
    "scoped",
    "token_for",
]


def _name(instance: object, attribute: Attribute[str], value: str) -> None:
    del instance, attribute
    checked_name(value)


_LONGEST_SEPARATOR: Final = 8


def _separator(instance: object, attribute: Attribute[str | None], value: str | None) -> None:
    del instance, attribute
    if value is None:
        return
    if len(checked_name(value, "master_separator")) > _LONGEST_SEPARATOR:
        raise ConfigurationError(
            "master_separator is longer than any server's",
            suggestions=["set it to that of the server, which is mostly one character, *"],
        )


@frozen(repr=False)
class Password(Unpicklable):
    """A user name and a password, or a callable that returns the password.

    `master_separator` is for servers of Dovecot's kind, where one account opens every
    mailbox by logging in as `mailbox + separator + username`; without it, a login to
    another mailbox uses SASL PLAIN with an authorisation identity (RFC 4616).
    """

    username: str = field(validator=_name)
    secret: Secret
    master_separator: str | None = field(default=None, kw_only=True, validator=_separator)

    def password(self) -> str:
        """Return the password; raises `AuthenticationFailed` where it cannot be had."""
        return ask(self.secret, "password")

    @override
    def __repr__(self) -> str:
        """Show that there is one."""
        return "Password(...)"


class OAuthMechanism(StrEnum):
    """How an access token is presented (RFC 7628 is the standard; Microsoft has the other)."""

    XOAUTH2 = "XOAUTH2"
    OAUTHBEARER = "OAUTHBEARER"


@frozen(repr=False)
class OAuth(Unpicklable):
    """A callable that returns an access token, asked on every connect.

    It is asked once more where a server refuses the token, and another one is tried.
    A `TokenProvider` becomes such a callable by `scoped`.

    `username` is whom the token belongs to, and the mailbox unless the source names
    another.  `mechanism` is what the server offers unless it is given: XOAUTH2 first,
    since Exchange Online knows no other.
    """

    username: str = field(validator=_name)
    token: Callable[[], str]
    mechanism: OAuthMechanism | None = field(
        default=None, kw_only=True, validator=optional(instance_of(OAuthMechanism))
    )

    def access_token(self, *, refused: str | None = None) -> str:
        """Return a token; raises `AuthenticationFailed` where none can be had.

        A provider is told which one was `refused`, so that it gives no cached one again.
        """
        if refused is not None and isinstance(self.token, Scoped):
            provider = self.token
            return checked_token(lambda: provider(refused=refused))
        return checked_token(self.token)

    @override
    def __repr__(self) -> str:
        """Show that there is one."""
        return "OAuth(...)"


@frozen(repr=False)
class ClientCertificate(Unpicklable):
    """The certificate in the TLS context is the login: SASL EXTERNAL (RFC 4422).

    `username` is the mailbox, and names it in logs by its fingerprint.
    """

    username: str = field(validator=_name)

    @override
    def __repr__(self) -> str:
        """Show that there is one."""
        return "ClientCertificate(...)"


@frozen(repr=False)
class Kerberos:
    """The ticket that the system holds for this process (`kinit`, a keytab) is the login.

    There is no secret in it; needs `pip install 'mailarchive[kerberos]'`.
    """

    @override
    def __repr__(self) -> str:
        """Show that there is one."""
        return "Kerberos()"


Auth: TypeAlias = Password | OAuth | ClientCertificate
"""Everything that a source can log in with."""
