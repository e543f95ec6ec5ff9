"""The full text: which entries hold certain words, derived from the messages.

It is a file of its own, `fts.db`, that may be deleted at any time.  It knows no owner:
what it finds is cut to a user by the index, as everything else is.  It holds only text
that every owner of a message may know.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from attrs import frozen

from mailarchive._model import normalized
from mailarchive._readable import Readable, readable
from mailarchive._sqlite import made
from mailarchive.errors import Erased, SinkCorrupt, SinkError, SinkUnavailable
from mailarchive.vault import _fulltext_erasing
from mailarchive.vault._errors import translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from mailarchive.vault._database import Database
    from mailarchive.vault._index import Index, Line
    from mailarchive.vault._reading import Reading
    from mailarchive.vault._record import Record

VERSION: Final = 4
_BATCH: Final = 200
"""Messages that are taken in at once."""
_PATIENCE: Final = 60.0
_TRIES: Final = 3
"""How often it is made where somebody else throws it away meanwhile."""
_WORDS: Final = (
    "CREATE VIRTUAL TABLE {} USING fts5"
    "(text, content='', columnsize=0, tokenize='unicode61 remove_diacritics 2')"
)
_MATCHING: Final = "SELECT rowid AS n FROM {} WHERE text MATCH ?"
_ABOUT: Final = "SELECT version, vault, n, entry FROM {}.about"
_UNSPACED: Final = re.compile(
    "([\u0e01-\u0eff\u1000-\u109f\u1780-\u17d3"  # Thai and Lao, Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff])"
)
"""Scripts that put no blank between words: each character is a word of its own."""
_DAMAGED: Final = "\ue000"
"""Stands for a message that could not be read: a word that no text and no question has."""
_PARTLY: Final = "\ue001"
"""Stands behind the text of a message that is not there in full: another such word."""
_TERM: Final = re.compile(r'"([^"]*)"?|([^\s"]+)')


_BLANKS: Final = dict.fromkeys((0, ord(_DAMAGED), ord(_PARTLY)), " ")


def searched(text: str) -> str:
    """Return text in the form in which its words are compared."""
    folded = normalized("NFKC", text.translate(_BLANKS)).casefold()
    return _UNSPACED.sub(r" \1 ", folded).encode("utf-8", "ignore").decode()


def match(words: str) -> str | None:
    """Return what people type as a query of FTS5; `None` where nothing can be looked for.

    Every word must be there; words in quotes stand side by side; `word*` is a beginning.
    """
    terms = []
    for found in _TERM.finditer(words):
        text = searched(found[1] if found[2] is None else found[2].rstrip("*"))
        if any(character.isalnum() for character in text):
            begins = found[2] is not None and found[2].endswith("*")
            terms.append(f'"{text.replace(chr(34), " ").strip()}"{"*" if begins else ""}')
    return " AND ".join(terms) or None


@frozen
class _Upto:
    """How far the full text goes: an entry's number, and its id to know it by."""

    n: int = 0
    entry: bytes = b""


