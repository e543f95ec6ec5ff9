"""A signal that ends a command in good order: what is under way is accounted for first."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from mailarchive.events import FolderStarted

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from mailarchive.abc import Observer
    from mailarchive.events import Event

STOPS = (signal.SIGTERM, signal.SIGINT)
"""Either lets what is under way be finished first; a second one does not."""


class Stopped(KeyboardInterrupt):
    """A signal was heeded where nothing was under way; `status` is the one that tells of it."""

    def __init__(self, number: int) -> None:
        """Take the number of the signal; a shell adds 128 to it, and so do we."""
        super().__init__()
        self.status = 128 + number


class Signals:
    """While it lasts, the first signal is noted and `stop` called; the next does as before.

    Only where signals come, in the main thread; one that is ignored, as under `nohup`,
    stays so.
    """

    def __init__(self, stop: Callable[[], None] = lambda: None) -> None:
        """Take what is called within the signal's handler, and must return at once."""
        self._stop = stop
        self._before: dict[signal.Signals, Any] = {}
        self.heard: int | None = None

    def __enter__(self) -> Self:
        """Listen."""
        if threading.current_thread() is threading.main_thread():
            heeded = [each for each in STOPS if signal.getsignal(each) is not signal.SIG_IGN]
            self._before = {each: signal.signal(each, self._hear) for each in heeded}
        return self

    def __exit__(self, *exc: object) -> None:
        """Let signals do what they did before."""
        before, self._before = self._before, {}
        for each, handler in before.items():
            signal.signal(each, handler)

    def _hear(self, number: int, frame: object) -> None:
        del frame
        self.__exit__()
        self.heard = number
        self._stop()

    def check(self) -> None:
        """Raise `Stopped` where a signal has come."""
        if self.heard is not None:
            raise Stopped(self.heard)


class Watch:
    """An observer that ends a run before its next folder once a signal has come.

    It tells of the signal with the next event, and of every event to somebody else.
    """

    def __init__(self, signals: Signals, observer: Observer | None) -> None:
        """Take who hears of signals, and who is told of progress."""
        self._signals = signals
        self._observer = observer
        self._told = False

    def __call__(self, event: Event) -> None:
        """Pass the event on; raises `Stopped`, which no run takes for an observer's fault."""
        if self._observer is not None:
            self._observer(event)
        if self._signals.heard is None:
            return
        if not self._told:  # not in the handler: it may come in the middle of a line
            self._told = True
            words = "stopping once this page is accounted for; the same again stops at once"
            print(f"mailarchive: {words}", file=sys.stderr)
        if isinstance(event, FolderStarted):
            self._signals.check()
