"""Whether a new vault is encrypted: something that its maker says, or nobody has said yet."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from mailarchive.errors import ConfigurationError, KeyUnavailable

if TYPE_CHECKING:
    from mailarchive.abc import KeyProvider

PLAIN: Final = "none"
ENCRYPTED: Final = "aes-256-gcm"
"""The words for `encryption` in `vault.json`."""


GIVE_KEYS: Final = (
    "give its keys: encryption = { key_file = ... } in [vault] of a job, --key-file in front of a"
    " command, keys of the vault in a program"
)
"""What opens an encrypted vault, for whoever meets one."""


class Undecided(Enum):
    """Stands for keys of which nothing was said: `None` already says that there are none."""

    UNDECIDED = "undecided"

    @override
    def __repr__(self) -> str:
        return "UNDECIDED"


UNDECIDED: Final = Undecided.UNDECIDED


def encryption_of(keys: KeyProvider | Undecided | None) -> str | None:
    """Return the word for what was chosen, or `None` where nothing was."""
    if keys is UNDECIDED:
        return None
    return PLAIN if keys is None else ENCRYPTED


def undecided() -> ConfigurationError:
    """Return the error for a vault that would be made, and nobody said of what kind."""
    return ConfigurationError(
        "there is no vault here yet, and nothing says whether a new one is to be encrypted",
        suggestions=[
            'say that it is not (encryption = "none" in a job, None for keys), or give keys',
            "it cannot be changed later",
            "check the path if the vault exists already",
        ],
    )


def is_plain() -> ConfigurationError:
    """Return the error for keys to a vault that has none."""
    return ConfigurationError(
        "keys were given, and the vault was made without encryption",
        suggestions=[
            "leave the keys out, or make a new vault with them",
            "remove its folder first if nothing was archived into it yet",
        ],
    )


def is_encrypted() -> KeyUnavailable:
    """Return the error for an encrypted vault of which it is said that it is not."""
    return KeyUnavailable(
        "the vault is encrypted, and is opened as one that is not",
        suggestions=[
            GIVE_KEYS,
            "without a word about keys it is opened for verification alone",
        ],
    )
