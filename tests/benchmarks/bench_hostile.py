"""Whether hostile reports take time that is linear in their length.

    python tests/benchmarks/bench_hostile.py [--size 4000] [--rounds 3]

Each is made once at `--size` and once eight times as large, and decoded and judged: the
ratio of the CPU seconds (the least of the rounds) is about 8 where time is linear, and 64
where it is quadratic.  Beyond 24 the exit status is 1.  The short and the long way are
measured apart.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mailarchive import journal
from mailarchive.errors import LimitExceeded, MalformedReport, NotAJournalReport
from mailarchive.journal import _decode, trust

sys.path.append(str(Path(__file__).resolve().parents[1]))

from support.hostile import HOSTILE

if TYPE_CHECKING:
    from collections.abc import Callable

TIMES = 8
LIMIT = 24
"""Far from 8, which noise does not reach, and from 64."""
LIMITS = journal.Limits(header_bytes=64 << 20)
POLICY = trust.Policy(return_paths=frozenset({"x@y.example"}), authserv_id="mx.example.com")
WAYS: dict[str, Callable[[bytes], journal.JournalReport]] = {
    "decode": lambda raw: journal.decode(raw, limits=LIMITS),
    "step by step": lambda raw: _decode.step_by_step(raw, LIMITS),
}


def look(decode: Callable[[bytes], journal.JournalReport], raw: bytes) -> None:
    """Decode and judge."""
    try:
        trust.judge(decode(raw), POLICY)
    except (MalformedReport, NotAJournalReport, LimitExceeded):
        return


def cpu(decode: Callable[[bytes], journal.JournalReport], raw: bytes, rounds: int) -> float:
    """Return the least CPU seconds of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        look(decode, raw)
        best = min(best, time.process_time() - began)
    return best


def main() -> int:
    """Print a row for each hostile report; return 1 where one is not linear."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    worst = 0.0
    print(f"{'':30}{'':14}{'ms':>8}{f'ms x{TIMES}':>9}{'ratio':>8}")
    for name, make in HOSTILE.items():
        small, large = make(arguments.size), make(TIMES * arguments.size)
        for way, decode in WAYS.items():
            one, eight = (cpu(decode, raw, arguments.rounds) for raw in (small, large))
            worst = max(worst, eight / one)
            print(f"{name:30}{way:14}{one * 1e3:8.2f}{eight * 1e3:9.2f}{eight / one:8.1f}")
    print(f"worst ratio {worst:.1f}, of at most {LIMIT}")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
