"""Every limit of an EWS source, with its unit, in one frozen value."""

from __future__ import annotations

from attrs import field, frozen

from mailarchive._bounds import PAUSE, TIMEOUT, Bounds

_MEBI = 1 << 20


@frozen(kw_only=True)
class EwsLimits:
    """What an Exchange server may take of time, memory and patience before we give it up.

    The defaults suit a server on the internet; a server cannot exceed them by lying.
    """

    page: int = field(default=512, validator=Bounds(1, 512))
    """Changes in a page: what one SyncFolderItems asks for and one checkpoint covers.
    Exchange gives at most 512."""

    items: int = field(default=20, validator=Bounds(1, 1_000))
    """Items in one GetItem.  Microsoft advises about ten; a batch has one minute on the
    server."""

    chunk_octets: int = field(default=8 * _MEBI, validator=Bounds(1_024))
    """Octets of items, as the server tells their sizes, in one GetItem; a larger item is
    asked for alone."""

    message_octets: int = field(default=256 * _MEBI, validator=Bounds(1_024))
    """The largest message that is read; a larger one is permanently unavailable."""

    answer_octets: int = field(default=64 * _MEBI, validator=Bounds(1_024))
    """Characters of an answer beside the messages in it."""

    token_octets: int = field(default=4 * _MEBI, validator=Bounds(64))
    """The longest sync state that a checkpoint takes; Exchange's grow to hundreds of kB."""

    folders: int = field(default=100_000, validator=Bounds(1))
    """Folders in one mailbox."""

    connect_timeout: float = field(default=15.0, validator=TIMEOUT)
    """Seconds to wait for a connection and for TLS."""

    read_timeout: float = field(default=120.0, validator=TIMEOUT)
    """Seconds of silence after which the server is given up."""

    slowest_octets: int = field(default=1_024, validator=Bounds(1))
    """Octets a second, averaged over one answer, below which a server that drips instead of
    being silent is given up as well."""

    retries: int = field(default=5, validator=Bounds(0))
    """Attempts made anew without one message of progress in between."""

    first_backoff: float = field(default=1.0, validator=PAUSE)
    """Seconds before the first of them, where the server asks for none; each further one
    waits twice as long, up to `longest_wait`."""

    longest_wait: float = field(default=600.0, validator=PAUSE)
    """Seconds of pause that are waited out where a server asks for one; a longer one is
    raised as `Throttled`."""
