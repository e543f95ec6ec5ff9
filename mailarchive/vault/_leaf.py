"""What the log says of a batch: a leaf for the batch, and one for each entry and fact.  Pure.

A leaf names no person and no message.  It holds commitments: SHA-256 over a salt and what
is committed to.  The salts follow from the one in the manifest's head, each from its own
line, so that showing one message to somebody opens nothing else.  Leaves follow from the
bytes of a manifest as they stand in the pack: no key is needed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from mailarchive.vault import _loading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailarchive.vault._manifest import Manifest

RAW, CONTENT = _loading.COMMITTED
"""The commitments to the digest of the record, and of the message that people read."""
LINE = "record"
"""The commitment to the line of the manifest: everything that is known about the entry."""

_ENCRYPTED = b'"encrypted":'


@frozen
class Opened:
    """What a commitment of a leaf stands for: `value` under `salt`.

    For `raw` and `content` the value is a SHA-256 digest, for `record` a line of JSON.
    """

    label: str
    salt: bytes = field(repr=False)
    value: bytes = field(repr=False)

    def commitment(self) -> str:
        """Return what the leaf holds for it."""
        return hashlib.sha256(self.salt + self.value).hexdigest()


def leaves(manifest: Manifest) -> Iterator[bytes]:
    """Yield the leaves of a batch in the order of its lines; raises one of `BAD_JSON`."""
    head = manifest.head
    yield _dump(
        {
            "kind": "batch",
            "batch": head.sequence,
            "manifest": manifest.digest.hex,
            "pack": head.pack,
        }
    )
    for number in range(1 + head.objects, len(manifest.lines)):
        yield leaf(manifest, number)


def leaf(manifest: Manifest, number: int) -> bytes:
    """Return the leaf of the entry or fact on one line; raises one of `BAD_JSON`."""
    opened = openings(manifest, number)
    tree: dict[str, Any] = {each.label: each.commitment() for each in opened}
    line = manifest.lines[number]
    if _ENCRYPTED in line:
        tree = {**_loading.commitments(json.loads(line)), **tree}
    kind = "entry" if len(tree) > 1 else "fact"
    return _dump({"kind": kind, "batch": manifest.head.sequence, "line": number, **tree})


def openings(manifest: Manifest, number: int) -> list[Opened]:
    """Return what the leaf of one line commits to; raises one of `BAD_JSON`."""
    line = manifest.lines[number]
    tree = json.loads(line)
    values = {LINE: line, **({} if "encrypted" in tree else _digests(tree))}
    return [
        Opened(label, _salt(manifest.head.salt, label, number), value)
        for label, value in sorted(values.items())
    ]


def hidden(tree: Any, salt: bytes) -> list[Opened]:
    """Return what an encrypted line commits to in clear, of the entry that is in it.

    The salt is encrypted too, so that nobody can try out what the message may be.
    """
    found = _digests(tree)
    return [Opened(label, _salt(salt, label, 0), found[label]) for label in sorted(found)]


def _digests(tree: Any) -> dict[str, bytes]:
    if tree["kind"] != "entry":
        return {}
    raw = tree["raw"]
    first = tree["originals"][0] if tree.get("originals") else {}
    content = tree.get("content") or first.get("raw") or (None if tree.get("is_report") else raw)
    found = {RAW: _loading.digest(raw).value}
    if content is not None:
        found[CONTENT] = _loading.digest(content).value
    return found


def _salt(salt: bytes, label: str, number: int) -> bytes:
    return hmac.digest(salt, f"{label}:{number}".encode("ascii"), "sha256")


_ENCODER = json.JSONEncoder(ensure_ascii=True, sort_keys=True, separators=(",", ":"))


def _dump(tree: dict[str, Any]) -> bytes:
    return _ENCODER.encode(tree).encode("ascii")
