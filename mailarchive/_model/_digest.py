"""The SHA-256 of some bytes, and what a repr may show of a text."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from typing_extensions import override

if TYPE_CHECKING:
    from typing import Self


_SHA256 = 32


def _is_digest(digest: Digest, attribute: object, value: Any) -> None:
    """Refuse anything else; many are made of each message, so this asks but once."""
    del digest, attribute
    if not isinstance(value, bytes):
        msg = "a digest is made of bytes"
        raise TypeError(msg)
    if len(value) != _SHA256:
        msg = "a SHA-256 has 32 bytes"
        raise ValueError(msg)


@frozen(repr=False, order=True)
class Digest:
    """The SHA-256 of some bytes."""

    value: bytes = field(validator=_is_digest)

    @classmethod
    def of(cls, buffer: bytes | memoryview) -> Self:
        """Return the digest of the bytes in `buffer`."""
        return cls(hashlib.sha256(buffer).digest())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the digest that `str` wrote; raises `ValueError` for anything else."""
        algorithm, _, digits = text.partition(":")
        if algorithm != "sha256":
            msg = "a digest is written sha256:<64 hexadecimal digits>"
            raise ValueError(msg)
        return cls(bytes.fromhex(digits))

    @property
    def hex(self) -> str:
        """The 64 hexadecimal digits alone, as `sha256sum` prints them."""
        return self.value.hex()

    @override
    def __hash__(self) -> int:
        """Return the hash of the bytes."""
        return hash(self.value)

    @override
    def __str__(self) -> str:
        """Return `sha256:` and 64 hexadecimal digits."""
        return f"sha256:{self.value.hex()}"

    @override
    def __repr__(self) -> str:
        """Show as much as a person can compare."""
        return f"Digest({self.value.hex()[:12]}...)"


def hint(text: str) -> str:
    """A short word that lets two log lines be compared and no address be read."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]
