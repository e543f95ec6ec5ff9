"""Make the vault of format 1 that every later release must read: `python make_vault.py FOLDER`.

It was run once, when the format was settled; what it wrote is in tests/corpus/vaults and is
never made again.  A later format gets a vault of its own beside it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.old_vaults import told
from support.vaults import Clock, entries, entry, journaled, mail, to

from mailarchive import Fidelity, Provenance, UserId
from mailarchive.users import StaticMap
from mailarchive.vault import FileSigner, Selection, Vault

if TYPE_CHECKING:
    from datetime import datetime

FOLDER = Path(__file__).parent / "vaults" / "format-1"


def make(folder: Path) -> None:
    """Write a vault with one of everything, its signer, and what it says."""
    clock = Clock()

    def tick() -> datetime:
        clock.advance(seconds=1)
        return clock()

    signer = FileSigner(folder / "signer")
    with Vault(folder / "vault", keys=None, pack_size=12_000, clock=tick) as vault:
        vault.put_many(entries(3))
        vault.put_many(entries(1, source="again"))
        vault.put(journaled(mail(50), [to("bob@example.com")], key="50"))
        vault.put(journaled(mail(51), [to("bob@example.com")], key="51", encoded=True))
        vault.seal(signer)
        vault.put(entry(mail(52, extra=b"Bcc: eve@example.com\r\n"), key="52"))
        vault.put(entry(mail(53), key="53", owners={}, unresolved=("carol@example.com",)))
        rendered = Provenance(Fidelity.RENDERED, is_report=True, defects=("strange",))
        vault.put(entry(mail(54), key="54", provenance=rendered, owners={"\udc80 ü": ()}))
        (first, *_) = vault.auditor("Ada Auditor", "request 2026-17").entries()
        vault.reattribute(StaticMap({"carol@example.com": "carol"}))
        keeper = vault.keeper("officer", "case 7")
        keeper.hold("M-1", Selection(users=[UserId("alice")]))
        keeper.release("M-1")
        keeper.retain(Selection(users=[UserId("carol")]), days=3650)
        keeper.erase(first.id)
        vault.seal(signer)
        message = next(vault.view(UserId("bob")).messages(text="message 2"))
        (folder / "message.eml").write_bytes(message.content())
        (folder / "message.tlog-proof").write_text(message.proof().text(), "utf-8")
        (folder / "key.txt").write_text(f"{signer.verifier(vault.origin)}\n")
        vault.put(entry(mail(60), key="60"))
    with Vault(folder / "vault", clock=tick) as vault:
        (folder / "told.json").write_text(json.dumps(told(vault), indent=1, sort_keys=True) + "\n")
    for derived in (folder / "vault").rglob("*.db*"):
        derived.unlink()


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    if target.exists():
        sys.exit(f"{target} is there already, and is never made again")
    target.mkdir(parents=True)
    make(target)
    sys.stdout.write(f"{sum(f.stat().st_size for f in target.rglob('*') if f.is_file())} bytes\n")
