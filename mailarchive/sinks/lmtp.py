"""Handing mail over to another archiver, or to any mail store, by LMTP (RFC 2033).

A sink that cannot be read back: whoever takes the mail has it from then on.  So it cannot
be combined with removal, and its receipts promise what the other side is known to keep.
"""

from __future__ import annotations

import io
import re
import smtplib
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from typing_extensions import override

from mailarchive._bounds import checked_timeout
from mailarchive._model import Digest, Durability, Receipt, Rejected, SinkCapabilities, Stored
from mailarchive._paced import Pace, Paced
from mailarchive.abc import Sink
from mailarchive.errors import ConfigurationError, SinkUnavailable
from mailarchive.sinks import _files_disk as disk
from mailarchive.sinks._ledger import Ledger

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from mailarchive._model import ArchiveEntry

__all__ = ["LmtpSink"]

Recipients: TypeAlias = "Sequence[str] | Callable[[ArchiveEntry], Sequence[str]]"

_TAKEN: Final = 200
_READY_OR_MORE: Final = 300
_READY: Final = 354
_CLOSING: Final = 421
_TRANSIENT: Final = 400
_PERMANENT: Final = 500
_NO_CODE: Final = 600
_NOBODY: Final = 554
_NO_UTF8: Final = 553
"""What a server answers to an address with letters that it cannot take (RFC 6531, 3.5)."""
_MOST_LINES: Final = 256
"""Lines of one answer: a greeting has a line for each extension, and other answers have few."""
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")


