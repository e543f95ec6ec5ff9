"""`mailarchive quarantine`: list, read and release what could not be archived."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mailarchive._cli import FAILED, OK, _vaults
from mailarchive._cli._text import columns, counted, safe, size
from mailarchive._model import UserId
from mailarchive.archiver import release
from mailarchive.errors import ConfigurationError, StateError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mailarchive.quarantine import QuarantineFolder

SHORT = 12
"""How many digits of an id are shown; any unique beginning will do to name it."""


def quarantine(
    path: Path,
    *,
    read: str | None = None,
    let_go: str | None = None,
    owners: Sequence[str] = (),
    new_user: bool = False,
) -> int:
    """List the quarantine of a vault, print one message, or archive it after all."""
    if owners and let_go is None:
        raise ConfigurationError(
            "--owner says whose a message is that is released", suggestions=["give --release ID"]
        )
    folder = _vaults.quarantine_of(path)
    if read is not None:
        sys.stdout.buffer.write(folder.read(_full(folder, read)).raw)
        return OK
    if let_go is not None:
        them = [UserId(each) for each in owners]
        return _release(path, folder, _full(folder, let_go), them, new_user=new_user)
    rows = [
        (each.id[:SHORT], f"{each.held_at:%Y-%m-%d %H:%M}", size(each.size), safe(each.reason))
        for each in folder.list()
    ]
    faults = folder.verify(contents=False)  # reading each message is for `mailarchive verify`
    if rows or not faults:
        print(columns(rows) if rows else "Nothing is quarantined.")
    if faults:
        broken = counted(len(faults), "message")
        print(f"{broken} not as held: see mailarchive verify {safe(str(path))}")
    return FAILED if faults else OK


def _full(folder: QuarantineFolder, beginning: str) -> str:
    found = [each.id for each in folder.list() if each.id.startswith(beginning.lower())]
    if len(found) == 1 and beginning:
        return found[0]
    raise StateError(
        "several quarantined messages have ids that begin so"
        if found
        else "no quarantined message has such an id",
        suggestions=["list the ids with: mailarchive quarantine VAULT"],
    )


def _release(
    path: Path, folder: QuarantineFolder, id_: str, owners: Sequence[UserId], *, new_user: bool
) -> int:
    with _vaults.opened(path, create=False) as vault:
        if not new_user:
            _vaults.refuse_strangers(vault, owners, "or say --new-user")
        receipt = release(folder.read(id_), vault, owners)
        folder.release(id_, receipt)
    whose = ", ".join(safe(owner) for owner in owners) or "nobody: only an auditor sees it"
    print(f"{id_[:SHORT]} is archived at {receipt.location}, for {whose}.")
    return OK
