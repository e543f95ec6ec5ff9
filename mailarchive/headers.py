"""What an ordinary message says of itself: its envelope, its date, the key of its forks.

Every function here takes any bytes and never raises for them.  Header fields are claims
that anybody can write; a journal report is better evidence.
"""

from __future__ import annotations

import hashlib
import re
import struct
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Final

from mailarchive._model import Address, Digest, Envelope, Origin, Recipient, Role
from mailarchive._rfc5322 import (
    Block,
    Names,
    cut,
    decode_header,
    decode_text,
    header_start,
    mailboxes,
    squash,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["addresses", "date", "envelope", "fork_key", "is_plain", "listed", "without"]

_ENVELOPE: Final = Names("Sender", "From", "To", "Cc", "Bcc", "Subject", "Message-ID", "Date")
_DATE: Final = Names("Date")
_SHOWN: Final = (
    "Date",
    "From",
    "Sender",
    "Reply-To",
    "Subject",
    "To",
    "Cc",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Disposition",
    "MIME-Version",
    "Resent-Date",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
)
"""What people read of a message is what these and the body say: forks agree in all of it."""
_FORK: Final = Names("Message-ID", *_SHOWN)
_FORK_FIELDS: Final = tuple(name.lower().encode() for name in _SHOWN)
_FORK_VERSION: Final = b"mailarchive/fork/3"
_BLANKS: Final = re.compile(rb'("(?:[^"\\]|\\.)*+"?)|\s++')
"""White space, and what stands in quotes, where a boundary or a name has its own.

Quotes that are never closed reach to the end: to look for their end again at each escaped
one would take a time that grows with the square of the header.
"""
_NOTHING: Final = (b"",)
_ROLES: Final = ((b"to", Role.TO), (b"cc", Role.CC), (b"bcc", Role.BCC))

_MOMENT: Final = re.compile(
    rb"(?:[A-Za-z]{2,9}\.?\s*,?\s*)?(\d{1,2})[\s-]+([A-Za-z]{3})[a-z]*\.?[\s,-]+(\d{2,4})[\s,]+"
    rb"(\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?(?:\.\d+)?\s*([+-]\d{4}|[A-Za-z]{1,5})?"
)
_LONGEST_DATE: Final = 200
_COMMENT: Final = re.compile(rb"\([^()]*\)")
_MONTHS: Final = {
    name: number
    for number, name in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)
}
_ZONES: Final = {b"est": -5, b"edt": -4, b"cst": -6, b"cdt": -5, b"mst": -7, b"mdt": -6}
_ZONES.update({b"pst": -8, b"pdt": -7})
_FIRST_FIELD: Final = re.compile(rb"[!-9;-~]+[ \t]*:")
_TNEF_WORDS: Final = (b"tnef", b"winmail.dat")
_TNEF_PART: Final = re.compile(
    rb"(?:\A|[\r\n])content-(?:type|disposition)[ \t]*:(?:[^\r\n]|[\r\n]++[ \t])*?"
    rb"(?:[-./]tnef|winmail\.dat)"
)
_CENTURY: Final = 50
"""Two-digit years from here on are of the last century (RFC 5322, section 4.3)."""


def envelope(content: bytes) -> Envelope:
    """Return who sent the message to whom, by its header; never raises.

    The sender is that of `Sender:`, or else the first of `From:`; `on_behalf_of` is the
    first of `From:` that is somebody else.  Groups are opened; names are dropped.
    """
    fields = Block(content, _ENVELOPE).grouped()
    authors = _addresses(fields.get(b"from", ()))
    senders = _addresses(fields.get(b"sender", ()))
    sender = next(chain(senders, authors), None)
    recipients = (
        Recipient(address, role)
        for name, role in _ROLES
        for address in _addresses(fields.get(name, ()))
    )
    return Envelope(
        sender=sender,
        on_behalf_of=next((author for author in authors if author != sender), None),
        recipients=tuple(recipients),
        subject=decode_header(fields[b"subject"][0]) if b"subject" in fields else None,
        message_id=decode_text(fields.get(b"message-id", _NOTHING)[0])[0] or None,
        date=_moment(fields.get(b"date", _NOTHING)[0]),
        origin=Origin.HEADERS,
    )


def addresses(content: bytes, names: Iterable[str]) -> tuple[Address, ...]:
    """Return the addresses in the named header fields, in the order of the names."""
    return tuple(chain.from_iterable(listed(content, names)))


def listed(content: bytes, names: Iterable[str]) -> tuple[tuple[Address, ...], ...]:
    """Return the addresses in each of the named header fields, in the order of the names."""
    wanted = [name.lower() for name in names if name]
    fields = Block(content, _names(tuple(wanted))).grouped()
    return tuple(_addresses(fields.get(name.encode(), ())) for name in wanted)


def _addresses(values: Iterable[bytes]) -> tuple[Address, ...]:
    found = [_known(value) if len(value) <= _SHORT else _parsed(value) for value in values]
    return found[0] if len(found) == 1 else tuple(chain.from_iterable(found))


