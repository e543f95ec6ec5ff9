"""Whether an entry is made of what its types say.  Pure.

Whoever wrote a source or a decoder need not have run a type checker.  What a manifest would
say of such an entry could not be read again, so it must not be written.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from itertools import repeat
from operator import attrgetter
from types import NoneType
from typing import TYPE_CHECKING, TypeAlias

from mailarchive._model import (
    Address,
    Digest,
    Fidelity,
    FolderRole,
    Origin,
    Recipient,
    Role,
    Span,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mailarchive._model import ArchiveEntry, Delivery, Envelope, Original, Owner

_Kind: TypeAlias = "type | tuple[type, ...]"

_TEXT, _TIME, _ADDRESS = (str, NoneType), (datetime, NoneType), (Address, NoneType)


def is_sound(entry: ArchiveEntry) -> bool:
    """Whether every value of the entry is of its type."""
    try:
        return _is_entry(entry)
    except (AttributeError, TypeError):  # what holds the values is none of ours
        return False


def _is_entry(entry: ArchiveEntry) -> bool:
    delivery = entry.provenance.delivery
    return (
        _OF_ENTRY(entry)
        and _are(str, entry.folder.path)
        and _are(str, entry.flags)
        and _are(str, entry.provenance.defects)
        and all(map(_is_original, entry.originals))
        and _are(Address, entry.ownership.unresolved)
        and all(map(_is_owner, entry.ownership.owners))
        and _is_envelope(entry.envelope)
        and (delivery is None or _is_delivery(delivery))
    )


def _is_original(original: Original) -> bool:
    if isinstance(original, Span):
        return _are(int, (original.start, original.end))
    return isinstance(original, bytes)


def _is_owner(owner: Owner) -> bool:
    return _are(Address, owner.addresses)


def _is_envelope(envelope: Envelope) -> bool:
    return _OF_ENVELOPE(envelope) and all(map(_is_recipient, envelope.recipients))


def _is_recipient(recipient: object) -> bool:
    return (
        isinstance(recipient, Recipient)
        and _OF_RECIPIENT(recipient)
        and all(map(_OF_REDIRECTION, recipient.history))
    )


def _is_delivery(delivery: Delivery) -> bool:
    return _OF_DELIVERY(delivery) and _is_envelope(delivery.envelope)


def _are(kind: type, values: Iterable[object]) -> bool:
    return all(map(isinstance, values, repeat(kind)))


def _each(kinds: dict[str, _Kind]) -> Callable[[object], bool]:
    """Return what says whether these attributes of a value are of these types.

    Most values have the same types in the same places: the answer is remembered by them.
    """
    read, wanted = attrgetter(*kinds), tuple(kinds.values())

    @lru_cache(maxsize=256)
    def fit(types: tuple[type, ...]) -> bool:
        return all(map(issubclass, types, wanted))

    def are(value: object) -> bool:
        return fit(tuple(map(type, read(value))))

    return are


_OF_ENTRY = _each(
    {
        "raw": bytes,
        "id": Digest,
        "raw_digest": Digest,
        "fork_key": Digest,
        "received_at": _TIME,
        "copy.source": str,
        "copy.folder": str,
        "copy.key": str,
        "copy.revision": _TEXT,
        "folder.key": str,
        "folder.role": (FolderRole, NoneType),
        "provenance.fidelity": Fidelity,
        "provenance.is_report": bool,
    }
)
_OF_ENVELOPE = _each(
    {
        "subject": _TEXT,
        "message_id": _TEXT,
        "sender": _ADDRESS,
        "on_behalf_of": _ADDRESS,
        "date": _TIME,
        "origin": Origin,
    }
)
_OF_RECIPIENT = _each({"address": Address, "role": Role})
_OF_REDIRECTION = _each({"word": str, "address": Address})
_OF_DELIVERY = _each({"client": str, "greeting": str, "protection": _TEXT, "login": _TEXT})
