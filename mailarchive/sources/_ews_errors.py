"""What an Exchange server's refusals mean: decided by its codes, never by its words.

The codes are of Microsoft's schema (ResponseCodeType); HTTP statuses are used where the
server, or something before it, says nothing else.
"""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from attrs import frozen
from typing_extensions import override

from mailarchive.errors import (
    AccessDenied,
    AuthenticationFailed,
    CheckpointInvalid,
    ConfigurationError,
    MailboxNotFound,
    SourceError,
    SourceUnavailable,
    Throttled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from mailarchive.errors import MailArchiveError
    from mailarchive.sources._ews_answer import Node


@frozen
class Place:
    """Which server, for errors to speak of; holds no address and no secret."""

    name: str
    host: str

    @override
    def __str__(self) -> str:
        """Return how an error names it."""
        return f"source {self.name}"

    @property
    def online(self) -> bool:
        """Whether it is Exchange Online, where EWS ends."""
        return is_online(self.host)


def is_online(host: str) -> bool:
    """Return whether a host is one of Microsoft's."""
    return f".{host.lower()}".endswith((".office365.com", ".outlook.com", ".office.com"))


RUN_AGAIN = "run again: what was not read yet is read then"

BUSY: Final = frozenset(
    {
        "ErrorServerBusy",
        "ErrorExceededConnectionCount",
        "ErrorTooManyObjectsOpened",
        "ErrorInsufficientResources",
        "ErrorTimeoutExpired",
        "ErrorConcurrentSyncCalls",
    }
)
"""The server asks for a pause; a smaller request may do too."""

PASSING: Final = BUSY | {
    "ErrorInternalServerTransientError",
    "ErrorInternalServerError",
    "ErrorMailboxMoveInProgress",
    "ErrorMailboxFailover",
    "ErrorMailboxStoreUnavailable",
    "ErrorConnectionFailed",
    "ErrorConnectionFailedTransientError",
    "ErrorBatchProcessingStopped",
    "ErrorADUnavailable",
    "ErrorADOperation",
    "ErrorNotEnoughMemory",
    "ErrorQuotaExceeded",
    "ErrorNoRespondingCASInDestinationSite",
    "ErrorProxyRequestProcessingFailed",
    "ErrorWrongServerVersionDelegate",
}
"""The same request may succeed later."""

GONE: Final = frozenset({"ErrorItemNotFound"})
"""The item is no more, or no more there: moved items have another id."""

UNREADABLE: Final = frozenset(
    {
        "ErrorMimeContentConversionFailed",
        "ErrorContentConversionFailed",
        "ErrorUnsupportedMimeConversion",
        "ErrorMimeContentInvalid",
        "ErrorMimeContentInvalidBase64String",
        "ErrorItemCorrupt",
        "ErrorCorruptData",
        "ErrorInvalidIdMalformed",
        "ErrorInvalidIdEmpty",
        "ErrorInvalidIdMonikerTooLong",
        "ErrorInvalidId",
    }
)
"""The server will never hand the item over as MIME."""

TOO_MUCH: Final = frozenset({"ErrorMessageSizeExceeded", "ErrorDataSizeLimitExceeded"})
"""Asked for alone, the item may still come."""

_NO_MAILBOX = frozenset(
    {
        "ErrorNonExistentMailbox",
        "ErrorMailboxConfiguration",
        "ErrorNonPrimarySmtpAddress",
        "ErrorCannotFindUser",
        "ErrorMissingEmailAddress",
        "ErrorInvalidSmtpAddress",
        "ErrorNoPublicFolderServerAvailable",
        "ErrorAccountDisabled",
        "ErrorInvalidUserPrincipalName",
        "ErrorUserNotUnifiedMessagingEnabled",
    }
)
_DENIED = frozenset(
    {
        "ErrorAccessDenied",
        "ErrorImpersonateUserDenied",
        "ErrorImpersonationDenied",
        "ErrorImpersonationFailed",
        "ErrorOrganizationAccessBlocked",
        "ErrorInvalidLicense",
        "ErrorPasswordChangeRequired",
        "ErrorPasswordExpired",
        "ErrorClientDisconnected",
        "ErrorCrossMailboxMoveCopy",
        "ErrorDeleteDistinguishedFolder",
        "ErrorCannotDeleteObject",
    }
)
_NO_FOLDER = frozenset(
    {
        "ErrorFolderNotFound",
        "ErrorSyncFolderNotFound",
        "ErrorParentFolderNotFound",
        "ErrorArchiveMailboxNotEnabled",
        "ErrorArchiveFolderPathCreation",
        "ErrorArchiveMailboxServiceDiscoveryFailed",
        "ErrorGetRemoteArchiveFolderFailed",
    }
)
_VERSION = frozenset(
    {
        "ErrorInvalidServerVersion",
        "ErrorIncorrectSchemaVersion",
        "ErrorInvalidSchemaVersionForMailboxVersion",
        "ErrorSchemaValidation",
        "ErrorInvalidRequest",
    }
)
_CODE = re.compile(r"[A-Za-z]{1,80}\Z")
_FIRST_WORD = re.compile(r"Error[A-Z][A-Za-z]{1,70}")


def code_of(node: Node) -> str:
    """Return the code in a response message or a fault, safe to be shown."""
    code = node.at("ResponseCode") or node.at("detail", "ResponseCode")
    if code is None and node.tag == "Fault":
        code = (node.at("faultcode") or "").rpartition(":")[2]
        told = _FIRST_WORD.match(node.at("faultstring") or "")
        if code in {"Server", "Client"} and told is not None:
            code = told[0]  # some servers say no more than SOAP demands, and the code in words
    return code if code and _CODE.match(code) else "no code"


def back_off_of(node: Node) -> float | None:
    """Return the seconds of pause that a refusal asks for in BackOffMilliseconds."""
    for value in node.all("Value"):
        if value.attributes.get("Name") == "BackOffMilliseconds" and value.text.isdecimal():
            return int(value.text[:12]) / 1_000
    return None


def refusal(place: Place, doing: str, code: str, pause: float | None = None) -> MailArchiveError:
    """Return our error for a code that a whole request was answered with."""
    where = f"{place}: the server refused while {doing}: {code}"
    if code in BUSY:
        return Throttled(where, retry_after=pause, suggestions=[RUN_AGAIN])
    if code in PASSING:
        return SourceUnavailable(where, retry_after=pause, suggestions=[RUN_AGAIN])
    if code == "ErrorInvalidSyncStateData":
        return invalid_token(place, "the server knows its sync state no more")
    return _lasting(where, code)


def _lasting(where: str, code: str) -> MailArchiveError:
    """Return our error for what waiting does not cure."""
    kinds: list[tuple[frozenset[str], type[MailArchiveError], tuple[str, ...]]] = [
        (_NO_FOLDER, MailboxNotFound, (_LIST_AGAIN,)),
        (_NO_MAILBOX, MailboxNotFound, _NAME_THE_MAILBOX),
        (_DENIED, AccessDenied, _denied(code)),
        (_VERSION, ConfigurationError, (_OTHER_VERSION,)),
    ]
    for codes, kind, suggestions in kinds:
        if code in codes:
            return kind(where, suggestions=suggestions)
    return SourceError(where, suggestions=["ask the server's log why", RUN_AGAIN])


_LIST_AGAIN = "list the folders again: this one was moved or removed"
_OTHER_VERSION = 'set version to what the server speaks, such as "Exchange2010_SP2"'
_NAME_THE_MAILBOX = (
    "set mailbox to the primary SMTP address of the mailbox",
    "check that the mailbox is on this server: a hybrid one may be at Exchange Online (use Graph)",
)


def _denied(code: str) -> tuple[str, ...]:
    if code.startswith("ErrorImpersonat"):
        return (
            "give the login the role ApplicationImpersonation, with a scope that has the mailbox",
            'or give it full access to the mailbox and set access = "delegate"',
        )
    return (
        "give the login full access to the mailbox (Add-MailboxPermission)",
        'or the role ApplicationImpersonation, with access = "impersonation"',
    )


def invalid_token(place: Place, why: str) -> CheckpointInvalid:
    """A checkpoint that cannot be resumed from."""
    return CheckpointInvalid(
        f"{place}: the checkpoint means nothing any more: {why}",
        suggestions=["list the folder anew: what is in the archive is not stored twice"],
    )


def other_mailbox(place: Place, what: str) -> MailboxNotFound:
    """The server opened another mailbox than the one that was meant."""
    return MailboxNotFound(
        f"{place}: this is not the mailbox that was meant: {what}",
        suggestions=[
            'set access to what the login is to the mailbox: "own", "delegate", "impersonation"',
            *_NAME_THE_MAILBOX,
        ],
    )


def broken(place: Place, what: str) -> SourceUnavailable:
    """The connection, or the answer, broke off."""
    return SourceUnavailable(
        f"{place}: {what}", suggestions=["check the server and the way to it", RUN_AGAIN]
    )


def pause_in(headers: Mapping[str, str], now: Callable[[], datetime]) -> float | None:
    """Return the seconds in a Retry-After header, in either form (RFC 9110, 10.2.3)."""
    told = headers.get("Retry-After", "").strip()
    if told.isascii() and told.isdecimal():
        return float(told[:9])
    try:
        until = parsedate_to_datetime(told)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - now()).total_seconds())


