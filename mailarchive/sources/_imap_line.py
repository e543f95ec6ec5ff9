"""A connection that is made anew when it breaks, so many times and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from mailarchive._bounds import backoff
from mailarchive.errors import SourceUnavailable, Throttled
from mailarchive.sources._imap_errors import broken, is_detached, is_worth_waiting, refused
from mailarchive.sources._imap_session import Refused
from mailarchive.sources._imap_wire import Broken

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailarchive.sources._imap_errors import Place
    from mailarchive.sources._imap_limits import ImapLimits
    from mailarchive.sources._imap_session import Session

_T = TypeVar("_T")


class Patience:
    """Counts failures since the last progress, and waits between them."""

    def __init__(self, place: Place, limits: ImapLimits, sleep: Callable[[float], None]) -> None:
        """Take how often and how long, and how to wait."""
        self._place, self._limits, self._sleep = place, limits, sleep
        self.failures = 0

    def progress(self) -> None:
        """Something was achieved: begin to count again."""
        self.failures = 0

    def after(self, error: Broken | Refused | SourceUnavailable | Throttled) -> None:
        """Wait before the next attempt; raises our error where there were enough."""
        final = self._as_ours(error)
        self.failures += 1
        asked = final.retry_after if isinstance(final, Throttled) else None
        if self.failures > self._limits.reconnects:
            raise final from None
        if asked is not None and asked > self._limits.longest_wait:
            raise final from None
        self._sleep(self._backoff() if asked is None else asked)

    def _backoff(self) -> float:
        first = self._limits.first_backoff
        return backoff(first, 4.0, self.failures, max(first, self._limits.longest_wait))

    def _as_ours(self, error: Broken | Refused | SourceUnavailable | Throttled) -> Exception:
        if isinstance(error, Broken):
            return broken(self._place, error)
        if isinstance(error, Refused):
            return refused(self._place, "asked again", error)
        return error


class Line:
    """The way to the server: a session when one is needed, the same as long as it holds."""

    def __init__(
        self,
        place: Place,
        limits: ImapLimits,
        connect: Callable[[], Session],
        sleep: Callable[[float], None],
    ) -> None:
        """Take how to connect and log in; nothing is connected yet."""
        self.place, self.limits, self._connect, self._sleep = place, limits, connect, sleep
        self._session: Session | None = None

    def patience(self) -> Patience:
        """Return a fresh count of failures."""
        return Patience(self.place, self.limits, self._sleep)

    def session(self) -> Session:
        """Return a session that can take a command; raises our errors.

        One whose last answer was not read to its end is of no use any more.
        """
        if self._session is not None and self._session.busy:
            self.drop()
        if self._session is None:
            self._session = self._connect()
        return self._session

    def first(self) -> Session:
        """Return the first session; waits only where the server says how long.

        A wrong port looks like a server that is away, and whoever set it waits for the answer.
        """
        patience = self.patience()
        while True:
            try:
                return self.session()
            except Throttled as error:
                if error.retry_after is None:
                    raise
                patience.after(error)

    def drop(self) -> None:
        """Let go of the connection; the next use makes a new one, with a fresh token."""
        session, self._session = self._session, None
        if session is not None:
            session.drop()

    def close(self) -> None:
        """Say goodbye."""
        session, self._session = self._session, None
        if session is not None:
            session.log_out()

    def run(
        self,
        step: Callable[[Session], _T],
        doing: str,
        explain: Callable[[Place, str, Refused], Exception] = refused,
    ) -> _T:
        """Do a step that may be done again, as often as it takes; raises our errors.

        `explain` makes the error of a refusal that waiting does not cure.
        """
        patience = self.patience()
        while True:
            try:
                return step(self.session())
            except Refused as error:
                if not is_worth_waiting(error):
                    raise explain(self.place, doing, error) from None
                if is_detached(error.text):
                    self.drop()
                patience.after(error)
            except (Broken, SourceUnavailable, Throttled) as error:
                self.drop()
                patience.after(error)
