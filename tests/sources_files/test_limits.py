"""One message that is too large is said, and stops no other."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.file_sources import read
from support.mbox import FROM
from typing_extensions import override

from mailarchive import SourceMessage, Unavailable
from mailarchive._cli import _toml, config
from mailarchive.errors import SourceError
from mailarchive.sources import _files_disk, _files_mbox
from mailarchive.sources.files import EmlFolder, FileLimits, Maildir, Mbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from io import FileIO
    from pathlib import Path

    from mailarchive import MessageRef
    from mailarchive.abc import Source

    Make = Callable[[Path, FileLimits | None, int], Source]

SMALL = b"S: 1\n\nsmall\n"
HUGE = 6 << 30
"""Octets that no test has memory for; on disk they are a hole."""


def hole(path: Path, octets: int) -> None:
    """Write a file of so many octets that takes no room, and begins like a message."""
    path.write_bytes(SMALL)
    os.truncate(path, octets)


def eml(place: Path, limits: FileLimits | None, octets: int) -> Source:
    """Return a folder with the large one in the middle."""
    for name in ("a", "c"):
        (place / f"{name}.eml").write_bytes(SMALL)
    hole(place / "b.eml", octets)
    return EmlFolder(place, limits=limits)


def maildir(place: Path, limits: FileLimits | None, octets: int) -> Source:
    """Return a Maildir with the large one in the middle."""
    for part in ("cur", "new"):
        (place / part).mkdir(exist_ok=True)
    for name in ("1", "3"):
        (place / "cur" / f"{name}:2,").write_bytes(SMALL)
    hole(place / "new" / "2", octets)
    return Maildir(place, limits=limits)


def mbox(place: Path, limits: FileLimits | None, octets: int) -> Source:
    """Return an mbox with the large one in the middle."""
    path = place / "mbox"
    path.write_bytes(FROM + SMALL + b"\n" + FROM + SMALL)
    os.truncate(path, octets)
    with path.open("ab") as file:
        file.write(b"\n\n" + FROM + SMALL)
    return Mbox(path, limits=limits)


MAKERS = [eml, maildir, mbox]


@pytest.mark.parametrize("make", MAKERS)
def test_a_message_beyond_the_limit_is_unavailable_for_good(tmp_path: Path, make: Make) -> None:
    """It is not read, the reason says what to set, and its neighbours are read."""
    reading = read(make(tmp_path, FileLimits(message_octets=2_000), 3_000))

    (large,) = (each for each in reading.items if isinstance(each, Unavailable))
    assert large.permanent
    assert "2000" in large.reason
    assert "raise message_octets" in large.reason
    assert reading.raws == [SMALL, SMALL]
    assert len(read(make(tmp_path, FileLimits(message_octets=9_000), 3_000)).raws) == 3


@pytest.mark.parametrize("make", [eml, maildir])
def test_no_file_is_too_large_to_go_on(tmp_path: Path, make: Make) -> None:
    """Without a limit of the caller's, one that no memory holds is refused unread."""
    reading = read(make(tmp_path, None, HUGE))

    assert [each.permanent for each in reading.items if isinstance(each, Unavailable)] == [True]
    assert reading.raws == [SMALL, SMALL]


def test_a_file_within_the_limit_is_read_whole(tmp_path: Path) -> None:
    """Up to the last octet of it."""
    (tmp_path / "a.eml").write_bytes(b"x" * 1_024)
    (tmp_path / "b.eml").write_bytes(b"x" * 1_025)
    (tmp_path / "mbox").write_bytes(b"".join(FROM + b"x" * n + b"\n\n" for n in (1_023, 1_024)))
    limits = FileLimits(message_octets=1_024)

    for source in (EmlFolder(tmp_path, limits=limits), Mbox(tmp_path / "mbox", limits=limits)):
        assert [len(raw) for raw in read(source).raws] == [1_024]


@pytest.mark.parametrize("make", MAKERS)
def test_where_memory_runs_out_one_message_is_unavailable(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Make,
) -> None:
    """It is tried again, and the others are read; nobody is told of a defect."""
    real = _files_disk.read_at

    def read_at(file: FileIO, start: int, length: int) -> bytes:
        if length > 2_900:
            raise MemoryError
        return real(file, start, length)

    for module in (_files_disk, _files_mbox):
        monkeypatch.setattr(module, "read_at", read_at)
    reading = read(make(tmp_path, None, 3_000))

    (large,) = (each for each in reading.items if isinstance(each, Unavailable))
    assert not large.permanent
    assert "memory" in large.reason
    assert reading.raws == [SMALL, SMALL]


def test_a_source_without_memory_is_not_called_defective(tmp_path: Path) -> None:
    """What is told is what can be done: it was nobody's mistake."""

    class Greedy(EmlFolder):
        """A source that takes more than there is."""

        @override
        def _fetch(self, refs: Sequence[MessageRef]) -> list[SourceMessage]:
            raise MemoryError

    with Greedy(tmp_path) as source, pytest.raises(SourceError, match="no memory") as caught:
        list(source.fetch([]))
    assert "defect" not in str(caught.value.suggestions)


@pytest.mark.parametrize("kind", ["eml", "maildir", "mbox"])
def test_a_job_may_set_the_limit(tmp_path: Path, kind: str) -> None:
    """Under the same name, as with every other source."""
    text = 'path = "x"\n[limits]\nmessage_octets = 2000\n'

    made = config._files(kind, _toml.parse(text, "[source]"), tmp_path)

    assert isinstance(made, EmlFolder | Maildir | Mbox)
    assert made._limits == FileLimits(message_octets=2_000)
