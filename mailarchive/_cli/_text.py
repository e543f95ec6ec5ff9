"""Words for a terminal: nothing that came in a mail may steer it."""

from __future__ import annotations

import errno
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_UNSAFE = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
"""Controls, invisible marks (which may reverse a line), surrogates, line separators."""


CLOSED = "its permissions, or those of a folder above it, forbid it"
"""Why a user may not use a file or folder."""


def safe(text: str | None, width: int | None = None) -> str:
    """Return the text with everything that could steer a terminal made visible."""
    shown = "".join(
        f"\\x{ord(each):02x}" if unicodedata.category(each) in _UNSAFE else each
        for each in text or ""
    )
    if width is not None and len(shown) > width:
        return shown[: width - 1] + "…"
    return shown


def size(count: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 - the step between units
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def columns(rows: Iterable[tuple[str, ...]], indent: str = "  ") -> str:
    """Return rows as lines, each column as wide as its widest word, the last one free."""
    table = list(rows)
    if not table:
        return f"{indent}nothing"
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        indent
        + "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a count and its noun, in the plural where it is due."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {plural or noun + 's'}"


def symbol(error: OSError) -> str:
    """Return the system's own name for what went wrong; its text may name a file."""
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