class LmtpSink(Sink):
    """Hands each entry's raw bytes over to an LMTP server, and notes in a ledger to whom.

    Where the server offers CHUNKING (RFC 3030) the bytes go as they are; else lines have to
    end in CRLF on the way (RFC 5321, 2.3.8), and the server gets them so.  Each recipient is
    answered by itself: one that is to be tried later, or whose answer never came, makes the
    put a `SinkUnavailable`, and the next put asks for that one alone; one that is refused for
    good makes the entry `Rejected`, once nobody is to be tried later.

    The ledger makes a put of the same entry harmless.  It is committed with each entry: where
    the process dies between the server's answer and that, or the answer is lost on the way,
    this one entry is handed over twice, and never lost.
    """

    def __init__(
        self,
        host: str,
        port: int = 24,
        *,
        recipients: Recipients,
        ledger: str | os.PathLike[str],
        sender: str = "",
        durability: Durability = Durability.PROCESS,
        tls: ssl.SSLContext | None = None,
        timeout: float = 60.0,
        name: str = "lmtp",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Hand over to the server at `host`, or at a Unix socket where that begins with `/`.

        `recipients` are envelope addresses for every entry, or a function of the entry that
        must give the same ones each time.  `ledger` is a file, made where it is missing,
        that belongs to this archive alone.  `durability` is what is known of the other
        side: an answer of 250 makes it responsible (RFC 5321, 4.2.5), and no more.  With
        `tls` the connection is made safe by STARTTLS.  `timeout` is in seconds, for each
        connection, command and answer as a whole, on a `clock` that never goes back.

        Raises `ConfigurationError` where there is no recipient, or nobody can wait so long.
        """
        if not callable(recipients) and (isinstance(recipients, str) or not recipients):
            raise ConfigurationError(
                f"sink {name} needs recipients, a list of addresses",
                suggestions=['give recipients=["archive@example.com"], or a function'],
            )
        self.name: str = name
        self.capabilities: SinkCapabilities = SinkCapabilities(durability=durability)
        self._server = (host, port)
        self._recipients = recipients
        self._sender = sender
        self._tls = tls
        self._timeout = checked_timeout("timeout", timeout)
        self._clock = clock
        self._ledger_path = Path(ledger)
        self._ledger: Ledger | None = None
        self._client: _Client | None = None

    @override
    def _open(self) -> None:
        self._ledger = Ledger(self._ledger_path)
        self._connected()

    @override
    def _close(self) -> None:
        ledger, self._ledger = self._ledger, None
        self._hang_up()
        if ledger is not None:
            ledger.close()

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt | Rejected:
        (answer,) = self._put_many((entry,))
        return answer

    @override
    def _put_many(self, entries: Sequence[ArchiveEntry]) -> list[Receipt | Rejected]:
        if self._ledger is None:
            raise disk.closed(self.name)
        return [self._handed(self._ledger, entry) for entry in entries]

    def _handed(self, ledger: Ledger, entry: ArchiveEntry) -> Receipt | Rejected:
        everybody = {_named(each): each for each in self._for(entry)}
        if not everybody:
            return Rejected(entry.id, "nobody to hand it over to")
        if not all(each.isprintable() for each in everybody.values()):
            return Rejected(entry.id, "a recipient that is no address")
        with ledger.committed():
            known = ledger.handed(entry.id)
            missing = [each for digest, each in everybody.items() if digest not in known]
            refused = self._ask(ledger, entry, missing)
        if refused:
            return Rejected(entry.id, f"the other archive answered {min(refused)}")
        digest = next(iter(known.values()), entry.raw_digest)
        return Receipt(
            self.name,
            entry.id,
            digest,
            f"lmtp/{entry.id.hex}",
            # Of a rendered item the first bytes count, also where others have gone out since.
            Stored.STORED if missing and digest == entry.raw_digest else Stored.PRESENT,
            self.capabilities.durability,
        )

    def _ask(self, ledger: Ledger, entry: ArchiveEntry, missing: Sequence[str]) -> list[int]:
        """Hand the entry to those who lack it; return how some of them are refused for good.

        Each answer is noted as soon as it is heard: whoever has answered is not asked again.
        Raises `SinkUnavailable` where one is to be tried later.
        """
        refused, later = ledger.refused(entry.id), list[int]()

        def heard(recipient: str, code: int) -> None:
            if code < _TRANSIENT:
                ledger.note(entry.id, _named(recipient), entry.raw_digest)
            elif code < _PERMANENT:
                later.append(code)
            else:
                refused[_named(recipient)] = code
                ledger.note_refused(entry.id, _named(recipient), code)

        if asked := [each for each in missing if _named(each) not in refused]:
            self._hand_over(entry.raw, asked, heard)
        if later:
            raise self._later(f"the server answered {min(later)}")
        if refused:
            ledger.settle(entry.id)
        return [refused[_named(each)] for each in missing if _named(each) in refused]

    def _for(self, entry: ArchiveEntry) -> Sequence[str]:
        return self._recipients(entry) if callable(self._recipients) else self._recipients

    # -- the conversation -----------------------------------------------------------------

    def _hand_over(
        self, raw: bytes, recipients: Sequence[str], heard: Callable[[str, int], None]
    ) -> None:
        """Tell the server's answer for each recipient; raises `SinkUnavailable`."""
        client = self._connected()
        codes = set[int]()
        try:
            for recipient, code in _transaction(client, self._sender, recipients, raw):
                codes.add(code)
                heard(recipient, code)
        except (smtplib.SMTPException, OSError) as error:
            self._hang_up()
            raise self._later(f"the connection broke: {type(error).__name__}") from None
        except BaseException:
            self._hang_up()  # nobody knows where the conversation stands
            raise
        if _CLOSING in codes:
            self._hang_up()

    def _connected(self) -> _Client:
        if self._client is not None and self._client.has_said_more():
            self._hang_up()
        if self._client is not None:
            return self._client
        try:
            client = self._client = _Client(self._server, self._timeout, self._clock)
            client.ehlo_or_helo_if_needed()
            if self._tls is not None:
                client.starttls(context=self._tls)
                client.ehlo_or_helo_if_needed()
        except (smtplib.SMTPException, OSError) as error:
            self._hang_up()
            raise self._later(f"cannot connect: {type(error).__name__}") from None
        return client

    def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _later(self, what: str) -> SinkUnavailable:
        return SinkUnavailable(
            f"sink {self.name}: {what}",
            suggestions=["see that the LMTP server runs and takes mail, and run again"],
        )


class _Lines:
    """The lines of a server's answers: so many of each, in so much time, and no more."""

    def __init__(self, source: Paced) -> None:
        self._source, self._file = source, io.BufferedReader(source)
        self.begin()

    def begin(self) -> None:
        """Expect another answer."""
        self.left = _MOST_LINES
        self._source.begin()

    def readline(self, size: int) -> bytes:
        """Return the next line; raises `SMTPServerDisconnected` for one too many."""
        self.left -= 1
        if self.left < 0:
            raise smtplib.SMTPServerDisconnected
        return self._file.readline(size)

    def peek(self) -> bytes:
        """Return what is there already and was not read."""
        return self._file.peek()

    def close(self) -> None:
        """Let go of the connection."""
        self._file.close()


class _Client(smtplib.LMTP):
    """Bounds each answer in lines and in time: smtplib reads it to its end."""

    file: _Lines | None

    def __init__(
        self, server: tuple[str, int], timeout: float, clock: Callable[[], float]
    ) -> None:
        self._pace, self._clock = Pace(timeout), clock
        super().__init__(*server, timeout=timeout)

    @override
    def getreply(self) -> tuple[int, bytes]:
        """Return the code and the text of the next answer."""
        if self.file is None:
            assert self.sock is not None
            self.file = _Lines(Paced(self.sock, self._pace, self._clock))
        self.file.begin()
        return super().getreply()

    def has_said_more(self) -> bool:
        """Whether the server has said something that it was not asked, or has broken off.

        Read as the answer to the next command it would be a yes to what was refused.
        """
        if self.file is None or self.sock is None:
            return False
        self.sock.settimeout(0)
        try:
            return bool(self.file.peek())
        except ssl.SSLWantReadError:
            return False
        except OSError:
            return True
        finally:
            self.sock.settimeout(self.timeout)


def _named(recipient: str) -> Digest:
    return Digest.of(recipient.encode("utf-8", "surrogatepass"))


def _transaction(
    client: _Client, sender: str, recipients: Sequence[str], raw: bytes
) -> Iterator[tuple[str, int]]:
    """Hand one message over and yield the code for each recipient as it is heard."""
    foreign = not all(each.isascii() for each in (sender, *recipients))
    if foreign and not client.has_extn("smtputf8"):
        yield from dict.fromkeys(recipients, _NO_UTF8).items()
        return
    code = _answer(client.mail(sender, _options(client, raw, foreign=foreign)))
    if code >= _TRANSIENT:
        yield from dict.fromkeys(recipients, code).items()
        client.rset()
        return
    taken = []
    for each in recipients:
        code = _answer(client.rcpt(each))
        if code < _TRANSIENT:
            taken.append(each)
        else:
            yield each, code
    code = _send(client, raw) if taken else _NOBODY
    if code >= _TRANSIENT:
        yield from dict.fromkeys(taken, code).items()
        client.rset()
        return
    # RFC 2033, 4.2: one answer for each recipient that was taken, in their order.
    for each in taken:
        yield each, _answer(client.getreply())


def _send(client: _Client, raw: bytes) -> int:
    """Send the message, and return a code that refuses it where the server wants none."""
    if client.has_extn("chunking"):
        if client.has_said_more():  # whose answers would the next ones be?
            raise smtplib.SMTPServerDisconnected
        client.send(b"BDAT %d LAST\r\n" % len(raw))
        client.send(raw)
        return _READY
    code, _ = client.docmd("DATA")
    if code != _READY:
        return max(code, _TRANSIENT)
    client.send(_as_lines(raw))
    return code


def _answer(reply: tuple[int, bytes]) -> int:
    """Return the code of an answer that takes something or refuses it; raises for any other.

    A line that is no answer at all has the code -1, and must not be taken for a yes.
    """
    code = reply[0]
    if not (_TAKEN <= code < _READY_OR_MORE or _TRANSIENT <= code < _NO_CODE):
        raise smtplib.SMTPServerDisconnected
    return code


def _options(client: smtplib.LMTP, raw: bytes, *, foreign: bool) -> list[str]:
    options = []
    if client.has_extn("size"):
        options.append(f"SIZE={len(raw)}")
    if client.has_extn("8bitmime") and not raw.isascii():
        options.append("BODY=8BITMIME")
    if foreign:
        options.append("SMTPUTF8")
    return options


def _as_lines(raw: bytes) -> bytes:
    """Return the bytes as DATA carries them: lines of CRLF, dots doubled, the end marked."""
    lines = _LINE_END.sub(b"\r\n", raw)
    if not lines.endswith(b"\r\n"):
        lines += b"\r\n"
    stuffed = lines.replace(b"\r\n.", b"\r\n..")
    return (b"." if stuffed.startswith(b".") else b"") + stuffed + b".\r\n"
