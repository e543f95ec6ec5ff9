"""The report without any departure from the grammar, read at once.

Nearly every report is one: two parts, every line as the transport writer writes it, and
an original that agrees.  For these the general route's steps are mostly negative answers,
and take three times as long as this.  `read` gives `None` wherever it is not sure; what
it does give is what the general route would give, which the tests hold it to.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from mailarchive._model import Role, Span
from mailarchive._rfc5322 import Block, decode_text
from mailarchive.journal._addresses import SPEC
from mailarchive.journal._markers import GENERATOR, TOP
from mailarchive.journal._mime import BEGINNING, find_delimiter, part_header, untransferred
from mailarchive.journal._originals import NAMES, disagreements, is_nested
from mailarchive.journal._report import EnvelopeText, JournalReport, Kind, RecipientLine, Step

if TYPE_CHECKING:
    from mailarchive.journal._mime import PartHeader
    from mailarchive.journal._report import Limits

_MIXED: Final = re.compile(rb'\s*multipart/mixed;\s*boundary="([^"\\]*[^"\\\s])"\s*\Z')
_ATEXT: Final = rb"[!#-'*+\-./0-9=?A-Z^-~]+"
_NAME: Final = rb'(?:[^"(),:;<>@\\]*|"[^"\\]*"\s*)'
_AUTHOR: Final = re.compile(
    rb"(?:%b<(%b@%b)>|(%b@%b))\Z" % (_NAME, _ATEXT, _ATEXT, _ATEXT, _ATEXT)
)
_SHORT: Final = 1_000
_MOST_ABOVE: Final = 4
"""How many lines may stand above the recipients."""
_CR: Final = 0x0D
_TWO: Final = 2

_HEAD: Final = re.compile(
    rf"Sender: ({SPEC})\r?\n(?:On-Behalf-Of: ({SPEC})\r?\n)?+Subject: ([^\r\n]*+)\r?\n"
    r"Message-Id: (<[^\s<>]++>)\r?\n"
)
_ROW: Final = re.compile(
    rf"^(To|Cc|Bcc|Recipient): ({SPEC})(?:, (Expanded|Forwarded): ({SPEC}))?+\r?$", re.MULTILINE
)
"""Nothing is read twice: the `++` of Python 3.11 gives nothing back."""
_new: Final = tuple.__new__
"""What makes a named tuple at a third of the cost of its own constructor."""
_ROLES: Final = {"To": Role.TO, "Cc": Role.CC, "Bcc": Role.BCC, "Recipient": Role.RECIPIENT}


class _Ends(NamedTuple):
    """How the lines of a file end: always with the one or always with the other."""

    line: bytes
    empty: bytes
    message: bytes
    closing: tuple[bytes, bytes]


_CRLF, _LF = (
    _Ends(
        end, end * 2, b"%bContent-Type: message/rfc822%b%b" % (end, end, end), (b"--" + end, b"--")
    )
    for end in (b"\r\n", b"\n")
)


def read(raw: bytes, limits: Limits) -> JournalReport | None:
    """Return the report, or `None` where the general route must look."""
    ends = _CRLF if raw[: raw.find(b"\n") + 1].endswith(b"\r\n") else _LF
    end = raw.find(ends.empty, 0, limits.header_bytes)
    if end < 0:
        return None
    found = TOP.or_empty.findall(b"\n" + raw[:end])
    fields = dict(found)
    if len(found) != _TWO or b"X-MS-Journal-Report" not in fields:
        return None
    mixed = _MIXED.match(fields.get(b"Content-Type", b""))
    if mixed is None:
        return None
    cut = _cut(raw, b"\n--" + mixed[1], end + len(ends.empty), ends)
    if cut is None:
        return None
    start, stop, original = cut
    text = _envelope(raw, start, stop, ends, limits)
    if text is None or not _agrees(raw, original, text, limits):
        return None
    return JournalReport(raw, Kind.EXCHANGE_2007, text, (original,))


def _cut(raw: bytes, needle: bytes, body: int, ends: _Ends) -> tuple[int, int, Span] | None:
    """Return where the envelope's part is, and the original, where these two are all."""
    length, before = len(needle), len(ends.line) - 1
    first = raw.find(needle, body - 1)
    second = raw.find(needle, first + length)
    start = second + length + len(ends.message)
    if first < 0 or not raw.startswith(ends.message, second + length):
        return None
    last = find_delimiter(raw, needle, start - 1, len(raw))
    if last <= start or raw[last + length : last + length + before + 3] not in ends.closing:
        return None
    if not raw.startswith(ends.line, first + length):
        return None
    if not (raw[second - 1] == _CR) == (raw[last - 1] == _CR) == bool(before):
        return None
    return first + length + before + 1, second - before, Span(start, last - before)


@lru_cache(maxsize=256)
def _text_header(block: bytes) -> PartHeader | None:
    """Return a part's header, where it is plain text and no line feed ends it earlier."""
    if b"\n\n" in block or b"\n\r\n" in block or block[:1] in b"\r\n":
        return None
    header = part_header(block)
    return header if header.kind == b"text/plain" else None


def _envelope(
    raw: bytes, start: int, end: int, ends: _Ends, limits: Limits
) -> EnvelopeText | None:
    """Return what the text says, where it is all well-formed."""
    stop = raw.find(ends.empty, start, end)
    if stop < 0 or stop - start > _SHORT or end - stop > limits.text_bytes:
        return None
    header = _text_header(raw[start : stop + len(ends.line)])
    if header is None:
        return None
    data = untransferred(raw[stop + len(ends.empty) : end], header.encoding)
    whole, guessed = decode_text(data, header.charset)
    text = whole.rstrip("\r\n")
    head = None if guessed else _HEAD.match(text)
    if head is None:
        return None
    rows = _ROW.findall(text, head.end())
    if len(rows) != text.count("\n", head.end()) + 1 or len(rows) > limits.recipients:
        return None
    if len(rows) + _MOST_ABOVE + len(whole) - len(text) > limits.text_lines:
        return None
    sender, on_behalf_of, subject, message_id = head.groups()
    first = 4 if on_behalf_of is None else 5
    recipients = [
        _new(RecipientLine, (spec, _ROLES[role], _steps(word, origin) if word else (), line))
        for line, (role, spec, word, origin) in enumerate(rows, first)
    ]
    return EnvelopeText(
        sender=sender,
        on_behalf_of=on_behalf_of,
        subject=subject.strip(" \t"),
        message_id=message_id,
        recipients=tuple(recipients),
    )


def _steps(word: str, origin: str) -> tuple[Step]:
    return (Step(word.lower(), origin),)


def _agrees(raw: bytes, original: Span, text: EnvelopeText, limits: Limits) -> bool:
    """Whether the original begins with a header that does not contradict the text.

    Nearly every one has one author and one Message-ID, both the report's.
    """
    if BEGINNING.match(raw, original.start, original.end) is None:
        return False
    block = Block(raw, NAMES, original.start, original.end, limit=limits.header_bytes)
    fields = {name.lower(): value for name, value in block.fields}
    if len(block.fields) == len(fields) == _TWO:
        message_id = fields.get(b"message-id", b"").strip()
        author = _AUTHOR.match(fields.get(b"from", b"").strip())
        if (
            message_id == (text.message_id or "").encode()
            and GENERATOR not in message_id.lower()
            and author is not None
            and (author[1] or author[2]) == (text.sender or "").encode()
        ):
            return True
    return not is_nested(block) and next(disagreements(text, block), None) is None
