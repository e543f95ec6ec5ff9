"""Addresses in a header field (RFC 5322, section 3.4): one linear pass, never an error."""

from __future__ import annotations

import re
from typing import Final

_PLAIN: Final = re.compile(r'[^\s"(),:;<>@\[\]\\]+@[^\s"(),:;<>@\[\]\\]+\Z')
_LOCAL: Final = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+\Z")
_ANGLED: Final = re.compile(
    r'(?:[^"(),:;<>@\\]*|"[^"\\]*"\s*)<([^\s"(),:;<>@\\]+@[^\s"(),:;<>@\\]+)>\Z'
)
_TOKEN: Final = re.compile(
    r'"(?:[^"\\]|\\.)*+"|\[[^\[\]]*\]|\\.|[()<>,;:]|[^"\[\]\\()<>,;:\s]+|\s+|.', re.DOTALL
)


def mailboxes(text: str) -> list[str]:
    """Return the address of each mailbox in the list, in order, without names and comments.

    Groups are opened, source routes cut off.  A name without an address gives nothing; a
    field of one word is taken for a local name.
    """
    text = text.strip()
    if _PLAIN.match(text) or _LOCAL.match(text):
        return [text]
    simple = _ANGLED.match(text)
    if simple is not None:
        return [simple[1]]
    return _Reader().read(text)


class _Reader:
    """The state of one pass: the words so far, the angle bracket if one is open.

    Everything is kept in pieces until an address ends, so that no text is copied twice.
    """

    __slots__ = ("angle", "depth", "found", "inside", "words")

    def __init__(self) -> None:
        self.found: list[str] = []
        self.words: list[list[str]] = [[]]
        self.angle: list[str] | None = None
        self.inside = False
        self.depth = 0

    def read(self, text: str) -> list[str]:
        for piece in _TOKEN.findall(text):
            self._take(piece)
        self._flush()
        return self.found

    def _take(self, piece: str) -> None:
        if self.depth or (piece == "(" and not self.inside):
            self.depth += (piece == "(") - (piece == ")")
        elif self.inside:
            self._take_inside(piece)
        elif piece == "<":
            if self.angle is not None:
                self._flush()
            self.inside, self.angle = True, []
        elif piece in {",", ";"}:
            self._flush()
        elif piece == ":":
            self.words = [[]]
        elif piece.isspace():
            self.words.append([])
        else:
            self.words[-1].append(piece)

    def _take_inside(self, piece: str) -> None:
        if piece == ">":
            self.inside = False
        elif not piece.isspace() and self.angle is not None:
            self.angle.append(piece)

    def _flush(self) -> None:
        if self.angle is not None:
            specs = [_unrouted("".join(self.angle))]
        else:
            specs = _bare(["".join(word) for word in self.words if word])
        self.found += filter(None, specs)
        self.words, self.angle, self.inside = [[]], None, False


def _unrouted(spec: str) -> str:
    """Drop a source route, `@relay,@other:` (RFC 5322, section 4.4)."""
    return spec.partition(":")[2] if spec.startswith("@") else spec


def _bare(words: list[str]) -> list[str]:
    """Return the addresses among words without an angle bracket.

    Each word that is one counts: where a comma was forgotten there are several.
    """
    whole = [word for word in words if 0 < word.rfind("@") < len(word) - 1]
    if whole:
        return whole
    joined = "".join(words)
    return [joined] if "@" in joined else []
