"""Is it a journal report, and of which family: by the top header alone.

A marker in a body or in an attached message is no evidence, and no header is proof: all
of them can be typed by anybody.  `trust` is another question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

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
TOP: Final = Names("Content-Type", *MARKERS)
_SIGNS: Final = Names("Message-ID", "Sender", "X-MS-Exchange-Generated-Message-Source")
_EXCHANGE: Final = b"microsoftexchange329e71ec88ae4615bbc36ab6ce41109e@"
GENERATOR: Final = b"@journal.report.generator"
_ENOUGH: Final = 2


@frozen
class Marks:
    """What the header says: the family by its marker, or `None`."""

    kind: Kind | None
    both: bool = False
    intercept: bool = False


_ONE_MARKER: Final = frozenset(
    {b"content-type", b"from", b"sender", b"message-id", b"x-ms-journal-report"}
)
"""What nearly every header has at most, of all the names that are looked for."""
EXCHANGE_2007: Final = Marks(Kind.EXCHANGE_2007)
_NONE: Final = Marks(None)


def top_header(raw: bytes, start: int, end: int, limits: Limits) -> Block:
    """Find the fields of a message that say whether it is a report."""
    return Block(raw, TOP, start, end, limit=limits.header_bytes)


def marks(block: Block) -> Marks:
    """Return the family that the markers name; presence counts, not the value.

    The fields of `block` must include `MARKERS`.
    """
    names = block.names()
    if names <= _ONE_MARKER:
        return EXCHANGE_2007 if b"x-ms-journal-report" in names else _NONE
    exchange2003 = any(
        value.lower() == b"exjournalreport" for name in _2003 for value in block.values(name)
    )
    if not names.isdisjoint(_2007):
        intercept = _INTERCEPT in names
        return Marks(Kind.EXCHANGE_2007, both=exchange2003, intercept=intercept)
    if exchange2003:
        return Marks(Kind.EXCHANGE_2003)
    if b"journal" in (value.lower() for value in block.values(_WORKMAIL)):
        return Marks(Kind.WORKMAIL)
    return _NONE


class Signs(NamedTuple):
    """Which of the three secondary signs a header has."""

    generator: bool
    sender: bool
    agent: bool

    @property
    def enough(self) -> bool:
        """Whether they make a report; the shape must fit as well."""
        return sum(self) >= _ENOUGH

    @property
    def resemble(self) -> bool:
        """Whether it may be a report, if not one that can be read: nobody else has such an id."""
        return self.generator or self.enough


def signs(block: Block) -> Signs:
    """Return the secondary signs in a header."""
    fields = Block(block.raw, _SIGNS, block.start, block.stop)
    return Signs(
        any(GENERATOR in value.lower() for value in fields.values(b"message-id")),
        any(_EXCHANGE in value.lower() for value in fields.values(b"sender")),
        any(
            b"journal agent" in value.lower()
            for value in fields.values(b"x-ms-exchange-generated-message-source")
        ),
    )


def has_signs(block: Block) -> bool:
    """Whether two of the three secondary signs are there; the shape must fit as well."""
    return signs(block).enough


def is_report(block: Block) -> bool:
    """Whether a header alone would be taken for a report's."""
    return marks(block).kind is not None or has_signs(block)


def may_have_signs(block: Block) -> bool:
    """Whether `Message-ID` or `Sender` is a sign, one of which is in any two of the three."""
    return any(GENERATOR in value.lower() for value in block.values(b"message-id")) or any(
        _EXCHANGE in value.lower() for value in block.values(b"sender")
    )
