"""Opening the vault that a command names, with the keys that go with it."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from mailarchive._cli._text import safe
from mailarchive._model import UserId
from mailarchive.errors import StateError
from mailarchive.quarantine import QuarantineFolder
from mailarchive.vault import FileKeys, Vault
from mailarchive.vault._choice import UNDECIDED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mailarchive.vault import KeyProvider

_key_file: ContextVar[Path | None] = ContextVar("_key_file", default=None)
IS_ENCRYPTED = (
    "The vault is new and encrypted: without the key file and keys/keys.db nobody can ever"
    " read the mail. Keep copies of both."
)


def new_at(path: Path) -> str:
    """Return what is said before a vault is made: where one should be, its disk is elsewhere."""
    return (
        f"No vault is at {safe(str(path))}, so a new one is made. If you have one already, stop"
        " this: check path in [vault], and that its disk is mounted."
    )


@contextmanager
def key_file(path: Path | None) -> Iterator[None]:
    """Open vaults with the keys of this file, as long as a command runs."""
    token = _key_file.set(path)
    try:
        yield
    finally:
        _key_file.reset(token)


def opened(path: Path, keys: KeyProvider | None = None, **settings: Any) -> Vault:
    """Return the vault, not yet entered, with these keys or those of the command's key file.

    Without either it is one that exists: none is made, and an encrypted one is closed.
    """
    return Vault(path, keys=keys or named_keys() or UNDECIDED, **settings)


def refuse_strangers(vault: Vault, users: Sequence[str], *advice: str) -> None:
    """Raise `StateError` where one of the users owns nothing: the id may be misspelt.

    They come in the order in which they were typed, since the error names none of them.
    """
    for number, user in enumerate(users, 1):
        if not vault.view(UserId(user)).count():
            which = "this user" if len(users) == 1 else f"user {number} of {len(users)}"
            raise StateError(
                f"{which} owns no message in this archive",
                suggestions=["check the id, which is that in the list of users", *advice],
            )


def is_new(path: Path) -> bool:
    """Return whether there is no vault in the folder, nor what is left of one."""
    return not any((path / name).exists() for name in ("vault.json", "volumes"))


def named_keys() -> KeyProvider | None:
    """Return the keys in the command's key file, where there is one."""
    named = _key_file.get()
    return None if named is None else FileKeys(named)


def quarantine_of(vault: Path, keys: KeyProvider | None = None) -> QuarantineFolder:
    """Return the quarantine beside the mail in a vault's folder, with keys as `opened` does."""
    return QuarantineFolder(vault / "quarantine", keys=keys or named_keys())


def new_key(path: Path) -> None:
    """Make a key file, and say what it means."""
    FileKeys.create(path)
    print("A new key file. Whoever has it can read what is encrypted with it, and without it")
    print("nobody can: keep a copy where the vault is not.")
