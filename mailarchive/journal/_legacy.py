"""Addresses of other systems inside an SMTP address, or spelled out with their type.

Exchange encapsulates what SMTP cannot carry: `IMCEAEX-_o=Contoso_cn=Jo+20Doe@contoso.com`
stands for the X.500 name `/o=Contoso/cn=Jo Doe` (MS-OXOSMTP and the Exchange 2003 reports'
`EX:` form).  Only a directory can say whose address that is today, so the library keeps
the written one as *the* address, and this beside it.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import field, frozen

from mailarchive._model import Address, AddressKind

_ENCAPSULATED: Final = re.compile(r"IMCEA([A-Za-z0-9]{1,16})-([^@\s]+)@[^@\s]+\Z", re.IGNORECASE)
_TYPED: Final = re.compile(
    r"(EX|X400|X500|NOTES|FAX|MS|CCMAIL|GWISE|RFAX):(.*)\Z", re.IGNORECASE | re.DOTALL
)
_ESCAPE: Final = re.compile(r"\+([0-9A-Fa-f]{2})")


@frozen
class LegacyAddress:
    """An address of another system: its type in capitals, and the address itself."""

    type: str
    value: str = field(repr=False)


def legacy(spec: str) -> LegacyAddress | None:
    """Return the address inside `spec`, or `None` where that is an ordinary one."""
    encapsulated = _ENCAPSULATED.match(spec)
    if encapsulated is not None:
        return LegacyAddress(encapsulated[1].upper(), _unescaped(encapsulated[2]))
    typed = _TYPED.match(spec)
    if typed is not None:
        return LegacyAddress(typed[1].upper(), typed[2].strip())
    return LegacyAddress("EX", spec) if spec[:3].lower() == "/o=" else None


def is_typed(spec: str) -> bool:
    """Whether `spec` is an address of another system with its type, or a bare X.500 name."""
    return _TYPED.match(spec) is not None or spec[:3].lower() == "/o="


def address_of(spec: str) -> Address:
    """Return a written address; one of another system is never taken for an SMTP address."""
    if ":" not in spec and spec[:1] != "/" and "@" in spec:
        return Address(spec)
    address = Address.parse(spec)
    if address.kind is AddressKind.SMTP and is_typed(spec):
        return Address(spec, AddressKind.OTHER)
    return address


def _unescaped(text: str) -> str:
    """Undo `_` for `/` and `+XX` for an octet; octets are UTF-8, or else Latin-1."""
    octets = bytearray()
    end = 0
    text = text.replace("_", "/")
    for escape in _ESCAPE.finditer(text):
        octets += text[end : escape.start()].encode("utf-8", "surrogatepass")
        octets.append(int(escape[1], 16))
        end = escape.end()
    octets += text[end:].encode("utf-8", "surrogatepass")
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")
