"""A listing that names nothing for very long is refused, and goes on in the next run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.world import LocalParts, mail
from typing_extensions import override

from mailarchive import Archiver, Page, abc
from mailarchive.testing.memory import (
    MemoryCheckpoints,
    MemoryQuarantine,
    MemorySink,
    MemorySource,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from mailarchive import Folder


class Quiet(MemorySource):
    """Has a hundred and twenty pages that name nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.began: list[int] = []

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        start = int(after or 0)
        self.began.append(start)
        yield from (Page(folder, (), str(number)) for number in range(start + 1, 121))


def test_a_listing_that_was_refused_goes_on_from_its_last_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A folder in which very much went away is done after some runs, and not stuck."""
    monkeypatch.setattr(abc, "_QUIET", 50)
    source, state = Quiet(), MemoryCheckpoints()
    source.add(mail(1))
    fine = []
    for _ in range(3):
        archiver = Archiver(
            source, MemorySink(), LocalParts(), state=state, quarantine=MemoryQuarantine()
        )
        fine.append(archiver.run().ok)

    assert fine == [False, False, True]
    assert source.began == [0, 50, 100]
