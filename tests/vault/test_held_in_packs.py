"""What the packs hold and keep is not erased, whatever the index says."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from support import forged
from support.vaults import Clock, entries

from mailarchive import UserId
from mailarchive.errors import KeyUnavailable, SinkCorrupt
from mailarchive.vault import FileKeys, Selection, Vault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BOB = UserId("bob")
SINCE = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["plain", "encrypted"])
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> FileKeys | None:
    """The keys of the vault, if it has any."""
    return FileKeys.create(tmp_path / "keys") if request.param == "encrypted" else None


def _forge(folder: Path, *statements: str, file: str = "index.db") -> None:
    with closing(sqlite3.connect(next(folder.rglob(file)))) as db, db:
        for each in statements:
            db.execute(each)


def _packs(folder: Path) -> dict[str, bytes]:
    return {pack.name: pack.read_bytes() for pack in folder.rglob("*.tar")}


def _refuses(folder: Path, clock: Clock, keys: FileKeys | None, error: type[Exception]) -> None:
    """Erasing the first entry raises, and changes no pack; with a new index it is there."""
    (one, *_) = every = entries(3)
    before = _packs(folder)
    with Vault(folder, clock=clock, keys=keys) as vault, pytest.raises(error):
        vault.keeper("evil", "x").erase(one.id)
    assert _packs(folder) == before
    forged.forget_index(folder)
    with Vault(folder, clock=clock, keys=keys) as vault:
        assert vault.view(BOB).count() == len(every)


HOLDS: dict[str, tuple[Callable[[Any], object], str]] = {
    "hold": (
        lambda keeper: keeper.hold("m", Selection()),
        "UPDATE fact SET kind = 'nothing' WHERE kind = 'held'",
    ),
    "hold of a user": (lambda it: it.hold("m", Selection(users=[BOB])), "DELETE FROM owner"),
    "hold of a time": (
        lambda keeper: keeper.hold("m", Selection(since=SINCE)),
        "UPDATE entry SET at = 0",
    ),
    "hold of an entry": (
        lambda keeper: keeper.hold("m", Selection(entries=[entries(1)[0].id])),
        "DELETE FROM fact",
    ),
    "retention": (
        lambda keeper: keeper.retain(Selection()),
        "UPDATE fact SET kind = 'nothing' WHERE kind = 'retained'",
    ),
    "retention in days": (
        lambda keeper: keeper.retain(Selection(users=[BOB]), days=3),
        "UPDATE batch SET at = 0",
    ),
}


@pytest.mark.parametrize("what", HOLDS)
def test_a_forged_index_lifts_no_hold(tmp_path: Path, clock: Clock, what: str) -> None:
    """What stands in the packs is asked before anything is appended, or overwritten."""
    decide, statement = HOLDS[what]
    with Vault(tmp_path / "v", clock=clock, keys=None) as vault:
        vault.put_many(entries(3))
        decide(vault.keeper("counsel", "case 17"))
    _forge(tmp_path / "v", statement)

    _refuses(tmp_path / "v", clock, None, SinkCorrupt)


def test_a_batch_that_is_left_out_lifts_no_hold(
    tmp_path: Path, clock: Clock, keys: FileKeys | None
) -> None:
    """An index that knows nothing of the newest batch is not all that there is."""
    with Vault(tmp_path / "v", clock=clock, keys=keys) as vault:
        vault.put_many(entries(3))
        vault.keeper("counsel", "case 17").hold("m", Selection(users=[BOB]))
    _forge(
        tmp_path / "v",
        "DELETE FROM fact",
        "DELETE FROM batch WHERE sequence = 2",
        "UPDATE pack SET sealed = 1",
    )

    _refuses(tmp_path / "v", clock, keys, SinkCorrupt)


def test_a_batch_that_is_left_out_in_between_lifts_no_hold(
    tmp_path: Path, clock: Clock, keys: FileKeys | None
) -> None:
    """Each batch names the one before, and so the one that is not there."""
    with Vault(tmp_path / "v", clock=clock, keys=keys) as vault:
        vault.put_many(entries(3))
        vault.keeper("counsel", "case 17").hold("m", Selection())
        vault.auditor("me", "why")
    _forge(tmp_path / "v", "DELETE FROM fact", "DELETE FROM batch WHERE sequence = 2")

    _refuses(tmp_path / "v", clock, keys, SinkCorrupt)


def test_an_entry_that_cannot_be_opened_may_be_held(tmp_path: Path, clock: Clock) -> None:
    """Where nobody can tell whose it is, nobody can tell that it is not held."""
    keys = FileKeys.create(tmp_path / "keys")
    with Vault(tmp_path / "v", clock=clock, keys=keys) as vault:
        vault.put_many(entries(3))
        vault.keeper("counsel", "case 17").hold("m", Selection(users=[BOB]))
    _forge(tmp_path / "v", "DELETE FROM wrap", file="keys.db")
    before = _packs(tmp_path / "v")

    with Vault(tmp_path / "v", clock=clock, keys=keys) as vault, pytest.raises(KeyUnavailable):
        vault.keeper("evil", "x").erase(entries(1)[0].id)
    assert _packs(tmp_path / "v") == before


def test_what_was_released_is_erased(tmp_path: Path, clock: Clock, keys: FileKeys | None) -> None:
    """The packs let go of what the index does: other holds, ended retention, other mail."""
    with Vault(tmp_path / "v", clock=clock, keys=keys) as vault:
        one, two, _ = every = entries(3)
        vault.put_many(every)
        keeper = vault.keeper("counsel", "case 17")
        keeper.hold("m", Selection(users=[BOB]))
        keeper.hold("n", Selection(entries=[two.id]))
        keeper.hold("o", Selection(users=[UserId("carol")], since=SINCE))
        keeper.retain(Selection(), days=1)
        keeper.release("m")
        clock.advance(days=2)
        assert len(keeper.erase(one.id).overwritten) == 1
        assert [vault.verify(level).findings for level in ("quick", "content", "log")] == [()] * 3


def test_an_erasure_under_a_hold_overwrites_nothing(tmp_path: Path, clock: Clock) -> None:
    """A fact that somebody put into a pack is not carried out when the vault is opened."""
    folder = tmp_path / "v"
    with Vault(folder, clock=clock, keys=None) as vault:
        vault.put_many(every := entries(3))
        vault.keeper("counsel", "case 17").hold("m", Selection())
    forged.append(folder, forged.erased(every[0].id.hex))
    before = _packs(folder)

    with pytest.raises(SinkCorrupt, match="nothing was overwritten"):
        Vault(folder, clock=clock).__enter__()
    assert _packs(folder) == before


def test_an_erasure_by_nobody_with_the_keys_destroys_none(tmp_path: Path, clock: Clock) -> None:
    """In an encrypted vault such a fact is encrypted, and what is not is nobody's."""
    folder, keys = tmp_path / "v", FileKeys.create(tmp_path / "keys")
    with Vault(folder, clock=clock, keys=keys) as vault:
        vault.put_many(entries(3))
    entry = next(it for it in forged.manifests(folder)[0] if it["kind"] == "entry")
    forged.append(folder, forged.erased(entry["id"]))
    wrapped = (folder / "keys" / "keys.db").read_bytes()

    with pytest.raises(SinkCorrupt, match="nothing was overwritten"):
        Vault(folder, clock=clock, keys=keys).__enter__()
    assert (folder / "keys" / "keys.db").read_bytes() == wrapped
