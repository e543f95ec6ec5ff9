"""The limits of a source: what may be set, and where that is said."""

from __future__ import annotations

import math

import attrs
import pytest
from support.limits_page import KINDS, PAGE, written

from mailarchive._bounds import Bounds
from mailarchive._cli import _toml
from mailarchive._cli._limits import limits
from mailarchive.errors import ConfigurationError

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


def test_bounds_hold_both_ends() -> None:
    """And say what they are, as numbers that TOML reads."""
    some, open_ended = Bounds(1, 10_000), Bounds(0.01)

    tried = (0, 1, 10_000, 10_001, math.nan)
    assert [each in some for each in tried] == [False, True, True, False, False]
    assert (str(some), str(open_ended)) == ("from 1 to 10_000", "at least 0.01")
