"""What the tests of file sources share: reading one to its end, its traces, a lesser user."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailarchive import Page, SourceMessage, Unavailable
    from mailarchive.abc import Source

NOBODY = 65534
NO_ATIME = getattr(os, "O_NOATIME", 0)


@define
class Reading:
    """What one reading of a source gave, and where each folder's next one begins."""

    items: list[SourceMessage | Unavailable] = field(factory=list)
    pages: list[Page] = field(factory=list)
    tokens: dict[str, str] = field(factory=dict)

    @property
    def raws(self) -> list[bytes]:
        """The bytes of each message, in the order they came."""
        return [item.raw for item in self.items if not hasattr(item, "reason")]


def read(source: Source, after: Reading | None = None) -> Reading:
    """Read what came after an earlier reading, as a run would: a page, then its messages."""
    reading = Reading(tokens=dict(after.tokens) if after is not None else {})
    with source:
        for folder in source.folders():
            for page in source.scan(folder, reading.tokens.get(folder.key)):
                reading.pages.append(page)
                reading.items += source.fetch(page.refs)
                reading.tokens[folder.key] = page.token
    return reading


def trace(path: Path) -> tuple[object, ...]:
    """Return all that a file tells, its bytes and the times to the last digit.

    Looked at without a trace of one's own: what was read after it was written has another
    time of access, and a second may end in between.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | NO_ATIME)) as file:
        status, raw = os.fstat(file.fileno()), file.read()
    accessed = status.st_atime_ns if NO_ATIME else None
    times = accessed, status.st_mtime_ns, status.st_ctime_ns
    return status.st_ino, status.st_mode, status.st_nlink, times, raw


@contextmanager
def lesser_user() -> Iterator[Path]:
    """Give a folder of one's own, and be a user for whom permissions count."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        root = os.geteuid() == 0
        place.chmod(0o755)
        if root:
            os.chown(place, NOBODY, -1)
            os.seteuid(NOBODY)
        try:
            yield place
        finally:
            if root:
                os.seteuid(0)
            for each in [place, *place.rglob("*")]:
                if each.is_dir():
                    each.chmod(0o755)
