"""Every limit of an SMTP receiver, with its unit, in one frozen value."""

from __future__ import annotations

from attrs import field, frozen

from mailarchive._bounds import PAUSE, TIMEOUT, Bounds
from mailarchive.errors import ConfigurationError

_MEBI = 1 << 20


@frozen(kw_only=True)
class SmtpLimits:
    """What clients may take of memory, connections and patience; more they cannot."""

    message_octets: int = field(default=256 * _MEBI, validator=Bounds(1_024))
    """The largest message that is taken; a larger one is refused for good (552).  Exchange
    Online's own limit is 150 MB, and a report is as large as what it reports."""

    memory_octets: int = field(default=512 * _MEBI, validator=Bounds(1_024))
    """Octets of messages that are held at once, over all connections, until each is
    answered; what finds no room is asked to come again (452).  Not less than
    `message_octets`."""

    waiting: int = field(default=1_000, validator=Bounds(1))
    """Messages that are held at once, however small, until each is answered or stored: one
    whose client has hung up goes on waiting.  A further one is asked to come again (452)."""

    connections: int = field(default=100, validator=Bounds(1))
    """Connections at once; a further one is turned away (421)."""

    connections_of_a_client: int = field(default=20, validator=Bounds(1))
    """Connections at once from one network address; of IPv6 from one network, a /64."""

    messages: int = field(default=1_000, validator=Bounds(1))
    """Messages over one connection."""

    recipients: int = field(default=100, validator=Bounds(1))
    """Recipients of one message (RFC 5321, 4.5.3.1.8)."""

    strangers: int = field(default=5, validator=Bounds(1))
    """Unknown recipients, failed logins or unknown commands of one connection, after which
    it is closed."""

    mistake_seconds: float = field(default=1.0, validator=PAUSE)
    """Seconds that a client waits after an unknown recipient or a failed login."""

    command_seconds: float = field(default=60.0, validator=TIMEOUT)
    """Seconds in which the next command must be complete."""

    piece_seconds: float = field(default=120.0, validator=TIMEOUT)
    """Seconds in which the next 64 KiB of a message, or its end, must be there."""

    answer_seconds: float = field(default=540.0, validator=TIMEOUT)
    """Seconds after which a message that is not stored yet is asked to come again; a client
    waits ten minutes (RFC 5321, 4.5.3.2.6)."""

    quiet_seconds: float = field(default=600.0, validator=TIMEOUT)
    """Seconds without a message, whatever else is said, after which a connection is closed
    (421): a place is for somebody who has mail."""

    session_seconds: float = field(default=21_600.0, validator=TIMEOUT)
    """Seconds that one connection may last; then it is closed (421), after the message that
    is under way where that ends within `answer_seconds`.  The rest comes over another one."""

    handshake_seconds: float = field(default=15.0, validator=TIMEOUT)
    """Seconds in which TLS must stand."""

    leaving_seconds: float = field(default=30.0, validator=PAUSE)
    """Seconds that messages under way have when the receiver is stopped."""

    def __attrs_post_init__(self) -> None:
        """Refuse limits under which the largest message could never be taken."""
        if self.memory_octets < self.message_octets:
            raise ConfigurationError(
                "memory_octets is less than message_octets",
                suggestions=["raise memory_octets to a few times message_octets"],
            )