class FullText:
    """The full text of one open vault; may be shared by threads."""

    def __init__(
        self, file: Database | None, vault: str, reading: Reading, *, read_only: bool
    ) -> None:
        """Use a file; with `read_only` what it lacks is kept in this process.

        Without a file, all of it: nothing of an encrypted vault is written in clear.
        """
        self._file = file
        self._vault = vault
        self._reading = reading
        self._index: Index = reading.index
        self._read_only = read_only or file is None
        self._lock = threading.Lock()
        self._attached: tuple[int, int] | None = None
        self._here = _Upto()

    def catch_up(self, on_progress: Callable[[int], None] | None = None) -> int:
        """Take in every message that is not in it yet; return how many those were.

        `on_progress` is told that number as it grows.  Raises `SinkError`.
        """
        with self._lock, _errors("bringing it up to date"):
            if self._file is None or self._read_only:
                return self._for_this_process(on_progress)
            for _ in range(_TRIES - 1):
                known = self._file.there()
                try:
                    return self._on_disk(self._file, on_progress)
                except _BROKEN as error:
                    if _is_damage(error):
                        self._forget()
                    elif known == self._file.there():
                        raise
            return self._on_disk(self._file, on_progress)

    def entries(self, words: str) -> tuple[str, tuple[str, ...]]:
        """Return a query for the numbers of the entries that hold the words, and its values.

        Everything that was archived before the call is found.
        """
        query = match(words)
        if query is None:
            return "SELECT NULL AS n WHERE 0", ()
        self.catch_up()
        return self._matching(query)

    def unread(self, *, damaged_only: bool) -> tuple[str, tuple[str, ...]]:
        """Return a query for the entries that are not here in full, as `entries` does."""
        self.catch_up()
        return self._matching(_DAMAGED if damaged_only else f"{_DAMAGED} OR {_PARTLY}")

    def _matching(self, query: str) -> tuple[str, tuple[str, ...]]:
        tables = [*(["fulltext.words"] if self._attached else []), *self._temporary()]
        parts = [_MATCHING.format(each) for each in tables]
        # An entry may be in both: another process goes on filling the file that is read here.
        return " UNION ".join(parts), (query,) * len(parts)

    def forget(self) -> None:
        """Throw the full text away; it is made again when it is next asked for."""
        with self._lock, _errors("throwing it away"):
            self._forget()

    def erase(self, entries: Iterable[int]) -> None:
        """Take out the entries with these numbers, so that nothing of them is left in the file.

        What is in this process alone is thrown away.  Raises `SinkError`.
        """
        with self._lock, _errors("erasing from it"):
            if not self._is_erased(list(entries)):
                self._forget()

    def _is_erased(self, entries: list[int]) -> bool:
        if self._file is None or self._read_only:
            return False
        if not entries or self._file.there() is None:
            return True
        try:
            with closing(self._connect(self._file)) as db:
                if not db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall():
                    return True  # somebody is about to make it
                upto = self._known(db)
                known = upto is not None and self._agrees(upto)
                return known and _fulltext_erasing.take_out(db, entries)
        except _BROKEN:
            return False

    # -- on the disk ----------------------------------------------------------------------

    def _on_disk(self, file: Database, on_progress: Callable[[int], None] | None) -> int:
        done = 0
        with closing(self._connect(file)) as db:
            self._prepare(db)
            while taken := self._take_in(db):
                done += taken
                if on_progress is not None:
                    on_progress(done)
        self._attach(file)
        return done

    def _connect(self, file: Database) -> sqlite3.Connection:
        with made(file.connect(timeout=_PATIENCE)) as db:
            db.execute("PRAGMA trusted_schema = OFF")
            db.execute("PRAGMA secure_delete = ON").fetchall()
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA journal_mode = WAL").fetchall()
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        """Make the tables, also anew where they are of another vault or numbering."""
        db.execute("BEGIN IMMEDIATE")
        upto = self._known(db)
        anew = upto is None or not self._agrees(upto)
        if anew:
            for table in ("words", "about"):
                db.execute(f"DROP TABLE IF EXISTS {table}")
            db.execute("CREATE TABLE about (version, vault, n, entry)")
            db.execute("INSERT INTO about VALUES (?, ?, 0, x'')", (VERSION, self._vault))
            db.execute(_WORDS.format("words"))
        db.execute("COMMIT")
        if anew:  # pages that an older release freed were not overwritten
            db.execute("VACUUM")

    def _take_in(self, db: sqlite3.Connection) -> int:
        """Take in some more; another process may be doing the same."""
        db.execute("BEGIN IMMEDIATE")
        try:
            upto = self._known(db) or _Upto()
            lines = self._lines(upto)
            db.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", self._texts(lines))
            if lines:
                last = lines[-1].n
                db.execute("UPDATE about SET n = ?, entry = ?", (last, self._id(last)))
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
        return len(lines)

    def _known(self, db: sqlite3.Connection) -> _Upto | None:
        try:
            return _upto(db.execute(_ABOUT.format("main")).fetchall(), self._vault)
        except sqlite3.OperationalError:
            return None

    def _forget(self) -> None:
        self._detach()
        if self._file is None or self._read_only:
            self._index.rows("DROP TABLE IF EXISTS temp.words_here")
            self._here = _Upto()
            return
        if self._file is not None:
            self._file.remove()

    # -- for reading alone ----------------------------------------------------------------

    def _for_this_process(self, on_progress: Callable[[int], None] | None) -> int:
        if not self._here.n:
            self._here = self._found()
            self._index.rows(_WORDS.format("IF NOT EXISTS temp.words_here"))
        done = 0
        while lines := self._lines(self._here):
            for row in self._texts(lines):
                self._index.rows("INSERT INTO temp.words_here (rowid, text) VALUES (?, ?)", row)
            self._here = _Upto(lines[-1].n, self._id(lines[-1].n))
            done += len(lines)
            if on_progress is not None:
                on_progress(done)
        return done

    def _found(self) -> _Upto:
        """How far the file goes, if it is there and of any use."""
        try:
            if self._file is None or self._file.there() is None:
                return _Upto()
            self._attach(self._file)
            upto = _upto(self._index.rows(_ABOUT.format("fulltext")), self._vault)
        except (SinkError, UnicodeDecodeError):
            upto = None
        if upto is None or not self._agrees(upto):
            self._detach()
            return _Upto()
        return upto

    def _temporary(self) -> list[str]:
        return ["temp.words_here"] if self._read_only else []

    # -- both -----------------------------------------------------------------------------

    def _attach(self, file: Database) -> None:
        """Ask the file that is there now: another process may have thrown one away."""
        found = file.there()
        if found is None:
            raise FileNotFoundError
        if self._attached != found:
            self._detach()
            self._index.attach(file, "fulltext")
            self._attached = found

    def _detach(self) -> None:
        if self._attached is not None:
            self._attached = None
            self._index.rows("DETACH fulltext")

    def _agrees(self, upto: _Upto) -> bool:
        return not upto.n or self._id(upto.n) == upto.entry

    def _id(self, n: int) -> bytes:
        rows = self._index.rows("SELECT id FROM entry WHERE n = ?", (n,))
        return bytes(rows[0][0]) if rows else b"?"

    def _lines(self, upto: _Upto) -> list[Line]:
        return self._index.lines(
            f"t.n > ? AND NOT t.erased ORDER BY t.n LIMIT {_BATCH}", (upto.n,)
        )

    def _texts(self, lines: Iterable[Line]) -> Iterable[tuple[int, str]]:
        for line in lines:
            try:
                yield line.n, self._text(line)
            except Erased:  # since it was listed: there is nothing to find
                continue
            except SinkCorrupt:  # `verify` names what is damaged; a search says how many
                yield line.n, _DAMAGED

    def _text(self, line: Line) -> str:
        record = self._reading.record(line)
        envelope = record.envelope
        shown = [
            each.address.spec
            for each, role in zip(envelope.recipients, record.shown, strict=True)
            if role is not None
        ]
        parts = [envelope.subject or "", *(each.spec for each in envelope.senders), *shown]
        read = self._readable(record)
        text = searched("\n".join([*parts, read.text]))
        return text if read.whole else f"{text}\n{_PARTLY}"

    def _readable(self, record: Record) -> Readable:
        """What every owner may read of the message; a report without one has no text."""
        content = self._reading.public(record)
        return Readable("", whole=not record.opaque) if content is None else readable(content)


