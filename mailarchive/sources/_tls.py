"""How the certificate of a server is verified, for every source that speaks TLS."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from mailarchive.errors import ConfigurationError

if TYPE_CHECKING:
    from os import PathLike


def verified(
    context: ssl.SSLContext | None, ca_file: str | PathLike[str] | None
) -> ssl.SSLContext:
    """Return the context, or one that trusts the system's authorities, or those of a file.

    Raises `ConfigurationError`.
    """
    if context is not None and ca_file is not None:
        raise ConfigurationError(
            "ssl_context and ca_file contradict each other",
            suggestions=["load the authority into the context, or leave the context out"],
        )
    try:
        return context or ssl.create_default_context(cafile=ca_file)
    except OSError:
        raise ConfigurationError(
            "ca_file cannot be read, or holds no certificate in PEM form",
            suggestions=["set ca_file to a PEM file with the authority's certificate"],
        ) from None
