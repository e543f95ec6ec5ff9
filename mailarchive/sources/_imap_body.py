"""The body of a message, read from the connection while it comes.

Each is read straight into the bytes that are handed over, so that memory is bounded by one
message.  What the server sends beside what was asked for is read past.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive.sources._imap_commands import LINE_OF_A_MESSAGE, SLACK, attributes, flags_in
from mailarchive.sources._imap_session import grammar
from mailarchive.sources._imap_syntax import internal_date, number
from mailarchive.sources._imap_wire import Broken, Garbled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from mailarchive.sources._imap_limits import ImapLimits
    from mailarchive.sources._imap_session import Session, Untagged
    from mailarchive.sources._imap_syntax import Value

_BODY_FOLLOWS = re.compile(rb"BODY\[\](?:<\d{1,10}>)? ~?\{\d{1,20}\+?\}\r\n\Z", re.IGNORECASE)
_UID = re.compile(rb"[( ]UID (\d{1,10})[ )]", re.IGNORECASE)
_NOTICE = rb"Retrieval using the IMAP4 protocol failed for the following message: (\d{1,10})"
_WORD_OF_THE_NOTICE = b"retrieval"
_PLACEHOLDER = re.compile(
    # A long header may be folded at any of its spaces.
    rb"^Subject: " + _NOTICE.replace(b" ", rb"(?:\r\n)?[ \t]+") + rb"\r?$",
    re.IGNORECASE | re.MULTILINE,
)
_TRAVELLED = re.compile(rb"^(?:Received|X-MS-Journal-Report):", re.IGNORECASE | re.MULTILINE)
_PLACEHOLDER_OCTETS = 1 << 16


class Oversized(Broken):
    """A message is larger than we read; what follows on this connection is its body."""

    def __init__(self, uid: int | None) -> None:
        """Take the UID, where the server told it before the body."""
        super().__init__("a message is larger than the limit")
        self.uid = uid


class Overtaken(Broken):
    """The next answer begins before this one is whole: what is missing does not come."""


@frozen
class Body:
    """One message as the server handed it over; `raw` is `None` where it sent no body."""

    uid: int
    raw: bytes | None = field(repr=False)
    received_at: datetime | None
    flags: frozenset[str]
    start: int | None = None
    """Where in the message `raw` begins; `None` where it is the whole."""


class _Reader:
    """Decides about each literal of one FETCH while it comes."""

    def __init__(
        self, session: Session, uids: Sequence[int], limits: ImapLimits, *, more: bool
    ) -> None:
        self._session, self._limits, self._more = session, limits, more
        self._asked, self.due = frozenset(uids), set(uids)
        self._left = len(self.due)

    def keep(self, untagged: Untagged, size: int) -> bool:
        """Whether to read a literal into memory; what is not wanted spends the budget."""
        head = untagged.segments[-1]
        if untagged.kind != b"FETCH" or not _BODY_FOLLOWS.search(head):
            return True
        uid = _UID.search(b"".join(untagged.segments[::2]))
        if self._more and uid is not None and int(uid[1]) not in self._asked:
            raise Overtaken("the next answer began in the middle of this one")
        if (uid is not None and int(uid[1]) not in self.due) or len(untagged.segments) > 1:
            return False
        # The UID is what the text so far looks like; the grammar has its say later.
        self._left -= 1
        if self._left < 0:
            raise Garbled("the server sent more messages than were asked for")
        if size > self._limits.message_octets:
            raise Oversized(int(uid[1]) if uid else None)
        self._session.wire.allow(size)
        return True


@frozen
class Part:
    """A part of a message: so many octets from a place on (RFC 3501, 6.4.5)."""

    start: int
    octets: int


def wanted(text: bytes, part: Part | None = None) -> tuple[bytes, bytes, bytes]:
    """Return the command that fetches a set of messages, or that part of each."""
    some = b"" if part is None else b"<%d.%d>" % (part.start, part.octets)
    return b"UID FETCH", text, b"(UID FLAGS INTERNALDATE BODY.PEEK[]%b)" % some


def bodies(
    session: Session,
    tag: bytes,
    uids: Sequence[int],
    limits: ImapLimits,
    part: Part | None = None,
    *,
    more: bool = False,
) -> Iterator[Body]:
    """Yield each message as soon as it is there, at most once; `tag` is of what was asked.

    With `part` it is only so much of each, in a `Body` that may be the whole all the same
    where a server knows no parts.  With `more` another answer follows: then this one ends
    with its last message, and raises `Overtaken` where the other one begins before.
    """
    reader = _Reader(session, uids, limits, more=more)
    octets = SLACK + LINE_OF_A_MESSAGE * len(uids)
    for untagged in session.answer(tag, octets=octets, keep=reader.keep):
        if untagged.kind != b"FETCH" or untagged.partial:
            continue
        body = _body(attributes(untagged), part)
        if body is not None and body.uid in reader.due:
            reader.due.discard(body.uid)
            yield body
        if more and not reader.due:
            return


def _body(told: Mapping[bytes, Value], part: Part | None) -> Body | None:
    """Return what a response hands over; `None` where it is about something else."""
    if b"UID" not in told:
        return None
    start, raw = None, told.get(b"BODY[]", _ABSENT)
    if raw is _ABSENT and part is not None:
        start, raw = part.start, told.get(b"BODY[]<%d>" % part.start, _ABSENT)
    if raw is _ABSENT:
        return None
    with grammar():
        uid = number(told[b"UID"])
    return Body(
        uid,
        raw if isinstance(raw, bytes) else None,
        internal_date(told.get(b"INTERNALDATE")),
        flags_in(told.get(b"FLAGS")),
        start,
    )


_ABSENT: list[Value] = []


def is_placeholder(uid: int, raw: bytes) -> bool:
    """Return whether Exchange made this up in place of a message that it cannot read.

    It names the UID and never travelled; somebody's mail with that subject did.
    """
    if len(raw) > _PLACEHOLDER_OCTETS:
        return False
    header = raw[: max(raw.find(b"\r\n\r\n"), 0) or None]
    if header.lower().find(_WORD_OF_THE_NOTICE) < 0:
        return False
    found = _PLACEHOLDER.search(header)
    return found is not None and int(found[1]) == uid and not _TRAVELLED.search(header)
