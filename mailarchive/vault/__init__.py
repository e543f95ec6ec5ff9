"""The embedded archive: a folder that opens with tar and zstd and needs nobody.

`Vault` is the sink and the reader; `Vault.view` is the ordinary way to read, and
`Vault.auditor` the one that leaves a trace.
"""

from __future__ import annotations

from mailarchive.vault._audit import AuditedEntry, Auditor, AuditReading
from mailarchive.vault._record import PRIVATE_HEADERS
from mailarchive.vault._vault import Vault
from mailarchive.vault._verify import Finding, Level, VerifyReport
from mailarchive.vault._views import Filters, View, ViewedMessage

__all__ = [
    "PRIVATE_HEADERS",
    "AuditReading",
    "AuditedEntry",
    "Auditor",
    "Filters",
    "Finding",
    "Level",
    "Vault",
    "VerifyReport",
    "View",
    "ViewedMessage",
]
