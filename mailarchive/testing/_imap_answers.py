"""What an honest IMAP server answers, for folders in memory (RFC 3501, 4315, 6851)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailarchive.testing.imap_server import Command, Talk

_MAILBOX = re.compile(rb'"((?:[^"\\]|\\.)*)"|([^ ]+)', re.DOTALL)
_FLAGS = re.compile(rb"([+-]?)FLAGS(?:\.SILENT)? \(([^)]*)\)")
_PARTIAL = re.compile(rb"<(\d+)\.(\d+)>")


@define
class Item:
    """A message in a folder."""

    uid: int
    raw: bytes = field(repr=False)
    flags: set[bytes] = field(factory=set)
    date: bytes = b"17-Jul-2024 02:44:25 +0200"


@define
class Box:
    """A folder; a message keeps its UID for as long as the folder lives."""

    name: str
    raws: list[bytes] = field(repr=False)
    uidvalidity: int = 1
    items: list[Item] = field(init=False, repr=False)
    uidnext: int = field(init=False, default=1)

    def __attrs_post_init__(self) -> None:
        """Number the first messages."""
        self.items = []
        for raw in self.raws:
            self.add(raw)

    def add(self, raw: bytes) -> Item:
        """Append a message."""
        item = Item(self.uidnext, raw)
        self.items.append(item)
        self.uidnext += 1
        return item

    def chosen(self, text: bytes) -> Iterator[tuple[int, Item]]:
        """Yield the messages that a set of UIDs names, with their place."""
        last = self.items[-1].uid if self.items else 0
        ranges = [_range(part, last) for part in text.split(b",")]
        for place, item in enumerate(list(self.items), 1):
            if any(low <= item.uid <= high for low, high in ranges):
                yield place, item


def _range(part: bytes, last: int) -> tuple[int, int]:
    ends = [last if end == b"*" else int(end) for end in part.split(b":")]
    return min(ends), max(ends)


def answer(talk: Talk, command: Command, line: Callable[[], bytes | None]) -> None:
    """Answer a command as a server should; `line` reads one more line of the client's."""
    if command.name == "AUTHENTICATE":
        _authenticate(talk, command, line)
        return
    known = _ANSWERS.get(command.name)
    if known is None:
        talk.bad(command)
    else:
        known(talk, command)


def _authenticate(talk: Talk, command: Command, line: Callable[[], bytes | None]) -> None:
    if b" " not in command.arguments:
        talk.send(b"+ \r\n")
        line()
    talk.ok(command)


def _ok(talk: Talk, command: Command) -> None:
    talk.ok(command)


def _capability(talk: Talk, command: Command) -> None:
    talk.send(b"* CAPABILITY " + talk.capabilities.encode() + b"\r\n")
    talk.ok(command)


def _logout(talk: Talk, command: Command) -> None:
    talk.send(b"* BYE until next time\r\n")
    talk.ok(command)


def _list(talk: Talk, command: Command) -> None:
    for box in talk.boxes.values():
        talk.send(b'* LIST () "/" ' + _quoted(box.name) + b"\r\n")
    talk.ok(command)


def quoted(text: bytes) -> bytes:
    """Return a quoted string; in this little world it may hold anything."""
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _quoted(name: str) -> bytes:
    text = name.encode("latin-1")
    return b"{%d}\r\n%b" % (len(text), text) if b"\n" in text else quoted(text)


def _box(talk: Talk, arguments: bytes) -> Box | None:
    """Return the folder that arguments end or begin with."""
    found = _MAILBOX.match(arguments)
    if found is None:
        return None
    name = re.sub(rb"(?s)\\(.)", rb"\1", found[1]) if found[1] is not None else found[2]
    return talk.boxes.get(name.decode("latin-1"))


def _namespace(talk: Talk, command: Command) -> None:
    talk.send(b'* NAMESPACE (("" "/")) NIL NIL\r\n')
    talk.ok(command)


def _status(talk: Talk, command: Command) -> None:
    if (box := _box(talk, command.arguments)) is None:
        talk.no(command, b"[NONEXISTENT] no such folder")
        return
    counts = b"MESSAGES %d UIDNEXT %d UIDVALIDITY %d" % (
        len(box.items),
        box.uidnext,
        box.uidvalidity,
    )
    talk.send(b"* STATUS " + _quoted(box.name) + b" (" + counts + b")\r\n")
    talk.ok(command)


