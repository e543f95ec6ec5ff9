"""One message, rendered twice: what stays the same when Exchange makes its MIME anew.

Exchange keeps no MIME.  It makes it on each request, over each protocol and in each version
a little differently: other transport headers, other boundaries, charsets, transfer encodings
and line ends.  So the bytes cannot tell that a message read over Graph is the one that was
read over IMAP last year; and the Message-ID alone cannot either, since drafts, resends and
copies of a list share it.

The fingerprint is over what the author wrote, version 1 of it over these, each with its
length in front:

1.  the Message-ID without white space;
2.  the moment of `Date:`, to the second;
3.  the addresses in `From:` and `Sender:`, then those in `To:`, then those in `Cc:`, each
    group as a sorted set of normal forms;
4.  the decoded subject, white space collapsed;
5.  every part that holds something, in no order: of text its words, of HTML the words that
    a browser shows and where its links lead, of a message inside it the fingerprint's parts
    of that, of everything else the digest of its bytes.  What Exchange wraps in
    `winmail.dat`, and the moment at which a calendar part was made, are left out.

Two messages with one fingerprint are shown as one, and both are kept: it is no identity.
Pure, linear and total; any bytes have a fingerprint.
"""

from __future__ import annotations

import hashlib
import html
import re
import struct
from typing import TYPE_CHECKING, Final

from mailarchive import headers
from mailarchive._model import Digest
from mailarchive._rfc5322 import Block, Names, decode_header, decode_text, squash
from mailarchive.errors import LimitExceeded
from mailarchive.journal import Limits
from mailarchive.journal._html import to_text
from mailarchive.journal._mime import Part, boundary, cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["VERSION", "of"]

VERSION: Final = 1
"""Changes whenever one message could get another fingerprint than before."""

_TAG: Final = b"mailarchive/fingerprint/%d" % VERSION
_LIMITS: Final = Limits(header_bytes=1 << 20, parts=10_000)
_DEPTH: Final = 20
"""Levels of parts, and of messages within messages; what is deeper counts as bytes."""

_HEADER: Final = Names("Message-ID", "Date", "Subject")
_PEOPLE: Final = (("From", "Sender"), ("To",), ("Cc",))
_MAILS: Final = frozenset({b"message/rfc822", b"message/global"})
_TNEF: Final = frozenset({b"application/ms-tnef", b"application/vnd.ms-tnef"})
_LINK: Final = re.compile(
    r"""\b(?:href|src)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE
)
_STAMP: Final = re.compile(r"^(?:DTSTAMP|LAST-MODIFIED|CREATED)[:;][^\n]*\n?", re.MULTILINE)
_UNFOLD: Final = re.compile(r"\r?\n[ \t]")


def of(content: bytes) -> Digest:
    """Return the fingerprint of a message; of one without a Message-ID the digest of it all.

    Without a Message-ID nothing tells a rendering from another copy.
    """
    block = Block(content, _HEADER)
    message_id = squash(block.value(b"message-id"))
    if not message_id:
        return Digest.of(content)
    return Digest.of(_joined([_TAG, message_id, *_canonical(content, 0)]))


def _canonical(content: bytes, depth: int) -> Iterator[bytes]:
    """Yield everything but the Message-ID."""
    block = Block(content, _HEADER)
    yield _moment(content, block.value(b"date"))
    for names in _PEOPLE:
        found = {address.normal for address in headers.addresses(content, names)}
        yield _joined(_encoded(each) for each in sorted(found))
    yield _words(decode_header(block.value(b"subject")))
    yield _joined(sorted(_leaves(content, depth)))


def _moment(content: bytes, written: bytes) -> bytes:
    moment = headers.date(content)
    return b" ".join(written.split()) if moment is None else b"@%d" % int(moment.timestamp())


def _leaves(content: bytes, depth: int) -> list[bytes]:
    """Return a digest of each part that holds something."""
    try:
        whole = Part(content, 0, len(content), _LIMITS.header_bytes, closed=False)
        return [leaf for leaf in _part(whole, depth) if leaf]
    except LimitExceeded:
        return [hashlib.sha256(content).digest()]


def _part(part: Part, depth: int) -> Iterator[bytes]:
    if part.kind.startswith(b"multipart/") and depth < _DEPTH:
        delimiter = boundary(part.header.content_type)
        if delimiter:
            for each in cut(part.raw, delimiter, part.start, part.end, _LIMITS)[0]:
                yield from _part(each, depth + 1)
            return
    if part.kind not in _TNEF and part.filename != "winmail.dat":
        yield _leaf(part, depth)


def _leaf(part: Part, depth: int) -> bytes:
    """Return the digest of what a part holds, or nothing where it holds nothing."""
    data = part.content(len(part.raw), "text_bytes")
    if part.kind in _MAILS and depth < _DEPTH:
        inside = [b"message", squash(Block(data, _HEADER).value(b"message-id"))]
        return hashlib.sha256(_joined([*inside, *_canonical(data, depth + 1)])).digest()
    if part.kind.startswith(b"text/"):
        words = _text(part, data)
        return hashlib.sha256(b"text" + words).digest() if words else b""
    return hashlib.sha256(b"data" + data).digest() if data else b""


def _text(part: Part, data: bytes) -> bytes:
    text, _ = decode_text(data, part.header.charset)
    if part.kind == b"text/html":
        return _words(to_text(text)) + _joined(_links(text))
    if part.kind == b"text/calendar":
        text = _STAMP.sub("", _UNFOLD.sub("", text).replace("\r\n", "\n"))
    return _words(text)


def _links(markup: str) -> list[bytes]:
    """Return where links lead and pictures come from, but for the parts of the message."""
    found = ("".join(groups) for groups in _LINK.findall(markup))
    targets = {html.unescape(each).strip() for each in found}
    return sorted(_encoded(each) for each in targets if each and not each.startswith("cid:"))


def _words(text: str) -> bytes:
    """Collapse white space of every kind, which lines are wrapped and padded with."""
    return _encoded(" ".join(text.replace("\0", " ").split()))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _joined(parts: Iterable[bytes]) -> bytes:
    return b"".join(struct.pack(">Q", len(part)) + part for part in parts)
