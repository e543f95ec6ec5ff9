"""Verifying accuses what was erased and should not have been, and says how much was erased."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from support import forged
from support.vaults import Clock, entries, entry, mail

from mailarchive import UserId
from mailarchive._cli.reading import verified
from mailarchive.users import StaticMap
from mailarchive.vault import FileKeys, FileSigner, Keeper, Level, Selection, Vault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailarchive.vault import KeyProvider

BOB, DAN = UserId("bob"), UserId("dan")
LATER = "2026-09-01T00:00:00+00:00"
ONE = entries(1)[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the vault of this test is."""
    return tmp_path / "v"


def _made(
    folder: Path,
    clock: Clock,
    decide: Callable[[Keeper], object] = lambda _: None,
    keys: KeyProvider | None = None,
) -> None:
    with Vault(folder, clock=clock, keys=keys) as vault:
        vault.put_many(entries(3))
        decide(vault.keeper("counsel", "case 17"))


def _kinds(folder: Path, clock: Clock, **more: Any) -> list[list[str]]:
    """What each level finds, with no index to believe."""
    forged.forget_index(folder)
    with Vault(folder, clock=clock, read_only=True, **more) as vault:
        closed = vault._opened().place.identity.is_encrypted and not more
        levels = [level for level in Level if level is not Level.CONTENT or not closed]
        return [[each.kind for each in vault.verify(level).findings] for level in levels]


def _erase_by_hand(folder: Path, *, at: str = forged.AT, entry: str = ONE.id.hex) -> None:
    """Do what an erasure does, and ask nobody."""
    place = forged.place_of(folder, ONE.raw_digest.hex)
    forged.empty(folder, place)
    forged.append(folder, forged.erased(entry, at), forged.reclaimed(place))


WRONG: dict[str, tuple[Callable[[Keeper], object], str]] = {
    "all is held": (lambda it: it.hold("m", Selection()), "erased-under-hold"),
    "a user is held": (lambda it: it.hold("m", Selection(users=[BOB])), "erased-under-hold"),
    "a time is held": (
        lambda it: it.hold("m", Selection(since=datetime(2026, 1, 1, tzinfo=UTC))),
        "erased-under-hold",
    ),
    "it is held": (lambda it: it.hold("m", Selection(entries=[ONE.id])), "erased-under-hold"),
    "kept for ever": (lambda it: it.retain(Selection()), "erased-too-early"),
    "kept for days": (lambda it: it.retain(Selection(), days=3), "erased-too-early"),
}


@pytest.mark.parametrize("what", WRONG)
def test_an_erasure_that_nothing_allowed_is_named(folder: Path, clock: Clock, what: str) -> None:
    """At every level: all that is needed stands in the packs' own order."""
    decide, kind = WRONG[what]
    _made(folder, clock, decide)
    _erase_by_hand(folder)

    assert _kinds(folder, clock) == [[kind]] * 4
    with Vault(folder, clock=clock, read_only=True) as vault:
        (found,) = vault.verify().findings
    assert ONE.id.hex[:16] in found.words
    assert found.pack is not None
    assert found.pack.startswith("2099")


def test_a_hold_of_another_accuses_nobody(folder: Path, clock: Clock) -> None:
    """Neither a hold that covers something else, nor one that was released, nor a later one."""
    with Vault(folder, clock=clock, keys=None) as vault:
        every = entries(3)
        vault.put_many(every)
        keeper = vault.keeper("counsel", "case 17")
        keeper.hold("m", Selection(users=[BOB]))
        keeper.hold("n", Selection(users=[UserId("carol")]))
        keeper.hold("n", Selection(entries=[each.id for each in every[1:]]))
        keeper.hold("o", Selection(until=datetime(2020, 1, 1, tzinfo=UTC)))
        keeper.retain(Selection(), days=1)
        keeper.release("m")
    clock.advance(days=2)
    _erase_by_hand(folder, at=clock.now.isoformat())
    with Vault(folder, clock=clock) as vault:
        vault.keeper("counsel", "case 18").hold("m", Selection())

    assert _kinds(folder, clock) == [[]] * 4


def test_a_hold_covers_whom_mail_was_given_to(folder: Path, clock: Clock) -> None:
    """An owner who became one later, but before it was erased, is one."""
    one = entry(mail(0), key="0", owners={}, unresolved=("dan@example.com",))
    with Vault(folder, clock=clock, keys=None) as vault:
        vault.put(one)
        vault.keeper("counsel", "case 17").hold("m", Selection(users=[DAN]))
        assert vault.reattribute(StaticMap({"dan@example.com": "dan"})) == 1
    _erase_by_hand(folder, entry=one.id.hex)

    assert _kinds(folder, clock) == [["erased-under-hold"]] * 4


def test_no_erasure_is_later_than_now(folder: Path, clock: Clock) -> None:
    """Whoever writes a time behind the retention has not waited for it."""
    _made(folder, clock, lambda it: it.retain(Selection(), days=30))
    _erase_by_hand(folder, at=LATER)

    assert _kinds(folder, clock) == [["erased-too-early"]] * 4


