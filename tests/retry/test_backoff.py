"""Waits between attempts grow, and have an end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailarchive._bounds import PAUSE, backoff
from mailarchive.errors import SourceUnavailable
from mailarchive.retry import RetryPolicy
from mailarchive.sources._ews_limits import EwsLimits
from mailarchive.sources._ews_line import Patience as EwsPatience
from mailarchive.sources._imap_errors import Place, Security
from mailarchive.sources._imap_limits import ImapLimits
from mailarchive.sources._imap_line import Patience as ImapPatience

PLACE = Place("test", "mail.example.com", 993, Security.SSL)
MANY = 1_100
pauses = st.floats(PAUSE.least, PAUSE.most)


@given(pauses, st.sampled_from([2.0, 4.0]), st.integers(1, 100_000), pauses)
def test_a_wait_is_never_longer_than_the_longest(
    first: float, factor: float, failures: int, longest: float
) -> None:
    """And never shorter than the one before it, however many there were."""
    waited = backoff(first, factor, failures, longest)

    assert 0 <= waited <= longest
    assert waited <= backoff(first, factor, failures + 1, longest)


def test_a_policy_of_many_tries_comes_to_its_end() -> None:
    """The wait was reckoned beyond what a float holds, and ended in an OverflowError."""
    waits: list[float] = []
    policy = RetryPolicy(tries=MANY, sleep=waits.append, chance=lambda: 1.0)
    error = SourceUnavailable("gone", suggestions=["wait"])

    def work() -> None:
        raise error

    with pytest.raises(SourceUnavailable):
        policy.attempt().run(work)

    assert len(waits) == MANY - 1
    assert max(waits) == policy.longest


@pytest.mark.parametrize(("first", "longest_wait", "longest"), [(0.5, 60, 60), (5, 0, 5)])
def test_an_imap_server_that_is_away_for_long_is_tried_again_in_time(
    first: float, longest_wait: float, longest: float
) -> None:
    """The eleventh attempt came after six days; `longest_wait` is for what we choose as well."""
    waits: list[float] = []
    limits = ImapLimits(reconnects=MANY, first_backoff=first, longest_wait=longest_wait)
    patience = ImapPatience(PLACE, limits, waits.append)
    for _ in range(MANY):
        patience.after(SourceUnavailable("gone", suggestions=["wait"]))

    assert waits[0] == first
    assert max(waits) == longest


def test_an_exchange_server_that_is_away_for_long_is_tried_again_in_time() -> None:
    """By the same law."""
    waits: list[float] = []
    limits = EwsLimits(retries=MANY, first_backoff=0.5, longest_wait=60)
    patience = EwsPatience(limits, waits.append)
    for _ in range(MANY):
        patience.after(SourceUnavailable("gone", suggestions=["wait"]))

    assert max(waits) == 60
