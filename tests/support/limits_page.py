"""The reference of the limits, out of the limits: `python tests/support/limits_page.py`."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from mailarchive.sources.ews import EwsLimits
from mailarchive.sources.files import FileLimits
from mailarchive.sources.graph import GraphLimits
from mailarchive.sources.imap import ImapLimits
from mailarchive.sources.smtp import SmtpLimits

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "limits.md"
KINDS: Final[dict[str, type[attrs.AttrsInstance]]] = {
    '`kind = "imap"`': ImapLimits,
    '`kind = "graph"`': GraphLimits,
    '`kind = "ews"`': EwsLimits,
    '`kind = "smtp"`': SmtpLimits,
    '`kind = "maildir"`, `"eml"` and `"mbox"`': FileLimits,
}
HEAD: Final = """# Limits

What a source may take of time, memory and patience.
In a job each is a key of `[source.limits]`; in a program a field of the class that is named.
A value out of its bounds is refused before anything is done.

This page is written from the code, and a test compares the two.
"""


def written() -> str:
    """Return the page as the code has it."""
    return "\n".join([HEAD, *(line for each in KINDS.items() for line in _section(*each))])


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
    found: dict[str, str] = {}
    for before, after in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name):
            assert isinstance(after, ast.Expr)
            assert isinstance(after.value, ast.Constant)
            found[before.target.id] = " ".join(str(after.value.value).split())
    return found


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
