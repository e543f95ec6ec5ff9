"""Journal reports: who really received a message, and the message to the byte.

`decode` reads a report of any dialect into a `JournalReport`; it says what the report
says, and never that it is true.  `trust` weighs the evidence, as a separate step.
"""

from __future__ import annotations

from mailarchive._model import Span
from mailarchive.journal import trust
from mailarchive.journal._decode import decode, unwrap
from mailarchive.journal._forks import RecipientFacts, fold, group, union
from mailarchive.journal._legacy import LegacyAddress
from mailarchive.journal._particulars import Particulars, moment, particulars, suggested_roles
from mailarchive.journal._report import (
    Bounce,
    Defect,
    DefectCode,
    Disposition,
    EnvelopeText,
    ExtraLine,
    JournalReport,
    Kind,
    Limits,
    RecipientLine,
    Step,
)

__all__ = [
    "Bounce",
    "Defect",
    "DefectCode",
    "Disposition",
    "EnvelopeText",
    "ExtraLine",
    "JournalReport",
    "Kind",
    "LegacyAddress",
    "Limits",
    "Particulars",
    "RecipientFacts",
    "RecipientLine",
    "Span",
    "Step",
    "decode",
    "fold",
    "group",
    "moment",
    "particulars",
    "suggested_roles",
    "trust",
    "union",
    "unwrap",
]
