"""An entry as a manifest keeps it, and its form in JSON.

Reading what was written, in `_loading`, gives back an equal value.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import field, frozen

from mailarchive import _evidence, headers
from mailarchive._model import (
    Address,
    AddressKind,
    ArchiveEntry,
    Copy,
    Digest,
    Envelope,
    Folder,
    Owner,
    Ownership,
    Provenance,
    Recipient,
    Role,
    Span,
    UserId,
)
from mailarchive.vault import _knowledge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

Json: TypeAlias = "dict[str, Any]"

_ENCODER = json.JSONEncoder(
    ensure_ascii=True,
    check_circular=False,  # what is written here are trees
    sort_keys=True,
    separators=(",", ":"),
)

PRIVATE_HEADERS = (
    "Bcc",
    "Resent-Bcc",
    "X-MS-Exchange-Organization-BCC",
    "X-MS-Exchange-Organization-OriginalEnvelopeRecipients",
    "X-MS-Exchange-CrossPremises-BCC",
    "X-MS-Exchange-CrossPremises-OriginalEnvelopeRecipients",
)
"""Header fields that name blind-copied recipients, and so are for the sender alone.

RFC 5322, 3.6.3 and 3.6.6, lets a sending client keep `Bcc` in the sender's copy; Exchange
writes the others into the original that it journals, under the second prefix where a
message went between its own machines and Exchange Online.
"""


@frozen
class StoredOriginal:
    """An original that is no part of the raw bytes, and so is stored by itself."""

    digest: Digest
    size: int


@frozen(slots=False)
class Record:
    """Everything that is known about an entry except its bytes.

    `shown` says for each recipient in turn whether the message's own To or Cc shows the
    address to everybody.  `private` is how many bytes the header fields take that are for
    the sender alone; `opaque` says that there is somebody or something to hide and the
    message is none whose header can be cut.  `content_size` is that of the message people
    read, and `None` where the entry is a report without one; `content` is its digest where
    it is a part of the record, and so has no other.
    """

    id: Digest
    raw: Digest
    size: int
    content_size: int | None
    content: Digest | None
    originals: tuple[Span | StoredOriginal, ...] = field(repr=False)
    envelope: Envelope
    shown: tuple[Role | None, ...] = field(repr=False)
    private: int
    opaque: bool
    ownership: Ownership
    copy: Copy
    folder: Folder
    fork_key: Digest
    received_at: datetime | None
    flags: frozenset[str]
    provenance: Provenance

    @cached_property
    def summary(self) -> Json:
        """What a list of messages needs of this, as a tree for JSON; see `load_summary`."""
        return _dump_summary(self)

    @cached_property
    def line(self) -> bytes:
        """The line of a manifest that says all of this in clear."""
        return as_line(dump(self))

    def owner_named(self, user: UserId) -> Owner | None:
        """Return the user as an owner of this entry, or `None`."""
        return next((owner for owner in self.ownership.owners if owner.user == user), None)

    def is_sender(self, owner: Owner) -> bool:
        """Whether one of the addresses that made this owner is the sender's."""
        return not owner.addresses.isdisjoint(self.envelope.senders)


@frozen
class Summary:
    """What a list of messages shows of a record, before it is cut to one user."""

    envelope: Envelope
    shown: tuple[Role | None, ...] = field(repr=False)
    private: int
    opaque: bool
    is_report: bool
    folder: tuple[str, ...] = field(repr=False)
    received_at: datetime | None
    content_size: int | None


def readable(entry: ArchiveEntry) -> bytes | None:
    """Return the message that people read; `None` for a report that holds none.

    Such a report must not be read in its place: it names whom the message kept hidden.
    """
    if entry.provenance.is_report and not entry.originals:
        return None
    return entry.content


def record_of(entry: ArchiveEntry, stored: Mapping[int, StoredOriginal]) -> Record:
    """Return the record of an entry; `stored` are its originals that are no spans."""
    content = readable(entry)
    message = b"" if content is None else content
    public = headers.without(message, PRIVATE_HEADERS)
    shown = _shown(public, entry.envelope.recipients)
    private = len(message) - len(public)
    told = private > 0 or bool(_knowledge.hidden(entry.envelope, shown))
    return Record(
        id=entry.id,
        raw=entry.raw_digest,
        size=len(entry.raw),
        content_size=None if content is None else len(content),
        content=Digest.of(content) if content is not None and _is_part(entry) else None,
        originals=tuple(
            each if isinstance(each, Span) else stored[position]
            for position, each in enumerate(entry.originals)
        ),
        envelope=entry.envelope,
        shown=shown,
        private=private,
        opaque=told and not headers.is_plain(message),
        ownership=entry.ownership,
        copy=entry.copy,
        folder=entry.folder,
        fork_key=entry.fork_key,
        received_at=entry.received_at,
        flags=entry.flags,
        provenance=entry.provenance,
    )


