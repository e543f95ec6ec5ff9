"""What is traced: a vault that is filled and sealed by turns, acknowledging each seal.

    python seal_child.py VAULT ACKS [BUG]

The signer is in a folder beside the vault.  A line in ACKS says that a seal was given.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from mailarchive.vault import FileSigner, Vault
from mailarchive.vault._log import LogFolder
from support.vaults import entries

SEALS = 3
SIZE = 3
EVERYTHING = entries(SEALS * SIZE)


def forgetful(self: LogFolder) -> None:
    """Leave out what makes the names in the log durable."""
    self._touched.clear()


def check(vault: Path, acks: frozenset[int]) -> None:
    """Assert that every seal that was given stands, and that the next one continues it."""
    key = vault.parent / "signer" / "key.pem"
    if key.exists():
        key.chmod(0o600)
    signer = FileSigner(vault.parent / "signer")
    for derived in vault.rglob("index.db*"):
        derived.unlink()  # what is asked here is what packs, log and signer are left with
    with Vault(vault, keys=None) as opened:
        sizes = [each.size for each in opened.checkpoints()]
        for n in acks:
            assert (n + 1) * (SIZE + 1) in sizes, "a seal that was given is gone"
        known = {*opened.checkpoints(), signer.latest(opened.origin)} - {None}
        opened.put_many(EVERYTHING)
        made = opened.seal(signer).checkpoint
        for each in known:
            assert each is not None
            opened.consistency(each, made).check(key=signer.verifier(opened.origin))
        opened.rebuild()  # tiles that were never synced are made anew from the packs
        assert opened.verify("log").findings == ()


def main(vault: str, acks: str, bug: str = "") -> int:
    """Fill and seal; a `bug` is one that a power loss must show."""
    if bug:
        LogFolder.settle = forgetful  # type: ignore[method-assign]  # the bug that is seeded
    handle = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    signer = FileSigner(Path(vault).parent / "signer")
    with Vault(vault, keys=None) as opened:
        for n in range(SEALS):
            opened.put_many(EVERYTHING[n * SIZE : (n + 1) * SIZE])
            opened.seal(signer)
            os.write(handle, b"%d\n" % n)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
