"""Searching a vault: how fast words are taken in, and how soon an answer is there.

    python tests/benchmarks/bench_search.py --count 200000

One user owns half of the messages, ten others share the rest.  Each message has about a
hundred words, drawn so that some are in every message and some in a handful.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from mailarchive import Fidelity, Folder, MessageRef, Owner, Ownership, SourceMessage, UserId
from mailarchive._storing import make_entry
from mailarchive.decoding import ordinary
from mailarchive.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Unpack

    from mailarchive import ArchiveEntry
    from mailarchive.vault import Filters, View, ViewedMessage

_WORDS = 20_000
_FIRST = datetime(2026, 6, 1, tzinfo=UTC)
_BIG = UserId("user0")


def mails(count: int) -> Iterator[bytes]:
    """Yield small messages; word `w<k>` is in about one of k messages."""
    random = Random(1)
    for n in range(count):
        owner = 0 if n % 2 else 1 + random.randrange(10)
        words = " ".join(f"w{int(_WORDS ** random.random())}" for _ in range(100))
        rare = f"needle{n // 20}" if n % 1000 == 1 else ""
        yield (
            f"From: user{owner}@example.com\r\nTo: user{owner}@example.com\r\n"
            f"Subject: Message {n} everywhere\r\nMessage-ID: <{n}@example.com>\r\n"
            f"Date: {format_datetime(_FIRST + timedelta(seconds=n))}\r\n\r\n"
            f"{words} {rare}\r\n"
        ).encode()


def entry(n: int, raw: bytes) -> ArchiveEntry:
    """Return the entry of a message that belongs to its sender."""
    decoded = ordinary(raw)
    sender = decoded.envelope.sender
    assert sender is not None
    owner = Owner(UserId(sender.spec.partition("@")[0]), frozenset({sender}))
    message = SourceMessage(MessageRef("bench", "INBOX", str(n)), raw)
    return make_entry(
        message,
        decoded,
        Ownership((owner,)),
        folder=Folder("INBOX", ("INBOX",)),
        fidelity=Fidelity.WIRE,
    )


def fill(vault: Vault, count: int) -> None:
    """Put the messages, each owned by the one whom it names."""
    source = enumerate(mails(count))
    while batch := [entry(*each) for each in islice(source, 500)]:
        vault.put_many(batch)


def timed(work: Callable[[], object], rounds: int = 7) -> float:
    """Return the median of some runs in milliseconds."""
    took = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return statistics.median(took) * 1000


def _page(view: View, **filters: Unpack[Filters]) -> list[ViewedMessage]:
    return list(view.messages(limit=50, **filters))


def take_in(vault: Vault, count: int, file: Path) -> None:
    """Print how fast words are taken in, and what they take up."""
    start, cpu = time.perf_counter(), time.process_time()
    vault.update_search()
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    size = f"{file.stat().st_size / 1e6:.1f} MB"
    print(f"taken in: {count / wall:,.0f} messages/s, {cpu:.1f} s CPU, {size}")


_QUESTIONS = (
    ("a word of a handful", "needle50"),
    ("a word of one in 5,000", "w5000"),
    ("a word of one in 50", "w50"),
    ("a word of every message", "everywhere"),
    ("two words of many", "w1 w2"),
    ("a phrase", '"w1 w1"'),
    ("a beginning", "w19*"),
    ("no word of any", "nowhere"),
)


def ask(view: View) -> None:
    """Print how long answers take: the first page, and the number of all."""
    print(f"{'no filter':26} {timed(partial(_page, view)):8.1f} ms a page")
    for name, words in _QUESTIONS:
        page = timed(partial(_page, view, words=words))
        count = timed(partial(view.count, words=words), 3)
        number = view.count(words=words)
        print(f"{name:26} {page:8.1f} ms a page  {count:8.1f} ms to count {number:,}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--folder")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=arguments.folder) as folder,
        Vault(Path(folder, "vault"), keys=None, read_back=False) as vault,
    ):
        fill(vault, arguments.count)
        take_in(vault, arguments.count, Path(folder, "vault/volumes/0001/fts.db"))
        ask(vault.view(_BIG))


if __name__ == "__main__":
    main()
