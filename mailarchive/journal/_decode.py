"""Raw bytes to a `JournalReport`: recognise, cut, read the envelope text, compare.

The order of the steps is the decision table of the reference page: evidence in the top
header first, then the shape, then the text.  The original is a slice of the input and is
never parsed to be found.  The decoder takes no digest, knows no clock, and claims nothing
about who wrote a report: that is `trust`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from attrs import evolve

from mailarchive._model import Span
from mailarchive.errors import LimitExceeded, MalformedReport, NotAJournalReport
from mailarchive.journal import _bounce, _plain
from mailarchive.journal._envelope import read_envelope
from mailarchive.journal._markers import Marks, is_report, marks, signs, top_header
from mailarchive.journal._mime import media_type
from mailarchive.journal._originals import find_originals, of_encoding
from mailarchive.journal._report import (
    Bounce,
    Defect,
    DefectCode,
    Disposition,
    EnvelopeText,
    JournalReport,
    Kind,
    Limits,
    exceeded,
)
from mailarchive.journal._shape import Shape, shape

if TYPE_CHECKING:
    from mailarchive._rfc5322 import Block
    from mailarchive.journal._envelope import Read
    from mailarchive.journal._mime import Part
    from mailarchive.journal._originals import Originals

DEFAULT: Final = Limits()
_ARCHIVE: Final = ("archive it as ordinary mail",)
_KEEP: Final = ("keep the message as it is and look at what could be read",)


class _Window(NamedTuple):
    """A message in some bytes: the record itself, or what a transfer encoding hid."""

    data: bytes
    start: int
    end: int


def decode(raw: bytes, *, limits: Limits = DEFAULT) -> JournalReport:
    """Return the journal report that `raw` is, with every departure from the grammar named.

    Raises `NotAJournalReport` for ordinary mail; `MalformedReport` where the bytes must be
    kept and nothing claimed, with a `JournalReport` of what could be read as its
    `partial`; `LimitExceeded` beyond `limits`.  Time is linear in the length of `raw`.
    Grammar: MS-XJRNL 2.1, and the reports of Exchange 2003.
    """
    plain = _plain.read(raw, limits)
    return step_by_step(raw, limits) if plain is None else plain


def step_by_step(raw: bytes, limits: Limits = DEFAULT) -> JournalReport:
    """Return what `decode` returns, by the way that can tell every departure."""
    return _decode(raw, _Window(raw, 0, len(raw)), limits)


def unwrap(report: JournalReport, *, limits: Limits = DEFAULT) -> JournalReport:
    """Return the report that is the original of a `nested` one; raises as `decode` does.

    Raises `LimitExceeded` behind `limits.nesting` reports in one another.
    """
    if report.depth >= limits.nesting:
        raise exceeded("more journal reports are in one another", "nesting")
    original = report.originals[0]
    if isinstance(original, Span):
        raw, window = report.raw, _Window(report.raw, original.start, original.end)
    else:
        raw, window = original, _Window(original, 0, len(original))
    return evolve(_decode(raw, window, limits), depth=report.depth + 1)


def _decode(raw: bytes, window: _Window, limits: Limits) -> JournalReport:
    block = top_header(*window, limits)
    found = marks(block)
    kind = media_type(block.value(b"content-type"))
    report = None
    if found.kind is None or kind == b"multipart/report":
        report = _bounced(raw, window, block, limits)
    if report is None:
        report = _evident(raw, window, block, found, limits)
    if report.disposition is Disposition.QUARANTINE:
        _refuse(report)
    return report


def _refuse(report: JournalReport) -> NoReturn:
    codes = ", ".join(report.defect_codes)
    error = MalformedReport(f"a journal report that cannot be used: {codes}", suggestions=_KEEP)
    error.partial = report
    raise error


def _evident(
    raw: bytes, window: _Window, block: Block, found: Marks, limits: Limits
) -> JournalReport:
    """Read a report that a marker names, or two other signs where all the rest fits."""
    if found.kind is not None:
        return _read(raw, window, block, found, limits)
    found_signs = signs(block)
    if found_signs.enough:
        try:
            report = _read(raw, window, block, found, limits)
        except LimitExceeded:
            report = None
        if report is not None and report.disposition is not Disposition.QUARANTINE:
            return report
    error = NotAJournalReport(
        "the message has no marker of a journal report", suggestions=_ARCHIVE
    )
    error.resembles = found_signs.resemble
    raise error


def _bounced(raw: bytes, window: _Window, block: Block, limits: Limits) -> JournalReport | None:
    """Read the report that a bounce returns; `None` where this is no bounce of a report."""
    content_type = block.value(b"content-type")
    if not media_type(content_type).startswith(b"multipart/") or block.body is None:
        return None
    try:
        parts = shape(window.data, content_type, block.body, window.end, limits)
        returned = _returned(parts, limits)
        only_headers = any(is_report(each) for each in _bounce.returned_headers(parts, limits))
    except LimitExceeded:
        return None
    if returned is None and not only_headers:
        return None
    fields = _bounce.fields(block)
    if not _bounce.is_bounce(fields, media_type(content_type), parts):
        return None
    failed = _bounce.failed(fields, parts, limits)
    if returned is None:
        defects = (Defect(DefectCode.ENVELOPE_MISSING), Defect(DefectCode.ORIGINAL_MISSING))
        nothing = EnvelopeText()
        return JournalReport(
            raw, Kind.BOUNCE, nothing, defects=defects, bounce=Bounce(None, failed)
        )
    return _opened(raw, returned, Bounce(None, failed), limits)


def _returned(parts: Shape, limits: Limits) -> tuple[Part, _Window] | None:
    """Return the first returned message whose header is a report's, and where it is."""
    for part in parts.messages:
        window = _Window(part.raw, part.start, part.end)
        if part.is_encoded:
            data = part.content(limits.encoded_bytes, "encoded_bytes")
            window = _Window(data, 0, len(data))
        if is_report(top_header(*window, limits)):
            return part, window
    return None


