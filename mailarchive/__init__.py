"""Archive mail, and prove that nothing was lost, altered or shown to the wrong person.

Compose a `Source`, a `Sink` (the `Vault` is the one that ships), a `UserMap` and a
`Decoder` into an `Archiver`, and run it.  This page of names is the whole public face of
the core; adapters are imported from their own rooms, such as `mailarchive.sources.imap`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailarchive._model import (
    Address,
    AddressKind,
    Archived,
    ArchiveEntry,
    Checkpoint,
    Copy,
    CoverageGap,
    Decoded,
    Delivery,
    Digest,
    Digested,
    Durability,
    Envelope,
    Failed,
    Fidelity,
    Folder,
    FolderRole,
    Kept,
    MessageRef,
    Origin,
    Original,
    Outcome,
    Owner,
    Ownership,
    Page,
    Provenance,
    Quarantined,
    Receipt,
    Recipient,
    Redirection,
    Rejected,
    RemovalResult,
    Removed,
    Retry,
    Role,
    SinkCapabilities,
    Skipped,
    SourceCapabilities,
    SourceMessage,
    Span,
    Stored,
    Unavailable,
    User,
    UserId,
    Vanished,
    entry_id,
)
from mailarchive.abc import (
    Arrival,
    CheckpointStore,
    Decoder,
    Directory,
    Intake,
    KeyProvider,
    Observer,
    Quarantine,
    Sink,
    Source,
    UserMap,
)

if TYPE_CHECKING:
    from mailarchive.archiver import Archiver, Batching, Removal, RetryPlan, RunReport
    from mailarchive.receiver import Received, Receiver
    from mailarchive.vault import Vault

_LATER = {
    "Archiver": "mailarchive.archiver",
    "Batching": "mailarchive.archiver",
    "Removal": "mailarchive.archiver",
    "RetryPlan": "mailarchive.archiver",
    "RunReport": "mailarchive.archiver",
    "Received": "mailarchive.receiver",
    "Receiver": "mailarchive.receiver",
    "Vault": "mailarchive.vault",
}
"""What is imported when it is first asked for, so that values alone load fast."""


def __getattr__(name: str) -> object:
    """Import a name of the face that is not there yet."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_LATER[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the whole face, loaded or not."""
    return sorted(__all__)


__all__ = [
    "Address",
    "AddressKind",
    "ArchiveEntry",
    "Archived",
    "Archiver",
    "Arrival",
    "Batching",
    "Checkpoint",
    "CheckpointStore",
    "Copy",
    "CoverageGap",
    "Decoded",
    "Decoder",
    "Delivery",
    "Digest",
    "Digested",
    "Directory",
    "Durability",
    "Envelope",
    "Failed",
    "Fidelity",
    "Folder",
    "FolderRole",
    "Intake",
    "Kept",
    "KeyProvider",
    "MessageRef",
    "Observer",
    "Origin",
    "Original",
    "Outcome",
    "Owner",
    "Ownership",
    "Page",
    "Provenance",
    "Quarantine",
    "Quarantined",
    "Receipt",
    "Received",
    "Receiver",
    "Recipient",
    "Redirection",
    "Rejected",
    "Removal",
    "RemovalResult",
    "Removed",
    "Retry",
    "RetryPlan",
    "Role",
    "RunReport",
    "Sink",
    "SinkCapabilities",
    "Skipped",
    "Source",
    "SourceCapabilities",
    "SourceMessage",
    "Span",
    "Stored",
    "Unavailable",
    "User",
    "UserId",
    "UserMap",
    "Vanished",
    "Vault",
    "entry_id",
]
