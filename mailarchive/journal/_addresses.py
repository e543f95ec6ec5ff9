"""The address part of an envelope line, and what departs from the grammar in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from mailarchive._model import Address, AddressKind, Redirection
from mailarchive._rfc5322 import mailboxes
from mailarchive.journal._legacy import is_typed
from mailarchive.journal._report import DefectCode

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACEHOLDER: Final = "unspecified address"

_SPEC: Final = r'[^\s",:;<>()\[\]\\@]+@[^\s",:;<>()\[\]\\@]+'
_PLAIN: Final = re.compile(_SPEC + r"\Z")
_LINE: Final = re.compile(rf"({_SPEC})(?:, ?([Ee]xpanded|[Ff]orwarded): ?({_SPEC}))?\Z")
_QUOTED: Final = re.compile(
    r'"(?:[^"\\]|\\.)*"@[^\s",:;<>()\\@]+\Z|[^\s",:;<>()\\@]+@\[[^\[\]\s]*\]\Z'
)
_PREFIX: Final = re.compile(r"(?:smtp|mailto):\s*", re.IGNORECASE)
_PIECE: Final = re.compile(
    r'"(?:[^"\\]|\\.)*"|<[^<>]*>|,\s*([^\W\d_][\w -]*?)\s*:\s*|[^",<]+|.', re.DOTALL
)
_KNOWN: Final = {"expanded": "expanded", "forwarded": "forwarded"}
_TYPES: Final = frozenset({"smtp", "mailto", "ex", "x400", "x500", "notes", "fax", "ms"})


class Read(NamedTuple):
    """The addresses of one recipient line (nearly always one), their history, the defects."""

    addresses: tuple[Address, ...]
    history: tuple[Redirection, ...]
    defects: tuple[DefectCode, ...]


def read_line(value: str) -> Read:
    """Return what a recipient line says behind its label.

    `address *("," word ":" address)`, as MS-XJRNL 2.1 has it for one redirection.
    """
    plain = _LINE.match(value)
    if plain is None:
        return _departing(value)
    if plain[2] is None:
        return Read((Address(value),), (), ())
    history = (Redirection(plain[2].lower(), Address(plain[3])),)
    return Read((Address(plain[1]),), history, ())


def read_address(value: str) -> tuple[Address | None, tuple[DefectCode, ...]]:
    """Return the one address of a `Sender:` and the like; `None` for a placeholder."""
    if _PLAIN.match(value):
        return Address(value), ()
    if not value or value.lower() == PLACEHOLDER:
        return None, ()
    addresses, defects = _unwrapped(value)
    return addresses[0], defects


def _departing(value: str) -> Read:
    """Read a line with more than one redirection, or not in the plain form."""
    head, pieces = _split(value)
    addresses, defects = _unwrapped(head)
    history = []
    for word, text in pieces:
        (origin, *_), further = _unwrapped(text)
        known = _KNOWN.get(word.lower())
        history.append(Redirection(known or word, origin))
        defects += further if known else (*further, DefectCode.UNKNOWN_HISTORY)
    return Read(addresses, tuple(history), defects)


def _split(value: str) -> tuple[str, list[tuple[str, str]]]:
    """Cut at each `, word:` that stands outside quotes and angle brackets."""
    parts: list[tuple[str, str]] = [("", "")]
    for piece in _PIECE.finditer(value):
        word = piece[1]
        if word is not None and word.lower() not in _TYPES:
            parts.append((word, ""))
        else:
            parts[-1] = (parts[-1][0], parts[-1][1] + piece[0])
    return parts[0][1], parts[1:]


def _unwrapped(text: str) -> tuple[tuple[Address, ...], tuple[DefectCode, ...]]:
    """Return the addresses in `text`, at least one, freed of what the grammar has not."""
    text = text.strip()
    bare = text.rstrip(",; \t")
    defects = () if bare == text else (DefectCode.ADDRESS_FORM,)
    if is_typed(bare):
        return (typed(bare),), defects
    prefix = _PREFIX.match(bare)
    if prefix is not None:
        bare, defects = bare[prefix.end() :], (*defects, DefectCode.ADDRESS_PREFIX)
    if _PLAIN.match(bare) or _QUOTED.match(bare):
        return (Address(bare),), defects
    found = tuple(_freed(bare))
    if any(prefixed for _, prefixed in found):
        defects = (*defects, DefectCode.ADDRESS_PREFIX)
    addresses = tuple(address for address, _ in found) or (Address.parse(bare),)
    return addresses, (*defects, DefectCode.ADDRESS_FORM)


def _freed(text: str) -> Iterator[tuple[Address, bool]]:
    """Yield each address of a list with display names, and whether it had a prefix."""
    for spec in mailboxes(text):
        prefix = _PREFIX.match(spec)
        bare = spec[prefix.end() :] if prefix is not None else spec
        yield (typed(bare) if is_typed(bare) else Address.parse(bare)), prefix is not None


def typed(spec: str) -> Address:
    """Return an address of another system, which is never compared as an SMTP address."""
    address = Address.parse(spec)
    return Address(spec, AddressKind.OTHER) if address.kind is AddressKind.SMTP else address
