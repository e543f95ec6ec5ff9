"""How a run asks somebody's strategy: only our errors come out, and the answer is looked at.

A strategy is any object of the right shape, so nothing of ours stands around it as it does
around a `Source` or a `Sink`.  These functions are that: one for each question of a run.
A foreign error gets the type of the place it came from, and none of its text, which may
hold an address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailarchive._guarding import kind_of
from mailarchive._model import (
    Address,
    Checkpoint,
    Decoded,
    Digest,
    Envelope,
    Receipt,
    Span,
    UserId,
)
from mailarchive.errors import (
    ConfigurationError,
    DecodeError,
    DirectoryError,
    MailArchiveError,
    StateError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from mailarchive._model import Original, SourceMessage
    from mailarchive.abc import CheckpointStore, Decoder, Quarantine, UserMap
    from mailarchive.attribution import Attribution, CreateUsers

# A `try` costs nothing where nothing is raised; a context manager would cost a microsecond,
# and some of these are asked for each message.


class DecoderBroke(DecodeError):
    """The decoder itself broke at a message: the fault may be its own and not the message's."""


def decode(decoder: Decoder, raw: bytes) -> Decoded:
    """Return what the decoder says; raises `DecodeError`, and `DecoderBroke` where it breaks.

    One that breaks poisons one message, not the run.
    """
    try:
        decoded = decoder(raw)
        sound = _is_sound(decoded, len(raw))
    except MailArchiveError:
        raise
    except Exception as error:
        raise DecoderBroke(f"the decoder broke: {kind_of(error)}") from error
    if not sound:
        raise DecoderBroke("the decoder broke: what it returned is no decoded message")
    return decoded


def _is_sound(decoded: object, size: int) -> bool:
    if not isinstance(decoded, Decoded):
        return False
    envelope: object = decoded.envelope
    return isinstance(envelope, Envelope) and all(
        _is_inside(each, size) for each in decoded.originals
    )


def _is_inside(original: Original, size: int) -> bool:
    if isinstance(original, Span):
        return 0 <= original.start <= original.end <= size
    return isinstance(original, bytes)


def select(selection: Callable[[SourceMessage], str | None], message: SourceMessage) -> str | None:
    """Return why the message is left out, if it is; raises `ConfigurationError`."""
    try:
        why = selection(message)
    except MailArchiveError:
        raise
    except Exception as error:
        raise _defect(ConfigurationError, "the selection", kind_of(error)) from error
    if why is not None and not isinstance(why, str):
        raise _defect(ConfigurationError, "the selection", "an answer that is no reason")
    return why


def now(clock: Callable[[], datetime]) -> datetime:
    """Return the time, which knows its zone; raises `ConfigurationError`."""
    try:
        moment = clock()
        aware = moment.utcoffset() is not None
    except MailArchiveError:
        raise
    except Exception as error:
        raise _defect(ConfigurationError, "the clock", kind_of(error)) from error
    if not aware:
        raise ConfigurationError(
            "the clock gives a time without a zone",
            suggestions=["give a clock that says the zone, such as datetime.now(UTC)"],
        )
    return moment


def chosen(
    attribution: Attribution, envelope: Envelope, mailbox: Address | None
) -> frozenset[Address]:
    """Return the addresses that make an owner; raises `DirectoryError`."""
    try:
        addresses = frozenset(attribution(envelope, mailbox))
        sound = all(isinstance(each, Address) for each in addresses)
    except MailArchiveError:
        raise
    except Exception as error:
        raise _defect(DirectoryError, "the attribution", kind_of(error)) from error
    if not sound:
        raise _defect(DirectoryError, "the attribution", "something that is no address")
    return addresses


def resolve(users: UserMap, addresses: Collection[Address]) -> Mapping[Address, frozenset[UserId]]:
    """Return the users of each address that is known; raises `DirectoryError`."""
    try:
        known = {address: _users(each) for address, each in users.resolve(addresses).items()}
        sound = all(isinstance(each, Address) for each in known)
    except MailArchiveError:
        raise
    except Exception as error:
        raise _defect(DirectoryError, "the user map", kind_of(error)) from error
    if not sound:
        raise _defect(DirectoryError, "the user map", "an answer for what is no Address")
    return known


def _users(users: Collection[UserId]) -> frozenset[UserId]:
    """A text is no set of users: its letters would become owners."""
    if isinstance(users, str) or not all(isinstance(each, str) for each in users):
        msg = "no set of users"
        raise TypeError(msg)
    return frozenset(users)


def create(unknown: CreateUsers, address: Address) -> UserId:
    """Return the new user of an address; raises `DirectoryError`."""
    try:
        user = unknown.create(address)
    except MailArchiveError:
        raise
    except Exception as error:
        raise _defect(DirectoryError, "the creation of a user", kind_of(error)) from error
    if not isinstance(user, str):
        raise _defect(DirectoryError, "the creation of a user", "something that is no user id")
    return user


def load(state: CheckpointStore, source: str, folder: str) -> Checkpoint | None:
    """Return the checkpoint of a folder, if there is one; raises `StateError`."""
    try:
        found = state.load(source, folder)
    except MailArchiveError:
        raise
    except OSError as error:
        raise _trouble("the checkpoint store", "loading", error) from error
    except Exception as error:
        raise _defect(StateError, "the checkpoint store", kind_of(error)) from error
    if found is None:
        return None
    if not isinstance(found, Checkpoint):
        raise _defect(StateError, "the checkpoint store", "something that is no checkpoint")
    if (found.source, found.folder) != (source, folder):
        # Its token would pass over mail that nobody has read.
        raise _defect(StateError, "the checkpoint store", "the checkpoint of another folder")
    return found


def save(state: CheckpointStore, checkpoint: Checkpoint) -> None:
    """Save the checkpoint; raises `StateError`."""
    try:
        state.save(checkpoint)
    except MailArchiveError:
        raise
    except OSError as error:
        raise _trouble("the checkpoint store", "saving", error) from error
    except Exception as error:
        raise _defect(StateError, "the checkpoint store", kind_of(error)) from error


def hold(quarantine: Quarantine, message: SourceMessage, reason: str) -> Receipt:
    """Quarantine the message and return the receipt; raises `StateError`."""
    try:
        receipt = quarantine.hold(message, reason)
    except MailArchiveError:
        raise
    except OSError as error:
        raise _trouble("the quarantine", "holding a message", error) from error
    except Exception as error:
        raise _defect(StateError, "the quarantine", kind_of(error)) from error
    if not isinstance(receipt, Receipt):
        raise _defect(StateError, "the quarantine", "something that is no receipt")
    if receipt.stored_digest != Digest.of(message.raw):
        raise _defect(StateError, "the quarantine", "the receipt of other bytes")
    return receipt


def _defect(kind: type[MailArchiveError], who: str, what: str) -> MailArchiveError:
    return kind(f"{who} broke: {what}", suggestions=[f"this is a defect of {who}: report it"])


def _trouble(who: str, doing: str, error: OSError) -> StateError:
    return StateError(
        f"{who}: {kind_of(error)} while {doing}",
        suggestions=["check that its place is there, writable, and has room, then run again"],
    )
