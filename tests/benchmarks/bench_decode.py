"""What decoding costs beside SHA-256 and beside the standard library's route.

    python tests/benchmarks/bench_decode.py [--reports 2000] [--rounds 5]

The whole corpus is `--reports 20000 --rounds 3`: 1.9 GB, all of it in memory.  CPU
seconds, not wall time, each measured in turn within one run (A B C A B C ...), and the
least of the rounds; figures of different runs are not comparable, their ratios are.

| row | what is done with every report |
|---|---|
| sha256 | the digest of its bytes |
| decode | recognised, cut, the envelope text read, compared with the original's header |
| decode, envelope | and its addresses made into values that compare |
| LF, decode | the same reports with LF line ends, as many a Maildir has them |
| step by step | the same by the long way, which reports with a departure take |
| standard library | parse with `policy.default`, take the message/rfc822 part, serialise |
| ... legacy policy | the same with `policy.compat32`, which knows less and costs less |

The standard library is measured once, on every so many-th report, and compared with what
`decode` took for the very same ones.  Its fidelity is counted: how many originals came
back to the byte.
"""

from __future__ import annotations

import argparse
import email
import email.policy
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
    from email.policy import Policy

SAMPLE = 2_000
"""How many reports are given to the standard library, which takes so much longer."""


def standard_library(raw: bytes, policy: Policy = email.policy.default) -> bytes:
    """Return the original as Python's own parser and generator give it back."""
    part = email.message_from_bytes(raw, policy=policy).get_payload(1)
    assert isinstance(part, Message)
    original = part.get_payload(0)
    assert isinstance(original, Message)
    return original.as_bytes()


OURS: dict[str, Callable[[bytes], object]] = {
    "sha256": lambda raw: hashlib.sha256(raw).digest(),
    "decode": journal.decode,
    "decode, envelope": lambda raw: journal.decode(raw).envelope,
    "step by step": _decode.step_by_step,
}
THEIRS: dict[str, Callable[[bytes], object]] = {
    "standard library": standard_library,
    "... legacy policy": lambda raw: standard_library(raw, email.policy.compat32),
}


def cpu(call: Callable[[bytes], object], items: Sequence[bytes]) -> float:
    """Return the CPU seconds of the call on all items."""
    began = time.process_time()
    for item in items:
        call(item)
    return time.process_time() - began


def least(rows: dict[str, float], name: str, seconds: float) -> None:
    """Keep the least of the rounds."""
    rows[name] = min(rows.get(name, seconds), seconds)


def compare(items: Sequence[bytes], rounds: int) -> dict[str, float]:
    """Return the CPU seconds of each of our rows for all items: the least of the rounds."""
    rows: dict[str, float] = {}
    for _ in range(rounds):
        for name, call in OURS.items():
            least(rows, name, cpu(call, items))
    return rows


def line(name: str, seconds: float, total: int, count: int) -> str:
    """Return the beginning of a row."""
    return f"{name:18}{total / seconds / 1e6:10,.0f}{seconds / count * 1e6:13.1f}"


def table(items: Sequence[bytes], rounds: int) -> None:
    """Print the rows for a corpus."""
    sizes = sorted(map(len, items))
    total = sum(sizes)
    median, mean = sizes[len(sizes) // 2] / 1e3, total / len(items) / 1e3
    print(
        f"{len(items):,} reports, {total / 1e6:,.0f} MB, {median:.1f} KB median, {mean:.1f} mean"
    )
    rows = compare(items, rounds)
    print(f"{'':18}{'MB/s':>10}{'us a report':>13}{'of sha256':>11}{'times decode':>14}")
    for name, seconds in rows.items():
        of_digest, of_decode = seconds / rows["sha256"], seconds / rows["decode"]
        print(f"{line(name, seconds, total, len(items))}{of_digest:11.2f}{of_decode:14.1f}")
    against(items[:: max(1, len(items) // SAMPLE)])


def against(sample: Sequence[bytes]) -> None:
    """Print the rows that are measured on a sample, against ours for the very same bytes."""
    ours = compare(sample, 3)
    with_lf = [raw.replace(b"\r\n", b"\n") for raw in sample]
    rows = {"LF, decode": min(cpu(journal.decode, with_lf) for _ in range(3))}
    rows.update({name: cpu(call, sample) for name, call in THEIRS.items()})
    for name, seconds in rows.items():
        begin = line(name, seconds, sum(map(len, sample)), len(sample))
        print(f"{begin}{seconds / ours['sha256']:11.2f}{seconds / ours['decode']:14.1f}")


def fidelity(items: Sequence[bytes]) -> None:
    """Print how many originals come back to the byte, by either route."""
    sample = items[:: max(1, len(items) // 150)]
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
        digest = min(cpu(OURS["sha256"], [raw]) for _ in range(5))
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
