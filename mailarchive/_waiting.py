"""The retry list of a folder: what is due, and what waits after a page.

On it is what could not be read, and what was gone when it was to be read.  The latter is
looked for once more by a run that follows one which broke off, and by no other one: it is
owed until the next page, or the end, and so costs little however much goes away at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailarchive._model import Failed, Retry, Vanished

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from mailarchive._model import MessageRef, Outcome
    from mailarchive._policy import RetryPlan

AT_MOST = 10_000
"""A folder of which more messages cannot be read is not passed over but fails."""

GONE = "gone before it was read"


def due(waiting: Iterable[Retry], now: datetime | None) -> tuple[MessageRef, ...]:
    """Return what to fetch at that time; all of it for `None`.

    What was gone is due at any time, also where a clock was set back: it does not wait long.
    """
    return tuple(
        each.ref for each in waiting if now is None or not each.attempts or each.not_before <= now
    )


def after(
    waiting: Iterable[Retry],
    outcomes: Iterable[Outcome],
    plan: RetryPlan,
    now: datetime,
    *,
    listed: bool,
) -> tuple[Retry, ...]:
    """Return what waits once these outcomes are known: more patiently at each failure.

    A page that was `listed` brings a token that names nothing of what was gone before it.
    """
    left = {each.ref: each for each in waiting if each.attempts or not listed}
    for outcome in outcomes:
        known = left.pop(outcome.ref, None)
        if isinstance(outcome, Failed):
            attempts = 1 if known is None else known.attempts + 1
            not_before = now + plan.wait(attempts)
            left[outcome.ref] = Retry(outcome.ref, outcome.reason, attempts, not_before)
        elif isinstance(outcome, Vanished):
            left[outcome.ref] = Retry(outcome.ref, GONE, 0, now)
    return tuple(left.values())


def too_many(waiting: tuple[Retry, ...]) -> bool:
    """Whether so much cannot be read that it is not a message's fault; what is gone can be."""
    return len(without_gone(waiting)) > AT_MOST


def without_gone(waiting: tuple[Retry, ...]) -> tuple[Retry, ...]:
    """Return what waits apart from what was gone."""
    return tuple(each for each in waiting if each.attempts)