_FORBIDDEN, _NOT_FOUND, _TOO_MANY, _TIMEOUT, _PROXY_LOGIN = 403, 404, 429, 408, 407
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING_STATUS = frozenset({500, 502, 503, 504, _TIMEOUT})


def status_error(
    place: Place, status: int, headers: Mapping[str, str], pause: float | None
) -> MailArchiveError:
    """Return our error for an HTTP status that is no answer of EWS."""
    where = f"{place}: the server answers with HTTP {status}"
    if status == _TOO_MANY:
        return Throttled(where, retry_after=pause, suggestions=[RUN_AGAIN])
    if status in _PASSING_STATUS:
        return SourceUnavailable(
            where, retry_after=pause, suggestions=["check the server's state", RUN_AGAIN]
        )
    if status == _FORBIDDEN:
        return AccessDenied(where, suggestions=_forbidden(place))
    if status in _REDIRECTS:
        return _moved(where, headers)
    if status in _SETTINGS:
        why, todo = _SETTINGS[status]
        return ConfigurationError(f"{where}: {why}", suggestions=[todo])
    return SourceError(where, suggestions=[_URL, "ask the server's log why"])


_URL = "set url to the EWS endpoint, mostly https://HOST/EWS/Exchange.asmx"
_SETTINGS = {
    _NOT_FOUND: ("there is nothing at this path", _URL),
    _PROXY_LOGIN: (
        "a proxy wants a login",
        "set proxy to one that lets this machine through without a login, or leave it out",
    ),
}
"""What each status says of a setting, and what to do."""
_PORTAL = "check whether a portal stands before the server"


