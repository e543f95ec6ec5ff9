"""The index of an object vault, in PostgreSQL: derived from the packs, all of it.

Beside what is where it holds the one thing that is no copy: which packs were begun.  A
name is written here before its object is created, so that whoever comes next after a crash
knows what to look for.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from mailarchive._model import Digest
from mailarchive.errors import (
    ConfigurationError,
    SinkCorrupt,
    SinkError,
    SinkFull,
    SinkNotWritable,
    SinkUnavailable,
)
from mailarchive.vault import _tar
from mailarchive.vault._index import Found
from mailarchive.vault._manifest import StoredObject
from mailarchive.vault._record import Record

try:
    import psycopg
    from psycopg import errors
except ImportError as error:  # pragma: no cover - there is no test without it
    raise ImportError("psycopg is missing: pip install 'mailarchive[objects]'") from error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import LiteralString

    from mailarchive.vault._manifest import Manifest

_SCHEMA: Final = """
CREATE SCHEMA IF NOT EXISTS mailarchive;
CREATE TABLE IF NOT EXISTS mailarchive.pack (
  vault text NOT NULL, name text NOT NULL, begun timestamptz NOT NULL DEFAULT now(),
  sequence bigint, manifest bytea, void boolean NOT NULL DEFAULT false,
  PRIMARY KEY (vault, name)
);
CREATE INDEX IF NOT EXISTS pack_sequence ON mailarchive.pack (vault, sequence);
CREATE TABLE IF NOT EXISTS mailarchive.object (
  vault text NOT NULL, raw bytea NOT NULL, size bigint NOT NULL,
  stored bytea NOT NULL, stored_size bigint NOT NULL, pack text NOT NULL, start bigint NOT NULL,
  PRIMARY KEY (vault, raw)
);
CREATE TABLE IF NOT EXISTS mailarchive.entry (
  vault text NOT NULL, id bytea NOT NULL, raw bytea NOT NULL, pack text NOT NULL,
  line integer NOT NULL, verified boolean NOT NULL,
  PRIMARY KEY (vault, id)
);
"""
_MAKING: Final = 0x6D61696C61726368
"""The advisory lock under which the tables are made."""

_PATIENCE: Final = "SET lock_timeout = '10min'; SET tcp_keepalives_idle = 60"
"""How long to wait for another writer, and how soon to notice that one's machine is gone."""

_FIND: Final = """
SELECT e.id, o.stored, o.stored_size, o.raw, o.size, o.start, o.pack, e.verified, e.pack, e.line
FROM mailarchive.entry e JOIN mailarchive.object o ON o.vault = e.vault AND o.raw = e.raw
WHERE e.vault = %s AND e.id = ANY(%s)
"""
_FIND_BYTES: Final = """
SELECT raw, stored, stored_size, raw, size, start, pack, false, '', -1
FROM mailarchive.object WHERE vault = %s AND raw = ANY(%s)
"""


@frozen
class Place(Found):
    """Where bytes are, as rows say that somebody may have altered.

    `by` is the pack whose manifest has the entry, and `line` is where; none of bytes alone.
    """

    by: str = ""
    line: int = -1


