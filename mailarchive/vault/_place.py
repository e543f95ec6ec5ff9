"""The folder of a vault: what it is, its parts, and who may write in it now."""

from __future__ import annotations

import fcntl
import os
import re
import threading
import uuid
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from mailarchive.errors import SinkCorrupt, SinkError, SinkNotWritable
from mailarchive.vault import _derived, _disk, _header, _mounts
from mailarchive.vault._choice import ENCRYPTED, PLAIN, undecided
from mailarchive.vault._database import Database
from mailarchive.vault._errors import closed
from mailarchive.vault._volumes import FIRST, PACKS, Volumes, open_kept

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from typing import Self

    from mailarchive.vault._disk import Disk
    from mailarchive.vault._header import Identity

_LATER_HEADER = re.compile(r"vault\.[0-9]+\.json\Z")
_PARTS = ("volumes", FIRST, PACKS)


@frozen
class _Handles:
    """The open folders of a vault, from the outermost in; `volume` is the first one."""

    root: int
    volume: int
    volumes: Volumes


class Place:
    """A vault's folder, held open; a context manager.

    Everything inside is opened through the handles, so that no symbolic link within the
    vault can lead a write or a read to somewhere else.
    """

    def __init__(
        self,
        path: Path,
        disk: Disk,
        *,
        create: bool,
        read_only: bool,
        encryption: str | None,
    ) -> None:
        """Use the folder `path`; with `create` it is made where it is missing or empty.

        `encryption` is that of a vault that is made; `None` where nobody decided on it,
        and then none is made.
        """
        self._encryption = encryption
        self._path = path
        self._disk = disk
        self._create = create and not read_only
        self.read_only = read_only
        self._stack = ExitStack()
        self._handles: _Handles | None = None
        self._identity: Identity | None = None
        # A lock on an open file is the process's: among its threads another one decides.
        self._turn = threading.Lock()
        self._unsettled = False

    @property
    def identity(self) -> Identity:
        """Which vault this is."""
        if self._identity is None:
            raise closed()
        return self._identity

    @property
    def index(self) -> Database:
        """Where the index is."""
        return self._database(_derived.INDEX)

    @property
    def fulltext(self) -> Database:
        """Where the full text is."""
        return self._database(_derived.FULLTEXT)

    def _database(self, name: str) -> Database:
        return Database(self._path / "volumes" / FIRST / name, self.volume)

    @property
    def keys(self) -> Path:
        """Where the wrapped keys of an encrypted vault are."""
        return self._path / "keys" / "keys.db"

    def make_keys(self) -> None:
        """Make an empty file for the keys where there is none, durably; raises `OSError`."""
        root = self._open().root
        with ExitStack() as stack:
            self._disk.make_folder("keys", root)
            folder = _kept(stack, _disk.open_folder("keys", root))
            with suppress(FileExistsError):
                _kept(stack, self._disk.create("keys.db", folder))
            self._disk.sync_folder(folder)
            self._disk.sync_folder(root)

    def volumes(self) -> Volumes:
        """Return the volumes, with the packs that are in them."""
        return self._open().volumes

    def volume(self) -> int:
        """Return the open folder of the first volume, with all that is not packs."""
        return self._open().volume

    def _open(self) -> _Handles:
        if self._handles is None:
            raise closed()
        return self._handles

    def enter(self, now: datetime) -> Self:
        """Open the folder and everything on the way to the packs.

        Raises `SinkError` where it is no vault, `Unsupported` where it is one that this
        release must not touch, `ConfigurationError` where it would be a new one and its
        encryption is not decided, `SinkNotWritable`, and `OSError`.
        """
        _mounts.refuse_unfit(self._path)
        with ExitStack() as stack:
            root = self._enter_root(stack)
            self._identity = self._identify(root, now)
            folder, volume, packs = self._enter_parts(stack, root)
            volumes = Volumes(self._path / "volumes", folder, self._disk)
            self._handles = _Handles(root, volume, volumes)
            if not self.read_only and not _writable(packs):
                raise SinkNotWritable(
                    "this user may not write in the vault",
                    suggestions=[
                        "give this user the right to, or only read the vault",
                        "mount its disk for writing, where it is mounted to be read only",
                    ],
                )
            self._stack = stack.pop_all()
        return self

    def leave(self) -> None:
        """Close every handle."""
        self._handles = None
        self._stack.close()

    def _enter_root(self, stack: ExitStack) -> int:
        try:
            if self._create and self._encryption is not None:
                self._make(self._path)
            return _kept(stack, _disk.open_folder(str(self._path)))
        except FileNotFoundError as error:
            if self._create and self._encryption is None:
                raise undecided() from error
            raise SinkError(
                "there is no vault at this path",
                suggestions=["check the path; a run makes the vault, reading does not"],
            ) from error
        except NotADirectoryError as error:
            raise _no_vault("a file stands where the vault should be") from error

    def _make(self, folder: Path) -> None:
        """Create a folder and what is missing above it, each name durable."""
        if folder.is_dir() or folder == folder.parent:
            return
        self._make(folder.parent)
        with ExitStack() as stack:
            above = _kept(stack, _disk.open_folder(str(folder.parent)))
            self._disk.make_folder(folder.name, above)
            self._disk.sync_folder(above)

    def _identify(self, root: int, now: datetime) -> Identity:
        with _locked(root):
            if any(_LATER_HEADER.match(name) for name in os.listdir(root)):
                raise _header.later()
            data = _header.read(root)
            if data is None:
                self._refuse_foreign(root)
                if self._encryption is None:
                    raise undecided()
                with ExitStack() as stack:
                    self._make_parts(stack, root)
                data = self._write_header(root, _header.new(now, self._encryption))
        return _header.parse(data, (PLAIN, ENCRYPTED))

    def _refuse_foreign(self, root: int) -> None:
        """Make a vault only of a folder in which nothing but our own can be hurt."""
        names = set(os.listdir(root))
        if not _is_begun(root):
            raise SinkCorrupt(
                "vault.json is missing from a folder that holds a vault",
                suggestions=[
                    "restore vault.json from a copy; every manifest names the vault's id"
                ],
            )
        if not self._create:
            raise _no_vault("the folder is no vault")
        if any(not is_ours(name) for name in names - {_PARTS[0]}):
            raise _no_vault("the folder holds something that is no vault")

    def _write_header(self, root: int, data: bytes) -> bytes:
        beside = f".{_header.NAME}.{uuid.uuid4().hex}"
        with ExitStack() as stack:
            handle = _kept(stack, self._disk.create(beside, root))
            self._disk.write(handle, data, 0)
            self._disk.sync(handle)
            self._disk.read_back(handle, data, 0)
        self._disk.rename(beside, _header.NAME, root)
        self._disk.sync_folder(root)
        return data

    def _make_parts(self, stack: ExitStack, root: int) -> None:
        """Make the folders of a new vault, durably and before `vault.json`.

        So one that is missing where that stands was there once: its disk is not mounted, say.
        """
        within = root
        for name in _PARTS:
            self._disk.make_folder(name, within)
            self._disk.sync_folder(within)
            within = _kept(stack, open_kept(name, within))

    def _enter_parts(self, stack: ExitStack, root: int) -> list[int]:
        handles = [root]
        for name in _PARTS:
            try:
                handles.append(_kept(stack, open_kept(name, handles[-1])))
            except FileNotFoundError:
                raise _incomplete(name) from None
        return handles[1:]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the right to append a batch: one writer of the vault at a time has it.

        The kernel takes it back when a process dies.
        """
        with self._turn, _locked(self._open().volume):
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no thread of this process appends anything, and let none begin."""
        with self._turn:
            yield

    def settle(self) -> None:
        """Make every name on the way to the packs durable, whoever created it.

        Raises `OSError`; and once it did so, `SinkError`.
        """
        handles = self._open()
        if self._unsettled:
            raise SinkError(
                "the disk did not take the vault's folders, and may not be asked again",
                suggestions=["check the disk and the system's log, then open the vault again"],
            )
        self._unsettled = True
        handles.volumes.settle()
        self._disk.sync_folder(handles.root)
        self._settle_above(os.fstat(handles.root).st_dev)
        self._unsettled = False

    def _settle_above(self, device: int) -> None:
        """Sync the folders above the vault: a run that died may have made one of them."""
        for folder in Path(os.path.realpath(self._path)).parents:
            with ExitStack() as stack:
                try:
                    handle = _kept(stack, _disk.open_folder(str(folder)))
                except PermissionError:
                    return  # then no process of this user can have made a name in it
                if os.fstat(handle).st_dev != device:
                    return
                self._disk.sync_folder(handle)


