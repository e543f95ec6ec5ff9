"""Removal: exactly the messages that have a receipt, each only if it is still the same.

There is no plain EXPUNGE and no CLOSE here, both of which would take messages that others
marked.  A message of ours that is marked already, by an earlier attempt that broke off or
by a person, is removed: it is archived, and both want it gone.

Where a message goes to another folder and the server has no MOVE, it is marked, then
copied, then expunged.  The mark comes first, since it says that there may be a copy: only
what is marked already is looked for in the other folder, and what has a copy stays marked.
"""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING

from attrs import frozen

from mailarchive._model import Digest, Kept, Removed, Unavailable, Vanished
from mailarchive.errors import MailboxNotFound
from mailarchive.sources._imap_ahead import Ahead, Some
from mailarchive.sources._imap_commands import (
    LINE_OF_A_MESSAGE,
    SLACK,
    attributes,
    listed_of,
    modseq_in,
    opened,
    unselect,
)
from mailarchive.sources._imap_copied import digests_in
from mailarchive.sources._imap_errors import RENUMBERED, is_transient, is_worth_waiting
from mailarchive.sources._imap_fetch import Fetching
from mailarchive.sources._imap_session import Refused, grammar, mailbox_name
from mailarchive.sources._imap_syntax import internal_date, number, uid_set, uid_sets
from mailarchive.sources._imap_wire import Broken

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from mailarchive._model import Archived, RemovalResult
    from mailarchive.sources._imap_line import Line
    from mailarchive.sources._imap_rights import Rights
    from mailarchive.sources._imap_session import Selected, Session, Untagged
    from mailarchive.sources._imap_syntax import Value

_AT_ONCE = 500

_CHANGED = "changed while it was about to be removed"


class Recheck(StrEnum):
    """How a message is known to be still the one that was archived, before it is removed."""

    BYTES = "bytes"
    """It is read once more, and its SHA-256 is the one in the receipt."""
    SIZE = "size"
    """The server tells the same size as when it was listed: for servers that make the
    bytes anew on each request, so that two readings may differ."""


@frozen
class _State:
    """What the server says of a message that it holds."""

    flags: frozenset[bytes]
    size: int
    modseq: int | None
    received_at: datetime | None

    @property
    def marked(self) -> bool:
        return b"\\DELETED" in self.flags

    @property
    def flagged(self) -> bool:
        return b"\\FLAGGED" in self.flags

    def is_ours(self, before: _State) -> bool:
        """Whether it took our mark, and is what it was when it was looked at before."""
        return self.marked and not self.flagged and self.size == before.size


