"""A Maildir: one file for each message, in `cur` or `new`, its flags in its name."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from typing_extensions import override

from mailarchive._model import Folder, FolderRole, SourceMessage, Unavailable
from mailarchive.errors import MailboxNotFound
from mailarchive.sources._files_disk import (
    TOP,
    Unsteady,
    below,
    content_of,
    for_people,
    key_of,
    modified_at,
    read_whole,
)
from mailarchive.sources._files_tree import PAGE, FileTree, Found, Gone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mailarchive._model import Address, MessageRef
    from mailarchive.sources._files_disk import StrPath
    from mailarchive.sources._files_limits import FileLimits

_PARTS = ("new", "cur")
"""In this order: a message goes from `new` to `cur`, never back."""

_FLAGS = {
    "D": "\\Draft",
    "F": "\\Flagged",
    "P": "$Forwarded",
    "R": "\\Answered",
    "S": "\\Seen",
    "T": "\\Deleted",
}
_COMPRESSED = (
    b"\x1f\x8b",  # gzip
    b"\x28\xb5\x2f\xfd",  # zstd
    b"\xfd7zXZ\x00",
    b"\x04\x22\x4d\x18",  # LZ4
    *(b"BZh%d1AY" % level for level in range(1, 10)),
)
_KMAIL = ".directory"
_LOOKS = 4
"""How often a message is looked for whose name changes while it is looked for."""


class Maildir(FileTree):
    """A Maildir with its folders, as delivery agents and Dovecot write it.

    Reads and never writes: nothing moves from `new` to `cur`.  Folders are those of
    Maildir++ (`.Sent.2024`), plain nested directories, KMail's (`.inbox.directory/work`),
    and any of them inside another.  The key of a message is its name up to the colon, which
    stays when flags change; a message renamed between listing and reading is found again.
    Files that have that part of the name in common are one message where their bytes are
    the same, and each one of its own where they are not.  Bytes come as they are stored, with LF
    line ends where they have them; a file that Dovecot compressed is reported as
    unavailable.  `received_at` is the file's time, which delivery agents set so.
    """

    kind: str = "maildir"

    def __init__(
        self,
        path: StrPath,
        *,
        name: str | None = None,
        mailbox: Address | None = None,
        page_size: int = PAGE,
        limits: FileLimits | None = None,
    ) -> None:
        """Take the folder that holds `cur` and `new`, or that holds such folders."""
        super().__init__(path, name=name, mailbox=mailbox, page_size=page_size, limits=limits)
        self._listings: dict[str, dict[str, str]] = {}
        self._relisted: set[str] = set()

    @override
    def _open(self) -> None:
        super()._open()
        if not any(self._folders()):
            raise MailboxNotFound(
                f"source {self.name}: the folder is no Maildir and holds none",
                suggestions=["name the folder that has cur and new in it"],
            )

    @override
    def _folders(self) -> Iterable[Folder]:
        """Return every Maildir in the tree, however deep: the top one is the inbox."""
        waiting: list[tuple[str, str, tuple[str, ...]]] = [("", "", ())]
        while waiting:
            here, name, above = waiting.pop(0)
            names = self._folders_in(here)
            is_box = names is None or bool(names & set(_PARTS))
            path = _path(above, name, is_box=is_box)
            if is_box:
                yield _folder(here, path)
            inner = sorted((names or set()) - {*_PARTS, "tmp"})
            waiting += [(below(here, each), each, path) for each in inner]

    def _folders_in(self, here: str) -> set[str] | None:
        """Return the directories there; `None` where scanning has to say what is wrong."""
        place = self._root / here
        if self._leads_out(place):
            return None
        try:
            with os.scandir(place) as entries:
                return {each.name for each in entries if self._is_folder(each)}
        except OSError:
            return None

    @override
    def _found(self, folder: Folder, place: Path) -> Iterator[Found]:
        self._check_parts(place)
        self._listings.clear()
        self._listings[folder.key] = names = self._names(place)
        return (Found(0, key) for key in names)

    def _names(self, place: Path) -> dict[str, str]:
        """Return where each message is, by its key; one that is seen in both is in `cur`."""
        names: dict[str, str] = {}
        alike: dict[str, list[str]] = {}
        missing: list[MailboxNotFound] = []
        for part in _PARTS:
            try:
                for name in self._files(place / part):
                    key, where = key_of(name.partition(":")[0]), below(part, name)
                    if key in names:
                        alike.setdefault(key, [names[key]]).append(where)
                    names[key] = where
            except MailboxNotFound as error:
                missing.append(error)
        if len(missing) == len(_PARTS):
            raise missing[0]
        for key, some in alike.items():
            del names[key]
            names |= _told_apart(place, key, some)
        return names

    def _files(self, part: Path) -> Iterator[str]:
        for entry in self._list(part):
            if not entry.name.startswith(".") and not entry.is_dir(follow_symlinks=False):
                yield entry.name

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterable[SourceMessage | Unavailable]:
        self._relisted.clear()
        # Listed long ago perhaps: what stands there now may be a link.
        for folder in {ref.folder for ref in refs}:
            self._check_parts(self._place(folder))
        return super()._fetch(refs)

    def _check_parts(self, place: Path) -> None:
        for part in _PARTS:
            self._check_inside(place / part)

    @override
    def _read(self, ref: MessageRef) -> SourceMessage | Unavailable:
        place = self._place(ref.folder)
        absent: type[Exception] = Gone
        for name in self._candidates(place, ref):
            try:
                raw, status = read_whole(place / name, self._limits.message_octets)
            except FileNotFoundError:
                continue
            except Unsteady:  # a new name is a change of the file as well: look again
                absent = Unsteady
                continue
            if not _is_meant(ref.key, raw):
                continue
            if raw.startswith(_COMPRESSED):
                return Unavailable(ref, "compressed by the mail server", permanent=True)
            return SourceMessage(ref, raw, modified_at(status), _flags(name))
        raise absent

    def _candidates(self, place: Path, ref: MessageRef) -> Iterator[str]:
        """Yield where the message is, anew for as long as it was renamed meanwhile.

        A message that is gone costs one listing for a whole page of them.
        """
        name = self._listings.get(ref.folder, {}).get(ref.key)
        if name is not None:
            yield name
        elif ref.folder in self._relisted:
            return
        for _ in range(_LOOKS):
            self._relisted.add(ref.folder)
            self._listings[ref.folder] = self._names(place)
            name = self._listings[ref.folder].get(ref.key)
            if name is None:
                return
            yield name


def _folder(relative: str, path: tuple[str, ...]) -> Folder:
    if not relative:
        return Folder(TOP, ("INBOX",), FolderRole.INBOX)
    return Folder(key_of(relative), path, FolderRole.INBOX if path == ("INBOX",) else None)


def _path(above: tuple[str, ...], name: str, *, is_box: bool) -> tuple[str, ...]:
    """Return the path of a directory; KMail's `.work.directory` only holds what is below it."""
    if not name.startswith("."):
        return (*above, *(for_people(name) if name else ()))
    kmail = name[1:].removesuffix(_KMAIL)
    if not is_box and kmail and name.endswith(_KMAIL):
        return (*above, *for_people(kmail))
    return (*above, *map(_readable, name[1:].split(".")))


