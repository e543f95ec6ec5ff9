"""A system call fails, lies or is the last one: what was acknowledged is there afterwards.

strace lets one call of a real process fail, at every place in turn; `nox -s crash` takes
them all, and the ordinary run every so many.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest
from support.powerloss import CHILD, unmeasured
from support.vault_child import check

if TYPE_CHECKING:
    from pathlib import Path

CALLS = "pwrite64,fsync,fdatasync,renameat,mkdirat,unlink,ftruncate,flock"
"""Everything with which a vault, or SQLite for it, changes a disk."""

FAULTS = {
    "killed": "signal=SIGKILL",
    "EIO": "error=EIO",
    "ENOSPC": "error=ENOSPC",
    "short": "retval=7",
}
"""What happens at the call; a short write says that it wrote seven bytes, and wrote none."""

PLACES, PAIRS = (10_000, 300) if os.environ.get("CRASH") == "all" else (8, 6)
OURS = 3


def run(folder: Path, *injected: str) -> int:
    """Fill a vault with these faults and return the exit status."""
    faults = [word for fault in injected for word in ("-e", f"inject={fault}")]
    command = [
        *("strace", "-f", "-qq", "-e", f"trace={CALLS}", *faults, "-o", str(folder / "log")),
        *(sys.executable, str(CHILD), str(folder / "vault"), str(folder / "acks")),
    ]
    return subprocess.run(
        command, check=False, capture_output=True, timeout=120, env=unmeasured()
    ).returncode


@pytest.fixture(scope="session")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    """How often a whole run makes each call in one thread: strace counts each by itself.

    The thread that writes packs has its own calls; a fault at a number that both reach
    happens in both.
    """
    folder = tmp_path_factory.mktemp("counting")
    assert run(folder) == 0
    calls = Counter(re.findall(r"^(\d+) +(\w+)\(", (folder / "log").read_text(), re.MULTILINE))
    most: Counter[str] = Counter()
    for (_, call), count in calls.items():
        most[call] = max(most[call], count)
    return most


def places(counts: Counter[str], fault: str) -> list[str]:
    """Return where the fault can happen, spread over the run."""
    calls = {"pwrite64": counts["pwrite64"]} if fault == "short" else counts
    every = [
        f"{call}:{FAULTS[fault]}:when={number}"
        for call, count in sorted(calls.items())
        for number in range(1, count + 1)
    ]
    return every[:: max(len(every) // PLACES, 1)]


def acknowledged(folder: Path) -> frozenset[int]:
    """Return the batches that the run had acknowledged."""
    acks = folder / "acks"
    return frozenset(map(int, acks.read_text().split())) if acks.exists() else frozenset()


def mended(folder: Path) -> None:
    """Check what is left; an index that was lied to may be thrown away."""
    acks = acknowledged(folder)
    try:
        check(folder / "vault", acks)
    except Exception:  # noqa: BLE001 - whatever it is, it must be the index alone
        for path in (folder / "vault" / "volumes" / "0001").glob("index.db*"):
            path.unlink()
        check(folder / "vault", acks)


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_loses_nothing(tmp_path: Path, counts: Counter[str], fault: str) -> None:
    """At each place: it ends well, by an error of ours, or dead, and keeps what it promised."""
    for number, place in enumerate(places(counts, fault)):
        folder = tmp_path / str(number)
        folder.mkdir()

        status = run(folder, place)

        assert status in ({-9, 137} if fault == "killed" else {0, OURS}), place
        if fault == "short":
            mended(folder)
        else:
            check(folder / "vault", acknowledged(folder))


def test_two_faults_lose_nothing(tmp_path: Path, counts: Counter[str]) -> None:
    """In pairs, picked at random: a write or a sync fails, and later something else."""
    random = Random(1)
    errors = [*places(counts, "EIO"), *places(counts, "ENOSPC"), *places(counts, "killed")]
    for number in range(PAIRS):
        folder = tmp_path / str(number)
        folder.mkdir()
        pair = random.sample(errors, 2)

        status = run(folder, *pair)

        assert status in {0, OURS, -9, 137}, pair
        check(folder / "vault", acknowledged(folder))
