"""How long mail is kept, and what may not go: retention and legal holds, as facts.  Pure.

A hold covers everything that its selection does, mail that comes later too, until the
matter is released.  Retention can only be extended: of all that was ever said of a
message the longest counts.  What was said of one owner's mail lets nothing go that is
another's too.  A hold wins over everything.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import evolve, field, frozen
from attrs.validators import ge, optional

from mailarchive._model import Digest, UserId, one_spelling
from mailarchive.errors import ConfigurationError
from mailarchive.vault import _knowledge, _loading
from mailarchive.vault._apply import user_bytes
from mailarchive.vault._manifest import BAD_JSON, HELD, RELEASED, RETAINED, Fact

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from mailarchive.vault._record import Json

Condition: TypeAlias = "tuple[str, list[Any]]"
"""A condition on an entry `e` of a batch `b`, and its values in the same order."""

_OWNER = "SELECT 1 FROM owner o JOIN user u ON u.n = o.user WHERE o.entry = e.n"
_DAY = 86_400_000_000
"""Microseconds of a day."""
_MOST_DAYS = date.max.toordinal()
"""Days that a calendar has; what is kept for more of them is kept for ever."""
_MOST_ENTRIES = 10_000


def _set_of(values: Iterable[Any] | None) -> frozenset[Any] | None:
    if isinstance(values, str | bytes):  # it would be taken for what its letters name
        raise ConfigurationError(
            "a selection takes a collection of users, or of entries, and was given one text",
            suggestions=["give a list of ids, also where it is one"],
        )
    return None if values is None else frozenset(values)


@frozen
class Selection:
    """Which messages are meant: those that everything given here is true of.

    `users` own it, one of them at least; `since` (included) and `until` (not) are aware
    times, by the message's own date but no later than its arrival; `entries` are ids of
    entries.  With nothing given it is all mail, what is still to come included.
    """

    users: frozenset[UserId] | None = field(
        default=None, converter=_set_of, repr=lambda it: f"<{len(it or ())}>"
    )
    since: datetime | None = None
    until: datetime | None = None
    entries: frozenset[Digest] | None = field(
        default=None, converter=_set_of, repr=lambda it: f"<{len(it or ())}>"
    )

    def dump(self) -> Json:
        """Return the selection as a tree for JSON."""
        tree = {
            "users": None if self.users is None else sorted(self.users),
            "since": None if self.since is None else self.since.isoformat(),
            "until": None if self.until is None else self.until.isoformat(),
            "entries": None if self.entries is None else sorted(e.hex for e in self.entries),
        }
        return {name: value for name, value in tree.items() if value is not None}

    @classmethod
    def load(cls, tree: Json) -> Selection:
        """Return what `dump` wrote; raises one of `BAD_JSON`."""
        users, entries = tree.get("users"), tree.get("entries")
        return cls(
            None if users is None else [UserId(str(each)) for each in _list(users)],
            _time(tree.get("since")),
            _time(tree.get("until")),
            None if entries is None else [_loading.digest(each) for each in _list(entries)],
        )

    def covers(
        self, entry: Digest, owners: Collection[bytes] | None, at: int | None
    ) -> bool | None:
        """Whether it covers an entry of these owners and this time, as the index has them.

        `None` where that depends on what is not known.
        """
        if self.entries is not None and entry not in self.entries:
            return False
        if owners is None or at is None:
            closed = (self.users, self.since, self.until) != (None, None, None)
            return None if closed else True
        since, until = self.since, self.until
        return (
            (self.users is None or any(user_bytes(each) in owners for each in self.users))
            and (since is None or at >= _knowledge.moment(since))
            and (until is None or at < _knowledge.moment(until))
        )

    def condition(self, name: Callable[[Digest], Digest]) -> Condition:
        """Return the selection as a condition; `name` gives what the index calls an entry."""
        clauses, values = ["1"], list[Any]()
        if self.users is not None:
            owner, values = self._owner()
            clauses.append(f"EXISTS ({_OWNER} AND {owner})")
        for bound, sign in ((self.since, ">="), (self.until, "<")):
            if bound is not None:
                clauses.append(f"e.at {sign} ?")
                values.append(_knowledge.moment(bound))
        if self.entries is not None:
            clauses.append(f"e.id IN ({','.join('?' * len(self.entries))})")
            values += sorted(name(each).value for each in self.entries)
        return f"({' AND '.join(clauses)})", values

    def names(self, name: Callable[[Digest], Digest]) -> Condition:
        """Return the condition that it covers an entry, and means its owner `u` by doing so."""
        covers, values = evolve(self, users=None).condition(name)
        if self.users is None:
            return covers, values
        owner, users = self._owner()
        return f"({covers} AND {owner})", values + users

    def _owner(self) -> Condition:
        """The condition that `u` is one of the users, who are given."""
        users = sorted(map(user_bytes, self.users or ()))
        return f"u.id IN ({','.join('?' * len(users))})", users


@frozen
class Hold:
    """That what is selected may not be erased, for the sake of a matter."""

    matter: str = field(repr=False, converter=one_spelling)
    selection: Selection
    actor: str = field(repr=False)
    reason: str = field(repr=False)
    at: datetime

    def fact(self) -> Fact:
        """Return the hold as a fact."""
        return Fact(
            HELD,
            {
                "matter": self.matter,
                "selection": self.selection.dump(),
                **_who(self.actor, self.reason, self.at),
            },
        )

    @classmethod
    def load(cls, fact: Fact) -> Hold:
        """Return the hold that a fact states; raises one of `BAD_JSON`."""
        body = fact.body
        return cls(str(body["matter"]), Selection.load(body["selection"]), *_load_who(body))


@frozen
class Retention:
    """That what is selected is kept: until a time, or for `days` after it was archived."""

    selection: Selection
    until: datetime | None
    days: int | None = field(validator=optional(ge(1)))
    actor: str = field(repr=False)
    reason: str = field(repr=False)
    at: datetime

    def fact(self) -> Fact:
        """Return the rule as a fact."""
        tree: Json = {"selection": self.selection.dump()}
        if self.until is not None:
            tree["until"] = self.until.isoformat()
        if self.days is not None:
            tree["days"] = self.days
        return Fact(RETAINED, {**tree, **_who(self.actor, self.reason, self.at)})

    @classmethod
    def load(cls, fact: Fact) -> Retention:
        """Return the rule that a fact states; raises one of `BAD_JSON`.

        An end that cannot be read, or that no time can have, is none: it is kept for ever.
        """
        body = fact.body
        try:
            until, days = end(body)
        except BAD_JSON:
            until, days = None, None
        return cls(Selection.load(body["selection"]), until, days, *_load_who(body))

    def ends(self, archived: datetime) -> datetime:
        """Return until when it keeps a message that was archived then."""
        ends = [] if self.until is None else [self.until]
        if self.days is not None:
            ends.append(_later(archived, self.days))
        return max(ends, default=datetime.max.replace(tzinfo=UTC))

    def lasts(self, now: datetime, name: Callable[[Digest], Digest]) -> Condition:
        """Return the condition that the rule covers a message, and has not ended."""
        covers, values = self.selection.condition(name)
        if self.until is not None and self.until > now:
            return covers, values
        if self.days is None:
            return ("0", []) if self.until is not None else (covers, values)
        moment = _knowledge.moment(now)
        return f"({covers} AND b.at + ? > ?)", [*values, self.days * _DAY, moment]


def released(matter: str, actor: str, reason: str, at: datetime) -> Fact:
    """Return the fact that all holds of a matter end."""
    return Fact(RELEASED, {"matter": matter, **_who(actor, reason, at)})


def end(body: Json) -> tuple[datetime | None, int | None]:
    """Return `until` and `days` of a `retained` fact; raises one of `BAD_JSON`."""
    days = body.get("days")
    if days is not None and not 1 <= _loading.count(days) <= _MOST_DAYS:
        msg = "no number of days"
        raise ValueError(msg)
    return _time(body.get("until")), days


def standing(facts: Iterable[Fact]) -> tuple[Hold, ...]:
    """Return the holds that stand, of facts in their order; one that cannot be read is none."""
    holds: list[Hold] = []
    for fact in facts:
        with suppress(*BAD_JSON):  # anybody can append such a line, and `verify` names it
            if fact.kind == HELD:
                holds.append(Hold.load(fact))
            else:
                matter = str(fact.body["matter"])
                holds = [each for each in holds if each.matter != matter]
    return tuple(holds)


def rules(facts: Iterable[Fact]) -> tuple[Retention, ...]:
    """Return the retention that facts state; one that cannot be read is none."""
    found: list[Retention] = []
    for fact in facts:
        with suppress(*BAD_JSON):
            found.append(Retention.load(fact))
    return tuple(found)


def refuse_end(until: datetime | None, days: object, now: datetime) -> None:
    """Raise `ConfigurationError` for an end of retention that no reader could make sense of."""
    if until is not None and until.utcoffset() is None:
        raise ConfigurationError(
            "retention ends at a time with a zone",
            suggestions=["give the time a zone, such as datetime.UTC"],
        )
    if days is not None and not (isinstance(days, int) and 1 <= days <= _MOST_DAYS):
        raise ConfigurationError(
            f"retention lasts a whole number of days, from 1 to {_MOST_DAYS:,}",
            suggestions=["give such a number, or neither days nor a time to keep it for ever"],
        )
    if until is not None and until <= now:
        raise ConfigurationError(
            "retention cannot end at a time that is over: that would keep nothing",
            suggestions=["give a time to come; what may go at once is erased by its id"],
        )


def sound(selection: Selection) -> Selection:
    """Return the selection, unless it covers nothing, and would only seem to keep anything."""
    since, until = selection.since, selection.until
    for time in (since, until):
        if time is not None and time.utcoffset() is None:
            raise ConfigurationError(
                "a time without a zone could mean any hour of the day",
                suggestions=["give the time a zone, such as datetime.UTC"],
            )
    if since is not None and until is not None and since >= until:
        raise ConfigurationError(
            "no time is both since the one day and before the other",
            suggestions=["give `since` the earlier day, and `until` the later one"],
        )
    for some in (selection.entries, selection.users):
        if some is not None and not 1 <= len(some) <= _MOST_ENTRIES:
            raise ConfigurationError(
                f"a selection has 1 to {_MOST_ENTRIES:,} entries or users, where it names any",
                suggestions=["hold more in several steps; a matter may have several holds"],
            )
    return selection


def any_of(conditions: Iterable[Condition]) -> Condition:
    """Return the condition that one of these is true."""
    several = list(conditions)
    values = [value for _, some in several for value in some]
    return f"({' OR '.join(words for words, _ in several) or '0'})", values


def undecided(rules: Iterable[Retention], name: Callable[[Digest], Digest]) -> Condition:
    """Return the condition that nobody said how long this mail of an owner `u` is kept."""
    said, values = any_of(it.selection.names(name) for it in rules)
    return f"(NOT {said})", values


def over(
    rules: Collection[Retention],
    holds: Iterable[Hold],
    now: datetime,
    name: Callable[[Digest], Digest],
) -> Condition:
    """Return the condition that an entry may go.

    Nothing holds or keeps it any more, and somebody said how long it is kept: of all mail
    like it, or else of the mail of each of its owners.
    """
    kept, values = any_of(
        [*(it.lasts(now, name) for it in rules), *(it.selection.condition(name) for it in holds)]
    )
    of_all = (it.selection.condition(name) for it in rules if it.selection.users is None)
    some, of_some = any_of(of_all)
    silent, of_silent = undecided(rules, name)
    each = f"(EXISTS ({_OWNER}) AND NOT EXISTS ({_OWNER} AND {silent}))"
    return f"(NOT {kept} AND ({some} OR {each}))", [*values, *of_some, *of_silent]


def _later(time: datetime, days: int) -> datetime:
    try:
        return time + timedelta(days=days)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def _who(actor: str, reason: str, at: datetime) -> Json:
    return {"actor": actor, "reason": reason, "at": at.isoformat()}


def _load_who(body: Json) -> tuple[str, str, datetime]:
    at = _time(body["at"])
    if at is None:
        msg = "no time"
        raise ValueError(msg)
    return str(body["actor"]), str(body["reason"]), at


def _time(text: str | None) -> datetime | None:
    """The time; one without a zone is in UTC, as the format has it."""
    if text is None:
        return None
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.utcoffset() is None else found


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        msg = "no list"
        raise TypeError(msg)
    return value
