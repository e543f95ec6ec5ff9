"""An mbox, one file for all mail, in the variant that can be undone: mboxrd.

Each message has a From_ line of this sink, that says which entry it is of::

    From <entry>.<digest>.<size>.<stored>@mailarchive.invalid Thu Nov 26 09:00:00 2026

the entry's id and the SHA-256 of its bytes in hexadecimal, how many bytes there are, and
how many of them stand in the file, where each line `From `, `>From `, `>>From ` and so on
has one `>` more.  Behind them stand a line end, where the message has none at its end, and
an empty line.  No mail can hold such a From_ line, since it would be quoted: so wherever one
stands a message begins, whatever the line before it says of the size of its own.
"""

from __future__ import annotations

import contextlib
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field, frozen
from typing_extensions import override

from mailarchive._durable import make_folder
from mailarchive._model import Digest, Receipt, Stored
from mailarchive.errors import SinkCorrupt
from mailarchive.sinks import _files_disk as disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mailarchive._model import ArchiveEntry

_LINE: Final = (
    rb"From ([0-9a-f]{64})\.([0-9a-f]{64})\.([0-9]{1,18})\.([0-9]{1,18})@mailarchive\.invalid"
    rb" [A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} [0-9]{4}\n"
)
_FROM: Final = re.compile(_LINE)
_NEXT: Final = re.compile(rb"\n" + _LINE)
_END: Final = re.compile(rb"\n\n?(?=" + _LINE + rb"|\Z)")
_TORN: Final = re.compile(
    rb"(?:|F(?:r(?:om?)?)?|From [0-9a-f]{0,64}"
    rb"|From [0-9a-f]{64}\.[0-9a-f]{0,64}(?:\.[0-9.]{0,37}(?:@[ -~]{0,44})?)?)\0*"
)
"""What a loss of power may leave of the first From_ line of all."""
_LONGEST_FROM: Final = 256
_AROUND: Final = len(b"\n\n")
_TO_QUOTE: Final = re.compile(rb"^(?=>*From )", re.MULTILINE)
_QUOTED: Final = re.compile(rb"^>(?=>*From )", re.MULTILINE)
_PIECE: Final = 1 << 20
_DAYS: Final = "MonTueWedThuFriSatSun"
_MONTHS: Final = "JanFebMarAprMayJunJulAugSepOctNovDec"


def _now() -> datetime:
    return datetime.now(UTC)


