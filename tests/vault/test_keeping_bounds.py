"""No number, time or line, whoever wrote it, breaks keeping for good; what is doubtful is kept."""

from __future__ import annotations

import sqlite3
import sys
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support import forged
from support.vaults import Clock, entries, entry, mail

from mailarchive import Digest, UserId
from mailarchive.errors import ConfigurationError, Erased, UnderHold, UnderRetention
from mailarchive.vault import FileKeys, Hold, Retention, Selection, Vault
from mailarchive.vault._index import Index
from mailarchive.vault._manifest import Fact

if TYPE_CHECKING:
    from pathlib import Path

    from support.vaults import OpenVault

    from mailarchive.vault import Keeper

WHO = {"actor": "x", "reason": "y", "at": forged.AT}
NAIVE = "2030-01-01T00:00:00"
DAYS = date.max.toordinal()


def _keeper(vault: Vault) -> Keeper:
    return vault.keeper("officer", "case 7")


# -- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize("days", [-1, 0, 1.5, DAYS + 1, 107_000_000, 1 << 62, 10**30])
def test_a_number_of_days_that_no_time_has_is_refused(vault: Vault, days: Any) -> None:
    """Nothing is written of it, and everything about keeping can be asked afterwards."""
    vault.put(one := entry(mail(1)))
    keeper = _keeper(vault)

    with pytest.raises(ConfigurationError):
        keeper.retain(Selection(), days=days)

    assert keeper.retentions() == ()
    assert list(keeper.expired()) == []
    assert keeper.erase(one.id).overwritten


def test_the_most_days_there_are_keep(vault: Vault, clock: Clock) -> None:
    """The bound itself is one that can be kept, read and judged."""
    vault.put(one := entry(mail(1)))
    keeper = _keeper(vault)
    keeper.retain(Selection(), days=DAYS)
    clock.advance(days=400_000)

    assert list(keeper.expired()) == []
    assert keeper.retentions()[0].days == DAYS
    with pytest.raises(UnderRetention):
        keeper.erase(one.id)


def test_a_text_is_no_collection_of_users(vault: Vault) -> None:
    """A hold of the letters of a name would hold nothing of whom it is meant for."""
    with pytest.raises(ConfigurationError, match="one text"):
        Selection(users="alice")
    for empty in (Selection(users=()), Selection(entries=())):
        with pytest.raises(ConfigurationError):
            _keeper(vault).hold("m", empty)


def test_what_is_erased_cannot_be_held_or_kept(vault: Vault) -> None:
    """Whoever holds too late is told so, and no hold is on record that holds nothing."""
    vault.put_many(some := entries(2))
    keeper = _keeper(vault)
    keeper.erase(some[0].id)
    late = Selection(entries=[each.id for each in some])

    with pytest.raises(Erased):
        keeper.hold("m", late)
    with pytest.raises(Erased):
        keeper.retain(late, days=1)

    assert (keeper.holds(), keeper.retentions()) == ((), ())
    keeper.hold("m", Selection(entries=[some[1].id]))


@pytest.mark.parametrize("matter", ["\ud83d\ude00", "\ud800", "a\0b", "\U0001f600"])
def test_what_is_held_can_be_released(vault: Vault, matter: str) -> None:
    """A matter is any text, also one that JSON spells in another way."""
    vault.put(one := entry(mail(1)))
    keeper = _keeper(vault)
    held = keeper.hold(matter, Selection())

    assert keeper.holds() == (held,)
    assert keeper.release(matter) == (held,)
    assert keeper.erase(one.id).overwritten


@pytest.mark.parametrize("after", [-(2**70), -1, 2**63, 2**70])
def test_an_auditor_goes_on_from_any_number(vault: Vault, after: int) -> None:
    """Behind the last number there is nothing, and before the first is everything."""
    vault.put_many(entries(2))
    auditor = vault.auditor("a", "b")

    assert len(list(auditor.entries(after=after))) == (2 if after < 0 else 0)
    assert list(auditor.unowned(after=after)) == []
    assert list(auditor.entries(after=sys.maxsize)) == []


