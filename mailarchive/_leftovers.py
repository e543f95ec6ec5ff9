"""What a person decides about a message that no run could bring into the archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from mailarchive import _asking, decoding, journal
from mailarchive._model import Fidelity, Folder, Owner, Ownership, Rejected
from mailarchive._storing import make_entry
from mailarchive.errors import DecodeError, StateError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Collection

    from mailarchive._model import Decoded, MessageRef, Receipt, Retry, SourceMessage, UserId
    from mailarchive.abc import CheckpointStore, Sink


def give_up(state: CheckpointStore, ref: MessageRef) -> Retry:
    """Take a message off its folder's retry list for good and return what waited there.

    Raises `StateError` where it does not wait.  No run of the same job may be under way.
    """
    checkpoint = _asking.load(state, ref.source, ref.folder)
    for retry in checkpoint.retry if checkpoint is not None else ():
        if checkpoint is not None and retry.ref == ref:
            left = tuple(each for each in checkpoint.retry if each is not retry)
            _asking.save(state, evolve(checkpoint, retry=left))
            return retry
    raise StateError("no such message waits on a retry list")


def release(message: SourceMessage, sink: Sink, owners: Collection[UserId] = ()) -> Receipt:
    """Archive a quarantined message as it is, for these owners only, and return the receipt.

    Nothing in it makes an owner, because it could not be trusted; without owners only an
    auditor sees it.  Of a journal report that can be read, the owners see the message in it,
    as any recipient would; one that cannot be read they see whole.  Raises `SinkError`,
    `Unsupported` where the sink refuses the message.
    """
    decoded = _readable(message.raw)
    ownership = Ownership(tuple(Owner(user) for user in frozenset(owners)))
    folder = Folder(message.ref.folder, ("released",))
    entry = make_entry(message, decoded, ownership, folder=folder, fidelity=Fidelity.WIRE)
    answer = sink.put(entry)
    if isinstance(answer, Rejected):
        raise Unsupported(f"the archive refused it: {answer.reason}")
    return answer


def _readable(raw: bytes) -> Decoded:
    try:
        decoded = decoding.reported(journal.decode(raw))
    except DecodeError:
        decoded = decoding.ordinary(raw)
    return evolve(decoded, defects=(*decoded.defects, "released"))
