"""What an error says is for whoever reads it, who may never have seen a line of Python."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import mailarchive

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLED = re.compile(r"\w\((\)|\.\.\.|\w+=)|\w=(\.\.\.|None|True|False|\"|\w+\()|@\w+\(")
"""A call, an argument or a decorator, as Python spells them; TOML has blanks around its =."""

SENTENCE = re.compile(r"[^A-Z<>\n]+ [^<>\n]*\Z")
"""Words for people, and no SQL, XML or protocol."""

FOR_PROGRAMMERS = {
    "give a clock that says the zone, such as datetime.now(UTC)",
    "give the receipt the name that stands in @sink(...)",
    "give the source a file to remember what it has seen: seen=SeenIds(path)",
    'give the S3Store checksum_algorithm="SHA256"',
    "give ttl as timedelta(minutes=10), and a capacity of 1 or more",
    "say the same in @sink(..., durability=...) and in the receipt",
    "scan what folders() gives",
    "set self.name in __init__: a text that never changes",
    'write subaddress="+", or leave it out to have none',
    "use it without ReadBack; its receipts are not verified then",
}
"""Said of something that no job can ask for: whoever meets it has a program of their own."""


def sentences(path: Path) -> Iterator[str]:
    """Every text of a module that is no docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    strings: list[ast.AST] = [tree]
    while strings:
        node = strings.pop()
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(each.value) for each in node.values if isinstance(each, ast.Constant)
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            strings.extend(ast.iter_child_nodes(node))


def test_no_error_that_a_command_can_print_speaks_python() -> None:
    """It names settings, which a job and a program share, or says where each writes them."""
    root = Path(mailarchive.__file__).parent
    classes: set[str] = set()
    said: set[str] = set()
    for path in root.rglob("*.py"):
        if "testing" not in path.parts:
            said.update(filter(SENTENCE.match, sentences(path)))
            classes.update(
                re.findall(r"^class ([A-Z][a-z]+[A-Z]\w+)", path.read_text(), re.MULTILINE)
            )
    ours = re.compile(rf"\b({'|'.join(classes)})\b")
    odd = {each for each in said if ours.search(each) or CALLED.search(each)}

    assert sorted(odd - FOR_PROGRAMMERS) == []
