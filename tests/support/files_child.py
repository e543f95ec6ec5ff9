"""What is traced: a sink into files that is filled a batch at a time, acknowledging each.

    python files_child.py FOLDER ACKS eml|maildir|mbox [BUG]

A line in ACKS says that a batch was acknowledged.  It exits with 3 for an error of ours.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from mailarchive import Receipt
from mailarchive._model import Stored
from mailarchive.errors import MailArchiveError
from mailarchive.sinks.files import EmlTree, MaildirTree, MboxFile
from support.vaults import entries

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailarchive import Sink

BATCHES = 4
SIZE = 3
EVERYTHING = entries(BATCHES * SIZE)
SINKS: dict[str, Callable[[Path], Sink]] = {
    "eml": EmlTree,
    "maildir": MaildirTree,
    "mbox": lambda folder: MboxFile(folder / "all.mbox"),
}


def check(kind: str, folder: Path, acks: frozenset[int]) -> None:
    """Assert that a sink has what was acknowledged, whole, and takes the rest once."""
    with SINKS[kind](folder) as sink:
        for each in [each for n in acks for each in EVERYTHING[n * SIZE : (n + 1) * SIZE]]:
            receipt = sink.put(each)
            assert isinstance(receipt, Receipt)
            assert receipt.outcome is Stored.PRESENT, "what was acknowledged is gone"
            assert sink.read(receipt) == each.raw
        first = sink.put_many(EVERYTHING)
    with SINKS[kind](folder) as sink:
        for each, receipt, before in zip(
            EVERYTHING, sink.put_many(EVERYTHING), first, strict=True
        ):
            assert isinstance(receipt, Receipt)
            assert isinstance(before, Receipt)
            assert receipt.outcome is Stored.PRESENT, "it was stored a second time"
            assert sink.read(receipt) == sink.read(before) == each.raw


def main(folder: str, acks: str, kind: str, bug: str = "") -> int:
    """Fill the sink; with a `bug` nothing is synced, which a power loss must show."""
    if bug:
        os.fsync = lambda handle: None  # type: ignore[assignment]  # the bug that is seeded
    handle = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        with SINKS[kind](Path(folder)) as sink:
            for n in range(BATCHES):
                sink.put_many(EVERYTHING[n * SIZE : (n + 1) * SIZE])
                os.write(handle, b"%d\n" % n)
    except MailArchiveError:
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
