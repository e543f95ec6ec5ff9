"""Power fails while a vault is sealed: what was signed stands, and is gone on from."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random

import pytest
from support import seal_child
from support.powerloss import build, explore, record

from mailarchive.errors import MailArchiveError

STRIDE = 1 if os.environ.get("CRASH") == "all" else 13
"""How many steps from one loss of power to the next; `nox -s crash` looks at every one."""


def bad_states(folder: Path, bug: str) -> tuple[int, list[str]]:
    """Return how many states were tried, and those in which something was wrong."""
    top = folder / "recorded"
    ops = record(top, bug, Path(seal_child.__file__))
    tried, bad = 0, []
    for name, acks, state in explore(ops, top, STRIDE, Random(1)):
        tried += 1
        place = folder / "state"
        build(state, top, place)
        try:
            seal_child.check(place / "vault", acks)
        except (AssertionError, MailArchiveError) as error:
            bad.append(f"{name}: {error}")
        shutil.rmtree(place)
    return tried, bad


@pytest.mark.slow
def test_no_loss_of_power_loses_a_seal(tmp_path: Path) -> None:
    """In every state that the disk may be left in, no seal is lost or contradicted."""
    tried, bad = bad_states(tmp_path, "")

    assert tried > 30
    assert bad == []


@pytest.mark.slow
def test_a_log_whose_names_are_not_synced_is_found(tmp_path: Path) -> None:
    """The same states show a seal that was given before its names were durable."""
    _, bad = bad_states(tmp_path, "names")

    assert bad
