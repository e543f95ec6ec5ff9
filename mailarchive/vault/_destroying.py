"""Which keys open what was erased, under whatever entry `keys.db` has them.

The name of its key stands on the line of an entry, in a pack: what `keys.db` says of whose a
key is can be changed by whoever can write the file.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from mailarchive._model import Digest
from mailarchive.errors import SinkCorrupt
from mailarchive.vault._manifest import BAD_JSON

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mailarchive.vault._encrypting import Encryption
    from mailarchive.vault._index import Index, Line
    from mailarchive.vault._reading import Reading


def names_of(
    lines: Iterable[Line], reading: Reading, encryption: Encryption
) -> dict[int, tuple[bytes, Digest]]:
    """Return for each entry, by its number, the name of its key and what the packs call it.

    One whose line cannot be read is left out: `verify` names it.
    """
    found: dict[int, tuple[bytes, Digest]] = {}
    for line in lines:
        with suppress(SinkCorrupt, *BAD_JSON):
            of = encryption.key_of(reading.manifest(line).tree(line.line))
            if of is not None:
                found[line.n] = of
    return found


def left(index: Index, reading: Reading, encryption: Encryption) -> dict[Digest, set[bytes]]:
    """Return what was erased, as the index has it, and has keys still; with their names."""
    lines = index.lines("t.erased ORDER BY t.n", ())
    named: dict[Digest, set[bytes]] = {}
    for key, entry in names_of(lines, reading, encryption).values():
        named.setdefault(entry, set()).add(key)
    rows = index.rows("SELECT id FROM entry WHERE erased")
    there = {Digest(it) for it in encryption.keys.of([name for (name,) in rows])}
    keys = {key for key, _ in encryption.keys.rows([k for them in named.values() for k in them])}
    entries = there | {entry for entry, them in named.items() if them & keys}
    return {entry: named.get(entry, set()) for entry in entries}


def destroy(encryption: Encryption, keyed: Mapping[Digest, set[bytes]]) -> None:
    """Destroy every key of these entries, durably."""
    entries = [entry.value for entry in keyed]
    encryption.keys.destroy(entries, [key for them in keyed.values() for key in them])


def keyless(
    entries: Iterable[Digest], index: Index, reading: Reading, encryption: Encryption
) -> int:
    """Return how many of the entries, as the index calls them, have no key here to destroy."""
    lines = [line for each in entries for line in index.lines("t.id = ?", (each.value,))]
    named = names_of(lines, reading, encryption)
    there = {key for key, _ in encryption.keys.rows([key for key, _ in named.values()])}
    return sum(key not in there for key, _ in named.values())
