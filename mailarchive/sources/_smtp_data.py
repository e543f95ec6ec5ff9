"""A message as it comes over SMTP: to the byte, without the dots, within its bounds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

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
    _size: int = 0
    _pieces: list[bytes] = field(factory=list, repr=False)

    def add(self, piece: bytes) -> None:
        """Take in what came; raises `Overdone`."""
        self._size += len(piece)
        if self.fault is None:
            if self._size > self._limit:
                self._fail(TOO_LARGE)
            elif not self._share.grow_to(self._size):
                self._fail(NO_ROOM)
            else:
                self._pieces.append(piece)
        elif self._size > 2 * self._limit:
            raise Overdone

    def _fail(self, fault: str) -> None:
        self.fault = fault
        self._pieces.clear()
        self._share.let_go()

    def message(self) -> bytes:
        """Return the whole message."""
        whole = b"".join(self._pieces)
        self._pieces.clear()
        return whole


async def pieces(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield the message that follows DATA, without its transparency (RFC 5321, 4.5.2).

    Only CR LF ends a line, and only CR LF dot CR LF the message: a bare CR or LF belongs
    to the message, so that nothing can be smuggled in behind one.
    """
    before = _LINE_END
    while True:
        octet = await reader.readexactly(1)
        if octet != b"." or before != _LINE_END:
            yield octet
            before = before[-1:] + octet
            if octet == b"\r" or before == _LINE_END:
                continue  # the next octet may be the one that counts
            async for piece in _until(reader, _DOT):
                yield piece.removesuffix(b".") if piece.endswith(_DOT) else piece
        begins = True
        async for piece in _until(reader, _LINE_END):
            if begins and piece == _LINE_END:
                return
            begins = False
            yield piece
        before = _LINE_END


_LINE_END = b"\r\n"
_DOT = b"\r\n."


async def _until(reader: asyncio.StreamReader, end: bytes) -> AsyncIterator[bytes]:
    """Yield what comes up to the octets `end`, which the last piece ends with, and no other."""
    while True:
        try:
            yield await reader.readuntil(end)
        except asyncio.LimitOverrunError as error:
            yield await reader.read(error.consumed)
        else:
            return
