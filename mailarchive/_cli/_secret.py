"""Secrets of a job: where they are, never what they are."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive.errors import AuthenticationFailed, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailarchive._cli._toml import Table


class NoSecret(ConfigurationError, AuthenticationFailed):
    """The configuration names no secret that can be had: the login would fail for its sake."""


SECRET_SECONDS = 60
"""How long a command may take to print a secret."""


def readable(table: Table, key: str, here: Path) -> Path | None:
    """Return the file that a key names, if it does, and have it looked at before a run."""
    name = table.get(key, str)
    if name is None:
        return None
    path = here / name

    def check() -> None:
        try:
            path.open("rb").close()
        except OSError as error:
            kind = type(error).__name__
            raise table.wrong(f"{key} cannot be read: {kind}", f"check {key}") from None

    table.checks.append(check)
    return path


def secret(
    table: Table, key: str, here: Path, *, whole: bool = False, within: str = ""
) -> Callable[[], str]:
    """Return a callable that reads the secret when it is needed; inline is refused.

    Wherever it comes from, its first line is the secret, or all of it where it is `whole`.
    Where the key is a name of somebody's own, `within` says what it is a key of.
    """
    what = f"{within}.{key}" if within else key
    match table.raw(key):
        case {"file": str(name), **rest} if not rest:
            found = _FromFile(here / name, what, whole)
            table.checks.append(found)
            return found
        case {"command": [str(), *_] as words, **rest} if not rest and all(
            isinstance(word, str) for word in words
        ):
            return _FromCommand(tuple(words), here, what, whole)
        case _:
            raise table.wrong(
                f"{key} must name a file or a command, and is never written here",
                f'write {key} = {{ file = "..." }} or {key} = {{ command = ["...", "..."] }}',
            )


def _secret_of(text: str, *, whole: bool) -> str:
    """Return the first line, or all lines, without the byte order mark and the line ends."""
    text = text.removeprefix("\ufeff")  # as editors and PowerShell put it there
    return (text if whole else text.partition("\n")[0]).rstrip("\r\n")


@frozen
class _FromFile:
    """A secret in a file."""

    path: Path = field(repr=False)
    what: str
    whole: bool

    def __call__(self) -> str:
        try:
            found = _secret_of(self.path.read_text(encoding="utf-8"), whole=self.whole)
        except (OSError, UnicodeDecodeError) as error:
            raise NoSecret(
                f"the file that {self.what} names cannot be read: {type(error).__name__}",
                suggestions=[f"check {self.what}.file, and who may read it"],
            ) from None
        if not found:
            raise NoSecret(
                f"the file that {self.what} names gives nothing",
                suggestions=["put the secret there" if self.whole else "put it in the first line"],
            )
        return found


@frozen
class _FromCommand:
    """A secret that a command prints."""

    words: tuple[str, ...] = field(repr=False)
    here: Path = field(repr=False)
    what: str
    whole: bool

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
        except (OSError, UnicodeDecodeError, subprocess.SubprocessError) as error:
            # What cannot be started is written wrong; what was started and failed is not.
            started = isinstance(error, subprocess.SubprocessError | UnicodeDecodeError)
            raise (AuthenticationFailed if started else NoSecret)(
                f"the command that {self.what} names failed: {type(error).__name__}",
                suggestions=[f"run {self.what}.command by hand"],
            ) from None
        if not (found := _secret_of(done.stdout, whole=self.whole)):
            raise AuthenticationFailed(
                f"the command that {self.what} names gives nothing",
                suggestions=[f"run {self.what}.command by hand"],
            )
        return found
