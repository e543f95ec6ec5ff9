"""A table of a TOML file that says exactly what is wrong with it, and where."""

from __future__ import annotations

import difflib
import tomllib
from typing import TYPE_CHECKING, Any, TypeVar

from mailarchive.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from enum import StrEnum
    from pathlib import Path

T = TypeVar("T")
E = TypeVar("E", bound="StrEnum")

_KINDS = {
    str: "a text in quotes",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a table",
}


def read(path: Path) -> Table:
    """Return the file's top table; raises `ConfigurationError`."""
    name = path.name or str(path)  # "." and "/" have no name
    try:
        return parse(path.read_text(encoding="utf-8-sig"), name)  # as editors and PowerShell write
    except OSError as error:
        raise ConfigurationError(
            f"{name} cannot be read: {type(error).__name__}",
            suggestions=["give the path of an existing TOML file"],
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{name} is not UTF-8",
            suggestions=["save it as UTF-8, which is not what an editor calls ANSI or Unicode"],
        ) from error


def parse(text: str, name: str) -> Table:
    """Return the top table of a TOML text; raises `ConfigurationError`."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{name} is no TOML: {error}") from error
    _refuse_nul(values, name)
    return Table(values, name)


def _refuse_nul(values: dict[str, Any], where: str) -> None:
    """Raise where a text has one: no file, folder, host or user has it in its name."""
    for key, value in values.items():
        if isinstance(value, dict):
            _refuse_nul(value, f"{where}: [{key}]")
        elif _has_nul(value):
            raise ConfigurationError(f"{where}: {key} holds a NUL, which stands in no name")


def _has_nul(value: object) -> bool:
    match value:
        case str():
            return "\0" in value
        case list():
            return any(map(_has_nul, value))
        case dict():
            return any(map(_has_nul, value.values()))
    return False


class Table:
    """Keys and values; each key is asked for once, and what is left over is a mistake."""

    def __init__(
        self,
        values: dict[str, Any],
        where: str,
        typo: str | None = None,
        checks: list[Callable[[], object]] | None = None,
    ) -> None:
        """Take the values, the words that say where they stand, and what may be meant by them."""
        self._values = values
        self._where = where
        self._typo = typo
        self._asked: set[str] = set()
        self.checks: list[Callable[[], object]] = [] if checks is None else checks
        """What to look at before a run, of this table and of all in the file."""

    def __contains__(self, key: str) -> bool:
        """Return whether the key is there."""
        return key in self._values

    def __bool__(self) -> bool:
        """Return whether anything is in it."""
        return bool(self._values)

    def wrong(self, what: str, *suggestions: str) -> ConfigurationError:
        """Return the error for something that is wrong with this table."""
        return ConfigurationError(f"{self._where}: {what}", suggestions=suggestions)

    def get(self, key: str, kind: type[T], *, empty: bool = False) -> T | None:
        """Return the value, or `None`; raises where it is of another kind.

        A text that is `empty` must be asked for: mostly it is a variable that was not set, and
        an empty path would be the folder of the job itself.
        """
        self._asked.add(key)
        value: object = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.wrong(f"{key} must be {_KINDS[kind]}")
        if isinstance(value, str) and not value.strip() and not empty:
            raise self.wrong(f"{key} is empty", f"write what it is, or leave {key} out")
        return value

    def need(self, key: str, kind: type[T]) -> T:
        """Return the value; raises where it is missing or of another kind."""
        value = self.get(key, kind)
        if value is None:
            typo = self.misspelt(key) or self._typo
            hint = f"you wrote {typo}" if typo else f"add {key} = ..., {_KINDS[kind]}"
            raise self.wrong(f"{key} is missing", hint)
        return value

    def choice(self, key: str, choices: Iterable[str], default: str) -> str:
        """Return one of the choices."""
        allowed = tuple(choices)
        value = self.get(key, str) or default
        if value not in allowed:
            near = difflib.get_close_matches(value, allowed, n=1)
            hint = [f"did you mean {near[0]}?"] if near else []
            raise self.wrong(f"{key} must be one of {', '.join(allowed)}", *hint)
        return value

    def maybe(self, key: str, choices: Iterable[str]) -> str | None:
        """Return one of the choices, or `None` where nothing is chosen."""
        return self.choice(key, choices, "") if key in self._values else self.get(key, str)

    def number(self, key: str) -> float | None:
        """Return a number, whole or not, or `None`."""
        self._asked.add(key)
        value: object = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.wrong(f"{key} must be a number")
        return float(value)

    def names(self) -> tuple[str, ...]:
        """Return every key that is there, where each is a name of its own."""
        return tuple(self._values)

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Return a list of texts, or `None` where there is none."""
        values = self.get(key, list)
        if values is None:
            return None
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(f"{key} must be a list of texts in quotes")
        return tuple(values)

    def table(self, key: str) -> Table:
        """Return the table under the key, empty where there is none."""
        values: dict[str, Any] = self.get(key, dict) or {}
        typo = None if key in self._values else self.misspelt(key)
        return Table(values, f"{self._where}: [{key}]", typo and f"[{typo}]", self.checks)

    def misspelt(self, key: str) -> str | None:
        """Return what stands there and was never asked for, where it looks like the key."""
        strange = [each for each in self._values if each not in self._asked]
        return next(iter(difflib.get_close_matches(key, strange, n=1)), None)

    def raw(self, key: str) -> object:
        """Return whatever stands there."""
        self._asked.add(key)
        return self._values.get(key)

    def done(self) -> None:
        """Raise where a key was never asked for: it is misspelt or does not belong here."""
        for key in self._values:
            if key in self._asked:
                continue
            near = difflib.get_close_matches(key, self._asked, n=1)
            hint = [f"did you mean {near[0]}?"] if near else ["remove it"]
            raise self.wrong(f"unknown key {key}", *hint)