def _opened(
    raw: bytes, returned: tuple[Part, _Window], bounce: Bounce, limits: Limits
) -> JournalReport | None:
    part, window = returned
    block = top_header(*window, limits)
    try:
        report = _evident(raw, window, block, marks(block), limits)
    except NotAJournalReport:
        return None
    defects = list(report.defects)
    if part.is_encoded:
        defects = [evolve(defect, offset=None) for defect in defects]
        report = evolve(report, extra_parts=())
    defects += of_encoding(part)
    if not part.closed and DefectCode.TRUNCATED not in report.defect_codes:
        defects.append(Defect(DefectCode.TRUNCATED))
    bounce = evolve(bounce, kind=report.kind)
    return evolve(report, kind=Kind.BOUNCE, bounce=bounce, defects=tuple(defects))


def _read(
    raw: bytes, window: _Window, block: Block, found: Marks, limits: Limits
) -> JournalReport:
    """Read a report; whatever is missing is among its defects."""
    body = window.end if block.body is None else block.body
    parts = shape(window.data, block.value(b"content-type"), body, window.end, limits)
    defects: list[Defect] = []
    if found.kind is None:
        defects.append(Defect(DefectCode.MARKER_MISSING))
    if found.both:
        defects.append(Defect(DefectCode.BOTH_MARKERS))
    if parts.unclosed or block.body is None:
        defects.append(Defect(DefectCode.TRUNCATED))
    envelope = read_envelope(parts, found, limits)
    defects += envelope.defects
    inside = find_originals(raw, parts, envelope, limits)
    defects += inside.defects
    extra = _extra(parts, envelope, inside)
    if extra or parts.wrapped:
        defects.append(Defect(DefectCode.EXTRA_PART, offset=extra[0].start if extra else None))
    return JournalReport(
        raw,
        envelope.kind,
        envelope.text,
        originals=inside.originals,
        defects=tuple(defects),
        decrypted_copy_index=inside.decrypted,
        opaque=inside.opaque,
        nested=inside.nested,
        extra_parts=extra,
    )


def _extra(parts: Shape, envelope: Read, inside: Originals) -> tuple[Span, ...]:
    """Return the parts that are neither the envelope nor an original.

    Where no text is the envelope, any of them may be the one that cannot be read; where
    there is no original, an empty message is what should have been one.
    """
    used = {*map(id, envelope.forms), *map(id, inside.parts)}
    there = [*(part for part, _ in parts.opaque), *parts.others]
    if envelope.forms:
        there += [form for forms in parts.texts for form in forms]
    if inside.originals:
        there += parts.messages
    spans = (Span(part.begin, part.end) for part in there if id(part) not in used)
    return tuple(sorted(spans, key=lambda span: span.start))
