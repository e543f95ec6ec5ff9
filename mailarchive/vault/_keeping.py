"""How long mail is kept, and what may not go: retention and legal holds, as facts.  Pure.

A hold covers everything that its selection does, mail that comes later too, until the
matter is released.  Retention can only be extended: of all that was ever said of a
message the longest counts.  What was said of one owner's mail lets nothing go that is
another's too.  A hold wins over everything.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen
from attrs.validators import ge, optional

from mailarchive._model import Digest, UserId, one_spelling
from mailarchive.errors import ConfigurationError
from mailarchive.vault import _knowledge, _loading
from mailarchive.vault._manifest import BAD_JSON, HELD, RELEASED, RETAINED, Fact

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from mailarchive.vault._record import Json

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


def _spelled(users: Iterable[str] | None) -> frozenset[UserId] | None:
    """The users, each in the spelling in which the index has it."""
    found = _set_of(users)
    return None if found is None else frozenset(UserId(one_spelling(each)) for each in found)


@frozen
class Selection:
    """Which messages are meant: those that everything given here is true of.

    `users` own it, one of them at least; `since` (included) and `until` (not) are aware
    times, by the message's own date but no later than its arrival; `entries` are ids of
    entries.  With nothing given it is all mail, what is still to come included.
    """

    users: frozenset[UserId] | None = field(
        default=None, converter=_spelled, repr=lambda it: f"<{len(it or ())}>"
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
        self, entry: Digest, owners: Collection[UserId] | None, at: int | None
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
            (self.users is None or not self.users.isdisjoint(owners))
            and (since is None or at >= _knowledge.moment(since))
            and (until is None or at < _knowledge.moment(until))
        )


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
    # A truth value is a number to Python, and none to who reads the fact.
    if days is not None and not (type(days) is int and 1 <= days <= _MOST_DAYS):
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


def merged(selections: Iterable[Selection]) -> tuple[Selection, ...]:
    """Return selections that cover and mean the same, and are few: one for those alike.

    Alike are those that differ in their users alone, or in their entries alone: an
    organisation may say something of each of its users, one by one, and never take it back.
    """
    alike: dict[object, list[Selection]] = {}
    for it in selections:
        entries = it.entries is None if it.users is None else it.entries
        alike.setdefault((it.since, it.until, it.users is None, entries), []).append(it)
    return tuple(
        evolve(
            them[0],
            users=_union(each.users for each in them),
            entries=_union(each.entries for each in them),
        )
        for them in alike.values()
    )


def _union(sets: Iterable[frozenset[Any] | None]) -> frozenset[Any] | None:
    found = [each for each in sets if each is not None]
    return frozenset[Any]().union(*found) if found else None


def _few(rules: Iterable[Retention]) -> tuple[Retention, ...]:
    """Return rules that keep the same for as long, one for those alike."""
    alike: dict[object, list[Retention]] = {}
    for it in rules:
        alike.setdefault((it.until, it.days), []).append(it)
    return tuple(
        evolve(them[0], selection=selection)
        for them in alike.values()
        for selection in merged(it.selection for it in them)
    )


@frozen
class Known:
    """What the index knows of an entry that decisions are about."""

    id: Digest
    archived: datetime
    at: int
    owners: frozenset[UserId] = field(repr=False)
    erased: bool


@frozen
class Decisions:
    """All that is decided, read once to be asked about any number of entries."""

    holds: tuple[Hold, ...]
    retentions: tuple[Retention, ...] = field(converter=_few)

    def matters(self, it: Known) -> tuple[str, ...]:
        """Return the matters that an entry is held for, each once."""
        return tuple(
            dict.fromkeys(each.matter for each in self.holds if _covers(each.selection, it))
        )

    def until(self, it: Known) -> datetime | None:
        """Return when its retention ends; `None` where nobody said anything of it."""
        ends = (each.ends(it.archived) for each in self._about(it))
        return max(ends, default=None)

    def undecided(self, it: Known) -> frozenset[UserId]:
        """Return those of its owners of whose mail nobody said how long it is kept."""
        meant = (each.selection.users for each in self._about(it))
        return it.owners.difference(*(it.owners if some is None else some for some in meant))

    def _about(self, it: Known) -> Iterator[Retention]:
        return (each for each in self.retentions if _covers(each.selection, it))


def _covers(selection: Selection, it: Known) -> bool:
    return bool(selection.covers(it.id, it.owners, it.at))


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
