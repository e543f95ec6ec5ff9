"""What is common to every message: header fields, charsets, encoded words, addresses.

Pure functions of bytes and text that never raise for bad input.  They copy a field only
when it is asked for, and read no body.
"""

from __future__ import annotations

from mailarchive._rfc5322._addresses import mailboxes
from mailarchive._rfc5322._charsets import decode_text
from mailarchive._rfc5322._cut import cut, header_start
from mailarchive._rfc5322._fields import Block, Names, header_end, squash, unfold
from mailarchive._rfc5322._words import base64_lenient, decode_header

__all__ = [
    "Block",
    "Names",
    "base64_lenient",
    "cut",
    "decode_header",
    "decode_text",
    "header_end",
    "header_start",
    "mailboxes",
    "squash",
    "unfold",
]
