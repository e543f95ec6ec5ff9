"""What went wrong with a server, as one of our errors with a thing to do about it.

The server's own words decide between cases and go no further: they hold addresses.
"""

from __future__ import annotations

import re
import socket
import ssl
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from attrs import frozen
from typing_extensions import override

from mailarchive._handshake import HUNG_UP, OTHER_NAME
from mailarchive.errors import (
    AccessDenied,
    AuthenticationFailed,
    CheckpointInvalid,
    ConfigurationError,
    MailArchiveError,
    MailboxNotFound,
    SourceError,
    SourceUnavailable,
    Throttled,
)
from mailarchive.sources._imap_wire import Broken, Garbled, Silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailarchive.sources._imap_session import Refused


class Security(StrEnum):
    """How the connection to a server is protected."""

    SSL = "ssl"
    """TLS from the first byte (IMAPS); the port is 993 unless another is named."""
    STARTTLS = "starttls"
    """TLS from the first command on; never without (port 143)."""
    PLAIN = "plain"
    """Nothing: everybody on the way can read and change it (port 143)."""


PORTS: Final = {Security.SSL: 993, Security.STARTTLS: 143, Security.PLAIN: 143}


@frozen
class Place:
    """Which server, for errors to speak of; holds no address and no secret."""

    name: str
    host: str
    port: int
    security: Security

    @property
    def protected(self) -> bool:
        """Whether nobody on the way can read what is said."""
        return self.security is not Security.PLAIN

    @override
    def __str__(self) -> str:
        """Return how an error names it."""
        return f"source {self.name}"


USE_STARTTLS = 'set security = "starttls" and port = 143'
USE_SSL = 'set security = "ssl" and port = 993'
_OTHER = {
    Security.SSL: USE_STARTTLS,
    Security.STARTTLS: USE_SSL,
    Security.PLAIN: USE_SSL,
}
OWN_CERTIFICATE: Final = (
    "give certificate and key, or in a program an ssl_context that has loaded them",
    "check that the server trusts who signed that certificate, and that it has not expired",
)
RENUMBERED = "the server has numbered the folder anew"
WENT_BACK = "the server gives numbers again that it gave before, as after a restore"
SHORTER = "lower the limit command_octets, where the server takes no command that long"
RUN_AGAIN = "run again: what was not read yet is read then"

_BACKOFF = re.compile(rb"Suggested Backoff Time:\s*(\d{1,12})\s*(milli)?s", re.IGNORECASE)
_THROTTLED = re.compile(
    rb"throttled|too many (?:simultaneous )?connections|rate limit|bandwidth limit",
    re.IGNORECASE,
)
_DETACHED = re.compile(rb"authenticated but not connected", re.IGNORECASE)
_TRANSIENT = frozenset({"UNAVAILABLE", "INUSE", "SERVERBUG", "LIMIT"})
_DENIED = frozenset({"NOPERM", "AUTHORIZATIONFAILED", "CONTACTADMIN", "ACL", "PRIVACYREQUIRED"})


def pause_asked(text: bytes, code: str = "") -> float | None:
    """Return the seconds of pause that a server's text asks for.

    Zero where it asks for a pause and does not say how long; `None` where it asks for none.
    """
    found = _BACKOFF.search(text)
    if found:
        return int(found[1]) / (1_000 if found[2] else 1)
    return 0.0 if code == "LIMIT" or _THROTTLED.search(text) else None


def is_detached(text: bytes) -> bool:
    """Return whether Exchange let the login in and then gave it no mailbox."""
    return _DETACHED.search(text) is not None


def is_worth_waiting(refused: Refused) -> bool:
    """Return whether a refusal is about the server's state, and not about what was asked."""
    return pause_asked(refused.text, refused.code) is not None or is_detached(refused.text)


def is_transient(refused: Refused) -> bool:
    """Return whether a refusal says that the same may succeed later (RFC 5530)."""
    return refused.code in _TRANSIENT