def _select(talk: Talk, command: Command) -> None:
    talk.selected = box = _box(talk, command.arguments)
    talk.writable = command.name == "SELECT"
    if box is None:
        talk.no(command, b"[NONEXISTENT] no such folder")
        return
    talk.send(b"* FLAGS (\\Seen \\Deleted \\Flagged)\r\n* %d EXISTS\r\n" % len(box.items))
    talk.send(
        b"* OK [UIDVALIDITY %d] ok\r\n* OK [UIDNEXT %d] ok\r\n" % (box.uidvalidity, box.uidnext)
    )
    talk.ok(command, b"[READ-WRITE] open" if talk.writable else b"[READ-ONLY] open")


def _unselect(talk: Talk, command: Command) -> None:
    talk.selected = None
    talk.ok(command)


def _search(talk: Talk, command: Command) -> None:
    wanted = command.arguments.rpartition(b" ")[2]
    uids = [b"%d" % item.uid for _, item in _chosen(talk, wanted)]
    talk.send(b"* SEARCH" + b"".join(b" " + uid for uid in uids) + b"\r\n")
    talk.ok(command)


def _chosen(talk: Talk, text: bytes) -> Iterator[tuple[int, Item]]:
    return talk.selected.chosen(text) if talk.selected is not None else iter(())


def _fetch(talk: Talk, command: Command) -> None:
    text, _, items = command.arguments.partition(b" ")
    for place, item in _chosen(talk, text):
        for part in _parts(place, item, items):  # one by one: a large message is not copied
            talk.send(part)
    talk.ok(command)


def fetched(place: int, item: Item, items: bytes) -> bytes:
    """Return the response that hands over what is asked for of one message."""
    return b"".join(_parts(place, item, items))


def _parts(place: int, item: Item, items: bytes) -> list[bytes]:
    told = [b"UID %d" % item.uid]
    if b"FLAGS" in items:
        told.append(b"FLAGS (" + b" ".join(sorted(item.flags)) + b")")
    if b"INTERNALDATE" in items:
        told.append(b'INTERNALDATE "' + item.date + b'"')
    if b"RFC822.SIZE" in items:
        told.append(b"RFC822.SIZE %d" % len(item.raw))
    head = b"* %d FETCH (" % place + b" ".join(told)
    if b"BODY.PEEK[]" not in items:
        return [head + b")\r\n"]
    name, piece = _body(item.raw, items)
    return [head + b" " + name + b" {%d}\r\n" % len(piece), piece, b")\r\n"]


def _body(raw: bytes, items: bytes) -> tuple[bytes, bytes]:
    """Return what is asked for of a message, by its name and whole."""
    part = _PARTIAL.search(items)
    if part is None:
        return b"BODY[]", raw
    start, count = int(part[1]), int(part[2])
    return b"BODY[]<%d>" % start, raw[start : start + count]


def _store(talk: Talk, command: Command) -> None:
    text, _, rest = command.arguments.partition(b" ")
    change = _FLAGS.search(rest)
    if change is None or not talk.writable:
        talk.no(command, b"read-only, or no flags")
        return
    flags = set(change[2].split())
    for _, item in _chosen(talk, text):
        item.flags = item.flags - flags if change[1] == b"-" else item.flags | flags
    talk.ok(command)


def _expunge(talk: Talk, command: Command) -> None:
    box = talk.selected
    if box is None or not talk.writable:
        talk.no(command, b"read-only")
        return
    for _, item in list(box.chosen(command.arguments or b"1:*")):
        if b"\\Deleted" in item.flags:
            _drop(talk, box, item)
    talk.ok(command)


def _drop(talk: Talk, box: Box, item: Item) -> None:
    talk.send(b"* %d EXPUNGE\r\n" % (box.items.index(item) + 1))
    box.items.remove(item)


def _move(talk: Talk, command: Command) -> None:
    text, _, name = command.arguments.partition(b" ")
    target = _box(talk, name)
    if target is None:
        talk.no(command, b"[TRYCREATE] no such folder")
        return
    for _, item in list(_chosen(talk, text)):
        target.add(item.raw)
        if command.name == "UID MOVE" and talk.selected is not None:
            _drop(talk, talk.selected, item)
    talk.ok(command)


_ANSWERS: dict[str, Callable[[Talk, Command], None]] = {
    "CAPABILITY": _capability,
    "EXAMINE": _select,
    "EXPUNGE": _expunge,
    "LIST": _list,
    "LOGIN": _ok,
    "LOGOUT": _logout,
    "NAMESPACE": _namespace,
    "NOOP": _ok,
    "SELECT": _select,
    "STATUS": _status,
    "UID COPY": _move,
    "UID EXPUNGE": _expunge,
    "UID FETCH": _fetch,
    "UID MOVE": _move,
    "UID SEARCH": _search,
    "UID STORE": _store,
    "UNSELECT": _unselect,
}
