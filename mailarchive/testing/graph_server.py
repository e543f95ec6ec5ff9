r"""A small Microsoft Graph for mail on loopback, strict where Graph is, with scripted faults.

No emulator of Graph's mail exists, so this one refuses what the documented one would, and
what the documented one would answer with something else than was meant: a request without
`Prefer: IdType="ImmutableId"`, a token of another audience, another host, a query option
that Graph does not know there, a fifth request at a time, a listing before the end of
a pause.  Each is noted in
`violations`; a test ends with `assert not server.violations`::

    with GraphServer(["ann@contoso.example"]) as server:
        inbox = server.mailbox("ann@contoso.example")
        inbox.deliver(b"Subject: hello\r\n\r\nhello\r\n")
        server.faults.append(throttled("/$value", "17"))
        GraphSource("ann@contoso.example", server.tokens, cloud=server.cloud, ...)
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from attrs import define, evolve, field

from mailarchive import _web
from mailarchive.auth import GLOBAL, Cloud
from mailarchive.testing._graph_routes import Refusal, Talk, Violation, as_json, route
from mailarchive.testing._graph_store import Box, Item, MailboxStore
from mailarchive.testing._http_server import Answer, HttpServer, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "Answer",
    "Box",
    "Fault",
    "GraphServer",
    "Item",
    "MailboxStore",
    "Request",
    "endless",
    "html_page",
    "no_json",
    "no_message",
    "refused",
    "silent_refusal",
    "throttled",
    "truncated",
]

IN_FLIGHT = 4
"""Requests that Graph allows at a time for one application and mailbox."""

_TOKEN_REFUSED = Refusal(401, "InvalidAuthenticationToken")


@define
class Fault:
    """What the server does to requests whose path fits `path`, so many `times`.

    `make` is given the request and the honest answer, and returns another one.  With
    `every` it waits for every so many of those requests.
    """

    path: str
    make: Callable[[Request, Answer], Answer]
    times: int = 1
    every: int = 1
    _met: int = field(default=0, init=False)

    def takes(self, request: Request) -> bool:
        """Return whether it is the turn of this fault; counts."""
        if self.times <= 0 or not re.search(self.path, request.path):
            return False
        self._met += 1
        if self._met % self.every:
            return False
        self.times -= 1
        return True


def throttled(path: str, retry_after: str, *, times: int = 1, every: int = 1) -> Fault:
    """Ask for a pause, in seconds or until a date."""
    refusal = Refusal(429, "ApplicationThrottled", "MailboxConcurrency")
    return Fault(path, lambda *_: refusal.answer({"Retry-After": retry_after}), times, every)


def refused(
    path: str, status: int, code: str, *inner: str, times: int = 1, every: int = 1
) -> Fault:
    """Refuse with codes."""
    return Fault(path, lambda *_: Refusal(status, code, *inner).answer(), times, every)


def silent_refusal(path: str, status: int = 403, *, times: int = 1, every: int = 1) -> Fault:
    """Refuse without a body, as a gateway does."""
    return Fault(path, lambda *_: Answer(status), times, every)


def truncated(path: str, *, times: int = 1, every: int = 1) -> Fault:
    """Promise the whole body, send half of it, and hang up."""

    def half(request: Request, honest: Answer) -> Answer:
        del request
        size = len(honest.body)
        return evolve(honest, body=honest.body[: size // 2], length=size, hangup=True)

    return Fault(path, half, times, every)


def endless(path: str, *, times: int = 1, every: int = 1) -> Fault:
    """Send half a body without saying how long it is, and hang up, as an old proxy does."""

    def half(request: Request, honest: Answer) -> Answer:
        del request
        return evolve(honest, body=honest.body[: len(honest.body) // 2], length=-1, hangup=True)

    return Fault(path, half, times, every)


def html_page(path: str, *, times: int = 1, every: int = 1) -> Fault:
    """Answer with a page for people and the status 200, as a portal does."""
    page = Answer(200, b"<html>Sign in</html>", {"Content-Type": "text/html"})
    return Fault(path, lambda *_: page, times, every)


def no_message(path: str = r"/\$value", *, times: int = 1, every: int = 1) -> Fault:
    """Answer with JSON and the status 200 where MIME was due."""
    return Fault(path, lambda *_: as_json({"value": []}), times, every)


def no_json(path: str, *, times: int = 1, every: int = 1) -> Fault:
    """Answer with half a JSON object, and a `Content-Length` that agrees."""

    def half(request: Request, honest: Answer) -> Answer:
        del request
        return evolve(honest, body=honest.body[: len(honest.body) // 2])

    return Fault(path, half, times, every)


class GraphServer:
    """The server: a context manager with mailboxes that a test fills and changes.

    `clock` is what pauses and tokens are compared with; `asked` are the paths of all
    requests; `most_in_flight` is the largest number of requests at a time for one mailbox.
    With `latency` each message takes so many seconds, for benchmarks.
    """

    def __init__(
        self,
        users: Sequence[str] = ("ann@contoso.example",),
        *,
        accept: Callable[[str, str], bool] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        latency: float = 0.0,
    ) -> None:
        """Make an empty mailbox for each user.

        `accept` says whether a token is good for an audience, such as `EntraServer.is_good`;
        without it the one token is `tokens`' own, until `expire_token` makes another.
        """
        self.stores: dict[str, MailboxStore] = {}
        self.directory: list[dict[str, Any]] = []
        self.faults: list[Fault] = []
        self.violations: list[str] = []
        self.asked: list[str] = []
        self.most_in_flight: int = 0
        self.latency: float = latency
        self.directory_allowed: bool = True
        self._accept, self._clock = accept, clock
        self._generation = 1
        self._flying: Counter[str] = Counter()
        self._paused_until: dict[str, datetime] = {}
        self._lock = threading.Lock()
        self._http = HttpServer(self._answer)
        for user in users:
            self.add_user(user)

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._http.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        """Hang up."""
        self._http.__exit__(*exc)

    @property
    def cloud(self) -> Cloud:
        """A cloud whose Graph is this server."""
        return evolve(GLOBAL, graph=self._http.origin)

    def tokens(self, scope: str, /, *, refused: str | None = None) -> str:
        """Return the good token: a `TokenProvider`."""
        del refused
        return f"{scope}#{self._generation}"

    def expire_token(self) -> None:
        """Make every token worthless that was given so far."""
        self._generation += 1

    def add_user(self, address: str, **properties: Any) -> MailboxStore:
        """Make a user with a mailbox; `properties` are those of Graph's user resource."""
        number = len(self.directory) + 1
        user: dict[str, Any] = {
            "id": f"00000000-0000-0000-0000-{number:012d}",
            "mail": address,
            "userPrincipalName": address,
            "displayName": address.partition("@")[0],
            "proxyAddresses": [f"SMTP:{address}"],
            "accountEnabled": True,
            "userType": "Member",
            "assignedPlans": [{"service": "exchange", "capabilityStatus": "Enabled"}],
        } | properties
        self.directory.append(user)
        store = self.stores[str(user["userPrincipalName"]).casefold()] = MailboxStore(user)
        return store

    def mailbox(self, address: str) -> MailboxStore:
        """Return a mailbox by its user's principal name, id or address."""
        found = self._store(address)
        assert found is not None, "no such user"
        return found

    def _store(self, whose: str) -> MailboxStore | None:
        wanted = whose.casefold()
        for store in self.stores.values():
            proxies = {str(each)[5:].casefold() for each in store.user["proxyAddresses"]}
            names = (store.user["id"], store.user["userPrincipalName"], store.user["mail"])
            if wanted in proxies | {str(name).casefold() for name in names if name}:
                return store
        return None

    # -- answering ------------------------------------------------------------------------

    def _answer(self, request: Request) -> Answer:
        try:
            self._check_client(request)
            if request.path == "/v1.0/users":
                return self._faulty(request, self._users(request))
            answers, whose, parts = route(request)
        except Violation as error:
            with self._lock:
                self.violations.append(str(error))
            return Refusal(400, "BadRequest").answer()
        except Refusal as error:
            return error.answer()

        def answer() -> Answer:
            return self._mailbox(request, whose, answers, parts)

        return self._one_of_some(request, whose, answer)

    def _check_client(self, request: Request) -> None:
        with self._lock:
            self.asked.append(request.path)
        if f"http://{request.headers.get('host')}" != self._http.origin:
            raise Violation("asked another host")
        if 'IdType="ImmutableId"' not in request.headers.get("prefer", ""):
            raise Violation("asked without immutable ids")
        if request.headers.get("user-agent", "").startswith("python"):
            raise Violation("does not say who it is")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            raise Violation("asked without a token")
        if not self._is_good(token):
            raise _TOKEN_REFUSED

    def _is_good(self, token: str) -> bool:
        if self._accept is not None:
            return self._accept(token, self._http.origin)
        scope, _, generation = token.rpartition("#")
        if scope != self.cloud.graph_scope:
            raise Violation("sent a token for somebody else")
        return generation == str(self._generation)

    def _one_of_some(self, request: Request, whose: str, answer: Callable[[], Answer]) -> Answer:
        """Count the requests at a time for one mailbox, and refuse a fifth."""
        key = whose.casefold()
        with self._lock:
            self._flying[key] += 1
            flying = self._flying[key]
            self.most_in_flight = max(self.most_in_flight, flying)
            # Messages are read several at a time: the others cannot know yet of the pause.
            alone = "/mailFolders" in request.path
            early = alone and self._paused_until.get(key, self._clock()) > self._clock()
        try:
            if flying > IN_FLIGHT:
                self.violations.append("more than four requests at a time")
                return Refusal(429, "ApplicationThrottled", "MailboxConcurrency").answer()
            if early:
                self.violations.append("asked again before the end of a pause")
            made = self._faulty(request, answer())
            self._note_pause(key, made)
            return made
        finally:
            with self._lock:
                self._flying[key] -= 1

    def _note_pause(self, key: str, made: Answer) -> None:
        now = self._clock()
        seconds = _web.pause(made.headers.get("Retry-After"), now)
        if seconds is not None:
            self._paused_until[key] = now + timedelta(seconds=seconds)

    def _faulty(self, request: Request, honest: Answer) -> Answer:
        with self._lock:
            fault = next((each for each in self.faults if each.takes(request)), None)
        return honest if fault is None else fault.make(request, honest)

    def _mailbox(
        self,
        request: Request,
        whose: str,
        answers: Callable[[Talk, tuple[str, ...]], Answer],
        parts: tuple[str, ...],
    ) -> Answer:
        if self.latency and request.path.endswith("$value"):
            time.sleep(self.latency)
        store = self._store(whose)
        talk = Talk(request, store or MailboxStore({}), self._http.origin, dict(request.query))
        try:
            if store is None:
                raise Refusal(404, "Request_ResourceNotFound")  # noqa: TRY301 - as any other
            is_directory = request.path.count("/") == _OF_A_USER
            if is_directory and not self.directory_allowed:
                raise Refusal(403, "Authorization_RequestDenied")  # noqa: TRY301 - as any other
            if store.broken is not None and not is_directory:
                raise Refusal(*store.broken)  # noqa: TRY301 - as any other
            with store.lock:
                return answers(talk, parts)
        except Refusal as error:
            return error.answer()
        except Violation as error:
            self.violations.append(str(error))
            return Refusal(400, "BadRequest").answer()

    def _users(self, request: Request) -> Answer:
        query = dict(request.query)
        if unknown := set(query) - {"$select", "$top", "$skiptoken"}:
            raise Violation(f"asked for {sorted(unknown)} where Graph knows no such option")
        if not self.directory_allowed:
            raise Refusal(403, "Authorization_RequestDenied")
        names = query["$select"].split(",")
        top, start = int(query.get("$top", "100")), int(query.get("$skiptoken", "0"))
        if not 1 <= top < _USERS_AT_MOST:
            raise Refusal(400, "Request_BadRequest")
        some = self.directory[start : start + top]
        told: dict[str, Any] = {"value": [_only(user, names) for user in some]}
        if start + top < len(self.directory):
            rest = f"$select={query['$select']}&$top={top}&$skiptoken={start + top}"
            told["@odata.nextLink"] = f"{self._http.origin}{request.path}?{rest}"
        return as_json(told)

    def dump(self) -> str:
        """Return what is in every mailbox, to look at when a test puzzles."""
        boxes = {
            whose: {box.name: sorted(box.items) for box in store.boxes.values()}
            for whose, store in self.stores.items()
        }
        return json.dumps(boxes, indent=2)


_OF_A_USER = 3
_USERS_AT_MOST = 1_000


def _only(user: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: user.get(name) for name in names}
