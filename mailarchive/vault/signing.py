"""Who signs for a log, and remembers, outside of the archive, what was signed last.

A signer is what an archive cannot take back: it signs nothing that does not continue what
it signed before.  Best on another machine, behind whatever you trust; `FileSigner` keeps
key and memory in a folder.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, final

from mailarchive._durable import make_folder, no_fuse, write_file
from mailarchive.errors import ConfigurationError, HistoryChanged, StateError
from mailarchive.vault import _merkle
from mailarchive.vault._note import LogCheckpoint, SigningKey, VerifierKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from mailarchive._durable import Fuse

__all__ = ["FileSigner", "Signer"]


class Signer(Protocol):
    """Signs checkpoints of logs; remembers the last one of each, outside of the archive."""

    def latest(self, origin: str) -> LogCheckpoint | None:
        """Return the newest checkpoint that was signed for this log, or `None`."""
        ...

    def sign(self, checkpoint: LogCheckpoint, proof: Sequence[bytes]) -> LogCheckpoint:
        """Return the checkpoint, signed; remembered durably before this returns.

        `proof` shows that the log begins with what `latest` covers.  Raises
        `HistoryChanged` where it does not.
        """
        ...


@final
class FileSigner:
    """A signer in a folder: an Ed25519 key, and the last checkpoint of each log.

    The folder must not be inside of the archive, and should be in no backup of it: an
    archive that is taken back together with what its signer remembers looks untouched.
    Files are for their owner alone.  May be shared by threads and processes.
    """

    def __init__(self, folder: str | os.PathLike[str], *, fuse: Fuse = no_fuse) -> None:
        """Use `folder`; it is made, with a new key, when there is none.

        `fuse` is called before each step that changes something on the disk.
        """
        self.folder: Path = Path(folder)
        self._fuse = fuse

    def verifier(self, origin: str) -> VerifierKey:
        """Return the key by which this signer's checkpoints of a log are checked.

        Raises `StateError`, and `ConfigurationError` for a key file that is none.
        """
        with self._turn():
            return self._key().verifier(origin)

    def latest(self, origin: str) -> LogCheckpoint | None:
        """Return the newest checkpoint that was signed for this log, or `None`.

        Raises `StateError` where it cannot be read.
        """
        with self._turn():
            return self._latest(origin)

    def sign(self, checkpoint: LogCheckpoint, proof: Sequence[bytes]) -> LogCheckpoint:
        """Return the checkpoint, signed; remembered durably before this returns.

        Raises `HistoryChanged` where the log does not begin with what was signed last,
        `StateError` where that cannot be read or written.
        """
        with self._turn():
            last = self._latest(checkpoint.origin)
            if last is not None:
                refuse_other_history(last, checkpoint, proof)
            signed = checkpoint.signed_by(self._key())
            write_file(self._memory(checkpoint.origin), signed.to_bytes(), self._fuse, mode=0o600)
        return signed

    # -- files ----------------------------------------------------------------------------

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One use at a time; whatever the system says becomes an error of ours."""
        try:
            make_folder(self.folder.absolute(), self._fuse, mode=0o700)
            handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield
            finally:
                os.close(handle)
        except OSError as error:
            symbol = errno.errorcode.get(error.errno or 0, type(error).__name__)
            raise StateError(
                f"the signer's folder: {symbol}",
                suggestions=["give a folder outside of the archive that this user may write to"],
            ) from error

    def _memory(self, origin: str) -> Path:
        """What names the file is a digest: an origin is a text of the archive."""
        return self.folder / f"{hashlib.sha256(origin.encode()).hexdigest()[:32]}.checkpoint"

    def _latest(self, origin: str) -> LogCheckpoint | None:
        try:
            found = LogCheckpoint.parse(self._memory(origin).read_bytes())
        except FileNotFoundError:
            return None
        except ConfigurationError as error:
            raise _damaged() from error
        if found.origin != origin:
            raise _damaged()
        return found

    def _key(self) -> SigningKey:
        path = self.folder / "key.pem"
        try:
            if path.stat().st_mode & 0o077:
                raise ConfigurationError(
                    "the signing key can be read by others",
                    suggestions=["take their rights away (chmod 600), or make a new key"],
                )
            return SigningKey(_load(path.read_bytes()))
        except FileNotFoundError:
            return self._new_key(path)

    def _new_key(self, path: Path) -> SigningKey:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        if any(self.folder.glob("*.checkpoint")):
            raise ConfigurationError(
                "the signer has signed before, and its key is gone",
                suggestions=["restore key.pem from a copy, or use a new folder for a new key"],
            )
        key = Ed25519PrivateKey.generate()
        data = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_file(path, data, self._fuse, mode=0o600)
        return SigningKey(key)


def refuse_other_history(
    last: LogCheckpoint, checkpoint: LogCheckpoint, proof: Sequence[bytes]
) -> None:
    """Raise `HistoryChanged` unless `proof` leads from `last` to `checkpoint`."""
    if last.size > checkpoint.size:
        raise HistoryChanged(
            f"{last.size} lines of this log were signed, and only {checkpoint.size} are there",
            suggestions=["an older copy of the archive stands here: bring the newer one back"],
        )
    if not _merkle.extends(last.size, last.root, checkpoint.size, checkpoint.root, proof):
        raise HistoryChanged(
            "the log does not begin with what was signed last",
            suggestions=["verify the vault at the level log, against the signer's checkpoint"],
        )


def _load(data: bytes) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key() from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key()
    return key


def _no_key() -> ConfigurationError:
    return ConfigurationError(
        "the signer's key.pem holds no private key of Ed25519 without a password",
        suggestions=["restore it from a copy, or use a new folder for a new key"],
    )


def _damaged() -> StateError:
    return StateError(
        "what the signer signed last cannot be read",
        suggestions=["restore the file from a copy; do not delete it: it is what protects you"],
    )