def _is_part(entry: ArchiveEntry) -> bool:
    """Whether the message people read is a part of the record."""
    return bool(entry.originals) and isinstance(entry.originals[0], Span)


def _shown(message: bytes, recipients: tuple[Recipient, ...]) -> tuple[Role | None, ...]:
    to, cc = headers.listed(message, ("To", "Cc"))
    roles = {**dict.fromkeys(cc, Role.CC), **dict.fromkeys(to, Role.TO)}
    return tuple(roles.get(recipient.address) for recipient in recipients)


# -- to JSON ------------------------------------------------------------------------------


def as_line(tree: Json) -> bytes:
    """Return a tree as a line of a manifest."""
    return _ENCODER.encode(tree).encode("ascii") + b"\n"


def dump(record: Record) -> Json:
    """Return the record as a tree for JSON; what is empty is left out."""
    copy, folder = record.copy, record.folder
    tree: Json = {
        **record.summary,
        "kind": "entry",
        "id": record.id.hex,
        "raw": record.raw.hex,
        "size": record.size,
        "source": copy.source,
        "source_folder": copy.folder,
        "source_key": copy.key,
        "folder": folder.key,
        "fork": record.fork_key.hex,
        "fidelity": record.provenance.fidelity,
    }
    _add(
        tree,
        content=None if record.content is None else record.content.hex,
        originals=[_dump_original(each) for each in record.originals],
        message_id=record.envelope.message_id,
        owners=[dump_owner(owner) for owner in record.ownership.owners],
        unresolved=_dump_set(record.ownership.unresolved),
        revision=copy.revision,
        role=folder.role,
        flags=sorted(record.flags),
        defects=list(record.provenance.defects),
        delivery=_evidence.dump(record.provenance.delivery),
    )
    return tree


def _dump_summary(record: Record) -> Json:
    envelope = record.envelope
    tree: Json = {"origin": envelope.origin}
    _add(
        tree,
        content_size=record.content_size,
        sender=_dump_optional(envelope.sender),
        on_behalf_of=_dump_optional(envelope.on_behalf_of),
        recipients=[
            _dump_recipient(recipient, seen)
            for recipient, seen in zip(envelope.recipients, record.shown, strict=True)
        ],
        subject=envelope.subject,
        date=_dump_time(envelope.date),
        private=record.private or None,
        opaque=record.opaque,
        path=list(record.folder.path),
        received_at=_dump_time(record.received_at),
        is_report=record.provenance.is_report,
    )
    return tree


def _add(tree: Json, **values: Any) -> None:
    """Add what is not empty; zero and the empty text say something."""
    for name, value in values.items():
        if value or value == "" or (value == 0 and value is not False):
            tree[name] = value


_SMTP = AddressKind.SMTP


def _dump_address(address: Address) -> Any:
    return address.spec if address.kind is _SMTP else {address.kind: address.spec}


def _dump_optional(address: Address | None) -> Any:
    return None if address is None else _dump_address(address)


def _dump_set(addresses: Iterable[Address]) -> list[Any]:
    ordered = list(addresses)
    if len(ordered) > 1:
        ordered.sort(key=lambda each: (each.normal, each.kind, each.spec))
    return [_dump_address(each) for each in ordered]


def _dump_recipient(recipient: Recipient, seen: Role | None) -> Json:
    tree: Json = {"address": _dump_address(recipient.address), "role": recipient.role}
    if recipient.history:
        tree["history"] = [[each.word, _dump_address(each.address)] for each in recipient.history]
    if seen is not None:
        tree["shown"] = seen
    return tree


def dump_owner(owner: Owner) -> Json:
    """Return an owner as a tree for JSON."""
    return {"user": owner.user, "addresses": _dump_set(owner.addresses)}


def _dump_time(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _dump_original(original: Span | StoredOriginal) -> Json:
    if isinstance(original, Span):
        return {"start": original.start, "end": original.end}
    return {"raw": original.digest.hex, "size": original.size}
