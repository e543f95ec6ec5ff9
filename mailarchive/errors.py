"""Everything that leaves a public method of this library is one of these.

The tree says *where* it happened::

    MailArchiveError
    ├── SourceError                 the place that mail comes from
    │   ├── SourceUnavailable       (Transient) not reachable, or broke off
    │   ├── Throttled               (Transient) asked us to wait
    │   ├── AuthenticationFailed    the login was refused
    │   ├── AccessDenied            logged in, but not allowed to do this
    │   ├── MailboxNotFound         no such mailbox or folder
    │   └── CheckpointInvalid       the token to resume from means nothing any more
    ├── DecodeError                 one message; the run goes on
    │   ├── NotAJournalReport       ordinary mail
    │   ├── MalformedReport         a report whose bytes are kept and nothing else claimed
    │   └── LimitExceeded           larger than a documented limit
    ├── DirectoryError              the list of users, or the map from addresses to users
    ├── SinkError                   the archive that mail goes to
    │   ├── SinkUnavailable         (Transient) not reachable
    │   ├── SinkFull                no room
    │   ├── SinkNotWritable         not allowed to write there
    │   ├── ReceiptMismatch         the sink stored, or says it stored, something else
    │   ├── SinkCorrupt             what is stored there is damaged
    │   │   └── HistoryChanged      it is no continuation of what was signed
    │   ├── KeyUnavailable          it is encrypted, and its keys are not at hand, or others
    │   ├── NotProven               a proof does not show what it should
    │   ├── UnderHold               a legal hold forbids to erase it
    │   ├── UnderRetention          it must be kept for longer
    │   └── Erased                  it was erased, and nobody has it any more
    ├── StateError                  checkpoints, locks and the quarantine
    │   └── AlreadyRunning          another run with the same vault or state holds the lock
    ├── ConfigurationError          a setting is missing, unknown, broken or contradicts another
    └── Unsupported                 this part cannot do that, and says so before it starts
        └── Withheld                this user may not read it, and somebody else may

and `Transient` says *what to do*: only an error of that class is tried again.
A `DecodeError` concerns one message, which then goes to the quarantine; everything
else stops the run.  Decide by class, never by text.

No message, suggestion or repr in this tree carries an address, a subject, a body or a
secret: they end up in logs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "AccessDenied",
    "AlreadyRunning",
    "AuthenticationFailed",
    "CheckpointInvalid",
    "ConfigurationError",
    "DecodeError",
    "DirectoryError",
    "Erased",
    "HistoryChanged",
    "KeyUnavailable",
    "LimitExceeded",
    "MailArchiveError",
    "MailboxNotFound",
    "MalformedReport",
    "NotAJournalReport",
    "NotProven",
    "ReceiptMismatch",
    "SinkCorrupt",
    "SinkError",
    "SinkFull",
    "SinkNotWritable",
    "SinkUnavailable",
    "SourceError",
    "SourceUnavailable",
    "StateError",
    "Throttled",
    "Transient",
    "UnderHold",
    "UnderRetention",
    "Unsupported",
    "Withheld",
]


class MailArchiveError(Exception):
    """The root of every error that this library raises.

    `code` is a stable word for programs; `suggestions` are sentences for a person, each
    naming a thing to do or a setting to change.  Instances can be pickled.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, suggestions: Iterable[str] = ()) -> None:
        """Take the sentence that says what happened and where."""
        super().__init__(message)
        self.suggestions: tuple[str, ...] = tuple(suggestions)


class Transient(MailArchiveError):
    """The same call may succeed later; nothing else is ever tried again.

    `retry_after` is in seconds and comes from the other side; `None` leaves the wait to
    the retry policy.
    """

    retry_after: float | None = None

    def __init__(
        self,
        message: str,
        *,
        suggestions: Iterable[str] = (),
        retry_after: float | None = None,
    ) -> None:
        """Take the sentence, and how many seconds the other side asked us to wait."""
        super().__init__(message, suggestions=suggestions)
        self.retry_after = retry_after


