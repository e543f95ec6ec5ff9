"""Which part of a report is the envelope, which the original, and what else is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import Factory, define

from mailarchive.journal._mime import Part, boundary, cut, media_type
from mailarchive.journal._report import DefectCode

if TYPE_CHECKING:
    from mailarchive.journal._report import Limits

MESSAGES: Final = frozenset({b"message/rfc822", b"message/global", b"message/news"})
_TEXTS: Final = frozenset({b"text/plain", b"text/html"})
_TNEF: Final = frozenset({b"application/ms-tnef", b"application/vnd.ms-tnef"})


@define
class Shape:
    """The leaves around the original, in order.

    `texts` are candidates for the envelope: each one part, or the forms of one
    multipart/alternative.  `cut_in` is the last leaf where nothing closed it.
    """

    texts: list[tuple[Part, ...]] = Factory(list)
    messages: list[Part] = Factory(list)
    opaque: list[tuple[Part, DefectCode]] = Factory(list)
    others: list[Part] = Factory(list)
    wrapped: bool = False
    unclosed: bool = False
    cut_in: Part | None = None


def shape(raw: bytes, content_type: bytes, body: int, end: int, limits: Limits) -> Shape:
    """Sort the leaves of a message that begins its body at `body`; raises `LimitExceeded`."""
    found = Shape()
    if media_type(content_type).startswith(b"multipart/"):
        _descend(found, raw, content_type, (body, end), limits, depth=1)
    return found


def _descend(
    found: Shape,
    raw: bytes,
    content_type: bytes,
    window: tuple[int, int],
    limits: Limits,
    *,
    depth: int,
) -> None:
    delimiter = boundary(content_type)
    if not delimiter:
        return
    parts, closed = cut(raw, delimiter, *window, limits)
    found.unclosed |= not closed
    for part in parts:
        if part.kind.startswith(b"multipart/"):
            _multipart(found, part, limits, depth)
        else:
            _leaf(found, part)


def _multipart(found: Shape, part: Part, limits: Limits, depth: int) -> None:
    if depth >= limits.depth:
        found.others.append(part)
        return
    inner = Shape()
    _descend(
        inner, part.raw, part.header.content_type, (part.start, part.end), limits, depth=depth + 1
    )
    rest = inner.messages or inner.opaque or inner.others
    if not (inner.texts or rest):
        found.others.append(part)
        return
    found.unclosed |= inner.unclosed
    if not part.closed:
        found.cut_in = inner.cut_in
    if part.kind == b"multipart/alternative" and not rest:
        found.texts.append(tuple(form for forms in inner.texts for form in forms))
        return
    found.wrapped = True
    found.texts += inner.texts
    found.messages += inner.messages
    found.opaque += inner.opaque
    found.others += inner.others


def _leaf(found: Shape, part: Part) -> None:
    if not part.closed:
        found.cut_in = part
        if part.begin == part.end:
            return
    if part.kind in MESSAGES:
        found.messages.append(part)
    elif part.kind in _TEXTS:
        found.texts.append((part,))
    else:
        code = _opaque(part)
        if code is None:
            found.others.append(part)
        else:
            found.opaque.append((part, code))


def _opaque(part: Part) -> DefectCode | None:
    """Return what an original is that did not come as a message, if it is one at all."""
    name = part.filename
    if part.kind in _TNEF or name == "winmail.dat":
        return DefectCode.ORIGINAL_IS_TNEF
    if name.endswith(".msg") or part.kind == b"application/vnd.ms-outlook":
        return DefectCode.ORIGINAL_IS_MSG
    return DefectCode.ORIGINAL_AS_OCTET_STREAM if name.endswith(".eml") else None
