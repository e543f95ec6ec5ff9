"""A manifest: the lines that say what a batch holds, and the commit point of it.

JSON lines in ASCII (RFC 8259), keys sorted, no blanks, so that equal facts are equal
bytes.  First the head, then one line for each stored object in the order of the pack,
then entries and facts.  A line of an unknown kind is kept and passed over.

In an encrypted vault a line says in clear only what is needed to keep and to verify it;
the rest is in its member `encrypted`.  Without keys such an entry reads as a blank one.
"""

from __future__ import annotations

import json
import re
from binascii import unhexlify
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from mailarchive._model import Digest
from mailarchive.vault import _loading, _manifest_bounds, _tar, _zstd
from mailarchive.vault._record import as_line
from mailarchive.vault._volumes import is_volume

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mailarchive.vault._record import Json, Record

FORMAT = 1
PLAIN = "zstd"
ENCRYPTED = "zstd+aes-256-gcm"
"""The suites: how the bytes of a message are stored."""

POISONED = "poisoned"
"""A fact: a pack ends at a length, and whatever follows there does not count."""
_POISONED_KIND = b'"kind":"poisoned"'
_KIND = b'"kind"'
_PLAIN_KIND = b'"kind":"'
_ESCAPED = re.compile(rb"\\u00[0-7]")
_ENTRY_KIND = b'"kind":"entry"'
READING = "reading"
"""A fact: an auditor opened the archive, who, why and when."""
GRANTED = "granted"
"""A fact: an entry belongs to further users; see `mailarchive.vault._grants`."""
HELD = "held"
RELEASED = "released"
RETAINED = "retained"
ERASED = "erased"
RECLAIMED = "reclaimed"
"""Facts about keeping: see `mailarchive.vault._keeping`."""
REPAIR = "repair"
"""A fact: a pack was restored, by whom and why; `damaged` tells what it was before."""
CLEAR = frozenset({POISONED, RECLAIMED, REPAIR})
"""Facts about files alone: they must be read, or made, without keys."""

_HALF = b"\\ud"
_ENCRYPTED_LINE = b'"encrypted":'

BAD_JSON = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)
"""What a manifest that is not of ours can make a reader of JSON raise."""


@frozen
class Head:
    """Which batch this is, where it stands, and which one came before it.

    `sequence` counts the batches of a vault from 1; `previous` is the digest of the
    manifest with the number before, in whatever pack.  `offset` is where the batch begins
    in its pack.  `objects` counts the object lines.  `salt` is 32 random bytes: what the
    log says of a line is salted with it, so that the log alone tells nobody anything.
    """

    vault: str
    volume: str
    pack: str
    offset: int
    sequence: int
    previous: Digest | None
    at: datetime
    objects: int
    salt: bytes = field(repr=False)

    def dump(self) -> Json:
        """Return the head as a tree for JSON."""
        return {
            "kind": "batch",
            "format": FORMAT,
            "vault": self.vault,
            "volume": self.volume,
            "pack": self.pack,
            "offset": self.offset,
            "sequence": self.sequence,
            "previous": None if self.previous is None else self.previous.hex,
            "at": self.at.isoformat(),
            "objects": self.objects,
            "salt": self.salt.hex(),
        }


@frozen
class StoredObject:
    """Stored bytes and what they unpack to; `offset` is that of their header in the pack."""

    stored: Digest
    stored_size: int
    raw: Digest
    size: int
    offset: int
    suite: str = PLAIN

    @property
    def name(self) -> str:
        """The name of the member."""
        form = _tar.MESSAGE if self.suite == PLAIN else _tar.ENCRYPTED_MESSAGE
        return form.format(self.stored.hex)

    @property
    def member(self) -> tuple[int, str, int]:
        """Where the member begins, its name, and the bytes of its content."""
        return self.offset, self.name, self.stored_size

    def line(self) -> bytes:
        """Return the object's line; nothing in it needs an escape."""
        return (
            f'{{"kind":"object","offset":{self.offset},"raw":"{self.raw.hex}","size":{self.size},'
            f'"stored":"{self.stored.hex}","stored_size":{self.stored_size},"suite":"{self.suite}"}}\n'
        ).encode("ascii")


@frozen
class Fact:
    """Something that is true of the vault from now on; `body` holds JSON values."""

    kind: str
    body: Json = field(repr=False)

    def dump(self) -> Json:
        """Return the fact as a tree for JSON."""
        return {**self.body, "kind": self.kind}


_NUMBER = rb"(0|[1-9][0-9]{0,17})"
_OBJECT = re.compile(
    rb'\{"kind":"object","offset":%b,"raw":"([0-9a-f]{64})","size":%b,"stored":"([0-9a-f]{64})"'
    rb',"stored_size":%b,"suite":"(zstd|zstd\+aes-256-gcm)"\}' % (_NUMBER, _NUMBER, _NUMBER)
)


