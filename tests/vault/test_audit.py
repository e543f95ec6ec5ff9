"""An auditor sees everything, and is seen."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from support.vaults import entries, entry, journaled, mail, to

from mailarchive import Address, Digest, Role, UserId
from mailarchive.errors import SinkError, Unsupported
from mailarchive.testing.fuse import Crash, Fuse
from mailarchive.vault import Vault

if TYPE_CHECKING:
    from pathlib import Path

    from support.vaults import Clock, OpenVault


def test_a_reading_is_on_record_before_anything_is_shown(
    open_vault: OpenVault, folder: Path, clock: Clock
) -> None:
    """Whoever becomes an auditor leaves name, reason and time, also where nothing is read."""
    with Vault(folder, keys=None, clock=clock) as vault:
        vault.auditor("Ada", "matter 7")
        clock.advance(hours=1)
        vault.auditor("Bob", "\ud800 \0 why")
    for file in folder.rglob("index.db*"):
        file.unlink()

    told = open_vault().auditor("Eve", "to see the others").readings()

    assert [(each.actor, each.reason, each.at.hour) for each in told] == [
        ("Ada", "matter 7", 12),
        ("Bob", "\ud800 \0 why", 13),
        ("Eve", "to see the others", 13),
    ]
    assert "Ada" not in repr(told)


@pytest.mark.parametrize(
    "step", ["create file", "write", "sync file", "sync folder", "commit index"]
)
def test_without_the_record_there_is_no_auditor(folder: Path, step: str) -> None:
    """Where the record cannot be made durable, nothing is shown."""
    armed: list[str] = []

    def fuse(name: str) -> None:
        if armed and name == step:
            raise OSError(28, "no room")

    with Vault(folder, keys=None, fuse=fuse) as vault:
        armed.append("now")
        with pytest.raises(SinkError):
            vault.auditor("me", "why")


def test_a_crash_before_the_record_shows_nothing(folder: Path) -> None:
    """An auditor exists only after every step of the record was taken."""
    shown: list[object] = []

    def run(fuse: Fuse) -> None:
        with Vault(folder.with_name(str(len(tried))), keys=None) as vault:
            vault._disk.fuse = fuse
            shown.append(vault.auditor("me", "why"))

    tried: list[int] = []
    steps = Fuse().count(run)
    shown.clear()
    for n in range(steps):
        tried.append(n)
        with pytest.raises(Crash):
            run(Fuse(n))

    assert steps > 4
    assert not shown


@pytest.mark.parametrize(
    ("actor", "reason"), [("", "why"), ("me", ""), (" ", "why"), ("me", "\n")]
)
def test_an_auditor_has_a_name_and_a_reason(vault: Vault, actor: str, reason: str) -> None:
    """Nobody reads everything namelessly, or without saying why."""
    with pytest.raises(Unsupported):
        vault.auditor(actor, reason)


def test_an_auditor_sees_everything_that_was_put(vault: Vault) -> None:
    """Every value of an entry comes back as it was put."""
    lines = [to("secret@example.com", Role.BCC)]
    one = journaled(
        mail(),
        lines,
        unresolved=("stranger@example.com",),
        flags=frozenset({"\\Seen", "work"}),
        received_at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
        path=("A", "B"),
    )
    vault.put(one)
    vault.rebuild()

    (seen,) = vault.auditor("me", "to compare").entries()

    names = ["id", "raw_digest", "envelope", "ownership", "copy", "folder", "fork_key"]
    more = ["received_at", "flags", "provenance"]
    assert {name: getattr(seen, name) for name in names + more} == {
        name: getattr(one, name) for name in names + more
    }
    assert (seen.raw(), seen.originals(), seen.content()) == (one.raw, (mail(),), mail())
    assert (seen.number, seen.size) == (1, len(one.raw))


def test_mail_of_nobody_is_the_auditor_s_alone(vault: Vault) -> None:
    """Unowned mail is kept, is in no view, and an auditor finds it."""
    vault.put_many(entries(2))
    vault.put(entry(mail(9), key="9", owners={}, unresolved=("who@example.com",)))
    auditor = vault.auditor("me", "to find owners")

    (found,) = auditor.unowned()

    assert found.content() == mail(9)
    assert found.ownership.unresolved == {Address("who@example.com")}
    assert auditor.users() == {"alice": 2, "bob": 2}
    assert (auditor.count(), vault.view(UserId("who@example.com")).count()) == (3, 0)


def test_entries_are_read_in_order_from_any_number_on(vault: Vault) -> None:
    """Entries come in the order in which they were archived, in little memory, resumable."""
    vault.put_many(entries(520))
    auditor = vault.auditor("me", "to count")

    assert [each.number for each in auditor.entries()] == list(range(1, 521))
    assert [each.number for each in auditor.entries(after=517)] == [518, 519, 520]


def test_an_entry_is_found_by_its_id(vault: Vault) -> None:
    """An id finds its entry, and another one nothing."""
    vault.put(entry(mail()))
    auditor = vault.auditor("me", "to look it up")
    found = auditor.get(entry(mail()).id)

    assert found is not None
    assert found.raw() == mail()
    assert auditor.get(Digest.of(b"x")) is None
    assert found == evolve(found)
