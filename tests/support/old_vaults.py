"""What a vault says to everybody who may ask it, as plain values that can be kept for years."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from mailarchive.errors import MailArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailarchive.vault import Vault

READER = "reader"
"""Who looks; what it leaves behind is not told."""


def told(vault: Vault) -> dict[str, Any]:
    """Return what each user sees and reads, and what an auditor does."""
    auditor = vault.auditor(READER, "to see whether it can still be read")
    return {
        "users": {
            user: [
                {
                    "key": each.key,
                    "subject": each.subject,
                    "sender": None if each.sender is None else each.sender.spec,
                    "recipients": [str(r.address.spec) for r in each.recipients],
                    "redacted": each.redacted,
                    "copies": each.copies,
                    "content": _digest(each.content),
                }
                for each in vault.view(user).messages()
            ]
            for user in sorted(auditor.users())
        },
        "entries": [
            {
                "id": each.id.hex,
                "raw": each.raw_digest.hex,
                "bytes": _digest(each.raw),
                "content": _digest(each.content),
                "owners": sorted(owner.user for owner in each.ownership.owners),
                "source": each.copy.source,
            }
            for each in auditor.entries()
        ],
        "readings": [[it.actor, it.reason] for it in auditor.readings() if it.actor != READER],
        "log": [each.to_bytes().decode() for each in vault.checkpoints()],
    }


def _digest(read: Callable[[], bytes]) -> str:
    """The digest of what can be read, or the class of the error."""
    try:
        return hashlib.sha256(read()).hexdigest()
    except MailArchiveError as error:
        return type(error).__name__