def no_endpoint(place: Place) -> ConfigurationError:
    """Return our error where a page is shown to everybody, and EWS would have wanted a login."""
    return ConfigurationError(
        f"{place}: a web page answers, and no EWS: it wants no login", suggestions=[_URL, _PORTAL]
    )


def _moved(where: str, headers: Mapping[str, str]) -> MailArchiveError:
    if "genericerrorpage" in headers.get("Location", "").lower():
        return SourceUnavailable(where, suggestions=["the server has an outage", RUN_AGAIN])
    return ConfigurationError(
        f"{where}: it sends elsewhere, where no secret follows",
        suggestions=[_URL, _PORTAL],
    )


def _forbidden(place: Place) -> list[str]:
    """A 403 mostly says nothing else; every known cause is named."""
    found = [
        "allow EWS for the mailbox (Set-CASMailbox -EwsEnabled $true) and the organisation",
        "check EwsAllowList and EwsBlockList: ours begins its User-Agent with mailarchive",
        "check that the licence of the mailbox includes EWS",
    ]
    if place.online:
        found.insert(0, EWS_ENDS)
        found.append(
            "until 31 March 2027: add the application to EwsAllowedAppIDs "
            "(Set-OrganizationConfig replaces the whole list: read it first)"
        )
    return found


EWS_ENDS: Final = (
    "at Exchange Online EWS is off by default since 1 October 2026 and is gone on 1 April 2027: "
    "use Microsoft Graph"
)


def unauthorized(place: Place, how: str, offered: str) -> AuthenticationFailed:
    """The server refused the login."""
    suggestions = [
        "check the user name, as DOMAIN\\user and as user@example.com, and the password",
        "check that the account is not locked and its password has not expired",
    ]
    if how == "oauth":
        suggestions = [
            "check that the token is for this server (its scope) and has not expired",
            "give the application full_access_as_app, or the role Application EWS.AccessAsApp",
        ]
    elif place.online:
        suggestions = ["use OAuth: Exchange Online refuses passwords", EWS_ENDS]
    if offered:
        suggestions.append(f"the server takes these logins: {offered}")
    if how == "ntlm":
        suggestions.append(
            "behind a proxy that ends TLS, NTLM fails under Extended Protection: let TLS through"
        )
    return AuthenticationFailed(
        f"{place}: the server refused the login by {how}", suggestions=suggestions
    )