class SourceError(MailArchiveError):
    """The place that mail comes from did not do what was asked."""

    code = "source"


class SourceUnavailable(Transient, SourceError):
    """The source cannot be reached, or broke off in the middle."""

    code = "source-unavailable"


class Throttled(Transient, SourceError):
    """The source asked for a pause."""

    code = "throttled"


class AuthenticationFailed(SourceError):
    """The source refused the login; trying again could lock the account."""

    code = "authentication-failed"


class AccessDenied(SourceError):
    """The login is right, but may not do this."""

    code = "access-denied"


class MailboxNotFound(SourceError):
    """The source knows no mailbox, or no folder, of that name."""

    code = "mailbox-not-found"


class CheckpointInvalid(SourceError):
    """The source no longer understands the token of a checkpoint.

    A changed UIDVALIDITY, a lost sync state or delta link: the folder is listed anew.
    """

    code = "checkpoint-invalid"


class DecodeError(MailArchiveError):
    """One message could not be read as what it claims to be; its bytes are kept."""

    code = "undecodable"


class NotAJournalReport(DecodeError):
    """The message is ordinary mail.

    `resembles` says that it has signs of a report and cannot be read as one: if that is what
    it is, it names whom the message in it kept hidden.
    """

    code = "not-a-journal-report"
    resembles: bool = False


class MalformedReport(DecodeError):
    """The message is a journal report that must be kept whole and not trusted.

    `partial` is whatever could be read all the same, for an operator to look at.
    """

    code = "malformed-report"
    partial: object = None


class LimitExceeded(DecodeError):
    """The message is larger, deeper or longer than a documented limit."""

    code = "limit-exceeded"


class DirectoryError(MailArchiveError):
    """The list of users could not be read, or the user map broke."""

    code = "directory"


class SinkError(MailArchiveError):
    """The archive did not do what was asked."""

    code = "sink"


class SinkUnavailable(Transient, SinkError):
    """The archive cannot be reached now."""

    code = "sink-unavailable"


class SinkFull(SinkError):
    """The archive has no room left."""

    code = "sink-full"


class SinkNotWritable(SinkError):
    """The archive exists, or could, but this process may not write there."""

    code = "sink-not-writable"


class ReceiptMismatch(SinkError):
    """A receipt does not belong to what was put, so the archive cannot be trusted."""

    code = "receipt-mismatch"


class SinkCorrupt(SinkError):
    """What the archive holds is not what it once acknowledged."""

    code = "sink-corrupt"


class HistoryChanged(SinkCorrupt):
    """The archive is no continuation of what was once signed: taken back, or altered."""

    code = "history-changed"


class KeyUnavailable(SinkError):
    """The archive is encrypted, and its keys are missing, lost, or those of something else."""

    code = "key-unavailable"


class NotProven(SinkError):
    """A proof does not show what it should: of another message, log, key or history."""

    code = "not-proven"


class UnderHold(SinkError):
    """A legal hold covers the message: it may not be erased before the hold is released."""

    code = "under-hold"


class UnderRetention(SinkError):
    """The message must be kept until a time that has not come."""

    code = "under-retention"


class Erased(SinkError):
    """The message was erased from the archive on request; that it was there is on record."""

    code = "erased"


class StateError(MailArchiveError):
    """A checkpoint, a lock or the quarantine could not be read or written."""

    code = "state"


class AlreadyRunning(StateError):
    """Another run of the same job is under way."""

    code = "already-running"


class ConfigurationError(MailArchiveError):
    """A setting is missing, unknown, broken, or contradicts another.

    So is a function that was given for one, such as a clock, and breaks.
    """

    code = "configuration"


class Unsupported(MailArchiveError):
    """This combination cannot work; said before anything is touched."""

    code = "unsupported"


class Withheld(Unsupported):
    """This user may not read it, since it could name others who were blind-copied."""

    code = "withheld"