def throttled(place: Place, seconds: float) -> Throttled:
    """The server asked for a pause."""
    return Throttled(
        f"{place}: the server asks for a pause",
        suggestions=["run again later, with fewer connections to this server at a time"],
        retry_after=seconds or None,
    )


def broken(place: Place, error: Broken) -> SourceError:
    """The connection broke, and as often again as we try."""
    pause = pause_asked(error.detail)
    if pause is not None:
        return throttled(place, pause)
    if is_detached(error.detail):
        return detached(place)
    if isinstance(error, Garbled):
        return SourceError(
            f"{place}: {error}",
            suggestions=[
                "check that the host and port are those of an IMAP server",
                "raise the limit where the mailbox really is that large",
            ],
        )
    return SourceUnavailable(
        f"{place}: {error}", suggestions=["check the server and the way to it", RUN_AGAIN]
    )


def detached(place: Place) -> AccessDenied:
    """Exchange's "User is authenticated but not connected"."""
    return AccessDenied(
        f"{place}: the login is right, but the server opens no mailbox for it",
        suggestions=[
            "check that the mailbox is named as its primary address and is not disabled",
            "give the login full access to the mailbox",
            "allow IMAP for the mailbox (Set-CASMailbox -ImapEnabled $true)",
        ],
    )


def refused(place: Place, doing: str, error: Refused) -> SourceError:
    """The server answered NO or BAD to a command."""
    pause = pause_asked(error.text, error.code)
    where = f"{place}: the server refused while {doing}: {error}"
    if pause is not None:
        return throttled(place, pause)
    if is_detached(error.text):
        return detached(place)
    if is_transient(error):
        return SourceUnavailable(where, suggestions=[RUN_AGAIN])
    if error.code in _DENIED:
        return AccessDenied(
            where, suggestions=["give the login the right to read this folder (and to remove)"]
        )
    if error.status == "BAD":
        return SourceError(where, suggestions=[SHORTER, "ask the server's log why", RUN_AGAIN])
    return SourceError(where, suggestions=["ask the server's log why", RUN_AGAIN])


def no_folder(place: Place, doing: str, error: Refused) -> SourceError:
    """The server did not open a folder."""
    other = refused(place, doing, error)
    if type(other) is not SourceError or error.status == "BAD":
        return other
    return MailboxNotFound(
        f"{place}: the server does not open this folder: {error}",
        suggestions=["list the folders again: this one was renamed or removed"],
    )


def invalid_token(place: Place, why: str) -> CheckpointInvalid:
    """A checkpoint that cannot be resumed from."""
    return CheckpointInvalid(
        f"{place}: the checkpoint means nothing any more: {why}",
        suggestions=["list the folder anew: what is in the archive is not stored twice"],
    )


def no_numbers(place: Place) -> SourceError:
    """A folder whose messages have no lasting numbers."""
    return SourceError(
        f"{place}: the server gives the messages of this folder no lasting numbers",
        suggestions=["leave the folder out: what was archived could not be told from what is new"],
    )


def none_listed(place: Place) -> SourceError:
    """A folder with messages in it, of which the server lists none."""
    return SourceError(
        f"{place}: the server lists none of the messages that it says are in this folder",
        suggestions=[
            "ask the server's log why",
            RUN_AGAIN,
            "leave the folder out where it is for something else than mail",
        ],
    )


def login_refused(
    place: Place, how: str, error: Refused, settings: Sequence[str] = ()
) -> SourceError:
    """The server refused a login; `settings` says what to check of whose mailbox it is to."""
    pause = pause_asked(error.text, error.code)
    if pause is not None:
        return throttled(place, pause)
    if is_detached(error.text):
        return detached(place)
    where = f"{place}: the server refused the login by {how}: {error}"
    if is_transient(error):
        return SourceUnavailable(where, suggestions=[RUN_AGAIN])
    if error.code == "AUTHORIZATIONFAILED":
        return AccessDenied(
            where, suggestions=["give the login the right to act for this mailbox", *settings]
        )
    if error.code == "PRIVACYREQUIRED":
        return AuthenticationFailed(where, suggestions=[USE_STARTTLS, USE_SSL])
    return AuthenticationFailed(
        where, suggestions=[*_login_suggestions(place.host, how), *settings]
    )


