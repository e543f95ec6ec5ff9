"""What stays and what goes: `hold`, `release`, `retain`, `kept`, `expired` and `erase`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from attrs import frozen

from mailarchive._cli import OK, _vaults
from mailarchive._cli._text import columns, counted, safe
from mailarchive.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from mailarchive.vault import Hold, Keeper, Retention, Selection, Vault


@frozen
class Act:
    """In which vault, by whom and why."""

    vault: Path
    actor: str
    reason: str

    def open(self) -> Vault:
        """Return the vault, which must be there."""
        return _vaults.opened(self.vault, create=False)

    def keeper(self, vault: Vault) -> Keeper:
        """Return the way to decide, in the actor's name."""
        return vault.keeper(self.actor, self.reason)


def hold(act: Act, matter: str, selection: Selection) -> int:
    """Put mail under a legal hold."""
    with act.open() as vault:
        act.keeper(vault).hold(matter, selection)
        notes = _strangers(vault, selection)
    print(f"Held for {safe(matter)}: {_selected(selection)}.", *notes, sep="\n")
    return OK


def release(act: Act, matter: str) -> int:
    """End all holds of a matter."""
    with act.open() as vault:
        ended = act.keeper(vault).release(matter)
    print(f"{counted(len(ended), 'hold')} of {safe(matter)} released.")
    return OK


def retain(act: Act, selection: Selection, *, until: datetime | None, days: int | None) -> int:
    """Say how long mail is kept."""
    with act.open() as vault:
        act.keeper(vault).retain(selection, until=until, days=days)
        notes = _strangers(vault, selection)
    print(f"Kept {_how_long(until, days)}: {_selected(selection)}.", *notes, sep="\n")
    return OK


def kept(path: Path) -> int:
    """List the holds that stand, and everything that was said about retention."""
    with _vaults.opened(path, create=False, read_only=True) as vault:
        keeper = vault.keeper("list", "list")
        holds = [
            (f"{it.at:%Y-%m-%d}", f"held for {safe(it.matter)}", _selected(it.selection), _by(it))
            for it in keeper.holds()
        ]
        rules = [
            (
                f"{it.at:%Y-%m-%d}",
                f"kept {_how_long(it.until, it.days)}",
                _selected(it.selection),
                _by(it),
            )
            for it in keeper.retentions()
        ]
    print(columns(holds + rules) if holds or rules else "Nothing was decided: all is kept.")
    return OK


def expired(path: Path) -> int:
    """List the entries that may be erased, an id a line."""
    with _vaults.opened(path, create=False, read_only=True) as vault:
        found = [entry.hex for entry in vault.keeper("list", "list").expired()]
    if not found:  # not where a program reads ids
        print("No retention is over, or a hold is in force.", file=sys.stderr)
    for each in found:
        print(each)
    return OK


def erase(act: Act, ids: Sequence[str], *, all_expired: bool) -> int:
    """Erase entries for good."""
    if not ids and not all_expired:
        raise ConfigurationError(
            "what is to be erased must be said", suggestions=["give ids, or --expired"]
        )
    with act.open() as vault:
        keeper = act.keeper(vault)
        entries = [keeper.entry(each) for each in ids]
        entries += keeper.expired() if all_expired else ()
        done = keeper.erase(*entries) if entries else None
    gone = 0 if done is None else len(done.overwritten)
    print(f"{counted(len(entries), 'message')} erased, {gone:,} of them overwritten.")
    return OK


def _strangers(vault: Vault, selection: Selection) -> list[str]:
    """A word about each user who owns nothing: perhaps the id was misspelt."""
    return [
        f"  {safe(user)} owns nothing yet: is this the id? What comes later is covered."
        for user in sorted(selection.users or ())
        if not vault.view(user).count()
    ]


def _selected(selection: Selection) -> str:
    parts = []
    if selection.users is not None:
        parts.append("mail of " + ", ".join(safe(each) for each in sorted(selection.users)))
    if selection.entries is not None:
        parts.append(counted(len(selection.entries), "message"))
    if selection.since is not None:
        parts.append(f"since {selection.since:%Y-%m-%d}")
    if selection.until is not None:
        parts.append(f"before {selection.until:%Y-%m-%d}")
    return " ".join(parts) or "all mail"


def _how_long(until: datetime | None, days: int | None) -> str:
    if until is None and days is None:
        return "for ever"
    words = [] if until is None else [f"until {until:%Y-%m-%d}"]
    words += [] if days is None else [counted(days, "day")]
    return " and ".join(words)


def _by(it: Hold | Retention) -> str:
    return f"by {safe(it.actor)}: {safe(it.reason)}"
