"""Where header fields stand that anybody could read, so that none is left behind.

Readers disagree on odd bytes: whether a bare CR ends a line, an empty line or an mbox
`From ` line may come first, a NUL or a fold may stand in a name.  Here every line counts
that any of them would take for the field, up to where the last of them would see the
header end.  In a header where bare CRs stand among line feeds a field reaches to the next
line feed: rather more goes than the half of an address stays.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_BEFORE: Final = re.compile(
    rb"(?:[^!-~\r\n]*+(?:>?From [^\r\n]*+)?(?:\r++\n?|\n))*+(?:\xef\xbb\xbf)?"
)
"""What may stand before a header: a byte order mark, empty lines, lines of an mbox."""
_EMPTY: Final = re.compile(rb"\n\r?\n")
_EMPTY_CR: Final = re.compile(rb"\r\r")
_FIELD: Final = {
    b"\n": re.compile(rb"[^\n]*+\n?(?:[^!-~ \t\r\n]*+[ \t][^\n]*+\n?)*+"),
    b"\r": re.compile(rb"[^\r]*+\r?(?:[^!-~ \t\r\n]*+[ \t][^\r]*+\r?)*+"),
}
_INNER: Final = re.compile(
    rb"(?<!\r)\r++(?!\n)([^\r\n]*+(?:(?:\r\n?|\n)[^!-~ \t\r\n]*+[ \t][^\r\n]*+)*+)"
)
_MOST_CUTS: Final = 8
_MOST_HEADERS: Final = 100
"""Headers in a row of which nothing is left; a message with more is made to deceive."""
_LOWER: Final = bytes(range(256)).lower()
_NO_NAME: Final = bytes(each for each in range(256) if not 0x21 <= each <= 0x7E)  # noqa: PLR2004 - RFC 5322, 3.6.8


def header_start(raw: bytes, start: int = 0) -> int:
    """Return where the first header field begins for a reader that forgives what is before it."""
    found = _BEFORE.match(raw, start)
    return start if found is None else found.end()


def _places(raw: bytes, names: Collection[bytes]) -> list[tuple[int, int]]:
    """Return where the fields of these names, in lower case, begin and end, in order."""
    found: list[tuple[int, int]] = []
    for number, (start, stop) in enumerate(_headers(raw)):
        if number == _MOST_HEADERS:
            return [(0, len(raw))]
        if not _may_be_in(raw[start:stop], names):
            break
        here = list(_fields(raw, start, stop, names))
        found += here
        left = _without(raw, here, start, stop)
        if header_start(left) != len(left):
            break
        # Nothing of the header is left: a forgiving reader takes what follows for one.
    return found


def cut(raw: bytes, names: Collection[bytes]) -> bytes:
    """Return the bytes without the fields of these names, in lower case.

    What a cut brings together may read as one more such field; where that has no end the
    message is made to deceive, and nothing of it is left.
    """
    for _ in range(_MOST_CUTS):
        gaps = _places(raw, names)
        if not gaps:
            return raw
        raw = _without(raw, gaps)
    return b""


def _without(
    raw: bytes, gaps: Iterable[tuple[int, int]], start: int = 0, stop: int | None = None
) -> bytes:
    kept = []
    for begin, end in gaps:
        kept.append(raw[start:begin])
        start = end
    return b"".join([*kept, raw[start:stop]])


def _headers(raw: bytes) -> Iterator[tuple[int, int]]:
    """Yield the header as the most forgiving reader sees it, then what would be the next."""
    stop, style = 0, _EMPTY
    while stop < len(raw):
        start = header_start(raw, stop)
        empty = style.search(raw, start)
        if empty is None and style is _EMPTY and raw.find(b"\n", start) < 0:
            style = _EMPTY_CR  # a message of an old Macintosh
            empty = style.search(raw, start)
        stop = len(raw) if empty is None else empty.start() + 1
        yield start, stop


def _may_be_in(header: bytes, names: Collection[bytes]) -> bool:
    """Whether it is worth while to look closely; most headers hold none of the names."""
    squashed = header.translate(_LOWER, _NO_NAME)
    # Not `in`, which takes the bytes for a number first, and fails at it.
    return any(squashed.find(name + b":") >= 0 for name in names)


def _fields(
    raw: bytes, start: int, stop: int, names: Collection[bytes]
) -> Iterator[tuple[int, int]]:
    end_of_line = b"\n" if raw.find(b"\n", start, stop) >= 0 else b"\r"
    for field in _FIELD[end_of_line].finditer(raw, start, stop):
        text = field.group()
        if _name(text) in names:
            yield field.span()
        elif end_of_line == b"\n" and b"\r" in text:
            begin = next((it.start() for it in _INNER.finditer(text) if _name(it[1]) in names), -1)
            if begin >= 0:
                length = len(text.rstrip(b"\r\n"))
                yield field.start() + begin, field.start() + max(begin, length)


def _name(field: bytes) -> bytes:
    name, colon, _ = field.partition(b":")
    return name.translate(None, _NO_NAME).lower() if colon else b""
