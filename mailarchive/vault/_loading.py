"""From the JSON of a manifest, or of the index, back to what it says of an entry.

Every function raises `ValueError`, `KeyError` or `TypeError` for what no release wrote; a
word that a later one added reads as the weakest one of its kind.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from mailarchive import _evidence
from mailarchive._model import (
    Address,
    AddressKind,
    Copy,
    Digest,
    Envelope,
    Fidelity,
    Folder,
    FolderRole,
    Origin,
    Owner,
    Ownership,
    Provenance,
    Recipient,
    Redirection,
    Role,
    Span,
    UserId,
)
from mailarchive.vault._record import Record, StoredOriginal, Summary

if TYPE_CHECKING:
    from mailarchive.vault._record import Json

MOST = (1 << 62) - 1
"""The largest number that a reader takes, of bytes or of things."""
COMMITTED = ("raw", "content")
"""What an encrypted line commits to, for the log, that is not the line itself."""
_FOLDER_ROLES = frozenset(FolderRole)

_Word = TypeVar("_Word", bound=StrEnum)


def load(tree: Json) -> Record:
    """Return the record that `dump` wrote; raises `ValueError`, `KeyError`, `TypeError`."""
    envelope, shown = _load_envelope(tree)
    role = tree.get("role")
    return Record(
        id=digest(tree["id"]),
        raw=digest(tree["raw"]),
        size=count(tree["size"]),
        content_size=_load_size(tree),
        content=digest(tree["content"]) if "content" in tree else None,
        originals=tuple(_load_original(each) for each in tree.get("originals", ())),
        envelope=envelope,
        shown=shown,
        private=count(tree.get("private", 0)),
        opaque=bool(tree.get("opaque", False)),
        ownership=Ownership(
            tuple(load_owner(each) for each in tree.get("owners", ())),
            frozenset(_load_address(each) for each in tree.get("unresolved", ())),
        ),
        copy=Copy(
            str(tree["source"]),
            str(tree["source_folder"]),
            str(tree["source_key"]),
            _text(tree.get("revision")),
        ),
        folder=Folder(
            str(tree["folder"]),
            tuple(map(str, tree.get("path", ()))),
            FolderRole(role) if role in _FOLDER_ROLES else None,
        ),
        fork_key=digest(tree["fork"]),
        received_at=_load_time(tree.get("received_at")),
        flags=frozenset(map(str, tree.get("flags", ()))),
        provenance=Provenance(
            Fidelity(tree["fidelity"]),
            bool(tree.get("is_report", False)),
            tuple(map(str, tree.get("defects", ()))),
            _evidence.load(tree.get("delivery")),
        ),
    )


def blank(tree: Json) -> Record:
    """Return what an encrypted line says in clear, as a record of nobody's; raises as `load`."""
    parts = tree.get("parts", ())
    return Record(
        id=digest(tree["id"]),
        raw=digest(tree["raw"]),
        size=count(tree["size"]),
        content_size=None,
        content=None,
        originals=tuple(StoredOriginal(digest(each), 0) for each in parts),
        envelope=Envelope(origin=Origin.HEADERS),
        shown=(),
        private=0,
        opaque=False,
        ownership=Ownership(),
        copy=Copy("", "", ""),
        folder=Folder("", ()),
        fork_key=digest(tree["id"]),
        received_at=None,
        flags=frozenset(),
        provenance=Provenance(Fidelity.WIRE),
    )


def load_summary(tree: Json) -> Summary:
    """Return what `Record.summary` says; raises `ValueError`, `KeyError`, `TypeError`."""
    envelope, shown = _load_envelope(tree)
    return Summary(
        envelope=envelope,
        shown=shown,
        private=count(tree.get("private", 0)),
        opaque=bool(tree.get("opaque", False)),
        is_report=bool(tree.get("is_report", False)),
        folder=tuple(tree.get("path", ())),
        received_at=_load_time(tree.get("received_at")),
        content_size=_load_size(tree),
    )


def _load_envelope(tree: Json) -> tuple[Envelope, tuple[Role | None, ...]]:
    recipients = [_load_recipient(each) for each in tree.get("recipients", ())]
    envelope = Envelope(
        sender=_load_optional(tree.get("sender")),
        on_behalf_of=_load_optional(tree.get("on_behalf_of")),
        recipients=tuple(recipient for recipient, _ in recipients),
        subject=_text(tree.get("subject")),
        message_id=_text(tree.get("message_id")),
        date=_load_time(tree.get("date")),
        origin=_word(tree["origin"], Origin.HEADERS),
    )
    return envelope, tuple(seen for _, seen in recipients)


def _load_size(tree: Json) -> int | None:
    return count(tree["content_size"]) if "content_size" in tree else None


def commitments(tree: Json) -> dict[str, str]:
    """Return the commitments that an encrypted line gives to the log; raises as `load`."""
    told = tree.get("commitments", {})
    return {label: digest(told[label]).hex for label in COMMITTED if label in told}


def digest(text: str) -> Digest:
    """Return the digest that 64 hexadecimal digits name; raises `ValueError`, `TypeError`."""
    return Digest(bytes.fromhex(text))


def count(number: object) -> int:
    """Return a number of bytes or things; raises `ValueError` for anything else."""
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= MOST:
        msg = "no number of bytes"
        raise ValueError(msg)
    return number


def _text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        msg = "no text"
        raise TypeError(msg)
    return value


def _word(text: str, weakest: _Word) -> _Word:
    """The value of `weakest`'s kind that `text` names."""
    try:
        return type(weakest)(text)
    except ValueError:
        return weakest


def _load_address(tree: Any) -> Address:
    if isinstance(tree, str):
        return _smtp(tree)
    ((kind, spec),) = tree.items()
    return Address(spec, _word(kind, AddressKind.OTHER))


@lru_cache(maxsize=1 << 13)
def _smtp(spec: str) -> Address:
    """Most addresses of an archive are those of a few people."""
    return Address(spec)


def _load_optional(tree: Any) -> Address | None:
    return None if tree is None else _load_address(tree)


def _load_recipient(tree: Json) -> tuple[Recipient, Role | None]:
    history = tuple(
        Redirection(str(word), _load_address(address)) for word, address in tree.get("history", ())
    )
    seen = tree.get("shown")
    recipient = Recipient(
        _load_address(tree["address"]), _word(tree["role"], Role.UNKNOWN), history
    )
    return recipient, None if seen is None else _word(seen, Role.UNKNOWN)


def load_owner(tree: Json) -> Owner:
    """Return the owner that `dump_owner` wrote; raises one of `BAD_JSON`."""
    return Owner(UserId(str(tree["user"])), frozenset(map(_load_address, tree["addresses"])))


def _load_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _load_original(tree: Json) -> Span | StoredOriginal:
    if "raw" in tree:
        return StoredOriginal(digest(tree["raw"]), count(tree["size"]))
    return Span(count(tree["start"]), count(tree["end"]))
