"""The file sources keep the laws that every source keeps."""

from __future__ import annotations

import re
from contextlib import contextmanager
from copy import copy
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from support.file_sources import trace
from support.mbox import FROM, stored, written
from typing_extensions import override

from mailarchive.sources.files import EmlFolder, Maildir, Mbox, MboxVariant
from mailarchive.testing import source_laws
from mailarchive.testing.source_contract import Odd, SourceContract, SourceWorld

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mailarchive import Folder, MessageRef
    from mailarchive.abc import Source

PAGE = 5
READS_ALL = "whoever runs the tests may be one who can read every file"


class EmlWorld(SourceWorld):
    """A folder of .eml files."""

    below = "Elsewhere"
    top = "."
    parts: tuple[str, ...] = ()
    takes = frozenset(Odd)
    cannot: Mapping[str, str] = MappingProxyType(
        {"renumber": "the name of a message is that of its file", "spoiled": READS_ALL}
    )

    @override
    def folder_path(self) -> tuple[str, ...]:
        """As its directory is called."""
        return (self.top if self.place == self.root else self.below.lstrip("."),)

    def __init__(self, place: Path) -> None:
        """Begin empty."""
        self.root = self.place = place / "mail"
        self.place.mkdir()
        self.count = 0

    @override
    def source(self) -> Source:
        """Over the whole folder."""
        return EmlFolder(self.root, page_size=PAGE)

    @override
    def folder(self, source: Source) -> Folder:
        """The top, or the one below it."""
        return source.folders()[self.place != self.root]

    @override
    def elsewhere(self) -> SourceWorld | None:
        """A directory below the top."""
        other = copy(self)
        other.place = self.root / self.below
        for part in ("", *self.parts):
            (other.place / part).mkdir()
        return other

    @override
    def deliver(self, raws: Sequence[bytes]) -> None:
        """A file each, under growing names."""
        for raw in raws:
            self.count += 1
            self.path(f"{self.count:04}").write_bytes(raw)

    def path(self, name: str) -> Path:
        """Return where a message of that name is."""
        return self.place / f"{name}.eml"

    @override
    def lose(self, ref: MessageRef) -> None:
        """By deleting the file."""
        (self.place / unquote(ref.key)).unlink()

    @override
    @contextmanager
    def broken(self) -> Iterator[None]:
        """By moving everything away, as a disk does that is taken out."""
        away = self.root.rename(self.root.with_name("away"))
        try:
            yield
        finally:
            away.rename(self.root)

    @override
    def look(self) -> object:
        """Names, bytes and every time of files; of directories the names."""
        found = sorted(self.place.rglob("*"))
        files = [(p, trace(p)) for p in found if p.is_file()]
        return files, [(p, p.stat().st_mtime_ns) for p in found if p.is_dir()]


class MaildirWorld(EmlWorld):
    """A Maildir, half of it new."""

    below = ".Elsewhere"
    top = "INBOX"
    parts = ("cur", "new", "tmp")

    def __init__(self, place: Path) -> None:
        """Make the three parts."""
        super().__init__(place)
        for part in self.parts:
            (self.place / part).mkdir()

    @override
    def source(self) -> Source:
        """Over the inbox."""
        return Maildir(self.root, page_size=PAGE)

    @override
    def path(self, name: str) -> Path:
        """Return a name in `cur` or in `new`, in turn."""
        part, info = ("cur", ":2,S") if int(name) % 2 else ("new", "")
        return self.place / part / f"{name}.M1P1.host{info}"

    @override
    def lose(self, ref: MessageRef) -> None:
        """By deleting the file, whatever its flags."""
        (path,) = (p for p in self.place.glob("*/*") if p.name.partition(":")[0] == ref.key)
        path.unlink()


class MboxWorld(EmlWorld):
    """An mbox to which mail is added."""

    top = "mbox"
    takes = frozenset(Odd) - {Odd.NO_LAST_LINE_END, Odd.EMPTY}
    cannot = MappingProxyType({"spoiled": READS_ALL})

    def __init__(self, place: Path, variant: MboxVariant) -> None:
        """Make an empty file."""
        super().__init__(place)
        self.variant = variant
        self.file.touch()

    @override
    def elsewhere(self) -> None:
        """A file is one folder."""

    @override
    def source(self) -> Source:
        """Over the file, in the variant that is written here."""
        return Mbox(self.file, variant=self.variant, page_size=PAGE)

    @property
    def file(self) -> Path:
        """The file."""
        return self.place / "mbox"

    @override
    def deliver(self, raws: Sequence[bytes]) -> None:
        """Behind what is there, as a writer of the variant does."""
        with self.file.open("ab") as file:
            file.write(written(list(raws), self.variant))

    @override
    def stored(self, raw: bytes) -> bytes:
        """What a writer puts into the message stays; only mboxrd can take it out again."""
        return raw if self.variant is MboxVariant.MBOXRD else stored(raw, self.variant)

    @override
    def lose(self, ref: MessageRef) -> None:
        """Wipe the message where it stands, so that the others keep their places.

        A program that writes the file anew moves them; that the old token is refused then
        is a law of its own.
        """
        with self.file.open("r+b") as file:
            file.seek(int(ref.key) + len(b"From "))
            file.write(b"x@x")  # another sender: still a line that ends the message before

    @override
    def renumber(self) -> None:
        """As a program does that writes the file anew without what was wiped."""
        parts = re.split(rb"(?m)^(?=From .@. )", self.file.read_bytes())
        anew = self.place / "anew"
        anew.write_bytes(b"".join(part for part in parts if part.startswith(FROM)))
        anew.replace(self.file)


class TestEmlFolder(SourceContract):
    """A folder of .eml files is a source."""

    @pytest.fixture
    def world(self, tmp_path: Path) -> SourceWorld:
        """Return an empty folder."""
        return EmlWorld(tmp_path)


class TestMaildir(SourceContract):
    """A Maildir is a source."""

    @pytest.fixture
    def world(self, tmp_path: Path) -> SourceWorld:
        """Return an empty Maildir."""
        return MaildirWorld(tmp_path)


@pytest.mark.parametrize("variant", list(MboxVariant), scope="class")
class TestMbox(SourceContract):
    """An mbox is a source, whoever wrote it."""

    @pytest.fixture
    def world(self, tmp_path: Path, variant: MboxVariant) -> SourceWorld:
        """Return an empty mbox."""
        return MboxWorld(tmp_path, variant)


class Trusting(EmlFolder):
    """Takes a message for gone whose disk is gone."""

    @override
    def _check_place(self, ref: MessageRef) -> None:
        """Look at nothing."""


def test_a_source_that_takes_a_lost_disk_for_lost_mail_is_found_out(tmp_path: Path) -> None:
    """The law of trouble sees it, where the world can take the disk away."""

    class World(EmlWorld):
        """The same place."""

        @override
        def source(self) -> Source:
            """Read by the source that trusts its disk."""
            return Trusting(self.root, page_size=PAGE)

    with pytest.raises(AssertionError, match="taken for gone"):
        source_laws.only_our_errors_come_out(World(tmp_path))
