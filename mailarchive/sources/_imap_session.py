"""One logged-in connection: commands out, and their answers in the same order.

imapclient opens the connection (`_imap_connect`); everything that is said over it
afterwards is read here, because imaplib keeps every untagged response for ever and reads a
literal of whatever size it is told.
"""

from __future__ import annotations

import base64
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from attrs import frozen

from mailarchive.sources._imap_syntax import (
    BadSyntax,
    Literal,
    Value,
    literal_size,
    number,
    quoted,
    values,
)
from mailarchive.sources._imap_wire import Broken, Garbled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from mailarchive.sources._imap_wire import Wire

SMALL = 1 << 18
"""Octets that an answer may have which should be a few lines."""

_DIGITS = 10

_GOODBYE = 5.0
"""Seconds that a server has for saying goodbye."""

_UNTAGGED = re.compile(rb"\* (?:(\d{1,10}) )?([A-Za-z0-9-]{1,32})(?: |\r?\n)")
_TAGGED = re.compile(rb"(OK|NO|BAD)(?: (.*?))?\r?\n\Z", re.IGNORECASE | re.DOTALL)
_CODE = re.compile(rb"\[([A-Za-z0-9-]{1,40})(?: ([^\]]*))?\]")
_KNOWN_CODES = re.compile(
    "ALREADYEXISTS|AUTHENTICATIONFAILED|AUTHORIZATIONFAILED|CANNOT|CLIENTBUG|CONTACTADMIN|"
    "CORRUPTION|EXPIRED|EXPUNGEISSUED|INUSE|LIMIT|NONEXISTENT|NOPERM|OVERQUOTA|"
    "PRIVACYREQUIRED|SERVERBUG|TOOBIG|TRYCREATE|UNAVAILABLE|UNKNOWN-CTE"
)
"""RFC 5530, 3501, 7889 and 3516; only these are shown, since a code is the server's word."""

