"""A fuse that blows at the n-th step, to crash a run at every boundary in turn.

Everything of ours that writes takes a `fuse` and calls it before each step that changes
something.  A test counts the steps of one whole run, then runs again for each of them::

    steps = Fuse().count(run)
    for n in range(steps):
        with suppress(Crash):
            run(Fuse(n))
        check(run(Fuse()))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, final

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@final
class Crash(BaseException):
    """The process died here; nothing may catch it, so it is no `Exception`."""


class Fuse:
    """Raises `Crash` instead of letting step number `at` happen; counts from zero.

    Once blown it stays so: a dead process takes no further step.  Without `at` it only
    counts and notes the names of the steps.
    """

    def __init__(self, at: int | None = None) -> None:
        """Blow at step `at`, or never."""
        self._at = at
        self.steps: list[str] = []
        self.blown: bool = False

    def __call__(self, step: str) -> None:
        """Note the step, or crash instead of it."""
        if self.blown or self._at == len(self.steps):
            self.blown = True
            raise Crash(step)
        self.steps.append(step)

    def count(self, run: Callable[[Fuse], object]) -> int:
        """Return how many steps `run` takes with this fuse."""
        run(self)
        return len(self.steps)
