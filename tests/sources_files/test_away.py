"""A message that is away when it is to be read: it is archived once it is back, come what may."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define
from support.world import World, mail

from mailarchive.sources.files import EmlFolder, Maildir, Mbox
from mailarchive.testing.fuse import Crash, Fuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mailarchive import MessageRef, SourceMessage, Unavailable
    from mailarchive.abc import Source

MESSAGES = 5
STEPS = 18
"""More than a run has; a test says so."""


@define
class Place:
    """A source of some messages, and what becomes unreadable while it is away."""

    source: Source
    path: Path

    _kept: bytes | None = None

    def leave(self) -> None:
        """Be away; an mbox is empty, as a program leaves it that writes it anew."""
        self._kept = self.path.read_bytes()
        if isinstance(self.source, Mbox):
            os.truncate(self.path, 0)
        else:
            self.path.rename(self.path.with_name("away"))

    def come_back(self) -> None:
        """Stand there again, if it went."""
        if isinstance(self.source, Mbox) and self._kept is not None:
            self.path.write_bytes(self._kept)
        elif self._kept is not None:
            self.path.with_name("away").rename(self.path)
        self._kept = None


def maildir(top: Path) -> Place:
    """Return a Maildir whose third message goes away."""
    for part in ("cur", "new", "tmp"):
        (top / "box" / part).mkdir(parents=True)
    for number in range(MESSAGES):
        (top / "box" / "cur" / f"{number}.a:2,S").write_bytes(mail(number))
    return Place(Maildir(top / "box", page_size=2), top / "box" / "cur" / "2.a:2,S")


def eml(top: Path) -> Place:
    """Return a folder of files, the third of which goes away."""
    (top / "box").mkdir(parents=True)
    for number in range(MESSAGES):
        (top / "box" / f"{number}.eml").write_bytes(mail(number))
    return Place(EmlFolder(top / "box", page_size=2), top / "box" / "2.eml")


def mbox(top: Path) -> Place:
    """Return an mbox that is emptied for a moment."""
    line = b"From alice@corp.example Mon Nov  2 10:00:00 2026\n"
    top.mkdir(parents=True)
    (top / "box").write_bytes(b"\n".join(line + mail(number) for number in range(MESSAGES)))
    return Place(Mbox(top / "box", page_size=2), top / "box")


def run(world: World, place: Place, fuse: Callable[[str], None], *, away: bool = True) -> None:
    """Run once; the second page finds its first message away, and what follows finds it back."""
    fetch = place.source._fetch
    pages = iter(range(STEPS))

    def moved(refs: Iterable[MessageRef]) -> Iterable[SourceMessage | Unavailable]:
        if away and next(pages) == 1:
            place.leave()
        items = list(fetch(tuple(refs)))
        place.come_back()
        return items

    for part in (world.sink, world.state, world.quarantine):
        part.fuse = fuse
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place.source, "_fetch", moved)
        world.archiver().run()


def begin(make: Callable[[Path], Place], top: Path) -> tuple[World, Place]:
    """Return a new world, and a place to read into it."""
    place = make(top)
    return World(source=_any(place.source)), place


def _any(source: Any) -> Any:
    return source


def owed(world: World) -> list[str]:
    """Return the reasons why messages wait, by the last checkpoint."""
    return [retry.reason for retry in world.state.saved[-1].retry]


each_kind = pytest.mark.parametrize("make", [maildir, eml, mbox])


@each_kind
def test_the_steps_of_a_run_are_all_walked(make: Callable[[Path], Place], tmp_path: Path) -> None:
    """The numbers below reach past the last step, and the run really misses a message."""
    world, place = begin(make, tmp_path / "a")
    fuse = Fuse()

    run(world, place, fuse)

    assert 6 <= len(fuse.steps) < STEPS
    assert len(world.archived()) < MESSAGES
    assert owed(world) == []


@each_kind
@pytest.mark.parametrize("at", range(STEPS))
def test_a_run_that_dies_leaves_no_message_unread(
    make: Callable[[Path], Place], tmp_path: Path, at: int
) -> None:
    """(1) Whichever step it does not reach, also where the next run misses one and dies."""
    for second in chain([None], range(STEPS)):
        world, place = begin(make, tmp_path / str(second))
        with suppress(Crash):
            run(world, place, Fuse(at))
        if second is not None:
            with suppress(Crash):
                run(world, place, Fuse(second))

        run(world, place, Fuse(), away=False)

        assert sorted(mail(number) for number in range(MESSAGES)) == sorted(world.archived())
        assert owed(world) == []
