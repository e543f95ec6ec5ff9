"""The envelope text of a report: found among its parts, decoded, read by its grammar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from attrs import evolve

from mailarchive._rfc5322 import decode_text
from mailarchive.journal import _exchange2003, _exchange2007, _html
from mailarchive.journal._report import Defect, DefectCode, EnvelopeText, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailarchive.journal._exchange2007 import Reading
    from mailarchive.journal._markers import Marks
    from mailarchive.journal._mime import Part
    from mailarchive.journal._report import Limits
    from mailarchive.journal._shape import Shape

_ENOUGH: Final = 2
"""How many of a grammar's main fields make an envelope text."""
_ENOUGH_UNMARKED: Final = 3


class Read(NamedTuple):
    """The envelope text, the parts it was read from, and the family it turned out to be.

    `unguarded` says that the subject may have forged lines, which no rule can tell.
    """

    kind: Kind
    text: EnvelopeText
    defects: list[Defect]
    forms: tuple[Part, ...]
    unguarded: bool


def read_envelope(parts: Shape, found: Marks, limits: Limits) -> Read:
    """Read the first text that is an envelope; raises `LimitExceeded`.

    Of several forms of one text the plain one is preferred.  A text that was cut off
    names nobody: its list cannot be whole, and its last address may be half of one.
    """
    for forms in parts.texts:
        for part in sorted(forms, key=lambda form: form.kind != b"text/plain"):
            read = _read_part(part, forms, found, limits)
            if read is not None:
                return read if part is not parts.cut_in else _cut_off(read)
    missing = [Defect(DefectCode.ENVELOPE_MISSING)]
    return Read(found.kind or Kind.EXCHANGE_2007, EnvelopeText(), missing, (), unguarded=False)


def _cut_off(read: Read) -> Read:
    text = evolve(read.text, recipients=())
    return read._replace(text=text, defects=[*read.defects, Defect(DefectCode.ENVELOPE_MISSING)])


def _read_part(part: Part, forms: tuple[Part, ...], found: Marks, limits: Limits) -> Read | None:
    data = part.content(limits.text_bytes, "text_bytes")
    is_html = part.kind == b"text/html"
    for text, guessed in _texts(data, part.header.charset):
        kind, reading = _by_grammar(_html.to_text(text) if is_html else text, found, limits)
        if reading is not None:
            defects = reading.defects
            defects += [Defect(DefectCode.CHARSET_GUESSED, offset=part.begin)] * guessed
            break
    else:
        return None
    if is_html and kind is not Kind.EXCHANGE_2003:
        defects.append(Defect(DefectCode.HTML_ENVELOPE, offset=part.begin))
    defects += _missing(reading.text)
    return Read(kind, reading.text, defects, forms, reading.unguarded)


def _texts(data: bytes, label: str | None) -> Iterator[tuple[str, bool]]:
    """Yield the text as its label has it, and whether that was a guess; then as its bytes do.

    What follows is for a label that is false: no envelope is UTF-16 in one way and a text
    in another.
    """
    yield decode_text(data, label)
    if label is not None:
        yield decode_text(data)[0], True
    if b"\0" in data:
        yield decode_text(data, "utf-16-le" if data[:1] != b"\0" else "utf-16-be")[0], True


def _missing(text: EnvelopeText) -> list[Defect]:
    missing = []
    if text.sender is None:
        missing.append(Defect(DefectCode.SENDER_MISSING))
    if text.message_id is None:
        missing.append(Defect(DefectCode.MESSAGE_ID_MISSING))
    if not text.recipients:
        missing.append(Defect(DefectCode.NO_RECIPIENTS))
    return missing


def _by_grammar(text: str, found: Marks, limits: Limits) -> tuple[Kind, Reading | None]:
    """Read the text by the grammar of its family, or else by the other one, with a defect."""
    kind = found.kind or Kind.EXCHANGE_2007
    enough = _ENOUGH if found.kind else _ENOUGH_UNMARKED
    reading = _exchange2007.read(text, limits, intercept=found.intercept)
    is_newer = reading.text.subject is not None or bool(reading.text.recipients)
    if kind is Kind.EXCHANGE_2003:
        if is_newer and _exchange2003.list_line(text, limits) is None:
            reading.defects.append(Defect(DefectCode.UNKNOWN_LINE))
        else:
            reading = _exchange2003.read(text, limits)
    elif not is_newer and (line := _exchange2003.list_line(text, limits)) is not None:
        reading = _exchange2003.read(text, limits)
        if found.both:
            kind = Kind.EXCHANGE_2003
        elif kind is not Kind.WORKMAIL:
            reading.defects.append(Defect(DefectCode.UNKNOWN_LINE, line))
    return kind, reading if reading.fields >= enough else None
