"""Facts are written in portions that a reader takes, and a crash between two breaks nothing."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from support import forged
from support.vaults import Clock, entries

from mailarchive import UserId
from mailarchive.errors import UnderHold
from mailarchive.testing.fuse import Crash, Fuse
from mailarchive.users import StaticMap
from mailarchive.vault import FileKeys, Selection, Vault

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive import ArchiveEntry
    from mailarchive.vault import Keeper

BOB = UserId("bob")
MOST = "mailarchive.vault._session._MOST_ENTRIES"


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> FileKeys | None:
    """The keys of a vault, or none."""
    return FileKeys.create(tmp_path / "keys") if request.param else None


def _keeper(vault: Vault) -> Keeper:
    return vault.keeper("officer", "case 7")


def _facts(folder: Path, kind: str) -> list[int]:
    """How many facts of a kind each batch has that has any."""
    batches = (Counter(line["kind"] for line in lines) for lines in forged.manifests(folder))
    return [counted[kind] for counted in batches if counted[kind]]


def _erased(vault: Vault, some: list[ArchiveEntry]) -> list[bool]:
    return [_keeper(vault).status(each.id).erased for each in some]


def test_an_erasure_of_many_is_several_batches(
    folder: Path, keys: FileKeys | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No manifest has more facts, and no fact names more places, than is read at once."""
    with Vault(folder, keys=keys) as vault:
        vault.put_many(some := entries(5))
        monkeypatch.setattr(MOST, 2)
        monkeypatch.setattr("mailarchive.vault._erasing._MOST_PLACES", 3)
        done = _keeper(vault).erase(*(each.id for each in some))

        assert len(done.overwritten) == 5
        assert vault.verify("content").findings == ()
    places = [
        len(line["objects"])
        for lines in forged.manifests(folder)
        for line in lines
        if line["kind"] == "reclaimed"
    ]
    assert _facts(folder, "erased") == [2, 2, 1]
    assert places == [3, 2]


def test_a_crash_between_two_portions_is_gone_on_from(
    folder: Path, keys: FileKeys | None, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every step: each entry is whole or gone, in order, and another call erases the rest."""
    seen: set[int] = set()
    for at in range(200):
        here = folder.with_name(f"{at}.vault")
        how: dict[str, Any] = {"clock": clock, "keys": keys}
        with Vault(here, **how) as vault:
            vault.put_many(some := entries(3))
        monkeypatch.setattr(MOST, 1)
        try:
            with Vault(here, fuse=Fuse(at), **how) as vault:
                _keeper(vault).erase(*(each.id for each in some[:2]))
        except Crash:
            pass
        else:
            assert seen == {0, 1, 2}
            return
        finally:
            monkeypatch.undo()
        seen.add(_check_half_erased(here, how, some))
    pytest.fail("the fuse never held")


def _check_half_erased(folder: Path, how: dict[str, Any], some: list[ArchiveEntry]) -> int:
    """Open what a crash left, check it and erase the rest; return how many were gone."""
    with Vault(folder, **how) as vault:
        assert vault.verify("content").findings == ()
        before = _erased(vault, some)
        gone = sum(before)
        assert before == [True] * gone + [False] * (3 - gone)
        assert vault.view(BOB).count() == 3 - gone
        done = _keeper(vault).erase(*(each.id for each in some[:2]))
        assert len(done.overwritten) == 2 - gone
        assert _erased(vault, some) == [True, True, False]
        assert vault.verify("content").findings == ()
    return gone


def test_what_is_held_after_a_crash_between_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of an erasure was never decided: it is judged anew by what stands then."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(some := entries(2))
        monkeypatch.setattr(MOST, 1)
        append, left = vault._opened()._writer.append, iter([True])

        def once(draft: Any) -> None:
            if not next(left, False):
                raise Crash
            append(draft)

        monkeypatch.setattr(vault._opened()._writer, "append", once)
        with pytest.raises(Crash):
            _keeper(vault).erase(*(each.id for each in some))
    with Vault(folder, keys=None) as vault:
        _keeper(vault).hold("m", Selection(entries=[some[1].id]))
        with pytest.raises(UnderHold):
            _keeper(vault).erase(*(each.id for each in some))

        assert _erased(vault, some) == [True, False]
        assert vault.verify("content").findings == ()


def test_grants_are_written_in_portions(vault: Vault, folder: Path, monkeypatch: Any) -> None:
    """And as many entries have an owner as were said to have got one."""
    vault.put_many(entries(3, owners={}, unresolved=("dave@example.com",)))
    monkeypatch.setattr(MOST, 2)

    assert vault.reattribute(StaticMap({"dave@example.com": UserId("dave")})) == 3
    assert vault.view(UserId("dave")).count() == 3
    assert _facts(folder, "granted") == [2, 1]


def test_repairs_are_put_on_record_in_portions(folder: Path, monkeypatch: Any) -> None:
    """A crash between two leaves the rest to the next opening, and each is there once."""
    replica = folder.with_name("replica")
    with Vault(folder, keys=None, pack_size=1) as vault:
        for each in entries(3):
            vault.put(each)
    shutil.copytree(folder, replica)
    for pack in folder.glob("volumes/*/packs/*.tar"):
        pack.write_bytes(bytes(512) + pack.read_bytes()[512:])
    monkeypatch.setattr(MOST, 1)

    with Vault(folder) as vault, Vault(replica, read_only=True) as other:
        plan = vault.plan_repair(other)
        append, left = vault._opened()._writer.append, iter([True, True])

        def twice(draft: Any) -> None:
            if not next(left, False):
                raise Crash
            append(draft)

        monkeypatch.setattr(vault._opened()._writer, "append", twice)
        with pytest.raises(Crash):
            vault.repair(plan, other, actor="Ada", reason="bit rot")
    assert _facts(folder, "repair") == [1, 1]
    with Vault(folder) as vault:
        assert vault.verify("content").findings == ()

    assert _facts(folder, "repair") == [1, 1, 1]
