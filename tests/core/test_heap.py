"""The law of the heap: what a large message took goes back, unless somebody said otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from mailarchive import heap
from mailarchive._cli import main

MEBI = 1 << 20
PROGRAM = """
import resource, sys
from pathlib import Path
from mailarchive import heap
from mailarchive._cli import main

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

{first}
large = b"x" * (24 << 20)
del large  # from here on the C library would keep such blocks
before = held()
large, small = b"x" * (20 << 20), b"x" * (100 << 10)
del large
print(held() - before)
"""


def kept(first: str, **environment: str) -> int:
    """Return how much of a block stays with a process that let it go."""
    ours = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    ours.pop("GLIBC_TUNABLES", None)
    program = [sys.executable, "-c", PROGRAM.format(first=first)]
    said = subprocess.run(
        program, env={**ours, **environment}, check=True, stdout=subprocess.PIPE
    ).stdout
    return int(said.splitlines()[-1])


def test_a_large_block_goes_back() -> None:
    """Nothing of it stays, where the C library by itself would keep all."""
    assert kept("") > 16 * MEBI
    assert kept("heap.give_back()") < 2 * MEBI


def test_every_command_says_so() -> None:
    """It is said before anything else is done."""
    assert kept("try: main(['--version'])\nexcept SystemExit: pass") < 2 * MEBI


class Library:
    """A C library that notes which bounds it was told."""

    def __init__(self) -> None:
        """Begin untold."""
        self.told: list[tuple[int, int]] = []

    def mallopt(self, which: int, octets: int) -> int:
        """Take a bound."""
        self.told.append((which, octets))
        return 1


@pytest.mark.parametrize("name", [None, "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_the_environment_has_the_last_word(
    monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    """Whoever set a bound of the heap has that one alone."""
    library = Library()
    monkeypatch.setattr("ctypes.CDLL", lambda _: library)
    for each in ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
        monkeypatch.delenv(each, raising=False)
    if name is not None:
        monkeypatch.setenv(name, "1")
    heap.give_back()
    assert len(library.told) == (2 if name is None else 0)


@pytest.mark.parametrize("system", ["posix", "nt"])
def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    """Where there is no such bound, nothing is said and nothing fails."""
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    monkeypatch.setattr(heap, "os", SimpleNamespace(name=system, environ={}))
    heap.give_back()


def test_a_command_is_carried_out_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """The bound changes nothing that a command prints."""
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip()