def poisoned(pack: str, length: int) -> Fact:
    """Return the fact that `pack` counts only up to `length` bytes."""
    return Fact(POISONED, {"pack": pack, "length": length})


@frozen(slots=False)
class Manifest:
    """A manifest as it stands in a pack: `offset` is that of its header there."""

    data: bytes = field(repr=False)
    offset: int
    head: Head
    digest: Digest

    @classmethod
    def read(cls, data: bytes, offset: int, digest: Digest | None = None) -> Manifest:
        """Return the manifest in `data`, whose digest may be known; raises one of `BAD_JSON`."""
        end = data.find(b"\n")
        if end < 0 or not data.endswith(b"\n"):
            msg = "no whole line"
            raise ValueError(msg)
        if not _manifest_bounds.fits(data):
            msg = "more than a manifest has"
            raise ValueError(msg)
        return cls(data, offset, _load_head(_json(data[:end])), digest or Digest.of(data))

    @classmethod
    def written(
        cls,
        head: Head,
        objects: tuple[StoredObject, ...],
        contents: Sequence[Record | Fact],
        offset: int,
    ) -> Manifest:
        """Return a new manifest, which reads as it was written."""
        data = write(head, objects, contents)
        made = cls(data, offset, head, Digest.of(data))
        # Reading it again would give equal values: that is the law of the format.  Only
        # halves of a character that stand side by side are read as the whole one.
        start = 1 + len(objects)
        vars(made)["objects"] = objects
        vars(made)["contents"] = tuple(
            (n, _content(line) if _reads_otherwise(line) else content)
            for n, (line, content) in enumerate(
                zip(made.lines[start:], contents, strict=True), start
            )
        )
        return made

    @property
    def end(self) -> int:
        """Where the batch ends in its pack."""
        return self.offset + _tar.member_size(len(self.data))

    @cached_property
    def lines(self) -> list[bytes]:
        """The lines, head included, without their ends."""
        return self.data[:-1].split(b"\n")

    @cached_property
    def objects(self) -> tuple[StoredObject, ...]:
        """The stored objects of the batch; raises one of `BAD_JSON`."""
        found = tuple(map(_object, self.lines[1 : 1 + self.head.objects]))
        if len(found) != self.head.objects:
            msg = "fewer objects than the head says"
            raise ValueError(msg)
        return found

    @cached_property
    def contents(self) -> tuple[tuple[int, Record | Fact], ...]:
        """Entries and facts with their line numbers; raises one of `BAD_JSON`."""
        start = 1 + self.head.objects
        return tuple((n, _content(line)) for n, line in enumerate(self.lines[start:], start))

    def is_readable(self) -> bool:
        """Whether every line of it can be read."""
        try:
            return len(self.objects) + len(self.contents) + len(self.poisoned()) >= 0
        except BAD_JSON:
            return False

    def entry(self, number: int) -> Record:
        """Return the entry on a line; raises one of `BAD_JSON`."""
        tree = self.tree(number)
        if tree["kind"] != "entry":
            msg = "no entry on this line"
            raise ValueError(msg)
        return _loading.blank(tree) if "encrypted" in tree else _loading.load(tree)

    def tree(self, number: int) -> Json:
        """Return what stands on a line; raises one of `BAD_JSON`."""
        return _json(self.lines[number])

    def with_contents(self, contents: Sequence[tuple[int, Record | Fact]]) -> Manifest:
        """Return the same manifest, its entries and facts read as these."""
        made = evolve(self)
        vars(made)["contents"] = tuple(contents)
        return made

    def fact(self, number: int) -> Fact:
        """Return the fact on a line; raises one of `BAD_JSON`."""
        found = _content(self.lines[number])
        if not isinstance(found, Fact):
            msg = "no fact on this line"
            raise TypeError(msg)
        return found

    @property
    def entry_count(self) -> int:
        """How many lines are of entries: the bytes of their kind cannot stand inside a text."""
        return self.data.count(_ENTRY_KIND)

    @property
    def log_lines(self) -> int:
        """How many lines of the log it gives: one for itself, and one each behind its objects."""
        return self.data.count(b"\n") - self.head.objects

    @cached_property
    def is_plain(self) -> bool:
        """Whether the kind of each line can be told by its bytes, as it can of what we wrote."""
        kinds = self.data.count(_PLAIN_KIND)
        lines = self.data.count(b"\n")
        return kinds == lines == self.data.count(_KIND) and not _ESCAPED.search(self.data)

    def may_say(self, *kinds: str) -> bool:
        """Whether a line may be of one of these kinds: in doubt it may."""
        return not self.is_plain or any(kind_bytes(kind) in self.data for kind in kinds)

    @property
    def reclaims(self) -> bool:
        """Whether it may say of objects that their bytes were overwritten."""
        return self.may_say(RECLAIMED)

    def poisoned(self) -> dict[str, int]:
        """Return the packs that this batch declares poisoned, with their lengths."""
        if _POISONED_KIND not in self.data:
            return {}
        return dict(
            poison(line)
            for _, line in self.contents
            if isinstance(line, Fact) and line.kind == POISONED
        )


