"""The envelope text of Exchange 2000 and 2003, and of those who imitate it.

`Sender: "Name" <smtp:address>`, `Message-ID: <...>` and `Recipients:` with one typed
address after the other, in any order of the three.  There are no roles and no history.
Lines wrap wherever there is a blank, so a line end separates words, not addresses.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from mailarchive._model import Role
from mailarchive.journal._addresses import PLACEHOLDER
from mailarchive.journal._exchange2007 import NO_MESSAGE_ID, Reading
from mailarchive.journal._legacy import is_typed
from mailarchive.journal._lines import split_lines
from mailarchive.journal._report import (
    Defect,
    DefectCode,
    EnvelopeText,
    ExtraLine,
    RecipientLine,
    exceeded,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailarchive.journal._report import Limits

_LABEL: Final = re.compile(r"[ \t]*(sender|message-id|recipients)[ \t]*:(.*)\Z", re.IGNORECASE)
_TOKEN: Final = re.compile(
    r'"(?:[^"\\\n]|\\.)*+"@[^\s"<>,;]+|"(?:[^"\\\n]|\\.)*+"(?=\s*<)|"(?:[^"\\<]|\\.)*+"'
    r'|<(?:"(?:[^"\\]|\\.)*+"|[^<>"])*+>|[,;\n]|(?:[^"<,;\n\\]|\\"?+)++|.',
    re.DOTALL,
)
"""A name in quotes may hold an address and is no recipient for that; a quote left open on
its line must not swallow the recipients behind it.  An escaped one opens nothing: to look
for the end of each would take a time that grows with the square of the text."""
_TYPE: Final = re.compile(r"\s*([A-Za-z][A-Za-z0-9]{0,15})\s*:\s*")
_SMTP: Final = ("smtp", "mailto")
_JOINTS: Final = ("/", "=", ";")
"""Where the parts of a name meet, and a line may break without a blank."""
_BARE: Final = re.compile(r'(?:"(?:[^"\\]|\\.)*+"|[^\s<>"]+)@[^\s<>@"]+\Z')

MAX_WRAPS: Final = 15
"""After how many lines a name without an address is taken for stray text."""


class Section(NamedTuple):
    """What follows a label: the number of its line, and its lines."""

    number: int
    lines: list[str]


class Item(NamedTuple):
    """An address of a list, or (`address` is `None`) text that belongs to none."""

    number: int
    address: str | None
    text: str


def read(text: str, limits: Limits) -> Reading:
    """Read an envelope text; raises `LimitExceeded`.

    Of a field that comes twice the first counts, but every list of recipients does.
    """
    sections, stray = _sections(split_lines(text, limits.text_lines))
    senders, ids = sections.get("sender", []), sections.get("message-id", [])
    sender, more = _sender(senders, limits.recipients)
    message_id, rest = _message_id(ids)
    items = [*_all_items(sections.get("recipients", []), limits.recipients)]
    twice = [each for sections_of_one in sections.values() for each in sections_of_one[1:]]
    stray += more + rest + [item for item in items if item.address is None]
    stray += [line for section in (*senders[1:], *ids[1:]) for line in _as_stray(section)]
    fields = EnvelopeText(
        sender=sender,
        message_id=message_id,
        recipients=tuple(
            RecipientLine(item.address, Role.UNKNOWN, (), item.number)
            for item in items
            if item.address is not None
        ),
        extra=tuple(ExtraLine(item.text, item.number) for item in stray),
    )
    defects = [Defect(DefectCode.FIELD_ORDER, section.number) for section in twice]
    defects += [Defect(DefectCode.UNKNOWN_LINE, item.number) for item in stray]
    return Reading(fields, defects, len(sections), unguarded=False)


def list_line(text: str, limits: Limits) -> int | None:
    """Return the number of the line that begins the list which only this grammar has."""
    for number, line in enumerate(split_lines(text, limits.text_lines), 1):
        label = _LABEL.match(line)
        if label is not None and label[1].lower() == "recipients":
            return number
    return None


def _sections(lines: list[str]) -> tuple[dict[str, list[Section]], list[Item]]:
    """Return the sections of each label, and what stands before the first."""
    sections: dict[str, list[Section]] = {}
    stray: list[Item] = []
    current: Section | None = None
    for number, line in enumerate(lines, 1):
        label = _LABEL.match(line)
        if label is not None:
            current = Section(number, [label[2]])
            sections.setdefault(label[1].lower(), []).append(current)
        elif current is not None:
            current.lines.append(line)
        elif line.strip():
            stray.append(Item(number, None, line))
    return sections, stray


def _as_stray(section: Section, used: int = 0) -> list[Item]:
    """Return the lines of a section, but for the first ones, as belonging nowhere."""
    return [
        Item(number, None, line)
        for number, line in enumerate(section.lines[used:], section.number + used)
        if line.strip()
    ]


def _sender(sections: list[Section], limit: int) -> tuple[str | None, list[Item]]:
    items = list(_all_items(sections[:1], limit))
    if items and items[0].text.lower() in {PLACEHOLDER, "<>"}:
        return None, items[1:]
    first = next((item for item in items if item.address is not None), None)
    return first and first.address, [item for item in items if item.address is None]


def _message_id(sections: list[Section]) -> tuple[str | None, list[Item]]:
    """Return the Message-ID, which may be broken over lines anywhere, and stray lines."""
    if not sections:
        return None, []
    value = ""
    used = 0
    for line in sections[0].lines:
        value += line.strip()
        used += 1
        if used > MAX_WRAPS or (value and not (value[0] == "<" and value[-1] != ">")):
            break
    known = value and value.lower() != NO_MESSAGE_ID
    return (value if known else None), _as_stray(sections[0], used)


def _all_items(sections: list[Section], limit: int) -> Iterator[Item]:
    """Yield the addresses of lists; raises `LimitExceeded` behind the last allowed one."""
    for section in sections:
        for item in _items(section):
            limit -= item.address is not None
            if limit < 0:
                raise exceeded("a journal report has more recipients", "recipients")
            yield item


def _items(section: Section) -> Iterator[Item]:
    scan = _Scan(section.number)
    for piece in _TOKEN.findall("\n".join(section.lines)):
        yield from scan.take(piece)
    yield from scan.end()


class _Scan:
    """The words since the last address, and the line they began on.

    `bare` are the addresses that one word alone is, several where a comma was forgotten,
    and `typed` says that it is one of another system.  A word is looked at once, however
    many separators follow it.
    """

    __slots__ = ("bare", "began", "number", "typed", "words")

    def __init__(self, number: int) -> None:
        self.number = number
        self.began = number
        self._forget()

    def _forget(self) -> None:
        self.words: list[str] = []
        self.bare: list[str] = []
        self.typed = False

    def take(self, piece: str) -> Iterator[Item]:
        if piece[0] == "<" and piece[-1] == ">":
            self._forget()
            yield Item(self.number, _angled(piece[1:-1]), piece)
            self.number += piece.count("\n")
        elif piece == "\n":
            if self.bare or self.number - self.began >= MAX_WRAPS:
                yield from self.end()
            self.number += 1
        elif piece in {",", ";"}:
            if self.bare or self.typed:
                yield from self.end()
        elif not piece.isspace():
            self._add(piece)

    def _add(self, piece: str) -> None:
        word = piece.strip()
        self.bare, self.typed = [], False
        if not self.words:
            self.began = self.number
            self.bare, self.typed = _bare(word), is_typed(word)
        self.words.append(word)
        self.number += piece.count("\n")

    def end(self) -> Iterator[Item]:
        """Yield what the words are, addresses or stray text, and forget them."""
        if self.bare:
            yield from (Item(self.began, _angled(word), word) for word in self.bare)
        elif self.words:
            text = " ".join(self.words)
            yield Item(self.began, _angled(text) if self.typed else None, text)
        self._forget()


def _bare(word: str) -> list[str]:
    """Return the bare addresses that a word is; none where something else is in it."""
    several = [word] if _BARE.match(word) else word.split()
    return several if all(map(_BARE.match, several)) else []


def _angled(text: str) -> str | None:
    """Return the address between angle brackets, where lines may have been wrapped."""
    kind = _TYPE.match(text)
    if kind is not None and kind[1].lower() not in _SMTP:
        return f"{kind[1].upper()}:{_unwrapped(text[kind.end() :])}"
    text = text[kind.end() if kind else 0 :].strip()
    if is_typed(text):
        return _unwrapped(text)
    bare = "".join(line.strip() for line in text.split("\n"))
    return bare if "@" in bare else None


def _unwrapped(text: str) -> str:
    """Undo the wrapping of a name that has blanks of its own, as X.500 names do."""
    pieces: list[str] = []
    for line in filter(None, map(str.strip, text.split("\n"))):
        if pieces and not (pieces[-1].endswith(_JOINTS) or line.startswith(_JOINTS)):
            pieces.append(" ")
        pieces.append(line)
    return "".join(pieces)
