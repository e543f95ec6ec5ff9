"""Messages that could not be archived, kept whole and apart until somebody looks.

A folder with two files a message: `<id>.eml`, the exact bytes, and `<id>.json`, where it
came from and why it is here.  The second is written last; without it a message is not
held.  Once released to an archive only the second remains, with the receipt's location.
The file `held` has a line for each message that ever was, so that one which is missing is
missed.  With keys all but that is encrypted.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from mailarchive import _durable, _evidence
from mailarchive._model import (
    Copy,
    Delivery,
    Digest,
    Durability,
    Fidelity,
    MessageRef,
    Receipt,
    SourceMessage,
    Stored,
    entry_id,
)
from mailarchive._sealed_files import SealedFiles
from mailarchive.errors import StateError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from mailarchive.abc import KeyProvider

FORMAT = 1
_ID = re.compile(r"[0-9a-f]{64}\Z")
_NOTES = "held"
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)
"""What a record that is none can make a reader of JSON, or of what is encrypted, raise."""


@frozen
class Held:
    """A quarantined message: what it is, why it is held, and whether it was released."""

    id: str
    ref: MessageRef
    reason: str
    held_at: datetime
    digest: Digest
    size: int
    received_at: datetime | None = None
    flags: frozenset[str] = frozenset()
    delivery: Delivery | None = None
    released: str | None = None


@frozen
class HeldFault:
    """A quarantined message that is not as it was held.

    `kind` is a stable word: `missing`, where nothing of it is left; `unreadable`, where its
    record is damaged; `altered` or `gone`, of its bytes.  `words` are for a person.
    """

    id: str
    kind: str
    words: str


class QuarantineFolder:
    """Keeps quarantined messages as files; durable when `hold` returns."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        keys: KeyProvider | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        fuse: _durable.Fuse = _durable.no_fuse,
    ) -> None:
        """Keep the files in the folder `path`, made when first needed.

        With `keys`, those of an encrypted archive, messages and records are encrypted; what
        was held before in clear is still read.  Without them what is encrypted cannot be
        read: `StateError`.  `fuse` is called before each write, for tests that crash there.
        """
        self._path = Path(path)
        self._files = SealedFiles(self._path, keys, fuse)
        self._clock = clock
        self._fuse = fuse

    def hold(self, message: SourceMessage, reason: str, /) -> Receipt:
        """Keep the message and return the receipt; holding it again changes nothing.

        Unless its bytes were lost or damaged since: then they are put back.  What is held
        is for its owner's eyes alone.  Raises `StateError`.
        """
        digest = Digest.of(message.raw)
        identity = entry_id(Copy.of(message.ref), digest, Fidelity.WIRE)
        known = self._known(identity.hex)
        if known is None:
            held = Held(
                id=identity.hex,
                ref=message.ref,
                reason=reason,
                held_at=self._clock(),
                digest=digest,
                size=len(message.raw),
                received_at=message.received_at,
                flags=message.flags,
                delivery=message.delivery,
            )
            with _errors("holding a message"):
                self._files.write(f"{held.id}.eml", message.raw)
                self._write(held)
                self._note(held.id)
        else:
            self._hold_again(known, message.raw)
        return Receipt(
            sink="quarantine",
            entry_id=identity,
            stored_digest=digest,
            location=identity.hex,
            outcome=Stored.STORED if known is None else Stored.PRESENT,
            durability=Durability.MEDIA,
        )

    def _hold_again(self, known: Held, raw: bytes) -> None:
        """Put back what was lost of a message that is held, or was not yet noted as such."""
        whole = known.released is not None or self._is_whole(known)
        noted = known.id in self._noted()
        with _errors("holding a message again"):
            if not whole:
                self._files.write(f"{known.id}.eml", raw)
            if not noted:
                self._note(known.id)

    def list(self, *, released: bool = False) -> tuple[Held, ...]:
        """Return what is held, oldest first; with `released` also what no longer is.

        A record that cannot be read is left out: `verify` names it.
        """
        found = (self._known(id_) for id_ in self._ids())
        chosen = [held for held in found if held and (released or held.released is None)]
        return tuple(sorted(chosen, key=lambda held: (held.held_at, held.id)))

    @property
    def is_encrypted(self) -> bool:
        """Whether there is something that keys are needed for."""
        return self._files.is_encrypted

    def verify(self, *, contents: bool = True) -> tuple[HeldFault, ...]:
        """Return each message that is not as it was held; raises `StateError`.

        Without `contents` no message is read: what is missing is found, and what was
        altered is not.
        Whoever can write to the folder can also change what this compares with: it finds
        accidents, and those who do not know how.
        """
        ids = self._ids()
        faults = [self._fault(id_, contents=contents) for id_ in ids]
        faults += [
            HeldFault(id_, "missing", "it was held, and nothing of it is there")
            for id_ in sorted(self._noted() - frozenset(ids))
        ]
        return tuple(fault for fault in faults if fault is not None)

    def _fault(self, id_: str, *, contents: bool) -> HeldFault | None:
        held = self._known(id_)
        if held is None:
            return HeldFault(id_, "unreadable", "its record is damaged, or of a later release")
        if held.released is not None:
            return None
        with _errors("reading a quarantined message"):
            if not self._files.exists(f"{id_}.eml"):
                return HeldFault(id_, "gone", "its bytes are not there any more")
        if contents and not self._is_whole(held):
            return HeldFault(id_, "altered", "its bytes are not those that were held")
        return None

    def _ids(self) -> tuple[str, ...]:
        with _errors("listing the quarantine"):
            names = self._files.names(".json")
        return tuple(id_ for name in names if _ID.match(id_ := name.removesuffix(".json")))

    def _known(self, id_: str) -> Held | None:
        """The record of a message; `None` for one that cannot be read."""
        try:
            return self._find(id_)
        except StateError as error:
            if isinstance(error.__cause__, _UNREADABLE):
                return None
            raise

    def _noted(self) -> frozenset[str]:
        """The ids of all that ever was held, as far as their lines are whole."""
        with _errors("reading the quarantine"):
            file = self._path / _NOTES
            text = file.read_text("ascii", "replace") if file.exists() else ""
        return frozenset(line for line in text.split("\n") if _ID.match(line))

    def _note(self, id_: str) -> None:
        """Add a line, durably; a line that a crash tore is ended first."""
        _durable.append_line(self._path / _NOTES, id_.encode("ascii"), self._fuse)

    def read(self, id_: str) -> SourceMessage:
        """Return the message as it was held; raises `StateError`, also where it is damaged."""
        held = self._get(id_)
        with _errors("reading a quarantined message"):
            raw = self._files.read(f"{held.id}.eml")
        if Digest.of(raw) != held.digest:
            raise StateError(
                "a quarantined message is not the one that was held",
                suggestions=["restore the quarantine from a backup, or fetch the message again"],
            )
        return SourceMessage(held.ref, raw, held.received_at, held.flags, held.delivery)

    def release(self, id_: str, receipt: Receipt) -> Held:
        """Let a message go that is in an archive now, by its receipt; raises `StateError`."""
        held = self._get(id_)
        if receipt.stored_digest != held.digest:
            raise StateError("the receipt is not of this quarantined message")
        gone = evolve(held, released=f"{receipt.sink}: {receipt.location}")
        with _errors("releasing a quarantined message"):
            self._write(gone)
            self._files.remove(f"{held.id}.eml")
        return gone

    def _get(self, id_: str) -> Held:
        held = self._find(id_)
        if held is None or held.released is not None:
            raise StateError(
                "no message with this id is quarantined",
                suggestions=["list the quarantine to see the ids"],
            )
        return held

    def _find(self, id_: str) -> Held | None:
        """What is on record under the id; anything that is no digest names no file."""
        if not _ID.match(id_):
            return None
        with _errors("reading the quarantine"):
            name = f"{id_}.json"
            return _load(self._files.read(name)) if self._files.exists(name) else None

    def _is_whole(self, held: Held) -> bool:
        name = f"{held.id}.eml"
        with _errors("reading a quarantined message"):
            if not self._files.exists(name):
                return False
            try:
                return Digest.of(self._files.read(name)) == held.digest
            except ValueError:
                return False

    def _write(self, held: Held) -> None:
        self._files.write(f"{held.id}.json", _dump(held))


