"""How large a manifest may be: what is written, and what a reader takes into memory.  Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LARGEST = 1 << 30
"""Bytes of the largest manifest that is written, and that a reader will take."""
MOST_LINES = 1_000_000
"""Lines of the longest manifest that is written, and that a reader will take.

A batch has 2,000 entries or facts at most, and its objects beside; in memory a line takes a
few hundred bytes, however short it is.
"""
LONGEST_LINE = 1 << 28
"""Bytes of the longest line of a manifest that is written, and that a reader will take.

An entry has 250,000 recipients at most, as a journal report may have, each with an address of
320 octets twice and some 60 octets about it: 175 million, and a third more once encrypted.  An
entry that says still more is rejected by itself; in memory a line may take 25 times its size.
"""
LONGEST_ENTRY = (LONGEST_LINE - (1 << 20)) // 4 * 3
"""Bytes of the longest entry in clear: what encrypts it adds a third, and its keys."""

_PIECE = 1 << 20


def doubt(pieces: Iterable[bytes]) -> str | None:
    """Return in words what no manifest of ours has; pieces are shorter than a line may be."""
    lines = run = 0
    for piece in pieces:
        first = piece.find(b"\n")
        longest = run + (len(piece) if first < 0 else first)
        run = longest if first < 0 else len(piece) - 1 - piece.rfind(b"\n")
        lines += piece.count(b"\n")
        if lines > MOST_LINES:
            return f"a manifest of more than {MOST_LINES:,} lines, which none of ours has"
        if max(longest, run) > LONGEST_LINE:
            return f"a line of more than {LONGEST_LINE:,} bytes, which no manifest of ours has"
    return None


def needs_a_look(size: int) -> bool:
    """Whether a manifest of this size may have too many lines, or too long a one."""
    return size > min(MOST_LINES, LONGEST_LINE)


def fits(data: bytes) -> bool:
    """Whether a manifest is no larger, and has no more and no longer lines, than one is read."""
    return len(data) <= LARGEST and (not needs_a_look(len(data)) or doubt(_pieces(data)) is None)


def _pieces(data: bytes) -> Iterator[bytes]:
    return (data[at : at + _PIECE] for at in range(0, len(data), _PIECE))
