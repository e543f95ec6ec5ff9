"""One address, many spellings: what a directory and a journal write for the same mailbox."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailarchive._model import Address, AddressKind
from mailarchive.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mailarchive._model import UserId

_PREFIX = re.compile(r"(smtp|x500|ex):\s*(?=\S)", re.IGNORECASE)
_ENCAPSULATED = re.compile(r"IMCEA(?:EX|X500)-([\w=+.-]+)@[^@\s]+", re.IGNORECASE | re.ASCII)
_ESCAPED = re.compile(rb"\+([0-9A-F]{2})", re.IGNORECASE)
_SUBADDRESS = re.compile(r"[!#$%&'*+/=?^`{|}~-]?")


def legacy_dn(spec: str) -> str | None:
    """Return the X.500 name inside an encapsulated address; `None` where there is none.

    `IMCEAEX-_o=Contoso_cn=Jo+20Doe@contoso.com` holds `/o=Contoso/cn=Jo Doe` (MS-OXCMAIL
    2.1.3.1.8: `_` stands for a slash, `+` and two hexadecimal digits for an octet).
    """
    match = _ENCAPSULATED.fullmatch(spec)
    if match is None:
        return None
    plain = match[1].replace("_", "/").encode("ascii")
    octets = _ESCAPED.sub(lambda escaped: bytes.fromhex(escaped[1].decode("ascii")), plain)
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def canonical(address: Address) -> Address:
    """Return the address that all spellings of it have in common.

    A prefix of Active Directory's `proxyAddresses` goes, and an encapsulated X.500 name
    comes out, so that the journal's form of it meets the directory's.
    """
    spec = address.spec.strip()
    prefix = _PREFIX.match(spec)
    if prefix is not None:
        kind = AddressKind.SMTP if prefix[1].lower() == "smtp" else AddressKind.X500
        address = Address(spec[prefix.end() :], kind)
    name = legacy_dn(address.spec.strip())
    return address if name is None else Address(name, AddressKind.X500)


def parent(address: Address, separator: str) -> Address | None:
    """Return `bob@example.com` for `bob+news@example.com`, with `+` as separator (RFC 5233).

    `None` where the address has no such part, or is none with a domain.
    """
    local, at, domain = address.spec.strip().rpartition("@")
    name, found, _ = local.partition(separator) if separator else (local, "", "")
    if address.kind is not AddressKind.SMTP or not (at and name and found) or local[0] == '"':
        return None
    return Address(f"{name}@{domain}")


def checked_separator(separator: str) -> str:
    """Return the separator of subaddresses; raises `ConfigurationError` for an unfit one."""
    if _SUBADDRESS.fullmatch(separator) is None:
        raise ConfigurationError(
            "the separator of subaddresses must be one sign that is neither letter nor digit",
            suggestions=['write subaddress="+", or leave it out to have none'],
        )
    return separator


def _own_domains(book: Collection[Address]) -> frozenset[str]:
    return frozenset(each.domain for each in book if each.kind is AddressKind.SMTP)


def _is_online(domain: str) -> bool:
    """Whether it is one under which Exchange Online writes encapsulated names."""
    return domain.endswith(".prod.outlook.com")


def look_up(
    book: Mapping[Address, frozenset[UserId]],
    addresses: Collection[Address],
    separator: str,
) -> dict[Address, frozenset[UserId]]:
    """Return the users of each address whose canonical form, or its parent, is in the book."""
    found = {}
    ours: frozenset[str] | None = None
    for address in addresses:
        plain = canonical(address)
        if plain.kind is AddressKind.X500 and address.kind is AddressKind.SMTP and address.domain:
            # Anybody can write an X.500 name before a domain of their own.
            ours = _own_domains(book) if ours is None else ours
            plain = plain if address.domain in ours or _is_online(address.domain) else address
        above = None if plain in book else parent(plain, separator)
        users = book.get(above or plain)
        if users:
            found[address] = users
    return found