_STATUS = frozenset({b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"})


class Refused(Exception):  # what the server did
    """The server answered NO or BAD; `text` is its own and goes no further than here."""

    def __init__(self, status: str, code: str, text: bytes) -> None:
        """Take `NO` or `BAD`, the response code in capitals, and the server's text."""
        super().__init__(f"{status} [{code}]" if _KNOWN_CODES.fullmatch(code) else status)
        self.status, self.code, self.text = status, code, text


class Untagged:
    """A response of the server that answers no tag: its number, kind and segments.

    `partial` says that a literal was read past, so that its segments are not all of it.
    """

    __slots__ = ("kind", "number", "partial", "segments")

    def __init__(self, number: int | None, kind: bytes, segments: list[bytes]) -> None:
        """Take the parts as they came."""
        self.number, self.kind, self.segments = number, kind, segments
        self.partial = False

    def values(self) -> list[Value]:
        """Return what is behind the kind; raises `Garbled`."""
        with grammar():
            return values(self.segments)

    def code(self) -> tuple[str, bytes]:
        """Return the response code of a status and its argument; empty where none is."""
        return _code(self.segments[0]) if self.kind in _STATUS else ("", b"")


Keep: TypeAlias = Callable[[Untagged, int], bool]
"""Whether the literal of that size, next in this response, is kept or read past."""


@frozen
class Selected:
    """A folder as the server described it when it was opened."""

    key: str
    uidvalidity: int
    uidnext: int | None
    exists: int
    writable: bool
    highest_modseq: int | None
    """What changes with every change in the folder (RFC 7162); `None` without CONDSTORE."""
    keywords: frozenset[bytes]


class _Grammar:
    __slots__ = ()

    def __enter__(self) -> None:
        """Nothing to do: this is made once, as it stands around each answer."""

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None and issubclass(kind, BadSyntax):
            raise Garbled("the server sent what is no IMAP") from None


_GRAMMAR = _Grammar()


def grammar() -> AbstractContextManager[None, None]:
    """Turn what is no IMAP into a broken connection."""
    return _GRAMMAR


def _code(text: bytes) -> tuple[str, bytes]:
    found = _CODE.match(text)
    if found is None:
        return "", b""
    return found[1].decode("ascii").upper(), found[2] or b""


class Session:
    """A connection that speaks IMAP.

    `ended` is the response code that the last command ended with, `commands` counts those
    sent, `exchange` says that the greeting was Microsoft Exchange's.
    """

    def __init__(
        self, wire: Wire, capabilities: frozenset[str], close: Callable[[], None]
    ) -> None:
        """Take the wire, what the server can do, and how to let go of the connection."""
        self.wire = wire
        self.capabilities = capabilities
        self.selected: Selected | None = None
        self.commands = 0
        self.ended = ""
        self.exchange = False
        self.preauthenticated = False
        self._close = close
        self._leaving = self._gone = False
        self._sent: deque[bytes] = deque()

    @property
    def busy(self) -> bool:
        """Whether it can take no command: an answer has not been read, or it is gone."""
        return self._gone or bool(self._sent)

    def owes(self, tag: bytes) -> bool:
        """Whether the answer to this command has yet to be read."""
        return not self._gone and tag in self._sent

    def drop(self) -> None:
        """Let go of the connection without a word."""
        self._gone = True
        self._close()

    def log_out(self) -> None:
        """Say goodbye, then let go; whatever fails, the connection is gone."""
        try:
            if not self.busy:
                self._leaving = True
                self.wire.hurry(_GOODBYE)
                self.tell(b"LOGOUT")
        except (Broken, Refused):
            pass
        finally:
            self.drop()

    def command(self, *parts: bytes | Literal, octets: int = SMALL) -> list[Untagged]:
        """Send a command and return the whole answer; raises `Refused`, `Broken`."""
        return list(self.stream(*parts, octets=octets))

    def tell(self, *parts: bytes | Literal, octets: int = SMALL) -> None:
        """Send a command whose answer does not matter; raises `Refused`, `Broken`."""
        for _ in self.stream(*parts, octets=octets):
            pass

    def stream(
        self, *parts: bytes | Literal, octets: int = SMALL, keep: Keep | None = None
    ) -> Iterator[Untagged]:
        """Send a command and yield its answer as it comes.

        The answer may have `octets` octets, and what `keep` allows beyond.
        """
        tag = self._begin(octets)
        self._send(tag, parts)
        yield from self._until(tag, keep)

    def ask(self, *parts: bytes) -> bytes:
        """Send a command and return its tag; its answer is read later, in its turn.

        A server begins its answers one after the other, and may say of several at once that
        they have ended (RFC 3501, 5.5; Dovecot does).
        """
        tag = self._next_tag()
        self._send(tag, parts)
        return tag

    def answer(self, tag: bytes, *, octets: int, keep: Keep | None = None) -> Iterator[Untagged]:
        """Yield the answer to what was asked as it comes, as `stream` does.

        Whoever leaves it before its end, because all of it has come, can read on with the next.
        """
        if not self.owes(tag):
            raise Broken("the connection is in the middle of another answer")
        self.wire.begin(octets)
        yield from self._until(tag, keep)

    def numbers(self, word: bytes, *parts: bytes | Literal, octets: int) -> Iterator[int]:
        """Send a command and yield the numbers of its answer, `* word n n n ...`.

        The line may be as long as `octets`: it is never held whole.
        """
        tag = self._begin(octets)
        self._send(tag, parts)
        start = b"* " + word
        while not self._finished(tag, line := self.wire.piece()):
            if line[: len(start)].upper() == start:
                yield from self._read_numbers(line[len(start) :])
            elif line[-1:] == b"\n":
                self._notice(self._untagged(line, None))
            else:
                raise Garbled("the server sent a line without an end")

    def _read_numbers(self, text: bytes) -> Iterator[int]:
        while True:
            *whole, cut = (text + b" ").split(b" ") if text[-1:] == b"\n" else text.split(b" ")
            with grammar():
                yield from [number(each.strip()) for each in whole if each.strip()]
            if text[-1:] == b"\n":
                return
            if len(cut) > _DIGITS:
                raise Garbled("the server sent a number without an end")
            text = cut + self.wire.piece()

    def authenticate(self, mechanism: str, response: bytes, goodbye: bytes = b"") -> None:
        """Log in by SASL with one response; `goodbye` answers an error told by challenge."""
        tag = self._begin(SMALL)
        first = base64.b64encode(response) or b"="
        command = [b"AUTHENTICATE", mechanism.encode("ascii")]
        if "SASL-IR" in self.capabilities:
            answers = [base64.b64encode(goodbye)] * 2
            command.append(first)
        else:
            answers = [base64.b64encode(response), base64.b64encode(goodbye)]
        self._send(tag, command)
        for answer in answers:
            if not self._until_asked(tag):
                return
            self.wire.send(answer + b"\r\n")
        if self._until_asked(tag):
            raise Garbled("the server's login never ends")

    def _begin(self, octets: int) -> bytes:
        if self.busy:
            raise Broken("the connection is in the middle of another answer")
        self.wire.begin(octets)
        return self._next_tag()

    def _next_tag(self) -> bytes:
        self.commands += 1
        self._sent.append(b"M%d" % self.commands)
        return self._sent[-1]

    def _send(self, tag: bytes, parts: Sequence[bytes | Literal]) -> None:
        out = bytearray(tag)
        for part in parts:
            out += b" "
            if isinstance(part, bytes):
                out += part
            else:
                self._send_literal(tag, out, part.data)
        self.wire.send(bytes(out) + b"\r\n")

    def _send_literal(self, tag: bytes, out: bytearray, data: bytes) -> None:
        """Put a literal behind what is to be sent, which may have to be sent first."""
        if "LITERAL+" in self.capabilities:
            out += b"{%d+}\r\n" % len(data) + data
            return
        self.wire.send(bytes(out) + b"{%d}\r\n" % len(data))
        out[:] = data
        if not self._until_asked(tag):
            raise Garbled("the server ended a command before it had it all")

    def _until_asked(self, tag: bytes) -> bool:
        """Return whether the server asks for more; false at the end of the command."""
        while (line := self.wire.line())[:1] != b"+":
            if self._finished(tag, line):
                return False
            self._notice(self._untagged(line, None))
        return True

    def _until(self, tag: bytes, keep: Keep | None) -> Iterator[Untagged]:
        while not self._finished(tag, line := self._line()):
            if self._is_late(tag, line):
                continue
            untagged = self._untagged(line, keep)
            self._notice(untagged)
            yield untagged

    def _line(self) -> bytes:
        if self._gone:
            raise Broken("the connection was let go of")
        return self.wire.line()

    def _is_late(self, tag: bytes, line: bytes) -> bool:
        """Whether a line ends an answer that was read before, whose status is of no interest."""
        earlier = self._sent[0] if self._sent else tag
        try:
            return earlier != tag and self._finished(earlier, line)
        except Refused:
            return True

    def _finished(self, tag: bytes, line: bytes) -> bool:
        if line[:2] == b"* " or not line.startswith(tag + b" "):
            return False
        found = _TAGGED.match(line, len(tag) + 1)
        if found is None:
            raise Garbled("the server ended a command with an unknown word")
        self._sent.remove(tag)
        status, text = found[1].decode("ascii").upper(), found[2] or b""
        self.ended, argument = _code(text)
        self._learn(self.ended, argument)
        if status != "OK":
            raise Refused(status, self.ended, text)
        return True

    def _untagged(self, line: bytes, keep: Keep | None) -> Untagged:
        head = _UNTAGGED.match(line)
        if head is None:
            raise Garbled("the server sent what is no IMAP")
        kind = head[2].upper()
        untagged = Untagged(int(head[1]) if head[1] else None, kind, [line[head.end() :]])
        if kind not in _STATUS:
            self._read_literals(untagged, keep)
        return untagged

    def _read_literals(self, untagged: Untagged, keep: Keep | None) -> None:
        segments, wire = untagged.segments, self.wire
        while (size := literal_size(segments[-1])) is not None:
            if keep is None or keep(untagged, size):
                segments.append(wire.exactly(size))
            else:
                wire.skip(size)
                untagged.partial = True
                segments.append(b"")
            segments.append(wire.line())

    def _notice(self, untagged: Untagged) -> None:
        """Take in what the server tells at any time."""
        if untagged.kind == b"BYE" and not self._leaving:
            raise Broken("the server ended the session", detail=untagged.segments[0])
        if untagged.kind == b"CAPABILITY":
            self._learn("CAPABILITY", untagged.segments[0])
        elif untagged.kind == b"OK":
            self._learn(*untagged.code())

    def _learn(self, code: str, argument: bytes) -> None:
        if code == "CAPABILITY":
            words = argument.decode("ascii", "replace").upper().split()
            self.capabilities = frozenset(words)
        elif code == "UIDVALIDITY" and self.selected is not None:
            with grammar():
                if number(argument.strip()) != self.selected.uidvalidity:
                    raise Broken("the server renumbered the folder while it was read")


def mailbox_name(key: str) -> bytes | Literal:
    """Return a folder's key as it must be sent."""
    with grammar():
        return quoted(key.encode("latin-1"))
