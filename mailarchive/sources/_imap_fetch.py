"""Messages, read from the connection as a stream: one command for a page of them.

What the server does not hand over is found out: gone, refused, or withheld.  A large
message is read in pieces, so that a connection that breaks costs a piece.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING

from attrs import evolve

from mailarchive._model import SourceMessage, Unavailable
from mailarchive.errors import SourceUnavailable, Throttled
from mailarchive.sources._imap_body import (
    Body,
    Oversized,
    Overtaken,
    Part,
    bodies,
    is_placeholder,
    wanted,
)
from mailarchive.sources._imap_commands import (
    LINE_OF_A_MESSAGE,
    SLACK,
    attributes,
    listed_of,
    opened,
)
from mailarchive.sources._imap_errors import (
    RENUMBERED,
    invalid_token,
    is_detached,
    is_transient,
    is_worth_waiting,
    pause_asked,
)
from mailarchive.sources._imap_looking import POISONOUS
from mailarchive.sources._imap_session import Refused, grammar
from mailarchive.sources._imap_syntax import number, uid_set
from mailarchive.sources._imap_wire import Broken, Garbled
from mailarchive.sources._imap_witness import Witnesses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailarchive.sources._imap_ahead import Ahead, Asked, Some
    from mailarchive.sources._imap_line import Line
    from mailarchive.sources._imap_session import Session

_COMPARED = 1 << 16
"""Octets at the start of a message read in pieces that are read twice."""

_WAITS = 2
"""Waits for a server that says it cannot now, before it is asked what else it can."""

_REFUSES = "the server refuses to hand it over"


class Fetching:
    """The reading of some messages of one folder, through every fault that can be survived.

    `_due` are the UIDs that are not yet answered for, `_work` the batches that ask for
    them.  A batch that fails is salvaged (its answers so far count) and halved, down to
    the one message that the server cannot hand over.
    """

    def __init__(self, line: Line, some: Some, ahead: Ahead, *, just_listed: bool = False) -> None:
        """Take what to read, and whether a scan of this connection listed it."""
        self._line, self._limits, self._just_listed = line, line.limits, just_listed
        self._some, self._refs, self._ahead = some, some.refs, ahead
        self._due = set(some.refs)
        self._patience = line.patience()
        self._breaks: dict[int, int] = {}
        self._alone = True
        self._serving = False
        self._witnesses = Witnesses(line, some.folder, self._is_served)
        batches, large = some.batches(self._limits)
        self._pieces: dict[int, list[bytes]] = {uid: [] for uid in large}
        self._work = deque([*batches, *([uid] for uid in large)])

    def __iter__(self) -> Iterator[SourceMessage | Unavailable]:
        """Yield each message, or why it cannot be had; what is gone is left out."""
        while self._work:
            batch = [uid for uid in self._work.popleft() if uid in self._due]
            if not batch:
                continue
            try:
                asked = self._ahead.take(self._some, batch)
                self._alone = asked is None
                session = self._opened() if asked is None else asked.session
                if session is None:
                    return
                yield from self._read(session, batch, asked)
            except (Refused, Broken, SourceUnavailable, Throttled) as error:
                yield from self._after(batch, error)
        for uid in sorted(self._due):
            # Not reached by any path that is known; a message is never passed over in silence.
            yield from self._give_up(uid, "the server did not hand it over")

    def _opened(self) -> Session | None:
        """Return a session that has the folder open; `None` where these are not in it.

        A folder that is another one than was listed a moment ago has lost nothing: what
        was listed must not count as gone.
        """
        session = self._line.session()
        some = self._some
        if opened(session, self._line.place, some.folder).uidvalidity == some.epoch:
            return session
        if self._just_listed:
            raise invalid_token(self._line.place, RENUMBERED)
        return None

    def _read(
        self, session: Session, batch: list[int], asked: Asked | None
    ) -> Iterator[SourceMessage | Unavailable]:
        if batch[0] in self._pieces:
            yield from self._read_pieces(session, batch[0])
            if batch[0] not in self._pieces:
                return
        else:
            tag = session.ask(*wanted(uid_set(batch))) if asked is None else asked.tag
            more = not self._work and self._ahead.ask(session, self._some)
            self._alone = asked is None and not more
            with contextlib.suppress(Overtaken):
                for body in bodies(session, tag, batch, self._limits, more=more):
                    yield from self._hand_over(body)
                self._ahead.ready()
        missing = [uid for uid in batch if uid in self._due]
        if missing and asked is not None:
            self._ask_alone(missing)
        elif missing:
            yield from self._explain(missing)

    def _ask_alone(self, batch: list[int]) -> None:
        """Ask again with nothing before or behind, before anybody is blamed for anything."""
        self._ahead.failed()
        self._work.appendleft([uid for uid in batch if uid in self._due])

    def _explain(self, missing: list[int]) -> Iterator[Unavailable]:
        """Find out what became of messages that did not come: gone, or withheld."""
        session = self._opened()  # a new one where the next page's answer stands in between
        if session is None:
            return
        if withheld := self._still_there(session, missing):
            yield from self._halve(withheld, "the server answers OK and sends no message")

    def _hand_over(self, body: Body) -> Iterator[SourceMessage | Unavailable]:
        ref = self._refs[body.uid]
        if body.raw is None or (not body.raw and ref.size != 0):
            return  # nothing came of a message that has something, or may have
        self._answered(body.uid)
        if is_placeholder(body.uid, body.raw):
            yield Unavailable(ref, "the server sent a notice in place of the message")
        else:
            yield SourceMessage(ref, body.raw, body.received_at, body.flags)

    def _read_pieces(self, session: Session, uid: int) -> Iterator[SourceMessage | Unavailable]:
        """Read a message in pieces, from where an earlier connection broke off."""
        while (body := self._piece(session, uid)) is not None and body.start is not None:
            piece, pieces = body.raw or b"", self._pieces[uid]
            if not piece and not pieces:
                return
            pieces.append(piece)
            self._patience.progress()
            self._breaks.pop(uid, None)
            if sum(map(len, pieces)) > self._limits.message_octets:
                raise Oversized(uid)
            if len(piece) < self._limits.piece_octets:
                if self._has_more(session, uid):
                    self._ask_whole(uid)
                else:
                    yield from self._join(session, uid, body)
                return
        if body is not None:
            yield from self._hand_over(body)

    def _piece(self, session: Session, uid: int) -> Body | None:
        part = Part(sum(map(len, self._pieces[uid])), self._limits.piece_octets)
        found = self._part(session, uid, part)
        body = found[0] if found else None
        if body is not None and body.start is not None and len(body.raw or b"") > part.octets:
            raise Garbled("the server sent more of a message than was asked for")
        return body

    def _part(self, session: Session, uid: int, part: Part) -> list[Body]:
        tag = session.ask(*wanted(b"%d" % uid, part))
        return list(bodies(session, tag, [uid], self._limits, part))

    def _has_more(self, session: Session, uid: int) -> bool:
        """Whether a short piece is not the last one: some server gives less than it is asked for.

        A size may be a guess, and so the server is asked; one that refuses to say may have more.
        """
        got = sum(map(len, self._pieces[uid]))
        if got >= (self._refs[uid].size or 0):
            return False
        try:
            return any(body.raw for body in self._part(session, uid, Part(got, 1)))
        except Refused as error:
            if is_worth_waiting(error):
                raise
            return True

    def _ask_whole(self, uid: int) -> None:
        self._pieces.pop(uid, None)
        self._work.append([uid])

    def _join(
        self, session: Session, uid: int, last: Body
    ) -> Iterator[SourceMessage | Unavailable]:
        """Put the pieces together, if they are all of one and the same rendering.

        A server that makes a message anew on each request would give pieces of several.
        """
        raw = b"".join(self._pieces.pop(uid))
        start = self._part(session, uid, Part(0, _COMPARED))
        if start and start[0].raw == raw[:_COMPARED]:
            yield from self._hand_over(evolve(last, raw=raw))
        else:
            self._ask_whole(uid)

    def _answered(self, uid: int) -> None:
        self._due.discard(uid)
        self._pieces.pop(uid, None)
        self._patience.progress()

    def _still_there(self, session: Session, uids: list[int]) -> list[int]:
        """Return which of these the folder holds; the others are gone, and left out.

        A server that answers nothing to any FETCH has lost nothing: it must not list them either.
        """
        there: set[int] = set()
        octets = SLACK + LINE_OF_A_MESSAGE * len(uids)
        for untagged in session.stream(b"UID FETCH", uid_set(uids), b"(UID FLAGS)", octets=octets):
            if untagged.kind == b"FETCH" and b"UID" in (told := attributes(untagged)):
                with grammar():
                    there.add(number(told[b"UID"]))
        if lost := [uid for uid in uids if uid not in there]:
            there |= listed_of(session, lost)
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
        self._pieces.pop(uid, None)
        if uid in self._due:
            self._due.discard(uid)
            yield Unavailable(self._refs[uid], reason, permanent)

    def _after(
        self, batch: list[int], error: Refused | Broken | SourceUnavailable | Throttled
    ) -> Iterator[Unavailable]:
        if not self._alone and _may_be_anothers(error):
            if isinstance(error, Broken):
                self._line.drop()
            self._ask_alone(batch)
        elif isinstance(error, Refused):
            yield from self._after_refusal(batch, error)
        elif isinstance(error, Oversized):
            yield from self._after_oversized(batch, error)
        else:
            yield from self._after_break(batch, error)

    def _after_refusal(self, batch: list[int], error: Refused) -> Iterator[Unavailable]:
        left = [uid for uid in batch if uid in self._due]
        if is_worth_waiting(error):
            if is_detached(error.text):
                self._line.drop()
            self._patience.after(error)
            self._work.appendleft(left)
        elif left and is_transient(error):
            yield from self._after_transient(left, error)
        elif left:
            yield from self._halve(left, f"{_REFUSES}: {error}")

    def _after_transient(self, left: list[int], error: Refused) -> Iterator[Unavailable]:
        """Tell a server that cannot now from a message that it never can (RFC 5530).

        Some say the same of both.  It is the message where others are handed over at this
        very moment; where none is, it is the server, and nobody's message has failed.
        """
        most = min(_WAITS, self._limits.reconnects)
        if self._serving and len(left) > 1:
            yield from self._halve(left, _REFUSES)
        elif (self._serving or self._patience.failures >= most) and self._serves_others(left):
            self._serving = True
            yield from self._halve(left, f"{_REFUSES}: {error}")
        else:
            self._patience.after(error)
            self._work.appendleft(left)

    def _serves_others(self, left: list[int]) -> bool:
        """Whether the server hands over other messages of this folder now."""
        return self._witnesses.served(left if len(left) == 1 else ())

    def _is_served(self, session: Session, uid: int) -> bool:
        return any(body.raw for body in self._part(session, uid, Part(0, _COMPARED)))

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
        if len(left) == 1 and breaks >= POISONOUS:
            yield from self._give_up(suspect, "the connection breaks off at this message")
            if self._serves_others(left):
                self._patience.progress()
            return
        self._patience.after(error)
        alone = left[:1] if breaks >= POISONOUS - 1 else []
        self._work.extendleft((left[len(alone) :], alone))


def _may_be_anothers(error: Refused | Broken | SourceUnavailable | Throttled) -> bool:
    """Whether a fault may lie in there being two commands, or in the answer to the other one."""
    if isinstance(error, Refused):
        return not is_worth_waiting(error)
    if isinstance(error, Oversized):
        return error.uid is None
    return isinstance(error, Broken) and pause_asked(error.detail) is None