def _told_apart(place: Path, key: str, names: list[str]) -> dict[str, str]:
    """Return the files that have a key in common, each by one that says its bytes too.

    Those with the same bytes are one message, that in `cur`; where all are, the key stays.
    """
    names.sort(key=lambda name: (not name.startswith(_PARTS[0]), name))
    found: dict[str, str] = {}
    for name in names:
        with suppress(FileNotFoundError):  # renamed since it was listed
            found[content_of(place / name)] = name
    if len(found) <= 1:
        return {key: next(iter(found.values()), names[-1])}
    return {f"{key}:{content}": name for content, name in found.items()}


def _is_meant(key: str, raw: bytes) -> bool:
    """Tell whether a file has the bytes that its key says, if it says any."""
    _, told, content = key.partition(":")
    return not told or hashlib.sha256(raw).hexdigest() == content


def _flags(name: str) -> frozenset[str]:
    """Return the flags in the part of the name behind `:2,`; letters unknown to us are left."""
    _, marker, letters = name.rpartition(":2,")
    known = (_FLAGS.get(letter) for letter in letters) if marker else ()
    return frozenset(flag for flag in known if flag is not None)


_SHIFTED = re.compile("&([A-Za-z0-9+,]*)-")


def _readable(name: str) -> str:
    """Return a folder's name as text: modified UTF-7 (RFC 3501, 5.1.3) where it is that."""
    try:
        return for_people(_SHIFTED.sub(_unshifted, name))[0]
    except ValueError:
        return for_people(name)[0]


def _unshifted(match: re.Match[str]) -> str:
    text = match[1].replace(",", "/") + "=" * (-len(match[1]) % 4)
    return base64.b64decode(text, validate=True).decode("utf-16-be") or "&"
