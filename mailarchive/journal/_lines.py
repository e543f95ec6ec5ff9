"""Lines of an envelope text: split, labelled, and put together where they were folded."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mailarchive.journal._report import exceeded

if TYPE_CHECKING:
    from collections.abc import Container


class Line(NamedTuple):
    """A line of the text: its number from 1, its label in lower case if known, the rest."""

    number: int
    label: str | None
    value: str
    text: str


def split_lines(text: str, limit: int) -> list[str]:
    """Split at CR LF, CR and LF, and at nothing else: a subject may hold any other one.

    Raises `LimitExceeded` for more than `limit` lines.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.count("\n") > limit:
        raise exceeded("an envelope text has more lines", "text_lines")
    return text.split("\n")


def labelled(
    texts: list[str], labels: Container[str], lists: Container[str]
) -> tuple[list[Line], list[int]]:
    """Return the lines with their labels, and the numbers of those that others go on with.

    A line goes on with the one before where it begins with a blank, or where that is one
    of `lists` and has an open end, a comma or a colon.  Blanks that all lines begin with
    are an indentation.
    """
    lines = [_label(number, text, labels) for number, text in enumerate(texts, 1)]
    if all(line.label is not None or not line.text for line in lines):
        return lines, []
    margin = _margin(texts)
    if margin:
        bare = (text.removeprefix(margin) for text in texts)
        lines = [_label(number, text, labels) for number, text in enumerate(bare, 1)]
    return _joined(lines, lists)


def _label(number: int, text: str, labels: Container[str]) -> Line:
    head, colon, value = text.partition(":")
    label = head.rstrip(" \t").lower()
    if colon and label in labels and not head[:1].isspace():
        return Line(number, label, value.strip(" \t"), text)
    return Line(number, None, "", text)


def _margin(texts: list[str]) -> str:
    first = next((text for text in texts if text.strip(" \t")), "")
    return first[: len(first) - len(first.lstrip(" \t"))]


def _joined(lines: list[Line], lists: Container[str]) -> tuple[list[Line], list[int]]:
    groups: list[list[Line]] = []
    folded: list[int] = []
    for line in lines:
        if groups and _goes_on(groups[-1], line, lists):
            groups[-1].append(line)
            folded.append(line.number)
        else:
            groups.append([line])
    return [_whole(group) for group in groups], folded


def _goes_on(group: list[Line], line: Line, lists: Container[str]) -> bool:
    first, before = group[0], group[-1]
    if line.label is not None or not line.text or first.label is None:
        return False
    if line.text[0] in " \t":
        return not line.text.isspace()
    return first.label in lists and before.text.rstrip(" \t").endswith((",", ":"))


def _whole(group: list[Line]) -> Line:
    if len(group) == 1:
        return group[0]
    first = group[0]
    more = " ".join(line.text.strip() for line in group[1:])
    return first._replace(value=f"{first.value} {more}".strip(), text=f"{first.text} {more}")
