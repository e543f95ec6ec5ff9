"""The values that flow through a run: frozen, comparable, hashable, picklable.

They know no clock, no file and no socket.  A repr of any of them shows no address, no
subject and no byte of a message, because reprs end up in logs.
"""

from __future__ import annotations

from mailarchive._model._address import (
    Address,
    AddressKind,
    normal_domain,
)
from mailarchive._model._digest import (
    Digest,
)
from mailarchive._model._entry import (
    ArchiveEntry,
    Copy,
    Digested,
    Provenance,
    entry_id,
)
from mailarchive._model._envelope import (
    Decoded,
    Delivery,
    Envelope,
    Origin,
    Original,
    Recipient,
    Redirection,
    Role,
    Span,
)
from mailarchive._model._outcome import (
    Archived,
    Checkpoint,
    Durability,
    Failed,
    Kept,
    Outcome,
    Quarantined,
    Receipt,
    Rejected,
    RemovalResult,
    Removed,
    Retry,
    SinkCapabilities,
    Skipped,
    Stored,
)
from mailarchive._model._owner import (
    Owner,
    Ownership,
    User,
    UserId,
)
from mailarchive._model._source import (
    CoverageGap,
    Fidelity,
    Folder,
    FolderRole,
    MessageRef,
    Page,
    SourceCapabilities,
    SourceMessage,
    Unavailable,
    Vanished,
)
from mailarchive._model._unicode import normalized, one_spelling

__all__ = [
    "Address",
    "AddressKind",
    "ArchiveEntry",
    "Archived",
    "Checkpoint",
    "Copy",
    "CoverageGap",
    "Decoded",
    "Delivery",
    "Digest",
    "Digested",
    "Durability",
    "Envelope",
    "Failed",
    "Fidelity",
    "Folder",
    "FolderRole",
    "Kept",
    "MessageRef",
    "Origin",
    "Original",
    "Outcome",
    "Owner",
    "Ownership",
    "Page",
    "Provenance",
    "Quarantined",
    "Receipt",
    "Recipient",
    "Redirection",
    "Rejected",
    "RemovalResult",
    "Removed",
    "Retry",
    "Role",
    "SinkCapabilities",
    "Skipped",
    "SourceCapabilities",
    "SourceMessage",
    "Span",
    "Stored",
    "Unavailable",
    "User",
    "UserId",
    "Vanished",
    "entry_id",
    "normal_domain",
    "normalized",
    "one_spelling",
]
