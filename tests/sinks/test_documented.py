"""The sink that the reference makes of a function keeps the laws, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mailarchive.testing.sink_contract import SinkContract

if TYPE_CHECKING:
    from mailarchive.testing.sink_laws import SinkMaker

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "sinks.md"


class TestDocumented(SinkContract):
    """It promises nothing, and so half of the laws are not asked of it; the others are."""

    largest = 1 << 20

    @pytest.fixture
    def open_sink(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SinkMaker:
        """The code of the page, run in a folder of its own."""
        monkeypatch.chdir(tmp_path)
        blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
        (block,) = (each for each in blocks if '@sink("spool")' in each)
        names: dict[str, Any] = {}
        exec(block, names)
        return lambda: names["spool"]
