"""No number, time or line, whoever wrote it, breaks keeping for good; what is doubtful is kept."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support import forged
from support.vaults import Clock, entries, entry, mail

from mailarchive import UserId
from mailarchive.errors import ConfigurationError, Erased, UnderHold, UnderRetention
from mailarchive.vault import FileKeys, Selection, Vault

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
