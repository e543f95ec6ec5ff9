"""What a setting may be; limits in a form that can be said and not only tested."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen
from typing_extensions import override

from mailarchive.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from attrs import Attribute


@frozen
class Bounds:
    """From `least` to `most`, both included: a validator of an attrs field."""

    least: float
    most: float = field(default=inf)

    def __contains__(self, value: float) -> bool:
        """Return whether the value is within the bounds."""
        return self.least <= value <= self.most

    def __call__(self, _instance: object, attribute: Attribute[Any], value: float) -> None:
        """Raise `ValueError` where the field's value is out of its bounds."""
        if value not in self:
            raise ValueError(f"{attribute.name} must be {self}")

    @override
    def __str__(self) -> str:
        """Return the bounds as words; numbers as TOML and Python read them."""
        least = f"{self.least:_}"
        return f"at least {least}" if self.most == inf else f"from {least} to {self.most:_}"


_YEAR: Final = 31_536_000
"""Seconds; no socket and no sleep takes infinity, nor a number like 1e300."""
TIMEOUT: Final = Bounds(0.01, _YEAR)
"""Seconds that something may last: zero would be over before it began."""
PAUSE: Final = Bounds(0, _YEAR)
"""Seconds that are waited between two attempts, which may be none."""


_MANY: Final = 500
"""Failures in a row after which a wait grows no more; a float has no larger power of four."""


def backoff(first: float, factor: float, failures: int, longest: float) -> float:
    """Return the seconds to wait after so many failures in a row, at most the `longest`."""
    return min(first * factor ** min(failures - 1, _MANY), longest)


def several(what: str, names: Iterable[str], how: str) -> tuple[str, ...]:
    """Return the texts; raises `ConfigurationError` for one, whose letters they would be."""
    if isinstance(names, str):
        raise ConfigurationError(
            f"the {what} are one text, and are to be several", suggestions=[f"put it into {how}"]
        )
    return tuple(names)


def checked_timeout(name: str, value: float) -> float:
    """Return the seconds; raises `ConfigurationError` where nobody can wait for so long."""
    if value not in TIMEOUT:
        raise ConfigurationError(
            f"{name} must be a number of seconds {TIMEOUT}",
            suggestions=[f"set {name} to so many seconds, or leave it out: it is 60 then"],
        )
    return value