def _parsed(value: bytes) -> tuple[Address, ...]:
    """Parse before decoding words: what an encoded word hides must not become syntax."""
    return tuple(Address.parse(spec) for spec in mailboxes(decode_text(value)[0]))


_SHORT: Final = 1_000
"""Bytes of a list of addresses that is worth remembering."""

_known = lru_cache(maxsize=2_000)(_parsed)
"""People write to the same people, and each list is looked at more than once."""


def date(content: bytes, start: int = 0, end: int | None = None) -> datetime | None:
    """Return the `Date:` of the message as aware UTC, or `None` where it says none.

    The message may be a part of `content`.  An unknown zone is taken for UTC (RFC 5322,
    section 4.3).
    """
    return _moment(Block(content, _DATE, start, end).value(b"date"))


def _moment(value: bytes) -> datetime | None:
    text = value[:_LONGEST_DATE]
    if text.find(b"(") >= 0:
        text = _COMMENT.sub(b" ", text)
    match = _MOMENT.match(text.strip())
    if match is None:
        return None
    month = _MONTHS.get(match[2].lower())
    if month is None:
        return None
    year = int(match[3])
    if len(match[3]) < len("2025"):
        year += 2000 if len(match[3]) == len("25") and year < _CENTURY else 1900
    second = min(int(match[6] or 0), 59)
    try:
        local = datetime(
            year, month, int(match[1]), int(match[4]), int(match[5]), second, tzinfo=UTC
        )
        return local - _offset(match[7] or b"")
    except (ValueError, OverflowError):
        return None


def _offset(zone: bytes) -> timedelta:
    if zone[:1] in {b"+", b"-"}:
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5]))
        return -offset if zone[:1] == b"-" else offset
    return timedelta(hours=_ZONES.get(zone.lower(), 0))


def fork_key(content: bytes) -> Digest:
    """Return a key that the forks of one message share, and two messages do not.

    Forks differ in transport headers only.  The key is the SHA-256 over a version tag,
    the Message-ID without white space, `Date`, `From`, `Sender`, `Reply-To`, `Subject`,
    `To`, `Cc`, `Content-Type`, `Content-Transfer-Encoding`, `Content-Disposition`,
    `MIME-Version` and the `Resent-` fields, with white space collapsed outside of quotes,
    and the digest of the body, each with its length in front.
    Without a Message-ID nothing tells forks from copies: the key is of the whole content.
    So it is where readers disagree on the header, about a bare CR or a NUL in it.
    """
    block = Block(content, _FORK)
    values = block.grouped()
    message_id = squash(values.get(b"message-id", _NOTHING)[0])
    if not message_id or _is_odd(content, block.stop):
        return Digest.of(content)
    body = memoryview(content)[len(content) if block.body is None else block.body :]
    fields = [b"\n".join(map(_collapsed, values.get(name, ()))) for name in _FORK_FIELDS]
    parts = [_FORK_VERSION, message_id, *fields, hashlib.sha256(body).digest()]
    return Digest.of(b"".join([struct.pack(">Q", len(part)) + part for part in parts]))


def _collapsed(value: bytes) -> bytes:
    parts = value.split(b'"')
    if len(parts) == 1:
        return b" ".join(value.split())
    if value.find(b"\\") < 0:  # what stands in quotes is each second part
        parts[::2] = [b" ".join((b'"%b"' % part).split())[1:-1] for part in parts[::2]]
        return b'"'.join(parts)
    return _BLANKS.sub(lambda found: found[1] or b" ", value)


def _is_odd(content: bytes, stop: int) -> bool:
    ends = content.count(b"\r\n", 0, stop)
    return content.count(b"\r", 0, stop) != ends or content.find(b"\0", 0, stop) >= 0


def without(content: bytes, names: Collection[str]) -> bytes:
    """Return the message without the named header fields, every other byte as it was.

    Only the top header block is looked at, but every line of it that any reader would take
    for such a field: behind a bare CR or an empty first line, with a NUL or a fold in its
    name.  Cutting again finds nothing more.  Where there is nothing to cut, the same object
    comes back.
    """
    wanted = _lowered(tuple(names))
    return cut(content, wanted) if wanted else content


@lru_cache(maxsize=64)
def _lowered(names: tuple[str, ...]) -> frozenset[bytes]:
    return frozenset(name.lower().encode() for name in names if name)


def is_plain(content: bytes) -> bool:
    """Return whether all that a mail program shows as the header is where `without` cuts.

    It is not where the content is no message, such as a `.msg` file, TNEF, or a text in
    UTF-16, nor where TNEF (MS-OXTNEF) stands in for the body: that carries the properties
    of the message once more, a table of recipients among them.
    """
    if _FIRST_FIELD.match(content, header_start(content)) is None:
        return not content.strip()
    lowered = content.lower()
    if not any(word in lowered for word in _TNEF_WORDS):
        return True
    return _TNEF_PART.search(lowered) is None


@lru_cache(maxsize=64)
def _names(names: tuple[str, ...]) -> Names:
    return Names(*names)
