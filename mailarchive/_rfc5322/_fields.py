"""Header fields (RFC 5322, section 2.2): found in one pass, copied only when asked for."""

from __future__ import annotations

import re
from typing import Final, final

from mailarchive.errors import LimitExceeded

_LARGER: Final = ("if the message is genuine, decode it in a program, with header_bytes raised",)
_SPACE: Final = b" \t\r\n"
_EMPTY_LINE: Final = re.compile(rb"\n\r?\n")
_FIRST_LINE_EMPTY: Final = re.compile(rb"\r?\n")


@final
class Names:
    """A set of header names, made once and looked for in one pass over a header block.

    The pattern begins with a line feed, which the regex engine looks for with `memchr`,
    and tells most lines apart by the first letter of their name.  `or_empty` finds empty
    lines as well, as a field without a name.
    """

    __slots__ = ("first", "further", "or_empty")

    def __init__(self, *names: str) -> None:
        """Take the names, in any case."""
        by_letter: dict[str, list[str]] = {}
        for name in sorted({name.lower() for name in names}):
            by_letter.setdefault(name[0], []).append(re.escape(name[1:]))
        branches = (
            f"[{letter}{letter.upper()}](?i:{'|'.join(rest)})"
            for letter, rest in by_letter.items()
        )
        field = rf"({'|'.join(branches)})[ \t]*:([^\n]*+(?:\n[ \t][^\n]*+)*+)"
        self.first = re.compile(field.encode())
        self.further = re.compile(b"\n" + field.encode())
        self.or_empty = re.compile(rb"\n(?:%b|\r?\n)" % field.encode())


@final
class Block:
    """The wanted fields of the header that begins at `start`, which must begin a line.

    `stop` is the end of the last header line and `body` the byte after the empty line.
    Where no empty line is left, `body` is `None` and the header reaches to the end.
    """

    __slots__ = ("body", "fields", "raw", "start", "stop")

    fields: list[tuple[bytes, bytes]]
    body: int | None

    def __init__(
        self,
        raw: bytes,
        names: Names,
        start: int = 0,
        end: int | None = None,
        *,
        limit: int | None = None,
    ) -> None:
        """Find the fields; raises `LimitExceeded` for a header of more than `limit` bytes."""
        self.raw, self.start = raw, start
        self.stop, self.body = header_end(raw, start, len(raw) if end is None else end, limit)
        self.fields = fields = names.further.findall(raw, max(start - 1, 0), self.stop)
        if not start:
            first = names.first.match(raw, 0, self.stop)
            if first is not None:
                fields.insert(0, first.groups())

    def __contains__(self, name: bytes) -> bool:
        """Whether the field is there, be it empty."""
        return name in self.names()

    def names(self) -> set[bytes]:
        """Return the names of the fields that are there, in lower case."""
        return {name.lower() for name, _ in self.fields}

    def values(self, name: bytes) -> list[bytes]:
        """Return the unfolded value of each field of that name, in lower case, in order."""
        return [unfold(value) for each, value in self.fields if each.lower() == name]

    def grouped(self) -> dict[bytes, list[bytes]]:
        """Return the unfolded values by name in lower case, in the order they stand."""
        found: dict[bytes, list[bytes]] = {}
        for name, value in self.fields:
            found.setdefault(name.lower(), []).append(unfold(value))
        return found

    def unfolded(self) -> list[tuple[bytes, bytes]]:
        """Return all the fields in the order they stand, name in lower case, value unfolded."""
        return [(name.lower(), unfold(value)) for name, value in self.fields]

    def value(self, name: bytes) -> bytes:
        """Return the first value of a field, unfolded; empty where there is none."""
        for each, value in self.fields:
            if each.lower() == name:
                return unfold(value)
        return b""


def header_end(
    raw: bytes, start: int, end: int, limit: int | None = None
) -> tuple[int, int | None]:
    """Return the end of the last header line, and where the body begins, if it does.

    Raises `LimitExceeded` where there is no empty line within `limit` bytes.
    """
    until = end if limit is None else min(end, start + limit)
    if start:
        empty = _EMPTY_LINE.search(raw, start - 1, until)
    elif (first := _FIRST_LINE_EMPTY.match(raw, 0, until)) is not None:
        return 0, first.end()
    else:
        empty = _EMPTY_LINE.search(raw, 0, until)
    if empty is not None:
        return empty.start() + 1, empty.end()
    if until < end:
        raise LimitExceeded("a header is longer than the limit, header_bytes", suggestions=_LARGER)
    return end, None


def unfold(value: bytes) -> bytes:
    """Return a field's value as one line, without the blanks around it."""
    value = value.strip(_SPACE)
    if value.find(b"\n") >= 0:  # `in` would take the bytes for a number first
        value = value.replace(b"\r", b"").replace(b"\n", b"")
    return value


def squash(value: bytes) -> bytes:
    """Return the value without any white space, which is how Message-IDs compare."""
    return b"".join(value.split())
