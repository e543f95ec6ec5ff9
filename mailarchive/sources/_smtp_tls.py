"""How connections from clients are protected, and the certificate that we prove ourselves with."""

from __future__ import annotations

import ssl
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Self

from attrs import define, field

from mailarchive.errors import ConfigurationError

if TYPE_CHECKING:
    from os import PathLike


class Security(StrEnum):
    """How a connection from a client is protected."""

    STARTTLS = "starttls"
    """No mail is taken before TLS stands."""
    SSL = "ssl"
    """TLS from the first octet."""
    PLAIN = "plain"
    """Nothing: everybody on the way can read and change it."""


@define
class Protection:
    """The TLS of a receiver: `context` is `None` in clear text.

    A certificate that was renewed is taken up by the next connection.
    """

    context: ssl.SSLContext | None
    implicit: bool
    """Whether TLS stands from the first octet on."""
    _files: tuple[Path, Path | None] | None = field(default=None, repr=False)
    _seen: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        security: Security | str,
        context: ssl.SSLContext | None,
        certificate: str | PathLike[str] | None,
        key: str | PathLike[str] | None,
        *,
        allow_plaintext: bool,
    ) -> Self:
        """Return what the settings say; raises `ConfigurationError`."""
        protection = _security(security)
        if protection is Security.PLAIN:
            if allow_plaintext:
                return cls(None, implicit=False)
            raise ConfigurationError(
                "a receiver in clear text shows every mail to the network",
                suggestions=[
                    'set security to "starttls" or "ssl", and certificate and key',
                    "set allow_plaintext = true where the network is yours alone",
                ],
            )
        implicit = protection is Security.SSL
        if (context is None) == (certificate is None):
            raise ConfigurationError(
                "a receiver needs a certificate, and takes it from one place",
                suggestions=["set certificate and key to files in PEM form"],
            )
        if certificate is None:
            return cls(context, implicit)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        files = Path(certificate), None if key is None else Path(key)
        made = cls(context, implicit, files)
        try:
            made._load(made._stamps())
        except OSError:
            raise ConfigurationError(
                "the certificate or the key cannot be read, or they do not belong together",
                suggestions=[
                    "set certificate and key to files in PEM form, readable by this user",
                    "take the password off the key: nobody is there to type it",
                ],
            ) from None
        return made

    def renew(self) -> None:
        """Read the files again where they have changed; what is half written waits."""
        if self._files is None:
            return
        try:
            stamps = self._stamps()
            if stamps != self._seen:
                self._load(stamps)
        except OSError:
            return  # the old one is good until the new one is whole

    def _stamps(self) -> tuple[int, ...]:
        assert self._files is not None
        return tuple(each.stat().st_mtime_ns for each in self._files if each is not None)

    def _load(self, stamps: tuple[int, ...]) -> None:
        assert self._files is not None
        assert self.context is not None
        # A pair that does not belong together must not come into use: try it apart first.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*self._files, _no_password)
        self.context.load_cert_chain(*self._files, _no_password)
        self._seen = stamps


def _no_password() -> str:
    """Have a key that is locked fail, rather than OpenSSL ask whoever is at the terminal."""
    return ""


def _security(security: Security | str) -> Security:
    try:
        return Security(security)
    except ValueError:
        raise ConfigurationError(
            "security is none of starttls, ssl and plain",
            suggestions=['set security = "starttls"'],
        ) from None
