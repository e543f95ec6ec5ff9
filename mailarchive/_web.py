"""HTTP as this library speaks it: nothing from the environment, no redirect, pauses obeyed.

On `urllib3` alone: what stands above it would put a `.netrc` in the place of a token, and
take a token along where a server sends it elsewhere.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from mailarchive import _paced

try:
    import urllib3
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        "Graph needs urllib3: pip install 'mailarchive[graph]'", name=_error.name
    ) from _error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

__all__ = ["Web", "pause"]

LONGEST_PAUSE: Final = 7 * 24 * 3600.0
"""Seconds; a server that asks for more, or for a date centuries ahead, has a broken clock."""

_SECONDS: Final = re.compile(r"\d{1,12}(\.\d{1,6})?\Z")


class Web:
    """A pool of connections; may be used from as many threads as it has connections."""

    def __init__(
        self,
        *,
        ca_file: str | PathLike[str] | None = None,
        proxy: str | None = None,
        connections: int = 4,
        connect_timeout: float = 15.0,
        read_timeout: float = 120.0,
        slowest_octets: int = _paced.SLOWEST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Verify against `ca_file` or the system's authorities; `proxy` is an URL.

        An answer may keep us waiting for `read_timeout` seconds, and for one more at each
        `slowest_octets` that have come.  `clock` gives seconds and never goes back.
        """
        timeout = urllib3.Timeout(connect=connect_timeout, read=read_timeout)
        arguments: dict[str, Any] = {
            "num_pools": 4,
            "maxsize": connections,
            "block": False,  # who asks is counted elsewhere; a lost connection blocks nobody
            "retries": False,
            "timeout": timeout,
            "ca_certs": None if ca_file is None else str(ca_file),
        }
        self._pool: urllib3.PoolManager = (
            urllib3.PoolManager(**arguments)
            if proxy is None
            else urllib3.ProxyManager(proxy, **arguments)
        )
        pace = _paced.Pace(read_timeout, slowest_octets)
        self._pool.pool_classes_by_scheme = _paced.pools(pace, clock)

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> urllib3.BaseHTTPResponse:
        """Return the answer, its body still to be read; raises `urllib3`'s `HTTPError`."""
        return self._pool.urlopen(
            method, url, body=body, headers=headers, redirect=False, preload_content=False
        )

    def close(self) -> None:
        """Let go of every connection."""
        self._pool.clear()


def pause(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` asks for, or `None` where it says nothing.

    Both forms of RFC 9110, section 10.2.3: a number of seconds, and a date, which is
    compared with `now` and is never less than zero.
    """
    text = (value or "").strip()
    if _SECONDS.match(text):
        return min(float(text), LONGEST_PAUSE)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max((until - now).total_seconds(), 0.0), LONGEST_PAUSE)
