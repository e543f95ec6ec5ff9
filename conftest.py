"""The documentation is run: Python, TOML and console blocks of the README and of docs/.

Each page has a folder of its own to work in, with what `mailarchive demo` leaves behind:
`archive.toml`, `users.csv`, `journal` and `acme.vault`.
"""

from __future__ import annotations

import atexit
import contextlib
import doctest
import io
import os
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sybil import Sybil
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser

if TYPE_CHECKING:
    from sybil import Example

HERE = Path(__file__).parent
CACHE: dict[str, Path] = {}


def demo_folder() -> Path:
    """Return what the demo leaves behind; it is run once a process."""
    if "demo" not in CACHE:
        from mailarchive._cli import main

        top = Path(tempfile.mkdtemp(prefix="mailarchive-docs-"))
        atexit.register(shutil.rmtree, top, ignore_errors=True)
        CACHE["demo"] = top / "demo"
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            status = main(["demo", "--folder", str(CACHE["demo"])])
        assert status == 0
    return CACHE["demo"]


def setup(namespace: dict[str, Any]) -> None:
    """Go to a fresh folder with the demo's files in it."""
    namespace["_home"] = Path.cwd()
    namespace["_work"] = Path(tempfile.mkdtemp(prefix="mailarchive-docs-")) / "work"
    shutil.copytree(demo_folder(), namespace["_work"])
    os.chdir(namespace["_work"])


def teardown(namespace: dict[str, Any]) -> None:
    """Leave nothing behind."""
    os.chdir(namespace["_home"])
    shutil.rmtree(namespace["_work"].parent, ignore_errors=True)


def evaluate_toml(example: Example) -> None:
    """A TOML block is a configuration that the command line takes."""
    from mailarchive._cli import _toml, config

    config.build(_toml.parse(str(example.parsed), "archive.toml"), Path.cwd())


def evaluate_console(example: Example) -> str | None:
    """Each `$ mailarchive ...` succeeds and prints what stands below it (... for anything)."""
    blocks = ("\n" + str(example.parsed)).split("\n$ ")[1:]
    for block in blocks:
        command, _, expected = block.partition("\n")
        printed = run(command)
        if expected.strip() and not matches(expected, printed):
            return f"{command} printed:\n{printed}"
    return None


def run(command: str) -> str:
    """Run one command of ours in this process; installing is what .ci/run does."""
    words = shlex.split(command)
    if words[:2] == ["python", "-m"]:
        words = words[2:]
    if words[0] != "mailarchive":
        assert words[0] in {"pip", "nox"}, f"nobody runs this: {command}"
        return ""
    from mailarchive._cli import main

    with contextlib.redirect_stdout(io.StringIO()) as out:
        status = main(words[1:])
    assert status == 0, f"{command} exits with {status}"
    return out.getvalue()


def matches(expected: str, printed: str) -> bool:
    """Compare as doctest does, white space folded."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(expected.strip() + "\n", printed + "\n", flags)


pytest_collect_file = Sybil(
    parsers=[
        PythonCodeBlockParser(),
        CodeBlockParser("toml", evaluate_toml),
        CodeBlockParser("console", evaluate_console),
    ],
    patterns=["README.md", "docs/**/*.md"],
    setup=setup,
    teardown=teardown,
).pytest()
