"""Bounces of reports: `JournalingReportNdrTo` gets them with the report attached.

One level is opened: the returned message must itself have what a report has.  What came
back without its body is kept, and nothing is claimed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailarchive._model import Address
from mailarchive._rfc5322 import Block, Names, decode_header, decode_text
from mailarchive.journal._markers import top_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailarchive.journal._mime import Part
    from mailarchive.journal._report import Limits
    from mailarchive.journal._shape import Shape

_NAMES: Final = Names("Subject", "From", "Return-Path", "Auto-Submitted", "X-Failed-Recipients")
_STATUS: Final = frozenset({b"message/delivery-status", b"message/global-delivery-status"})
_HEADERS: Final = frozenset(
    {b"text/rfc822-headers", b"message/rfc822-headers", b"message/global-headers"}
)
_SUBJECT: Final = re.compile(
    r"undeliver|non[- ]?deliver|delivery (?:status|failure|has failed)|failure notice"
    r"|returned mail|mail delivery (?:failed|failure|subsystem)"
    r"|unzustellbar|non remis|non livr|no se puede entregar|no entregad|non recapit"
    r"|recapito non|não é possível entregar|não entregue|onbestelbaar|kan niet worden"
    r"|det går inte att leverera|oleverer|kan ikke leveres|uleverbar|ei voi toimittaa"
    r"|ei toimitettu|nie można dostarczyć|niedostarcz|nelze doručit|nedoručiteln"
    r"|kézbesíthetetlen|nelivrabil|недостав|не удалось доставить|teslim edileme"
    r"|配信不能|配信できません|无法送达|未送达|無法傳遞|無法遞送|배달되지 않음|배달할 수 없",
    re.IGNORECASE,
)
_DAEMONS: Final = (
    b"postmaster@",
    b"mailer-daemon",
    b"microsoftexchange329e71ec88ae4615bbc36ab6ce41109e@",
)
_FIELD: Final = re.compile(r"([A-Za-z-]+)[ \t]*:[ \t]*(.*)\Z", re.DOTALL)
_FOLD: Final = re.compile(r"\n[ \t]+")
_TYPE: Final = re.compile(r"\s*[A-Za-z0-9-]+\s*;\s*")


def fields(top: Block) -> Block:
    """Find the fields of a message that say whether it is a bounce."""
    return Block(top.raw, _NAMES, top.start, top.stop)


def is_bounce(block: Block, kind: bytes, parts: Shape) -> bool:
    """Whether a message says of itself that it is a bounce.

    A multipart/report is, whatever its report type; so is a message with a delivery
    status, one with a bounce's subject in one of Exchange's languages, and an automatic
    answer to the null return path.  A forward with a report attached is none of these.
    """
    if kind == b"multipart/report" or b"x-failed-recipients" in block:
        return True
    if any(part.kind in _STATUS for part in parts.others):
        return True
    if _SUBJECT.match(decode_header(block.value(b"subject"))) is not None:
        return True
    automatic = block.value(b"auto-submitted").lower() not in {b"", b"no"}
    author = block.value(b"from").lower()
    by_daemon = any(daemon in author for daemon in _DAEMONS)
    return block.value(b"return-path") == b"<>" and (automatic or by_daemon)


def returned_headers(parts: Shape, limits: Limits) -> Iterator[Block]:
    """Yield the header of each message that came back without its body."""
    for part in parts.others:
        if part.kind in _HEADERS:
            data = part.content(limits.header_bytes, "header_bytes")
            yield top_header(data, 0, len(data), limits)


def failed(block: Block, parts: Shape, limits: Limits) -> tuple[Address, ...]:
    """Return to whom the report was not delivered, each once, in order (RFC 3464, 2.3)."""
    found: list[str] = []
    for part in parts.others:
        if part.kind in _STATUS:
            found += _from_status(part, limits)
    if not found:
        for value in block.values(b"x-failed-recipients"):
            found += [each.strip() for each in decode_header(value).split(",")]
    return tuple(dict.fromkeys(Address.parse(spec) for spec in found if spec))


def _from_status(part: Part, limits: Limits) -> Iterator[str]:
    text, _ = decode_text(part.content(limits.text_bytes, "text_bytes"), "utf-8")
    text = _FOLD.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))
    for group in re.split(r"\n\s*\n", text):
        fields = (_FIELD.match(line) for line in group.split("\n"))
        values = {field[1].lower(): field[2].strip() for field in fields if field is not None}
        recipient = values.get("final-recipient") or values.get("original-recipient")
        if recipient and values.get("action", "failed").lower().startswith("failed"):
            address_type = _TYPE.match(recipient)
            yield recipient[address_type.end() if address_type else 0 :].strip("<> ")
