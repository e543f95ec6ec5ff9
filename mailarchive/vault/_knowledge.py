"""What one owner of a message may know of it.  Pure.

The sender knows everything.  Anybody else knows who sent it, the recipients that the
message itself shows in To and Cc, and their own recipient lines with the history of
those.  Who was blind-copied, or reached through a list, is for the sender and an auditor.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from attrs import evolve

from mailarchive._model import Role, normalized

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from mailarchive._model import Address, Envelope, Owner, Recipient
    from mailarchive.vault._record import Record, Summary

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def lines_of(envelope: Envelope) -> dict[Address, list[int]]:
    """Return the positions of the recipient lines of each address."""
    lines: dict[Address, list[int]] = {}
    for position, recipient in enumerate(envelope.recipients):
        lines.setdefault(recipient.address, []).append(position)
    return lines


def own_lines(lines: Mapping[Address, Sequence[int]], owner: Owner) -> list[int]:
    """Return the positions of the recipient lines that name the owner, of all `lines_of` has."""
    own = [n for address in owner.addresses for n in lines.get(address, ())]
    own.sort()
    return own


def recipients_for(
    envelope: Envelope,
    shown: Iterable[Role | None],
    own: Collection[int],
    *,
    sender: bool,
) -> tuple[Recipient, ...]:
    """Return the recipients, and of each as much, as this owner may know."""
    if sender:
        return envelope.recipients
    known: list[Recipient] = []
    for position, (recipient, role) in enumerate(zip(envelope.recipients, shown, strict=True)):
        if position in own:
            known.append(recipient)
        elif role is not None:
            # A report may say more of this line than the message does: how it got there.
            known.append(evolve(recipient, role=role, history=()))
    return tuple(known)


def hidden(envelope: Envelope, shown: Iterable[Role | None]) -> frozenset[int]:
    """Return the positions of the recipient lines that may be of blind copies.

    None is that the message shows, that the journal says stood in To or Cc, or that a list
    led to which the message shows.
    """
    if None not in (shown := tuple(shown)):
        return frozenset()
    lines = tuple(zip(envelope.recipients, shown, strict=True))
    public = {recipient.address for recipient, role in lines if role is not None}
    return frozenset(
        position
        for position, (recipient, role) in enumerate(lines)
        if role is None
        and recipient.role not in {Role.TO, Role.CC}
        and public.isdisjoint(each.address for each in recipient.history)
    )


def is_withheld(record: Record | Summary, own: Collection[int], *, sender: bool) -> bool:
    """Whether an owner may not read the message, as it could name others that are hidden."""
    if sender or not record.opaque:
        return False
    return record.private > 0 or not hidden(record.envelope, record.shown) <= frozenset(own)


def folder_is_known(owners: Iterable[Owner]) -> bool:
    """Whether the owners may know the folder that the message was found in.

    Where no one address made all of them owners, the mailbox is that of one of them, or of
    a journal, and its folders are no business of the others.
    """
    every = [owner.addresses for owner in owners]
    return len(every) <= 1 or bool(frozenset.intersection(*every))


def searchable(parts: Iterable[str | None]) -> bytes:
    """Return texts in the form in which they are searched, a line each."""
    text = "\n".join(filter(None, parts))
    if text.isascii():
        return text.lower().encode("ascii")
    return normalized("NFKC", text).casefold().encode("utf-8", "surrogatepass")


def moment(time: datetime) -> int:
    """Return the microseconds since 1970, UTC; a time without a zone is taken as UTC."""
    aware = time if time.utcoffset() is not None else time.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


_FIRST = moment(datetime.min)  # noqa: DTZ901 - taken as UTC
_LAST = moment(datetime.max)  # noqa: DTZ901 - taken as UTC


def time_of(microseconds: int) -> datetime:
    """Return the time of which `moment` gives this.

    A time with a zone may lie some hours outside of what can be told in UTC; it is then the
    first time, or the last, that can be.
    """
    return _EPOCH + timedelta(microseconds=min(max(microseconds, _FIRST), _LAST))


def sorting_time(record: Record | Summary, archived: int) -> int:
    """Return by what time a message is listed, in microseconds since 1970.

    Its own date, but no later than its arrival, since no message is newer than that;
    without either the time at which it was archived.
    """
    times = [moment(each) for each in (record.envelope.date, record.received_at) if each]
    return min([*times, archived])
