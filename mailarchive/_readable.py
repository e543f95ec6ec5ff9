"""The text of a message, as a person would read it: for searching, never for the record.

Total and linear: any bytes give some text, and what is beyond a bound is left out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailarchive._rfc5322 import Block, Names, decode_header, decode_text
from mailarchive.errors import LimitExceeded
from mailarchive.journal import Limits
from mailarchive.journal._html import to_text
from mailarchive.journal._mime import Part, boundary, cut

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["text_of"]

_LIMITS: Final = Limits(header_bytes=1 << 20, parts=1_000)
_DEPTH: Final = 10
"""Levels of parts and of messages within messages; deeper ones are left out."""
_PART_BYTES: Final = 4 << 20
"""The largest text part that is read; a longer one is data."""
_CHARACTERS: Final = 1 << 20
"""How much text is taken from one message."""
_SUBJECT: Final = Names("Subject")
_MAILS: Final = frozenset({b"message/rfc822", b"message/global"})
_DATA_URL: Final = re.compile(r"data:[a-z]+/[^\s\"'>]{100,}", re.IGNORECASE)


def text_of(content: bytes) -> str:
    """Return the readable text of a message: its bodies, and the names of what is attached.

    Of a message within it the subject is read too.  At most about a million characters,
    ten levels of parts, and text parts of at most 4 MiB; attached files are not opened.
    """
    pieces: list[str] = []
    left = _CHARACTERS
    for piece in _message(content, 0, len(content), 0):
        pieces.append(piece[:left])
        left -= len(piece)
        if left <= 0:
            break
    return "\n".join(pieces)


def _message(raw: bytes, start: int, end: int, depth: int) -> Iterator[str]:
    try:
        whole = Part(raw, start, end, _LIMITS.header_bytes, closed=False)
    except LimitExceeded:
        return
    yield from _part(whole, depth)


def _part(part: Part, depth: int) -> Iterator[str]:
    if part.kind.startswith(b"multipart/"):
        yield from _parts(part, depth)
    elif part.kind in _MAILS and not part.header.encoding:
        yield from _inner(part, depth)
    elif part.kind.startswith(b"text/"):
        yield from _text(part)
    if part.filename:
        yield part.filename


def _parts(part: Part, depth: int) -> Iterator[str]:
    delimiter = boundary(part.header.content_type)
    if not delimiter or depth >= _DEPTH:
        return
    try:
        parts, _ = cut(part.raw, delimiter, part.start, part.end, _LIMITS)
    except LimitExceeded:
        return
    for each in parts:
        yield from _part(each, depth + 1)


def _inner(part: Part, depth: int) -> Iterator[str]:
    if depth >= _DEPTH:
        return
    try:
        subject = Block(
            part.raw, _SUBJECT, part.start, part.end, limit=_LIMITS.header_bytes
        ).value(b"subject")
    except LimitExceeded:
        return
    yield decode_header(subject)
    yield from _message(part.raw, part.start, part.end, depth + 1)


def _text(part: Part) -> Iterator[str]:
    try:
        data = part.content(_PART_BYTES, "text_bytes")
    except LimitExceeded:
        return
    text, _ = decode_text(data, part.header.charset)
    yield to_text(_DATA_URL.sub("", text)) if part.kind == b"text/html" else text
