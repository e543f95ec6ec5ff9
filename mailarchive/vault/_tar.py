"""A pack is a plain POSIX ustar archive (IEEE Std 1003.1, pax, ustar interchange format).

A header of ours follows from a member's name and size alone.  So a reader compares it
whole, and no bit of it can be changed unseen.
"""

from __future__ import annotations

import re

from mailarchive._model import Digest

BLOCK = 512
"""Bytes of a header; contents are padded with NULs to a multiple of it."""
TRAILER = bytes(2 * BLOCK)
"""What ends a tar archive; a pack gets it when it is full."""

MESSAGE = "b/{}.zst"
"""The name of a stored message: the SHA-256 of the stored bytes."""
ENCRYPTED_MESSAGE = "b/{}.zst.gcm"
"""The same where it is encrypted."""
MANIFEST = "m/{}.jsonl"
"""The name of a manifest: the SHA-256 of its bytes."""

_PACK = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9]{1,10}-[0-9a-f]{12}\Z")
_NAME = re.compile(rb"([a-z]{1,16})/([0-9a-f]{64})((?:\.[a-z0-9]{1,8}){0,3})\Z")
_SIZE = re.compile(rb"[0-7]{11}\Z")
_LARGEST = 0o77777777777
# 2000-01-01: GNU tar warns of members from 1970.
_TIME = b"07033241600\0"
_BEFORE_SIZE = b"0000644\0" + b"0000000\0" + b"0000000\0"
_TAIL = b"ustar\0" + b"00" + bytes(64) + b"0000000\0" + b"0000000\0" + bytes(155 + 12)

_REST = b"0" + bytes(100) + _TAIL
_SUM_OF_REST = sum(_REST)


def is_pack(name: str) -> bool:
    """Whether a pack can have this name; nothing else is ever opened as one."""
    return _PACK.match(name) is not None


def header(name: str, size: int) -> bytes:
    """Return the one header that a member of this name and size can have."""
    if not 0 <= size <= _LARGEST:
        msg = "a member of a tar archive holds less than 8 GiB"
        raise ValueError(msg)
    start = name.encode("ascii").ljust(100, b"\0") + _BEFORE_SIZE + b"%011o\0" % size + _TIME
    # The checksum counts its own field as eight blanks.
    return start + b"%06o\0 " % (sum(start) + 8 * 32 + _SUM_OF_REST) + _REST


def parse(block: bytes) -> tuple[str, int] | None:
    """Return name and size of the member whose header `block` is, or `None`."""
    raw_name, raw_size = block[:100].rstrip(b"\0"), block[124:135]
    if not _NAME.match(raw_name) or not _SIZE.match(raw_size):
        return None
    name, size = raw_name.decode("ascii"), int(raw_size, 8)
    return (name, size) if header(name, size) == block else None


def digest(name: str) -> Digest:
    """Return the digest in the name of a member."""
    return Digest(bytes.fromhex(name.split("/", 1)[1][:64]))


def padding(size: int) -> int:
    """Return how many NULs follow a content of `size` bytes."""
    return -size % BLOCK


def member_size(size: int) -> int:
    """Return what a content of `size` bytes takes in the pack, header and padding included."""
    return BLOCK + size + padding(size)


def member(name: str, content: bytes) -> tuple[bytes, bytes, bytes]:
    """Return a whole member in pieces: header, content, padding."""
    return header(name, len(content)), content, bytes(padding(len(content)))