class MboxFile(disk.OneWriter):
    """One file with every entry in it, quoted as mboxrd so that each byte can be read back.

    Programs that read mbox files can read it; one that writes to it, to mark or delete a
    message, breaks it.  The file is locked (`flock`) while it is written.  Nothing in it is
    ever cut off: a message that was torn by a crash, and so never acknowledged, counts for
    nothing and is stored anew behind it, and one that was damaged costs no other.
    Threads may share the sink, and processes of one machine the file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str = "mbox",
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """Use the file `path`, which is made where it is missing; raises nothing yet.

        `clock` gives the date of a message that has none from its source.
        """
        super().__init__(name)
        self._path = Path(path)
        self._clock = clock
        self._file: _File | None = None

    @override
    def _open(self) -> None:
        make_folder(self._path.absolute().parent)
        alone = self._lock(self._path)
        self._file = _File(self.name, alone.handle)
        with alone.writing():
            self._file.catch_up()
        disk.settle(self._path.absolute().parent)

    @override
    def _close(self) -> None:
        self._file = None
        super()._close()

    def _both(self) -> tuple[disk.Alone, _File]:
        alone = self._opened()
        assert self._file is not None, "it is made when the lock is"
        return alone, self._file

    @override
    def _put_many(self, entries: Sequence[ArchiveEntry]) -> list[Receipt]:
        alone, file = self._both()
        with alone.writing():
            file.catch_up()
            present = {entry.id: file.present(entry) for entry in entries}
            new = [entry for entry in entries if present[entry.id] is None]
            if len(new) < len(entries):
                file.settle(entry.id.hex for entry in entries if present[entry.id] is not None)
            file.append([(e, e.received_at or self._clock()) for e in new])
        return [self._receipt(entry, present[entry.id]) for entry in entries]

    @override
    def _read(self, receipt: Receipt) -> bytes:
        alone, file = self._both()
        with alone.writing():
            file.catch_up()
            found = file.read(receipt.entry_id.hex)
        if found is None or receipt.location != receipt.entry_id.hex:
            raise disk.strange(self.name)
        return disk.checked(self.name, found, receipt)

    def _receipt(self, entry: ArchiveEntry, present: Digest | None) -> Receipt:
        return Receipt(
            self.name,
            entry.id,
            entry.raw_digest if present is None else present,
            entry.id.hex,
            Stored.STORED if present is None else Stored.PRESENT,
            self.capabilities.durability,
        )


@frozen
class _Place:
    """Where the From_ line and the quoted bytes of a message stand, and what these are of."""

    line: int
    start: int
    stored: int
    digest: Digest

    @property
    def end(self) -> int:
        """Where the message ends."""
        return self.start + self.stored


@define
class _File:
    """The open mbox, and where each entry is in it; used by whoever holds the lock."""

    name: str
    handle: int
    _places: dict[str, _Place] = field(factory=dict)
    _end: int = 0
    _ours: set[str] = field(factory=set)
    """Entries that this very object has synced."""

    def catch_up(self) -> None:
        """Find what was added behind what is known; changes nothing, whatever it finds."""
        size = os.fstat(self.handle).st_size
        if size < self._end:
            raise self._changed(size)
        at = self._end
        while at < size:
            found = _FROM.match(os.pread(self.handle, _LONGEST_FROM, at))
            if found is not None:
                at = self._known(at, found, size)
            elif at == 0 and not self._begins_torn():
                raise self._changed(at)
            else:
                at = self._next(at, size)
        self._end = size

    def _begins_torn(self) -> bool:
        """Whether the first line is no more than the beginning of one of ours."""
        first = os.pread(self.handle, _LONGEST_FROM, 0).partition(b"\n")[0]
        return bool(first) and _TORN.fullmatch(first) is not None

    def _known(self, at: int, found: re.Match[bytes], size: int) -> int:
        """Know the message whose From_ line was found, and return where the next may begin."""
        digits, digest = found[1].decode(), Digest(bytes.fromhex(found[2].decode()))
        place = _Place(at, at + found.end(), int(found[4]), digest)
        end = self._end_of(place)
        # Where nothing is quoted both sizes are the same, and no damage leaves them so.
        if end is None or found[3] != found[4]:
            end = self._next(place.start - 1, size)
            place = self._mended(place, end)
        self._places[digits] = place
        self._ours.discard(digits)
        return end

    def _end_of(self, place: _Place) -> int | None:
        """Where a message and its empty line end; `None` unless the next begins right there."""
        behind = os.pread(self.handle, 2 + _LONGEST_FROM, place.end)
        found = _END.match(behind)
        return None if found is None else place.end + found.end()

    def _mended(self, place: _Place, behind: int) -> _Place:
        """Return the place of a message that ends before `behind`, by its digest.

        Where its bytes are whole only the size was damaged; else it stays what it is, and is
        neither read nor taken for what is there.
        """
        if place.end <= behind and self._at(place) is not None:
            return place  # and what was torn stands behind it
        for ending in (1, 2):
            whole = evolve(place, stored=max(0, behind - ending - place.start))
            if self._at(whole) is not None:
                return whole
        return evolve(place, stored=min(place.stored, behind - place.start))

    def _next(self, at: int, size: int) -> int:
        """Where the next From_ line of ours begins, behind `at`, or the end of the file."""
        length = _LONGEST_FROM  # it is near, but for what was torn
        while at < size:
            found = _NEXT.search(_pread(self.handle, length + _LONGEST_FROM, at))
            if found is not None:
                return at + found.start() + 1
            at, length = at + length, _PIECE
        return size

    def present(self, entry: ArchiveEntry) -> Digest | None:
        """Return the digest of what is there for an entry, `None` where nothing sound is.

        What another writer added is read first: after a loss of power a file may be as long
        as it was, and have nothing in it.
        """
        digits = entry.id.hex
        place = self._places.get(digits)
        if place is None or (digits not in self._ours and self._at(place) is None):
            return None
        return place.digest

    def settle(self, present: Iterable[str]) -> None:
        """Make durable what another writer added: it may have died before its sync.

        Or its sync may have failed, and a second one would say yes to what is lost: so the
        same bytes are written again.  Where that fails they are forgotten, and stored anew.
        """
        theirs = set(present) - self._ours
        try:
            for digits in theirs:
                self._write_again(self._places[digits])
            if theirs:
                os.fsync(self.handle)
        except OSError:
            for digits in theirs:
                del self._places[digits]
            raise
        self._ours |= theirs

    def _write_again(self, place: _Place) -> None:
        """Write what stands in the file of a message, and around it, where it stands."""
        at = max(0, place.line - _AROUND)
        data = _pread(self.handle, place.end + _AROUND - at, at)
        os.lseek(self.handle, at, os.SEEK_SET)
        disk.write_all(self.handle, data)

    def read(self, digits: str) -> bytes | None:
        """Return the bytes of an entry, `None` where there are none; raises `SinkCorrupt`."""
        place = self._places.get(digits)
        if place is None:
            return None
        raw = self._at(place)
        if raw is None:
            raise self._damaged(place)
        return raw

    def _at(self, place: _Place) -> bytes | None:
        raw = _QUOTED.sub(b"", _pread(self.handle, place.stored, place.start))
        return raw if Digest.of(raw) == place.digest else None

    def append(self, entries: Sequence[tuple[ArchiveEntry, datetime]]) -> None:
        """Write messages behind the last one and make them durable; raises `OSError`.

        Where that fails the file is cut to what it was: what was not synced may never
        have reached the medium, and must not be taken for what is there.
        """
        if not entries:
            return
        places: dict[str, _Place] = {}
        pieces = [self._gap()]
        at = self._end + len(pieces[0])
        for entry, when in entries:
            head, body = _record(entry, when)
            places[entry.id.hex] = _Place(at, at + len(head), len(body), entry.raw_digest)
            ending = b"\n" if body.endswith(b"\n") else b"\n\n"
            pieces += head, body, ending
            at += len(head) + len(body) + len(ending)
        try:
            os.lseek(self.handle, self._end, os.SEEK_SET)
            disk.write_all(self.handle, b"".join(pieces))
            os.fsync(self.handle)
        except BaseException:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                os.ftruncate(self.handle, self._end)
            raise
        self._places |= places
        self._ours |= places.keys()
        self._end = at

    def _gap(self) -> bytes:
        """What makes the end of the file the beginning of a From_ line, after a torn message."""
        last = os.pread(self.handle, 2, max(0, self._end - 2))
        return b"" if not self._end or last == b"\n\n" else b"\n\n"

    def _changed(self, at: int) -> SinkCorrupt:
        return SinkCorrupt(
            f"sink {self.name}: the file holds what this sink did not write, or lacks something,"
            f" at byte {at}",
            suggestions=[
                "name another file; programs may read this one, and not write to it",
                "or restore it from a copy, if it was an archive: nothing in it was changed",
            ],
        )

    def _damaged(self, place: _Place) -> SinkCorrupt:
        return SinkCorrupt(
            f"sink {self.name}: a message at byte {place.start} is not what was stored there",
            suggestions=[
                "restore the file from a copy of the archive",
                "or put the message again, if the source has it: it is stored anew behind",
            ],
        )


def _record(entry: ArchiveEntry, when: datetime) -> tuple[bytes, bytes]:
    """Return the From_ line of an entry, and its bytes as they stand in the file."""
    body = _TO_QUOTE.sub(b">", entry.raw) if b"From " in entry.raw else entry.raw
    who = f"{entry.id.hex}.{entry.raw_digest.hex}.{len(entry.raw)}.{len(body)}"
    return f"From {who}@mailarchive.invalid {_date(when)}\n".encode(), body


def _date(when: datetime) -> str:
    """Write a date as `asctime` does, in UTC and in English whatever the locale is."""
    try:
        utc = when.astimezone(UTC)
    except OverflowError:  # UTC has no such year: what its own clock said comes closest
        utc = when
    day, month = _DAYS[3 * utc.weekday() :][:3], _MONTHS[3 * (utc.month - 1) :][:3]
    return f"{day} {month} {utc.day:2} {utc:%H:%M:%S} {utc.year:04}"


def _pread(handle: int, size: int, at: int) -> bytes:
    pieces = []
    while size > 0 and (piece := os.pread(handle, size, at)):
        pieces.append(piece)
        size, at = size - len(piece), at + len(piece)
    return b"".join(pieces)
