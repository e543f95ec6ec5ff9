"""A message as it comes over SMTP: to the byte, without the dots, within its bounds."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailarchive.sources._smtp_room import Share

TOO_LARGE = "552 5.3.4 the message is larger than the limit"
NO_ROOM = "452 4.3.1 too much mail at once, try again later"


class Overdone(Exception):  # says what the client did
    """The client sends far more than it was told that anybody would take."""


@define
class Intake:
    """The octets of one message so far; once at fault it keeps none and counts on."""

    _limit: int
    _share: Share
    fault: str | None = None
    size: int = 0
    _whole: BytesIO = field(factory=BytesIO, repr=False)
    """In one piece: a list of little ones would take many times their octets.  And in this
    one, which gives what it has away without a copy."""

    def add(self, piece: bytes) -> None:
        """Take in what came; raises `Overdone`."""
        self.size += len(piece)
        if self.fault is None:
            if self.size > self._limit:
                self._fail(TOO_LARGE)
            elif not self._share.grow_to(self.size):
                self._fail(NO_ROOM)
            else:
                self._whole.write(piece)
        elif self.size > 2 * self._limit:
            raise Overdone

    def _fail(self, fault: str) -> None:
        self.fault = fault
        self._whole = BytesIO()
        self._share.let_go()

    def message(self) -> bytes:
        """Return the whole message, once."""
        whole, self._whole = self._whole, BytesIO()
        return whole.getvalue()


async def read_message(reader: asyncio.StreamReader, add: Callable[[bytes], None]) -> None:
    """Give `add` the message that follows DATA, a piece at a time.

    Without its transparency (RFC 5321, 4.5.2).  Only CR LF ends a line, and only CR LF dot
    CR LF the message: a bare CR or LF belongs to it, so that nothing can be smuggled in
    behind one.
    """
    before = _LINE_END
    while True:
        octet = await reader.readexactly(1)
        if octet != b"." or before != _LINE_END:
            add(octet)
            before = before[-1:] + octet
            if octet == b"\r" or before == _LINE_END:
                continue  # the next octet may be the one that counts
            last = await _up_to(reader, _DOT, add)
            add(last[:-1])
        rest = await _up_to(reader, _LINE_END, line := _Line(add))
        if rest == _LINE_END and not line.begun:
            return
        add(rest)
        before = _LINE_END


_LINE_END = b"\r\n"
_DOT = b"\r\n."


class _Line:
    """Passes on what comes before the end of a line, and knows whether anything did."""

    def __init__(self, add: Callable[[bytes], None]) -> None:
        self._add, self.begun = add, False

    def __call__(self, piece: bytes) -> None:
        self.begun = True
        self._add(piece)


async def _up_to(reader: asyncio.StreamReader, end: bytes, add: Callable[[bytes], None]) -> bytes:
    """Return the last piece up to the octets `end`; those before it are added."""
    while True:
        try:
            return await reader.readuntil(end)
        except asyncio.LimitOverrunError as error:
            add(await reader.read(error.consumed))
