"""A map for companies in which the address says who it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive._model import Address, AddressKind, UserId
from mailarchive.errors import ConfigurationError
from mailarchive.users._addresses import canonical, checked_separator, parent

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_LOCAL = re.compile(r"[a-z0-9_](?:[a-z0-9._+-]{0,62}[a-z0-9_])?")
"""What may become part of a user id: nothing that a path, a query or a shell takes amiss."""
_PLACE = re.compile(r"\{(local|domain)\}")


@frozen
class _Pattern:
    """`before*after@domain`, or without a star the one address, and the user it names."""

    before: str
    after: str | None
    domain: str
    template: str

    def user(self, local: str, domain: str) -> UserId | None:
        """Return the user id that the template makes, or `None` where nothing matches."""
        if domain != self.domain or not self._matches(local):
            return None
        values = {"local": local, "domain": domain}
        return UserId(_PLACE.sub(lambda place: values[place[1]], self.template))

    def _matches(self, local: str) -> bool:
        if self.after is None:
            return local == self.before
        longer = len(local) > len(self.before) + len(self.after)
        return longer and local.startswith(self.before) and local.endswith(self.after)


def _pattern(text: str, template: str) -> _Pattern:
    local, at, _ = text.strip().rpartition("@")
    domain = Address(text.strip()).domain
    before, star, after = local.lower().partition("*")
    if not (at and local and domain) or "*" in after + domain:
        raise ConfigurationError(
            "a pattern is local@domain with at most one star, left of the @",
            suggestions=["write *@example.com, one pattern for each domain"],
        )
    if not template or set("{}") & set(_PLACE.sub("", template)):
        raise ConfigurationError(
            "the user id of a pattern is empty or has an unknown place in it",
            suggestions=["write {local} for what is left of the @, {domain} for what is right"],
        )
    return _Pattern(before, after if star else None, domain, template)


def _patterns(mapping: Mapping[str, str]) -> tuple[_Pattern, ...]:
    return tuple(_pattern(text, template) for text, template in mapping.items())


@frozen
class PatternMap:
    """User ids made from addresses: `PatternMap({"*@example.com": "{local}"})`.

    The first pattern that matches decides.  A pattern is no regular expression: a star
    stands for one or more signs left of the `@`, and a domain is itself alone, not those
    below it.  `{local}` and `{domain}` in the user id are the lower-case parts.

    An id is made from what a sender wrote, so only local parts of ASCII letters and digits,
    with `. _ - +` between, make one, 64 signs at most; any other address is unknown.  Every
    such address of the domain becomes a user, misspelled ones and lists too: where there is
    a directory, ask it first (`FirstOf`).  Raises `ConfigurationError` for a broken pattern.
    """

    patterns: tuple[_Pattern, ...] = field(converter=_patterns, repr=lambda them: f"<{len(them)}>")
    subaddress: str = field(default="", kw_only=True, converter=checked_separator)

    def resolve(self, addresses: Collection[Address], /) -> Mapping[Address, frozenset[UserId]]:
        """Return the user of each address that a pattern matches."""
        users = {address: self._user(canonical(address)) for address in addresses}
        return {address: frozenset({user}) for address, user in users.items() if user is not None}

    def _user(self, address: Address) -> UserId | None:
        plain = parent(address, self.subaddress) or address
        local, at, domain = plain.normal.rpartition("@")
        if not at or plain.kind is not AddressKind.SMTP or _LOCAL.fullmatch(local) is None:
            return None
        users = (pattern.user(local, domain) for pattern in self.patterns)
        return next((user for user in users if user is not None), None)
