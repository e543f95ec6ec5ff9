"""What goes wrong in a vault, in the library's own words."""

from __future__ import annotations

import errno
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mailarchive.errors import (
    Erased,
    KeyUnavailable,
    SinkCorrupt,
    SinkError,
    SinkFull,
    SinkNotWritable,
    SinkUnavailable,
)
from mailarchive.vault._choice import GIVE_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator

MEND_INDEX = (
    "end what uses the vault, then have mailarchive rebuild make index.db anew from the packs"
)


def linked(name: str) -> SinkCorrupt:
    """Return the error for a link, or anything else, where a file or folder of ours must be."""
    return SinkCorrupt(
        f"{name} in the vault is a link or no file of the expected kind",
        suggestions=[
            "put the real file or folder there; only the vault itself may be linked to",
            "index.db and fts.db can be made anew: mailarchive rebuild",
        ],
    )


class Damage(SinkCorrupt):
    """Something in a pack is not what it must be: what, in which pack, and where.

    `kind` is a stable word; `offset` counts bytes from the start of the pack.
    """

    kind: str = "damage"
    pack: str = ""
    offset: int | None = None

    @classmethod
    def at(cls, pack: str, offset: int | None, kind: str, words: str) -> Damage:
        """Return the damage that `words` describe, found in `pack` at `offset`."""
        place = f"pack {pack}" if offset is None else f"pack {pack} at byte {offset}"
        damage = cls(
            f"{place}: {words}",
            suggestions=["verify the vault, and restore this pack from a copy of it"],
        )
        damage.kind, damage.pack, damage.offset = kind, pack, offset
        return damage


def index_disagrees(words: str) -> SinkCorrupt:
    """Return the error for an index that says something else than the packs do."""
    return SinkCorrupt(f"the index says otherwise than the packs: {words}", suggestions=[_REBUILD])


def index_replaced() -> SinkError:
    """Return the error for a write by whoever has an index open that the vault has no more."""
    return SinkError(
        "the vault's index was removed or replaced since it was opened here; nothing was written",
        suggestions=[
            "open the vault again: what was archived is in the packs, and in the new index",
            "end every process that uses a vault before index.db is moved away",
        ],
    )


_REBUILD = "rebuild the index from the packs, and verify the vault"


def closed() -> SinkError:
    """Return the error for the use of a vault that is not open."""
    return SinkError("the vault is not open", suggestions=["use it inside its with block"])


def forked() -> SinkError:
    """Return the error for the use of a vault that the parent of this process opened."""
    return SinkError(
        "the vault was opened before this process was forked, and is the other one's",
        suggestions=["open the vault in the process that uses it"],
    )


class NoCopy(SinkError):
    """The message has no copy of that number, or none any more."""


def no_copy() -> NoCopy:
    """Return the error for a copy that a message does not have."""
    return NoCopy(
        "there is no such copy of the message",
        suggestions=["ask for one from 0 to its number of copies, less one"],
    )


def erased() -> Erased:
    """Return the error for reading what was erased."""
    return Erased(
        "the message was erased from the archive",
        suggestions=["an auditor can see when, by whom and why"],
    )


def wrongly_erased() -> SinkCorrupt:
    """Return the error for an erasure on record that nothing may be overwritten for."""
    return SinkCorrupt(
        "an erasure is on record of what was held or had to be kept: nothing was overwritten",
        suggestions=[
            "verify the vault: it says which entry it is, and in which pack the erasure stands",
            "no erasure by this library is of that kind: find out who could write in the vault",
        ],
    )


_RESTORE_KEYS = "restore keys/keys.db from its newest copy; without it the mail cannot be read"


def no_keys() -> KeyUnavailable:
    """Return the error for reading an encrypted vault that was opened without its keys."""
    return KeyUnavailable(
        "the vault is encrypted, and was opened without its keys",
        suggestions=[
            GIVE_KEYS,
            "without keys it can be verified at the levels quick, stored and log",
        ],
    )


def keys_missing() -> KeyUnavailable:
    """Return the error for an encrypted vault without its wrapped keys."""
    return KeyUnavailable("keys.db is missing from the vault", suggestions=[_RESTORE_KEYS])


def keys_damaged() -> KeyUnavailable:
    """Return the error for wrapped keys that are not what they must be."""
    return KeyUnavailable(
        "keys.db is damaged, or is none of this vault's format", suggestions=[_RESTORE_KEYS]
    )


