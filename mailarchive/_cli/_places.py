"""The places that a command or a job names: whether they are what is meant, and may be used.

Whatever is found here is a `ConfigurationError`, and nothing is made to find it out.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from attrs import frozen

from mailarchive._cli._text import CLOSED, safe
from mailarchive.errors import ConfigurationError
from mailarchive.vault import _mounts
from mailarchive.vault._place import is_ours
from mailarchive.vault._volumes import FIRST, PACKS

if TYPE_CHECKING:
    from pathlib import Path

_OF_A_VAULT = {"vault.json", "volumes"}
_OF_A_JOB = {"quarantine", "state.db"}
"""One of these is in the folder of a job without a vault, for its state."""


def check_vault(path: Path, *, or_state: bool = False) -> None:
    """Refuse what is no vault before a command looks into it; one that is damaged is one.

    With `or_state` the folder of a job that has no vault will do.
    """
    names = _names(path, "the vault")
    if names is None:
        raise ConfigurationError(
            "there is no vault at this path",
            suggestions=["check the path; a run makes the vault, reading does not"],
        )
    if not names & (_OF_A_VAULT | _OF_A_JOB if or_state else _OF_A_VAULT):
        raise ConfigurationError("the folder is no vault", suggestions=["check the path"])


def check_file(path: Path) -> None:
    """Refuse a place for a file before the work that it is to hold is done."""
    folder = path.absolute().parent
    if path.is_dir():
        raise _in_the_way(_FILE, "a folder stands where the file should be")
    if not folder.exists():
        raise _in_the_way(_FILE, "the folder that it should be in is not there")
    if not folder.is_dir():
        raise _in_the_way(_FILE, _NO_FOLDER)
    if not _writable(folder):
        raise _unwritable(_FILE, folder)


def check_target(path: Path, what: str) -> None:
    """Refuse what this user may not write to, or make, before the vault is read for it."""
    nearest = _nearest(path.absolute())
    if not _writable(nearest):
        raise _unwritable(what, nearest)


def check_folder(path: Path, what: str) -> None:
    """Refuse a file in the place of a folder, and one that this user may not write to."""
    if path.exists() and not path.is_dir():
        raise _in_the_way(what, _NO_FOLDER)
    check_target(path, what)


@frozen
class Place:
    """The folder in which a job keeps its vault, or without one its state."""

    folder: Path
    setting: str
    """What names it in the job's file."""
    vault: bool
    locks: bool
    """Whether a run takes the lock beside it."""

    def check_readable(self) -> frozenset[str]:
        """Return the names in it; raises where something else is there, or it is closed."""
        return _names(self.folder, self.setting) or frozenset()

    def check(self) -> None:
        """Raise where a run could not make it, or not write to all that it must."""
        names = self.check_readable()
        strange = not names & _OF_A_VAULT and not all(map(is_ours, names))
        if self.vault and strange:
            raise ConfigurationError(
                f"{self.setting}: the folder holds something that is no vault",
                suggestions=[_CHOOSE],
            )
        if self.vault:
            _mounts.refuse_unfit(self.folder)
        for each in self._written():
            if not _writable(each):
                raise _unwritable(self.setting, each)

    def _written(self) -> list[Path]:
        """What a run writes to as far as it is there, and the folder that the rest is made in."""
        parts = (self.folder / "state.db", self.folder / "volumes" / FIRST / PACKS)
        lock = self.folder.with_name(f"{self.folder.name}.lock")
        found = [_nearest(self.folder), *(each for each in parts if each.exists())]
        return [*found, _nearest(lock)] if self.locks else found


_CHOOSE = "choose an empty folder, or the path of a vault"
_NO_FOLDER = "a file stands where the folder should be"
_FILE = "the file to write"
_ELSEWHERE = "give a path in a folder that is there, and this user may write to"


def _names(folder: Path, what: str) -> frozenset[str] | None:
    """Return the names in a folder, `None` where there is none."""
    try:
        return frozenset(each.name for each in folder.iterdir())
    except NotADirectoryError as error:
        raise _in_the_way(what, _NO_FOLDER, _CHOOSE) from error
    except PermissionError as error:
        raise _closed(what, folder, "read") from error
    except OSError as error:
        if error.errno in _NOT_THERE:
            return None
        raise


_NOT_THERE = {errno.ENOENT, errno.ELOOP}


def _nearest(path: Path) -> Path:
    """Return the path, or where it is not there the closest folder above it that is."""
    return next(each for each in (path, *path.parents) if each.exists() or not each.name)


_EFFECTIVE = os.access in os.supports_effective_ids


def _writable(path: Path) -> bool:
    right = os.W_OK | os.X_OK if path.is_dir() else os.W_OK
    return os.access(path, right, effective_ids=_EFFECTIVE)


def _in_the_way(what: str, words: str, choose: str = _ELSEWHERE) -> ConfigurationError:
    return ConfigurationError(f"{what}: {words}", suggestions=[choose])


def _unwritable(what: str, path: Path) -> ConfigurationError:
    """A disk that had an error is mounted anew to be read only, and no permission helps there."""
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return ConfigurationError(
            f"{what}: the disk of {_called(path)} is mounted to be read only",
            suggestions=[
                "mount it for writing; the system's log says why it is not, if it once was"
            ],
        )
    return _closed(what, path, "write to")


def _called(path: Path) -> str:
    return safe(path.name) or "that folder"


def _closed(what: str, path: Path, doing: str) -> ConfigurationError:
    return ConfigurationError(
        f"{what}: this user may not {doing} {_called(path)}",
        suggestions=[CLOSED, "change them, or run this as the user whose it is"],
    )