def _upto(rows: list[tuple[Any, ...]], vault: str) -> _Upto | None:
    """How far a full text goes; `None` where it is none of this vault and version."""
    if len(rows) != 1 or rows[0][:2] != (VERSION, vault):
        return None
    _, _, n, entry = rows[0]
    return _Upto(n, entry) if isinstance(n, int) and isinstance(entry, bytes) else None


@contextmanager
def _errors(doing: str) -> Iterator[None]:
    """Give what is said of the file one of our types: another process may throw it away."""
    try:
        yield
    except sqlite3.Error as error:
        raise translated(error, doing, "the full text") from error
    except UnicodeDecodeError as error:
        raise SinkCorrupt(
            f"the full text is damaged: while {doing}",
            suggestions=["delete fts.db: the next search makes it anew"],
        ) from error
    except FileNotFoundError as error:
        raise SinkUnavailable(
            f"the full text was thrown away by another process while {doing}",
            suggestions=["search again: it is made anew"],
        ) from error


_BROKEN: Final = (sqlite3.DatabaseError, FileNotFoundError, UnicodeDecodeError)
"""What is raised where the file is damaged, or thrown away; the last where SQLite quotes it."""


def _is_damage(error: Exception) -> bool:
    if isinstance(error, UnicodeDecodeError):
        return True
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
