"""The address part of an envelope line, and what departs from the grammar in it."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from mailarchive._rfc5322 import mailboxes
from mailarchive.journal._legacy import is_typed
from mailarchive.journal._report import DefectCode, Step

PLACEHOLDER: Final = "unspecified address"

SPEC: Final = r'[^\s",:;<>()\[\]\\@]++@[^\s",:;<>()\[\]\\@]++'
"""A plain address: no quotes, no brackets, nothing that the grammar itself uses."""
_PLAIN: Final = re.compile(SPEC + r"\Z")
_LINE: Final = re.compile(rf"({SPEC})(?:, ?(Expanded|Forwarded): ?({SPEC}))?\Z")
_QUOTED: Final = re.compile(
    r'"(?:[^"\\]|\\.)*"@[^\s",:;<>()\\@]+\Z|[^\s",:;<>()\\@]+@\[[^\[\]\s]*\]\Z'
)
_PREFIX: Final = re.compile(r"(?:smtp|mailto):\s*", re.IGNORECASE)
_PIECE: Final = re.compile(
    r'"(?:[^"\\]|\\.)*+"|<[^<>]*>|,\s*+([^\W\d_][\w-]*+(?: [\w-]++){0,3}+)\s*+:\s*+'
    r'|(?:[^",<\\]|\\"?+)++|.',
    re.DOTALL,
)
_KNOWN: Final = {"expanded": "expanded", "forwarded": "forwarded"}
_TYPES: Final = frozenset({"smtp", "mailto", "ex", "x400", "x500", "notes", "fax", "ms"})


class Read(NamedTuple):
    """The addresses of one recipient line (nearly always one), their history, the defects."""

    addresses: tuple[str, ...]
    history: tuple[Step, ...]
    defects: tuple[DefectCode, ...]


def read_line(value: str) -> Read:
    """Return what a recipient line says behind its label.

    `address *("," word ":" address)`, as MS-XJRNL 2.1 has it for one redirection.
    """
    plain = _LINE.match(value)
    if plain is None:
        return _departing(value)
    history = () if plain[2] is None else (Step(plain[2].lower(), plain[3]),)
    return Read((plain[1],), history, ())


def read_address(value: str) -> tuple[str | None, tuple[DefectCode, ...]]:
    """Return the one address of a `Sender:` and the like; `None` for a placeholder."""
    if _PLAIN.match(value):
        return value, ()
    if value in {"", "<>"} or value.lower() == PLACEHOLDER:
        return None, ()
    addresses, defects = _unwrapped(value)
    return addresses[0], defects


def _departing(value: str) -> Read:
    """Read a line with more than one redirection, or not in the plain form."""
    head, pieces = _split(value)
    addresses, first = _unwrapped(head)
    history, defects = [], [*first]
    for word, text in pieces:
        origins, further = _unwrapped(text)
        known = _KNOWN.get(word.lower())
        history += [Step(known or word, origin) for origin in origins]
        defects += further if known else (*further, DefectCode.UNKNOWN_HISTORY)
    return Read(addresses, tuple(history), tuple(defects))


def _split(value: str) -> tuple[str, list[tuple[str, str]]]:
    """Cut at each `, word:` that stands outside quotes and angle brackets."""
    head: list[str] = []
    current, parts = head, []
    for piece in _PIECE.finditer(value):
        word = piece[1]
        if word is not None and word.lower() not in _TYPES:
            current = []
            parts.append((word, current))
        else:
            current.append(piece[0])
    return "".join(head), [(word, "".join(texts)) for word, texts in parts]


def _unwrapped(text: str) -> tuple[tuple[str, ...], tuple[DefectCode, ...]]:
    """Return the addresses in `text`, at least one, freed of what the grammar has not."""
    text = text.strip()
    if is_typed(text):
        return (text,), ()
    bare = text.rstrip(",; \t")
    defects = () if bare == text else (DefectCode.ADDRESS_FORM,)
    prefix = _PREFIX.match(bare)
    if prefix is not None:
        bare, defects = bare[prefix.end() :], (*defects, DefectCode.ADDRESS_PREFIX)
    if _PLAIN.match(bare) or _QUOTED.match(bare):
        return (bare,), defects
    found = tuple(map(_unprefixed, mailboxes(bare)))
    if any(prefixed for _, prefixed in found):
        defects = (*defects, DefectCode.ADDRESS_PREFIX)
    return tuple(spec for spec, _ in found) or (bare,), (*defects, DefectCode.ADDRESS_FORM)


def _unprefixed(spec: str) -> tuple[str, bool]:
    prefix = _PREFIX.match(spec)
    return (spec, False) if prefix is None else (spec[prefix.end() :], True)
