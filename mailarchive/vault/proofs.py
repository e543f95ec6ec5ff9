"""Proofs that need no archive to check: one message is in a log, and a log was only added to.

Nothing here reads a file or opens a connection.  Who holds a proof, the message, and a
checkpoint that was kept elsewhere (or the log's verifier key) checks it anywhere.

The text of an `InclusionProof` is a C2SP tlog-proof, the text of a `ConsistencyProof` the
body of a request of C2SP tlog-witness.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from mailarchive.errors import ConfigurationError, NotProven
from mailarchive.vault import _merkle
from mailarchive.vault._leaf import CONTENT, LINE, RAW, Opened
from mailarchive.vault._note import LogCheckpoint, VerifierKey, decoded, encoded

if TYPE_CHECKING:
    from typing import Self

__all__ = ["ConsistencyProof", "InclusionProof", "LogCheckpoint", "Opened", "VerifierKey"]

_FIRST_LINE = "c2sp.org/tlog-proof@v1"
_LARGEST = 8 << 20
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z", re.ASCII)
_KNOWN = frozenset({RAW, CONTENT, LINE})


@frozen
class InclusionProof:
    """That one message is in the log that `checkpoint` is of, as leaf number `index`.

    `opened` holds what the proof shows of the leaf: the digest of the message that people
    read (`content`), or of the record (`raw`), or the whole line of the manifest
    (`record`).  What is not opened stays hidden.
    """

    checkpoint: LogCheckpoint
    index: int
    leaf: bytes = field(repr=False)
    path: tuple[bytes, ...] = field(repr=False)
    opened: tuple[Opened, ...] = field(repr=False)

    def check(
        self,
        message: bytes | None = None,
        *,
        key: VerifierKey | None = None,
        checkpoint: LogCheckpoint | None = None,
    ) -> None:
        """Return if everything holds; raises `NotProven` with what does not.

        `message` must be the bytes that were archived; `key` must have signed the
        checkpoint; and `checkpoint`, one that was kept elsewhere, must be the one of the
        proof.  Without either of the two a proof shows no more than that it agrees with
        itself.
        """
        _check_checkpoint(self.checkpoint, key, checkpoint)
        root = self.checkpoint.root
        leaf = _merkle.leaf_hash(self.leaf)
        if not _merkle.includes(leaf, self.index, self.checkpoint.size, self.path, root):
            raise _not_proven("the leaf is not in the log that the checkpoint is of")
        self._check_opened()
        if message is not None:
            digest = hashlib.sha256(message).digest()
            if digest not in [each.value for each in self.opened if each.label != LINE]:
                raise _not_proven("the message is not the one that was archived")

    def _check_opened(self) -> None:
        try:
            held = json.loads(self.leaf)
            agrees = all(held[each.label] == each.commitment() for each in self.opened)
        except (ValueError, KeyError, TypeError, RecursionError):
            agrees = False
        if not agrees or not {each.label for each in self.opened} <= _KNOWN:
            raise _not_proven("the leaf commits to something else than the proof shows")

    def to_dict(self) -> dict[str, Any]:
        """Return the proof as plain values, for JSON."""
        return {
            "checkpoint": self.checkpoint.to_bytes().decode(),
            "index": self.index,
            "path": [each.hex() for each in self.path],
            **self._extra(),
        }

    def _extra(self) -> dict[str, Any]:
        return {
            "leaf": self.leaf.decode("ascii"),
            "opened": {
                each.label: {"salt": each.salt.hex(), "value": _shown(each)}
                for each in self.opened
            },
        }

    def text(self) -> str:
        """Return the proof as a file: a C2SP tlog-proof, with leaf and openings as extra."""
        extra = json.dumps(self._extra(), sort_keys=True, separators=(",", ":")).encode("ascii")
        lines = [
            _FIRST_LINE,
            f"extra {encoded(extra)}",
            f"index {self.index}",
            *map(encoded, self.path),
        ]
        return "\n".join([*lines, "", self.checkpoint.to_bytes().decode()])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the proof that `text` wrote; raises `ConfigurationError`.

        What it says is not checked: `check` does that.
        """
        try:
            return cls(*_parsed(text))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigurationError(
                "this is no inclusion proof",
                suggestions=["give the file that `mailarchive prove` wrote, unchanged"],
            ) from error


@frozen
class ConsistencyProof:
    """That the log that `new` is of begins with everything that `old` covers."""

    old: LogCheckpoint
    new: LogCheckpoint
    path: tuple[bytes, ...] = field(repr=False)

    def check(self, *, key: VerifierKey | None = None) -> None:
        """Return if the newer log only adds to the older; raises `NotProven`.

        With `key` both checkpoints must be signed by it.
        """
        for each in (self.old, self.new):
            _check_checkpoint(each, key, None)
        old, new = self.old, self.new
        if old.origin != new.origin:
            raise _not_proven("the checkpoints are of two different logs")
        if not _merkle.extends(old.size, old.root, new.size, new.root, self.path):
            raise _not_proven("the newer log does not begin with the older one")

    def to_dict(self) -> dict[str, Any]:
        """Return the proof as plain values, for JSON."""
        return {
            "old": self.old.to_bytes().decode(),
            "new": self.new.to_bytes().decode(),
            "path": [each.hex() for each in self.path],
        }

    def text(self) -> str:
        """Return what a C2SP witness is asked to cosign; it holds no older checkpoint."""
        lines = [f"old {self.old.size}", *map(encoded, self.path), ""]
        return "\n".join([*lines, self.new.to_bytes().decode()])


def _check_checkpoint(
    ours: LogCheckpoint, key: VerifierKey | None, kept: LogCheckpoint | None
) -> None:
    if key is not None and not key.check(ours):
        raise _not_proven("the checkpoint is not signed by this key")
    if kept is not None and kept.text() != ours.text():
        raise _not_proven("the proof is for another checkpoint than the one that was kept")


def _not_proven(words: str) -> NotProven:
    return NotProven(words, suggestions=["ask for the proof again, and verify the vault"])


def _number(text: str) -> int:
    if not _NUMBER.match(text):
        raise ValueError(text)
    return int(text)


def _after(word: str, line: str) -> str:
    if not line.startswith(word):
        raise ValueError(word)
    return line.removeprefix(word)


def _shown(opened: Opened) -> str:
    return opened.value.decode("ascii") if opened.label == LINE else opened.value.hex()


def _parsed(
    text: str,
) -> tuple[LogCheckpoint, int, bytes, tuple[bytes, ...], tuple[Opened, ...]]:
    top, _, note = text[:_LARGEST].partition("\n\n")
    first, extra, index, *path = top.split("\n")
    tree = json.loads(decoded(_after("extra ", extra)))
    if first != _FIRST_LINE:
        raise ValueError(first)
    return (
        LogCheckpoint.parse(note.encode()),
        _number(_after("index ", index)),
        tree["leaf"].encode("ascii"),
        tuple(map(decoded, path)),
        tuple(_opened(label, each) for label, each in tree["opened"].items()),
    )


def _opened(label: str, tree: dict[str, str]) -> Opened:
    value = tree["value"]
    data = value.encode("ascii") if label == LINE else bytes.fromhex(value)
    return Opened(label, bytes.fromhex(tree["salt"]), data)
