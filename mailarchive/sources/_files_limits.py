"""Every limit of the sources that read files, with its unit, in one frozen value."""

from __future__ import annotations

from attrs import field, frozen

from mailarchive._bounds import Bounds

_MEBI = 1 << 20


@frozen(kw_only=True)
class FileLimits:
    """What a file may take of memory; more it cannot, however large it is."""

    message_octets: int = field(default=256 * _MEBI, validator=Bounds(1_024))
    """The largest message that is read; a larger one is unavailable, and not read at all.
    Exchange Online's own limit is 150 MB."""

    def refusal(self) -> str:
        """What is said of a larger one."""
        return f"larger than the limit of {self.message_octets} octets: raise message_octets"


NO_MEMORY = "no memory to read it in: lower message_octets, or give the process more"
"""What is said of a message that is within the limit and still does not fit."""
