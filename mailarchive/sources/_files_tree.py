"""What the sources have in common that read a tree with one file for each message."""

from __future__ import annotations

import errno
import os
from abc import abstractmethod
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen
from typing_extensions import override

from mailarchive._model import Folder, MessageRef, Page, SourceMessage, Unavailable
from mailarchive.abc import Source
from mailarchive.errors import AccessDenied, SourceUnavailable
from mailarchive.sources._files_disk import (
    NoFile,
    TooLarge,
    Unsteady,
    default_name,
    place_error,
    relative_of,
    symbol,
)
from mailarchive.sources._files_limits import NO_MEMORY, FileLimits
from mailarchive.sources._files_record import Record, word

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from mailarchive._model import Address
    from mailarchive.sources._files_disk import StrPath

PAGE = 500
"""Messages in a page, until many were listed."""

_TOKENS = 20
"""A page has at least one in so many of the files that were listed before it."""


def real(path: Path) -> Path:
    """Return where a path leads, links followed, whether or not anything is there."""
    return Path(os.path.realpath(path))


def leads_to_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether a name is a directory, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link in a circle, or to where we may not look


class Gone(Exception):
    """The message that a ref points at is not there any more."""


@frozen
class Found:
    """A file in a folder; files are listed by `order`, then by key."""

    order: int
    key: str
    revision: str | None = None
    size: int | None = None


class FileTree(Source):
    """Reads a tree and changes nothing in it; `_found` and `_read` are the two kinds' own."""

    kind: str = "files"

    def __init__(
        self,
        path: StrPath,
        *,
        name: str | None = None,
        mailbox: Address | None = None,
        page_size: int = PAGE,
        limits: FileLimits | None = None,
    ) -> None:
        """Take the top folder; `name` is made from its absolute path where none is given."""
        self.name: str = name or default_name(self.kind, path)
        self.mailbox = mailbox
        self._root = Path(path).absolute()
        self._page_size = page_size
        self._limits = limits or FileLimits()
        self._gone: dict[str, set[str]] = {}
        self._places: dict[Path, tuple[int, int]] = {}

    @override
    def _open(self) -> None:
        next(self._list(self._root), None)
        self._note(self._root)

    def _list(self, place: Path) -> Generator[os.DirEntry[str]]:
        """Yield what is in a folder; raises our error for a folder that cannot be listed."""
        try:
            with os.scandir(place) as entries:
                yield from entries
        except OSError as error:
            raise place_error(self.name, "folder", error) from error

    def _place(self, folder: str) -> Path:
        """Return where the folder of that key is; raises our error where it is nowhere."""
        relative = relative_of(folder)
        if relative is None:
            missing = FileNotFoundError(errno.ENOENT, "")
            raise place_error(self.name, "folder", missing) from None
        return self._root / relative

    def _check_inside(self, place: Path) -> None:
        if self._leads_out(place):
            raise AccessDenied(
                f"source {self.name}: a folder is a link that leads out of the tree",
                suggestions=["take the link away, and archive its target as a source of its own"],
            )

    def _leads_out(self, path: Path) -> bool:
        """Tell whether a path, its links followed, is outside the tree."""
        return not real(path).is_relative_to(real(self._root))

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        """Tell whether to list a directory; one linked from inside is listed where it is."""
        if entry.is_dir(follow_symlinks=False):
            return True
        return leads_to_folder(entry) and self._leads_out(Path(entry.path))

    def _note(self, place: Path) -> None:
        """Remember which folder stands there, to notice when it is another one."""
        status = place.stat()
        self._places[place] = status.st_dev, status.st_ino

    @abstractmethod
    def _found(self, folder: Folder, place: Path) -> Iterator[Found]:
        """Yield every message in the folder once, in any order."""

    @abstractmethod
    def _read(self, ref: MessageRef) -> SourceMessage | Unavailable:
        """Return the message; raises `Gone`, `OSError`, `NoFile`, `TooLarge`, `Unsteady`."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        """Yield what the token does not name, oldest first.

        An empty page at the end takes back what was listed and could not be found, so that
        it is listed again should it return.
        """
        record = Record.parse(after)
        place = self._place(folder.key)
        self._check_inside(place)
        fresh = iter(self._fresh(folder, place, record))
        while some := tuple(islice(fresh, self._page_for(record))):
            record.forget(self._gone.pop(folder.key, ()))
            record.add(word(each.key, each.revision) for each in some)
            refs = (self._ref(folder, each) for each in some)
            yield Page(folder, tuple(refs), record.token())
        if folder.key in self._gone:
            record.forget(self._gone.pop(folder.key))
            yield Page(folder, (), record.token())

    def _page_for(self, record: Record) -> int:
        """Return how many files the next page has: more, the more there are already.

        Each page is saved with a token that names every file; pages of one size would
        write the square of their number.
        """
        return max(self._page_size, len(record) // _TOKENS)

    def _fresh(self, folder: Folder, place: Path, record: Record) -> list[Found]:
        there: list[str] = []
        fresh: list[Found] = []
        try:
            for each in self._found(folder, place):
                known = word(each.key, each.revision)
                if known in record:
                    there.append(known)
                else:
                    fresh.append(each)
            self._note(place)
        except OSError as error:
            raise place_error(self.name, "folder", error) from error
        record.keep(there)
        return sorted(fresh, key=lambda each: (each.order, each.key))

    def _ref(self, folder: Folder, each: Found) -> MessageRef:
        return MessageRef(self.name, folder.key, each.key, each.size, each.revision)

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterable[SourceMessage | Unavailable]:
        for ref in refs:
            try:
                yield self._read(ref)
            except (Gone, FileNotFoundError, NotADirectoryError):
                self._check_place(ref)
                self._gone.setdefault(ref.folder, set()).add(word(ref.key, ref.revision))
            except NoFile:
                yield Unavailable(ref, "no ordinary file", permanent=True)
            except TooLarge:
                yield Unavailable(ref, self._limits.refusal(), permanent=True)
            except MemoryError:
                yield Unavailable(ref, NO_MEMORY)
            except Unsteady:
                yield Unavailable(ref, "written to while it was read")
            except OSError as error:
                yield self._unreadable(ref, error)

    def _unreadable(self, ref: MessageRef, error: OSError) -> Unavailable:
        if error.errno == errno.ELOOP:
            return Unavailable(ref, "a symbolic link that is not followed", permanent=True)
        return Unavailable(ref, f"not readable: {symbol(error)}")

    def _check_place(self, ref: MessageRef) -> None:
        """Refuse to call a message gone where it is the disk that is gone.

        Raises `SourceUnavailable` where the top, or the message's folder, is another one
        than before, as it is under a mount point whose disk was taken away.
        """
        for place in (self._root, self._place(ref.folder)):
            before = self._places.get(place)
            if before is not None and before != self._now(place, before):
                raise SourceUnavailable(
                    f"source {self.name}: a folder was replaced or its disk taken away",
                    suggestions=["mount the disk, leave the folder alone, and run again"],
                )

    def _now(self, place: Path, before: tuple[int, int]) -> tuple[int, int]:
        """Return what stands there now; a folder deleted from the same disk is as before."""
        try:
            status = place.stat()
        except FileNotFoundError:
            if place == self._root:
                return 0, 0
            return before if self._now(place.parent, before)[0] == before[0] else (0, 0)
        return status.st_dev, status.st_ino
