"""An mbox as a writer of each variant makes it."""

from __future__ import annotations

import re

from mailarchive.sources.files import MboxVariant

FROM = b"From a@b Thu Jan  4 00:00:00 2024\n"


def quoted(raw: bytes) -> bytes:
    """Quote as a writer of mboxo and mboxcl does."""
    return re.sub(rb"(?m)^From ", b">From ", raw)


def with_length(raw: bytes) -> bytes:
    """Add the length of the body to the headers."""
    end = re.search(rb"\A\r?\n|\n\r?\n", raw)
    body = raw[end.end() :] if end else b""
    return b"Content-Length: %d\n" % len(body) + raw


def stored(raw: bytes, variant: MboxVariant) -> bytes:
    """Return a message as a writer of the variant puts it between From_ line and empty line."""
    if variant is MboxVariant.MBOXRD:
        return re.sub(rb"(?m)^(>*From )", rb">\1", raw)
    if variant is MboxVariant.MBOXO:
        return quoted(raw)
    return with_length(quoted(raw) if variant is MboxVariant.MBOXCL else raw)


def written(raws: list[bytes], variant: MboxVariant = MboxVariant.MBOXO) -> bytes:
    """Return an mbox as a writer of the variant makes it."""
    return b"".join(FROM + stored(raw, variant) + b"\n" for raw in raws)
