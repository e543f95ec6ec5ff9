"""Type-check the code that people copy: `python tests/support/howto_code.py`, as mypy --strict."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ("write-a-source", "write-a-sink", "write-a-decoder")
_BLOCK = re.compile(r"```python\n(?:# (\w+\.py)\n)?(.*?)```", re.DOTALL)

_KNOWN = """from records import RecordsSink
from mailarchive.testing.sink_contract import SinkContract
"""


def written(page: str, folder: Path) -> list[str]:
    """Put the blocks of a page into files: those that name one, and the others together."""
    files: dict[str, list[str]] = {}
    for name, code in _BLOCK.findall((ROOT / "docs" / "howto" / f"{page}.md").read_text()):
        files.setdefault(name or "page.py", []).append(code)
    if page == "write-a-sink":  # the page goes on with the names of its files
        files["page.py"].insert(0, _KNOWN)
    for name, parts in files.items():
        (folder / name).write_text("\n".join(parts))
    return sorted(files)


def main() -> int:
    """Return how many pages have code that does not type-check."""
    bad = 0
    for page in PAGES:
        with tempfile.TemporaryDirectory() as folder:
            names = written(page, Path(folder))
            words = [sys.executable, "-m", "mypy", "--strict", "--config-file=", *names]
            bad += subprocess.run(words, cwd=folder, check=False).returncode != 0
    return bad


if __name__ == "__main__":
    sys.exit(main())