def wrong_keys(words: str) -> KeyUnavailable:
    """Return the error for keys that are not those of this vault."""
    return KeyUnavailable(
        words,
        suggestions=["give the key provider, and the keys.db, that belong to this very vault"],
    )


def keys_lost(count: int) -> KeyUnavailable:
    """Return the error for entries whose keys are not in `keys.db` any more."""
    return KeyUnavailable(
        f"the keys of {count} entries are missing from keys.db, or do not open them",
        suggestions=[
            _RESTORE_KEYS,
            "where there is no such copy, keep this vault as it is and begin another one",
        ],
    )


def owner_lost() -> KeyUnavailable:
    """Return the error for a user who has mail in the vault, and no key in `keys.db`."""
    return KeyUnavailable(
        "the key of a user who has mail in the vault is not in keys.db: nothing was stored",
        suggestions=[_RESTORE_KEYS, "see what else is not as it was: verify --level content"],
    )


def not_all_there(pack: str) -> SinkCorrupt:
    """Return the error for a pack that is missing, or shorter than what was acknowledged of it."""
    return SinkCorrupt(
        f"pack {pack} is missing, or ends before what was archived into it",
        suggestions=[
            "bring the pack back, or restore it from another copy: mailarchive repair",
            "see what else is not as it was: mailarchive verify",
        ],
    )


def not_whole(words: str) -> SinkCorrupt:
    """Return the error for a write to a vault of which something is known to be missing."""
    return SinkCorrupt(
        f"the index was made anew while something of the vault was missing: {words}",
        suggestions=[
            "bring back what is missing, such as a volume that is not mounted, and open it again",
            "or repair the vault from a copy: mailarchive repair",
            "where it is lost for good: mailarchive rebuild --without-missing",
        ],
    )


def no_more_numbers() -> SinkCorrupt:
    """Return the error for a write behind a batch with the largest number there is."""
    return SinkCorrupt(
        "the newest batch has a number that none can follow: nothing was written",
        suggestions=[
            "verify the vault: before a batch that gave itself such a number there is a gap",
            "move the pack of that batch, and index.db, away, then open the vault again",
        ],
    )


def read_only() -> SinkNotWritable:
    """Return the error for a write to a vault that was opened for reading."""
    return SinkNotWritable(
        "the vault was opened for reading only",
        suggestions=["open it for writing too"],
    )


@contextmanager
def sqlite_errors(doing: str) -> Iterator[None]:
    """Give every error of SQLite one of our types, by its number and never by its text."""
    try:
        yield
    except sqlite3.Error as error:
        raise translated(error, doing) from error


def translated(error: sqlite3.Error, doing: str, what: str = "the index") -> SinkError:
    """Return the error of ours for an error of SQLite; `what` is the database."""
    code = getattr(error, "sqlite_errorcode", None)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    words = f"{what}: {name} while {doing}"
    match None if code is None else code & 0xFF:
        case sqlite3.SQLITE_FULL:
            return SinkFull(words, suggestions=["make room, then run again"])
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return SinkNotWritable(
                words,
                suggestions=["give this user the right to write in the vault, or only read it"],
            )
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return SinkUnavailable(
                words, suggestions=["end the other program that holds index.db, then run again"]
            )
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return SinkCorrupt(words, suggestions=[MEND_INDEX])
        case None if isinstance(error, sqlite3.ProgrammingError):
            return closed()
        case _:
            return SinkError(words, suggestions=["check the disk, then run again", MEND_INDEX])


@contextmanager
def os_errors(doing: str) -> Iterator[None]:
    """Give what the system says one of our types, by its number and never by its text."""
    try:
        yield
    except OSError as error:
        symbol = errno.errorcode.get(error.errno or 0, type(error).__name__)
        words = f"the vault: {symbol} while {doing}"
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise SinkFull(words, suggestions=["make room, then run again"]) from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise SinkNotWritable(
                words, suggestions=["give this user the right to use the vault"]
            ) from error
        raise SinkError(
            words, suggestions=["check the disk and the system's log, then try again"]
        ) from error


def log_damage(file: str, words: str) -> SinkCorrupt:
    """Return the error for a file of the log that is not what it must be."""
    return SinkCorrupt(
        f"the log's file {file} {words}",
        suggestions=[
            "verify the vault at the level log; rebuilding it makes the log's tiles anew"
        ],
    )
