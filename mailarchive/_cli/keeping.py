"""What stays and what goes: `hold`, `release`, `retain`, `kept`, `expired` and `erase`."""

from __future__ import annotations

import sys
from itertools import chain
from typing import TYPE_CHECKING

from attrs import frozen

from mailarchive._cli import OK, _vaults
from mailarchive._cli._text import columns, counted, safe, size
from mailarchive.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from pathlib import Path

    from mailarchive.vault import Candidate, Hold, Keeper, Retention, Selection, Vault

_OWNERS = 4
"""How many owners of a message are named in a list."""


@frozen
class Act:
    """In which vault, by whom and why."""

    vault: Path
    actor: str
    reason: str

    def open(self, *, read_only: bool = False) -> Vault:
        """Return the vault, which must be there."""
        return _vaults.opened(self.vault, create=False, read_only=read_only)

    def keeper(self, vault: Vault) -> Keeper:
        """Return the way to decide, in the actor's name."""
        return vault.keeper(self.actor, self.reason)


def hold(act: Act, matter: str, selection: Selection, known: Sequence[str]) -> int:
    """Put mail under a legal hold; those in `known` must own something."""
    with act.open() as vault:
        _vaults.refuse_strangers(vault, known, "or say --new-user")
        act.keeper(vault).hold(matter, selection)
    print(f"Held for {safe(matter)}: {_selected(selection)}.")
    return OK


def release(act: Act, matter: str) -> int:
    """End all holds of a matter."""
    with act.open() as vault:
        ended = act.keeper(vault).release(matter)
    print(f"{counted(len(ended), 'hold')} of {safe(matter)} released.")
    return OK


def retain(
    act: Act,
    selection: Selection,
    known: Sequence[str],
    *,
    until: datetime | None,
    days: int | None,
) -> int:
    """Say how long mail is kept, and what of it may be erased at once."""
    with act.open() as vault:
        _vaults.refuse_strangers(vault, known, "or say --new-user")
        keeper = act.keeper(vault)
        keeper.retain(selection, until=until, days=days)
        print(f"Kept {_how_long(until, days)}: {_selected(selection)}.")
        if selection.users is not None:
            print("  What others own too stays until it is said how long theirs is kept.")
        over = sum(1 for _ in keeper.expired(selection))  # it is on record, whatever this says
    if over:
        print(f"  {counted(over, 'message')} of it may be erased now, each for all of its owners:")
        print("  mailarchive expired lists them; saying a longer time keeps them.")
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
    """List the entries that may be erased, and what a person can judge them by."""
    with _vaults.opened(path, create=False, read_only=True) as vault:
        found = tuple(vault.keeper("list", "list").expired())
    if found:
        print(_listed(found))
    else:  # the list itself is empty: nothing for whatever reads it
        words = "Nothing may go: no retention is over for all owners, or a hold is in force."
        print(words, file=sys.stderr)
    return OK


def erase(act: Act, ids: Sequence[str], *, all_expired: bool, dry_run: bool) -> int:
    """Erase entries for good, or list what would be."""
    if not ids and not all_expired:
        raise ConfigurationError(
            "what is to be erased must be said", suggestions=["give ids, or --expired"]
        )
    with act.open(read_only=dry_run) as vault:
        keeper = act.keeper(vault)
        named = dict.fromkeys(keeper.entry(each) for each in ids)
        going = {it.id: it for it in keeper.candidates(*named)}
        before = len(named) - len(going)
        going |= {it.id: it for it in keeper.expired()} if all_expired else {}
        done = keeper.erase(*going) if going and not dry_run else None
    if dry_run:
        print(_listed(going.values()) if going else "Nothing would be erased.")
    elif going or not before:
        gone = 0 if done is None else len(done.overwritten)
        print(f"{counted(len(going), 'message')} erased, {gone:,} of them overwritten.")
    if before:
        print(f"{counted(before, 'message')} had been erased already.")
    return OK


def _listed(entries: Collection[Candidate]) -> str:
    """Return what may be erased: id, date, size and owners, and how many there are."""
    rows = [(it.id.hex[:12], f"{it.at:%Y-%m-%d}", size(it.size), _owners(it)) for it in entries]
    users = len(frozenset(chain.from_iterable(it.owners for it in entries)))
    octets = size(sum(it.size for it in entries))
    count = counted(len(entries), "message")
    total = f"{count}, {octets}, of {counted(users, 'user')}: each goes for all of its owners."
    return f"{columns(rows)}\n{total}"


def _owners(it: Candidate) -> str:
    shown = sorted(it.owners)[:_OWNERS]
    more = len(it.owners) - len(shown)
    return ", ".join([*map(safe, shown), *([f"{more:,} more"] if more else [])]) or "nobody"


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
