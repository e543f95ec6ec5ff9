"""Requests to Graph: each with a token, to Graph alone, and no damaged answer for a good one."""

from __future__ import annotations

import json
import re
import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, urlsplit

from attrs import frozen
from typing_extensions import override
from urllib3.exceptions import HTTPError, SSLError

from mailarchive import _web
from mailarchive._bounds import backoff
from mailarchive._graph.errors import (
    RUN_AGAIN,
    Damaged,
    Kind,
    Refused,
    damaged,
    explained,
    refusal,
)
from mailarchive._handshake import HUNG_UP
from mailarchive._rfc5322 import Block, Names
from mailarchive.auth import token_for
from mailarchive.errors import (
    ConfigurationError,
    SourceError,
    SourceUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from urllib3 import BaseHTTPResponse

    from mailarchive._graph.limits import GraphLimits
    from mailarchive.auth import Cloud, TokenProvider

_T = TypeVar("_T")

IMMUTABLE: Final = 'IdType="ImmutableId"'
"""Without it an id changes when its message is moved; so no request goes without it."""

_ID: Final = re.compile(r"[A-Za-z0-9+/=_-]{1,1024}\Z")
VERSION: Final = "/v1.0/"
_AGENT: Final = "mailarchive (Graph)"
_MARKER: Final = b"=== Truncated Data ==="
_FIELD: Final = re.compile(rb"[!-9;-~]{1,998}[ \t]*:")
_BOUNDARY: Final = re.compile(rb'\bboundary[ \t]*=[ \t]*"?([^"\r\n;]{1,200})', re.IGNORECASE)
_TYPE: Final = Names("Content-Type")
_OK: Final = 200
_REFUSED: Final = 300


@frozen
class Place:
    """Which source, for errors to speak of."""

    name: str

    @override
    def __str__(self) -> str:
        """Return how an error names it."""
        return f"source {self.name}"


class Wire:
    """The way to Graph, for one mailbox; its methods may be called from several threads."""

    def __init__(
        self,
        place: Place,
        cloud: Cloud,
        tokens: TokenProvider,
        limits: GraphLimits,
        web: _web.Web,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Take whom to ask and with what; nothing is connected yet.

        Without `sleep` a wait ends early where the wire is `stopped`.
        """
        self.place, self.limits = place, limits
        self._cloud, self._tokens, self._web = cloud, tokens, web
        self._stop = threading.Event()
        self._clock, self._sleep = clock, sleep or self._stop.wait
        self._root = urlsplit(cloud.graph)
        self._lock = threading.Lock()
        self._until: datetime | None = None
        self._token: str | None = None

    def close(self) -> None:
        """Let go of the connections."""
        self._web.close()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let no request wait any longer: whoever asked for it has gone."""
        self._stop.set()
        try:
            yield
        finally:
            self._stop.clear()

    def link(self, url: object) -> str:
        """Return a link of Graph's without its origin; raises `SourceError` for any other.

        A link is followed with the token, so it must lead to where the token is for.
        """
        text = url if isinstance(url, str) else ""
        split = urlsplit(text) if text.isascii() and text.isprintable() else urlsplit("")
        same = (split.scheme, split.netloc) == (self._root.scheme, self._root.netloc)
        if not same or not split.path.startswith(VERSION) or split.fragment:
            raise SourceError(
                f"{self.place}: Graph names another place for the next page: not followed",
                suggestions=["check what stands between here and Graph"],
            )
        rest = f"{split.path.removeprefix(VERSION)}?{split.query}"
        if len(rest) > self.limits.link_octets:
            raise SourceError(
                f"{self.place}: Graph gives a link that is longer than the limit",
                suggestions=["raise link_octets in the limits"],
            )
        return rest

    def get(self, path: str, *, prefer: str = "") -> dict[str, Any]:
        """Return the object at a path below the version.

        Raises our errors, and `Refused` or `Damaged` for the caller to say what that means.
        """
        headers = {"Prefer": f"{IMMUTABLE}, {prefer}" if prefer else IMMUTABLE}
        return self._insist(lambda: self._object("GET", path, None, headers))

    def told(self, path: str, doing: str, *, prefer: str = "") -> dict[str, Any]:
        """Return the object at a path; raises our errors alone."""
        try:
            return self.get(path, prefer=prefer)
        except Refused as error:
            raise explained(self.place, doing, error) from None
        except Damaged as error:
            raise damaged(self.place, doing, error) from None

    def send(
        self, method: str, path: str, *, body: object = None, etag: str | None = None
    ) -> dict[str, Any]:
        """Change something; what is answered is returned, empty where nothing is."""
        headers = {"Prefer": IMMUTABLE, **({} if etag is None else {"If-Match": etag})}
        data = None if body is None else json.dumps(body).encode()
        return self._insist(lambda: self._object(method, path, data, headers))

    def mime(self, path: str) -> bytes:
        """Return the message at a path, whole; raises our errors, `Refused`, `Damaged`."""
        raw = self._insist(lambda: self._message(path))
        if _looks_cut(raw) and self._insist(lambda: self._message(path)) != raw:
            raise Damaged("the message has no end, and comes differently each time")
        return raw

    # -- one attempt ----------------------------------------------------------------------

    def _object(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        answer = self._ask(method, path, body, {"Accept": "application/json", **headers})
        data = self._read(answer, self.limits.json_octets)
        if not data and method != "GET":
            return {}
        if "json" not in answer.headers.get("Content-Type", "").lower():
            raise Damaged("something else than JSON")
        try:
            told = json.loads(data)
        except (ValueError, RecursionError):
            raise Damaged("JSON that is cut or garbled") from None
        if not isinstance(told, dict):
            raise Damaged("JSON of another shape")
        return told

    def _message(self, path: str) -> bytes:
        answer = self._ask("GET", path, None, {"Prefer": IMMUTABLE})
        raw = self._read(answer, self.limits.message_octets)
        kind = answer.headers.get("Content-Type", "").lower()
        if "html" in kind or "json" in kind or not _FIELD.match(raw):
            raise Damaged("something else than a message")
        if raw.rstrip().endswith(_MARKER):
            raise Damaged("a message that is marked as cut")
        return raw

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> BaseHTTPResponse:
        """Send one request, and once more with a fresh token where that one is refused."""
        self._keep_pause()
        token = self._fresh(None)
        answer = self._sent(method, path, body, headers, token)
        if answer.status == _UNAUTHORISED:
            said = self._refusal(answer)
            if said.kind is not Kind.TOKEN:
                raise said
            answer = self._sent(method, path, body, headers, self._fresh(token))
        if answer.status < _REFUSED:
            return answer
        raise self._refusal(answer)

    def _refusal(self, answer: BaseHTTPResponse) -> Refused:
        try:
            said = self._read(answer, self.limits.json_octets)
        except (Damaged, TooLarge):
            said = b""
        pause = _web.pause(answer.headers.get("Retry-After"), self._clock())
        return refusal(answer.status, said, pause)

    def _sent(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], token: str
    ) -> BaseHTTPResponse:
        kind = {} if body is None else {"Content-Type": "application/json"}
        whole = {"Authorization": f"Bearer {token}", "User-Agent": _AGENT, **kind, **headers}
        url = f"{self._cloud.graph}{VERSION}{path}"
        try:
            return self._web.send(method, url, whole, body)
        except SSLError as error:
            if error.args and isinstance(error.args[0], HUNG_UP):
                raise self._unreachable(error) from None
            raise ConfigurationError(
                f"{self.place}: Graph's certificate is not trusted, or there is no TLS",
                suggestions=["set ca_file to the authority of the proxy on the way, if it is one"],
            ) from None
        except HTTPError as error:
            raise self._unreachable(error) from None

    def _read(self, answer: BaseHTTPResponse, most: int) -> bytes:
        """Return the whole body; `urllib3` compares it with `Content-Length`, or its chunks."""
        length = answer.headers.get("Content-Length", "")
        chunked = answer.headers.get("Transfer-Encoding", "").lower() == "chunked"
        try:
            if length.isdecimal() and int(length) <= most:
                return answer.read()
            if not length and not chunked and answer.status < _REFUSED:
                raise Damaged("a body without an end that anybody could check")
            if not length:
                data = answer.read(most + 1)
                if len(data) <= most:
                    return data
            answer.close()
        except HTTPError as error:
            answer.close()
            raise Damaged(f"a body that breaks off: {type(error).__name__}") from None
        finally:
            answer.release_conn()
        raise TooLarge(f"{self.place}: an answer is larger than the limit")

    def _fresh(self, refused: str | None) -> str:
        """Return the token; a provider is asked on the first request and when one is refused."""
        with self._lock:
            if self._token is None or self._token == refused:
                scope = self._cloud.graph_scope
                self._token = token_for(self._tokens, scope, refused=refused)
            return self._token

    def _unreachable(self, error: HTTPError) -> SourceUnavailable:
        return SourceUnavailable(
            f"{self.place}: Graph cannot be reached: {type(error).__name__}",
            suggestions=["check the way to Graph, its proxy and the firewall", RUN_AGAIN],
        )

    # -- trying again ---------------------------------------------------------------------

    def _insist(self, attempt: Callable[[], _T]) -> _T:
        """Do what may be done again until it is done, or there were enough attempts."""
        failed = 0
        while True:
            try:
                return attempt()
            except (Refused, Damaged, SourceUnavailable) as error:
                failed += 1
                if not self._is_worth_it(error) or failed >= self.limits.tries:
                    raise
                self._wait(error, failed)

    def _is_worth_it(self, error: Refused | Damaged | SourceUnavailable) -> bool:
        if not isinstance(error, Refused):
            return True
        if error.kind is Kind.ODD:
            return error.status >= _SERVER_SIDE
        return error.kind in {Kind.THROTTLED, Kind.BUSY}

    def _wait(self, error: Refused | Damaged | SourceUnavailable, failed: int) -> None:
        asked = None if isinstance(error, Damaged) else error.retry_after
        if asked is None:
            first = self.limits.first_backoff
            self._pause(backoff(first, 4.0, failed, max(first, self.limits.longest_wait)))
            return
        if asked > self.limits.longest_wait:
            if isinstance(error, Refused):
                raise explained(self.place, "asked again", error) from None
            raise error
        with self._lock:
            until = self._clock() + timedelta(seconds=asked)
            self._until = max(until, self._until or until)

    def _pause(self, seconds: float) -> None:
        self._sleep(seconds)
        if self._stop.is_set():
            raise StoppedWaiting(f"{self.place}: stopped while waiting", suggestions=[RUN_AGAIN])

    def _keep_pause(self) -> None:
        """Wait as long as Graph has asked any request for this mailbox to wait."""
        with self._lock:
            until = self._until
        if until is None:
            return
        left = (until - self._clock()).total_seconds()
        if left > 0:
            self._pause(left)
        with self._lock:
            if self._until == until:
                self._until = None


class StoppedWaiting(SourceError):
    """Nobody wants the answer any more."""


class TooLarge(SourceError):
    """An answer is larger than the limit; it was not read."""


_UNAUTHORISED: Final = 401
_SERVER_SIDE: Final = 500


def _looks_cut(raw: bytes) -> bool:
    """Whether a message in parts lacks the line that ends them.

    Exchange writes that line whenever it makes a message; one that was sent without it is
    the same each time it is read.
    """
    found = _BOUNDARY.search(Block(raw, _TYPE).value(b"content-type"))
    return found is not None and b"--" + found[1].rstrip() + b"--" not in raw


def is_id(text: object) -> bool:
    """Whether a text can be an id of Graph's; nothing else is ever put into a path."""
    return isinstance(text, str) and _ID.match(text) is not None


def escaped(id_: str) -> str:
    """Return an id as a part of a path."""
    return quote(id_, safe="")


def items(wire: Wire, told: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the items of a listing; raises `SourceError` where that is none."""
    found = told.get("value")
    if not isinstance(found, list) or not all(
        isinstance(each, dict) and is_id(each.get("id")) for each in found
    ):
        raise SourceError(
            f"{wire.place}: Graph lists something else than items",
            suggestions=["check what stands between here and Graph, such as a proxy"],
        )
    return found
