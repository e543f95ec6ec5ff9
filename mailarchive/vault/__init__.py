"""The embedded archive: a folder that opens with tar and zstd and needs nobody.

`Vault` is the sink and the reader; `Vault.view` is the ordinary way to read, and
`Vault.auditor` the one that leaves a trace.
"""

from __future__ import annotations

from mailarchive.vault._audit import AuditedEntry, Auditor, AuditReading
from mailarchive.vault._findings import Finding, Level, VerifyReport
from mailarchive.vault._keeper import Candidate, Erasure, Keeper, Status
from mailarchive.vault._keeping import Hold, Retention, Selection
from mailarchive.vault._record import PRIVATE_HEADERS
from mailarchive.vault._repair import PackRepair, RepairPlan, Unrepairable
from mailarchive.vault._repair_checkpoints import CheckpointRepair
from mailarchive.vault._seal import Anchored, Seal
from mailarchive.vault._vault import Vault
from mailarchive.vault._views import Filters, View, ViewedMessage
from mailarchive.vault.keys import FileKeys, KeyProvider
from mailarchive.vault.proofs import ConsistencyProof, InclusionProof, LogCheckpoint, VerifierKey
from mailarchive.vault.signing import FileSigner, Signer

__all__ = [
    "PRIVATE_HEADERS",
    "Anchored",
    "AuditReading",
    "AuditedEntry",
    "Auditor",
    "Candidate",
    "CheckpointRepair",
    "ConsistencyProof",
    "Erasure",
    "FileKeys",
    "FileSigner",
    "Filters",
    "Finding",
    "Hold",
    "InclusionProof",
    "Keeper",
    "KeyProvider",
    "Level",
    "LogCheckpoint",
    "PackRepair",
    "RepairPlan",
    "Retention",
    "Seal",
    "Selection",
    "Signer",
    "Status",
    "Unrepairable",
    "Vault",
    "VerifierKey",
    "VerifyReport",
    "View",
    "ViewedMessage",
]
