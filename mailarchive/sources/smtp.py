"""A receiver of journal reports, and of any mail, over SMTP (RFC 5321).

The whole of it::

    intake = SmtpIntake([address], host="0.0.0.0", certificate="fullchain.pem", key="key.pem")
    with Vault("acme.vault", keys=None) as vault:
        Receiver(intake, vault, users, quarantine=quarantine).run()

A message gets its 250 when the archive has a receipt for it, and not before; whatever goes
wrong until then is a 4xx, and the client, who still has the message, sends it again.  The
same message with the same envelope is the same copy, so that a second delivery is stored
once.  The bytes are those that came, without a header of ours.
"""

from __future__ import annotations

import hashlib
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from typing_extensions import override

from mailarchive._model import (
    Address,
    Folder,
    FolderRole,
    MessageRef,
    SourceMessage,
)
from mailarchive.abc import Intake
from mailarchive.errors import ConfigurationError, SourceError
from mailarchive.sources._smtp_gate import Gate, greeting_name, new_address
from mailarchive.sources._smtp_limits import SmtpLimits
from mailarchive.sources._smtp_listener import Listener, not_listening
from mailarchive.sources._smtp_room import Memory, WaitingRoom
from mailarchive.sources._smtp_tls import Protection, Security

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from os import PathLike

    from mailarchive._model import Delivery, Envelope
    from mailarchive.abc import Arrival

__all__ = ["Security", "SmtpIntake", "SmtpLimits", "new_address"]

_BACKLOG = 100
_LAST_PORT = 65_535

INBOX = Folder("smtp", ("SMTP",), FolderRole.INBOX)
"""The one folder that everything arrives in."""


def _now() -> datetime:
    return datetime.now(UTC)


class SmtpIntake(Intake):
    """Listens for mail, and lets each message wait until it is answered.

    Open, it has a thread of its own; `port` is then the one that it listens on.
    """

    folder = INBOX

    def __init__(
        self,
        addresses: Collection[str],
        *,
        host: str = "127.0.0.1",
        port: int = 25,
        security: Security | str = Security.STARTTLS,
        allow_plaintext: bool = False,
        certificate: str | PathLike[str] | None = None,
        key: str | PathLike[str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        networks: Collection[str] = (),
        logins: Mapping[str, str] | None = None,
        hostname: str | None = None,
        mailbox: str | None = None,
        name: str = "smtp",
        limits: SmtpLimits | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """Take where to listen and what to ask of a client; nothing is opened yet.

        `addresses` are the recipients that mail is taken for, which nobody must guess
        unless `networks` or `logins` (a name and its password each) keep strangers out:
        `new_address` makes one.  With `security` as `starttls` no mail is taken before TLS
        stands, with `ssl` it stands from the first octet; `certificate` and `key` are files
        in PEM form, read again when they change, or `ssl_context` has them.  `hostname` is
        what we call ourselves, the domain of the first address unless given.  Raises
        `ConfigurationError`.
        """
        self.name: str = name
        self.mailbox: Address | None = None if mailbox is None else Address.parse(mailbox)
        self._gate = Gate.of(addresses, networks, logins or {})
        self._host = host
        self.port: int = _port(port)
        self._protection = Protection.of(
            security, ssl_context, certificate, key, allow_plaintext=allow_plaintext
        )
        self._limits, self._clock = limits or SmtpLimits(), clock
        domain = Address.parse(next(iter(addresses))).domain
        self._hostname = greeting_name(domain if hostname is None else hostname)
        self._room = WaitingRoom()
        self._memory = Memory(self._limits.memory_octets, self._limits.waiting)
        self._listener: Listener | None = None
        self._stopped = False

    def check(self) -> None:
        """Raise what opening would raise about `host` and `port`; nothing is left open."""
        _listen(self._host, self.port, self.name).close()

    @override
    def _open(self) -> None:
        if self._listener is not None:
            raise SourceError(
                f"source {self.name}: a receiver is opened once",
                suggestions=["make another one"],
            )
        sock = _listen(self._host, self.port, self.name)
        self.port = int(sock.getsockname()[1])
        self._listener = Listener(
            sock,
            self._room,
            self._memory,
            gate=self._gate,
            limits=self._limits,
            hostname=self._hostname,
            protection=self._protection,
            make=self._message,
        )
        self._listener.start()
        if self._stopped:  # before there was a listener to tell
            self._listener.stop()

    @override
    def _close(self) -> None:
        if self._listener is not None:
            self._listener.hang_up()

    @override
    def _stop(self) -> None:
        self._stopped = True
        if self._listener is not None:
            self._listener.stop()

    @override
    def _batches(self, messages: int, octets: int) -> Iterator[Sequence[Arrival]]:
        while batch := self._room.next_batch(messages, octets):
            yield batch

    def _message(self, raw: bytes, delivery: Delivery) -> SourceMessage:
        """The same bytes with the same envelope are the same copy, whenever they come."""
        ref = MessageRef(self.name, INBOX.key, _key(raw, delivery.envelope), len(raw))
        return SourceMessage(ref, raw, self._clock(), delivery=delivery)


def _key(raw: bytes, envelope: Envelope) -> str:
    recipients = sorted(each.address.spec for each in envelope.recipients)
    sender = "" if envelope.sender is None else envelope.sender.spec
    digest = hashlib.sha256("\n".join([sender, *recipients, ""]).encode("utf-8", "surrogatepass"))
    digest.update(hashlib.sha256(raw).digest())
    return digest.hexdigest()


def _listen(host: str, port: int, name: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        # `create_server` does not tell that the name is wrong; "" is every address to it.
        socket.getaddrinfo(host or None, port)
        return socket.create_server(
            (host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both
        )
    except (OSError, UnicodeError) as error:
        raise not_listening(name, port, error) from error


def _port(port: int) -> int:
    if not 0 <= port <= _LAST_PORT:
        raise ConfigurationError(
            f"port is no number from 0 to {_LAST_PORT}",
            suggestions=["leave port out: it is 25"],
        )
    return port
