"""What is asked of a session: open a folder, count it, list what is in it."""

from __future__ import annotations

import re
from array import array
from typing import TYPE_CHECKING

from attrs import frozen

from mailarchive.sources._imap_errors import is_worth_waiting, no_folder, no_numbers
from mailarchive.sources._imap_session import Refused, Selected, grammar, mailbox_name
from mailarchive.sources._imap_syntax import (
    LARGEST_NUMBER,
    BadSyntax,
    internal_date,
    number,
    pairs,
    uid_set,
    values,
)
from mailarchive.sources._imap_wire import Garbled

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from mailarchive.sources._imap_errors import Place
    from mailarchive.sources._imap_limits import ImapLimits
    from mailarchive.sources._imap_session import Session, Untagged
    from mailarchive.sources._imap_syntax import Value

LINE_OF_A_MESSAGE = 4_096
"""Octets that the attributes of one message may take; its flags are the only long ones."""

SLACK = 1 << 18
"""Octets of news that a server may put into any answer: EXISTS, FLAGS, EXPUNGE."""

_NUMBER_OF_A_LIST = 12

_MAY_BE_CUT = 100
"""Messages in a list that a server may have cut short; what is below it is asked for then."""


class Unnumbered(Exception):  # says what the folder is
    """The folder has no lasting numbers (no UIDVALIDITY, or UIDNOTSTICKY)."""


@frozen
class Status:
    """A folder's counts, told without opening it; `None` for what was not told."""

    uidvalidity: int | None = None
    uidnext: int | None = None
    messages: int | None = None
    highest_modseq: int | None = None


def status(session: Session, key: str, *, changes: bool = False) -> Status:
    """Ask how far a folder goes, and with `changes` whether it is as it was; one round trip."""
    items = b"MESSAGES UIDNEXT UIDVALIDITY"
    if changes and "CONDSTORE" in session.capabilities:
        items += b" HIGHESTMODSEQ"
    answer = session.command(b"STATUS", mailbox_name(key), b"(%b)" % items)
    for untagged in answer:
        if untagged.kind == b"STATUS":
            with grammar():
                told = pairs(([None, *untagged.values()])[-1])
                modseq = told.get(b"HIGHESTMODSEQ")
                return Status(
                    _told(told, b"UIDVALIDITY"),
                    _told(told, b"UIDNEXT"),
                    _told(told, b"MESSAGES"),
                    modseq_in(modseq) if isinstance(modseq, bytes) else None,
                )
    return Status()


def _told(told: Mapping[bytes, Value], name: bytes) -> int | None:
    return number(told[name]) if name in told else None


_MODSEQ = re.compile(rb"\d{1,19}\Z")


def modseq_in(text: bytes) -> int | None:
    """Return a mod-sequence, which has 63 bits (RFC 7162); `None` for what is none."""
    return int(text) if _MODSEQ.match(text) else None


def select(
    session: Session, key: str, *, writable: bool = False, changes: bool = False
) -> Selected:
    """Open a folder, to read (EXAMINE) unless `writable`; raises `Unnumbered`.

    With `changes` the server is to keep track of them from now on, where it can.
    """
    session.selected = None
    command = b"SELECT" if writable else b"EXAMINE"
    tracks = (writable or changes) and "CONDSTORE" in session.capabilities
    parts = [b"(CONDSTORE)"] if tracks else []
    answer = session.command(command, mailbox_name(key), *parts)
    with grammar():
        selected = _selected(key, answer, writable=writable and session.ended != "READ-ONLY")
    session.selected = selected
    return selected


def opened(
    session: Session, place: Place, key: str, *, writable: bool = False, changes: bool = False
) -> Selected:
    """Open a folder unless it is open that way; raises our errors, and `Refused` to wait for."""
    selected = session.selected
    if selected is not None and selected.key == key and not selected.writable and not writable:
        return selected
    try:
        return select(session, key, writable=writable, changes=changes)
    except Unnumbered:
        raise no_numbers(place) from None
    except Refused as error:
        if is_worth_waiting(error):
            raise
        raise no_folder(place, "opening a folder", error) from None


def _selected(key: str, answer: Sequence[Untagged], *, writable: bool) -> Selected:
    codes = {code: text for code, text in (each.code() for each in answer) if code}
    exists = [each.number for each in answer if each.kind == b"EXISTS" and each.number is not None]
    if "UIDVALIDITY" not in codes or "UIDNOTSTICKY" in codes:
        raise Unnumbered
    return Selected(
        key,
        number(codes["UIDVALIDITY"].strip()),
        number(codes["UIDNEXT"].strip()) if "UIDNEXT" in codes else None,
        exists[-1] if exists else 0,
        writable,
        modseq_in(codes.get("HIGHESTMODSEQ", b"").strip()),
        frozenset(codes.get("PERMANENTFLAGS", b"").strip(b"()").split()),
    )


def unselect(session: Session) -> None:
    """Leave a folder that was opened to write, without the expunge that CLOSE would do."""
    if session.selected is None:
        return
    if "UNSELECT" in session.capabilities:
        session.tell(b"UNSELECT")
        session.selected = None
    else:
        select(session, session.selected.key)


