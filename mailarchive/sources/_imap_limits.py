"""Every limit of an IMAP source, with its unit, in one frozen value."""

from __future__ import annotations

from attrs import field, frozen

from mailarchive._bounds import PAUSE, TIMEOUT, Bounds

_MEBI = 1 << 20


@frozen(kw_only=True)
class ImapLimits:
    """What an IMAP server may take of time, memory and patience before we give it up.

    The defaults suit a server on the internet; a server cannot exceed them by lying.
    """

    page: int = field(default=500, validator=Bounds(1, 10_000))
    """Messages in a page: what one checkpoint covers and one FETCH asks for."""

    in_flight: int = field(default=2, validator=Bounds(1, 2))
    """Commands that a server has at a time: with 2 the next page is asked for while one is
    read.  One that cannot is given 1; Exchange always is."""

    command_octets: int = field(default=8_000, validator=Bounds(100, 60_000))
    """Octets in a set of UIDs.  RFC 7162 advises 8,192 for a whole line; Exchange Online
    refuses 40,000 and Dovecot 65,536."""

    message_octets: int = field(default=256 * _MEBI, validator=Bounds(1_024))
    """The largest message that is read; a larger one is permanently unavailable.
    Exchange Online's own limit is 150 MB."""

    partial_octets: int = field(default=32 * _MEBI, validator=Bounds(1_024))
    """A message listed as larger than this is read in pieces, so that a connection that
    breaks costs a piece and not the message."""

    piece_octets: int = field(default=8 * _MEBI, validator=Bounds(64))
    """The size of such a piece."""

    folders: int = field(default=100_000, validator=Bounds(1))
    """Folders in one listing."""

    messages: int = field(default=16_000_000, validator=Bounds(1))
    """New messages in one listing of one folder, at eight bytes of memory each."""

    connect_timeout: float = field(default=15.0, validator=TIMEOUT)
    """Seconds to wait for a connection, for TLS and for the greeting, each."""

    read_timeout: float = field(default=120.0, validator=TIMEOUT)
    """Seconds of silence after which the server is given up."""

    slowest_octets: int = field(default=1_024, validator=Bounds(1))
    """Octets a second, averaged over one command, below which a server that drips instead
    of being silent is given up as well."""

    reconnects: int = field(default=3, validator=Bounds(0))
    """Connections made anew without one message of progress in between."""

    first_backoff: float = field(default=0.5, validator=PAUSE)
    """Seconds before the first of them; each further one waits four times as long, up to
    `longest_wait`."""

    longest_wait: float = field(default=600.0, validator=PAUSE)
    """Seconds of pause that are waited out where a server asks for one; a longer one is
    raised as `Throttled`."""
