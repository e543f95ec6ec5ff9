"""Authenticated encryption as an encrypted archive uses it: AES-256-GCM, and keys from keys.

Everything that is encrypted is bound to what it is: `about` is authenticated and stored
nowhere, so that what was moved, swapped or taken from another vault does not open.
"""

from __future__ import annotations

import secrets

KEY = 32
"""Bytes of every key."""
CHUNK = 64 << 20
"""Bytes that are encrypted at once: far below what one call of AES-GCM may take."""

_NONCE, _TAG = 12, 16
_NOT_OPENED = "not encrypted with this key, for this place"


def new_key() -> bytes:
    """Return a random key."""
    return secrets.token_bytes(KEY)


def derive(key: bytes, purpose: bytes) -> bytes:
    """Return the key for one purpose that follows from a random key (RFC 5869, 2.3)."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

    return HKDFExpand(SHA256(), KEY, purpose).derive(key)


def about(*parts: bytes) -> bytes:
    """Return what something is, each part with its length in front as eight bytes."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def encrypt(key: bytes, data: bytes, what: bytes) -> bytes:
    """Return `data` encrypted under a key that serves often: a random nonce is in front."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, data, what)


def decrypt(key: bytes, sealed: bytes, what: bytes) -> bytes:
    """Return what `encrypt` was given; raises `ValueError` for anything else."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(sealed) < _NONCE + _TAG or len(key) != KEY:
        raise ValueError(_NOT_OPENED)
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], what)
    except InvalidTag as error:
        raise ValueError(_NOT_OPENED) from error


def encrypt_message(key: bytes, data: bytes, what: bytes, *, chunk: int = CHUNK) -> bytes:
    """Return a message encrypted under its key: a random salt, and then the chunks.

    The key of the chunks follows from both, and so is used for nothing else; each chunk has
    its number, and whether it is the last one, as its nonce.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt = secrets.token_bytes(KEY)
    cipher = AESGCM(derive(key, salt))
    pieces = [data[at : at + chunk] for at in range(0, len(data), chunk)] or [b""]
    last = len(pieces) - 1
    chunks = (
        cipher.encrypt(_numbered(n, last=n == last), piece, what) for n, piece in enumerate(pieces)
    )
    return b"".join([salt, *chunks])


def decrypt_message(key: bytes, stored: bytes, what: bytes, *, chunk: int = CHUNK) -> bytes:
    """Return what `encrypt_message` was given; raises `ValueError` for anything else."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, size = stored[:KEY], chunk + _TAG
    pieces = [stored[at : at + size] for at in range(KEY, len(stored), size)]
    last = len(pieces) - 1
    if not pieces or len(pieces[-1]) < _TAG:
        raise ValueError(_NOT_OPENED)
    cipher = AESGCM(derive(key, salt))
    try:
        return b"".join(
            cipher.decrypt(_numbered(n, last=n == last), piece, what)
            for n, piece in enumerate(pieces)
        )
    except InvalidTag as error:
        raise ValueError(_NOT_OPENED) from error


def _numbered(n: int, *, last: bool) -> bytes:
    return n.to_bytes(_NONCE - 1, "big") + (b"\1" if last else b"\0")