class ObjectIndex:
    """One connection to the index of one vault; one thread at a time."""

    def __init__(self, database: str, vault: str) -> None:
        """Connect, and make the tables where they are missing; raises `SinkError`."""
        self._vault = vault
        with _errors("connecting"):
            self._base = _connection(database)
        try:
            with _errors("connecting"):
                self._base.execute(_PATIENCE)
            with _errors("making the tables"), self._base.transaction():
                self._base.execute("SELECT pg_advisory_xact_lock(%s)", (_MAKING,))
                self._base.execute(_SCHEMA)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the connection."""
        with suppress(psycopg.Error):
            self._base.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the right to add a pack: one writer of the vault at a time has it.

        The server takes it back when the connection ends.
        """
        with _errors("waiting for other writers"):
            self._base.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (self._vault,))
        try:
            yield
        finally:
            with suppress(psycopg.Error):
                self._base.execute(
                    "SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (self._vault,)
                )

    def find(self, ids: Iterable[Digest]) -> dict[Digest, Place]:
        """Return where the bytes of these entries are, of those that are known."""
        with _errors("looking for entries"):
            return self._found(_FIND, ids)

    def places(self, raws: Iterable[Digest]) -> dict[Digest, Place]:
        """Return where these bytes are, of those that are stored already."""
        with _errors("looking for bytes"):
            return self._found(_FIND_BYTES, raws)

    def _found(self, question: LiteralString, digests: Iterable[Digest]) -> dict[Digest, Place]:
        wanted = [each.value for each in digests]
        rows = self._base.execute(question, (self._vault, wanted)).fetchall()
        return {each.id: each for each in map(_found, rows)}

    def stored(self, raws: Iterable[Digest]) -> set[Digest]:
        """Return those of these bytes that are stored already."""
        question = "SELECT raw FROM mailarchive.object WHERE vault = %s AND raw = ANY(%s)"
        with _errors("looking for bytes"):
            rows = self._base.execute(question, (self._vault, [each.value for each in raws]))
            return {Digest(raw) for (raw,) in rows}

    def last(self) -> tuple[int, Digest | None, str]:
        """Return number, digest and pack of the newest manifest; 0 and `None` before the first."""
        question = (
            "SELECT sequence, manifest, name FROM mailarchive.pack"
            " WHERE vault = %s AND sequence IS NOT NULL ORDER BY sequence DESC, name LIMIT 1"
        )
        with _errors("looking for the newest pack"):
            row = self._base.execute(question, (self._vault,)).fetchone()
            return (0, None, "") if row is None else (int(row[0]), Digest(row[1]), _pack(row[2]))

    def packs(self) -> dict[str, int | None]:
        """Return the packs that are known, each with its number; one that is closed has none."""
        question = "SELECT name, sequence FROM mailarchive.pack WHERE vault = %s"
        with _errors("looking for packs"):
            rows = self._base.execute(question, (self._vault,))
            return {_pack(name): number for name, number in rows}

    def begun(self) -> set[str]:
        """Return the packs that were begun and of which nothing more is known."""
        question = (
            "SELECT name FROM mailarchive.pack WHERE vault = %s AND sequence IS NULL AND NOT void"
        )
        with _errors("looking for packs"):
            return {_pack(name) for (name,) in self._base.execute(question, (self._vault,))}

    def begin(self, pack: str) -> bool:
        """Note that an object of this name is about to be created, durable at once.

        Returns `False` where the name is closed.
        """
        with _errors("beginning a pack"):
            row = self._base.execute(
                "INSERT INTO mailarchive.pack (vault, name) VALUES (%s, %s)"
                " ON CONFLICT (vault, name) DO UPDATE SET begun = EXCLUDED.begun RETURNING void",
                (self._vault, pack),
            ).fetchone()
        return row == (False,)

    def forget(self, pack: str) -> None:
        """Note that a pack which was begun here is another's."""
        with _errors("forgetting a pack"):
            self._base.execute(
                "DELETE FROM mailarchive.pack"
                " WHERE vault = %s AND name = %s AND sequence IS NULL AND NOT void",
                (self._vault, pack),
            )

    def void(self, pack: str) -> None:
        """Note that there is nothing of this name, and never will be."""
        with _errors("closing a pack"):
            self._base.execute(
                "INSERT INTO mailarchive.pack (vault, name, void) VALUES (%s, %s, true)"
                " ON CONFLICT (vault, name) DO UPDATE SET void = true",
                (self._vault, pack),
            )

    def take(self, manifest: Manifest, *, verified: bool) -> None:
        """Take in what a pack holds; harmless where it is known.  All of it, or nothing."""
        head = manifest.head
        objects = [
            (self._vault, o.raw.value, o.size, o.stored.value, o.stored_size, head.pack, o.offset)
            for o in manifest.objects
        ]
        entries = [
            (self._vault, record.id.value, record.raw.value, head.pack, line, verified)
            for line, record in manifest.contents
            if isinstance(record, Record)
        ]
        with _errors("taking in a pack"), self._base.transaction(), self._base.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO mailarchive.object VALUES (%s, %s, %s, %s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                objects,
            )
            cursor.executemany(
                "INSERT INTO mailarchive.entry VALUES (%s, %s, %s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                entries,
            )
            cursor.execute(
                "INSERT INTO mailarchive.pack (vault, name, sequence, manifest)"
                " VALUES (%s, %s, %s, %s) ON CONFLICT (vault, name)"
                " DO UPDATE SET sequence = EXCLUDED.sequence, manifest = EXCLUDED.manifest",
                (self._vault, head.pack, head.sequence, manifest.digest.value),
            )


def _connection(database: str) -> psycopg.Connection[Any]:
    """Connect; raises `ConfigurationError` for what says nothing of a database."""
    try:
        return psycopg.connect(database, autocommit=True)
    except psycopg.ProgrammingError:
        raise ConfigurationError(
            "what connects to the database of the index cannot be understood",
            suggestions=[
                "name host, user and database as libpq does, and put quotes around what has blanks"
            ],
        ) from None  # its words are cut out of what was given, a password perhaps


def _pack(name: str) -> str:
    """Return the name of a pack; raises `ValueError` for what could name any other object."""
    if not _tar.is_pack(name):
        msg = "no name of a pack"
        raise ValueError(msg)
    return name


def _found(row: tuple[Any, ...]) -> Place:
    id_, stored, stored_size, raw, size, start, pack, verified, by, line = row
    if min(stored_size, size, start) < 0:
        msg = "no place in a pack"
        raise ValueError(msg)
    where = StoredObject(Digest(stored), stored_size, Digest(raw), size, start)
    return Place(
        Digest(id_), where, _pack(pack), verified, Digest(raw), by=by and _pack(by), line=line
    )


@contextmanager
def _errors(doing: str) -> Iterator[None]:
    """Give what PostgreSQL says one of our types, by its class and never by its text."""
    try:
        yield
    except errors.DiskFull as error:
        raise SinkFull(
            f"the index has no room: {doing}", suggestions=["make room for PostgreSQL"]
        ) from error
    except (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction) as error:
        raise SinkNotWritable(
            f"the index may not be written: {doing}",
            suggestions=["let the database's user create and write the schema mailarchive"],
        ) from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise SinkUnavailable(
            f"the index cannot be reached: {type(error).__name__} while {doing}",
            suggestions=["see that PostgreSQL can be reached, and run again"],
        ) from error
    except (ValueError, TypeError) as error:
        raise altered(doing) from error
    except psycopg.Error as error:
        raise SinkError(
            f"the index: {type(error).__name__} while {doing}",
            suggestions=["see PostgreSQL's log; the index can be made anew from the packs"],
        ) from error


def altered(doing: str) -> SinkCorrupt:
    """Return the error for rows that follow from no pack."""
    return SinkCorrupt(
        f"the index holds what no vault writes there: {doing}",
        suggestions=[
            "drop the schema mailarchive, which holds copies alone, and open the vault again",
            "find out who else writes to this database",
        ],
    )
