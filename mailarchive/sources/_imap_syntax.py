"""The grammar of IMAP (RFC 3501), as far as an archive needs it; pure functions on bytes.

A response is held as *segments*: text, literal, text, ... as they came.  Nothing here is
lenient with what the bytes mean, and nothing recurses deeper than `DEPTH`.
"""

from __future__ import annotations

import binascii
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, TypeAlias

from attrs import frozen
from imapclient import imap_utf7

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Value: TypeAlias = "bytes | list[Value] | None"
"""An atom, a string or a literal; NIL; or a list in parentheses."""

DEPTH = 16
LARGEST_NUMBER = (1 << 32) - 1

_TOKENS = re.compile(
    rb"""[ ]*(?:
        ~?\{\d{1,20}\+?\}\r\n\Z
      | \r?\n
      | ([^\s"()]+)
      | ([()])
      | "((?:[^"\\\r\n]|\\.)*")
      | (.+)
    )""",
    re.VERBOSE | re.DOTALL,
)
"""One after the other: an atom, a bracket, a string with its last quote; or all that is none."""
_LITERAL = re.compile(rb"(?:[ (]~?|\A~?)\{(\d{1,20})\+?\}\r\n\Z")
_BEHIND_A_LITERAL = (b" ", b")", b"\r", b"\n")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_NUMBER = re.compile(rb"\d{1,10}\Z")


class BadSyntax(ValueError):
    """What came is no IMAP."""


@frozen
class Literal:
    """A string to be sent as a literal, because it cannot be quoted."""

    data: bytes


def literal_size(line: bytes) -> int | None:
    """Return the size of the literal that follows this line; `None` where none does."""
    if line[-3:] != b"}\r\n":
        return None
    found = _LITERAL.search(line)
    return int(found[1]) if found else None


def number(value: Value) -> int:
    """Return a value as the 32-bit number that it must be."""
    if isinstance(value, bytes) and _NUMBER.match(value):
        parsed = int(value)
        if parsed <= LARGEST_NUMBER:
            return parsed
    raise BadSyntax("not a 32-bit number")


def values(segments: Sequence[bytes]) -> list[Value]:
    """Return the values in a response, from text and literals in turn."""
    stack: list[list[Value]] = [[]]
    for index, segment in enumerate(segments):
        if index % 2:
            stack[-1].append(segment)
        elif index and segment and segment[:1] not in _BEHIND_A_LITERAL:
            # Its size was wrong: what was read as a message holds other answers too.
            raise BadSyntax("a literal that ends in the middle of a word")
        else:
            _read_text(segment, stack)
    if len(stack) != 1:
        raise BadSyntax("a list without an end")
    return stack[0]


def _read_text(text: bytes, stack: list[list[Value]]) -> None:
    inner = stack[-1]
    for atom, bracket, string, other in _TOKENS.findall(text):
        if atom:
            inner.append(None if atom.upper() == b"NIL" else atom)
        elif bracket:
            inner = _opened(stack) if bracket == b"(" else _closed(stack)
        elif string:
            inner.append(_ESCAPED.sub(rb"\1", string[:-1]))
        elif other:
            raise BadSyntax("no token")


def _opened(stack: list[list[Value]]) -> list[Value]:
    inner: list[Value] = []
    stack[-1].append(inner)
    stack.append(inner)
    if len(stack) > DEPTH:
        raise BadSyntax("lists too deep")
    return inner


def _closed(stack: list[list[Value]]) -> list[Value]:
    stack.pop()
    if not stack:
        raise BadSyntax("a list ends that never began")
    return stack[-1]


def pairs(items: Value) -> dict[bytes, Value]:
    """Return a list of names and values in turn as a mapping with names in capitals."""
    if not isinstance(items, list) or len(items) % 2:
        raise BadSyntax("not names and values in turn")
    found: dict[bytes, Value] = {}
    for name, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(name, bytes):
            raise BadSyntax("a name that is no word")
        if name.upper() in found:
            raise BadSyntax("a name that comes twice")
        found[name.upper()] = value
    return found


def quoted(text: bytes) -> bytes | Literal:
    """Return a string as it must be sent: quoted, or a literal where it cannot be.

    Raises `BadSyntax` for a NUL, which neither form can hold.
    """
    if b"\0" in text:
        raise BadSyntax("a NUL in a string")
    if text.isascii() and b"\r" not in text and b"\n" not in text:
        return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return Literal(text)


def uid_set(uids: Sequence[int]) -> bytes:
    """Return ascending numbers as a sequence set, runs written as ranges."""
    return b",".join(_ranges(uids))


def _ranges(uids: Sequence[int]) -> Iterator[bytes]:
    start = 0
    for index in range(1, len(uids) + 1):
        if index < len(uids) and uids[index] == uids[index - 1] + 1:
            continue
        first, last = uids[start], uids[index - 1]
        yield b"%d" % first if first == last else b"%d:%d" % (first, last)
        start = index


def uid_sets(uids: Sequence[int], octets: int, most: int) -> Iterator[tuple[bytes, list[int]]]:
    """Cut numbers into sets of at most `octets` octets and `most` numbers each."""
    ascending = sorted(set(uids))
    start = 0
    while start < len(ascending):
        count = min(most, len(ascending) - start)
        while len(text := uid_set(ascending[start : start + count])) > octets and count > 1:
            count = max(1, min(count - 1, count * octets // len(text)))
        yield text, ascending[start : start + count]
        start += count


_MONTHS = {
    name: index
    for index, name in enumerate(
        b"jan feb mar apr may jun jul aug sep oct nov dec".split(),
        1,
    )
}
_DATE = re.compile(rb" ?(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)\Z")


def internal_date(value: Value) -> datetime | None:
    """Return an INTERNALDATE as aware UTC; `None` for what is none."""
    found = _DATE.match(value) if isinstance(value, bytes) else None
    if found is None:
        return None
    day, month, year, hour, minute, second, sign, hours, minutes = found.groups()
    east = timedelta(hours=int(hours), minutes=int(minutes))
    try:
        return datetime(
            int(year),
            _MONTHS[month.lower()],
            int(day),
            int(hour),
            int(minute),
            int(second),
            tzinfo=timezone(-east if sign == b"-" else east),
        ).astimezone(UTC)
    except (KeyError, ValueError, OverflowError):
        return None


def folder_text(name: bytes) -> str:
    """Return a folder's wire name as people write it.

    Modified UTF-7 (RFC 3501, 5.1.3) where it is that to the byte; else the UTF-8 that some
    servers send raw; else the bytes one by one.
    """
    if not name.isascii():
        try:
            return name.decode("utf-8")
        except UnicodeDecodeError:
            return name.decode("latin-1")
    if b"&" in name:
        try:
            text = str(imap_utf7.decode(name))
            # What does not come back to the byte was no modified UTF-7.
            if folder_name(text) == name:
                return text
        except (UnicodeError, binascii.Error):
            pass
    return name.decode("ascii")


def folder_name(text: str) -> bytes:
    """Return the modified UTF-7 for a folder's name."""
    return bytes(imap_utf7.encode(text))
