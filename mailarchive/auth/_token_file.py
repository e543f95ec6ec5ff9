"""Tokens in a file that only its owner may read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from typing_extensions import override

from mailarchive import _durable
from mailarchive.errors import ConfigurationError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class TokenFile:
    """Where tokens outlive the process: a file of its owner's alone (mode 0600).

    It is replaced whole, so that a reader never sees half of it.  Two processes may share
    it: the later one wins, and the other asks for its tokens once more.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Take the path; the folder must be there, the file need not."""
        self._path = Path(path)

    @override
    def __repr__(self) -> str:
        """Show that there is one."""
        return "TokenFile(...)"

    def read(self) -> str:
        """Return what was written; empty where there is none, or it cannot be understood.

        Raises `ConfigurationError` where others may read it, or it cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                self._check(file.fileno())
                return file.read().decode("utf-8")
        except FileNotFoundError:
            return ""
        except UnicodeDecodeError:
            return ""
        except OSError as error:
            raise _unusable(error) from None

    def write(self, text: str) -> None:
        """Replace the file; raises `ConfigurationError`."""
        try:
            _durable.write_file(self._path, text.encode(), mode=0o600)
        except OSError as error:
            raise _unusable(error) from None

    def _check(self, handle: int) -> None:
        if os.name == "posix" and os.fstat(handle).st_mode & _OTHERS:
            raise ConfigurationError(
                "the file of tokens can be read by others than its owner",
                suggestions=["chmod 600 the file; where others read it, revoke its sign-ins"],
            )


def _unusable(error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"the file of tokens cannot be used: {type(error).__name__}",
        suggestions=["set token_cache to a file in a folder that this user may write to"],
    )
