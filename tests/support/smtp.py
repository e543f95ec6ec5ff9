"""A receiver that runs while a test does, and clients that keep to the rules or do not."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any, Self

from attrs import define, field

from mailarchive.events import RunStarted
from mailarchive.receiver import Receiver
from mailarchive.sources.smtp import SmtpIntake, SmtpLimits
from mailarchive.testing.memory import MemoryQuarantine, MemorySink
from support.world import LocalParts, mail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mailarchive.abc import Sink
    from mailarchive.events import Event
    from mailarchive.receiver import Received

ADDRESS = "journal-eb6amacawj22hzdkkbbhqbsc3v@archive.example"
SENDER = "relay@corp.example"
QUICK = SmtpLimits(
    mistake_seconds=0, command_seconds=5, piece_seconds=5, answer_seconds=20, leaving_seconds=5
)

__all__ = ["ADDRESS", "QUICK", "SENDER", "Raw", "Running", "mail", "plain", "receiving"]


def plain(**settings: Any) -> SmtpIntake:
    """An intake in clear text on some port of loopback."""
    return SmtpIntake(
        **{
            "addresses": [ADDRESS],
            "port": 0,
            "security": "plain",
            "allow_plaintext": True,
            "limits": QUICK,
            **settings,
        }
    )


@define
class Running:
    """A receiver under way; after `receiving` ends, what it did or what ended it."""

    intake: SmtpIntake
    sink: MemorySink
    quarantine: MemoryQuarantine
    receiver: Receiver | None = None
    events: list[Event] = field(factory=list)
    error: BaseException | None = None
    done: Received | None = None
    _ready: threading.Event = field(factory=threading.Event)
    _changed: threading.Condition = field(factory=threading.Condition)

    def observe(self, event: Event) -> None:
        """Take note; the first event says that clients may come."""
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()
        if isinstance(event, RunStarted):
            self._ready.set()

    def wait_for(self, kind: type) -> None:
        """Wait until an event of that kind came."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: any(isinstance(each, kind) for each in self.events), 20
            )

    def is_empty(self) -> bool:
        """Whether nobody is connected any more, at once or a little later."""
        listener = self.intake._listener
        assert listener is not None
        for _ in range(400):
            if not listener._calls and not listener._clients and not listener._talks:
                return True
            threading.Event().wait(0.005)
        return False

    def wait_until_waiting(self, count: int) -> None:
        """Wait until so many messages are here and not being stored."""
        room = self.intake._room
        for _ in range(2_000):
            if len(room._waiting) >= count:
                return
            threading.Event().wait(0.005)
        raise AssertionError("they do not come")

    def work(
        self, open_sink: Callable[[], AbstractContextManager[Sink]], settings: dict[str, Any]
    ) -> None:
        """Run to the end, on the thread that opens the sink."""
        try:
            with open_sink() as sink:
                self.receiver = Receiver(
                    self.intake,
                    sink,
                    **{
                        "users": LocalParts(),
                        "quarantine": self.quarantine,
                        "observer": self.observe,
                        **settings,
                    },
                )
                self.done = self.receiver.run()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error
        finally:
            self._ready.set()

    def ready(self) -> Self:
        """Wait until clients may come."""
        assert self._ready.wait(20)
        return self

    def client(self, **settings: Any) -> smtplib.SMTP:
        """A well-behaved client."""
        return smtplib.SMTP("127.0.0.1", self.intake.port, timeout=20, **settings)

    def send(self, raw: bytes, *, to: str = ADDRESS) -> None:
        """Deliver a message as a relay does."""
        with self.client() as client:
            client.sendmail(SENDER, [to], raw)

    def raw(self) -> Raw:
        """A client that says what it likes."""
        return Raw(self.intake.port)


@contextlib.contextmanager
def receiving(
    intake: SmtpIntake | None = None,
    *,
    sink: MemorySink | None = None,
    open_sink: Callable[[], AbstractContextManager[Sink]] | None = None,
    **settings: Any,
) -> Iterator[Running]:
    """Receive while the block runs, then stop in good order."""
    memory = sink or MemorySink()
    running = Running(intake or plain(), memory, MemoryQuarantine())
    opener = open_sink or (lambda: memory)
    thread = threading.Thread(target=running.work, args=(opener, settings))
    thread.start()
    try:
        yield running.ready()
    finally:
        if running.receiver is not None:
            running.receiver.stop()
        thread.join(30)
        assert not thread.is_alive(), "the receiver does not stop"


class Raw:
    """A connection that is bound by no rule; `hello` and `envelope` are the usual start."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), 20)
        self._file = self._sock.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._sock.close()

    def is_silent(self) -> bool:
        """Whether there is nothing to read at this moment."""
        self._sock.setblocking(False)
        try:
            return not self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        finally:
            self._sock.settimeout(20)

    def send(self, data: bytes) -> None:
        """Send just this."""
        self._sock.sendall(data)

    def reply(self) -> bytes:
        """Return the next reply, its last line; empty at the end of the connection."""
        line = b"-"
        while line[3:4] in {b"-", b""} and line:
            try:
                line = self._file.readline()
            except ConnectionError:
                return b""
        return line.rstrip()

    def say(self, line: str) -> bytes:
        """Send a command and return the reply."""
        self.send(line.encode("utf-8", "surrogateescape") + b"\r\n")
        return self.reply()

    @contextlib.contextmanager
    def starttls(self, certificate: Path) -> Iterator[Raw]:
        """Go on over TLS, as another connection that says what it likes."""
        context = ssl.create_default_context(cafile=str(certificate))
        with context.wrap_socket(self._sock, server_hostname="127.0.0.1") as wrapped:
            other = Raw.__new__(Raw)
            other._sock, other._file = wrapped, wrapped.makefile("rb")
            with other._file:
                yield other

    def hello(self) -> Self:
        """Take the greeting and introduce oneself."""
        assert self.reply().startswith(b"220")
        assert self.say("EHLO client.example").startswith(b"250")
        return self

    def envelope(self, to: str = ADDRESS) -> Self:
        """Say from whom and to whom."""
        assert self.say(f"MAIL FROM:<{SENDER}>").startswith(b"250")
        assert self.say(f"RCPT TO:<{to}>").startswith(b"250")
        return self

    def data(self, *pieces: bytes) -> bytes:
        """Send DATA and these very octets, and return the reply."""
        assert self.say("DATA").startswith(b"354")
        for piece in pieces:
            self.send(piece)
        return self.reply()
