"""Is it a journal report, and of which family: by the top header alone.

A marker in a body or in an attached message is no evidence, and no header is proof: all
of them can be typed by anybody.  `trust` is another question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from mailarchive._rfc5322 import Block, Names
from mailarchive.journal._report import Kind

if TYPE_CHECKING:
    from mailarchive.journal._report import Limits

_2007: Final = (
    b"x-ms-journal-report",
    b"x-ms-exchange-organization-journal-report",
    b"x-ms-gcc-journal-report",
)
_2003: Final = (b"content-identifer", b"content-identifier")
"""Exchange misspelled it, and imitators of it are divided."""
_WORKMAIL: Final = b"x-wm-journal-report"
_INTERCEPT: Final = b"x-ms-gcc-journal-report"

MARKERS: Final = tuple(name.decode() for name in (*_2007, *_2003, _WORKMAIL))
SIGNS: Final = ("Message-ID", "Sender", "X-MS-Exchange-Generated-Message-Source")
_TOP: Final = Names(
    "Content-Type", *MARKERS, *SIGNS,
    "Subject", "From", "Return-Path", "Auto-Submitted", "X-Failed-Recipients",
)  # fmt: skip
_EXCHANGE: Final = b"microsoftexchange329e71ec88ae4615bbc36ab6ce41109e@"
_GENERATOR: Final = b"@journal.report.generator"
_ENOUGH: Final = 2


@frozen
class Marks:
    """What the header says: the family by its marker, or `None`."""

    kind: Kind | None
    both: bool = False
    intercept: bool = False


_PLAIN: Final = Marks(Kind.EXCHANGE_2007)
_NONE: Final = Marks(None)


def top_header(raw: bytes, start: int, end: int, limits: Limits) -> Block:
    """Find the fields of a message that say whether it is a report."""
    return Block(raw, _TOP, start, end, limit=limits.header_bytes)


def marks(block: Block) -> Marks:
    """Return the family that the markers name; presence counts, not the value."""
    exchange2003 = any(
        value.lower() == b"exjournalreport" for name in _2003 for value in block.values(name)
    )
    if any(name in block for name in _2007):
        if not exchange2003 and _INTERCEPT not in block:
            return _PLAIN
        return Marks(Kind.EXCHANGE_2007, both=exchange2003, intercept=_INTERCEPT in block)
    if exchange2003:
        return Marks(Kind.EXCHANGE_2003)
    if b"journal" in (value.lower() for value in block.values(_WORKMAIL)):
        return Marks(Kind.WORKMAIL)
    return _NONE


def has_signs(block: Block) -> bool:
    """Whether two of the three secondary signs are there; the shape must fit as well."""
    signs = (
        any(_GENERATOR in value.lower() for value in block.values(b"message-id")),
        any(_EXCHANGE in value.lower() for value in block.values(b"sender")),
        any(
            b"journal agent" in value.lower()
            for value in block.values(b"x-ms-exchange-generated-message-source")
        ),
    )
    return sum(signs) >= _ENOUGH


def is_report(block: Block) -> bool:
    """Whether a header alone would be taken for a report's."""
    return marks(block).kind is not None or has_signs(block)
