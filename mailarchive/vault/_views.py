"""The ordinary way to read an archive: as one of its users, and with no other's eyes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from attrs import field, frozen
from typing_extensions import Unpack

from mailarchive import headers
from mailarchive._model import Address, Owner, Recipient, UserId, one_spelling
from mailarchive.errors import SinkError, Unsupported, Withheld
from mailarchive.vault import _knowledge, _leaf
from mailarchive.vault._apply import key_of, shown_key, user_bytes
from mailarchive.vault._copies import USER, Known
from mailarchive.vault._errors import index_disagrees, no_copy
from mailarchive.vault._record import PRIVATE_HEADERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from typing import Any

    from mailarchive._model import Owner
    from mailarchive.vault._fulltext import FullText
    from mailarchive.vault._index import Line
    from mailarchive.vault._note import LogCheckpoint
    from mailarchive.vault._reading import Reading
    from mailarchive.vault._record import Record
    from mailarchive.vault.proofs import InclusionProof

_PAGE = 200
_AS_AUDITOR = "open the vault as an auditor, with a reason"


@frozen
class ViewedMessage:
    """A message as one user may see it.

    `key` is opaque, stays the same, and means nothing in another user's view.  `sender`,
    `on_behalf_of` and `recipients` are what this user may know; the sender knows all.
    `date` is what the message says, `received_at` what the source said.  `folders` are
    the names of folders it was found in, as far as they are this user's.  `size` is in
    bytes, and of what `content` gives.  `copies` counts the different forks of the message
    that the user owns.  `redacted` says that something is kept from this user in at least
    one of them: header fields, or the whole of a copy that is `withheld`.
    """

    key: str
    subject: str | None = field(repr=False)
    sender: Address | None
    on_behalf_of: Address | None
    recipients: tuple[Recipient, ...] = field(repr=lambda them: f"<{len(them)}>")
    date: datetime | None
    received_at: datetime | None
    folders: tuple[str, ...] = field(repr=lambda them: f"<{len(them)}>")
    size: int
    copies: int
    redacted: bool
    withheld: bool
    _view: View = field(repr=False, eq=False, alias="view")

    def content(self, copy: int = 0) -> bytes:
        """Return the message, or another of its `copies`, compared with its digest.

        For the sender these are the exact bytes.  For anybody else the header fields of
        `PRIVATE_HEADERS` are cut out, and every other byte is exact.  Raises `SinkCorrupt`,
        `SinkError`; `Unsupported` where this report holds no message, and `Withheld` where
        the message is none whose header can be cut, such as a `.msg` file, and somebody
        else may have been blind-copied.
        """
        return self._view._content(self.key, copy)  # noqa: SLF001 - a message is a part of its view

    def report(self, copy: int = 0) -> bytes:
        """Return the journal report, which names every recipient; for the sender alone.

        Raises `Withheld` for anybody else, `Unsupported` where the message was not
        journaled; `SinkCorrupt`, `SinkError`.
        """
        return self._view._report(self.key, copy)  # noqa: SLF001 - a message is a part of its view

    def proof(self, copy: int = 0, checkpoint: LogCheckpoint | None = None) -> InclusionProof:
        """Return the proof that the message, as `content` gives it, is in the log.

        It is under `checkpoint`, or under the newest, and shows the digest of the message
        and nothing else.  Raises `Unsupported` where the checkpoint does not cover it, and
        where header fields are left out of what this user sees, so that the digest would
        be of something else; `SinkCorrupt`, `SinkError`.
        """
        return self._view._proof(self.key, copy, checkpoint)  # noqa: SLF001 - a message is a part of its view


class Filters(TypedDict, total=False):
    """Which messages of a view are meant: those that all of these are true of.

    `since` (included) and `until` (not) are aware times, on the order of the list;
    `sender` is an address, compared with the sender and with on whose behalf; `folder` a
    name as in `ViewedMessage.folders`; `text` is found anywhere in the subject and in the
    addresses that this user may know, in whatever case.  `words` are all in the subject,
    the bodies, the names of attachments or the addresses that everybody may know; words
    in quotes stand side by side, and `word*` is the beginning of one.
    """

    since: datetime | None
    until: datetime | None
    sender: Address | str | None
    folder: str | None
    text: str | None
    words: str | None


class View:
    """What one user owns in a vault, and nothing beside it.

    Lists are newest first: by the message's own date, but no later than its arrival.
    Every method raises `SinkError` where the vault is closed or damaged.
    """

    def __init__(self, reading: Reading, fulltext: FullText, user: UserId) -> None:
        """Read as `user`, whose id may be any text at all."""
        self._reading = reading
        self._fulltext = fulltext
        self._user = UserId(one_spelling(user))

    @property
    def vault(self) -> str:
        """The id of the vault."""
        return self._reading.vault

    def count(self, **filters: Unpack[Filters]) -> int:
        """Return how many messages there are."""
        where, values = self._where(filters)
        rows = self._reading.index.rows(
            f"SELECT count(*) FROM message m WHERE m.user = {USER}{where}",  # noqa: S608 - only constants
            [user_bytes(self._user), *values],
        )
        number: int = rows[0][0]
        return number

    def unsearched(self, *, damaged_only: bool = False) -> int:
        """Return how many of the user's copies a search does not look into, or not in full.

        They are damaged, which `Vault.verify` tells, and searched again once repaired; or
        larger than a search takes in; or none of those whose text everybody may know.
        """
        found, values = self._fulltext.unread(damaged_only=damaged_only)
        rows = self._reading.index.rows(
            f"SELECT count(*) FROM ({found}) f CROSS JOIN owner o"  # noqa: S608 - only constants
            f" ON o.entry = f.n AND o.user = {USER} AND o.copy",
            [*values, user_bytes(self._user)],
        )
        number: int = rows[0][0]
        return number

    def messages(
        self, *, limit: int | None = None, after: str | None = None, **filters: Unpack[Filters]
    ) -> Iterator[ViewedMessage]:
        """Return messages, newest first, read from the archive as they are asked for.

        `limit` of them; `after` is the key of the last one of the page before.  What
        arrives meanwhile moves no page.  Raises `SinkError` for a key that is not in
        this view, `Unsupported` for a time without a zone.
        """
        where, values = self._where(filters)
        place = None if after is None else self._place(after)
        return self._pages(where, values, place, limit)

    def get(self, key: str) -> ViewedMessage | None:
        """Return the message with this key, or `None` where this view has none."""
        place = self._find(key)
        return None if place is None else self._message(*place)

    # -- finding --------------------------------------------------------------------------

    def _where(self, filters: Filters) -> tuple[str, list[Any]]:
        """The filters as conditions on a message `m`, and their values in the same order."""
        if unknown := filters.keys() - Filters.__optional_keys__:
            # One that is passed over would give, and export, more than was asked for.
            raise TypeError(f"there is no filter {min(unknown)!r}")
        clauses: list[str] = []
        values: list[Any] = []
        for bound, sign in ((filters.get("since"), ">="), (filters.get("until"), "<")):
            if bound is not None:
                clauses.append(f"m.at {sign} ?")
                values.append(_aware(bound))
        copies, of_copies = _of_copies(filters)
        if asked := filters.get("words"):
            found, words = self._fulltext.entries(asked)
            # What was found decides the order of the search: messages are many, and each
            # question to the full text is dear.
            clauses.append(
                f"m.head IN (SELECT o.head FROM ({found}) f CROSS JOIN owner o"  # noqa: S608 - only constants
                f" ON o.entry = f.n AND o.user = {USER})"
            )
            values += [*words, user_bytes(self._user)]
        if copies:
            clauses.append(
                "EXISTS (SELECT 1 FROM owner o JOIN entry e ON e.n = o.entry"  # noqa: S608 - only constants
                f" WHERE o.user = m.user AND o.head = m.head AND {' AND '.join(copies)})"
            )
            values += of_copies
        return "".join(f" AND {clause}" for clause in clauses), values

    def _pages(
        self, where: str, values: list[Any], place: tuple[int, int] | None, limit: int | None
    ) -> Iterator[ViewedMessage]:
        left = limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(left, _PAGE)
            rows = self._page(where, values, place, size)
            for at, head, key, copies in rows:
                found = self._message(at, head, shown_key(key), copies)
                if found is not None:
                    yield found
                place = at, head
            if len(rows) < size:
                return
            left = None if left is None else left - size

    def _page(
        self, where: str, values: list[Any], place: tuple[int, int] | None, size: int
    ) -> list[tuple[Any, ...]]:
        before = "" if place is None else " AND (m.at, m.head) < (?, ?)"
        return self._reading.index.rows(
            "SELECT m.at, m.head, CAST(m.key AS BLOB), m.copies FROM message m"  # noqa: S608 - only constants
            f" WHERE m.user = {USER}{before}{where}"
            " ORDER BY m.at DESC, m.head DESC LIMIT ?",
            [user_bytes(self._user), *(place or ()), *values, size],
        )

    def _find(self, key: str) -> tuple[int, int, str, int] | None:
        kept = key_of(key)
        if kept is None:
            return None
        rows = self._reading.index.rows(
            f"SELECT at, head, copies FROM message m WHERE user = {USER} AND key = ?",  # noqa: S608 - only constants
            (user_bytes(self._user), kept),
        )
        return (rows[0][0], rows[0][1], key, rows[0][2]) if rows else None

    def _place(self, key: str) -> tuple[int, int]:
        found = self._find(key)
        if found is None:
            raise SinkError(
                "there is no message with this key in the view",
                suggestions=["list the messages again from the start"],
            )
        return found[0], found[1]

    # -- what is found --------------------------------------------------------------------

    def _message(self, at: int, head: int, key: str, copies: int) -> ViewedMessage | None:
        """The message of a row of the list; `None` where it was erased since that was read."""
        del at
        known = Known.of(self._reading.index, user_bytes(self._user), head)
        if known is None:
            now = self._find(key)
            if now is not None and now[1] == head:
                raise index_disagrees("a message without an entry")
            return None if now is None else self._message(*now)
        envelope = known.first.envelope
        return ViewedMessage(
            key=key,
            subject=envelope.subject,
            sender=envelope.sender,
            on_behalf_of=envelope.on_behalf_of,
            recipients=known.recipients,
            date=envelope.date,
            received_at=known.first.received_at,
            folders=known.folders,
            size=known.size,
            copies=copies,
            redacted=known.redacted,
            withheld=known.withheld,
            view=self,
        )

    def _line(self, key: str, copy: int) -> Line:
        """Where the entry of a copy is."""
        found = self._find(key)
        rows = (
            []
            if found is None or not 0 <= copy < found[3]
            else self._reading.index.rows(
                f"SELECT entry FROM owner WHERE user = {USER} AND head = ? AND copy = 1"  # noqa: S608 - only constants
                " ORDER BY entry LIMIT 1 OFFSET ?",
                (user_bytes(self._user), found[1], copy),
            )
        )
        if not rows:
            raise no_copy()
        lines = self._reading.index.lines("t.n = ?", rows[0])
        if not lines:
            raise index_disagrees("an entry of no batch")
        return lines[0]

    def _entry(self, key: str, copy: int) -> tuple[Record, Owner]:
        """The entry of a copy as its manifest has it, and this user as its owner."""
        line = self._line(key, copy)
        record = self._reading.record(line, self._user)
        owner = record.owner_named(self._user) or self._granted(line)
        if owner is None:
            raise index_disagrees("the user does not own this entry")
        return record, owner

    def _granted(self, line: Line) -> Owner | None:
        """This user as an owner of whom the entry itself knows nothing yet."""
        owners = self._reading.ownership(line).owners
        return next((owner for owner in owners if owner.user == self._user), None)

    def _content(self, key: str, copy: int) -> bytes:
        record, owner = self._entry(key, copy)
        sender = record.is_sender(owner)
        own = _knowledge.own_lines(_knowledge.lines_of(record.envelope), owner)
        if _knowledge.is_withheld(record, own, sender=sender):
            raise Withheld(
                "this message may name others who were blind-copied, and cannot be cut",
                suggestions=[_AS_AUDITOR],
            )
        content = self._reading.content(record)
        if content is None:
            raise Unsupported(
                "this report holds no message",
                suggestions=["the sender can read the report, and an auditor everything"],
            )
        return content if sender else headers.without(content, PRIVATE_HEADERS)

    def _report(self, key: str, copy: int) -> bytes:
        record, owner = self._entry(key, copy)
        if not record.is_sender(owner):
            raise Withheld(
                "the report is for the sender of the message alone", suggestions=[_AS_AUDITOR]
            )
        if not record.provenance.is_report:
            raise Unsupported("this message was not journaled, so that there is no report of it")
        return self._reading.stored(record.raw)

    def _proof(self, key: str, copy: int, checkpoint: LogCheckpoint | None) -> InclusionProof:
        record, _ = self._entry(key, copy)
        if self._content(key, copy) != self._reading.content(record):
            raise Unsupported(
                "this user sees the message without some header fields, and cannot prove it",
                suggestions=["let the sender, or an auditor, prove it"],
            )
        return self._reading.proof(self._line(key, copy), (_leaf.CONTENT,), checkpoint)


def _of_copies(filters: Filters) -> tuple[list[str], list[Any]]:
    """The filters on a copy `o` and its entry `e`, and their values in the same order."""
    clauses: list[str] = []
    values: list[Any] = []
    sender, folder, text = filters.get("sender"), filters.get("folder"), filters.get("text")
    if sender is not None:
        address = sender if isinstance(sender, Address) else Address.parse(sender)
        clauses.append("? IN (e.sender, e.behalf)")
        values.append(user_bytes(address.normal))
    if folder is not None:
        clauses.append("(o.folder AND e.folder = ?)")
        values.append(user_bytes(folder))
    if text:
        words = _knowledge.searchable([text])
        clauses.append(
            "(instr(e.shown, ?) OR instr(o.search, ?) OR (o.sender AND instr(e.hidden, ?)))"
        )
        values += [words, words, words]
    return clauses, values


def _aware(time: datetime) -> int:
    if time.tzinfo is None:
        raise Unsupported(
            "a time without a zone could mean any hour of the day",
            suggestions=["give the time a zone, such as datetime.UTC"],
        )
    return _knowledge.moment(time)