def test_bytes_that_nobody_erased_are_named(folder: Path, clock: Clock) -> None:
    """That they were overwritten needs a fact that their entry was erased."""
    _made(folder, clock)
    place = forged.place_of(folder, ONE.raw_digest.hex)
    forged.empty(folder, place)
    forged.append(folder, forged.reclaimed(place))

    assert [set(each) for each in _kinds(folder, clock)] == [
        {"not-erased"},
        *[{"not-erased", "digest"}] * 3,
    ]


SPELLINGS = {
    "blanks": lambda text: text.replace('"kind":', '"kind" : '),
    "escapes": lambda text: text.replace('"kind"', '"\\u006bind"'),
    "letters": lambda text: text.replace('"erased"', '"\\u0065rased"'),
    "another": lambda text: text.replace('"kind":', '"a":{"kind":"x"},"kind": '),
    "twice": lambda text: '{"kind":"x",' + text[1:].replace('"kind":', '"kind": '),
    "capitals": lambda text: text.replace(ONE.id.hex, ONE.id.hex.upper()),
}


@pytest.mark.parametrize("how", SPELLINGS)
def test_however_it_is_spelled(folder: Path, clock: Clock, how: str) -> None:
    """A line that says the same in other bytes, which no writer of ours makes, is read too."""
    _made(folder, clock, lambda it: it.hold("m", Selection()))
    line = json.dumps(forged.erased(ONE.id.hex), sort_keys=True, separators=(",", ":"))
    forged.append(folder, SPELLINGS[how](line))

    assert _kinds(folder, clock) == [["erased-under-hold"]] * 4


@pytest.mark.parametrize(
    "fact",
    [
        {"kind": "erased"},
        {"kind": "erased", "entry": 5},
        {"kind": "reclaimed", "objects": [{"pack": "x"}]},
        {"kind": "released"},
        {"kind": "held", "matter": "m", "selection": []},
    ],
)
def test_a_fact_that_cannot_be_read_is_named(
    folder: Path, clock: Clock, fact: dict[str, Any]
) -> None:
    """It is a finding, and nothing falls over."""
    _made(folder, clock)
    forged.append(folder, forged.erased(ONE.id.hex), fact)

    for found in _kinds(folder, clock):
        assert "fact" in found


def test_nobody_without_the_keys_erases(folder: Path, tmp_path: Path, clock: Clock) -> None:
    """A fact in clear in an encrypted vault is forged, and whoever has no key sees that."""
    keys = FileKeys.create(tmp_path / "keys")
    _made(folder, clock, lambda it: it.hold("m", Selection(users=[BOB])), keys)
    names = {it["raw"]: it["id"] for it in forged.manifests(folder)[0] if it["kind"] == "entry"}
    raw, name = names.popitem()
    place = forged.place_of(folder, raw)
    forged.empty(folder, place)
    forged.append(folder, {"kind": "released", "matter": "m"}, forged.erased(name))

    for found in _kinds(folder, clock, keys=keys):
        assert {"forged", "erased-under-hold"} <= set(found)
    assert all("forged" in each for each in _kinds(folder, clock))


def test_what_only_looks_encrypted_is_forged(folder: Path, tmp_path: Path, clock: Clock) -> None:
    """With keys it is told from what was written with them."""
    keys = FileKeys.create(tmp_path / "keys")
    _made(folder, clock, keys=keys)
    name = next(it["id"] for it in forged.manifests(folder)[0] if it["kind"] == "entry")
    fact = {"kind": "erased", "entry": name, "encrypted": "AAAA"}
    forged.append(folder, fact)

    assert all("forged" in each for each in _kinds(folder, clock, keys=keys))
    with Vault(folder, clock=clock, read_only=True) as vault:
        assert vault.verify().erased_since == 1


@pytest.mark.parametrize("encrypted", [False, True])
def test_the_report_says_how_many_were_erased(
    folder: Path, tmp_path: Path, clock: Clock, encrypted: bool
) -> None:
    """And how many of them behind the newest checkpoint: the one kept, or else the log's."""
    keys = FileKeys.create(tmp_path / "keys") if encrypted else None
    signer = FileSigner(tmp_path / "signer")
    with Vault(folder, clock=clock, keys=keys) as vault:
        every = entries(6)
        vault.put_many(every)
        keeper = vault.keeper("counsel", "case 17")
        keeper.hold("m", Selection(entries=[every[5].id]))
        keeper.erase(every[0].id)
        assert (vault.verify().erased, vault.verify().erased_since) == (1, 1)
        kept = vault.seal(signer).checkpoint
        keeper.erase(every[1].id, every[2].id)
        vault.seal(signer)
        keeper.erase(every[3].id)

        for level in Level:
            report = vault.verify(level)
            assert (report.findings, report.erased, report.erased_since) == ((), 4, 1)
        report = vault.verify("log", checkpoints=[kept])
        assert (report.ok, report.erased, report.erased_since) == (True, 4, 3)
        assert report.to_dict()["erased_since"] == 3
        assert "4 messages erased, 3 of them since the newest checkpoint" in verified(report)
    clock.advance(days=1)
    assert _kinds(folder, clock, **({"keys": keys} if keys else {})) == [[]] * 4
