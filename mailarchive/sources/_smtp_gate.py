"""Who may hand mail over: from which networks, with which login, and to which addresses."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
from typing import TYPE_CHECKING, TypeAlias

from attrs import field, frozen

from mailarchive._model import Address
from mailarchive._model._address import normal_domain
from mailarchive.auth import checked_name
from mailarchive.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

UNGUESSABLE = 20
"""Characters before the `@` below which an address counts as one that could be guessed."""


_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*\Z", re.IGNORECASE | re.ASCII)
"""A name as DNS and SMTP have it (RFC 5321, 4.1.2), in its ASCII form."""


def new_address(domain: str) -> str:
    """Return an address that nobody guesses: 130 bits of chance before the `@`.

    Raises `ConfigurationError` for what is no domain.
    """
    if not _DOMAIN.match(domain if domain.isascii() else normal_domain(domain)):
        raise ConfigurationError(
            "an address needs a domain behind the @, and this is none",
            suggestions=["give the domain alone, such as archive.example.com"],
        )
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    return f"journal-{''.join(secrets.choice(letters) for _ in range(26))}@{domain}"


_WORD = re.compile(r"[!-~]{1,255}\Z")


def greeting_name(name: str) -> str:
    """Return what a receiver calls itself: a word of ASCII, which stands in its answers.

    Raises `ConfigurationError` where it is none; a line end would begin another answer.
    """
    ascii_name = name if name.isascii() else normal_domain(name)
    if not _WORD.match(ascii_name):
        raise ConfigurationError(
            "what the receiver calls itself is no host name",
            suggestions=["set hostname to the name of this machine, such as archive.example.com"],
        )
    return ascii_name


@frozen(repr=False)
class Gate:
    """What is asked of a client; each answer takes as long whatever is wrong."""

    _addresses: frozenset[bytes]
    networks: tuple[Network, ...]
    _logins: Mapping[str, bytes] = field(factory=dict)

    @classmethod
    def of(
        cls, addresses: Iterable[str], networks: Iterable[str], logins: Mapping[str, str]
    ) -> Gate:
        """Return the gate; raises `ConfigurationError` where everybody could pass it."""
        known = [_address(each) for each in addresses]
        if not known:
            raise ConfigurationError(
                "a receiver without an address takes no mail",
                suggestions=["make one with: mailarchive new-address example.com"],
            )
        allowed = tuple(_network(each) for each in networks)
        guarded = bool(allowed or logins)
        if not guarded and any(_is_guessable(each) for each in known):
            raise ConfigurationError(
                "anybody could guess an address of the receiver and forge reports",
                suggestions=[
                    "make an address with: mailarchive new-address example.com",
                    "set networks to those that may connect, or logins",
                ],
            )
        return cls(
            frozenset(_digest(each.normal) for each in known),
            allowed,
            {checked_name(name, "a login"): _password(word) for name, word in logins.items()},
        )

    @property
    def asks_for_login(self) -> bool:
        """Whether a password must be proved before anything is taken."""
        return bool(self._logins)

    def lets_in(self, client: str) -> bool:
        """Whether this network address may connect."""
        if not self.networks:
            return True
        address = _of_client(client)
        return address is not None and any(address in network for network in self.networks)

    def knows(self, recipient: str) -> bool:
        """Whether mail for this address is ours; tells nothing by the time it takes."""
        return _digest(Address.parse(recipient).normal) in self._addresses

    def is_login(self, name: str, password: bytes) -> bool:
        """Whether the password is the one of this login."""
        expected = self._logins.get(name, bytes(32))
        return hmac.compare_digest(expected, hashlib.sha256(password).digest())


def one_client(client: str) -> str:
    """Return what counts as one client: an IPv4 address, or all of an IPv6 network.

    Who has one IPv6 address nearly always has 2**64 of them (RFC 6177).
    """
    address = _of_client(client)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _SUBNET), strict=False))
    return client if address is None else str(address)


_SUBNET = 64
"""Bits of an IPv6 address that say which network it is of (RFC 4291, 2.5.4)."""


def _of_client(client: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _password(word: str) -> bytes:
    if not word:
        raise ConfigurationError(
            "a login has an empty password, so that anybody could log in",
            suggestions=["give each login a password that nobody guesses"],
        )
    return _digest(word)


def _address(text: str) -> Address:
    address = Address.parse(text)
    if not address.domain or not address.normal.partition("@")[0]:
        raise ConfigurationError(
            "an address of the receiver has no @, or nothing on one side of it",
            suggestions=["make one with: mailarchive new-address example.com"],
        )
    if not text.isprintable():
        raise ConfigurationError(
            "an address of the receiver holds a character that cannot be seen: no mail is for it",
            suggestions=["type it anew, or copy it without what stands around it"],
        )
    return address


def _is_guessable(address: Address) -> bool:
    return len(address.normal.rpartition("@")[0]) < UNGUESSABLE


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ConfigurationError(
            "a network that may connect is none",
            suggestions=['write each as "192.0.2.0/24" or "2001:db8::/32"'],
        ) from None
