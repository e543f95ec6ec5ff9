"""A system call fails, lies or is the last one: what was acknowledged is there afterwards.

strace lets one call of a real process fail, at every place in turn; `nox -s crash` takes
them all, and the ordinary run every so many.
"""

from __future__ import annotations

import os
from functools import cache
from random import Random
from typing import TYPE_CHECKING

import pytest
from support.crashing import SUBJECTS, acknowledged, calls, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FAULTS = {
    "killed": "signal=SIGKILL",
    "EIO": "error=EIO",
    "ENOSPC": "error=ENOSPC",
    "short": "retval=7",
}
"""What happens at the call; a short write says that it wrote seven bytes, and wrote none."""

ALL = os.environ.get("CRASH") == "all"
PLACES = {"vault": 8} if not ALL else {}
"""How many places of one subject are tried; of the others, and in the ordinary run, few."""
FEW = 10_000 if ALL else 6
PAIRS = {"vault": 300 if ALL else 6}
FEW_PAIRS = 100 if ALL else 3
OURS = 3
CASES = [
    *((subject, fault) for subject in SUBJECTS for fault in ("killed", "EIO", "ENOSPC")),
    ("vault", "short"),  # the others do not read back what they wrote
]


@pytest.fixture(scope="session")
def counted(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], list[tuple[str, int]]]:
    """Which calls a whole run of a subject makes, counted once."""

    @cache
    def of(subject: str) -> list[tuple[str, int]]:
        return calls(SUBJECTS[subject], tmp_path_factory.mktemp("counting"))

    return of


def places(counted: list[tuple[str, int]], subject: str, fault: str) -> list[str]:
    """Return where the fault can happen, spread over the run."""
    every = [
        f"{call}:{FAULTS[fault]}:when={number}"
        for call, number in counted
        if fault != "short" or call == "pwrite64"
    ]
    return every[:: max(len(every) // PLACES.get(subject, FEW), 1)]


def was_reached(folder: Path) -> bool:
    """Whether the call was made at which something was to happen."""
    log = (folder / "log").read_text()
    return "(INJECTED" in log or "killed by SIGKILL" in log


def mended(folder: Path) -> None:
    """Check what is left; an index that was lied to may be thrown away."""
    check, acks = SUBJECTS["vault"].check, acknowledged(folder)
    try:
        check(folder / "vault", acks)
    except Exception:  # noqa: BLE001 - whatever it is, it must be the index alone
        for path in (folder / "vault" / "volumes" / "0001").glob("index.db*"):
            path.unlink()
        check(folder / "vault", acks)


@pytest.mark.parametrize(("subject", "fault"), CASES)
def test_one_fault_loses_nothing(
    tmp_path: Path,
    counted: Callable[[str], list[tuple[str, int]]],
    subject: str,
    fault: str,
    record_property: Callable[[str, object], None],
) -> None:
    """At each place: it ends well, by an error of ours, or dead, and keeps what it promised."""
    tried, reached = places(counted(subject), subject, fault), 0
    record_property("places", len(tried))
    for number, place in enumerate(tried):
        folder = tmp_path / str(number)
        folder.mkdir()

        status = run(SUBJECTS[subject], folder, place)

        reached += was_reached(folder)
        assert status in {0, OURS, -9}, place
        assert (status == -9) == (fault == "killed" and was_reached(folder)), place
        if fault == "short":
            mended(folder)
        else:
            SUBJECTS[subject].check(folder / "vault", acknowledged(folder))
    # Packs have names by chance, so that not every run opens as many files for it.
    assert reached >= 0.9 * len(tried)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_two_faults_lose_nothing(
    tmp_path: Path,
    counted: Callable[[str], list[tuple[str, int]]],
    subject: str,
    record_property: Callable[[str, object], None],
) -> None:
    """In pairs, picked at random: a write or a sync fails, and later something else."""
    random = Random(1)
    faults = ("EIO", "ENOSPC", "killed")
    errors = [place for fault in faults for place in places(counted(subject), subject, fault)]
    pairs = PAIRS.get(subject, FEW_PAIRS)
    record_property("pairs", pairs)
    for number in range(pairs):
        folder = tmp_path / str(number)
        folder.mkdir()
        pair = random.sample(errors, 2)

        status = run(SUBJECTS[subject], folder, *pair)

        assert status in {0, OURS, -9}, pair
        SUBJECTS[subject].check(folder / "vault", acknowledged(folder))
