"""Messages that could not be archived, kept whole and apart until somebody looks.

A folder with two files a message: `<id>.eml`, the exact bytes, and `<id>.json`, where it
came from and why it is here.  The second is written last; without it a message is not
held.  Once released to an archive only the second remains, with the receipt's location.
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
from mailarchive.errors import StateError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

FORMAT = 1
_ID = re.compile(r"[0-9a-f]{64}\Z")


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


class QuarantineFolder:
    """Keeps quarantined messages as files; durable when `hold` returns."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        fuse: _durable.Fuse = _durable.no_fuse,
    ) -> None:
        """Keep the files in the folder `path`, made when first needed.

        `fuse` is called before each write, for tests that crash there.
        """
        self._path = Path(path)
        self._clock = clock
        self._fuse = fuse

    def hold(self, message: SourceMessage, reason: str, /) -> Receipt:
        """Keep the message and return the receipt; holding it again changes nothing.

        Unless its bytes were lost or damaged since: then they are put back.  What is held
        is for its owner's eyes alone.  Raises `StateError`.
        """
        digest = Digest.of(message.raw)
        identity = entry_id(Copy.of(message.ref), digest, Fidelity.WIRE)
        known = self._find(identity.hex)
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
                _durable.make_folder(self._path, self._fuse, mode=0o700)
                self._write_message(identity.hex, message.raw)
                self._write(held)
        elif known.released is None and not self._is_whole(known):
            with _errors("holding a message again"):
                self._write_message(identity.hex, message.raw)
        return Receipt(
            sink="quarantine",
            entry_id=identity,
            stored_digest=digest,
            location=identity.hex,
            outcome=Stored.STORED if known is None else Stored.PRESENT,
            durability=Durability.MEDIA,
        )

    def list(self, *, released: bool = False) -> tuple[Held, ...]:
        """Return what is held, oldest first; with `released` also what no longer is."""
        with _errors("listing the quarantine"):
            files = self._path.glob("*.json") if self._path.is_dir() else ()
            everything = [_load(file) for file in files if _ID.match(file.stem)]
        chosen = (held for held in everything if released or held.released is None)
        return tuple(sorted(chosen, key=lambda held: (held.held_at, held.id)))

    def read(self, id_: str) -> SourceMessage:
        """Return the message as it was held; raises `StateError`, also where it is damaged."""
        held = self._get(id_)
        with _errors("reading a quarantined message"):
            raw = (self._path / f"{held.id}.eml").read_bytes()
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
            self._fuse("unlink")
            (self._path / f"{held.id}.eml").unlink(missing_ok=True)
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
            file = self._path / f"{id_}.json"
            return _load(file) if file.exists() else None

    def _is_whole(self, held: Held) -> bool:
        with _errors("reading a quarantined message"):
            file = self._path / f"{held.id}.eml"
            return file.is_file() and Digest.of(file.read_bytes()) == held.digest

    def _write(self, held: Held) -> None:
        file = self._path / f"{held.id}.json"
        _durable.write_file(file, _dump(held), self._fuse, mode=0o600)

    def _write_message(self, id_: str, raw: bytes) -> None:
        _durable.write_file(self._path / f"{id_}.eml", raw, self._fuse, mode=0o600)


@contextmanager
def _errors(doing: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
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


def _load(file: Path) -> Held:
    tree = json.loads(file.read_bytes())
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