class Removing:
    """The removal of some messages of one folder; may be done again after a break."""

    def __init__(
        self,
        line: Line,
        folder: str,
        epoch: int,
        archived: Mapping[int, Archived],
        *,
        recheck: Recheck,
        rights: Rights,
        too_young: Callable[[datetime | None], bool],
        target: str | None = None,
    ) -> None:
        """Take the messages by UID, and the key of the folder to move them to, if any."""
        self._rights, self._too_young = rights, too_young
        self._line, self._folder, self._epoch = line, folder, epoch
        self._archived, self._recheck, self._target = archived, recheck, target
        self._results: dict[int, RemovalResult] = {}
        self._proven: set[int] = set()
        self._asked: set[int] = set()
        self._copied: set[int] = set()

    def results(self) -> tuple[RemovalResult, ...]:
        """Remove, and return one result for each; raises our errors."""
        if why := self._line.run(self._bar, "asking for the rights in a folder"):
            self._keep(list(self._archived), why)
            return tuple(self._results.values())
        if self._recheck is Recheck.BYTES:
            self._compare_bytes()
        self._line.run(self._remove, "removing messages")
        return tuple(self._results.values())

    def _bar(self, session: Session) -> str | None:
        return self._rights.missing(session, self._folder, self._target)

    def _compare_bytes(self) -> None:
        """Read each message once more; only what has the bytes of its receipt goes on."""
        refs = {uid: each.ref for uid, each in self._archived.items()}
        uids = {ref: uid for uid, ref in refs.items()}
        some = Some(self._folder, self._epoch, refs)
        for item in Fetching(self._line, some, Ahead(self._line.limits)):
            uid = uids[item.ref]
            if isinstance(item, Unavailable):
                self._keep([uid], "it cannot be read again to be compared")
            elif Digest.of(item.raw) == self._archived[uid].receipt.stored_digest:
                self._proven.add(uid)
            else:
                self._keep([uid], "changed: it has other bytes")

    def _remove(self, session: Session) -> None:
        selected = opened(session, self._line.place, self._folder, writable=True)
        left = [uid for uid in self._archived if uid not in self._results]
        if selected.uidvalidity != self._epoch:
            self._keep(left, RENUMBERED)
        elif not selected.writable:
            self._keep(left, "the folder may only be read")
        else:
            octets = self._line.limits.command_octets
            for _, uids in uid_sets(left, octets, _AT_ONCE):
                self._remove_some(session, selected, uids)
        unselect(session)

    def _remove_some(self, session: Session, selected: Selected, uids: list[int]) -> None:
        states = _states(session, selected, uids)
        self._note_gone(session, uids, states)
        same = {uid: states[uid] for uid in states if self._is_same(uid, states[uid])}
        if not same:
            return
        try:
            self._take_away(session, selected, same)
        except Refused as error:
            if is_worth_waiting(error):
                raise
            self._put_back(session, same, same)
            if is_transient(error):
                raise  # what is left is still to be removed, by the next run
            left = sorted(uid for uid in same if uid not in self._results)
            self._keep(left, f"the server refuses: {error}")

    def _is_same(self, uid: int, state: _State) -> bool:
        size = self._archived[uid].ref.size
        if state.flagged:
            self._keep([uid], "flagged")
        elif size is not None and state.size != size:
            self._keep([uid], "changed: it has another size")
        elif self._too_young(state.received_at):
            # Its date was not told when it was listed, and what has none is archived at once.
            self._keep([uid], "it is not old enough")
        elif size is None and self._recheck is Recheck.SIZE:
            self._keep([uid], "it was listed without a size, and there is nothing to compare")
        elif self._recheck is Recheck.BYTES and uid not in self._proven:
            self._keep([uid], "it could not be read again to be compared")
        else:
            return True
        return False

    def _take_away(
        self, session: Session, selected: Selected, states: Mapping[int, _State]
    ) -> None:
        uids = sorted(states)
        if self._target is not None and "MOVE" in session.capabilities:
            self._asked.update(uids)
            self._to_target(session, b"UID MOVE", uids)
            taken = uids
        else:
            if self._target is not None:
                states = self._without_doubts(session, self._target, states)
            # Some servers expunge what is marked at once.
            self._asked.update(states)
            taken = self._mark(session, selected, states) if states else []
            if self._target is not None:
                self._copy(session, taken, states)
            if taken:
                session.tell(b"UID EXPUNGE", uid_set(taken), octets=_octets(taken))
        there = _states(session, selected, taken)
        self._note_gone(session, taken, there)
        self._put_back(session, there, states)
        self._keep(sorted(there), "the server did not remove it")

    def _without_doubts(
        self, session: Session, target: str, states: Mapping[int, _State]
    ) -> Mapping[int, _State]:
        """Find out which have a copy from an earlier attempt; return all but the unclear.

        Where bytes are made anew on each request a copy may not be known again.
        """
        doubts = [uid for uid in states if states[uid].marked and uid not in self._copied]
        if not doubts:
            return states
        there = self._there(session, target, {states[uid].size for uid in doubts})
        known = {
            uid for uid in doubts if self._archived[uid].receipt.stored_digest in (there or ())
        }
        self._copied |= known
        clear = there is not None and self._recheck is Recheck.BYTES
        unclear = [] if clear else [uid for uid in doubts if uid not in known]
        self._keep(unclear, "marked as deleted already, and it may have been copied")
        return {uid: states[uid] for uid in states if uid not in unclear}

    def _there(
        self, session: Session, target: str, sizes: Collection[int]
    ) -> frozenset[Digest] | None:
        """Return what is in the other folder, and come back; `None` where that cannot be read."""
        found: frozenset[Digest] | None = None
        try:
            found = digests_in(session, self._line, target, sizes)
        except Refused as error:
            if is_worth_waiting(error):
                raise
        except MailboxNotFound as error:
            raise self._no_target(error) from None
        here = opened(session, self._line.place, self._folder, writable=True)
        if here.uidvalidity != self._epoch:
            raise Broken(RENUMBERED)
        return found

    def _copy(self, session: Session, uids: list[int], states: Mapping[int, _State]) -> None:
        """Copy what has no copy yet; a refused COPY has copied nothing (RFC 3501, 6.4.7)."""
        left = [uid for uid in uids if uid not in self._copied]
        if not left:
            return
        try:
            self._to_target(session, b"UID COPY", left)
        except (Refused, MailboxNotFound):
            self._put_back(session, left, states)
            raise
        self._copied.update(left)

    def _mark(
        self, session: Session, selected: Selected, states: Mapping[int, _State]
    ) -> list[int]:
        """Mark as deleted what has not changed since it was looked at; return what is."""
        uids = sorted(states)
        modseqs = [state.modseq for state in states.values() if state.modseq is not None]
        since = [b"(UNCHANGEDSINCE %d)" % max(modseqs)] if len(modseqs) == len(uids) else []
        store = [b"UID STORE", uid_set(uids), *since, b"+FLAGS.SILENT", b"(\\Deleted)"]
        session.tell(*store, octets=_octets(uids))
        now = _states(session, selected, uids)
        spared = [uid for uid in now if not now[uid].is_ours(states[uid])]
        self._put_back(session, [uid for uid in spared if now[uid].marked], states)
        untouched = [uid for uid in spared if now[uid] == states[uid]]
        self._keep(untouched, "the server takes no mark: this login may not remove here")
        self._keep([u for u in spared if u not in untouched], _CHANGED)
        self._note_gone(session, uids, now)
        return [uid for uid in now if uid not in spared]

    def _to_target(self, session: Session, command: bytes, uids: list[int]) -> None:
        try:
            session.tell(
                command, uid_set(uids), mailbox_name(self._target or ""), octets=_octets(uids)
            )
        except Refused as error:
            if error.code in {"TRYCREATE", "NONEXISTENT"}:
                raise self._no_target(error) from None
            raise

    def _no_target(self, error: Exception) -> MailboxNotFound:
        why = f": {error}" if isinstance(error, Refused) else ""
        return MailboxNotFound(
            f"{self._line.place}: the folder to move messages to is not there{why}",
            suggestions=["create the folder that remove_to names"],
        )

    def _put_back(
        self, session: Session, uids: Iterable[int], before: Mapping[int, _State]
    ) -> None:
        """Take our mark off again, where the server lets us.

        What has a copy keeps it: it tells the next attempt not to make another one.
        """
        ours = sorted(u for u in uids if not before[u].marked and u not in self._copied)
        if ours:
            store = (b"UID STORE", uid_set(ours), b"-FLAGS.SILENT", b"(\\Deleted)")
            with suppress(Refused):
                session.tell(*store, octets=_octets(ours))

    def _note_gone(
        self, session: Session, uids: Sequence[int], there: Mapping[int, _State]
    ) -> None:
        """Take down what is gone; what is listed, and only said nothing of, is not."""
        silent = [uid for uid in uids if uid not in there]
        listed = listed_of(session, silent) if silent else frozenset()
        self._keep(sorted(listed), "the server says nothing of it any more")
        for uid in silent:
            if uid not in listed:
                ref = self._archived[uid].ref
                self._results[uid] = Removed(ref) if uid in self._asked else Vanished(ref)

    def _keep(self, uids: list[int], why: str) -> None:
        for uid in uids:
            self._results[uid] = Kept(self._archived[uid].ref, why)


