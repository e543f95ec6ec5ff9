"""Checkpoints as files, one a folder, each replaced whole."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mailarchive import _durable
from mailarchive.errors import StateError
from mailarchive.state import _json

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from mailarchive._model import Checkpoint


@contextmanager
def os_errors(doing: str, what: str = "the state folder") -> Iterator[None]:
    """Give an `OSError` the type `StateError`; its text may hold a path and is left out."""
    try:
        yield
    except OSError as error:
        raise StateError(
            f"{type(error).__name__} while {doing}",
            suggestions=[f"check that this user may write {what}, and that there is room"],
        ) from error


class FileCheckpoints:
    """Keeps each folder's checkpoint in a file of its own; durable when `save` returns.

    File names are digests, so that no name from a mailbox reaches the file system.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, fuse: _durable.Fuse = _durable.no_fuse
    ) -> None:
        """Keep the files in the folder `path`, made when first needed.

        `fuse` is called before each write, for tests that crash there.
        """
        self._path = Path(path)
        self._fuse = fuse

    def _file(self, source: str, folder: str) -> Path:
        name = f"{len(source)}:{source}{folder}".encode("utf-8", "surrogatepass")
        return self._path / f"{hashlib.sha256(name).hexdigest()}.json"

    def load(self, source: str, folder: str, /) -> Checkpoint | None:
        """Return the folder's checkpoint, or `None`; raises `StateError`."""
        with os_errors("reading a checkpoint"):
            try:
                data = self._file(source, folder).read_bytes()
            except FileNotFoundError:
                return None
        return _json.load(data)

    def save(self, checkpoint: Checkpoint, /) -> None:
        """Replace the folder's checkpoint; raises `StateError`."""
        with os_errors("saving a checkpoint"):
            _durable.make_folder(self._path, self._fuse)
            file = self._file(checkpoint.source, checkpoint.folder)
            _durable.write_file(file, _json.dump(checkpoint), self._fuse)

    def all(self) -> tuple[Checkpoint, ...]:
        """Return every saved checkpoint; raises `StateError`."""
        with os_errors("listing checkpoints"):
            files = sorted(self._path.glob("*.json")) if self._path.is_dir() else []
            return tuple(_json.load(file.read_bytes()) for file in files)
