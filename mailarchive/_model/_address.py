"""An address, and when two of them are the same."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import instance_of
from typing_extensions import override

from mailarchive._model._digest import hint
from mailarchive._model._unicode import normalized

if TYPE_CHECKING:
    from typing import Self


class AddressKind(StrEnum):
    """What sort of address a text is."""

    SMTP = "smtp"
    X500 = "x500"
    OTHER = "other"


_ATOM = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*\Z")

_ENDS = (
    ". \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
    "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
"""The dot of the root, and what `str.strip` takes for white space."""


_LONGEST_LABEL = 63

_LONGEST_DOMAIN = 255


def normal_domain(domain: str) -> str:
    """Return the form in which domains are compared: in lower case, and in ASCII.

    Letters beyond ASCII are mapped as Unicode's UTS 46 says, non-transitional, so that `ß`
    is no `ss`, and each label becomes its A-label (RFC 5890): `münchen.example` and
    `xn--mnchen-3ya.example` are one domain.  Whether a label may be registered is not
    asked; what is too long to be a name keeps its letters.
    """
    domain = domain.rstrip(_ENDS).lower()
    if domain.isascii() or len(domain) > _LONGEST_DOMAIN:
        return domain
    return ".".join(map(_a_label, _mapped(domain).rstrip(_ENDS).split(".")))


def _mapped(domain: str) -> str:
    import idna  # seldom needed, and its tables are large

    try:
        return idna.uts46_remap(domain, std3_rules=False, transitional=False)
    except idna.IDNAError:
        return domain  # a character that stands in no name is compared as it is


def _a_label(label: str) -> str:
    if label.isascii() or len(label) > _LONGEST_LABEL:
        return label
    return f"xn--{label.encode('punycode').decode('ascii')}"


def _normal_smtp(spec: str) -> str:
    local, at, domain = spec.rpartition("@")
    if not at:
        return spec.lower()
    if len(local) > 1 and local[0] == local[-1] == '"' and _ATOM.match(local[1:-1]):
        local = local[1:-1]
    return f"{local.lower()}@{normal_domain(domain)}"


def _normal_form(spec: str, kind: AddressKind) -> str:
    text = normalized("NFC", spec.strip())
    return _normal_smtp(text) if kind is AddressKind.SMTP else text.lower()


@frozen(repr=False)
class Address:
    """An address as it was written; equal to another where their normal forms are equal.

    Letters are compared without case, on both sides of the `@`: no directory in the
    field tells `Bob@` from `bob@`.  A domain is compared in its ASCII form, as mail systems
    do: UTS 46, IDNA 2008 (RFC 5890).
    """

    spec: str = field(eq=False, validator=instance_of(str))
    kind: AddressKind = AddressKind.SMTP
    normal: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Derive the normal form once; every comparison uses it."""
        object.__setattr__(self, "normal", _normal_form(self.spec, self.kind))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return `text` as an address, of the kind that its shape says."""
        spec = text.strip()
        lowered = spec[:8].lower()
        if lowered.startswith(("/o=", "ex:", "x500:")):
            return cls(spec, AddressKind.X500)
        return cls(spec, AddressKind.SMTP if "@" in spec else AddressKind.OTHER)

    @property
    def domain(self) -> str:
        """The part behind the `@` in normal form; empty where there is none."""
        return self.normal.rpartition("@")[2] if "@" in self.normal else ""

    @override
    def __hash__(self) -> int:
        """Return the hash of the normal form: equal addresses share it."""
        return hash(self.normal)

    @override
    def __str__(self) -> str:
        """Return the address as it was written.  Not for a log line."""
        return self.spec

    @override
    def __repr__(self) -> str:
        """Show the kind and a fingerprint, never the address."""
        return f"Address({self.kind}, #{hint(self.normal)})"