@contextmanager
def _errors(doing: str) -> Iterator[None]:
    try:
        yield
    except (OSError, *_UNREADABLE) as error:
        raise StateError(
            f"{type(error).__name__} while {doing}",
            suggestions=["check that the quarantine folder is whole, writable, and has room"],
        ) from error


def _dump(held: Held) -> bytes:
    ref = held.ref
    tree = {
        "format": FORMAT,
        "id": held.id,
        "ref": [ref.source, ref.folder, ref.key, ref.size, ref.revision],
        "reason": held.reason,
        "held_at": held.held_at.isoformat(),
        "digest": held.digest.hex,
        "size": held.size,
        "received_at": held.received_at and held.received_at.isoformat(),
        "flags": sorted(held.flags),
        "delivery": _evidence.dump(held.delivery),
        "released": held.released,
    }
    return json.dumps(tree, indent=1).encode("ascii") + b"\n"


def _load(data: bytes) -> Held:
    tree = json.loads(data)
    if tree["format"] != FORMAT:
        msg = "a later format"
        raise ValueError(msg)
    received = tree["received_at"]
    return Held(
        id=tree["id"],
        ref=MessageRef(*tree["ref"]),
        reason=tree["reason"],
        held_at=datetime.fromisoformat(tree["held_at"]),
        digest=Digest(bytes.fromhex(tree["digest"])),
        size=tree["size"],
        received_at=received and datetime.fromisoformat(received),
        flags=frozenset(tree["flags"]),
        delivery=_evidence.load(tree.get("delivery")),
        released=tree["released"],
    )
