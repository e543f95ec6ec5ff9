"""What of an mbox was listed before: the token of a file that its owner may write anew.

A program that deletes or marks a message may leave the file as long as it was.  So a token
has the SHA-256 of all that was listed, from the top of the file on.  That is compared only
where the file system says that the file is another one than it was, or may be: a run with
nothing new reads the last message alone.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from mailarchive.sources._files_disk import read_at

if TYPE_CHECKING:
    import os
    from datetime import datetime
    from io import FileIO
    from typing import Self

_BLOCK = 1 << 20
_SETTLED = 10.0
"""Seconds after which a change gives a file another time than the one before: FAT counts in
twos, and the clock of a file server may be some seconds behind ours."""

_NO_FILE = "0" * 64

_NUMBER = "([0-9]{1,18})"
_TOKEN = re.compile(rf"mbox/3 {_NUMBER} {_NUMBER} ([0-9a-f]{{64}}) (-|[0-9.-]{{9,120}})", re.ASCII)


def settled_state(status: os.stat_result, now: datetime) -> str | None:
    """Return what any later change of the file makes another text.

    `None` where it was written just now: a change in the same tick of the clock would leave
    every time as it is.
    """
    if now.timestamp() - max(status.st_mtime, status.st_ctime) < _SETTLED:
        return None
    parts = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return ".".join(map(str, parts))


@frozen
class Listed:
    """All that was listed: the last message, and the digest of the file down to its end."""

    start: int
    length: int
    digest: str
    state: str | None
    """That of the file before any of it was read; `None` where it was not settled."""

    @classmethod
    def parse(cls, token: str) -> Self | None:
        """Return what a token says; `None` where it is none, or one of an older release."""
        match = _TOKEN.fullmatch(token)
        if match is None:
            return None
        start, length, digest, state = match.groups()
        return cls(int(start), int(length), digest, None if state == "-" else state)

    @property
    def end(self) -> int:
        """Where the last message ends."""
        return self.start + self.length

    def in_doubt(self) -> Self:
        """Return the same without its digest: no file is this one, and each is listed anew."""
        return evolve(self, digest=_NO_FILE, state=None)

    def token(self) -> str:
        """Return it as text."""
        return f"mbox/3 {self.start} {self.length} {self.digest} {self.state or '-'}"


class Prefix:
    """The SHA-256 of a file from its top, each byte read once while `end` grows."""

    def __init__(self, file: FileIO) -> None:
        """Begin at the top."""
        self._file = file
        self._begin()

    def _begin(self) -> None:
        self._at, self._hash = 0, hashlib.sha256()

    def upto(self, end: int) -> str:
        """Return the digest of all before `end`, or of the whole file where it is shorter."""
        if end < self._at:
            self._begin()
        while block := read_at(self._file, self._at, min(_BLOCK, end - self._at)):
            self._hash.update(block)
            self._at += len(block)
        return self._hash.hexdigest()
