"""Power fails: what was acknowledged is there, nothing is twice, and the vault goes on."""

from __future__ import annotations

import os
import shutil
from random import Random
from typing import TYPE_CHECKING

import pytest
from support.powerloss import build, explore, record
from support.vault_child import BUGS, check

from mailarchive.errors import MailArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STRIDE, MIXTURES = (1, 12) if os.environ.get("CRASH") == "all" else (7, 2)
"""Steps from one loss of power to the next, and mixtures for each; `nox -s crash` tries more."""


def bad_states(folder: Path, bug: str, stride: int) -> tuple[int, list[str]]:
    """Return how many states were tried, and those in which something was wrong."""
    ops = record(folder / "recorded", bug)
    top = folder / "recorded"
    tried = 0
    bad: list[str] = []
    for name, acks, state in explore(ops, top, stride, Random(1), MIXTURES):
        tried += 1
        place = folder / "state"
        build(state, top, place)
        try:
            check(place / "vault", acks)
        except (AssertionError, MailArchiveError) as error:
            bad.append(f"{name}: {error}")
        shutil.rmtree(place)
    return tried, bad


def test_no_loss_of_power_loses_anything(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """In every state that the disk may be left in, singly and in mixtures."""
    tried, bad = bad_states(tmp_path, "", STRIDE)

    record_property("states", tried)
    assert tried > 100
    assert bad == []


@pytest.mark.parametrize("bug", BUGS)
def test_a_seeded_bug_is_found(
    tmp_path: Path, bug: str, record_property: Callable[[str, object], None]
) -> None:
    """The same states show each of the mistakes that others make: this test can fail."""
    _, bad = bad_states(tmp_path, bug, STRIDE)

    record_property("bad states", len(bad))
    assert bad
