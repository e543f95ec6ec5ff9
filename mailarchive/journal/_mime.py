"""The parts around an original, cut as slices of the input (RFC 2046, section 5.1).

Nothing is copied and nothing inside a message/rfc822 is parsed.  A delimiter counts only
as a whole line: the boundary of an inner multipart may begin with the outer one's.
"""

from __future__ import annotations

import binascii
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, final

from attrs import frozen

from mailarchive._rfc5322 import (
    Block,
    Names,
    base64_lenient,
    decode_header,
    decode_text,
    header_end,
)
from mailarchive.journal._report import exceeded

if TYPE_CHECKING:
    from mailarchive.journal._report import Limits

_PART: Final = Names("Content-Type", "Content-Transfer-Encoding", "Content-Disposition")
_PARAMETER: Final = re.compile(
    rb';\s*([^\s=;"]+?)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"]*))', re.DOTALL
)
_QUOTED_BOUNDARY: Final = re.compile(rb';\s*boundary="([^"\\]+)"', re.IGNORECASE)
_ENCODINGS: Final = frozenset({b"base64", b"quoted-printable"})
_SHORT: Final = 1_000
"""The longest part header that is remembered."""
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_PADDED: Final = re.compile(rb"=[ \t]++(?=\r?\n)")
"""A soft line break behind which a transport put blanks (RFC 2045, section 6.7, rule 3)."""
_LETTER: Final = re.compile(rb"[A-Za-z0-9+/]")
_UNPADDED: Final = re.compile(rb"[^=]+")
_NO_ESCAPE: Final = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]*\r?\n|[ \t]*\Z)|[^\x00-\x7f]")
"""What no quoted-printable text holds (RFC 2045, section 6.7)."""
BEGINNING: Final = re.compile(rb"(?:>?From [^\r\n]*\r?\n)?[!-9;-~]+[ \t]*:")
"""How a message begins; the colon is no letter of base64."""
_CR: Final = 0x0D
_WINDOW: Final = 2_048
_MAX_PADDING: Final = 1_000
"""How many blanks may follow a delimiter on its line."""


def media_type(content_type: bytes) -> bytes:
    """Return `type/subtype` in lower case, or `text/plain` where there is none."""
    kind = content_type.partition(b";")[0].partition(b"(")[0].strip().lower()
    return kind if b"/" in kind else b"text/plain"


def parameter(value: bytes, name: bytes) -> bytes:
    """Return a parameter, also one that RFC 2231 cut up or encoded; empty where absent."""
    pieces: dict[bytes, bytes] = {}
    for match in _PARAMETER.finditer(value):
        quoted, plain = match[2], match[3]
        text = plain.strip() if quoted is None else re.sub(rb"\\(.)", rb"\1", quoted)
        pieces.setdefault(match[1].lower(), text)
    if name in pieces:
        return pieces[name]
    found = bytearray()
    for count in range(len(pieces) + 1):
        first = (name + b"*",) if count == 0 else ()
        for key in (*first, b"%s*%d" % (name, count), b"%s*%d*" % (name, count)):
            if key in pieces:
                found += (
                    _extended(pieces[key], first=count == 0) if key[-1:] == b"*" else pieces[key]
                )
    return bytes(found)


def _extended(text: bytes, *, first: bool) -> bytes:
    """Undo percent signs; the first piece begins with `charset'language'`."""
    if first and text.count(b"'") >= 2:  # noqa: PLR2004  # the two quotes of RFC 2231
        charset, _, text = text.split(b"'", 2)
        decoded, _ = decode_text(_unquoted(text), charset.decode("latin-1"))
        return decoded.encode()
    return _unquoted(text)


def _unquoted(text: bytes) -> bytes:
    return _PERCENT.sub(lambda escape: bytes((int(escape[1], 16),)), text)


def boundary(content_type: bytes) -> bytes:
    """Return the boundary; blanks at its end are the transport's (RFC 2046, 5.1.1)."""
    quoted = _QUOTED_BOUNDARY.search(content_type)
    if quoted is not None:
        return quoted[1].rstrip(b" \t")
    return parameter(content_type, b"boundary").partition(b" (")[0].rstrip(b" \t")


@frozen
class PartHeader:
    """What the header of a part says; the same few headers come again and again."""

    kind: bytes
    content_type: bytes
    disposition: bytes
    encoding: bytes
    charset: str | None


def _read_header(block: bytes) -> PartHeader:
    fields = Block(block, _PART)
    content_type = fields.value(b"content-type")
    encoding = _token(fields.value(b"content-transfer-encoding")).strip(b"\"';").lower()
    return PartHeader(
        media_type(content_type),
        content_type,
        fields.value(b"content-disposition"),
        encoding if encoding in _ENCODINGS else b"",
        _token(parameter(content_type, b"charset")).decode("latin-1") or None,
    )


def _token(value: bytes) -> bytes:
    """Return a value that is one word, without what follows it, such as a comment."""
    return (value.partition(b"(")[0].split() or [b""])[0]


part_header: Final = lru_cache(maxsize=256)(_read_header)
"""A pure function of a few bytes, so its memory is no state that anybody could notice."""


def untransferred(data: bytes, encoding: bytes) -> bytes:
    """Undo a transfer encoding: `base64`, `quoted-printable` or none."""
    if not encoding:
        return data
    if encoding == b"base64":
        return _from_base64(data)
    return binascii.a2b_qp(_PADDED.sub(b"=", data) if b"= " in data or b"=\t" in data else data)


