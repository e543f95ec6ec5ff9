"""Header fields (RFC 5322, section 2.2): found in one pass, copied only when asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, final

from mailarchive.errors import LimitExceeded

if TYPE_CHECKING:
    from collections.abc import Iterator

_SPACE = b" \t\r\n"


@final
class Names:
    """A set of header names, made once and looked for in one pass over a header block.

    The pattern begins with a line feed, which the regex engine looks for with `memchr`,
    and tells most lines apart by the first letter of their name.  It also matches the
    empty line, so the pass ends where the header does.
    """

    __slots__ = ("first", "further")

    def __init__(self, *names: str) -> None:
        """Take the names, in any case."""
        by_letter: dict[str, list[str]] = {}
        for name in sorted({name.lower() for name in names}):
            by_letter.setdefault(name[0], []).append(re.escape(name[1:]))
        branches = (
            f"[{letter}{letter.upper()}](?i:{'|'.join(rest)})"
            for letter, rest in by_letter.items()
        )
        fields = rf"({'|'.join(branches)})[ \t]*:".encode()
        self.first = re.compile(rb"\r?\n|" + fields)
        self.further = re.compile(rb"\n(?:\r?\n|" + fields + rb")")


def _found(names: Names, raw: bytes, start: int, end: int) -> Iterator[re.Match[bytes]]:
    """Yield the matches of one header block; a match without a group is the empty line."""
    if start:
        yield from names.further.finditer(raw, start - 1, end)
        return
    first = names.first.match(raw, 0, end)
    if first is not None:
        yield first
    yield from names.further.finditer(raw, 0, end)


@final
class Block:
    """The wanted fields of the header that begins at `start`, which must begin a line.

    `stop` is the end of the last header line and `body` the byte after the empty line.
    Where no empty line is left, `body` is `None` and the header reaches to the end.
    """

    __slots__ = ("_at", "body", "raw", "start", "stop")

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
        end = len(raw) if end is None else end
        until = end if limit is None else min(end, start + limit)
        at: dict[bytes, list[int]] = {}
        self.raw, self.start, self._at = raw, start, at
        self.stop, self.body = until, None
        for match in _found(names, raw, start, until):
            name = match[1]
            if name is None:
                self.body = match.end()
                self.stop = match.start() + (match.re is names.further)
                break
            at.setdefault(name.lower(), []).append(match.end())
        else:
            if until < end:
                raise LimitExceeded("a header is longer than the limit of header bytes")

    def __contains__(self, name: bytes) -> bool:
        """Whether the field is there, be it empty."""
        return name in self._at

    def values(self, name: bytes) -> list[bytes]:
        """Return the unfolded value of each field of that name, in lower case, in order."""
        return [self._value(at) for at in self._at.get(name, ())]

    def value(self, name: bytes) -> bytes:
        """Return the first value of a field, unfolded; empty where there is none."""
        at = self._at.get(name)
        return self._value(at[0]) if at else b""

    def spans(self, name: bytes) -> list[tuple[int, int]]:
        """Return where each field of that name begins, and the next one behind it."""
        return [
            (self.raw.rfind(b"\n", self.start, at) + 1 or self.start, self._end(at))
            for at in self._at.get(name, ())
        ]

    def _end(self, at: int) -> int:
        """Return the end of the field, behind its last line end."""
        raw, stop = self.raw, self.stop
        end = raw.find(b"\n", at, stop) + 1
        while 0 < end < stop and raw[end] in b" \t":
            end = raw.find(b"\n", end, stop) + 1
        return end or stop

    def _value(self, at: int) -> bytes:
        lines = self.raw[at : self._end(at)]
        if b"\n" in lines[:-1]:
            lines = lines.replace(b"\r", b"").replace(b"\n", b"")
        return lines.strip(_SPACE)


def squash(value: bytes) -> bytes:
    """Return the value without any white space, which is how Message-IDs compare."""
    return b"".join(value.split())
