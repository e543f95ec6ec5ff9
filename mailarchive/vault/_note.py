"""Signed notes and the checkpoints of a log, to the byte as C2SP has them.  Pure.

C2SP signed-note and tlog-checkpoint: a text, an empty line, and a line for each signature.
Signatures are Ed25519 (RFC 8032); `cryptography` is imported when one is made or checked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen
from typing_extensions import override

from mailarchive.errors import ConfigurationError

if TYPE_CHECKING:
    from typing import Self

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_ED25519 = b"\x01"
_KEY_SIZE = 32
_DIGEST_SIZE = 32
_LARGEST = 1 << 16
_MOST_SIGNATURES = 64
_SIZE = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z")
_NAME = re.compile(r"[^\s+\x00-\x1f]+\Z")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_DASH = "— "


@frozen
class Signature:
    """One line under a note: who signed it, with which key, and how."""

    name: str
    key_id: bytes = field(repr=False)
    value: bytes = field(repr=False)

    def line(self) -> str:
        """Return the line as it stands under the note."""
        return f"{_DASH}{self.name} {encoded(self.key_id + self.value)}\n"


@frozen
class LogCheckpoint:
    """What a log was: its first `size` leaves have this `root`, as its signatures say.

    `origin` names the log.  A checkpoint is worth what its place is worth: one that was
    kept elsewhere shows any later change of what it covers, one that lies beside the
    archive only what happens by accident.
    """

    origin: str
    size: int
    root: bytes = field(repr=lambda root: root.hex()[:12])
    extensions: tuple[str, ...] = ()
    signatures: tuple[Signature, ...] = field(default=(), repr=lambda all_: f"<{len(all_)}>")

    def text(self) -> str:
        """Return what is signed: the note without its signatures."""
        lines = (self.origin, str(self.size), encoded(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)

    def to_bytes(self) -> bytes:
        """Return the signed note, as it stands in a file."""
        return "".join([self.text(), "\n", *(each.line() for each in self.signatures)]).encode()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the checkpoint in a signed note; raises `ConfigurationError`.

        Signatures are read, not checked: `VerifierKey.check` does that.
        """
        try:
            return cls(*_parse_checkpoint(data))
        except ValueError as error:
            raise ConfigurationError(
                "this is no checkpoint of a log",
                suggestions=["give the file that `mailarchive seal` wrote, unchanged"],
            ) from error

    def signed_by(self, key: SigningKey) -> Self:
        """Return the checkpoint with one more signature, under the name of its origin."""
        signature = key.sign(self.origin, self.text())
        return evolve(self, signatures=(*self.signatures, signature))


@frozen
class VerifierKey:
    """A public key by which the signature of a checkpoint is checked.

    Its text form is the one of C2SP signed notes: name, key id, and the key in base64,
    joined by plus signs.
    """

    name: str
    public: bytes = field(repr=False)

    @property
    def id(self) -> bytes:
        """The four bytes by which a signature names its key."""
        return _key_id(self.name, self.public)

    @override
    def __str__(self) -> str:
        """Return the text form."""
        return f"{self.name}+{self.id.hex()}+{encoded(_ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the key that `str` wrote; raises `ConfigurationError`."""
        try:
            return cls(*_parse_key(text.strip()))
        except ValueError as error:
            raise ConfigurationError(
                "this is no verifier key of Ed25519: one is written NAME+HASH+KEY",
                suggestions=["give the key, or a file with it, as `mailarchive seal` printed it"],
            ) from error

    def check(self, checkpoint: LogCheckpoint) -> bool:
        """Whether this key has signed the checkpoint."""
        return any(
            self.is_valid(checkpoint.text(), each)
            for each in checkpoint.signatures
            if (each.name, each.key_id) == (self.name, self.id)
        )

    def is_valid(self, text: str, signature: Signature) -> bool:
        """Whether the signature is one of this key over the text."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            key = Ed25519PublicKey.from_public_bytes(self.public)
            key.verify(signature.value, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


class SigningKey:
    """A private key of Ed25519; nothing shows it."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        """Sign with `key`."""
        self._key = key

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._key.public_key().public_bytes_raw()

    def verifier(self, name: str) -> VerifierKey:
        """Return the key by which signatures under this name are checked."""
        return VerifierKey(name, self.public)

    def sign(self, name: str, text: str) -> Signature:
        """Return a signature over the text; raises `ConfigurationError` for a bad name."""
        if not _NAME.match(name):
            raise ConfigurationError("a name of a key has neither blanks nor plus signs")
        return Signature(name, _key_id(name, self.public), self._key.sign(text.encode()))


def _key_id(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def _parse_key(text: str) -> tuple[str, bytes]:
    name, key_id, rest = text.split("+", 2)
    data = decoded(rest)
    known = data[:1] == _ED25519 and len(data) == 1 + _KEY_SIZE
    if not known or not _NAME.match(name) or _key_id(name, data[1:]).hex() != key_id:
        raise ValueError
    return name, data[1:]


def _parse_checkpoint(
    data: bytes,
) -> tuple[str, int, bytes, tuple[str, ...], tuple[Signature, ...]]:
    text, signatures = _parse_note(data)
    origin, size, root, *extensions = text.removesuffix("\n").split("\n")
    digest = decoded(root)
    if not origin or not _SIZE.match(size) or "" in extensions or len(digest) != _DIGEST_SIZE:
        raise ValueError
    return origin, int(size), digest, tuple(extensions), signatures


def _parse_note(data: bytes) -> tuple[str, tuple[Signature, ...]]:
    if len(data) > _LARGEST:
        raise ValueError
    text, separator, rest = data.decode().rpartition("\n\n")
    lines = rest.split("\n")
    if not separator or _CONTROL.search(text + rest) or lines.pop() or not lines:
        raise ValueError
    if len(lines) > _MOST_SIGNATURES:
        raise ValueError
    return text + "\n", tuple(map(_parse_signature, lines))


def _parse_signature(line: str) -> Signature:
    name, rest = line.removeprefix(_DASH).split(" ")
    data = decoded(rest)
    if not line.startswith(_DASH) or not _NAME.match(name) or len(data) <= 4:  # noqa: PLR2004 - a key's id
        raise ValueError
    return Signature(name, data[:4], data[4:])


def encoded(data: bytes) -> str:
    """Return standard base64."""
    return base64.b64encode(data).decode("ascii")


def decoded(text: str) -> bytes:
    """Return what standard base64 stands for; raises `ValueError` for another spelling of it."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError from error
    if encoded(data) != text:
        raise ValueError
    return data