def _octets(uids: list[int]) -> int:
    return SLACK + LINE_OF_A_MESSAGE * len(uids)


def _states(session: Session, selected: Selected, uids: list[int]) -> dict[int, _State]:
    """Return what the server says of those messages that it holds."""
    if not uids:
        return {}
    modseq = selected.highest_modseq is not None and "CONDSTORE" in session.capabilities
    items = b"(UID FLAGS RFC822.SIZE INTERNALDATE%b)" % (b" MODSEQ" if modseq else b"")
    found: dict[int, _State] = {}
    for untagged in session.stream(b"UID FETCH", uid_set(uids), items, octets=_octets(uids)):
        if untagged.kind == b"FETCH":
            _note(untagged, found)
    return {uid: found[uid] for uid in uids if uid in found}


def _note(untagged: Untagged, found: dict[int, _State]) -> None:
    told = attributes(untagged)
    if not told.keys() >= {b"UID", b"FLAGS", b"RFC822.SIZE"}:
        return
    flags = told[b"FLAGS"]
    with grammar():
        found[number(told[b"UID"])] = _State(
            frozenset(flag.upper() for flag in flags if isinstance(flag, bytes))
            if isinstance(flags, list)
            else frozenset(),
            number(told[b"RFC822.SIZE"]),
            _modseq(told.get(b"MODSEQ")),
            internal_date(told.get(b"INTERNALDATE")),
        )


def _modseq(value: Value | None) -> int | None:
    """Return the MODSEQ of a message; `None` for what is none."""
    first = value[0] if isinstance(value, list) and value else None
    return modseq_in(first) if isinstance(first, bytes) else None
