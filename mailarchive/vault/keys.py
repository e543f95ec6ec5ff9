"""Where the keys of an encrypted vault come from: a provider wraps and unwraps them.

A vault has a random key for each owner and one for itself, which opens everything.  It
keeps them wrapped, in `keys/keys.db`; only the provider can unwrap them.  Whoever loses
the provider's secret, or `keys.db`, has lost the mail.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, final

from mailarchive import _crypt
from mailarchive._durable import sync_folder
from mailarchive.abc import KeyProvider
from mailarchive.errors import ConfigurationError, KeyUnavailable

if TYPE_CHECKING:
    from mailarchive._model import UserId

__all__ = ["FileKeys", "KeyProvider"]


@final
class FileKeys:
    """Keys that follow from a secret of 32 random bytes in a file, one for each owner.

    The file must be readable by its owner alone, and be kept elsewhere than the vault.  It
    is read when a key is needed; the secret is in no attribute, repr or pickle.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Use the file at `path`; nothing is read yet."""
        self.path: Path = Path(path)

    def check(self) -> None:
        """Return where there is such a file; raises `KeyUnavailable` before anything needs it."""
        self._secret()

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> FileKeys:
        """Make a new secret in a new file, durably; raises `ConfigurationError`."""
        made = cls(path)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            handle = os.open(made.path, flags, 0o600)
            try:
                os.write(handle, _crypt.new_key())
                os.fsync(handle)
            finally:
                os.close(handle)
            sync_folder(made.path.absolute().parent)
        except OSError as error:
            raise ConfigurationError(
                f"the key file cannot be made: {type(error).__name__}",
                suggestions=["give a new file in a folder that exists; none is ever replaced"],
            ) from error
        return made

    def wrap(self, owner: UserId | None, key: bytes) -> bytes:
        """Return the key, encrypted with the owner's; raises `KeyUnavailable`."""
        return _crypt.encrypt(self._of(owner), key, b"mailarchive/file-keys/1")

    def unwrap(self, owner: UserId | None, wrapped: bytes) -> bytes:
        """Return what was wrapped for this owner; raises `KeyUnavailable`."""
        try:
            return _crypt.decrypt(self._of(owner), wrapped, b"mailarchive/file-keys/1")
        except ValueError as error:
            raise KeyUnavailable(
                "the key file is not the one that these keys were wrapped with",
                suggestions=["give the key file that the vault was made with, or a copy of it"],
            ) from error

    def _of(self, owner: UserId | None) -> bytes:
        name = b"" if owner is None else b"user:" + owner.encode("utf-8", "surrogatepass")
        return _crypt.derive(self._secret(), b"mailarchive/file-keys/1/" + name)

    def _secret(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                secret = file.read(_crypt.KEY + 1) if stat.S_ISREG(mode) else b""
        except OSError as error:
            raise KeyUnavailable(
                f"the key file cannot be read: {type(error).__name__}",
                suggestions=[
                    "give the key file that the vault was made with, or a copy of it",
                    "for a new vault make one first: mailarchive new-key",
                ],
            ) from error
        if mode & 0o077:
            raise KeyUnavailable(
                "the key file can be read by others",
                suggestions=["take their rights away (chmod 600)"],
            )
        if len(secret) != _crypt.KEY:
            raise KeyUnavailable(
                f"the key file does not hold {_crypt.KEY} bytes",
                suggestions=["restore it from a copy; a new one opens no vault that is there"],
            )
        return secret
