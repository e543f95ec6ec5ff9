"""Answers of an Exchange server, read as a stream; the one module that imports lxml.

lxml comes with exchangelib.  Its parser feeds a target of ours piece by piece, so that no
answer is ever in memory as a whole: a response message is handed on when its end has come,
and the MIME of an item is decoded while it arrives.  A document type is refused before
anything in it is read; what is cut is no answer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from attrs import define, field
from lxml import etree

from mailarchive.sources._ews_mime import Mime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mailarchive.sources._ews_limits import EwsLimits

_DEEPEST = 64
_NO_SOAP = "this is no answer of Exchange, so perhaps a portal stands before the server"
_REFERENCE = re.compile(rb"&#(?:x0*([0-9A-Fa-f]{1,6})|0*([0-9]{1,7}));")
_LONGEST_REFERENCE = 16
_SPACES = frozenset({0x9, 0xA, 0xD})
_CHARACTERS = (range(0x20, 0xD800), range(0xE000, 0xFFFE), range(0x10000, 0x110000))
"""What XML 1.0 can carry (2.2)."""


class Damaged(Exception):
    """What came is no whole answer; `reason` says so in words that hold nothing of it."""

    def __init__(self, reason: str) -> None:
        """Take the reason."""
        super().__init__(reason)
        self.reason = reason


@define(eq=False)
class Node:
    """An element of an answer, by its local name."""

    tag: str
    attributes: Mapping[str, str] = field(repr=False)
    children: list[Node] = field(factory=list, repr=False)
    text: str = field(default="", repr=False)
    mime: Mime | None = field(default=None, repr=False)

    def find(self, *path: str) -> Node | None:
        """Return the first element on a path of names."""
        here: Node | None = self
        for name in path:
            here = next((each for each in here.children if each.tag == name), None)  # type: ignore[union-attr]  # returned below
            if here is None:
                return None
        return here

    def at(self, *path: str) -> str | None:
        """Return the text of the first element on a path; `None` where there is none."""
        found = self.find(*path)
        return None if found is None else found.text.strip()

    def all(self, name: str) -> Iterator[Node]:
        """Yield every element of a name, at any depth."""
        for each in self.children:
            if each.tag == name:
                yield each
            yield from each.all(name)


class _Target:
    """What lxml tells; what `is_part` of an answer is put into `done` when it ends."""

    def __init__(self, limits: EwsLimits, is_part: Callable[[str], bool]) -> None:
        self._limits, self._is_part = limits, is_part
        self._open: list[Node] = []
        self._depth = 0
        self._texts: list[str] = []
        self._mime: Mime | None = None
        self._left = limits.answer_octets
        self._names: dict[str, str] = {}
        self.done: list[Node] = []
        self.root: str | None = None

    def _name(self, tag: str) -> str:
        name = self._names.get(tag)
        if name is None:
            name = self._names[tag] = tag.rpartition("}")[2]
        return name

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        name = self._name(tag)
        self._depth += 1
        self.root = self.root or name
        if self._depth > _DEEPEST:
            raise Damaged("the answer is nested too deeply")
        if self._mime is not None:
            raise Damaged("there is markup inside of a message")
        if not self._open and not self._is_part(name):
            return
        self._spend(len(tag) + sum(map(len, attributes.values())) + 64)
        node = Node(name, dict(attributes))
        if self._open:
            self._open[-1].children.append(node)
        self._open.append(node)
        self._texts.clear()
        if name == "MimeContent":
            node.mime = self._mime = Mime(self._limits.message_octets)

    def data(self, text: str) -> None:
        if self._mime is not None:
            self._mime.feed(text)
            if self._mime.damage is not None:
                self._spend(len(text))  # or it would never end
        elif self._open:
            self._spend(len(text))
            self._texts.append(text)

    def end(self, tag: str) -> None:
        del tag
        self._depth -= 1
        if not self._open:
            return
        node = self._open.pop()
        self._mime = None
        if not node.children:
            node.text = "".join(self._texts)
        self._texts.clear()
        if not self._open:
            self.done.append(node)

    def _spend(self, octets: int) -> None:
        self._left -= octets
        if self._left < 0:
            raise Damaged("the answer is larger than the limit")

    def doctype(self, name: object, public: object, system: object) -> None:
        del name, public, system
        raise Damaged("the answer has a document type, which no Exchange server writes")

    def close(self) -> None:
        """Nothing is left to do."""


def replies(pieces: Iterable[bytes], limits: EwsLimits) -> Iterator[Node]:
    """Yield each response message, or fault, as soon as its end has come.

    Raises `Damaged` where the answer is cut, no XML, no SOAP, or larger than the limits;
    what was yielded before is whole.
    """
    return _parts(pieces, "Envelope", _Target(limits, _is_reply))


def _is_reply(name: str) -> bool:
    return name.endswith("ResponseMessage") or name == "Fault"


def document(pieces: Iterable[bytes], root: str, limits: EwsLimits) -> Node:
    """Return a small document that is no SOAP; raises `Damaged`."""
    (found,) = _parts(pieces, root, _Target(limits, lambda name: name == root))
    return found


def _parts(pieces: Iterable[bytes], root: str, target: _Target) -> Iterator[Node]:
    parser = etree.XMLParser(
        # lxml takes an object with fewer methods than its stubs say.
        target=cast("Any", target),
        huge_tree=True,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
    )
    try:
        for piece in scrubbed(pieces):
            parser.feed(piece)
            while target.done:
                yield target.done.pop(0)
        parser.close()
    except etree.XMLSyntaxError:
        if target.root not in {None, root}:
            raise Damaged(_NO_SOAP) from None
        raise Damaged("the answer is cut, or no XML") from None
    if target.root != root:
        raise Damaged(_NO_SOAP)


def scrubbed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces with references to what XML 1.0 cannot carry replaced by U+FFFD.

    Exchange writes the control characters of a folder's name so, which no parser takes.
    """
    held = b""
    for piece in pieces:
        text = held + piece if held else piece
        at = text.rfind(b"&", max(0, len(text) - _LONGEST_REFERENCE))
        cut = len(text) if at < 0 or b";" in text[at:] else at
        held = text[cut:]
        whole = text[:cut] if held else text
        yield _REFERENCE.sub(_legal, whole) if b"&#" in whole else whole
    if held:
        yield held


def _legal(found: re.Match[bytes]) -> bytes:
    number = int(found[1], 16) if found[1] else int(found[2])
    fine = number in _SPACES or any(number in each for each in _CHARACTERS)
    return found[0] if fine else b"&#xFFFD;"
