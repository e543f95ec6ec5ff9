"""Requests and their answers, each tried again as often as it takes and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from attrs import field, frozen

from mailarchive._bounds import backoff
from mailarchive.errors import Transient
from mailarchive.sources._ews_answer import Damaged, replies
from mailarchive.sources._ews_connect import Refused
from mailarchive.sources._ews_errors import back_off_of, broken, code_of, refusal
from mailarchive.sources._ews_requests import envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailarchive.sources._ews_answer import Node
    from mailarchive.sources._ews_connect import Pool
    from mailarchive.sources._ews_errors import Place
    from mailarchive.sources._ews_limits import EwsLimits

_T = TypeVar("_T")


class Patience:
    """Counts failures since the last progress, and waits between them.

    A pause that the server asks for is kept exactly; one longer than the limit is raised.
    """

    def __init__(self, limits: EwsLimits, sleep: Callable[[float], None]) -> None:
        """Take how often and how long, and how to wait."""
        self._limits, self._sleep = limits, sleep
        self.failures = 0

    def progress(self) -> None:
        """Something was achieved: begin to count again."""
        self.failures = 0

    def after(self, error: Transient) -> None:
        """Wait before the next attempt; raises the error where there were enough."""
        self.failures += 1
        asked = error.retry_after
        if self.failures > self._limits.retries:
            raise error from None
        if asked is not None and asked > self._limits.longest_wait:
            raise error from None
        first = self._limits.first_backoff
        own = backoff(first, 2.0, self.failures, max(first, self._limits.longest_wait))
        self._sleep(own if asked is None else asked)


@frozen
class Manner:
    """How to speak to the server: the schema's version, and as whom."""

    version: str
    impersonated: str | None = field(repr=False)
    anchor: str | None = field(repr=False)
    """The mailbox whose server is to answer (X-AnchorMailbox)."""


class Line:
    """The way to the server, and the patience with it."""

    def __init__(
        self,
        place: Place,
        limits: EwsLimits,
        pool: Pool,
        manner: Manner,
        sleep: Callable[[float], None],
    ) -> None:
        """Take how to connect and how to speak; nothing is connected yet."""
        self.place, self.limits, self._pool = place, limits, pool
        self._manner, self._sleep = manner, sleep

    def patience(self) -> Patience:
        """Return a fresh count of failures."""
        return Patience(self.limits, self._sleep)

    def drop(self) -> None:
        """Let go of the connection and of every secret."""
        self._pool.drop()

    def stream(self, body: str, doing: str, *, as_login: bool = False) -> Iterator[Node]:
        """Send a request once and yield its response messages as they come.

        Where the server refuses an access token another one is asked for, once; a refused
        password is never tried again.  Raises our errors; what was yielded before is whole.
        """
        manner = self._manner
        whom = None if as_login else manner.impersonated
        content = envelope(body, manner.version, whom)
        anchor = None if as_login else manner.anchor
        headers = {} if anchor is None else {"X-AnchorMailbox": anchor}
        try:
            yield from self._replies(content, headers, doing)
        except Refused as error:
            if not self._pool.has_other_token:
                raise error.error from None
            yield from self._once_more(content, headers, doing)

    def _once_more(self, content: bytes, headers: dict[str, str], doing: str) -> Iterator[Node]:
        try:
            yield from self._replies(content, headers, doing)
        except Refused as error:
            raise error.error from None

    def _replies(self, content: bytes, headers: dict[str, str], doing: str) -> Iterator[Node]:
        try:
            with self._pool.post(content, headers) as pieces:
                for reply in replies(pieces, self.limits):
                    if reply.tag == "Fault":
                        raise self._fault(reply, doing)
                    yield reply
        except Damaged as error:
            raise broken(self.place, error.reason) from None

    def _fault(self, fault: Node, doing: str) -> Exception:
        return refusal(self.place, doing, code_of(fault), back_off_of(fault))

    def ask(self, body: str, doing: str, *, as_login: bool = False) -> list[Node]:
        """Return the whole answer to a request that may be sent again; raises our errors.

        A response message that asks for patience is taken as the whole answer's.
        """

        def once() -> list[Node]:
            found = list(self.stream(body, doing, as_login=as_login))
            for reply in found:
                error = refusal(self.place, doing, code_of(reply), back_off_of(reply))
                if isinstance(error, Transient):
                    raise error
            return found

        return self.run(once)

    def run(self, step: Callable[[], _T]) -> _T:
        """Do a step that may be done again, as often as it takes; raises our errors."""
        patience = self.patience()
        while True:
            try:
                return step()
            except Transient as error:
                patience.after(error)

    def one(self, body: str, doing: str) -> Node:
        """Return the one response message of an answer, which must be a success."""
        found = self.ask(body, doing)
        if len(found) != 1:
            raise broken(self.place, "the answer has not the parts that were asked for")
        if not succeeded(found[0]):
            raise refusal(self.place, doing, code_of(found[0]), back_off_of(found[0]))
        return found[0]


def succeeded(reply: Node) -> bool:
    """Return whether a response message is no error; a warning is none either."""
    fine = reply.attributes.get("ResponseClass") in {"Success", "Warning"}
    return fine and code_of(reply) in {"NoError", "no code"}
