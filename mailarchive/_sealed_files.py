"""Small files of a folder, encrypted where there are keys, each whole or not there at all.

Encrypted ones end in `.gcm`.  The folder has one random key, in the file `key`, wrapped by
the key provider; each file is bound to its own name (AES-256-GCM).  What was written in
clear before there were keys is still read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from mailarchive import _crypt, _durable
from mailarchive.errors import MailArchiveError, StateError

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive._durable import Fuse
    from mailarchive.abc import KeyProvider

_SUFFIX = ".gcm"
_KEY = "key"
_LARGEST_KEY = 1 << 16


@define
class SealedFiles:
    """The files of one folder; raises `OSError`, and `StateError` where keys do not fit."""

    folder: Path
    keys: KeyProvider | None = field(repr=False)
    fuse: Fuse = field(repr=False)
    _secret: bytes | None = field(default=None, init=False, repr=False)

    @property
    def is_encrypted(self) -> bool:
        """Whether the folder has a key."""
        return (self.folder / _KEY).is_file()

    def names(self, suffix: str) -> list[str]:
        """Return the names that end so, without what encryption adds to them."""
        if not self.folder.is_dir():
            return []
        found = {file.name.removesuffix(_SUFFIX) for file in self.folder.iterdir()}
        return sorted(name for name in found if name.endswith(suffix))

    def exists(self, name: str) -> bool:
        """Whether the file is there, in clear or encrypted."""
        return any(path.is_file() for path in self._paths(name))

    def read(self, name: str) -> bytes:
        """Return what was written; raises `ValueError` where it was changed since."""
        clear, sealed = self._paths(name)
        if not sealed.is_file():
            return clear.read_bytes()
        return _crypt.decrypt_message(self._key(), sealed.read_bytes(), self._about(name))

    def write(self, name: str, data: bytes) -> None:
        """Write the file durably, for its owner's eyes alone; it replaces what is there."""
        _durable.make_folder(self.folder, self.fuse, mode=0o700)
        clear, sealed = self._paths(name)
        if self.keys is None:
            _durable.write_file(clear, data, self.fuse, mode=0o600)
            return
        data = _crypt.encrypt_message(self._key(), data, self._about(name))
        _durable.write_file(sealed, data, self.fuse, mode=0o600)
        if clear.exists():  # it was written before there were keys
            self.fuse("unlink")
            clear.unlink()

    def remove(self, name: str) -> None:
        """Remove the file, however it was written."""
        self.fuse("unlink")
        for path in self._paths(name):
            path.unlink(missing_ok=True)

    def _paths(self, name: str) -> tuple[Path, Path]:
        return self.folder / name, self.folder / f"{name}{_SUFFIX}"

    def _about(self, name: str) -> bytes:
        return _crypt.about(b"mailarchive/sealed-file/1", name.encode("ascii"))

    def _key(self) -> bytes:
        if self._secret is None:
            self._secret = self._asked()
        return self._secret

    def _asked(self) -> bytes:
        """The key of the folder: unwrapped, or made where there is none yet."""
        if self.keys is None:
            raise StateError(
                "what is kept here is encrypted, and no keys were given",
                suggestions=["give the keys of the archive, on the command line with --key-file"],
            )
        file = self.folder / _KEY
        try:
            if file.is_file():
                return _checked(self.keys.unwrap(None, _bounded(file)))
            secret = _crypt.new_key()
            wrapped = self.keys.wrap(None, secret)
        except MailArchiveError:
            raise
        except Exception as error:
            raise _unfit(type(error).__name__) from error
        _durable.write_file(file, wrapped, self.fuse, mode=0o600)
        return secret


def _bounded(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_LARGEST_KEY)


def _checked(secret: object) -> bytes:
    if not isinstance(secret, bytes) or len(secret) != _crypt.KEY:
        raise _unfit("no key")
    return secret


def _unfit(why: str) -> StateError:
    return StateError(
        f"the key provider does not open what is kept here: {why}",
        suggestions=["give the keys with which it was encrypted, or a copy of them"],
    )
