"""Deciding what is kept: holds, retention, and erasing what may go; each act on record."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive._model import Digest, one_spelling
from mailarchive.errors import (
    ConfigurationError,
    SinkError,
    UnderHold,
    UnderRetention,
    Unsupported,
)
from mailarchive.vault import _condition, _erasing, _keeping, _knowledge
from mailarchive.vault._apply import user_of
from mailarchive.vault._decided import CLOSED
from mailarchive.vault._errors import erased, index_disagrees, keys_lost, os_errors
from mailarchive.vault._keeping import Decisions, Hold, Known, Retention, Selection
from mailarchive.vault._manifest import HELD, RELEASED, RETAINED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from datetime import datetime

    from mailarchive._model import UserId
    from mailarchive.vault._condition import Condition
    from mailarchive.vault._manifest import Fact
    from mailarchive.vault._session import Session

_BEGINNING = re.compile(r"[0-9a-fA-F]{8,64}\Z")
_PAGE = 500
EVERYTHING = Selection()


@frozen
class Status:
    """What is decided about an entry.

    `matters` are the holds that cover it; `until` is when its retention ends, and `None`
    where nobody said anything of it: then it is kept until somebody does.  So it is where
    nobody said anything of the mail of some of its owners, who are `undecided`.
    """

    matters: tuple[str, ...] = field(repr=lambda them: f"<{len(them)}>")
    until: datetime | None
    erased: bool
    undecided: frozenset[UserId] = field(default=frozenset(), repr=lambda them: f"<{len(them)}>")


@frozen
class Candidate:
    """An entry that may be erased, and what a person can judge it by.

    It is erased for all of its `owners`, or for none.  `at` is the message's own date, but
    no later than its arrival; `size` is that of its record, in bytes.
    """

    id: Digest
    owners: frozenset[UserId] = field(repr=lambda them: f"<{len(them)}>")
    at: datetime
    size: int


@frozen
class Erasure:
    """That entries were erased, as it stands in the archive.

    `overwritten` are the digests of the stored bytes that are gone with them, which are
    the names of their members in the packs.  Bytes that another entry needs stay.
    """

    entries: tuple[Digest, ...]
    overwritten: tuple[Digest, ...]
    actor: str = field(repr=False)
    reason: str = field(repr=False)
    at: datetime


class Keeper:
    """Holds, retention and erasing in one vault, in somebody's name.

    Opened by `Vault.keeper`.  Every act is a fact in the archive, with who did it, why and
    when, durable before the method returns.  Every method raises `SinkError`.
    """

    def __init__(
        self, session: Session, actor: str, reason: str, clock: Callable[[], datetime]
    ) -> None:
        """Act as `actor`, for `reason`; raises `Unsupported` where either is empty."""
        if not actor.strip() or not reason.strip():
            raise Unsupported(
                "who decides what is kept needs a name and a reason",
                suggestions=["say who decides, and why; both are kept in the archive"],
            )
        self._session = session
        self._actor = actor
        self._reason = reason
        self._clock = clock

    # -- holds ----------------------------------------------------------------------------

    def hold(self, matter: str, selection: Selection) -> Hold:
        """Put what is selected under a legal hold: nothing of it can be erased.

        What is archived later is held too if the selection covers it.  A matter may have
        several holds.  Raises `ConfigurationError` for a matter without a name, and for a
        selection that is too large, or that nothing can ever be of; `Erased` for an entry
        that is erased already, which no hold brings back.
        """
        if not matter.strip():
            raise ConfigurationError(
                "a legal hold is for a matter, which has a name",
                suggestions=["give the name by which the hold will be released"],
            )
        hold = Hold(matter, _keeping.sound(selection), self._actor, self._reason, self._clock())
        self._state(hold)
        return hold

    def release(self, matter: str) -> tuple[Hold, ...]:
        """End all holds of a matter, and return them; raises `SinkError` where it has none."""
        ended: list[Hold] = []
        spelled = one_spelling(matter)

        def decide() -> list[Fact]:
            ended[:] = [each for each in self.holds() if each.matter == spelled]
            if not ended:
                raise SinkError(
                    "nothing is held for this matter", suggestions=["list the holds that stand"]
                )
            return [_keeping.released(spelled, self._actor, self._reason, self._clock())]

        with os_errors("releasing a hold"):
            self._session.decide(decide)
        return tuple(ended)

    def holds(self) -> tuple[Hold, ...]:
        """Return the holds that stand, oldest first."""
        return _keeping.standing(self._facts(HELD, RELEASED))

    # -- retention ------------------------------------------------------------------------

    def retain(
        self, selection: Selection, *, until: datetime | None = None, days: int | None = None
    ) -> Retention:
        """Keep what is selected until a time, or for so many days after it was archived.

        With neither it is kept for ever.  Retention is only extended: of all that was said
        of a message the longest counts, and nothing takes it back.  What was archived more
        than `days` ago may be erased from now on: `expired` says what of it.  Raises
        `ConfigurationError` for a time without a zone, or one that is over, for less than a
        day, and for more days than any time has; `Erased` for what is erased already.
        """
        now = self._clock()
        _keeping.refuse_end(until, days, now)
        rule = Retention(_keeping.sound(selection), until, days, self._actor, self._reason, now)
        self._state(rule)
        return rule

    def retentions(self) -> tuple[Retention, ...]:
        """Return everything that was ever said about retention, oldest first."""
        return _keeping.rules(self._facts(RETAINED))

    def status(self, entry: Digest) -> Status:
        """Return what is decided about an entry; raises `SinkError` where there is none."""
        it, said = self._known(entry), self._decisions()
        return Status(said.matters(it), said.until(it), it.erased, said.undecided(it))

    def expired(self, within: Selection = EVERYTHING) -> Iterator[Candidate]:
        """Yield what of a selection may go: its retention is over, and nothing holds it.

        The oldest come first, and nothing is erased.  What nobody ever said anything of is
        not among it, nor what has an owner of whose mail nobody did.
        """
        name = self._session.index.name
        over, values = _condition.over(self._decisions(), self._clock(), name)
        among, more = _condition.covered(within, name)
        return self._candidates((f"({over} AND {among})", [*values, *more]))

    def candidates(self, *entries: Digest) -> tuple[Candidate, ...]:
        """Return what `erase` would erase of these, and erase nothing; raises as it does.

        What is erased already is left out.  Whether packs and index agree is not looked at.
        """
        new = self._erasable(entries, self._clock())
        names = (self._session.index.name(each).value for each in new)
        return tuple(it for name in names for it in self._candidates(("e.id = ?", [name])))

    def entry(self, beginning: str) -> Digest:
        """Return the id of the one entry whose hexadecimal id begins so.

        Raises `ConfigurationError` for what begins no id, and `SinkError` where it is that
        of no entry here, or of several.
        """
        if not _BEGINNING.match(beginning):
            raise ConfigurationError(
                "that is no id of an entry", suggestions=["give 8 to 64 hexadecimal digits"]
            )
        found = self._session.reading.ids(beginning)
        if not found:
            raise _not_there()
        if len(found) > 1:
            raise SinkError(
                "several entries have ids that begin so", suggestions=["give more of its digits"]
            )
        return found[0]

    # -- erasing --------------------------------------------------------------------------

    def erase(self, *entries: Digest) -> Erasure:
        """Erase entries for good: all of them, or none where one of them must stay.

        A crash in the middle of many may leave some of them, for another call to erase.
        They leave every view and search, and an auditor sees only that they were there.
        Their bytes are overwritten, unless another entry that stays has the same; in a
        vault without encryption the manifests keep the envelope.  Copies elsewhere
        (backups, exports, the source) are not touched.  What is held and kept is read in
        the packs too.  Raises `UnderHold`, `UnderRetention`, `SinkCorrupt` where packs and
        index disagree, `KeyUnavailable` where an entry has no key here that would be
        destroyed, and `SinkError` for an id that is not there.
        """
        now = self._clock()

        def decide() -> list[Fact]:
            new = self._erasable(entries, now)
            self._agreed(new, now)
            return [_erasing.erased(each, self._actor, self._reason, now) for each in new]

        with os_errors("erasing entries"):
            gone = self._session.erase(decide)
        overwritten = tuple(each.stored for each in gone)
        return Erasure(tuple(entries), overwritten, self._actor, self._reason, now)

    def _erasable(self, entries: Iterable[Digest], now: datetime) -> list[Digest]:
        """Those that are not erased yet, each once; raises where one must not be."""
        said = self._decisions()
        known = map(self._known, dict.fromkeys(entries))
        new = [it for it in known if not it.erased]
        for it in new:
            self._refuse(it, said, now)
        return [it.id for it in new]

    @staticmethod
    def _refuse(it: Known, said: Decisions, now: datetime) -> None:
        if said.matters(it):
            raise UnderHold(
                "a legal hold covers one of these entries",
                suggestions=["list the holds that stand (mailarchive kept); release them first"],
            )
        until = said.until(it)
        if until is not None and until > now:
            raise UnderRetention(
                f"one of these entries must be kept until {until:%Y-%m-%d}",
                suggestions=["erase it after that day"],
            )

    def _agreed(self, entries: Collection[Digest], now: datetime) -> None:
        """Raise unless the packs let go of the entries, as the index does."""
        if not entries:
            return
        names = [self._session.index.name(each) for each in entries]
        said = self._session.decided(names)
        if not all(map(said.is_known, names)):
            raise index_disagrees("it has an entry that is not in them")
        against = frozenset[str]().union(*(said.against(each, now) for each in names))
        if against - {CLOSED}:
            raise index_disagrees("it lets go of what they hold, or keep")
        if missing := len(names) if against else self._session.keyless(names):
            raise keys_lost(missing)  # none would be destroyed: they are elsewhere

    # -- entries --------------------------------------------------------------------------

    def _candidates(self, which: Condition) -> Iterator[Candidate]:
        """The entries of which a condition is true, and that are not erased."""
        after, (words, values) = 0, which
        query = (
            "SELECT e.n, e.id, e.at, COALESCE(x.size, 0) FROM entry e"  # noqa: S608 - only constants
            " JOIN batch b ON b.n = e.batch LEFT JOIN object x ON x.raw = e.raw"
            f" WHERE NOT e.erased AND e.n > ? AND {words}"
            f" ORDER BY e.n LIMIT {_PAGE}"
        )
        while rows := self._session.index.rows(query, (after, *values)):
            owners = self._owners([row[0] for row in rows])
            for n, known_as, at, size in rows:
                id_ = self._session.reading.entry_id(n, Digest(known_as))
                yield Candidate(id_, owners[n], _knowledge.time_of(at), size)
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def _known(self, entry: Digest) -> Known:
        """What the index knows of an entry; raises `SinkError` where there is none."""
        rows = self._session.index.rows(
            "SELECT e.n, b.at, e.at, e.erased FROM entry e JOIN batch b ON b.n = e.batch"
            " WHERE e.id = ?",
            (self._session.index.name(entry).value,),
        )
        if not rows:
            raise _not_there()
        ((n, archived, at, is_erased),) = rows
        owners = self._owners([n])[n]
        return Known(entry, _knowledge.time_of(archived), at, owners, bool(is_erased))

    def _owners(self, numbers: Collection[int]) -> dict[int, frozenset[UserId]]:
        """The owners of each of the entries with these numbers, a page of them at most."""
        found: dict[int, set[UserId]] = {n: set() for n in numbers}
        rows = self._session.index.rows(
            "SELECT o.entry, u.id FROM owner o JOIN user u ON u.n = o.user"  # noqa: S608 - only marks
            f" WHERE o.entry IN ({','.join('?' * len(numbers))})",
            numbers,
        )
        for n, user in rows:
            found[n].add(user_of(user))
        return {n: frozenset(users) for n, users in found.items()}

    # -- facts ----------------------------------------------------------------------------

    def _decisions(self) -> Decisions:
        return Decisions(self.holds(), self.retentions())

    def _state(self, decision: Hold | Retention) -> None:
        """Put it on record, unless it names what is there no more."""

        def decide() -> list[Fact]:
            if self._session.index.erased(decision.selection.entries or ()):
                raise erased()
            return [decision.fact()]

        with os_errors("putting a decision on record"):
            self._session.decide(decide)

    def _facts(self, *kinds: str) -> list[Fact]:
        marks = ",".join("?" * len(kinds))
        lines = self._session.index.lines(f"t.kind IN ({marks}) ORDER BY t.n", kinds, table="fact")
        return [self._session.reading.fact(line) for line in lines]


def _not_there() -> SinkError:
    return SinkError(
        "the vault has no entry with this id", suggestions=["take ids from an auditor"]
    )
