"""What of a folder was listed before: the token of a tree of files.

A time does not tell which files are new.  A file may be moved in with an old one, a clock
may be set back, and a rename may keep every time that there is.  So the token is the list
itself, 96 bits of SHA-256 for each file that is still there: a file is listed unless it was.
That costs 16 characters a file.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING

from mailarchive.errors import CheckpointInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

_WIDTH = 16
_TOKEN = re.compile(rf"listed/1 ((?:[\w-]{{{_WIDTH}}})*)", re.ASCII)


def word(key: str, revision: str | None = None) -> str:
    """Return the sixteen characters that stand for one state of one file."""
    digest = hashlib.sha256(f"{key}\0{revision or ''}".encode()).digest()
    return base64.urlsafe_b64encode(digest[:12]).decode("ascii")


class Record:
    """A set of words that is written as a token."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        """Begin with some words, in this order."""
        self._words = dict.fromkeys(words)

    @classmethod
    def parse(cls, token: str | None) -> Self:
        """Return the record of a token; raises `CheckpointInvalid` for anything else."""
        if token is None:
            return cls()
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise CheckpointInvalid(
                "the token is none of a folder of files",
                suggestions=["nothing: the folder is listed anew"],
            )
        text = match[1]
        return cls(text[at : at + _WIDTH] for at in range(0, len(text), _WIDTH))

    def __contains__(self, listed: str) -> bool:
        """Tell whether this state of this file was listed."""
        return listed in self._words

    def __len__(self) -> int:
        """Return how many files it names."""
        return len(self._words)

    def keep(self, there: Iterable[str]) -> None:
        """Forget what is there no more, so that it is listed if it comes back."""
        self._words = dict.fromkeys(there)

    def add(self, listed: Iterable[str]) -> None:
        """Note what is listed now."""
        self._words.update(dict.fromkeys(listed))

    def forget(self, gone: Iterable[str]) -> None:
        """Take back what was listed and then could not be found."""
        for each in gone:
            self._words.pop(each, None)

    def token(self) -> str:
        """Return the record as text."""
        return "listed/1 " + "".join(self._words)