# -- what stands in a pack already --------------------------------------------------------


@pytest.mark.parametrize(
    "end", [{"days": 1 << 63}, {"days": 107_000_000}, {"days": "x"}, {"days": 0}, {"until": "x"}]
)
def test_retention_without_an_end_that_can_be_read_keeps(
    open_vault: OpenVault, folder: Path, clock: Clock, end: dict[str, Any]
) -> None:
    """It keeps for ever, as the safe reading, and `verify` names it."""
    with open_vault() as vault:
        vault.put_many(some := entries(2))
    forged.append(folder, {"kind": "retained", "selection": {"users": ["bob"]}, **end, **WHO})
    vault = open_vault()
    keeper = _keeper(vault)
    clock.advance(days=400_000)

    assert list(keeper.expired()) == []
    assert keeper.status(some[0].id).until == datetime.max.replace(tzinfo=UTC)
    with pytest.raises(UnderRetention):
        keeper.erase(some[0].id)
    assert {each.kind for each in vault.verify("content").findings} == {"fact"}


@pytest.mark.parametrize(
    "line",
    [
        {"kind": "retained", "selection": {}, "until": NAIVE, **WHO},
        {"kind": "held", "matter": "m", "selection": {}, **WHO, "at": NAIVE},
        {"kind": "held", "matter": "m", "selection": {"since": "2020-01-01T00:00:00"}, **WHO},
    ],
)
def test_a_time_without_a_zone_is_in_utc(
    open_vault: OpenVault, folder: Path, line: dict[str, Any]
) -> None:
    """So the format has it; nobody can end an archive's keeping by leaving a zone out."""
    with open_vault() as vault:
        vault.put(one := entry(mail(1)))
    forged.append(folder, line)
    vault = open_vault()
    keeper = _keeper(vault)

    assert list(keeper.expired()) == []
    assert {keeper.status(one.id).until} <= {None, datetime(2030, 1, 1, tzinfo=UTC)}
    with pytest.raises((UnderHold, UnderRetention)):
        keeper.erase(one.id)
    assert vault.verify("content").ok


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize(
    "line",
    [
        {"kind": "held"},
        {"kind": "held", "matter": "m", "selection": {"users": "bob"}, **WHO},
        {"kind": "released"},
        {"kind": "retained", "days": 1, **WHO},
    ],
)
def test_a_decision_that_cannot_be_read_bars_nothing(
    folder: Path, clock: Clock, line: dict[str, Any], *, encrypted: bool
) -> None:
    """Anybody can append one: a rightful erasure goes on, and the vault opens again."""
    keys = FileKeys.create(folder.with_name("key")) if encrypted else None
    with Vault(folder, keys=keys, clock=clock) as vault:
        vault.put_many(some := entries(2))
    forged.append(folder, line)

    with Vault(folder, keys=keys, clock=clock) as vault:
        keeper = _keeper(vault)
        assert (keeper.holds(), keeper.retentions()) == ((), ())
        assert keeper.erase(some[0].id).overwritten
    with Vault(folder, keys=keys, clock=clock) as vault:
        found = {each.kind for each in vault.verify("content").findings}
        assert vault.view(UserId("bob")).count() == 1
    assert found == ({"forged"} if encrypted else {"fact"})


# -- how much can be decided --------------------------------------------------------------

MANY = 2_000
"""More rules than an expression of SQLite is deep."""


def _sorts(n: int) -> tuple[Selection, timedelta | int]:
    """The rule number `n`: some are alike but for their user, and no two of the others."""
    since = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(hours=n)
    return (
        (Selection(users=[UserId(f"u{n}")]), 1),
        (Selection(users=[UserId(f"u{n}")]), timedelta(days=1, seconds=n)),
        (Selection(users=[UserId(f"u{n}")], since=since), 1 + n),
        (Selection(entries=[Digest.of(b"%d" % n)]), 1),
    )[n % 4]


