"""The text of an HTML envelope: tags cut, entities resolved, block tags as line ends."""

from __future__ import annotations

import html
import re
from typing import Final

_COMMENT: Final = re.compile(r"<!--.*?(?:-->|\Z)|<!\[[^<>]*>", re.DOTALL)
_HIDDEN: Final = re.compile(r"<(script|style|title)\b[^<>]*>", re.IGNORECASE)
_CLOSING: Final = {
    name: re.compile(f"</{name}", re.IGNORECASE) for name in ("script", "style", "title")
}
_BREAK: Final = re.compile(
    r"<br\s*/?>|</?(?:p|div|tr|table|tbody|body|html|head|li|ul|ol|pre|h[1-6])(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_TAG: Final = re.compile(r"</?[A-Za-z][A-Za-z0-9:-]*(?:\s[^<>]*)?/?>|<![A-Za-z][^<>]*>")
"""Not every `<...>`: one that holds an address, such as `<smtp:a@b.c>`, is no tag."""
_LINE_TAG: Final = re.compile(r"<br\s*/?>|</(?:p|div|tr|li)\s*>", re.IGNORECASE)
_NO_CHARACTER: Final = re.compile(r"&#[0-9]{9,};?")
"""More digits than any character has; Python refuses to convert thousands of them."""
_FEW: Final = 3
"""With fewer line tags than an envelope has fields, its lines are those of the source."""


def to_text(markup: str) -> str:
    """Return the lines that a browser would show; linear, and total."""
    markup = _visible(_COMMENT.sub("", markup))
    if "<pre" not in markup.lower() and len(_LINE_TAG.findall(markup)) >= _FEW:
        markup = markup.replace("\r", " ").replace("\n", " ")
    markup = _TAG.sub("", _BREAK.sub("\n", markup))
    text = html.unescape(_NO_CHARACTER.sub("", markup)).replace("\xa0", " ").replace("\r", "\n")
    return "\n".join(line.strip(" \t") for line in text.split("\n"))


def _visible(markup: str) -> str:
    """Leave out scripts, styles and the title."""
    pieces = []
    end = 0
    while (tag := _HIDDEN.search(markup, end)) is not None:
        pieces.append(markup[end : tag.start()])
        close = _CLOSING[tag[1].lower()].search(markup, tag.end())
        end = len(markup) if close is None else close.start()
    return "".join([*pieces, markup[end:]])
