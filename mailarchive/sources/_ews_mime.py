"""The MIME of one item, decoded from base64 while it arrives, and strictly.

A lenient decoder passes over what is no base64, and so hands out a shortened or garbled
message as if it were whole.  Here anything but base64 to the last character is damage: the
marker that Exchange writes where it cut an answer short, padding in the middle, a missing
end.  Memory is the decoded message and one piece of text.
"""

from __future__ import annotations

import io
from binascii import Error, a2b_base64

_WHITE = (" ", "\n", "\r", "\t")
_MARKER = "Truncated Data"
_KEPT = 128


class Mime:
    """A message on its way; `finish` tells what became of it."""

    __slots__ = ("_limit", "_out", "_padded", "_rest", "_tail", "damage", "oversized")

    def __init__(self, limit: int) -> None:
        """Take the most octets that a message may have."""
        self._limit = limit
        self._out = io.BytesIO()
        self._rest = self._tail = ""
        self._padded = False
        self.damage: str | None = None
        self.oversized = False

    def feed(self, text: str) -> None:
        """Take a piece of the element's text; after damage it is only looked through."""
        if self.damage is not None:
            self._tail = (self._tail + text)[:_KEPT]
            return
        if any(white in text for white in _WHITE):
            text = "".join(text.split())
        if self._rest:
            text = self._rest + text
        whole = len(text) & ~3
        self._rest = text[whole:]
        self._decode(text[:whole] if self._rest else text)

    def _decode(self, text: str) -> None:
        if not text:
            return
        try:
            if self._padded:
                raise Error  # noqa: TRY301  # said below, with the others
            self._out.write(a2b_base64(text, strict_mode=True))
        except (Error, ValueError):
            self._spoil("the server sent MIME that is no base64", text)
            return
        self._padded = text.endswith("=")
        if self._out.tell() > self._limit:
            self.oversized = True
            self._spoil("larger than the limit", "")

    def _spoil(self, why: str, text: str) -> None:
        at = text.find("=")
        self.damage, self._tail = why, text[max(at, 0) :][:_KEPT] + self._rest
        self._rest = ""
        self._out = io.BytesIO()

    def finish(self) -> bytes:
        """Return the message; empty where `damage` then says what is wrong with it."""
        if self.damage is None and self._rest:
            self._spoil("the server sent MIME that is cut short", self._rest)
        if self.damage is not None:
            if _MARKER.replace(" ", "") in "".join(self._tail.split()):
                self.damage = "the server cut the message short and said so"
            return b""
        raw, self._out = self._out.getvalue(), io.BytesIO()
        return raw
