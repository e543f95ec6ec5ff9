"""Every limit of a Graph source, with its unit, in one frozen value."""

from __future__ import annotations

from attrs import field, frozen

from mailarchive._bounds import PAUSE, TIMEOUT, Bounds

_MEBI = 1 << 20


@frozen(kw_only=True)
class GraphLimits:
    """What Graph may take of time, memory and patience before we give it up."""

    page: int = field(default=500, validator=Bounds(1, 1_000))
    """Messages in a page: what one checkpoint covers.  Graph lists 1,000 at most."""

    in_flight: int = field(default=4, validator=Bounds(1, 4))
    """Messages asked for at a time.  Graph allows four requests per application and mailbox
    ("MailboxConcurrency"), and answers 429 to a fifth."""

    message_octets: int = field(default=256 * _MEBI, validator=Bounds(1_024))
    """The largest message that is read; a larger one is permanently unavailable.
    Exchange Online's own limit is 150 MB."""

    json_octets: int = field(default=64 * _MEBI, validator=Bounds(1_024))
    """The largest answer that is no message."""

    folders: int = field(default=100_000, validator=Bounds(1))
    """Folders in one mailbox."""

    link_octets: int = field(default=16_384, validator=Bounds(256))
    """The longest delta link, which is kept in the checkpoint."""

    connect_timeout: float = field(default=15.0, validator=TIMEOUT)
    """Seconds to wait for a connection and for TLS, each."""

    read_timeout: float = field(default=120.0, validator=TIMEOUT)
    """Seconds of silence after which a request is given up."""

    slowest_octets: int = field(default=1_024, validator=Bounds(1))
    """Octets a second, averaged over one answer, below which Graph is given up as well where
    it drips instead of being silent."""

    tries: int = field(default=5, validator=Bounds(1))
    """Attempts at one request, the first one included."""

    first_backoff: float = field(default=0.5, validator=PAUSE)
    """Seconds before the second attempt where Graph names no pause; each further one waits
    four times as long, up to `longest_wait`."""

    longest_wait: float = field(default=600.0, validator=PAUSE)
    """Seconds of pause that are waited out where Graph asks for one; a longer one is raised
    as `Throttled`."""
