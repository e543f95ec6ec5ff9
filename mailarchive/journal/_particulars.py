"""What else a report and its original say: read on demand, since few callers ask."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from mailarchive._model import Address, Role, Span
from mailarchive._rfc5322 import Block, Names, decode_text, mailboxes

if TYPE_CHECKING:
    from mailarchive.journal._report import JournalReport

_TOP: Final = Names("Message-ID", "Date", "X-MS-Exchange-Parent-Message-Id")
_ORIGINAL: Final = Names("Return-Path", "Sender", "From", "Message-ID", "To", "Cc")
_NUMERIC: Final = re.compile(
    r"\s*(\d{1,4})([./-])\s?(\d{1,2})\2\s?(\d{1,4})\.?[ T]+"
    r"(\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?(?:\.\d+)?\s*([AaPp]\.?[Mm]\.?)?Z?\s*\Z"
)
_MONTHS: Final = 12
_NOON: Final = 12


@frozen
class Particulars:
    """What the headers of a report and of its original say; claims like all headers.

    `return_path` is the envelope sender (P1) of the original, where a server noted it.
    `sender_in_original` and `message_id_in_original` complete what a report has only a
    placeholder for, under a name that says where they come from.
    """

    report_id: str | None = field(repr=False)
    parent_id: str | None = field(repr=False)
    report_date: str | None = field(repr=False)
    return_path: Address | None
    sender_in_original: Address | None
    message_id_in_original: str | None = field(repr=False)


def particulars(report: JournalReport) -> Particulars:
    """Return what the headers say, beside the envelope text."""
    top = Block(report.raw, _TOP)
    inner = _original(report)
    return Particulars(
        report_id=_text(top, b"message-id"),
        parent_id=_text(top, b"x-ms-exchange-parent-message-id"),
        report_date=_text(top, b"date"),
        return_path=_address(inner, b"return-path"),
        sender_in_original=_address(inner, b"sender") or _address(inner, b"from"),
        message_id_in_original=_text(inner, b"message-id"),
    )


def suggested_roles(report: JournalReport) -> tuple[Role | None, ...]:
    """Return, for each recipient line without a verified role, where the original has it.

    `To` or `Cc` of the original's header, which its sender wrote; `None` where the report
    knows better, or the address is in neither: a blind copy, or a list.
    """
    inner = _original(report)
    to, cc = _normal(inner, b"to"), _normal(inner, b"cc")
    return tuple(
        _suggested(line.address, to, cc) if line.role in {Role.RECIPIENT, Role.UNKNOWN} else None
        for line in report.recipients
    )


def _suggested(address: Address, to: set[str], cc: set[str]) -> Role | None:
    if address.normal in to:
        return Role.TO
    return Role.CC if address.normal in cc else None


def _original(report: JournalReport) -> Block:
    if not report.originals or report.opaque:
        return Block(b"", _ORIGINAL)
    original = report.originals[0]
    if isinstance(original, Span):
        return Block(report.raw, _ORIGINAL, original.start, original.end)
    return Block(original, _ORIGINAL)


def _text(block: Block, name: bytes) -> str | None:
    return decode_text(block.value(name))[0] or None


def _addresses(block: Block, name: bytes) -> list[Address]:
    return [
        Address.parse(spec)
        for value in block.values(name)
        for spec in mailboxes(decode_text(value)[0])
    ]


def _address(block: Block, name: bytes) -> Address | None:
    return next(iter(_addresses(block, name)), None)


def _normal(block: Block, name: bytes) -> set[str]:
    return {address.normal for address in _addresses(block, name)}


def moment(text: str) -> datetime | None:
    """Return a `SentUtc` or `ReceivedUtc` where only one reading is possible, else `None`.

    Their format is the server's culture: `5/6/2025` is May or June, and stays text.
    Dots stand between day, month and year in every culture that uses them.
    """
    match = _NUMERIC.match(text)
    if match is None:
        return None
    first, middle, last = int(match[1]), int(match[3]), int(match[4])
    if len(match[1]) == len("2025"):
        year, month, day = first, middle, last
    elif match[2] == "." or first > _MONTHS or first == middle:
        year, month, day = last, middle, first
    elif middle > _MONTHS:
        year, month, day = last, first, middle
    else:
        return None
    hour = int(match[5])
    if match[8]:
        hour = hour % _NOON + (_NOON if match[8][0] in "pP" else 0)
    try:
        return datetime(year, month, day, hour, int(match[6]), int(match[7] or 0), tzinfo=UTC)
    except ValueError:
        return None
