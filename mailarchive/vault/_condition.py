"""Which entries may go, as a condition for the index to look for.  Pure.

Decisions are never taken back, so there may be any number of them, while SQLite bounds how
deep an expression is and how many values it takes: what is alike becomes one condition, the
others are joined in halves, and a set of ids is one value.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import evolve

from mailarchive.vault import _keeping, _knowledge
from mailarchive.vault._apply import user_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from mailarchive._model import Digest
    from mailarchive.vault._keeping import Decisions, Retention, Selection

    Name: TypeAlias = Callable[[Digest], Digest]
    """Gives what the index calls an entry."""

Condition: TypeAlias = "tuple[str, list[Any]]"
"""A condition on an entry `e` of a batch `b`, and its values in the same order."""

_OWNER = "SELECT 1 FROM owner o JOIN user u ON u.n = o.user WHERE o.entry = e.n"
_DAY = 86_400_000_000
"""Microseconds of a day."""


def over(decisions: Decisions, now: datetime, name: Name) -> Condition:
    """Return the condition that an entry may go.

    Nothing holds or keeps it any more, and somebody said how long it is kept: of all mail
    like it, or else of the mail of each of its owners.
    """
    rules = decisions.retentions
    said = _keeping.merged(it.selection for it in rules)
    held = _keeping.merged(it.selection for it in decisions.holds)
    kept, values = _any_of([*_lasting(rules, now, name), *(covered(it, name) for it in held)])
    some, of_some = _any_of(covered(it, name) for it in said if it.users is None)
    spoken, of_spoken = _any_of(_means(it, name) for it in said)
    each = f"(EXISTS ({_OWNER}) AND NOT EXISTS ({_OWNER} AND NOT {spoken}))"
    return f"(NOT {kept} AND ({some} OR {each}))", [*values, *of_some, *of_spoken]


def covered(selection: Selection, name: Name) -> Condition:
    """Return the condition that a selection covers an entry."""
    clauses, values = ["1"], list[Any]()
    if selection.users is not None:
        owner, values = _owner(selection)
        clauses.append(f"EXISTS ({_OWNER} AND {owner})")
    for bound, sign in ((selection.since, ">="), (selection.until, "<")):
        if bound is not None:
            clauses.append(f"e.at {sign} ?")
            values.append(_knowledge.moment(bound))
    if selection.entries is not None:
        among, ids = _among("e.id", (name(each).value for each in selection.entries))
        clauses.append(among)
        values += ids
    return f"({' AND '.join(clauses)})", values


def _means(selection: Selection, name: Name) -> Condition:
    """The condition that it covers an entry, and means its owner `u` by doing so."""
    covers, values = covered(evolve(selection, users=None), name)
    if selection.users is None:
        return covers, values
    owner, users = _owner(selection)
    return f"({covers} AND {owner})", values + users


def _owner(selection: Selection) -> Condition:
    """The condition that `u` is one of the users, who are given."""
    return _among("u.id", map(user_bytes, selection.users or ()))


def _among(column: str, ids: Iterable[bytes]) -> Condition:
    """The condition that a column has one of these ids: one value, however many they are."""
    written = json.dumps(sorted(each.hex().upper() for each in ids))
    return f"HEX({column}) IN (SELECT value FROM json_each(?))", [written]  # noqa: S608 - a constant


def _lasting(rules: Iterable[Retention], now: datetime, name: Name) -> list[Condition]:
    """The conditions of which one is true of what is still kept by a rule.

    What does not depend on when a message was archived is alike, whatever its end is.
    """
    alike: dict[int | None, list[Selection]] = {}
    for it in rules:
        if (it.until is None and it.days is None) or (it.until is not None and it.until > now):
            alike.setdefault(None, []).append(it.selection)
        elif it.days is not None:
            alike.setdefault(it.days, []).append(it.selection)
    found = list[Condition]()
    for days, selections in alike.items():
        words, values = _any_of(covered(each, name) for each in _keeping.merged(selections))
        if days is not None:
            words = f"({words} AND b.at + ? > ?)"
            values += [days * _DAY, _knowledge.moment(now)]
        found.append((words, values))
    return found


def _any_of(conditions: Iterable[Condition]) -> Condition:
    """The condition that one of these is true."""
    several = list(conditions)
    values = [value for _, some in several for value in some]
    return _either([words for words, _ in several]), values


def _either(words: list[str]) -> str:
    """These joined by OR in halves: in one row they are as deep as they are many."""
    if len(words) <= 1:
        return words[0] if words else "0"
    half = len(words) // 2
    return f"({_either(words[:half])} OR {_either(words[half:])})"