def _is_begun(root: int) -> bool:
    """Whether there is nothing of a vault but the empty folders that are made first of all."""
    within = root
    with ExitStack() as stack:
        for name, inner in zip(_PARTS, (*_PARTS[1:], None), strict=True):
            try:
                within = _kept(stack, open_kept(name, within))
            except FileNotFoundError:
                return True  # a crash came before it was made
            if not {inner}.issuperset(os.listdir(within)):  # noqa: PTH208 - by handle
                return False
    return True


def _writable(folder: int) -> bool:
    return os.access(".", os.W_OK | os.X_OK, dir_fd=folder)


def _kept(stack: ExitStack, handle: int) -> int:
    stack.callback(os.close, handle)
    return handle


@contextmanager
def _locked(handle: int) -> Iterator[None]:
    """Hold the lock on an open folder; waits for it."""
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)


_OURS = frozenset({"quarantine", "export", "lost+found"})


def is_ours(name: str) -> bool:
    """Whether a run may have put this beside a vault that is yet to be made."""
    return (
        name in _OURS or name.startswith((f".{_header.NAME}.", "state.")) or name.endswith(".lock")
    )


def _no_vault(words: str) -> SinkError:
    return SinkError(words, suggestions=["choose an empty folder, or the path of a vault"])


def _incomplete(name: str) -> SinkCorrupt:
    return SinkCorrupt(
        f"the folder {name} is missing from the vault",
        suggestions=[
            "mount the disk that it is on, or restore it from a copy, and open the vault again",
            "only where nothing was ever archived here: remove vault.json and begin anew",
        ],
    )
