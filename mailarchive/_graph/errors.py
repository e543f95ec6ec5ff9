"""What Graph refuses: told apart by `error.code`, never by the status alone.

A status means too many things: 404 is a message that is gone, a mailbox that is on
premises, or a user that nobody knows; 500 is a message that can never be converted, or a
bad minute.  Graph's own sentences hold addresses and go no further.
"""

from __future__ import annotations

import json
import re
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from mailarchive.errors import (
    AccessDenied,
    AuthenticationFailed,
    CheckpointInvalid,
    MailboxNotFound,
    SourceError,
    SourceUnavailable,
    Throttled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Kind(Enum):
    """What a refusal means for whoever asked."""

    GONE = auto()
    """The message is not there any more."""
    BAD_ITEM = auto()
    """The message is there and cannot be handed over, now or later."""
    NO_FOLDER = auto()
    NO_MAILBOX = auto()
    LOST = auto()
    """The delta link means nothing any more."""
    THROTTLED = auto()
    BUSY = auto()
    """The same may succeed in a minute."""
    TOKEN = auto()
    DENIED = auto()
    CHANGED = auto()
    """The message is another than the one that was meant."""
    ODD = auto()
    """A code that we do not know, or none."""


_KINDS: Final = {
    Kind.GONE: "ErrorItemNotFound ItemNotFound ErrorMessageNotFound",
    Kind.BAD_ITEM: (
        "ErrorMimeContentConversionFailed ErrorContentConversionFailed ErrorItemCorrupt "
        "ErrorCorruptData ErrorUnsupportedMimeConversion ErrorInvalidRecipients "
        "ErrorMimeContentInvalid ErrorMessageSizeExceeded ErrorDataSizeLimitExceeded "
        "ErrorInvalidIdMalformed ErrorInvalidId ErrorPropertyRequestFailed"
    ),
    Kind.NO_FOLDER: "ErrorFolderNotFound ErrorSyncFolderNotFound",
    Kind.NO_MAILBOX: (
        "MailboxNotEnabledForRESTAPI MailboxNotSupportedForRESTAPI ErrorInvalidUser "
        "Request_ResourceNotFound ResourceNotFound ErrorNonExistentMailbox ErrorInvalidMailbox "
        "ErrorMailboxNotFound ErrorADUserNotFound"
    ),
    Kind.LOST: (
        "SyncStateNotFound SyncStateInvalid ResyncRequired ErrorInvalidSyncStateData "
        "resyncChangesApplyDifferences resyncChangesUploadDifferences"
    ),
    Kind.THROTTLED: (
        "ApplicationThrottled TooManyRequests ErrorServerBusy ErrorExceededConnectionCount "
        "ErrorTooManyObjectsOpened activityLimitReached ErrorExceededFindCountLimit"
    ),
    Kind.BUSY: (
        "ServiceUnavailable ServiceNotAvailable ErrorInternalServerTransientError "
        "ErrorMailboxMoveInProgress ErrorMailboxStoreUnavailable ErrorConnectionFailed "
        "ErrorMailboxFailover ErrorTimeoutExpired ErrorInsufficientResources "
        "ErrorBatchProcessingStopped GatewayTimeout BadGateway"
    ),
    Kind.TOKEN: "InvalidAuthenticationToken TokenExpired Unauthorized",
    Kind.DENIED: (
        "AuthenticationError ErrorAccessDenied AccessDenied Authorization_RequestDenied Forbidden "
        "ErrorAccountDisabled ErrorInvalidLicense ErrorOrganizationAccessBlocked "
        "Authorization_IdentityDisabled"
    ),
    Kind.CHANGED: "ErrorIrresolvableConflict ErrorChangeKeyRequired PreconditionFailed",
}
_BY_CODE: Final = {word.lower(): kind for kind, words in _KINDS.items() for word in words.split()}
_BY_STATUS: Final = {
    401: Kind.TOKEN,
    403: Kind.DENIED,
    410: Kind.LOST,
    412: Kind.CHANGED,
    429: Kind.THROTTLED,
    502: Kind.BUSY,
    503: Kind.BUSY,
    504: Kind.BUSY,
}
"""Where the code tells nothing.  404 and 500 are not here: alone they tell nothing either."""

_WORD: Final = re.compile(r"[A-Za-z][A-Za-z_.]{0,63}\Z")
_CATCH_ALL: Final = "authenticationerror"
"""Graph says this where the token is good too: no licence, or a permission is missing."""


class Refused(Exception):
    """Graph answered a request with an error; `code` is its word for it, or nothing."""

    def __init__(self, status: int, codes: tuple[str, ...], retry_after: float | None) -> None:
        """Take the codes from the outermost to the innermost."""
        super().__init__(status, codes, retry_after)
        self.status, self.codes, self.retry_after = status, codes, retry_after

    @property
    def kind(self) -> Kind:
        """What it means; the innermost code that we know is the most exact one."""
        for code in reversed(self.codes):
            if (kind := _BY_CODE.get(code.lower())) is not None:
                return kind
        return _BY_STATUS.get(self.status, Kind.ODD)

    @property
    def code(self) -> str:
        """The outermost code."""
        return self.codes[0] if self.codes else ""

    @override
    def __str__(self) -> str:
        """Return the code and the status, which name nobody."""
        return f"{self.code or 'no reason given'} (HTTP {self.status})"


class Damaged(Exception):
    """An answer that is cut, garbled, or something else than what was asked for."""


def refusal(status: int, body: bytes, retry_after: float | None) -> Refused:
    """Read an error answer; whatever stands there, it is one."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    return Refused(status, tuple(_codes(told)), retry_after)


def _codes(told: object) -> Iterator[str]:
    inner = told.get("error") if isinstance(told, dict) else None
    for _ in range(_DEEPEST):
        if not isinstance(inner, dict):
            return
        code = inner.get("code")
        if isinstance(code, str) and _WORD.match(code):
            yield code
        inner = inner.get("innerError") or inner.get("innererror")


_DEEPEST: Final = 8

RUN_AGAIN = "run again: what was not read yet is read then"
_PERMISSION = (
    "grant the application Mail.Read (Mail.ReadWrite where mail is removed), with admin consent"
)
_SCOPE = (
    "where access is scoped to some mailboxes (RBAC for applications, access policies), "
    "take this one in; a change takes up to two hours"
)


def explained(place: object, doing: str, error: Refused) -> SourceError:
    """Return our error for a refusal of something that is no single message."""
    where = f"{place}: Graph refused while {doing}: {error}"
    if error.kind is Kind.LOST:
        return lost(place, str(error))
    if error.kind in _CLASSES:
        made, suggestions = _CLASSES[error.kind]
        return made(where, suggestions=suggestions(error))
    if error.kind is Kind.THROTTLED:
        return Throttled(
            f"{place}: Graph asks for a pause",
            suggestions=["run again later, with fewer runs of this application at a time"],
            retry_after=error.retry_after,
        )
    if error.kind is Kind.BUSY or error.status >= _SERVER_SIDE:
        return SourceUnavailable(where, suggestions=[RUN_AGAIN], retry_after=error.retry_after)
    return SourceError(where, suggestions=_odd_suggestions(error))


_CLIENT_SIDE: Final = 400
_SERVER_SIDE: Final = 500


def damaged(place: object, doing: str, error: Damaged) -> SourceUnavailable:
    """An answer that was no good, as often as it was asked for."""
    return SourceUnavailable(
        f"{place}: Graph's answer is damaged while {doing}: {error}",
        suggestions=["check what stands between here and Graph, such as a proxy", RUN_AGAIN],
    )


def lost(place: object, why: str) -> CheckpointInvalid:
    """A checkpoint that cannot be resumed from."""
    return CheckpointInvalid(
        f"{place}: the checkpoint means nothing any more: {why}",
        suggestions=["list the folder anew: what is in the archive is not stored twice"],
    )


def _odd_suggestions(error: Refused) -> list[str]:
    if error.status < _CLIENT_SIDE:
        return ["check the cloud, and what stands between here and Graph: no redirect is followed"]
    return ["report it, with the code: Graph has a new reason"]


def _folder_suggestions(error: Refused) -> list[str]:
    del error
    return ["list the folders again: this one was moved or removed"]


def _token_suggestions(error: Refused) -> list[str]:
    del error
    return [
        "check that the token is for Graph, in the cloud of this tenant",
        "check this machine's clock",
    ]


def _denied_suggestions(error: Refused) -> list[str]:
    if error.code.startswith("Authorization_"):
        return ["grant the application User.Read.All, with admin consent"]
    if error.code.lower() == _CATCH_ALL:
        return [_PERMISSION, "check that the user has a licence with a mailbox"]
    if error.codes:
        return [_PERMISSION, _SCOPE]
    return [_PERMISSION, _SCOPE, "check whether a proxy on the way answers in Graph's place"]


def _mailbox_suggestions(error: Refused) -> list[str]:
    if error.code.startswith("MailboxNot"):
        return [
            "give the user a licence with a mailbox, or leave the user out",
            "read the mailbox over EWS where it is still on premises",
        ]
    return ["set mailbox to the user's principal name, primary address or object id"]


_CLASSES: Final[dict[Kind, tuple[type[SourceError], Callable[[Refused], list[str]]]]] = {
    Kind.TOKEN: (AuthenticationFailed, _token_suggestions),
    Kind.DENIED: (AccessDenied, _denied_suggestions),
    Kind.NO_MAILBOX: (MailboxNotFound, _mailbox_suggestions),
    Kind.NO_FOLDER: (MailboxNotFound, _folder_suggestions),
    Kind.GONE: (MailboxNotFound, _folder_suggestions),
}
