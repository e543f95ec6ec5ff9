"""The reference of the limits, out of the limits: `python tests/support/limits_page.py`."""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from mailarchive.sources.ews import EwsLimits
from mailarchive.sources.files import FileLimits
from mailarchive.sources.graph import GraphLimits
from mailarchive.sources.imap import ImapLimits
from mailarchive.sources.smtp import SmtpLimits
from mailarchive.vault import _manifest_bounds, _zstd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "limits.md"
KINDS: Final[dict[str, type[attrs.AttrsInstance]]] = {
    '`kind = "imap"`': ImapLimits,
    '`kind = "graph"`': GraphLimits,
    '`kind = "ews"`': EwsLimits,
    '`kind = "smtp"`': SmtpLimits,
    '`kind = "maildir"`, `"eml"` and `"mbox"`': FileLimits,
}
VAULT: Final[tuple[tuple[ModuleType, str], ...]] = (
    (_manifest_bounds, "MOST_LINES"),
    (_manifest_bounds, "LONGEST_LINE"),
    (_manifest_bounds, "LARGEST"),
    (_zstd, "LARGEST"),
)
VAULT_HEAD: Final = """## The vault

Nobody sets these bounds: they are part of the vault's [format](vault-format.md).
A manifest that goes beyond one is not read, and `verify` names it.

| bound | meaning |
|---|---|"""
HEAD: Final = """# Limits

What a source may take of time, memory and patience.
In a job each is a key of `[source.limits]`; in a program a field of the class that is named.
A value out of its bounds is refused before anything is done.

This page is written from the code, and a test compares the two.
"""


def written() -> str:
    """Return the page as the code has it."""
    kinds = (line for each in KINDS.items() for line in _section(*each))
    return "\n".join([HEAD, *kinds, VAULT_HEAD, *map(_bound, VAULT), ""])


def _bound(where: tuple[ModuleType, str]) -> str:
    module, name = where
    words = _described(ast.parse(inspect.getsource(module)).body)
    return f"| {getattr(module, name):_} | {words[name]} |"


def _section(title: str, kind: type[attrs.AttrsInstance]) -> Iterator[str]:
    words = _docstrings(kind)
    yield f"## {title}: {kind.__name__}\n"
    yield "| key | default | bounds | meaning |\n|---|---|---|---|"
    for each in attrs.fields(kind):
        yield f"| `{each.name}` | {each.default:_} | {each.validator} | {words[each.name]} |"
    yield ""


def _docstrings(kind: type[attrs.AttrsInstance]) -> dict[str, str]:
    """Return what stands below each field, on one line."""
    (tree,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    found = _described(tree.body)
    assert found.keys() == {each.name for each in attrs.fields(kind)}
    return found


def _described(body: list[ast.stmt]) -> dict[str, str]:
    """Return what stands below each assignment, where anything does."""
    found: dict[str, str] = {}
    for before, after in pairwise(body):
        if isinstance(before, ast.Assign | ast.AnnAssign) and isinstance(after, ast.Expr):
            target = before.target if isinstance(before, ast.AnnAssign) else before.targets[0]
            if isinstance(target, ast.Name) and isinstance(after.value, ast.Constant):
                found[target.id] = " ".join(str(after.value.value).split())
    return found


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
