"""What decoding costs beside SHA-256 and beside the standard library's route.

    python tests/benchmarks/bench_decode.py [--reports 2000] [--rounds 5]

CPU seconds, not wall time, each measured in turn within one run (A B C A B C ...), and the
least of the rounds; figures of different runs are not comparable, their ratios are.

| row | what is done with every report |
|---|---|
| sha256 | the digest of its bytes |
| decode | recognised, cut, the envelope text read, compared with the original's header |
| decode, envelope | and its addresses made into values that compare |
| step by step | the same by the long way, which reports with a departure take |
| standard library | parse, take the message/rfc822 part, serialise |

The standard library is measured on a sample, and its fidelity is counted: how many
originals came back to the byte.
"""

from __future__ import annotations

import argparse
import email
import hashlib
import time
from email.message import Message
from typing import TYPE_CHECKING

import corpus

from mailarchive import journal
from mailarchive.journal import _decode
from mailarchive.testing import messages, reports

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SAMPLE = 150
"""Every so many-th report is given to the standard library, which takes so much longer."""


def standard_library(raw: bytes) -> bytes:
    """Return the original as Python's own parser and generator give it back."""
    part = email.message_from_bytes(raw).get_payload(1)
    assert isinstance(part, Message)
    original = part.get_payload(0)
    assert isinstance(original, Message)
    return original.as_bytes()


ROWS: dict[str, Callable[[bytes], object]] = {
    "sha256": lambda raw: hashlib.sha256(raw).digest(),
    "decode": journal.decode,
    "decode, envelope": lambda raw: journal.decode(raw).envelope,
    "step by step": _decode.step_by_step,
    "standard library": standard_library,
}


def cpu(call: Callable[[bytes], object], items: Sequence[bytes]) -> float:
    """Return the CPU seconds of the call on all items."""
    began = time.process_time()
    for item in items:
        call(item)
    return time.process_time() - began


def compare(items: Sequence[bytes], rounds: int) -> dict[str, float]:
    """Return the CPU seconds a byte of each row: the least of the rounds."""
    sample = items[:: max(1, len(items) // SAMPLE)]
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name, call in ROWS.items():
            chosen = sample if name == "standard library" else items
            seconds = cpu(call, chosen) / sum(map(len, chosen))
            best[name] = min(best.get(name, seconds), seconds)
    return best


def table(items: Sequence[bytes], rounds: int) -> None:
    """Print the rows for a corpus."""
    sizes = sorted(map(len, items))
    total = sum(sizes)
    median, mean = sizes[len(sizes) // 2] / 1e3, total / len(items) / 1e3
    print(
        f"{len(items):,} reports, {total / 1e6:,.0f} MB, {median:.1f} KB median, {mean:.1f} mean"
    )
    best = compare(items, rounds)
    print(f"{'':18}{'MB/s':>10}{'us a report':>13}{'of sha256':>11}{'times decode':>14}")
    for name, seconds in best.items():
        print(
            f"{name:18}{1e-6 / seconds:10,.0f}{seconds * total / len(items) * 1e6:13.1f}"
            f"{seconds / best['sha256']:11.2f}{seconds / best['decode']:14.1f}"
        )


def fidelity(items: Sequence[bytes]) -> None:
    """Print how many originals come back to the byte, by either route."""
    sample = items[:: max(1, len(items) // SAMPLE)]
    cut = [(raw, bytes(journal.decode(raw).view())) for raw in sample]
    exact = sum(original in raw for raw, original in cut)
    same = sum(standard_library(raw) == original for raw, original in cut)
    print(f"to the byte: decode {exact} of {len(cut)}, standard library {same} of {len(cut)}\n")


def extremes() -> None:
    """Print the CPU time of single reports that are large, long or deep."""
    people = [f"user{number:05}@example.com" for number in range(6_000)]
    large = messages.message(body=b"A" * 76 + b"\r\n")[:-78] + (b"A" * 76 + b"\r\n") * 2_000_000
    deep = b"".join(
        b'From: a@b.example\r\nContent-Type: multipart/mixed; boundary="n%d"\r\n\r\n'
        b"--n%d\r\nContent-Type: message/rfc822\r\n\r\n" % (level, level)
        for level in range(120)
    )
    made = {
        "6,000 recipients": reports.report(recipients=people),
        "12,000 recipients": reports.report(recipients=[*people, *people]),
        "6,000, step by step": reports.report(recipients=people, defects=["unknown_line"]),
        "150 MB original": reports.report(large),
        "150 MB, step by step": reports.report(large, defects=["unknown_line"]),
        "120 levels": reports.report(deep),
    }
    for name, raw in made.items():
        seconds = min(cpu(journal.decode, [raw]) for _ in range(5))
        digest = min(cpu(ROWS["sha256"], [raw]) for _ in range(5))
        print(f"{name:22}{seconds * 1e3:10.2f} ms{digest * 1e3:12.2f} ms sha256")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--reports", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    items = list(corpus.journal_reports(arguments.reports, seed=arguments.seed))
    table(items, arguments.rounds)
    fidelity(items)
    extremes()


if __name__ == "__main__":
    main()
