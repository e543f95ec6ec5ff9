"""A tree of `.eml` files, one message each."""

from __future__ import annotations

import errno
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from mailarchive._bounds import several
from mailarchive._model import CoverageGap, Folder, SourceMessage, Unavailable
from mailarchive.errors import ConfigurationError, SourceError
from mailarchive.sources._files_disk import (
    TOP,
    below,
    for_people,
    key_of,
    modified_at,
    read_whole,
    relative_of,
)
from mailarchive.sources._files_tree import PAGE, FileTree, Found, Gone, leads_to_folder, real

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from mailarchive._model import Address, MessageRef
    from mailarchive.sources._files_disk import StrPath
    from mailarchive.sources._files_limits import FileLimits


class EmlFolder(FileTree):
    """Every file of a tree whose name ends in `.eml`, a folder for each directory.

    `gaps` counts the files that are passed over because their names end otherwise, and the
    links to files of the tree that are not there.

    Reads and never writes.  A file is listed once; a file whose size or time of change
    is another one is another copy of the message and is listed too.  So a program that
    fills the tree must write elsewhere and rename, or half a message may be archived
    before the whole one is.  `received_at` is the file's time of change.

    A link to a file inside the tree is followed.  A link that leads out is never followed
    and never passed over in silence: a message behind one is reported as unavailable, a
    directory behind one as a folder that failed.
    """

    kind: str = "eml"

    def __init__(
        self,
        path: StrPath,
        *,
        suffixes: Iterable[str] = (".eml",),
        name: str | None = None,
        mailbox: Address | None = None,
        page_size: int = PAGE,
        limits: FileLimits | None = None,
    ) -> None:
        """Take the top folder and the endings, in either case, that make a message.

        The ending `""` takes every file.  Raises `ConfigurationError` where there is none,
        or a text, whose letters would be the endings.
        """
        super().__init__(path, name=name, mailbox=mailbox, page_size=page_size, limits=limits)
        endings = several("endings", suffixes, 'a tuple, as in suffixes=(".eml",)')
        self._suffixes = tuple(ending.lower() for ending in endings)
        if not self._suffixes:
            raise ConfigurationError(
                "no ending makes a message, so that there would be none",
                suggestions=['name one or more, such as ".eml"; "" takes every file'],
            )
        self._passed_over = self._dangling = 0

    @override
    def _folders(self) -> Iterable[Folder]:
        """Return the top, and every directory that has a message or may not be read."""
        self._passed_over = self._dangling = 0
        yield Folder(TOP, (TOP,))
        names = sorted(name for name in self._walk() if name)
        yield from (Folder(key_of(name), for_people(name)) for name in names)

    def _walk(self) -> Iterator[str]:
        waiting = [""]
        while waiting:
            here = waiting.pop()
            place = self._root / here
            wanted = self._leads_out(place)  # scanning it says what is wrong
            try:
                for each in self._list(place) if not wanted else ():
                    if self._is_folder(each):
                        waiting.append(below(here, each.name))
                    elif self._is_message(each):
                        wanted = True
                        self._dangling += self._dangles(each)
                    elif not leads_to_folder(each):
                        self._passed_over += 1
            except SourceError:
                wanted = True  # and here too
            if wanted:
                yield here

    @override
    def _gaps(self) -> Iterator[CoverageGap]:
        if self._passed_over:
            yield CoverageGap(
                "other-endings",
                f"files whose names do not end in {' or '.join(self._suffixes)}, "
                f"{self._passed_over:,} of them",
                (
                    "nothing, where they are no mail",
                    "name their endings too (suffixes), where they hold messages as .eml files do",
                    "convert them, where they are .msg of Outlook or .emlx of Apple Mail",
                ),
                self._passed_over,
            )
        if self._dangling:
            yield CoverageGap(
                "links-to-nothing",
                f"links to files that are not there, {self._dangling:,} of them",
                (
                    "nothing, where the files were deleted",
                    "bring back what they lead to, and run again",
                ),
                self._dangling,
            )

    def _dangles(self, entry: os.DirEntry[str]) -> bool:
        """Tell whether a name is a link to a file of the tree that is not there.

        One that leads out is refused when it is read, whatever is there.
        """
        if not entry.is_symlink() or self._leads_out(Path(entry.path)):
            return False
        try:
            Path(entry.path).stat()
        except OSError as error:
            return error.errno == errno.ENOENT
        return False

    def _is_message(self, entry: os.DirEntry[str]) -> bool:
        return entry.name.lower().endswith(self._suffixes) and not leads_to_folder(entry)

    @override
    def _found(self, folder: Folder, place: Path) -> Iterator[Found]:
        for entry in self._list(place):
            if self._is_message(entry) and not self._dangles(entry):
                try:
                    status = _status(entry)
                except FileNotFoundError:
                    continue
                order, size = status.st_mtime_ns, status.st_size
                yield Found(order, key_of(entry.name), _revision(status), size)

    @override
    def _read(self, ref: MessageRef) -> SourceMessage | Unavailable:
        name = relative_of(ref.key)
        if not name or "/" in name:
            raise Gone
        path = real(self._place(ref.folder) / name)
        if self._leads_out(path):
            return Unavailable(ref, "a link that leads out of the tree", permanent=True)
        raw, status = read_whole(path, self._limits.message_octets)
        if ref.revision != _revision(status):
            raise Gone
        return SourceMessage(ref, raw, modified_at(status))


def _status(entry: os.DirEntry[str]) -> os.stat_result:
    """Return the state of a file; of the link itself where it leads nowhere."""
    status = entry.stat(follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        return status
    try:
        return Path(entry.path).stat()
    except OSError:
        return status


def _revision(status: os.stat_result) -> str:
    return f"{status.st_size:x}-{status.st_mtime_ns:x}"
