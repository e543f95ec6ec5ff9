"""Where the messages of an mbox begin and end, found a block at a time.

A message begins with a From_ line at the top of the file or after an empty line; that empty
line belongs to neither.  Every other byte is a message's: a line that begins `From ` and is
no From_ line (`_files_mbox_line`) stays in the message that it stands in, and is counted.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

from attrs import frozen

from mailarchive._model import Digest
from mailarchive.sources._files_disk import read_at
from mailarchive.sources._files_mbox_line import LINE, is_from_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

BLOCK = 1 << 20
"""Bytes that are looked at at once; a message may be longer."""
_OVERLAP = len(b"\n\r\nFrom ") - 1
_HEAD = 1024
_HEADERS_AT_MOST = 1 << 20
_TOP_AT_MOST = 1 << 20

_SEPARATOR = re.compile(rb"\n\r?\nFrom ")
_TOP = re.compile(rb"(?:\r?\n)*")
_END = re.compile(rb"\n\r?\n\Z")
"""The empty line behind the last message."""
_GAP = re.compile(rb"(?s:.)(\r?\n)?")
"""The last byte of a message, and the line end between it and the next one."""
_HEADERS_END = re.compile(rb"\A\r?\n|\n\r?\n")
_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*([0-9]{1,18})[ \t]*\r?$")


class MboxVariant(StrEnum):
    """How the writer of an mbox kept a line `From ...` of a message from ending it."""

    MBOXO = "mboxo"
    """By a `>` before it, which cannot be told from one that was there: bytes are left."""
    MBOXRD = "mboxrd"
    """By a `>` before it and before every quoted one: taken away again, to the byte."""
    MBOXCL = "mboxcl"
    """As mboxo, and by a `Content-Length` that no such line contradicts."""
    MBOXCL2 = "mboxcl2"
    """By a `Content-Length` alone, believed where a message does end there."""


@frozen
class Entry:
    """One message: from its From_ line at `start` to `end`; the next one is at `next`."""

    start: int
    end: int
    next: int
    doubtful: int = 0
    """Lines in it that begin `From ` behind an empty line, and are no From_ line."""

    @property
    def length(self) -> int:
        """Bytes of the From_ line and the message, as they stand in the file."""
        return self.end - self.start


def head_digest(raw: bytes) -> str:
    """Return sixteen hexadecimal digits that stand for a From_ line and what follows."""
    return Digest.of(raw[:_HEAD]).hex[:16]


def stamp(file: FileIO, start: int, length: int) -> str:
    """Return the same for a message in the file."""
    return head_digest(read_at(file, start, min(length, _HEAD)))


def ends_at(file: FileIO, end: int) -> bool:
    """Tell whether a message can end there: before a From_ line or the end of the file."""
    return _next_after(file, end) is not None


def _next_after(file: FileIO, end: int) -> int | None:
    """Return where the next message begins, or the file ends, if one can end at `end`."""
    match = _GAP.match(read_at(file, end - 1, 3)) if end else None
    if match is None:
        return None
    behind = end - 1 + match.end()
    head = read_at(file, behind, LINE)
    if not head:
        return behind
    on_a_line = match[1] is not None or match[0] == b"\n"
    return behind if on_a_line and is_from_line(head) else None


class Scanner:
    """Finds the messages between two offsets of a file, each block read once."""

    def __init__(self, file: FileIO, size: int, variant: MboxVariant) -> None:
        """Look at no byte behind `size`, though the file may grow meanwhile."""
        self._file = file
        self._size = size
        self._variant = variant
        self._base = 0
        self._block = b""
        self.begun = False
        """Whether the file is no more than the beginning of a line `From ...`."""

    def top(self) -> int | None:
        """Return where the first message begins; `None` where the file is no mbox.

        A file that ends within its first line may become one; `begun` says that it did not.
        """
        blank = _TOP.match(read_at(self._file, 0, min(self._size, _TOP_AT_MOST)))
        start = blank.end() if blank else 0
        if start == self._size or self._separates(start):
            return start
        head = self._line(start)
        self.begun = head.startswith(b"From ") and b"\n" not in head and len(head) < LINE
        return self._size if self.begun else None

    def entries(self, start: int) -> Iterator[Entry]:
        """Yield the message that begins at `start`, and every one after it.

        A From_ line that has no end yet is being written: its message comes another time.
        """
        while start < self._size:
            entry = self._entry(start)
            if entry.next == self._size and b"\n" not in self._line(start):
                return
            yield entry
            start = entry.next

    def _line(self, at: int) -> bytes:
        """Return as much as a From_ line there may have."""
        return read_at(self._file, at, min(LINE, self._size - at))

    def _separates(self, at: int) -> bool:
        """Tell whether a From_ line stands there."""
        offset = at - self._base
        head = self._block[offset : offset + LINE] if 0 <= offset < len(self._block) else b""
        return is_from_line(head if len(head) == LINE else self._line(at))

    def _entry(self, start: int) -> Entry:
        if self._variant is MboxVariant.MBOXCL2:
            return self._by_length(start) or self._by_lines(start)
        by_lines = self._by_lines(start)
        if self._variant is MboxVariant.MBOXCL:
            by_length = self._by_length(start)
            if by_length is not None and by_length.end <= by_lines.next:
                return by_length
        return by_lines

    def _by_lines(self, start: int) -> Entry:
        at, doubtful = start, 0
        while at < self._size:
            offset = self._load(at)
            match = _SEPARATOR.search(self._block, offset)
            if match is None:
                behind = self._base + len(self._block)
                at = behind - _OVERLAP if behind < self._size else behind
                continue
            end, at = self._base + match.start() + 1, self._base + match.end()
            if self._separates(at - len(b"From ")):
                return Entry(start, end, at - len(b"From "), doubtful)
            doubtful += 1
        return Entry(start, self._last_end(start), self._size, doubtful)

    def _load(self, at: int) -> int:
        """Have a block that reaches well beyond `at`, and return where in it `at` is."""
        behind = self._base + len(self._block)
        if at < self._base or (at + _OVERLAP >= behind and behind != self._size):
            wanted = min(BLOCK, self._size - at)
            self._base, self._block = at, read_at(self._file, at, wanted)
            if len(self._block) < wanted:
                self._size = at + len(self._block)  # somebody cut it short
        return at - self._base

    def _last_end(self, start: int) -> int:
        """Return where the last message ends: the empty line behind it is not its own."""
        at = max(start, self._size - _OVERLAP)
        match = _END.search(read_at(self._file, at, self._size - at))
        return self._size if match is None else at + match.start() + 1

    def _by_length(self, start: int) -> Entry | None:
        """Return the message as its one `Content-Length` says, if a message ends there."""
        body, lengths = self._lengths(start)
        if len(lengths) != 1:
            return None
        end = body + lengths.pop()
        following = _next_after(self._file, end) if end <= self._size else None
        return None if following is None else Entry(start, end, following)

    def _lengths(self, start: int) -> tuple[int, set[int]]:
        """Return where the body begins, and every length that the headers claim for it."""
        for most in (16 << 10, _HEADERS_AT_MOST):
            line, _, head = read_at(self._file, start, most).partition(b"\n")
            end = _HEADERS_END.search(head)
            if end is not None:
                claims = _LENGTH.findall(head[: end.end()])
                return start + len(line) + 1 + end.end(), {int(each) for each in claims}
        return start, set()
