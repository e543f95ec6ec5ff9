"""Power fails: what was acknowledged is there, nothing is twice, and all goes on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.crashing import SUBJECTS
from support.powerloss import Op, _ops, bad_states
from support.vault_child import BUGS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALL = os.environ.get("CRASH") == "all"
SOME = {"vault": (7, 2), "encrypted": (37, 1), "eml": (4, 2), "maildir": (4, 2), "mbox": (1, 9)}
STEPS = {**dict.fromkeys(SUBJECTS, (1, 12)), "encrypted": (1, 4)} if ALL else SOME
"""Steps from one loss of power to the next, and mixtures for each; `nox -s crash` tries more."""
LEAST = {"vault": 100, "encrypted": 30, "eml": 50, "maildir": 50, "mbox": 20}
"""How many states there are at least in the ordinary run."""
SEEDED = [
    *(("vault", bug) for bug in BUGS),
    ("encrypted", "keys_unsynced"),
    *((kind, "unsynced") for kind in ("eml", "maildir", "mbox")),
]


def states(folder: Path, name: str, *bug: str) -> tuple[int, list[str]]:
    """Return how many states were tried, and those in which something was wrong."""
    subject = SUBJECTS[name]
    words = (*subject.words, *bug)
    return bad_states(folder, subject.file, words, subject.check, STEPS[name])


@pytest.mark.parametrize("subject", SUBJECTS)
def test_no_loss_of_power_loses_anything(
    tmp_path: Path, subject: str, record_property: Callable[[str, object], None]
) -> None:
    """In every state that the disk may be left in, singly and in mixtures."""
    tried, bad = states(tmp_path, subject)

    record_property("states", tried)
    assert tried > LEAST[subject]
    assert bad == []


@pytest.mark.parametrize(("subject", "bug"), SEEDED)
def test_a_seeded_bug_is_found(
    tmp_path: Path, subject: str, bug: str, record_property: Callable[[str, object], None]
) -> None:
    """The same states show each of the mistakes that others make: this test can fail."""
    _, bad = states(tmp_path, subject, bug)

    record_property("bad states", len(bad))
    assert bad


def test_a_call_beside_another_threads_is_recorded() -> None:
    """Strace writes it in two halves; without it a state would lack what was written."""
    lines = [
        '7 pwrite64(3</top/a>, "\\x61", 1, 0 <unfinished ...>',
        "8 fdatasync(4</top/b> <unfinished ...>",
        "7 <... pwrite64 resumed>)           = 1",
        "8 <... fdatasync resumed>) = 0",
        '7 pwrite64(3</top/a>, "\\x62", 1, 1) = 1',
    ]

    assert list(_ops(lines, "/top")) == [
        Op("write", "/top/a", b"a", 0),
        Op("sync", "/top/b"),
        Op("write", "/top/a", b"b", 1),
    ]
