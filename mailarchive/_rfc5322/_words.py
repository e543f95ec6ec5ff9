"""Encoded words in header fields (RFC 2047), and raw bytes beside them."""

from __future__ import annotations

import binascii
import re
from typing import Final

from mailarchive._rfc5322._charsets import decode_text

_WORD: Final = re.compile(rb"=\?([^?\s*]{1,80})(?:\*[^?\s]*)?\?([bBqQ])\?([^?]*)\?=")


def decode_header(value: bytes) -> str:
    """Return an unfolded field as text; total, since bytes that mean nothing are guessed at.

    Neighbouring words of one charset are decoded together, as writers break them within
    a character, and white space between words is dropped (RFC 2047, section 6.2).
    """
    if value.find(b"=?") < 0:  # `in` would take the bytes for a number first
        return decode_text(value)[0]
    runs: list[tuple[str | None, list[bytes]]] = []
    end = 0
    for word in _WORD.finditer(value):
        between = value[end : word.start()]
        if between.strip() or not runs:
            runs.append((None, [between]))
        charset, data = word[1].decode("latin-1").lower(), _payload(word[2], word[3])
        if runs[-1][0] == charset:
            runs[-1][1].append(data)
        else:
            runs.append((charset, [data]))
        end = word.end()
    runs.append((None, [value[end:]]))
    return "".join(decode_text(b"".join(run), charset)[0] for charset, run in runs)


def _payload(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"qQ":
        return binascii.a2b_qp(text, header=True)
    return base64_lenient(text)


def base64_lenient(text: bytes) -> bytes:
    """Return what the base64 `text` says, up to where it breaks off or goes wrong."""
    try:
        return binascii.a2b_base64(text)
    except binascii.Error:
        return binascii.a2b_base64(_whole_quads(text))


_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_FOREIGN: Final = bytes(octet for octet in range(256) if octet not in _ALPHABET)


def _whole_quads(text: bytes) -> bytes:
    """Return text of the alphabet only, padded; one letter too many holds no octet."""
    letters = text.translate(None, _FOREIGN)
    rest = len(letters) % 4
    if rest == 1:
        letters = letters[:-1]
    return letters + b"=" * (-len(letters) % 4)
