"""A crash at every boundary of a run: the file of listed messages never hides one."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from support.graph import Archive, mail

from mailarchive import Removal
from mailarchive.testing.fuse import Crash, Fuse
from mailarchive.testing.graph_server import refused

if TYPE_CHECKING:
    from pathlib import Path

    from support.graph import GraphWorld

COUNT = 7


def run(archive: Archive, fuse: Fuse, removal: Removal) -> None:
    """Run once, with every part on one fuse, and die with it."""
    for part in (archive.sink, archive.state, archive.quarantine):
        part.fuse = fuse
    with suppress(Crash):
        archive.run(removal=removal)


@pytest.mark.slow
@pytest.mark.parametrize("removal", [Removal.never(), Removal.when_archived()], ids=["keep", "go"])
@pytest.mark.parametrize("trouble", ["none", "early", "lost"])
def test_a_crash_at_any_step_loses_nothing_and_repeats_nothing(
    world: GraphWorld, tmp_path: Path, trouble: str, removal: Removal
) -> None:
    """Also where delta queries lie; what was listed and not accounted for is listed again."""
    inbox = world.store.box("inbox")
    assert inbox is not None
    step, blown = 0, True
    while blown:
        start = COUNT * step
        world.deliver(mail(COUNT, start))
        inbox.closes_early = int(trouble == "early")
        world.server.faults = [refused("delta", 410, "x", every=3)] if trouble == "lost" else []
        archive = Archive(evolve(world, seen=tmp_path / f"{step}.db"))
        fuse = Fuse(step)
        run(archive, fuse, removal)
        blown = fuse.blown
        for _ in range(2):  # a link may be lost in the very first listing, which fails that run
            run(archive, Fuse(), removal)
        wanted = mail(COUNT, start)

        assert sorted(each for each in archive.raws if each in set(wanted)) == sorted(wanted)
        assert len(archive.raws) == len(set(archive.raws))
        if removal.enabled:
            assert inbox.items == {}
        for item in list(inbox.items):
            world.store.lose(item)
        inbox.journal.clear()
        step += 1

    assert step > COUNT
