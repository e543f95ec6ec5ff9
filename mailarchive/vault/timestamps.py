"""Time-stamps (RFC 3161) on checkpoints: that a log was what it was, at a time.

One token covers every line below the checkpoint.  Needs the extra `timestamps`.
"""

from __future__ import annotations

import hashlib
import time
import urllib.request
from http.client import HTTPException
from typing import TYPE_CHECKING, final

from mailarchive._bounds import checked_timeout
from mailarchive._paced import Pace, handlers
from mailarchive.errors import ConfigurationError, NotProven, SinkError, SinkUnavailable

try:
    import rfc3161_client
except ImportError as _error:
    raise ImportError(
        "time-stamps need rfc3161-client: pip install 'mailarchive[timestamps]'", name=_error.name
    ) from _error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from cryptography.x509 import Certificate

    from mailarchive.vault._note import LogCheckpoint

__all__ = ["TimestampAnchor", "check_timestamp"]

_LARGEST = 1 << 20
_PATIENCE = 60.0
"""Seconds to wait for the authority."""


@final
class TimestampAnchor:
    """A time-stamp by an authority that is asked over HTTP (RFC 3161, 3.4).

    The evidence is its answer in DER, which `openssl ts -verify` takes too.
    """

    def __init__(
        self,
        url: str,
        *,
        roots: bytes | None = None,
        name: str = "rfc3161",
        timeout: float = _PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask the authority at `url`, an http or https address.

        `timeout` is in seconds: for the connection, and for the answer as a whole, on a
        `clock` that never goes back.

        `roots` are certificates in PEM: with them an answer is taken only where it leads
        to one of them.  Raises `ConfigurationError`.
        """
        if not url.startswith(("http://", "https://")):
            raise ConfigurationError(
                "the address of a time-stamp authority begins with http:// or https://"
            )
        self._url = url
        self._roots = None if roots is None else _certificates(roots)
        self._timeout = checked_timeout("timeout", timeout)
        pace = Pace(self._timeout, octets=2 * _LARGEST)  # twice: there are headers
        self._ways = handlers(pace, clock)
        self.name: str = name

    def anchor(self, checkpoint: LogCheckpoint) -> bytes:
        """Return the authority's answer over the signed note.

        Raises `SinkUnavailable`, and `NotProven` for an answer to another question.
        """
        data = checkpoint.to_bytes()
        builder = rfc3161_client.TimestampRequestBuilder().data(data)
        request = builder.hash_algorithm(rfc3161_client.HashAlgorithm.SHA256).build()
        answer = self._ask(request.as_bytes())
        found = _decoded(answer)
        if _info(found).nonce != request.nonce:
            raise NotProven("the time-stamp answers another question")
        _check(found, data, self._roots)
        return answer

    def _ask(self, question: bytes) -> bytes:
        request = urllib.request.Request(  # noqa: S310 - the constructor takes http and https alone
            self._url, question, {"Content-Type": "application/timestamp-query"}
        )
        try:
            # Neither a proxy of the environment nor a redirection says who is asked.
            none = urllib.request.ProxyHandler({})
            opener = urllib.request.build_opener(none, *self._ways)
            with opener.open(request, timeout=self._timeout) as answer:
                data: bytes = answer.read(_LARGEST)
        except (OSError, HTTPException) as error:
            raise SinkUnavailable(
                f"the time-stamp authority: {type(error).__name__}",
                suggestions=["check its address, and seal again later"],
            ) from error
        return data


def check_timestamp(token: bytes, checkpoint: LogCheckpoint, roots: bytes) -> datetime:
    """Return when an authority under `roots` (PEM) saw this checkpoint.

    Raises `NotProven` where the token is of another checkpoint or leads to another root,
    and `ConfigurationError` for roots that are none.
    """
    found = _decoded(token)
    _check(found, checkpoint.to_bytes(), _certificates(roots))
    return _info(found).gen_time


def _decoded(token: bytes) -> rfc3161_client.TimeStampResponse:
    try:
        found = rfc3161_client.decode_timestamp_response(token)
        if found.status != 0:  # RFC 3161, 2.4.2: granted
            raise SinkError(f"the time-stamp authority refused: status {found.status}")
    except ValueError as error:
        raise NotProven("this is no answer of a time-stamp authority") from error
    return found


def _info(found: rfc3161_client.TimeStampResponse) -> rfc3161_client.TimeStampTokenInfo:
    """Return what was stamped, and when: an answer can grant it, and leave it out."""
    try:
        return found.tst_info
    except ValueError as error:
        raise NotProven("there is no time-stamp in this answer") from error


def _check(
    found: rfc3161_client.TimeStampResponse, data: bytes, roots: Sequence[Certificate] | None
) -> None:
    if _info(found).message_imprint.message != hashlib.sha256(data).digest():
        raise NotProven("the time-stamp is of another checkpoint")
    if roots is None:
        return
    builder = rfc3161_client.VerifierBuilder(roots=list(roots))
    try:
        builder.build().verify_message(found, data)
    except (rfc3161_client.VerificationError, ValueError) as error:
        raise NotProven("the time-stamp does not lead to a root that is trusted") from error


def _certificates(pem: bytes) -> list[Certificate]:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ConfigurationError("the roots are no certificates in PEM") from error
