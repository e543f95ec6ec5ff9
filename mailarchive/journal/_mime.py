"""The parts around an original, cut as slices of the input (RFC 2046, section 5.1).

Nothing is copied and nothing inside a message/rfc822 is parsed.  A delimiter counts only
as a whole line: the boundary of an inner multipart may begin with the outer one's.
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, Final, final

from mailarchive._rfc5322 import Block, Names, base64_lenient, decode_header, decode_text
from mailarchive.errors import LimitExceeded

if TYPE_CHECKING:
    from mailarchive.journal._report import Limits

_PART: Final = Names("Content-Type", "Content-Transfer-Encoding", "Content-Disposition")
_PARAMETER: Final = re.compile(
    rb';\s*([^\s=;"]+?)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"]*))', re.DOTALL
)
_QUOTED_BOUNDARY: Final = re.compile(rb';\s*boundary="([^"\\]+)"', re.IGNORECASE)
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
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
    found = quoted[1] if quoted is not None else parameter(content_type, b"boundary")
    return found.rstrip(b" \t")


@final
class Part:
    """One part: its header, and its content as a slice that ends before the delimiter."""

    __slots__ = ("block", "closed", "content_type", "end", "kind", "raw", "start")

    def __init__(self, raw: bytes, begin: int, end: int, limit: int, *, closed: bool) -> None:
        """Read the header of the part that begins at `begin`; `closed` by a delimiter."""
        self.raw, self.end, self.closed = raw, end, closed
        self.block = block = Block(raw, _PART, begin, end, limit=limit)
        self.start = end if block.body is None else block.body
        self.content_type = block.value(b"content-type")
        self.kind = media_type(self.content_type)

    @property
    def encoding(self) -> bytes:
        """The transfer encoding that must be undone: `base64`, `quoted-printable` or none."""
        value = self.block.value(b"content-transfer-encoding")
        if not value:
            return b""
        value = value.strip(b"\"'; \t").lower()
        return value if value in {b"base64", b"quoted-printable"} else b""

    @property
    def charset(self) -> str | None:
        """The charset label, where there is one."""
        return parameter(self.content_type, b"charset").decode("latin-1") or None

    @property
    def filename(self) -> str:
        """The name of the attachment in lower case; it is compared, never used as a path."""
        disposition = self.block.value(b"content-disposition")
        name = parameter(disposition, b"filename") or parameter(self.content_type, b"name")
        return decode_header(name).lower()

    @property
    def is_empty(self) -> bool:
        """Whether the content is nothing but white space."""
        return self.end - self.start < _MAX_PADDING and not self.raw[self.start : self.end].strip()

    def content(self, limit: int) -> bytes:
        """Return a copy of the content with its transfer encoding undone.

        Raises `LimitExceeded` for more than `limit` bytes.
        """
        if self.end - self.start > limit:
            raise LimitExceeded("a part of a journal report is longer than the limit of its kind")
        data = self.raw[self.start : self.end]
        encoding = self.encoding
        if encoding == b"base64":
            return base64_lenient(data)
        return binascii.a2b_qp(data) if encoding else data


def cut(
    raw: bytes, delimiter: bytes, start: int, end: int, limits: Limits
) -> tuple[list[Part], bool]:
    """Return the parts in `raw[start:end]`, and whether a closing delimiter ended them.

    `start` must be the first byte of a line.  Raises `LimitExceeded`.
    """
    needle = b"\n--" + delimiter
    parts: list[Part] = []
    begin = -1
    at = raw.find(needle, max(start - 1, 0), end)
    while at >= 0:
        after, closes = _line_end(raw, at + len(needle), end)
        if after < 0:
            at = raw.find(needle, at + 1, end)
            continue
        if begin >= 0:
            stop = at - (raw[at - 1] == 0x0D)
            parts.append(Part(raw, begin, max(stop, begin), limits.header_bytes, closed=True))
            if len(parts) > limits.parts:
                raise LimitExceeded("a journal report has more parts than the limit")
        if closes:
            return parts, True
        begin = after
        at = raw.find(needle, after - 1, end)
    if 0 <= begin < end:
        parts.append(Part(raw, begin, end, limits.header_bytes, closed=False))
    return parts, False


def _line_end(raw: bytes, at: int, end: int) -> tuple[int, bool]:
    """Return where the line after a delimiter begins, and whether it closes.

    -1 says that the line goes on with something else, so that it is no delimiter.
    """
    newline = raw.find(b"\n", at, min(end, at + _MAX_PADDING))
    if newline < 0 and at + _MAX_PADDING < end:
        return -1, False
    rest = raw[at : newline if newline >= 0 else end].rstrip(b" \t\r")
    after = newline + 1 if newline >= 0 else end
    if not rest:
        return after, False
    return (after, True) if rest == b"--" else (-1, False)