def _from_base64(data: bytes) -> bytes:
    """Undo base64, also of pieces that were encoded one by one: padding ends a piece."""
    padding = data.find(b"=")
    if padding < 0 or _LETTER.search(data, padding) is None:
        return base64_lenient(data)
    found = bytearray()
    for piece in _UNPADDED.finditer(data):
        found += base64_lenient(piece[0])
    return bytes(found)


@final
class Part:
    """One part: its header from `begin`, its content from `start` to `end`.

    `closed` says that a delimiter follows; it and the line end before it are not content.
    """

    __slots__ = ("begin", "closed", "end", "header", "kind", "raw", "start")

    def __init__(self, raw: bytes, begin: int, end: int, limit: int, *, closed: bool) -> None:
        """Read the header; raises `LimitExceeded` where it has more than `limit` bytes."""
        stop, body = header_end(raw, begin, end, limit)
        block = raw[begin:stop]
        self.raw, self.begin, self.end, self.closed = raw, begin, end, closed
        self.header = part_header(block) if len(block) <= _SHORT else _read_header(block)
        self.kind = self.header.kind
        self.start = end if body is None else body

    @property
    def filename(self) -> str:
        """The name of the attachment in lower case; it is compared, never used as a path."""
        header = self.header
        name = parameter(header.disposition, b"filename") or parameter(
            header.content_type, b"name"
        )
        return decode_header(name).lower()

    @property
    def is_encoded(self) -> bool:
        """Whether the content of a message has the transfer encoding that its header says.

        Some gateways undo an encoding and leave the label: a message that stands there in
        clear is not to be decoded.
        """
        if not self.header.encoding or BEGINNING.match(self.raw, self.start, self.end) is None:
            return bool(self.header.encoding)
        if self.header.encoding == b"base64":
            return False
        return _NO_ESCAPE.search(self.raw, self.start, self.end) is None

    @property
    def is_damaged(self) -> bool:
        """Whether the content is in base64 with something else in it, or not all of it."""
        if self.header.encoding != b"base64" or not self.is_encoded:
            return False
        letters = self.raw[self.start : self.end].translate(None, b" \t\r\n")
        try:
            binascii.a2b_base64(letters, strict_mode=True)
        except binascii.Error:
            return True
        return False

    @property
    def is_empty(self) -> bool:
        """Whether the content is nothing but white space."""
        return self.end - self.start < _MAX_PADDING and not self.raw[self.start : self.end].strip()

    def content(self, limit: int, name: str) -> bytes:
        """Return a copy of the content with its transfer encoding undone.

        Raises `LimitExceeded` for more than `limit` bytes, which is the limit of that name.
        """
        if self.end - self.start > limit:
            raise exceeded("a part of a journal report is longer", name)
        return untransferred(self.raw[self.start : self.end], self.header.encoding)


def cut(
    raw: bytes, delimiter: bytes, start: int, end: int, limits: Limits
) -> tuple[list[Part], bool]:
    """Return the parts in `raw[start:end]`, and whether a closing delimiter ended them.

    `start` must be the first byte of a line.  Raises `LimitExceeded`.
    """
    needle = b"\n--" + delimiter
    limit = limits.header_bytes
    parts: list[Part] = []
    begin = -1
    at = find_delimiter(raw, needle, max(start - 1, 0), end)
    while at >= 0:
        after, closes = _line_end(raw, at + len(needle), end)
        if after < 0:
            at = find_delimiter(raw, needle, at + 1, end)
            continue
        if begin >= 0:
            stop = at - (raw[at - 1] == _CR)
            parts.append(Part(raw, begin, max(stop, begin), limit, closed=True))
            if len(parts) > limits.parts:
                raise exceeded("a journal report has more parts", "parts")
        if closes:
            return parts, True
        begin = after
        at = find_delimiter(raw, needle, after - 1, end)
    if 0 <= begin < end:
        parts.append(Part(raw, begin, end, limit, closed=False))
    return parts, False


def find_delimiter(raw: bytes, needle: bytes, start: int, end: int) -> int:
    """Return where `needle` begins in `raw[start:end]`, or -1; the same as `find`, sooner.

    Exchange's boundaries have a `_`, which no base64 and little text has, and one byte is
    looked for ten times as fast as many are.  The whole needle is looked for only in a
    window behind each `_`, so that text full of them costs hardly more than `find`.
    """
    offset = needle.find(b"_")
    if offset < 0:
        return raw.find(needle, start, end)
    length = len(needle) - 1
    rare = raw.find(b"_", start + offset, end)
    while rare >= 0:
        begin = rare - offset
        found = raw.find(needle, begin, min(end, begin + _WINDOW + length))
        if found >= 0:
            return found
        rare = raw.find(b"_", begin + _WINDOW + offset, end)
    return -1


def _line_end(raw: bytes, at: int, end: int) -> tuple[int, bool]:
    """Return where the line after a delimiter begins, and whether it closes.

    -1 says that the line goes on with something else, so that it is no delimiter.
    """
    if raw.startswith(b"\r\n", at) and at + 2 <= end:
        return at + 2, False
    newline = raw.find(b"\n", at, min(end, at + _MAX_PADDING))
    if newline < 0 and at + _MAX_PADDING < end:
        return -1, False
    rest = raw[at : newline if newline >= 0 else end].rstrip(b" \t\r")
    after = newline + 1 if newline >= 0 else end
    if not rest:
        return after, False
    return (after, True) if rest == b"--" else (-1, False)
