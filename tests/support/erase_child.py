"""What is traced: an encrypted vault that is filled, and of which some is erased.

    python erase_child.py VAULT ACKS [BUG]

A line in ACKS says that a batch was acknowledged, or after all of them an erasure.  It exits
with 3 for an error of ours.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from mailarchive import Receipt, UserId, _crypt
from mailarchive._model import Stored
from mailarchive.errors import MailArchiveError
from mailarchive.vault import Vault, _writer
from support.vaults import entries

if TYPE_CHECKING:
    from mailarchive import ArchiveEntry

BATCHES = 3
SIZE = 3
EVERYTHING = entries(BATCHES * SIZE)
ERASURES = (EVERYTHING[1:2], [EVERYTHING[4], EVERYTHING[8]])
"""What is erased, one after the other; each as a whole or not at all."""
PACK = 4096
"""So small that packs are closed and begun on the way, and volumes too."""


class KnownKeys:
    """Keys that follow from nothing secret, so that none has to survive beside the vault."""

    def wrap(self, owner: UserId | None, key: bytes) -> bytes:
        """Return the key, encrypted."""
        return _crypt.encrypt(self._of(owner), key, b"known")

    def unwrap(self, owner: UserId | None, wrapped: bytes) -> bytes:
        """Return the key that was wrapped."""
        return _crypt.decrypt(self._of(owner), wrapped, b"known")

    def _of(self, owner: UserId | None) -> bytes:
        return _crypt.derive(bytes(_crypt.KEY), (owner or "").encode())


def opened_vault(vault: str | Path) -> Vault:
    """Return the vault of the run, not yet open."""
    return Vault(vault, keys=KnownKeys(), pack_size=PACK, volume_size=PACK)


def check(vault: Path, acks: frozenset[int]) -> None:
    """Assert that what was acknowledged is there or erased for good, and that all goes on."""
    acknowledged = [each for n in acks for each in EVERYTHING[n * SIZE : (n + 1) * SIZE]]
    with opened_vault(vault) as opened:
        gone = {each.id for each in acknowledged if not is_there(opened, each)}
        for n, erased in enumerate(ERASURES, BATCHES):
            ids = {each.id for each in erased}
            assert ids <= gone or n not in acks, "what was erased is there"
            assert ids <= gone or not ids & gone, "an erasure was done by half"
        assert opened.verify("content").findings == ()
        opened.put_many(EVERYTHING)
        erase(opened)
        kept = [each.raw for each in EVERYTHING if not any(each in them for them in ERASURES)]
        seen = [each.content() for each in opened.view(UserId("bob")).messages()]
        assert sorted(seen) == sorted(kept)
        assert opened.verify("content").findings == ()


def is_there(opened: Vault, each: ArchiveEntry) -> bool:
    """Whether an entry is there, whole; if not it was erased, and no key of it is left."""
    (answer,) = opened.put_many([each])
    if isinstance(answer, Receipt):
        assert answer.outcome is Stored.PRESENT, "what was acknowledged is gone"
        assert opened.read(answer) == each.raw
        return True
    assert opened.keeper("me", "to check").status(each.id).erased
    session = opened._opened()
    assert session.encryption is not None
    assert session.encryption.keys.of([session.index.name(each.id).value]) == []
    return False


def erase(opened: Vault, acks: int | None = None) -> None:
    """Erase what is to be, and acknowledge it."""
    for n, erased in enumerate(ERASURES, BATCHES):
        opened.keeper("counsel", "request").erase(*(each.id for each in erased))
        if acks is not None:
            os.write(acks, b"%d\n" % n)


def main(vault: str, acks: str, bug: str = "") -> int:
    """Fill the vault and erase; a `bug` is one that a power loss must show."""
    _writer._LITTLE = 0  # small batches too are made durable by the thread that large ones are
    handle = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        with opened_vault(vault) as opened:
            if bug:
                encryption = opened._opened().encryption
                assert encryption is not None
                encryption.keys._db.execute("PRAGMA synchronous = OFF")
            for n in range(BATCHES):
                opened.put_many(EVERYTHING[n * SIZE : (n + 1) * SIZE])
                os.write(handle, b"%d\n" % n)
            erase(opened, handle)
    except MailArchiveError:
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