def _decide(keeper: Keeper, count: int) -> None:
    """Put so many rules and holds on record at once: a batch for each would take a while."""
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    facts = list[Fact]()
    for n in range(count):
        selection, end = _sorts(n)
        until, days = (now + end, None) if isinstance(end, timedelta) else (None, end)
        facts.append(Retention(selection, until, days, "officer", "case 7", now).fact())
        hold = Selection(users=[UserId(f"held{n}")])
        facts.append(Hold(f"m{n}", hold, "officer", "case 7", now).fact())
    keeper._session.decide(lambda: facts)


def test_any_number_of_rules_and_holds_can_be_asked(vault: Vault, clock: Clock) -> None:
    """A rule for each user is never taken back, and bars neither lists nor erasing for good."""
    users = ["u0", "u1", "u2", "u4", "nobody", "held7"]
    every = [entry(mail(n), key=str(n), owners={user: ()}) for n, user in enumerate(users)]
    every.append(entry(mail(9), key="9", owners={"u4": (), "nobody": ()}))
    vault.put_many(every)
    keeper = _keeper(vault)
    _decide(keeper, MANY)
    assert len(keeper.retentions()) == len(keeper.holds()) == MANY
    assert list(keeper.expired()) == []
    clock.advance(days=2)

    found = list(keeper.expired())

    assert [each.id for each in found] == [every[n].id for n in (0, 1, 3)]
    assert [set(each.owners) for each in found] == [{"u0"}, {"u1"}, {"u4"}]
    assert keeper.status(every[2].id).until == clock.now + timedelta(days=1)
    assert keeper.status(every[6].id).undecided == {"nobody"}
    with pytest.raises(UnderRetention):
        keeper.erase(every[2].id)
    with pytest.raises(UnderHold):
        keeper.erase(every[5].id)
    assert len(keeper.erase(*(each.id for each in found)).overwritten) == len(found)
    assert list(keeper.expired()) == []


def test_any_number_of_users_can_be_kept(vault: Vault, clock: Clock) -> None:
    """Ids are one value of a question: SQLite may take no more than 32,766 of them."""
    vault.put_many(some := entries(2, owners={"bob": ()}))
    keeper = _keeper(vault)
    for n in range(0, 40_000, 10_000):
        users = [UserId(f"u{each}") for each in range(n + 1, n + 10_000)]
        keeper.retain(Selection(users=[*users, UserId("bob")]), days=1)
    clock.advance(days=2)

    connection = keeper._session.index._db
    connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 32_766)

    assert [each.id for each in keeper.expired()] == [each.id for each in some]


def test_decisions_are_read_once_for_all_that_is_erased(
    vault: Vault, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many entries are erased, and however many owners a list has to name."""
    vault.put_many(some := entries(20))
    keeper = _keeper(vault)
    keeper.retain(Selection(), days=1)
    clock.advance(days=2)
    asked = list[str]()
    rows = Index.rows

    def counted(index: Index, query: str, values: Any = ()) -> list[tuple[Any, ...]]:
        asked.append(query)
        return rows(index, query, values)

    monkeypatch.setattr(Index, "rows", counted)

    assert len(list(keeper.expired())) == len(some)
    assert sum("FROM owner" in query for query in asked) == 2  # the condition, and a page
    keeper.candidates(*(each.id for each in some))
    keeper.erase(*(each.id for each in some))

    assert sum("FROM fact" in query for query in asked) == 2 * 3


def test_an_erasure_is_accused_with_both_times(vault: Vault, clock: Clock) -> None:
    """Where a clock is behind by minutes the day alone would say nothing."""
    vault.put(one := entry(mail(1)))
    keeper = _keeper(vault)
    keeper.retain(Selection(), until=clock() + timedelta(hours=1))
    clock.advance(hours=1, minutes=1)
    keeper.erase(one.id)
    clock.advance(minutes=-2)

    (finding,) = vault.verify("quick").findings

    assert finding.kind == "erased-too-early"
    assert "12:59:00" in finding.words
    assert "13:00:00" in finding.words