def kind_bytes(kind: str) -> bytes:
    """Return how a line says that it is of this kind, where it is plain."""
    return f'"kind":"{kind}"'.encode("ascii")


def poison(fact: Fact) -> tuple[str, int]:
    """Return pack and length of a `POISONED` fact; raises one of `BAD_JSON`."""
    pack, length = fact.body["pack"], _loading.count(fact.body["length"])
    if not _tar.is_pack(pack):
        msg = "no name of a pack"
        raise ValueError(msg)
    return pack, length


def _reads_otherwise(line: bytes) -> bool:
    # Not `in`, which takes the bytes for a number first, and fails at it.
    return line.find(_HALF) >= 0 or line.find(_ENCRYPTED_LINE) >= 0


def _content(line: bytes) -> Record | Fact:
    tree = _json(line)
    kind = str(tree.pop("kind"))
    if "encrypted" in tree:
        _loading.commitments(tree)
    if kind == "entry":
        return _loading.blank(tree) if "encrypted" in tree else _loading.load(tree)
    fact = Fact(kind, tree)
    if kind == POISONED:
        poison(fact)
    return fact


def write(head: Head, objects: Iterable[StoredObject], contents: Iterable[Record | Fact]) -> bytes:
    """Return the bytes of a manifest."""
    said = (as_line(it.dump()) if isinstance(it, Fact) else it.line for it in contents)
    return b"".join([as_line(head.dump()), *(each.line() for each in objects), *said])


def _json(line: bytes) -> Json:
    tree = json.loads(line)
    if not isinstance(tree, dict):
        msg = "a line that is no object"
        raise TypeError(msg)
    return tree


def _load_head(tree: Json) -> Head:
    if tree["kind"] != "batch" or tree["format"] != FORMAT:
        msg = "no manifest of this format"
        raise ValueError(msg)
    previous, sequence = tree["previous"], _loading.count(tree["sequence"])
    if not sequence:
        msg = "batches are numbered from 1 on"
        raise ValueError(msg)
    return Head(
        vault=str(tree["vault"]),
        volume=_volume(tree["volume"]),
        pack=str(tree["pack"]),
        offset=_loading.count(tree["offset"]),
        sequence=sequence,
        previous=None if previous is None else _loading.digest(previous),
        at=datetime.fromisoformat(tree["at"]),
        objects=_loading.count(tree["objects"]),
        salt=_loading.digest(tree["salt"]).value,
    )


def _volume(name: object) -> str:
    if not isinstance(name, str) or not is_volume(name):
        msg = "no name of a volume"
        raise ValueError(msg)
    return name


def _object(line: bytes) -> StoredObject:
    """Return the object on a line; one of ours is read without the detour over JSON."""
    found = _OBJECT.fullmatch(line)
    if found is None:
        return _load_object(_json(line))
    offset, raw, size, stored, stored_size, suite = found.groups()
    return StoredObject(
        stored=Digest(unhexlify(stored)),
        stored_size=_at_most(_zstd.LARGEST_STORED, int(stored_size)),
        raw=Digest(unhexlify(raw)),
        size=_at_most(_zstd.LARGEST, int(size)),
        offset=int(offset),
        suite=PLAIN if suite == b"zstd" else ENCRYPTED,
    )


def _at_most(most: int, size: int) -> int:
    """The size of an object, which nobody may have to read or unpack more of."""
    if size > most:
        msg = "an object that is larger than any that a vault stores"
        raise ValueError(msg)
    return size


def _load_object(tree: Json) -> StoredObject:
    if tree["kind"] != "object" or tree["suite"] not in {PLAIN, ENCRYPTED}:
        msg = "no stored object of this format"
        raise ValueError(msg)
    return StoredObject(
        stored=_loading.digest(tree["stored"]),
        stored_size=_at_most(_zstd.LARGEST_STORED, _loading.count(tree["stored_size"])),
        raw=_loading.digest(tree["raw"]),
        size=_at_most(_zstd.LARGEST, _loading.count(tree["size"])),
        offset=_loading.count(tree["offset"]),
        suite=tree["suite"],
    )
