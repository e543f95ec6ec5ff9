"""Nobody empties a law of a contract after the contract, or a class of it, was made."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from mailarchive.testing import sink_laws, source_laws
from mailarchive.testing.sink_contract import SinkContract
from mailarchive.testing.source_contract import SourceContract

if TYPE_CHECKING:
    from pathlib import Path

CONTRACTS: dict[str, tuple[type, Any, str]] = {
    "sink": (SinkContract, sink_laws, "open_sink"),
    "source": (SourceContract, source_laws, "world"),
}
KINDS = pytest.mark.parametrize("kind", CONTRACTS)


def _nothing(*_: object, **__: object) -> None:
    """Hold no law."""


@KINDS
def test_what_is_behind_the_laws_cannot_be_changed_where_it_stands(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the contract itself, nor among the laws: no subclass is made any more."""
    contract, module, _ = CONTRACTS[kind]
    law = module.LAWS[0].__name__
    for place, name in ((contract, "_hold"), (contract, f"test_{law}"), (module, law)):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, _nothing)
            with pytest.raises(TypeError, match=f"overrides a law: {name}"):
                type("Mine", (contract,), {})
    with monkeypatch.context() as patch:
        patch.delattr(module, law)
        with pytest.raises(TypeError, match=f"overrides a law: {law}"):
            type("Mine", (contract,), {})


HEAD = """
import pytest

from mailarchive.testing import {kind}_laws as laws
from mailarchive.testing.{kind}_contract import {contract}
"""
CLASS = """

class {name}({contract}):
    @pytest.fixture
    def {maker}(self, monkeypatch):
        {within}


{after}
"""


def summary(
    kind: str, folder: Path, *, after: list[str] | None = None, within: str | list[str] = "pass"
) -> str:
    """What pytest says in the end of classes that are each changed by one of these lines."""
    contract, module, maker = CONTRACTS[kind]
    told = {"kind": kind, "contract": contract.__name__, "maker": maker}
    text = HEAD.format(**told)
    for number, line in enumerate(after or within):
        named = {"name": f"TestMine{number}", "law": module.LAWS[0].__name__}
        mine = {"after": line, "within": within} if after else {"after": "", "within": line}
        text += CLASS.format(
            **told, **named, **{key: str(each).format(**named) for key, each in mine.items()}
        )
    file = folder / "test_mine.py"
    file.write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)]
    ended = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    return ended.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("kind", "more"),
    [("sink", ["{name}.waivers = dict({law}=' ')", "{name}.points = 0"]), ("source", [])],
)
def test_a_contract_that_is_changed_after_it_was_made_is_refused(
    kind: str, more: list[str], tmp_path: Path
) -> None:
    """By every test of it, the changed one among them, and before anything is made for it."""
    lines = ["{name}.test_{law} = lambda *_: None", "{name}._hold = lambda *_: None", *more]
    said = summary(kind, tmp_path, after=lines, within="pytest.skip('it is said before that')")

    assert said.startswith(f"{len(lines) * len(CONTRACTS[kind][1].LAWS)} errors in")


@KINDS
def test_a_contract_that_is_changed_by_a_fixture_is_refused(kind: str, tmp_path: Path) -> None:
    """The tests would run after it, and hold no law."""
    lines = [
        "monkeypatch.setattr({name}, 'test_{law}', lambda *_: None)",
        "monkeypatch.setattr({name}, '_hold', lambda *_: None)",
        "self._hold = lambda *_: None",
        "monkeypatch.setattr(laws, '{law}', lambda made: None)",
    ]
    said = summary(kind, tmp_path, within=lines)

    assert said.startswith(f"{len(lines) * len(CONTRACTS[kind][1].LAWS)} errors in")
