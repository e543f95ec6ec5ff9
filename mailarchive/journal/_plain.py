"""The report without any departure from the grammar, read at once.

Nearly every report is one: two parts, every line as the transport writer writes it, and
an original that agrees.  For these the general route's steps are mostly negative answers,
and take three times as long as this.  `read` gives `None` wherever it is not sure; what
it does give is what the general route would give, which the tests hold it to.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailarchive._model import Role, Span
from mailarchive._rfc5322 import decode_text, header_end
from mailarchive.journal._addresses import SPEC
from mailarchive.journal._markers import GENERATOR, TOP
from mailarchive.journal._mime import find_delimiter, part_header, untransferred
from mailarchive.journal._originals import BEGINNING, NAMES
from mailarchive.journal._report import EnvelopeText, JournalReport, Kind, RecipientLine, Step

if TYPE_CHECKING:
    from mailarchive.journal._report import Limits

_MIXED: Final = re.compile(rb'\s*multipart/mixed;\s*boundary="([^"\\]*[^"\\\s])"\s*\Z')
_RFC822: Final = b"Content-Type: message/rfc822\r\n\r\n"
_ATEXT: Final = rb"[!#-'*+\-./0-9=?A-Z^-~]+"
_NAME: Final = rb'(?:[^"(),:;<>@\\]*|"[^"\\]*"\s*)'
_AUTHOR: Final = re.compile(
    rb"(?:%b<(%b@%b)>|(%b@%b))\Z" % (_NAME, _ATEXT, _ATEXT, _ATEXT, _ATEXT)
)
_EMPTY: Final = b"\r\n\r\n"
_SHORT: Final = 1_000
_CR: Final = 0x0D
_TWO: Final = 2

_HEAD: Final = re.compile(
    rf"Sender: ({SPEC})\n(?:On-Behalf-Of: ({SPEC})\n)?+Subject: ([^\r\n]*+)\n"
    r"Message-Id: (<[^\s<>]++>)\n"
)
_ROW: Final = re.compile(
    rf"^(To|Cc|Bcc|Recipient): ({SPEC})(?:, (Expanded|Forwarded): ({SPEC}))?+$", re.MULTILINE
)
"""Nothing is read twice: the `++` of Python 3.11 gives nothing back."""
_ROLES: Final = {"To": Role.TO, "Cc": Role.CC, "Bcc": Role.BCC, "Recipient": Role.RECIPIENT}


def read(raw: bytes, limits: Limits) -> JournalReport | None:
    """Return the report, or `None` where the general route must look."""
    end = raw.find(_EMPTY, 0, limits.header_bytes)
    if end < 0:
        return None
    top = b"\n" + raw[:end]
    found = TOP.further.findall(top)
    fields = dict(found)
    if len(found) != _TWO or b"X-MS-Journal-Report" not in fields or _has_line_feed_only(top):
        return None
    mixed = _MIXED.match(fields.get(b"Content-Type", b""))
    cut = None if mixed is None else _cut(raw, b"\n--" + mixed[1], end + len(_EMPTY))
    if cut is None:
        return None
    text_part, original = cut
    text = _envelope(raw, text_part, limits)
    if text is None or not _agrees(raw, original, text, limits):
        return None
    return JournalReport(raw, Kind.EXCHANGE_2007, text, (original,))


def _has_line_feed_only(header: bytes) -> bool:
    """Whether a header, behind a line feed, may end before its first CRLF CRLF."""
    return b"\n\n" in header or b"\n\r\n" in header


def _cut(raw: bytes, needle: bytes, body: int) -> tuple[Span, Span] | None:
    """Return the envelope's part and the original, where these two are all there is."""
    length = len(needle)
    first = raw.find(needle, body - 1)
    second = raw.find(needle, first + length)
    start = second + length + 2 + len(_RFC822)
    if first < 0 or not raw.startswith(b"\r\n" + _RFC822, second + length):
        return None
    last = find_delimiter(raw, needle, start - 1, len(raw))
    if last <= start or raw[last + length : last + length + 4] not in (b"--\r\n", b"--"):
        return None
    if raw[first + length : first + length + 2] != b"\r\n":
        return None
    if raw[second - 1] != _CR or raw[last - 1] != _CR:
        return None
    return Span(first + length + 2, second - 1), Span(start, last - 1)


def _envelope(raw: bytes, part: Span, limits: Limits) -> EnvelopeText | None:
    """Return what the text says, where it is all well-formed."""
    stop = raw.find(_EMPTY, part.start, part.end)
    block = raw[part.start : stop + 2]
    if stop < 0 or stop - part.start > _SHORT or _has_line_feed_only(b"\n" + block):
        return None
    header = part_header(block)
    if header.kind != b"text/plain" or part.end - stop > limits.text_bytes:
        return None
    data = untransferred(raw[stop + len(_EMPTY) : part.end], header.encoding)
    text, guessed = decode_text(data, header.charset)
    head = _HEAD.match(text := text.replace("\r\n", "\n").rstrip("\n"))
    if head is None or guessed or len(text) > limits.text_lines:
        return None
    rows = _ROW.findall(text, head.end())
    if len(rows) != text.count("\n", head.end()) + 1:
        return None
    sender, on_behalf_of, subject, message_id = head.groups()
    first = 4 if on_behalf_of is None else 5
    recipients = [
        RecipientLine(spec, _ROLES[role], (Step(word.lower(), origin),) if word else (), line)
        for line, (role, spec, word, origin) in enumerate(rows, first)
    ]
    if len(recipients) > limits.recipients:
        return None
    return EnvelopeText(
        sender=sender,
        on_behalf_of=on_behalf_of,
        subject=subject.strip(" \t"),
        message_id=message_id,
        recipients=tuple(recipients),
    )


def _agrees(raw: bytes, original: Span, text: EnvelopeText, limits: Limits) -> bool:
    """Whether the original's header has one author and one Message-ID, both the report's."""
    if BEGINNING.match(raw, original.start, original.end) is None:
        return False
    stop, _ = header_end(raw, original.start, original.end, limits.header_bytes)
    found = NAMES.further.findall(raw, original.start - 1, stop)
    fields = {name.lower(): value for name, value in found}
    if len(found) != _TWO or len(fields) != _TWO:
        return False
    message_id = fields.get(b"message-id", b"").strip()
    author = _AUTHOR.match(fields.get(b"from", b"").strip())
    return (
        message_id == (text.message_id or "").encode()
        and GENERATOR not in message_id.lower()
        and author is not None
        and (author[1] or author[2]) == (text.sender or "").encode()
    )
