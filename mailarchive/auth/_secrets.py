"""What every login has in common: a name that can be sent, and a secret that goes nowhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn, TypeAlias

from typing_extensions import override

from mailarchive.errors import (
    AuthenticationFailed,
    ConfigurationError,
    MailArchiveError,
    Unsupported,
)

Secret: TypeAlias = str | Callable[[], str]  # a type, not a password
"""A secret, or a callable that returns it; the callable is asked each time it is needed."""


class Unpicklable:
    """Mixed into what holds a secret."""

    __slots__ = ()

    @override
    def __reduce__(self) -> NoReturn:
        """Refuse: a pickled secret is a leaked secret."""
        raise Unsupported(
            f"a {type(self).__name__} is never pickled or copied: it holds a secret",
            suggestions=["send the place of the secret, and make the login where it is used"],
        )

    def __copy__(self) -> object:
        """Frozen, so it is its own copy."""
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> object:
        """Frozen, so it is its own copy."""
        del memo
        return self


def _is_text(value: object) -> bool:
    """Whether a callable kept to its type; what runs is not always what was checked."""
    return isinstance(value, str)


def ask(secret: Secret, what: str) -> str:
    """Return the secret, or an `AuthenticationFailed` that tells nothing of it."""
    try:
        value = secret() if callable(secret) else secret
    except MailArchiveError:
        raise
    except Exception as error:  # noqa: BLE001  # its text may hold the secret: it ends here
        raise AuthenticationFailed(
            f"the {what} could not be had: its callable raised {type(error).__name__}",
            suggestions=[f"mend the callable that returns the {what}"],
        ) from None
    if not _is_text(value) or not value or _UNSENDABLE.search(value):
        raise AuthenticationFailed(
            f"the {what} is empty, or no text that can be sent",
            suggestions=[f"make the callable return the {what} as text"],
        )
    return value


_UNSENDABLE = re.compile(r"[\x00\ud800-\udfff]")

_NAME = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]+")


def checked_name(name: object, what: str = "a user name") -> str:
    """Return a name that can be sent in every form of login; raises `ConfigurationError`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{what} is empty, or holds a character that no login can carry",
            suggestions=[f"give {what} as the server knows it"],
        )
    return name