def _login_suggestions(host: str, how: str) -> list[str]:
    if how in {"XOAUTH2", "OAUTHBEARER"}:
        return [
            "check that the token is for this server (its scope) and for this user name",
            "for an application at Microsoft 365: register its service principal in Exchange",
            "for that use the object id of the enterprise application, not of its registration",
            "for an application at Microsoft 365: give it full access to the mailbox",
        ]
    if how == "EXTERNAL":
        return ["check user: it must be whom the certificate is for", *OWN_CERTIFICATE]
    suggestions = ["check the user name and the password"]
    if host.lower().endswith((".office365.com", ".outlook.com", ".gmail.com")):
        suggestions.append("use OAuth: this provider refuses passwords")
    return suggestions


def not_connected(place: Place, error: BaseException) -> MailArchiveError:
    """There is no connection, or no TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate(place, error)
    if isinstance(error, ssl.SSLError) and not isinstance(error, HUNG_UP):
        return _no_tls(place, str(getattr(error, "reason", None)))
    if isinstance(error, socket.gaierror):
        what, todo = "its host name is not known", "check the host"
    elif isinstance(error, ConnectionRefusedError):
        what, todo = f"nothing listens on port {place.port}", _OTHER[place.security]
    elif isinstance(error, TimeoutError | Silent):
        what, todo = f"no answer on port {place.port}", _OTHER[place.security]
    else:
        what, todo = f"the connection to port {place.port} broke off", _OTHER[place.security]
    return SourceUnavailable(
        f"{place}: {what}",
        suggestions=[todo, "check the host and the port, and the firewall on the way"],
    )


def begins_with_tls(place: Place) -> ConfigurationError:
    """The server waits for TLS, and we waited for its greeting."""
    return ConfigurationError(
        f"{place}: port {place.port} begins with TLS",
        suggestions=[
            f'set security = "ssl", and leave port at {place.port}',
            "or set port to the one of IMAP in clear text and STARTTLS, mostly 143",
        ],
    )


def _certificate(place: Place, error: ssl.SSLCertVerificationError) -> ConfigurationError:
    if error.verify_code in OTHER_NAME:
        return ConfigurationError(
            f"{place}: the server's certificate is for another name",
            suggestions=["set host to a name that is in the certificate"],
        )
    # X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED.
    if error.verify_code in {9, 10}:
        return ConfigurationError(
            f"{place}: the server's certificate has expired, or is not good yet",
            suggestions=["renew it on the server", "check the clock of this machine"],
        )
    return ConfigurationError(
        f"{place}: the server's certificate is not trusted ({error.verify_code})",
        suggestions=[
            "set ca_file to the certificate of the authority that signed the server's",
            "set ca_file to the server's own certificate where it signed itself",
        ],
    )


_NOT_OURS = re.compile(r"ALERT_(?:\w*CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)")
"""OpenSSL's reasons for a server that got no certificate of ours, or not the right one."""


def _no_tls(place: Place, reason: str) -> ConfigurationError:
    if _NOT_OURS.search(reason):
        return ConfigurationError(
            f"{place}: the server asks for a client's certificate, and takes none that it got",
            suggestions=[
                *OWN_CERTIFICATE,
                "where it asks for a password as well: write a program",
            ],
        )
    if place.security is Security.SSL and "ALERT" not in reason:
        return ConfigurationError(
            f"{place}: port {place.port} does not begin with TLS",
            suggestions=[
                USE_STARTTLS,
                "set port to the one of IMAP over TLS, mostly 993",
                "if it does, the two sides share no version of TLS: update the server",
            ],
        )
    return ConfigurationError(
        f"{place}: the two sides share no version of TLS, or no cipher",
        suggestions=[
            "update the server; a program may allow what it speaks, with an ssl_context",
            "where the server asks for a client's certificate: " + OWN_CERTIFICATE[0],
        ],
    )
