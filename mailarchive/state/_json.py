"""A checkpoint as JSON and back; format 1.

Unknown keys are refused, not dropped: a checkpoint that a later release wrote may owe
something that this one does not know.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from mailarchive._model import (
    Archived,
    Checkpoint,
    Digest,
    Durability,
    MessageRef,
    Receipt,
    Retry,
    Stored,
)
from mailarchive.errors import StateError

FORMAT = 1


def dump(checkpoint: Checkpoint) -> bytes:
    """Return the checkpoint as UTF-8 JSON in one line."""
    tree = {
        "format": FORMAT,
        "source": checkpoint.source,
        "folder": checkpoint.folder,
        "token": checkpoint.token,
        "removing": [[_ref(each.ref), _receipt(each.receipt)] for each in checkpoint.removing],
        "retry": [
            [_ref(each.ref), each.reason, each.attempts, each.not_before.isoformat()]
            for each in checkpoint.retry
        ],
    }
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def load(data: bytes) -> Checkpoint:
    """Return the checkpoint that `dump` wrote; raises `StateError` for anything else."""
    try:
        tree = json.loads(data)
        if tree.pop("format") != FORMAT:
            raise _unreadable("was written by a later release")
        source, folder = tree["source"], tree["folder"]
        return Checkpoint(
            source=source,
            folder=folder,
            token=tree["token"],
            removing=tuple(
                Archived(_as_ref(source, folder, ref), _as_receipt(receipt))
                for ref, receipt in tree["removing"]
            ),
            retry=tuple(
                Retry(_as_ref(source, folder, ref), reason, attempts, datetime.fromisoformat(when))
                for ref, reason, attempts, when in tree["retry"]
            ),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _unreadable("is damaged") from error


def _unreadable(why: str) -> StateError:
    return StateError(
        f"a checkpoint {why}",
        suggestions=[
            "move its file away, such as state.db, and run again",
            "what it was for is listed anew, and nothing is archived twice",
        ],
    )


def _ref(ref: MessageRef) -> list[Any]:
    return [ref.key, ref.size, ref.revision]


def _as_ref(source: str, folder: str, parts: list[Any]) -> MessageRef:
    key, size, revision = parts
    return MessageRef(source, folder, key, size, revision)


def _receipt(receipt: Receipt) -> list[Any]:
    return [
        receipt.sink,
        receipt.entry_id.hex,
        receipt.stored_digest.hex,
        receipt.location,
        receipt.outcome.value,
        int(receipt.durability),
        receipt.verified,
    ]


def _as_receipt(parts: list[Any]) -> Receipt:
    sink, entry, stored, location, outcome, durability, verified = parts
    return Receipt(
        sink,
        Digest(bytes.fromhex(entry)),
        Digest(bytes.fromhex(stored)),
        location,
        Stored(outcome),
        Durability(durability),
        verified,
    )
