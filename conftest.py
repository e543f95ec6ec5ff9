"""The documentation is run: Python, TOML and console blocks of the README and of docs/.

Each page has a folder of its own to work in, with what `mailarchive demo` leaves behind:
`archive.toml`, `users.csv`, `journal` and `acme.vault`.
"""

from __future__ import annotations

import atexit
import contextlib
import doctest
import importlib
import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sybil import Sybil
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sybil import Document, Example, Region
    from sybil.typing import Evaluator

HERE = Path(__file__).parent

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts what runs in the background; every command of ours would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

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
    namespace["_path"] = list(sys.path)
    sys.path.insert(0, str(namespace["_work"]))


def teardown(namespace: dict[str, Any]) -> None:
    """Leave nothing behind."""
    os.chdir(namespace["_home"])
    sys.path[:] = namespace["_path"]
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(namespace["_work"])):
            del sys.modules[name]
    shutil.rmtree(namespace["_work"].parent, ignore_errors=True)


class PythonFiles(PythonCodeBlockParser):
    """Python blocks are run; one that begins with `# name.py` is put into that file first."""

    def __call__(self, document: Document) -> Iterator[Region]:
        """Yield the blocks."""
        for region in super().__call__(document):
            region.evaluator = saving(region.evaluator)
            yield region


def saving(evaluate: Evaluator | None) -> Evaluator:
    """Return what saves a block to its file, if it names one, and then evaluates it."""

    def save(example: Example) -> str | None:
        named = re.match(r"# (\w+\.py)\n", str(example.parsed))
        if named is not None:
            Path(named[1]).write_text(str(example.parsed), encoding="utf-8")
        return evaluate(example) if evaluate is not None else None

    return save


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
    if words[0] in {"pip", "nox"}:
        return ""
    if words[0] == "pytest":
        return run_pytest(words[1:])
    assert words[0] in {"mailarchive", "mailarchive.testing"}, f"nobody runs this: {command}"
    module = "mailarchive._cli" if words[0] == "mailarchive" else "mailarchive.testing.__main__"
    with contextlib.redirect_stdout(io.StringIO()) as out:
        status = importlib.import_module(module).main(words[1:])
    assert status == 0, f"{command} exits with {status}"
    return out.getvalue()


def run_pytest(arguments: list[str]) -> str:
    """Run the reader's tests as the reader would, in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def matches(expected: str, printed: str) -> bool:
    """Compare as doctest does, white space folded."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(expected.strip() + "\n", printed + "\n", flags)


pytest_collect_file = Sybil(
    parsers=[
        PythonFiles(),
        CodeBlockParser("toml", evaluate_toml),
        CodeBlockParser("console", evaluate_console),
    ],
    patterns=["README.md", "docs/**/*.md"],
    setup=setup,
    teardown=teardown,
).pytest()
