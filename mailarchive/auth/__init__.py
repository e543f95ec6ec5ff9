"""Logins: who we are to a server, and the secret that proves it.

A login is a frozen value whose repr shows neither a name nor a secret, and which cannot be
pickled: a job that travels to another machine carries the *place* of a secret, never the
secret.  Where a secret may change (an access token always does, a password when it is
rotated) give a callable; it is asked again on every connect.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from attrs import field, frozen
from attrs.validators import and_, instance_of, max_len, optional
from typing_extensions import override

from mailarchive.errors import (
    AuthenticationFailed,
    ConfigurationError,
    MailArchiveError,
    Unsupported,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from attrs import Attribute

    Secret: TypeAlias = "str | Callable[[], str]"  # noqa: S105  # a type, not a password

__all__ = ["Auth", "ClientCertificate", "OAuth", "OAuthMechanism", "Password"]


class _Unpicklable:
    """Mixed into what holds a secret."""

    __slots__ = ()

    @override
    def __reduce__(self) -> NoReturn:
        """Refuse: a pickled secret is a leaked secret."""
        raise Unsupported(
            f"a {type(self).__name__} is never pickled or copied: it holds a secret",
            suggestions=["send the place of the secret, and make the login where it is used"],
        )

    def __copy__(self) -> object:
        """Frozen, so it is its own copy."""
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> object:
        """Frozen, so it is its own copy."""
        del memo
        return self


def _is_text(value: object) -> bool:
    """Whether a callable kept to its type; what runs is not always what was checked."""
    return isinstance(value, str)


def _ask(secret: Secret, what: str) -> str:
    """Return the secret, or an `AuthenticationFailed` that tells nothing of it."""
    try:
        value = secret() if callable(secret) else secret
    except MailArchiveError:
        raise
    except Exception as error:  # noqa: BLE001  # its text may hold the secret: it ends here
        raise AuthenticationFailed(
            f"the {what} could not be had: its callable raised {type(error).__name__}",
            suggestions=[f"mend the callable that returns the {what}"],
        ) from None
    if not _is_text(value) or not value or _UNSENDABLE.search(value):
        raise AuthenticationFailed(
            f"the {what} is empty, or no text that can be sent",
            suggestions=[f"make the callable return the {what} as text"],
        )
    return value


_UNSENDABLE = re.compile(r"[\x00\ud800-\udfff]")

_NAME = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]+")


def checked_name(name: object, what: str = "a user name") -> str:
    """Return a name that can be sent in every form of login; raises `ConfigurationError`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{what} is empty, or holds a character that no login can carry",
            suggestions=[f"give {what} as the server knows it"],
        )
    return name


def _name(instance: object, attribute: Attribute[str], value: str) -> None:
    del instance, attribute
    checked_name(value)


@frozen(repr=False)
class Password(_Unpicklable):
    """A user name and a password, or a callable that returns the password.

    `master_separator` is for servers of Dovecot's kind, where one account opens every
    mailbox by logging in as `mailbox + separator + username`; without it, a login to
    another mailbox uses SASL PLAIN with an authorisation identity (RFC 4616).
    """

    username: str = field(validator=_name)
    secret: Secret
    master_separator: str | None = field(
        default=None, kw_only=True, validator=optional(and_(instance_of(str), max_len(8)))
    )

    def password(self) -> str:
        """Return the password; raises `AuthenticationFailed` where it cannot be had."""
        return _ask(self.secret, "password")

    @override
    def __repr__(self) -> str:
        """Show that there is one."""
        return "Password(...)"


class OAuthMechanism(StrEnum):
    """How an access token is presented (RFC 7628 is the standard; Microsoft has the other)."""

    XOAUTH2 = "XOAUTH2"
    OAUTHBEARER = "OAUTHBEARER"


@frozen(repr=False)
class OAuth(_Unpicklable):
    """A callable that returns an access token, asked on every connect.

    `username` is whom the token belongs to, and the mailbox unless the source names
    another.  `mechanism` is what the server offers unless it is given: XOAUTH2 first,
    since Exchange Online knows no other.
    """

    username: str = field(validator=_name)
    token: Callable[[], str]
    mechanism: OAuthMechanism | None = field(
        default=None, kw_only=True, validator=optional(instance_of(OAuthMechanism))
    )

    def access_token(self) -> str:
        """Return a fresh token; raises `AuthenticationFailed` where none can be had."""
        token = _ask(self.token, "access token")
        if not (token.isascii() and token.isprintable()):
            raise AuthenticationFailed(
                "the access token holds characters that no token has (RFC 6750)",
                suggestions=["make the callable return the bare token"],
            )
        return token

    @override
    def __repr__(self) -> str:
        """Show that there is one."""
        return "OAuth(...)"


@frozen(repr=False)
class ClientCertificate(_Unpicklable):
    """The certificate in the TLS context is the login: SASL EXTERNAL (RFC 4422).

    `username` is the mailbox, and names it in logs by its fingerprint.
    """

    username: str = field(validator=_name)

    @override
    def __repr__(self) -> str:
        """Show that there is one."""
        return "ClientCertificate(...)"


Auth: TypeAlias = Password | OAuth | ClientCertificate
"""Everything that a source can log in with."""
