"""Secrets of a job: where they are, never what they are."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive.errors import AuthenticationFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailarchive._cli._toml import Table

SECRET_SECONDS = 60
"""How long a command may take to print a secret."""


def secret(table: Table, key: str, here: Path, *, whole: bool = False) -> Callable[[], str]:
    """Return a callable that reads the secret when it is needed; inline is refused.

    What a command prints is the secret, to the end of its first line unless `whole`.
    """
    match table.raw(key):
        case {"file": str(name), **rest} if not rest:
            return _FromFile(here / name, key)
        case {"command": [str(), *_] as words, **rest} if not rest and all(
            isinstance(word, str) for word in words
        ):
            return _FromCommand(tuple(words), here, key, whole)
        case _:
            raise table.wrong(
                f"{key} must name a file or a command, and is never written here",
                f'write {key} = {{ file = "..." }} or {key} = {{ command = ["...", "..."] }}',
            )


@frozen
class _FromFile:
    """A secret in a file; line ends after it do not count."""

    path: Path = field(repr=False)
    what: str

    def __call__(self) -> str:
        try:
            found = self.path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise AuthenticationFailed(
                f"the file of the {self.what} cannot be read: {type(error).__name__}",
                suggestions=[f"check {self.what}.file, and who may read it"],
            ) from None
        return _some(found, f"the file of the {self.what}")


@frozen
class _FromCommand:
    """A secret that a command prints; its first line is the secret, or all of it."""

    words: tuple[str, ...] = field(repr=False)
    here: Path = field(repr=False)
    what: str
    whole: bool = False

    def __call__(self) -> str:
        try:
            done = subprocess.run(  # noqa: S603 - the operator's own command, without a shell
                self.words,
                cwd=self.here,
                capture_output=True,
                check=True,
                stdin=subprocess.DEVNULL,
                text=True,
                timeout=SECRET_SECONDS,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise AuthenticationFailed(
                f"the command of the {self.what} failed: {type(error).__name__}",
                suggestions=[f"run {self.what}.command by hand"],
            ) from None
        said = done.stdout if self.whole else done.stdout.partition("\n")[0]
        return _some(said.rstrip("\r\n"), f"the command of the {self.what}")


def _some(secret: str, where: str) -> str:
    if not secret:
        raise AuthenticationFailed(f"{where} gives nothing", suggestions=["put the secret there"])
    return secret
