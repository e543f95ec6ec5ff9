"""The messages inside a report: found by their place, checked against the envelope text.

Only the header block of an original is looked at, to compare it with what the envelope
text says; its body is never read, but for one search where there are two originals.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from mailarchive._model import Address, AddressKind, Span
from mailarchive._rfc5322 import Block, Names, decode_header, decode_text, mailboxes, squash
from mailarchive.journal._legacy import address_of
from mailarchive.journal._markers import MARKERS, has_signs, marks, may_have_signs
from mailarchive.journal._mime import BEGINNING
from mailarchive.journal._report import Defect, DefectCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailarchive._model import Original
    from mailarchive.journal._envelope import Read
    from mailarchive.journal._mime import Part
    from mailarchive.journal._report import EnvelopeText, Limits
    from mailarchive.journal._shape import Shape

NAMES: Final = Names("From", "Sender", "Message-ID", *MARKERS)
_CLASS: Final = Names("Content-Class")
_SUBJECT: Final = Names("Subject")
_PROTECTED: Final = re.compile(rb"\.rpmsg|/x-microsoft-rpmsg-message", re.IGNORECASE)
_LEGACY: Final = "imcea"
_SUSPICIOUS: Final = frozenset({DefectCode.SUBJECT_MULTILINE, DefectCode.FIELD_ORDER})
"""What lines in a subject leave behind, where no original says that it has them."""


_MOST: Final = 2


class Found(NamedTuple):
    """An original: where its bytes are, the header fields of it, and the defects."""

    original: Original
    block: Block
    end: int
    defects: list[Defect]


class Originals(NamedTuple):
    """The originals of a report in order, what was noticed, and the parts they came in."""

    originals: tuple[Original, ...]
    defects: list[Defect]
    parts: tuple[Part, ...] = ()
    decrypted: int | None = None
    opaque: bool = False
    nested: bool = False


def find_originals(raw: bytes, parts: Shape, envelope: Read, limits: Limits) -> Originals:
    """Return the originals; raises `LimitExceeded`.

    Messages come first; only where there is none is another kind of part taken for one.
    """
    found, used = [], []
    for part in parts.messages:
        message = _message(raw, part, limits)
        if message is not None and _has_header(part, message, parts):
            found.append(message)
            used.append(part)
    if found:
        return _compared(found, tuple(used), envelope)
    for part, code in parts.opaque:
        if not part.is_empty:
            original = _opaque(raw, part, limits)
            defects = [Defect(code, offset=part.begin), *_damage(part)]
            if envelope.unguarded and any(each.code in _SUSPICIOUS for each in envelope.defects):
                defects.append(Defect(DefectCode.SUBJECT_MULTILINE))
            return Originals((original,), defects, (part,), opaque=True)
    return Originals((), [Defect(DefectCode.ORIGINAL_MISSING)])


def _compared(found: list[Found], used: tuple[Part, ...], envelope: Read) -> Originals:
    first = found[0]
    defects = [defect for each in found for defect in each.defects]
    defects += disagreements(envelope.text, first.block)
    if envelope.unguarded and _has_broken_subject(first.block):
        defects.append(Defect(DefectCode.SUBJECT_MULTILINE))
    decrypted = None
    if len(found) > _MOST:
        defects.append(Defect(DefectCode.TOO_MANY_ORIGINALS))
    elif len(found) == _MOST:
        if _is_decrypted_copy(*found):
            decrypted = 1
        else:
            second = Defect(DefectCode.SECOND_ORIGINAL_UNEXPLAINED, offset=found[1].block.start)
            defects.append(second)
    originals = tuple(each.original for each in found)
    nested = is_nested(first.block)
    return Originals(originals, defects, used, decrypted, nested=nested)


def is_nested(block: Block) -> bool:
    """Whether an original is a report itself, by its header."""
    return marks(block).kind is not None or (may_have_signs(block) and has_signs(block))


def _message(raw: bytes, part: Part, limits: Limits) -> Found | None:
    """Return the original in a part, or `None` where that is empty."""
    if part.is_empty:
        return None
    if part.is_encoded:
        data = part.content(limits.encoded_bytes, "encoded_bytes")
        whole = (0, len(data))
        return _checked(data, data, whole, limits, of_encoding(part)) if data.strip() else None
    window = (part.start, part.end)
    return _checked(_in_clear(raw, part), part.raw, window, limits, of_encoding(part))


def of_encoding(part: Part) -> list[Defect]:
    """Return what is wrong with the transfer encoding of a message, which may have none."""
    labelled = bool(part.header.encoding)
    return [Defect(DefectCode.RFC822_CTE, offset=part.begin)] * labelled + _damage(part)


def _damage(part: Part) -> list[Defect]:
    """Return the defect of a transfer encoding that may have lost something."""
    return [Defect(DefectCode.ORIGINAL_MALFORMED, offset=part.begin)] * part.is_damaged


def _checked(
    original: Original, data: bytes, window: tuple[int, int], limits: Limits, defects: list[Defect]
) -> Found:
    if BEGINNING.match(data, *window) is None:
        offset = window[0] if isinstance(original, Span) else None
        defects.append(Defect(DefectCode.ORIGINAL_MALFORMED, offset=offset))
    block = Block(data, NAMES, *window, limit=limits.header_bytes)
    return Found(original, block, window[1], defects)


def _has_header(part: Part, found: Found, parts: Shape) -> bool:
    """Whether an original was not cut off within its header."""
    return part is not parts.cut_in or found.block.body is not None


def _opaque(raw: bytes, part: Part, limits: Limits) -> Original:
    if part.is_encoded:
        return part.content(limits.encoded_bytes, "encoded_bytes")
    return _in_clear(raw, part)


def _in_clear(raw: bytes, part: Part) -> Original:
    """Return the content as it stands: a part of the record, unless that was encoded."""
    return Span(part.start, part.end) if part.raw is raw else part.raw[part.start : part.end]


def _is_decrypted_copy(first: Found, second: Found) -> bool:
    """Whether the second is the clear text of the first, as report decryption adds it.

    Both must have the same Message-ID, and the first must hold rights-protected content.
    """
    ids = squash(first.block.value(b"message-id")), squash(second.block.value(b"message-id"))
    return ids[0] == ids[1] and ids[0] != b"" and _is_protected(first)


def _is_protected(found: Found) -> bool:
    block = found.block
    content_class = Block(block.raw, _CLASS, block.start, block.stop).value(b"content-class")
    if content_class.lower().startswith(b"rpmsg"):
        return True
    return _PROTECTED.search(block.raw, block.start, found.end) is not None


def disagreements(text: EnvelopeText, block: Block) -> Iterator[Defect]:
    """Yield where the envelope text and the original's header contradict each other.

    White space does not count.  An original without a Message-ID is not as Exchange
    handled it, which always adds one: nothing is compared.
    """
    ids = [squash(value) for value in block.values(b"message-id")]
    if not ids:
        return
    if text.message_id is not None and squash(text.message_id.encode()) not in ids:
        yield Defect(DefectCode.MESSAGE_ID_MISMATCH, offset=block.start)
    if text.sender is not None and not _sent_by(text, block):
        yield Defect(DefectCode.SENDER_MISMATCH, offset=block.start)


def _sent_by(text: EnvelopeText, block: Block) -> bool:
    """Whether `Sender:`, or else `From:`, is the report's sender.

    Where nothing but `From:` is in the header, a delegate's principal may be it.  Only
    plain SMTP addresses are compared: others look different in a header.
    """
    authors = _specs(block.values(b"from"))
    delegates = _specs(block.values(b"sender"))
    senders = delegates or authors
    if not senders or text.sender in senders:
        return True
    claimed = [text.sender] if delegates else [text.sender, text.on_behalf_of]
    found = [address_of(each) for each in claimed if each is not None]
    return not all(map(_is_plain, found)) or not set(found).isdisjoint(map(address_of, senders))


def _is_plain(address: Address) -> bool:
    return (
        address.kind is AddressKind.SMTP
        and address.spec.isascii()
        and not address.normal.startswith(_LEGACY)
    )


def _specs(values: list[bytes]) -> list[str]:
    return [spec for value in values for spec in mailboxes(decode_text(value)[0])]


def _has_broken_subject(block: Block) -> bool:
    """Whether the original's subject hides a line break in encoded words."""
    subjects = Block(block.raw, _SUBJECT, block.start, block.stop).values(b"subject")
    return any(
        b"=?" in value and re.search(r"[\r\n]", decode_header(value)) is not None
        for value in subjects
    )
