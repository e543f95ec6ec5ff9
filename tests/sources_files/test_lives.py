"""Whatever happens to a place of files, and to runs over it: a run in peace archives it all."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mbox import FROM, with_length
from support.world import World, mail
from typing_extensions import override

from mailarchive.errors import MailArchiveError, SourceUnavailable
from mailarchive.retry import RetryingSource, RetryPolicy
from mailarchive.sources.files import EmlFolder, Maildir, Mbox, MboxVariant
from mailarchive.testing.fuse import Crash, Fuse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailarchive import Folder, MessageRef, Page, SourceMessage, Unavailable
    from mailarchive.abc import Source

AGES = timedelta(days=30)


@frozen
class Change:
    """Something that somebody does to the place; the numbers choose to what."""

    what: str
    which: int
    where: int


@frozen(kw_only=True)
class Episode:
    """A run, and what happens meanwhile: a change at each step, an error, a crash, an end."""

    page: int
    meanwhile: Sequence[Change | None]
    fails: int | None
    crashes: int | None
    ends: int | None
    retrying: bool
    fresh: bool


class Place(Protocol):
    """A place of files, which lives."""

    def source(self, page: int) -> Any:
        """Return a new source of it."""
        ...

    def change(self, change: Change) -> None:
        """Do that."""
        ...

    def settle(self) -> list[bytes]:
        """Finish what is under way, and return the messages that stand there then."""
        ...


class Files:
    """Files that come, go, come back, change their names, and move."""

    FOLDERS: Sequence[str]

    def __init__(self, top: Path) -> None:
        self.box, self.elsewhere = top / "box", top / "elsewhere"
        self.away: list[Path] = []
        self.numbers = count()
        self.elsewhere.mkdir()
        for folder in self.FOLDERS:
            (self.box / folder).mkdir(parents=True, exist_ok=True)

    def files(self) -> list[Path]:
        """Return every message, in some order that stays."""
        return sorted(each for part in self.FOLDERS for each in (self.box / part).glob("*[!a-z]*"))

    def settle(self) -> list[bytes]:
        """Return the bytes of every message."""
        return [each.read_bytes() for each in self.files()]

    def change(self, change: Change) -> None:
        """Do that, where there is something to do it to."""
        folder = self.box / self.FOLDERS[change.where % len(self.FOLDERS)]
        number, files = next(self.numbers), [each for each in self.files() if each.is_file()]
        if change.what == "come":
            self.write(folder / f"{number}.eml", mail(number) if change.which % 5 else b"")
        elif change.what == "come back" and self.away:
            path = self.away.pop(change.which % len(self.away))
            (self.elsewhere / path.name).rename(path)
        elif files:
            self.happen(change.what, files[change.which % len(files)], folder)

    def happen(self, what: str, path: Path, folder: Path) -> None:
        """Do that to a message."""
        if what == "go":
            path.rename(self.elsewhere / path.name)
            self.away.append(path)
        elif what == "move":
            path.rename(folder / path.name)
        elif what == "be altered":
            self.alter(path)

    def write(self, path: Path, raw: bytes) -> None:
        """Write a message, with a time of its own however coarse the clock is."""
        path.write_bytes(raw)
        moment = 10**18 + next(self.numbers) * 10**9
        os.utime(path, ns=(moment, moment))

    def alter(self, path: Path) -> None:
        """Write another message in its place."""
        self.write(path, mail(next(self.numbers)))


class Tree(Files):
    """A tree of `.eml` files."""

    FOLDERS = (".", "a", "b")

    def source(self, page: int) -> EmlFolder:
        """Return a new source of it."""
        return EmlFolder(self.box, page_size=page)


class Box(Files):
    """A Maildir with a folder."""

    FOLDERS = ("cur", "new", ".Sent/cur", ".Sent/new")

    def source(self, page: int) -> Maildir:
        """Return a new source of it."""
        return Maildir(self.box, page_size=page)

    @override
    def alter(self, path: Path) -> None:
        """Read it: it goes to `cur`, with another flag."""
        name, _, flags = path.name.partition(":2,")
        path.rename(path.parent.parent / "cur" / f"{name}:2,{'' if flags else 'S'}")


class Mailbox:
    """An mbox to which mail is added, at once or bit by bit, and that is written anew."""

    def __init__(self, top: Path, variant: MboxVariant, *, rests: bool) -> None:
        self.path, self.variant, self.rests = top / "mbox", variant, rests
        self.raws: list[bytes] = []
        self.rest = b""
        self.emptied = False
        self.numbers = count()
        self.write(b"")

    def source(self, page: int) -> Mbox:
        """Return a new source of it, which thinks perhaps that nobody writes to it now."""
        ahead = timedelta(hours=1 if self.rests else 0)
        return Mbox(
            self.path,
            variant=self.variant,
            page_size=page,
            clock=lambda: datetime.now(UTC) + ahead,
        )

    def settle(self) -> list[bytes]:
        """Finish what is under way, and return the messages."""
        self.change(Change("come back" if self.emptied else "go on", 0, 0))
        return self.raws

    def change(self, change: Change) -> None:
        """Do that, where it can be done now."""
        if self.emptied or self.rest:
            self.go_on(change)
        elif change.what in {"come", "move"}:
            self.come(change)
        elif change.what == "go":
            self.emptied = True
            self.write(b"")
        elif self.raws and change.what == "be altered":
            self.raws.pop(change.which % len(self.raws))
            self.write(self.whole(), by_rename=bool(change.where % 2))

    def go_on(self, change: Change) -> None:
        """Write the rest of a message, or what had been there."""
        if self.rest and change.what != "come":
            self.write(self.whole(), by_rename=False)
            self.rest = b""
        elif change.what == "come back":
            self.emptied = False
            self.write(self.whole(), by_rename=False)

    def come(self, change: Change) -> None:
        """Add a message; where it is to move in, first a part of it."""
        self.raws.append(self.mail(change.which))
        whole = self.whole()
        new = len(FROM) + len(self.raws[-1]) + 1
        part = change.where * 9 % new if change.what == "move" else 0
        self.rest = whole[len(whole) - part :] if part else b""
        self.write(whole[: len(whole) - part])

    def whole(self) -> bytes:
        """Return what is to stand in the file."""
        return b"".join(FROM + raw + b"\n" for raw in self.raws)

    def mail(self, which: int) -> bytes:
        """Return a message; one in two has a line that looks like a From_ line, if it may."""
        head = b"Subject: %d\n\n" % next(self.numbers)
        if self.variant is not MboxVariant.MBOXCL2:
            return head + b"a\n\n>From b\n"
        return with_length(head + (b"a\n\n" + FROM + b"To: b\n\nbody\n" if which % 2 else b"c\n"))

    def write(self, content: bytes, *, by_rename: bool = False) -> None:
        """Write the file, in its place or beside it, with a time of its own."""
        path = self.path.with_name("new") if by_rename else self.path
        path.write_bytes(content)
        moment = 10**18 + next(self.numbers) * 10**9
        os.utime(path, ns=(moment, moment))
        path.replace(self.path)


CHANGES = st.builds(
    Change,
    st.sampled_from(["come", "come", "go", "come back", "be altered", "move"]),
    st.integers(0, 9),
    st.integers(0, 9),
)
EPISODES = st.builds(
    Episode,
    page=st.integers(1, 3),
    meanwhile=st.lists(st.none() | CHANGES, max_size=12),
    fails=st.none() | st.integers(0, 8),
    crashes=st.none() | st.integers(0, 14),
    ends=st.none() | st.integers(1, 5),
    retrying=st.booleans(),
    fresh=st.booleans(),
)
LIVES = st.lists(CHANGES | EPISODES, min_size=3, max_size=14)


def lively(source: Any, place: Place, episode: Episode) -> dict[str, Any]:
    """Return the hooks of a source to which things happen between its steps."""
    changes, steps = iter(episode.meanwhile), count()
    scan, fetch = source._scan, source._fetch

    def step() -> None:
        change = next(changes, None)
        if change is not None:
            place.change(change)
        if next(steps) == episode.fails:
            raise SourceUnavailable("away")

    def scanned(folder: Folder, after: str | None) -> Iterator[Page]:
        for page in scan(folder, after):
            step()
            yield page
            step()

    def fetched(refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        for ref in refs:
            step()
            yield from fetch((ref,))

    return {"_scan": scanned, "_fetch": fetched}


def run(world: World, place: Place, source: Any, episode: Episode) -> None:
    """Run once, as the episode tells."""
    tried: Source = RetryingSource(source, RetryPolicy(sleep=lambda _: None))
    archiver = evolve(world.archiver(), source=tried if episode.retrying else source)
    with pytest.MonkeyPatch.context() as patch, suppress(Crash, MailArchiveError):
        for name, hook in lively(source, place, episode).items():
            patch.setattr(source, name, hook)
        for part in (world.sink, world.state):
            patch.setattr(part, "fuse", Fuse(episode.crashes))
        for number, _ in enumerate(archiver.outcomes(), 1):
            if number == episode.ends:
                break


def live(place: Place, life: Sequence[Change | Episode]) -> None:
    """Live through it; then all that stands is archived, nothing is owed, and it is at rest."""
    world, source = World(), place.source(1)
    for each in life:
        if isinstance(each, Change):
            place.change(each)
        else:
            source = place.source(each.page) if each.fresh else source
            run(world, place, source, each)
    stands = place.settle()
    world.now += AGES
    reports = []
    for _ in range(3):  # the second lists an mbox anew where the first had looked in vain
        archiver = evolve(world.archiver(), source=place.source(2))
        reports.append(archiver.run())

    assert set(stands) <= set(world.archived())
    assert all(report.ok and not report.waiting for report in reports)
    assert reports[2].listed == 0


@pytest.mark.parametrize("kind", [Tree, Box])
@given(life=LIVES)
@settings(max_examples=40)
def test_all_files_that_stand_still_are_archived(
    kind: type[Tree | Box], life: Sequence[Change | Episode]
) -> None:
    """(1) Whatever went before."""
    with tempfile.TemporaryDirectory() as top:
        live(kind(Path(top)), life)


@pytest.mark.parametrize("variant", [MboxVariant.MBOXO, MboxVariant.MBOXCL2])
@given(life=LIVES, rests=st.booleans())
@settings(max_examples=40)
def test_all_messages_of_an_mbox_that_stands_still_are_archived(
    variant: MboxVariant, life: Sequence[Change | Episode], *, rests: bool
) -> None:
    """(1) To the byte, also where it seems to be at rest and is not."""
    with tempfile.TemporaryDirectory() as top:
        live(Mailbox(Path(top), variant, rests=rests), life)
