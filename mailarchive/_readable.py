"""The text of a message, as a person would read it: for searching, never for the record.

Total and linear: any bytes give some text, and what is beyond a bound is left out, which
the text says.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from mailarchive._rfc5322 import Block, Names, decode_header, decode_text
from mailarchive.errors import LimitExceeded
from mailarchive.journal import Limits
from mailarchive.journal._html import to_text
from mailarchive.journal._mime import Part, boundary, cut

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Readable", "readable", "text_of"]

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


@frozen
class Readable:
    """The readable text of a message, and whether nothing of it was left out."""

    text: str = field(repr=False)
    whole: bool = True


def text_of(content: bytes) -> str:
    """Return the readable text of a message: its bodies, and the names of what is attached.

    Of a message within it the subject is read too.  At most about a million characters,
    ten levels of parts, and text parts of at most 4 MiB; attached files are not opened.
    """
    return readable(content).text


def readable(content: bytes) -> Readable:
    """Return what `text_of` does, and whether a bound left anything out of it.

    Left out is what a mail program might show: too large a header or text, too many or too
    deep parts, parts or a message that cannot be told from data.  An attached file is not.
    """
    pieces: list[str] = []
    left, whole = _CHARACTERS, True
    for piece in _message(content, 0, len(content), 0):
        whole = whole and piece is not None and len(piece) <= left
        pieces.append((piece or "")[:left])
        left -= len(pieces[-1])
        if not whole and not left:
            break
    return Readable("\n".join(filter(None, pieces)), whole)


_LEFT_OUT: Final = None
"""Stands in a sequence of texts for one that is not read."""


def _message(raw: bytes, start: int, end: int, depth: int) -> Iterator[str | None]:
    try:
        whole = Part(raw, start, end, _LIMITS.header_bytes, closed=False)
    except LimitExceeded:
        yield _LEFT_OUT
        return
    yield from _part(whole, depth)


def _part(part: Part, depth: int) -> Iterator[str | None]:
    if part.kind.startswith(b"multipart/"):
        yield from _parts(part, depth)
    elif part.kind in _MAILS:
        yield from (_LEFT_OUT,) if part.header.encoding else _inner(part, depth)
    elif part.kind.startswith(b"text/"):
        yield from _text(part)
    if part.filename:
        yield part.filename


def _parts(part: Part, depth: int) -> Iterator[str | None]:
    delimiter = boundary(part.header.content_type)
    if not delimiter or depth >= _DEPTH:
        yield _LEFT_OUT
        return
    try:
        parts, _ = cut(part.raw, delimiter, part.start, part.end, _LIMITS)
    except LimitExceeded:
        yield _LEFT_OUT
        return
    for each in parts:
        yield from _part(each, depth + 1)


def _inner(part: Part, depth: int) -> Iterator[str | None]:
    if depth >= _DEPTH:
        yield _LEFT_OUT
        return
    try:
        subject = Block(
            part.raw, _SUBJECT, part.start, part.end, limit=_LIMITS.header_bytes
        ).value(b"subject")
    except LimitExceeded:
        yield _LEFT_OUT
        return
    yield decode_header(subject)
    yield from _message(part.raw, part.start, part.end, depth + 1)


def _text(part: Part) -> Iterator[str | None]:
    try:
        data = part.content(_PART_BYTES, "text_bytes")
    except LimitExceeded:
        yield _LEFT_OUT
        return
    text, _ = decode_text(data, part.header.charset)
    yield to_text(_DATA_URL.sub("", text)) if part.kind == b"text/html" else text
