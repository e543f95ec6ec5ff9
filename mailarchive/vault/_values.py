"""Whether an entry is made of what its types say.  Pure.

Whoever wrote a source or a decoder need not have run a type checker.  What a manifest would
say of such an entry could not be read again, so it must not be written.
"""

from __future__ import annotations

from datetime import datetime
from itertools import chain, repeat
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
    from collections.abc import Iterable, Iterator

    from mailarchive._model import ArchiveEntry, Delivery, Envelope

_Typed: TypeAlias = "tuple[type | tuple[type, ...], Iterable[object]]"
"""Values, and what each of them must be."""

_TEXT, _TIME, _ADDRESS = (str, NoneType), (datetime, NoneType), (Address, NoneType)


def is_sound(entry: ArchiveEntry) -> bool:
    """Whether every value of the entry is of its type."""
    try:
        return all(all(map(isinstance, values, repeat(kind))) for kind, values in _typed(entry))
    except (AttributeError, TypeError):  # what holds the values is none of ours
        return False


def _typed(entry: ArchiveEntry) -> Iterator[_Typed]:
    copy, folder, provenance = entry.copy, entry.folder, entry.provenance
    texts = (copy.source, copy.folder, copy.key, folder.key)
    yield str, (*texts, *folder.path, *entry.flags, *provenance.defects)
    yield _TEXT, (copy.revision,)
    yield bytes, (entry.raw,)
    yield Digest, (entry.id, entry.raw_digest, entry.fork_key)
    yield _TIME, (entry.received_at,)
    yield Fidelity, (provenance.fidelity,)
    yield bool, (provenance.is_report,)
    if folder.role is not None:
        yield FolderRole, (folder.role,)
    for original in entry.originals:
        if isinstance(original, Span):
            yield int, (original.start, original.end)
        else:
            yield bytes, (original,)
    yield Address, entry.ownership.unresolved
    yield Address, chain.from_iterable(owner.addresses for owner in entry.ownership.owners)
    yield from _of_envelope(entry.envelope)
    if provenance.delivery is not None:
        yield from _of_delivery(provenance.delivery)


def _of_envelope(envelope: Envelope) -> Iterator[_Typed]:
    recipients = envelope.recipients
    yield _TEXT, (envelope.subject, envelope.message_id)
    yield _ADDRESS, (envelope.sender, envelope.on_behalf_of)
    yield _TIME, (envelope.date,)
    yield Origin, (envelope.origin,)
    yield Recipient, recipients
    yield Address, [each.address for each in recipients]
    yield Role, [each.role for each in recipients]
    if history := [each for recipient in recipients for each in recipient.history]:
        yield str, [each.word for each in history]
        yield Address, [each.address for each in history]


def _of_delivery(delivery: Delivery) -> Iterator[_Typed]:
    yield str, (delivery.client, delivery.greeting)
    yield _TEXT, (delivery.protection, delivery.login)
    yield from _of_envelope(delivery.envelope)
