"""Power fails while a vault is sealed: what was signed stands, and is gone on from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import seal_child
from support.powerloss import bad_states

STEPS = (1 if os.environ.get("CRASH") == "all" else 13, 2)
"""How many steps from one loss of power to the next; `nox -s crash` looks at every one."""


def states(folder: Path, *bug: str) -> tuple[int, list[str]]:
    """Return how many states were tried, and those in which something was wrong."""
    return bad_states(folder, Path(seal_child.__file__), bug, seal_child.check, STEPS)


@pytest.mark.slow
def test_no_loss_of_power_loses_a_seal(tmp_path: Path) -> None:
    """In every state that the disk may be left in, no seal is lost or contradicted."""
    tried, bad = states(tmp_path)

    assert tried > 30
    assert bad == []


@pytest.mark.slow
def test_a_log_whose_names_are_not_synced_is_found(tmp_path: Path) -> None:
    """The same states show a seal that was given before its names were durable."""
    _, bad = states(tmp_path, "names")

    assert bad
