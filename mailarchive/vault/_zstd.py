"""One message, one zstd frame, with its size and a checksum in it (RFC 8878)."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

USUAL = 3
"""The level at which mail is packed unless another one is chosen."""

LARGEST = 2 << 30
"""Bytes of the largest message that a vault takes, and that a reader will unpack."""

LARGEST_STORED = LARGEST + (LARGEST >> 7)
"""Bytes of the largest member: what cannot be made smaller grows by less than a 250th."""

_WINDOW_LOG = 27
"""No frame of ours needs a larger window; one that does would be a bomb (RFC 8878, 3.1.1.1.2)."""


_OTHER_SIZE = "a zstd frame of another size"


class _Compressors(threading.local):
    """A compressor a thread and level: making one costs as much as a small message."""

    def __init__(self) -> None:
        self.by_level: dict[int, zstd.ZstdCompressor] = {}

    def get(self, level: int) -> zstd.ZstdCompressor:
        found = self.by_level.get(level)
        if found is None:
            options: dict[int, int] = {
                zstd.CompressionParameter.compression_level: level,
                zstd.CompressionParameter.checksum_flag: 1,
                zstd.CompressionParameter.content_size_flag: 1,
            }
            found = self.by_level[level] = zstd.ZstdCompressor(options=options)
        return found


_compressors = _Compressors()


def levels() -> tuple[int, int]:
    """Return the lowest and the highest level that there is."""
    lowest, highest = zstd.CompressionParameter.compression_level.bounds()
    return lowest, highest


def compress(data: bytes, level: int) -> bytes:
    """Return `data` as one frame."""
    compressor = _compressors.get(level)
    return compressor.compress(data, mode=compressor.FLUSH_FRAME)


def decompress(frame: bytes, size: int) -> bytes:
    """Return what is in the frame, which must be `size` bytes; raises `ValueError`.

    Never unpacks more than that, whatever the frame says.
    """
    return b"".join(pieces((frame,), size, size + 1))


def pieces(frame: Iterable[bytes], size: int, at_most: int) -> Iterator[bytes]:
    """Yield what is in a frame, itself in pieces, `at_most` so many bytes at a time.

    Raises `ValueError` in the end unless it is `size` bytes, and never unpacks more.
    """
    decompressor: zstd.ZstdDecompressor | None = None
    left = size
    try:
        for data in frame:
            if decompressor is None:
                decompressor = _decompressor(data, size)
            some = data
            while not decompressor.eof:
                found = decompressor.decompress(some, max_length=at_most)
                left -= len(found)
                if left < 0:
                    raise ValueError(_OTHER_SIZE)
                yield found
                if decompressor.needs_input:
                    break
                some = b""
    except zstd.ZstdError as error:
        msg = "no zstd frame, or a damaged one"
        raise ValueError(msg) from error
    if left or decompressor is None or not decompressor.eof or decompressor.unused_data:
        raise ValueError(_OTHER_SIZE)


def _decompressor(beginning: bytes, size: int) -> zstd.ZstdDecompressor:
    """A decompressor for the frame that begins so, if it says that it holds so many bytes."""
    known = zstd.get_frame_info(beginning).decompressed_size
    if not 0 <= size <= LARGEST or known != size:
        raise ValueError(_OTHER_SIZE)
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
    return zstd.ZstdDecompressor(options=options)
