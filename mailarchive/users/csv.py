"""A directory of users in a CSV file."""

from __future__ import annotations

import csv
import re
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mailarchive._model import Address, AddressKind, User, UserId
from mailarchive.errors import DirectoryError
from mailarchive.users._addresses import canonical

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    Row: TypeAlias = tuple[int, list[str]]

_DELIMITERS = (",", ";", "\t")
_BOM_16 = (b"\xff\xfe", b"\xfe\xff")
_HINT = re.compile(r"sep=([,;|\t])\r?\n", re.IGNORECASE)
"""The line that Excel reads, and some programs write, before the header."""

_NAME = re.compile(r"x500:|ex:|/o=", re.IGNORECASE)
_NAME_AHEAD = re.compile(r"\s+(?=x500:|ex:|/o=)", re.IGNORECASE)
_SMTP = re.compile(r"[^\s@<>,;:\"()\[\]\\]+@[^\s@<>,;:\"()\\]+|\"[^\"]+\"@[^\s@<>,;:\"()\\]+")
_OTHER = re.compile(r"(?:sip|sib|eum|spo|x400|notes|fax|ms|ccmail|airsync):.*", re.IGNORECASE)
"""Proxy addresses in Active Directory that no mail is sent to over SMTP."""


class CsvDirectory:
    """The users in a CSV file: an id, a display name, and all of their addresses.

    The first line names the columns, in any order and case; others are ignored.  Commas,
    semicolons (as Excel writes in much of Europe) or tabs stand between cells; the encoding
    is UTF-8, with or without a mark.  Addresses stand in one cell, with `;` or blanks
    between them, in quotes where the file's cells end with a `;`.  `SMTP:` and `x500:` before
    an address go, a `/o=...` name is kept whole, and other kinds such as `SIP:` are left out.
    An address may belong to several users: they share that mailbox.

    The file is read anew each time.  Raises `DirectoryError`, which names the line and
    never shows what stands there: a broken line makes no user of half the file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        id_column: str = "id",
        name_column: str = "name",
        address_columns: Sequence[str] = ("addresses",),
    ) -> None:
        """Take the file and what its columns are called; that of the name may be missing."""
        self._path = Path(path)
        self._id = id_column
        self._name = name_column
        self._addresses = tuple(address_columns)

    def users(self) -> tuple[User, ...]:
        """Return every user, in the order of the file; raises `DirectoryError`."""
        rows = _rows(_text(self._read()))
        header = self._header(next(rows, (0, [])))
        users: dict[UserId, int] = {}
        found = []
        for line, cells in rows:
            user = self._user(header, line, cells)
            if user.id in users:
                raise _wrong(
                    f"line {line}: the id stands in line {users[user.id]} already",
                    "put all addresses of a user into one line",
                )
            users[user.id] = line
            found.append(user)
        if not found:
            raise _wrong("it holds no user", "check that the export was finished")
        return tuple(found)

    def _read(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            raise _wrong("it is not there", "check the path") from None
        except PermissionError:
            raise _wrong("it may not be read", "give this user the right to read it") from None
        except (OSError, ValueError) as error:
            raise _wrong(f"{type(error).__name__} while reading it", "check the path") from None

    def _header(self, first: Row) -> list[str]:
        line, cells = first
        names = [cell.strip().lower() for cell in cells]
        for column in (self._id, *self._addresses):
            if column.lower() not in names:
                raise _wrong(
                    f"the first line names no column {column!r}",
                    f"let it be: {','.join((self._id, self._name, *self._addresses))}",
                )
        for column in (self._id, self._name, *self._addresses):
            if names.count(column.lower()) > 1:
                raise _wrong(f"line {line} names column {column!r} twice", "rename one of them")
        return names

    def _user(self, header: list[str], line: int, cells: list[str]) -> User:
        if any(cell.strip() for cell in cells[len(header) :]):
            raise _wrong(
                f"line {line} has more cells than the first line",
                "put a cell with several addresses into double quotes",
            )

        def cell(column: str) -> str:
            at = header.index(column.lower()) if column.lower() in header else len(cells)
            return cells[at].strip() if at < len(cells) else ""

        id_ = cell(self._id)
        if not id_ or not id_.isprintable():
            raise _wrong(f"line {line} has no usable id", "give every user an id on one line")
        addresses = (_addresses(cell(column), line) for column in self._addresses)
        unique = dict.fromkeys(address for some in addresses for address in some)
        return User(UserId(id_), cell(self._name), tuple(unique))


def _wrong(what: str, suggestion: str) -> DirectoryError:
    return DirectoryError(f"the file of users: {what}", suggestions=[suggestion])


def _text(raw: bytes) -> str:
    as_utf8 = "save it as CSV in UTF-8"
    if raw.startswith(_BOM_16):
        raise _wrong("it is written in UTF-16", as_utf8)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _wrong(f"line {line} is not UTF-8", as_utf8) from None
    if not text.strip():
        raise _wrong("it is empty", "check that the export was finished")
    return text


def _rows(text: str) -> Iterator[Row]:
    """Yield the number and the cells of each line that is not empty."""
    hint = _HINT.match(text)
    lines = StringIO(text, newline="")
    before = 1 if hint is not None and lines.readline() else 0
    header = text.strip().splitlines()[0]
    delimiter = max(_DELIMITERS, key=header.count) if hint is None else hint[1]
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        start = before + reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error:
            raise _wrong(
                f"line {start} is no CSV",
                "check its double quotes: inside a quoted cell each is written twice",
            ) from None
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield start, cells


def _addresses(text: str, line: int) -> Iterator[Address]:
    """Yield the addresses in a cell; an X.500 name may have blanks in it."""
    for part in text.split(";"):
        for piece in _NAME_AHEAD.split(part.strip()):
            for word in [piece] if _NAME.match(piece) else piece.split():
                address = _address(word, line)
                if address is not None:
                    yield address


def _address(word: str, line: int) -> Address | None:
    if _OTHER.fullmatch(word):
        return None
    address = canonical(Address.parse(word))
    if address.kind is AddressKind.X500 or _SMTP.fullmatch(address.spec):
        return address
    raise _wrong(
        f"line {line} has something that is no address",
        "separate addresses with ; or a blank, and write them without names and brackets",
    )
