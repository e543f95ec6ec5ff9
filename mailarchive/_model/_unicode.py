"""One form of each text: Unicode's, in time that grows with the text and no faster, and JSON's."""

from __future__ import annotations

import re
import unicodedata
from typing import Final, Literal

_LONGEST_RUN: Final = 30
"""Marks on one letter, as in the Stream-Safe Text Format (Unicode, UAX #15, 13)."""
_JOINER: Final = "\u034f"
_STRETCH: Final = re.compile(rf"[^\x00-\x7f]{{{_LONGEST_RUN + 1},}}")


def normalized(form: Literal["NFC", "NFKC"], text: str) -> str:
    """Return the text in a normal form; a letter with more marks than any language has is cut.

    Marks are put in order by moving each past those before it: a hundred thousand of them
    on one letter would take minutes.  Behind each thirty a combining grapheme joiner ends
    the run, as UAX #15 has it.
    """
    if text.isascii():
        return text
    return unicodedata.normalize(form, _STRETCH.sub(_with_joiners, text))


def one_spelling(text: str) -> str:
    """Return the text as JSON gives it back: two halves of a character become the whole one."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _with_joiners(stretch: re.Match[str]) -> str:
    found: list[str] = []
    run = 0
    for letter in stretch[0]:
        run = run + 1 if unicodedata.combining(letter) else 0
        if run > _LONGEST_RUN:
            found.append(_JOINER)
            run = 1
        found.append(letter)
    return "".join(found)
