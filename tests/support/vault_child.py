"""What is traced: a vault that is filled a batch at a time, acknowledging each batch.

    python vault_child.py VAULT ACKS [BUG]

A line in ACKS says that a batch was acknowledged.  It exits with 3 for an error of ours.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from mailarchive import Receipt, UserId
from mailarchive._model import Stored
from mailarchive.errors import MailArchiveError
from mailarchive.vault import Vault, _writer
from mailarchive.vault._disk import Disk
from support.vaults import entries

BATCHES = 5
SIZE = 3
EVERYTHING = entries(BATCHES * SIZE)
PACK = 4096
"""So small that packs are closed and begun on the way, and volumes too."""


def no_sync(self: Disk, handle: int) -> None:
    """Leave out what makes bytes, or names, durable."""
    del handle
    self.fuse("nothing")


BUGS = ("no_fdatasync", "no_folder_sync", "acknowledge_first")


def check(vault: Path, acks: frozenset[int]) -> None:
    """Assert that a vault has what was acknowledged, is whole, and takes the rest once."""
    acknowledged = [each for n in acks for each in EVERYTHING[n * SIZE : (n + 1) * SIZE]]
    with Vault(vault, keys=None) as opened:
        for each in acknowledged:
            receipt = opened.put(each)
            assert isinstance(receipt, Receipt)
            assert receipt.outcome is Stored.PRESENT, "what was acknowledged is gone"
            assert opened.read(receipt) == each.raw
        assert opened.verify("content").findings == ()
        opened.put_many(EVERYTHING)
        seen = [each.content() for each in opened.view(UserId("bob")).messages()]
        assert sorted(seen) == sorted(each.raw for each in EVERYTHING)


def main(vault: str, acks: str, bug: str = "") -> int:
    """Fill the vault; a `bug` is one that a power loss must show."""
    if bug == "no_fdatasync":
        Disk.sync = no_sync  # type: ignore[method-assign]  # the bug that is seeded
    if bug == "no_folder_sync":
        Disk.sync_folder = no_sync  # type: ignore[method-assign]  # the bug that is seeded
    _writer._LITTLE = 0  # small batches too are made durable by the thread that large ones are
    handle = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        with Vault(vault, keys=None, pack_size=PACK, volume_size=PACK) as opened:
            for n in range(BATCHES):
                batch = EVERYTHING[n * SIZE : (n + 1) * SIZE]
                if bug == "acknowledge_first":
                    os.write(handle, b"%d\n" % n)
                opened.put_many(batch)
                if bug != "acknowledge_first":
                    os.write(handle, b"%d\n" % n)
    except MailArchiveError:
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
