"""`vault.json`: which vault this is, in which format; written once."""

from __future__ import annotations

import errno
import json
import os
import re
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

from attrs import frozen

from mailarchive.errors import SinkCorrupt, Unsupported
from mailarchive.vault import _disk
from mailarchive.vault._choice import PLAIN
from mailarchive.vault._errors import linked

if TYPE_CHECKING:
    from collections.abc import Collection

FORMAT = 1
NAME = "vault.json"
LARGEST = 1 << 16
"""Bytes of it that are read at most; it has some hundred."""
_ORIGIN = "mailarchive.vault/{}"
_ID = re.compile(r"[0-9a-f]{32}\Z")
_SUITES = {"hash": "sha256", "compression": "zstd"}


@frozen
class Identity:
    """What `vault.json` says: the vault's id, the origin of its log, and its encryption."""

    id: str
    origin: str
    encryption: str = PLAIN

    @property
    def is_encrypted(self) -> bool:
        """Whether nothing can be read without keys."""
        return self.encryption != PLAIN


def read(root: int) -> bytes | None:
    """Return the file in an open folder; `None` where there is none.  Raises `OSError`."""
    try:
        handle = _disk.open_file(NAME, root)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise linked(NAME) from error
        raise
    try:
        return _disk.read(handle, LARGEST, 0)
    finally:
        os.close(handle)


def new(now: datetime, encryption: str) -> bytes:
    """Return a `vault.json` for a new vault, with an id of its own."""
    vault = uuid.uuid4().hex
    tree = {
        "format": FORMAT,
        "id": vault,
        "created": now.isoformat(),
        "origin": _ORIGIN.format(vault),
        "requires": _required(encryption),
        **_SUITES,
        "encryption": encryption,
    }
    return json.dumps(tree, indent=1).encode("ascii") + b"\n"


def _required(encryption: str) -> list[str]:
    return [] if encryption == PLAIN else [encryption]


def parse(data: bytes, encryptions: Collection[str] = (PLAIN,)) -> Identity:
    """Return what a `vault.json` says; raises `SinkCorrupt`, `Unsupported`."""
    try:
        tree: Any = json.loads(data)
        version, vault, origin = tree["format"], tree["id"], str(tree["origin"])
        encryption = str(tree["encryption"])
        known = version == FORMAT and tree["requires"] == _required(encryption)
        known = known and encryption in encryptions
        known = known and {name: tree[name] for name in _SUITES} == _SUITES
        datetime.fromisoformat(tree["created"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SinkCorrupt(
            "vault.json cannot be read", suggestions=["restore vault.json from a copy"]
        ) from error
    if not known:
        raise later()
    if not isinstance(vault, str) or not _ID.match(vault):
        raise SinkCorrupt("vault.json holds no id", suggestions=["restore vault.json from a copy"])
    if origin != _ORIGIN.format(vault):
        # A signer remembers a history by its origin: under another one it would sign any.
        raise SinkCorrupt(
            "vault.json names another log than the vault's own",
            suggestions=["restore vault.json from a copy, and verify with a checkpoint you kept"],
        )
    return Identity(vault, origin, encryption)


def later() -> Unsupported:
    """Return the error for a vault that a later release made."""
    return Unsupported(
        "the vault is of a format that this release does not know",
        suggestions=["open it with the release that made it, or with a later one"],
    )
