"""Messages, read from the connection as a stream: one command for a page of them.

Each body is read straight into the bytes that are handed over, so that memory is bounded
by one message.  What the server sends beside what was asked for is read past, and what it
does not send is found out: gone, refused, or withheld.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive._model import MessageRef, SourceMessage, Unavailable
from mailarchive.errors import SourceUnavailable, Throttled
from mailarchive.sources._imap_commands import (
    LINE_OF_A_MESSAGE,
    SLACK,
    Unnumbered,
    attributes,
    select,
)
from mailarchive.sources._imap_errors import no_folder, no_numbers
from mailarchive.sources._imap_line import is_worth_waiting
from mailarchive.sources._imap_session import Refused, grammar
from mailarchive.sources._imap_syntax import internal_date, number, uid_set, uid_sets
from mailarchive.sources._imap_wire import Broken, Garbled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from mailarchive.sources._imap_limits import ImapLimits
    from mailarchive.sources._imap_line import Line
    from mailarchive.sources._imap_session import Session, Untagged
    from mailarchive.sources._imap_syntax import Value

_BODY_FOLLOWS = re.compile(rb"BODY\[\](?:<\d{1,10}>)? ~?\{\d{1,20}\+?\}\r\n\Z", re.IGNORECASE)
_UID = re.compile(rb"[( ]UID (\d{1,10})[ )]", re.IGNORECASE)
_MOST_UIDS = 1_000

_POISONOUS = 3
"""Connections that break off at one message, the last time when it is asked for alone."""

_PLACEHOLDER = re.compile(
    rb"^Subject: Retrieval using the IMAP4 protocol failed for the following message: (\d+)\r?$",
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


@frozen
class Body:
    """One message as the server handed it over; `raw` is `None` where it sent no body."""

    uid: int
    raw: bytes | None = field(repr=False)
    received_at: datetime | None
    flags: frozenset[str]


class _Reader:
    """Decides about each literal of one FETCH while it comes."""

    def __init__(self, session: Session, uids: Sequence[int], limits: ImapLimits) -> None:
        self._session, self._limits = session, limits
        self.due = set(uids)
        self._unnamed = len(self.due)

    def keep(self, untagged: Untagged, size: int) -> bool:
        """Whether to read a literal into memory; what is not wanted spends the budget."""
        head = untagged.segments[-1]
        if untagged.kind != b"FETCH" or not _BODY_FOLLOWS.search(head):
            return True
        uid = _UID.search(b"".join(untagged.segments[::2]))
        if (uid is not None and int(uid[1]) not in self.due) or len(untagged.segments) > 1:
            return False
        if uid is None:
            self._unnamed -= 1
            if self._unnamed < 0:
                raise Garbled("the server sent more messages than were asked for")
        if size > self._limits.message_octets:
            raise Oversized(int(uid[1]) if uid else None)
        self._session.wire.allow(size)
        return True


def bodies(
    session: Session, text: bytes, uids: Sequence[int], limits: ImapLimits
) -> Iterator[Body]:
    """Fetch a set of messages and yield each as soon as it is there, at most once."""
    reader = _Reader(session, uids, limits)
    octets = SLACK + LINE_OF_A_MESSAGE * len(uids)
    items = b"(UID FLAGS INTERNALDATE BODY.PEEK[])"
    for untagged in session.stream(b"UID FETCH", text, items, octets=octets, keep=reader.keep):
        if untagged.kind != b"FETCH":
            continue
        told = attributes(untagged)
        if b"UID" not in told or b"BODY[]" not in told:
            continue
        with grammar():
            body = _body(told)
        if body.uid in reader.due:
            reader.due.discard(body.uid)
            yield body


def _body(told: dict[bytes, Value]) -> Body:
    raw = told[b"BODY[]"]
    return Body(
        number(told[b"UID"]),
        raw if isinstance(raw, bytes) else None,
        internal_date(told.get(b"INTERNALDATE")),
        _flags(told.get(b"FLAGS")),
    )


def _flags(value: Value) -> frozenset[str]:
    r"""Return the flags; `\Recent` is about our session and not about the message."""
    words = value if isinstance(value, list) else ()
    flags = {word.decode("latin-1") for word in words if isinstance(word, bytes)}
    return frozenset(flag for flag in flags if flag.lower() != "\\recent")


def is_placeholder(uid: int, raw: bytes) -> bool:
    """Return whether Exchange made this up in place of a message that it cannot read.

    It names the UID and never travelled; somebody's mail with that subject did.
    """
    if len(raw) > _PLACEHOLDER_OCTETS:
        return False
    header = raw.partition(b"\r\n\r\n")[0]
    found = _PLACEHOLDER.search(header)
    return found is not None and int(found[1]) == uid and not _TRAVELLED.search(header)


class Fetching:
    """The reading of some messages of one folder, through every fault that can be survived.

    `_due` are the UIDs that are not yet answered for, `_work` the batches that ask for
    them.  A batch that fails is salvaged (its answers so far count) and halved, down to
    the one message that the server cannot hand over.
    """

    def __init__(self, line: Line, folder: str, epoch: int, refs: dict[int, MessageRef]) -> None:
        """Take what to read, by UID."""
        self._line, self._limits = line, line.limits
        self._folder, self._epoch, self._refs = folder, epoch, refs
        self._due = set(refs)
        self._patience = line.patience()
        self._breaks: dict[int, int] = {}
        self._work = deque(
            uids for _, uids in uid_sets(list(refs), self._limits.command_octets, _MOST_UIDS)
        )

    def __iter__(self) -> Iterator[SourceMessage | Unavailable]:
        """Yield each message, or why it cannot be had; what is gone is left out."""
        while self._work:
            batch = [uid for uid in self._work.popleft() if uid in self._due]
            if not batch:
                continue
            try:
                session = self._opened()
                if session is None:
                    return
                yield from self._read(session, batch)
            except Refused as error:
                yield from self._after_refusal(batch, error)
            except Oversized as error:
                yield from self._after_oversized(batch, error)
            except (Broken, SourceUnavailable, Throttled) as error:
                yield from self._after_break(batch, error)

    def _opened(self) -> Session | None:
        """Return a session that has the folder open; `None` where it is another by now."""
        session = self._line.session()
        selected = session.selected
        if selected is None or selected.key != self._folder or selected.writable:
            try:
                selected = select(session, self._folder)
            except Unnumbered:
                raise no_numbers(self._line.place) from None
            except Refused as error:
                if is_worth_waiting(error):
                    raise
                raise no_folder(self._line.place, "opening a folder", error) from None
        return session if selected.uidvalidity == self._epoch else None

    def _read(self, session: Session, batch: list[int]) -> Iterator[SourceMessage | Unavailable]:
        for body in bodies(session, uid_set(batch), batch, self._limits):
            ref = self._refs[body.uid]
            if body.raw is None or (not body.raw and ref.size):
                continue
            self._answered(body.uid)
            if is_placeholder(body.uid, body.raw):
                yield Unavailable(ref, "the server sent a notice in place of the message")
            else:
                yield SourceMessage(ref, body.raw, body.received_at, body.flags)
        if withheld := self._still_there(session, [uid for uid in batch if uid in self._due]):
            yield from self._halve(withheld, "the server answers OK and sends no message")

    def _answered(self, uid: int) -> None:
        self._due.discard(uid)
        self._patience.progress()

    def _still_there(self, session: Session, uids: list[int]) -> list[int]:
        """Return which of these the folder holds; the others are gone, and left out."""
        there: set[int] = set()
        if uids:
            octets = SLACK + LINE_OF_A_MESSAGE * len(uids)
            for untagged in session.stream(
                b"UID FETCH", uid_set(uids), b"(UID FLAGS)", octets=octets
            ):
                if untagged.kind == b"FETCH" and b"UID" in (told := attributes(untagged)):
                    with grammar():
                        there.add(number(told[b"UID"]))
        self._due -= set(uids) - there
        return [uid for uid in uids if uid in there]

    def _halve(self, uids: list[int], reason: str) -> Iterator[Unavailable]:
        """Ask again in two halves; one message alone is the one that cannot be had."""
        if len(uids) > 1:
            middle = len(uids) // 2
            self._work.extendleft((uids[middle:], uids[:middle]))
        else:
            yield from self._give_up(uids[0], reason)

    def _give_up(self, uid: int, reason: str, *, permanent: bool = False) -> Iterator[Unavailable]:
        if uid in self._due:
            self._due.discard(uid)
            yield Unavailable(self._refs[uid], reason, permanent)

    def _after_refusal(self, batch: list[int], error: Refused) -> Iterator[Unavailable]:
        left = [uid for uid in batch if uid in self._due]
        if is_worth_waiting(error):
            self._patience.after(error)
            self._work.appendleft(left)
        elif left:
            yield from self._halve(left, f"the server refuses to hand it over: {error}")

    def _after_oversized(self, batch: list[int], error: Oversized) -> Iterator[Unavailable]:
        self._line.drop()
        left = [uid for uid in batch if uid in self._due]
        too_large = f"larger than the limit of {self._limits.message_octets} octets"
        if error.uid is not None and error.uid in self._due:
            self._work.appendleft(left)
            yield from self._give_up(error.uid, too_large, permanent=True)
        elif len(left) == 1:
            yield from self._give_up(left[0], too_large, permanent=True)
        else:
            yield from self._halve(left, too_large)

    def _after_break(
        self, batch: list[int], error: Broken | SourceUnavailable | Throttled
    ) -> Iterator[Unavailable]:
        """Connect again and go on; a message at which it always breaks is left behind."""
        self._line.drop()
        left = [uid for uid in batch if uid in self._due]
        if not left:
            return
        suspect = left[0]
        if isinstance(error, Broken):
            self._breaks[suspect] = self._breaks.get(suspect, 0) + 1
        breaks = self._breaks.get(suspect, 0)
        if len(left) == 1 and breaks >= _POISONOUS:
            yield from self._give_up(suspect, "the connection breaks off at this message")
            return
        self._patience.after(error)
        alone = left[:1] if breaks >= _POISONOUS - 1 else []
        self._work.extendleft((left[len(alone) :], alone))
