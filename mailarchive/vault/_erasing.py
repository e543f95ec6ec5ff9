"""Taking the bytes of erased entries out of the packs.

The manifests stay as they are: that something was there, and that it was erased by whom
and why, is on record.  The bytes of a message are overwritten where nothing that is not
erased needs them; their place in the pack stays, filled with zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive._model import Digest
from mailarchive.vault import _disk, _tar
from mailarchive.vault._errors import index_disagrees, wrongly_erased
from mailarchive.vault._index import Line
from mailarchive.vault._manifest import ERASED, RECLAIMED, Fact

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from mailarchive.vault._decided import Decided
    from mailarchive.vault._disk import Disk
    from mailarchive.vault._index import Index
    from mailarchive.vault._packs import Packs

_PIECE = 1 << 20
_MOST_PLACES = 1_000
"""Places that one fact names, so that its line stays small enough to be read."""


@frozen
class Gone:
    """Stored bytes that nothing needs any more; `offset` is that of their header."""

    pack: str
    offset: int
    stored: Digest
    size: int
    line: Line = field(repr=False)
    """The head of the batch that they were put in."""


def erased(entry: Digest, actor: str, reason: str, at: datetime) -> Fact:
    """Return the fact that an entry was erased."""
    who = {"actor": actor, "reason": reason, "at": at.isoformat()}
    return Fact(ERASED, {"entry": entry.hex, **who})


def reclaimed(gone: Iterable[Gone]) -> list[Fact]:
    """Return the facts that these bytes were overwritten."""
    places = [{"pack": each.pack, "offset": each.offset} for each in gone]
    starts = range(0, len(places), _MOST_PLACES)
    return [Fact(RECLAIMED, {"objects": places[at : at + _MOST_PLACES]}) for at in starts]


def pending(index: Index, *, reclaimed_too: bool = False) -> list[Gone]:
    """Return what is to be overwritten, and as far as anybody knows was not yet.

    With `reclaimed_too` what was is among it.
    """
    rows = index.rows(
        "SELECT p.name, g.offset, g.stored, g.stored_size, b.n, b.digest, b.offset FROM gone g"
        " JOIN batch b ON b.n = g.batch JOIN pack p ON p.n = b.pack"
        " WHERE NOT g.reclaimed OR ? ORDER BY p.name, g.offset",
        (reclaimed_too,),
    )
    return [
        Gone(pack, offset, Digest(stored), size, Line(n, Digest(batch), pack, at, 0))
        for pack, offset, stored, size, n, batch, at in rows
    ]


def confirm(said: Decided, gone: Iterable[Gone]) -> None:
    """Return if the packs say what the index does; raises `SinkCorrupt` before any harm.

    Everything that is made of these bytes must have been erased by a fact that stands in a
    pack, and none of what was looked at while it was held or had to be kept.
    """
    if not all((each.pack, each.offset) in said.gone for each in gone):
        raise index_disagrees("it says that something was erased")
    if any(each.bars for each in said.wrongs):
        raise wrongly_erased()


def overwrite(packs: Packs, disk: Disk, gone: Iterable[Gone]) -> None:
    """Fill the bytes with zeros, durably; done again it changes nothing; raises `OSError`."""
    for each in gone:
        with packs.folder(each.pack) as folder:
            handle = _disk.open_file(f"{each.pack}.tar", folder, writing=True)
        try:
            start, rest = each.offset + _tar.BLOCK, each.size
            while rest:
                zeros = bytes(min(rest, _PIECE))
                disk.write(handle, zeros, start)
                start, rest = start + len(zeros), rest - len(zeros)
            disk.sync(handle)
        finally:
            _disk.close(handle)
