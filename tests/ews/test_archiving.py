"""A mailbox over EWS, through the archiver, into a vault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.ews import ALICE, Desk, numbered

from mailarchive import UserId, Vault
from mailarchive.archiver import Archiver, Removal
from mailarchive.attribution import mailbox_owner
from mailarchive.testing.memory import MemoryCheckpoints, MemoryQuarantine
from mailarchive.users import StaticMap

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive import RunReport
    from mailarchive.abc import Source


def archive(
    source: Source, vault: Vault, state: MemoryCheckpoints, *, remove: bool = False
) -> RunReport:
    """Run once."""
    return Archiver(
        source,
        vault,
        StaticMap({ALICE: "alice"}),
        state=state,
        quarantine=MemoryQuarantine(),
        attribution=mailbox_owner,
        removal=Removal.when_archived() if remove else Removal.never(),
    ).run()


def test_a_mailbox_reaches_its_owner_and_a_second_run_stores_nothing(
    desk: Desk, tmp_path: Path
) -> None:
    """Every message comes back to the byte; what is new comes with the next run."""
    raws = desk.deliver(13)
    state = MemoryCheckpoints()
    with Vault(tmp_path / "acme.vault", keys=None) as vault:
        first = archive(desk.source(), vault, state)
        again = archive(desk.source(), vault, state)
        later = numbered(15)[13:]
        for raw in later:
            desk.mailbox.deliver(raw)
        third = archive(desk.source(), vault, state)
        seen = {view.content() for view in vault.view(UserId("alice")).messages()}

    assert first.ok
    assert first.stored == len(raws)
    assert (again.listed, third.stored) == (0, len(later))
    assert seen == {*raws, *later}


def test_what_is_archived_is_removed_where_that_is_asked_for(desk: Desk, tmp_path: Path) -> None:
    """Exactly what has a receipt goes to Deleted Items."""
    raws = desk.deliver(7)
    with Vault(tmp_path / "acme.vault", keys=None) as vault:
        report = archive(desk.source(), vault, MemoryCheckpoints(), remove=True)

    assert report.ok
    assert report.removed == len(raws)
    assert not desk.mailbox.folder("inbox").items
    assert {i.raw for i in desk.mailbox.folder("deleteditems").items.values()} == set(raws)