def uids_from(session: Session, first: int, limits: ImapLimits) -> array[int]:
    """Return the UIDs from `first` on, ascending.

    Some servers list so many of the newest messages and no more, whether they say so (RFC
    9738) or not: what is below a long list is asked for as well.
    """
    found = _uids(session, b"%d:*" % first, range(first, LARGEST_NUMBER + 1), limits)
    some = found
    while _may_be_cut(session, some) and (last := min(some) - 1) >= first:
        some = _uids(session, b"%d:%d" % (first, last), range(first, last + 1), limits)
        found.extend(some)
        _check_length(found, limits)
    if any(found[i] >= found[i + 1] for i in range(len(found) - 1)):
        found = array("L", sorted(set(found)))
    return found


def _uids(session: Session, text: bytes, wanted: range, limits: ImapLimits) -> array[int]:
    """Return what the server lists of a range.

    `n:*` always names the last message too, even below `n` (RFC 3501, 6.4.8).
    """
    found: array[int] = array("L")
    octets = SLACK + _NUMBER_OF_A_LIST * limits.messages
    for uid in session.numbers(b"SEARCH", b"UID SEARCH UID", text, octets=octets):
        if uid in wanted:
            found.append(uid)
            _check_length(found, limits)
    return found


def _may_be_cut(session: Session, some: Collection[int]) -> bool:
    return len(some) >= _MAY_BE_CUT or (bool(some) and session.ended == "MESSAGELIMIT")


def _check_length(found: array[int], limits: ImapLimits) -> None:
    if len(found) > limits.messages:
        raise Garbled(f"the server lists more than the limit messages = {limits.messages}")


@frozen
class Seen:
    """What the server says of a message without handing it over; `None` for what it does not.

    The size is an estimate with some servers.
    """

    size: int | None
    received_at: datetime | None = None
    flags: frozenset[str] | None = None


_ASKED_FOR = frozenset({b"RFC822.SIZE", b"INTERNALDATE"})
"""Without either of them it is no answer but news: somebody has changed the flags."""

_SIZED = re.compile(rb"\(UID (\d{1,10}) RFC822\.SIZE (\d{1,10})\)\r\n\Z")


def look(
    session: Session, text: bytes, uids: Sequence[int], *, closely: bool
) -> Iterator[tuple[int, Seen]]:
    """Yield the size of each of these messages, as it is told; `closely` date and flags too."""
    asked = frozenset(uids)
    items = b"(UID RFC822.SIZE FLAGS INTERNALDATE)" if closely else b"(UID RFC822.SIZE)"
    octets = SLACK + LINE_OF_A_MESSAGE * len(asked)
    for untagged in session.stream(b"UID FETCH", text, items, octets=octets):
        uid, seen = _look_of(untagged)
        if uid in asked and seen is not None:
            yield uid, seen


def _look_of(untagged: Untagged) -> tuple[int, Seen | None]:
    """Return what a FETCH response says of which UID, and nothing of anything else."""
    if untagged.kind != b"FETCH":
        return 0, None
    if sized := _SIZED.match(untagged.segments[0]):
        return int(sized[1]), Seen(int(sized[2]))
    told = attributes(untagged)
    if b"UID" not in told or not told.keys() & _ASKED_FOR:
        return 0, None
    with grammar():
        return number(told[b"UID"]), _seen(told)


def listed_of(session: Session, uids: Sequence[int]) -> set[int]:
    """Return which of these the folder lists, whatever can be said of them."""
    there, left = set[int](), list(uids)
    while left:
        octets = SLACK + LINE_OF_A_MESSAGE * len(left)
        numbers = session.numbers(b"SEARCH", b"UID SEARCH UID", uid_set(left), octets=octets)
        some = frozenset(numbers).intersection(left)
        there |= some
        lowest = min(some) if _may_be_cut(session, some) else 0
        left = [uid for uid in left if uid < lowest]
    return there


def changed_since(
    session: Session, text: bytes, uids: Sequence[int], modseq: int
) -> tuple[set[int], set[int]]:
    """Return which of these are there, and which of them have changed since (RFC 7162, 3.1.4)."""
    octets = SLACK + LINE_OF_A_MESSAGE * len(uids)
    there, changed = listed_of(session, uids), set[int]()
    since = b"(CHANGEDSINCE %d)" % modseq
    for untagged in session.stream(b"UID FETCH", text, b"(UID FLAGS)", since, octets=octets):
        if untagged.kind == b"FETCH" and b"UID" in (told := attributes(untagged)):
            with grammar():
                changed.add(number(told[b"UID"]))
    return there, changed & frozenset(uids)


def _seen(told: Mapping[bytes, Value]) -> Seen:
    return Seen(
        _told(told, b"RFC822.SIZE"),
        internal_date(told.get(b"INTERNALDATE")),
        flags_in(told[b"FLAGS"]) if b"FLAGS" in told else None,
    )


def flags_in(value: Value) -> frozenset[str]:
    r"""Return the flags; `\Recent` is about our session and not about the message."""
    words = value if isinstance(value, list) else ()
    flags = {word.decode("latin-1") for word in words if isinstance(word, bytes)}
    return frozenset(flag for flag in flags if flag.lower() != "\\recent")


def attributes(untagged: Untagged) -> dict[bytes, Value]:
    """Return what a FETCH response says, by name in capitals; raises `Garbled`."""
    with grammar():
        told = values(untagged.segments)
        if len(told) != 1:
            raise BadSyntax("not one list")
        return pairs(told[0])
