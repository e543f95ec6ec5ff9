"""The limits of a source: what may be set, and where that is said."""

from __future__ import annotations

import math
import socket
from typing import TYPE_CHECKING

import attrs
import pytest
from support.limits_page import KINDS, PAGE, written

from mailarchive._bounds import TIMEOUT, Bounds
from mailarchive._cli import _toml
from mailarchive._cli._limits import limits
from mailarchive.errors import ConfigurationError
from mailarchive.retry import RetryPolicy
from mailarchive.sinks.lmtp import LmtpSink
from mailarchive.vault.timestamps import TimestampAnchor

if TYPE_CHECKING:
    from pathlib import Path

EVERY = [(kind, each) for kind in KINDS.values() for each in attrs.fields(kind)]


def test_the_reference_of_the_limits_is_what_the_code_says() -> None:
    """Written with `python tests/support/limits_page.py`."""
    assert PAGE.read_text(encoding="utf-8") == written()


@pytest.mark.parametrize(
    ("kind", "limit"), EVERY, ids=[f"{kind.__name__}.{each.name}" for kind, each in EVERY]
)
def test_a_limit_out_of_its_bounds_hears_them(
    kind: type[attrs.AttrsInstance], limit: attrs.Attribute[object]
) -> None:
    """Its own, in the words of the reference, and what it is when it is left out."""
    bounds = limit.validator
    assert isinstance(bounds, Bounds)
    table = _toml.parse(f"[limits]\n{limit.name} = {type(bounds.least)(bounds.least - 1)}", "t")

    with pytest.raises(ConfigurationError) as caught:
        limits(table, kind)

    assert str(caught.value) == f"t: [limits]: {limit.name} must be {bounds}"
    assert caught.value.suggestions == (f"leave {limit.name} out: it is {limit.default:_} then",)
    with pytest.raises(ValueError, match=f"{limit.name} must be {bounds}"):
        kind(**{limit.name: bounds.least - 1})


SECONDS = [(kind, each) for kind, each in EVERY if isinstance(each.default, float)]


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e300", "31_536_001", "-1"])
@pytest.mark.parametrize(
    ("kind", "limit"), SECONDS, ids=[f"{kind.__name__}.{each.name}" for kind, each in SECONDS]
)
def test_seconds_are_such_as_can_be_waited(
    kind: type[attrs.AttrsInstance], limit: attrs.Attribute[object], value: str
) -> None:
    """TOML has infinity, and no number at all; a socket and a sleep have neither."""
    table = _toml.parse(f"[limits]\n{limit.name} = {value}", "t")
    with pytest.raises(ConfigurationError, match=rf"{limit.name} must be from 0(\.01)? to "):
        limits(table, kind)

    with pytest.raises(ValueError, match=f"{limit.name} must be from"):
        kind(**{limit.name: float(value)})


def test_a_year_can_be_waited() -> None:
    """The largest number that is taken fits into what a socket waits."""
    with socket.socket() as some:
        some.settimeout(TIMEOUT.most)


@pytest.mark.parametrize("value", [math.inf, math.nan, 0, -1, 1e300])
def test_a_timeout_of_a_sink_or_an_anchor_is_one(value: float, tmp_path: Path) -> None:
    """It is told when the thing is made, and what to give."""
    for make in (
        lambda: LmtpSink("h", recipients=["a@b.example"], ledger=tmp_path / "l", timeout=value),
        lambda: TimestampAnchor("https://tsa.example/", timeout=value),
    ):
        with pytest.raises(ConfigurationError, match="timeout must be a number") as caught:
            make()
        assert "it is 60 then" in caught.value.suggestions[0]
    assert not (tmp_path / "l").exists()


@pytest.mark.parametrize("name", ["first", "longest", "patience"])
def test_a_policy_of_trying_again_waits_for_numbers(name: str) -> None:
    """Only the pauses that others ask for may have no bound."""
    for value in (-1, math.nan, *(() if name == "patience" else (math.inf,))):
        with pytest.raises(ValueError, match=f"{name} must be"):
            RetryPolicy(**{name: value})

    assert RetryPolicy(patience=math.inf, first=0).patience == math.inf


def test_bounds_hold_both_ends() -> None:
    """And say what they are, as numbers that TOML reads."""
    some, open_ended = Bounds(1, 10_000), Bounds(0.01)

    tried = (0, 1, 10_000, 10_001, math.nan)
    assert [each in some for each in tried] == [False, True, True, False, False]
    assert (str(some), str(open_ended)) == ("from 1 to 10_000", "at least 0.01")
