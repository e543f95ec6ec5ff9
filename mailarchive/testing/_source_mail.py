"""The mail that the laws of a source deliver, and how it is compared with what comes."""

from __future__ import annotations

from collections import Counter
from enum import Enum, unique
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@unique
class Odd(Enum):
    """What hardly any mail is like, and what not every place takes in as it is."""

    NUL = "a NUL"
    BARE_CR = "a CR without LF"
    BARE_LF = "a LF without CR"
    NO_LAST_LINE_END = "no line end at its end"
    NO_HEADER = "no header"
    FROM_LINE = "a From_ line before its header"
    BOM = "a byte order mark before its header"
    EMPTY = "no octets at all"


ODD: Final[Mapping[Odd, bytes]] = {
    Odd.NUL: b"Subject: nul\r\n\r\nhere: \0, and on\r\n",
    Odd.BARE_CR: b"Subject: bare CR\r\n\r\none\rtwo\r\r\nthree\r\n",
    Odd.BARE_LF: b"Subject: bare LF\r\n\r\none\ntwo\n\nthree\r\n",
    Odd.NO_LAST_LINE_END: b"Subject: cut\r\n\r\nno line end follows",
    Odd.NO_HEADER: b"\r\nnothing stands before the empty line\r\n",
    Odd.FROM_LINE: b"From a@b Thu Jan  4 00:00:00 2024\r\nSubject: from\r\n\r\nbody\r\n",
    Odd.BOM: b"\xef\xbb\xbfSubject: bom\r\n\r\nbody\r\n",
    Odd.EMPTY: b"",
}
"""A message of each."""

STRANGE: Final[Mapping[str, bytes]] = {
    "a header and nothing else": b"Subject: a header and nothing else\r\n\r\n",
    "octets above 127": b"Subject: 8bit \xfc\xff\r\n\r\n\x80\r\n",
    "lines that begin with dots": b"Subject: dots\r\n\r\n.\r\n..\r\n..two\r\n.one\r\n.\r\nend\r\n",
    "lines that begin with From": (
        b"Subject: from\r\n\r\nFrom here on\r\n>From there\r\n>>From everywhere\r\n\r\n"
        b"From a@b Thu Jan  4 00:00:00 2024\r\nto the end\r\n"
    ),
    "folded headers": b"Subject: folded\r\n in\r\n\tthree\r\nX-Odd:\r\n  far in\r\n\r\nbody\r\n",
    "blanks at the ends of lines": b"Subject: blanks \t\r\n\r\n-- \r\n \r\n\t\r\nend \r\n\r\n\r\n",
    "headers that programs write": (
        b"Status: RO\r\nX-Status: A\r\nBcc: c@example.com\r\nContent-Length: 3\r\n"
        b"Subject: theirs\r\nx-lower: 1\r\n\r\nbody\r\n"
    ),
    "the end mark of DOS": b"Subject: dos\r\n\r\nhere: \x1a, and on\r\n",
    "a line of 3,000 octets": b"Subject: long\r\n\r\n" + b"0123456789" * 300 + b"\r\nend\r\n",
}
"""Mail that is rare and that every place takes in; each is named in what is said of it."""


def messages(count: int, *, start: int = 0, octets: int = 0) -> list[bytes]:
    """Return so many messages, all different, each of at least so many octets."""
    line = b"0123456789abcdef" * 4 + b"\r\n"
    return [
        b"From: a@example.com\r\nTo: b@example.com\r\nSubject: message %d\r\n\r\nbody %d\r\n"
        % (number, number)
        + line * (octets // len(line))
        for number in range(start, start + count)
    ]


def numbered(raws: Sequence[bytes]) -> list[tuple[str, bytes]]:
    """Name messages that have nothing else to be told apart by."""
    return [(f"message {number} of {len(raws)}", raw) for number, raw in enumerate(raws, 1)]


def check_came(found: Sequence[bytes], expected: Sequence[tuple[str, bytes]]) -> None:
    """Exactly these came; else what is said names the first that did not, and where it differs."""
    extra = Counter(found)
    lacking: list[tuple[str, bytes]] = []
    for name, raw in expected:
        if extra[raw]:
            extra[raw] -= 1
        else:
            lacking.append((name, raw))
    others = list(extra.elements())
    if lacking and others:
        raise AssertionError(_difference(*lacking[0], others))
    if lacking:
        names = ", ".join(name for name, _ in lacking[:3])
        raise AssertionError(
            f"{len(lacking)} of {len(expected)} messages did not come, the first: {names}"
        )
    assert not others, f"{len(others)} more messages came than are there"


def _difference(name: str, raw: bytes, others: Sequence[bytes]) -> str:
    """Tell a message from the one of the others that begins most like it."""
    same, other = max((_alike(raw, each), each) for each in others)
    return (
        f"a message comes with other bytes ({name}): {len(other)} octets for {len(raw)},"
        f" and other ones from octet {same + 1} on"
    )


def _alike(one: bytes, other: bytes) -> int:
    """Return how many octets two messages have in common at their beginning."""
    pairs = zip(one, other, strict=False)
    most = min(len(one), len(other))
    return next((place for place, (a, b) in enumerate(pairs) if a != b), most)
