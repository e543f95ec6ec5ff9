"""How the lines of a vault are read, and which of them nobody with its keys wrote.

Whoever can write in the folder of an encrypted vault can put a batch into it, and knows the
names of its entries.  What such a batch says counts for nothing: it is in clear where ours
is encrypted, or does not open, or is a copy of what stood in an earlier batch.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from mailarchive.vault._manifest import CLEAR

if TYPE_CHECKING:
    from typing import TypeAlias

    from mailarchive._model import Digest
    from mailarchive.vault._encrypting import Encryption
    from mailarchive.vault._record import Json

    Place: TypeAlias = tuple[str, int]
    """A pack, and where in it a manifest stands."""


@frozen
class Lines:
    """How the lines of a vault are read: with its keys, without, or as they are."""

    is_encrypted: bool = False
    encryption: Encryption | None = None

    def name(self, digest: Digest) -> Digest:
        """Return what the manifests call an entry with this id."""
        return digest if self.encryption is None else self.encryption.keys.name(digest)

    def opened(self, tree: Json) -> Json | None:
        """Return a line whole, `None` where it is closed."""
        if self.encryption is not None:
            return self.encryption.whole(tree)
        return None if "encrypted" in tree else tree

    def is_forged(self, tree: Json, opened: Json | None = None) -> bool:
        """Whether nobody with the vault's keys wrote a line, as far as can be told here.

        Without keys, what is encrypted may be genuine; with them, what lacks its own key.
        `opened` is the line as it was opened before, where it was: of a fact that is proof.
        """
        if tree["kind"] in CLEAR:
            return False
        if self.is_encrypted != ("encrypted" in tree):
            return True
        if opened is not None and tree["kind"] != "entry":
            return False
        return self.encryption is not None and self.encryption.is_false(tree)


FORGED = "forged"


def forgery(kind: str) -> str:
    """Return in words what is wrong with a forged line of this kind."""
    return f"a line, {kind}, of nobody who has the vault's keys"


def mark(tree: Json) -> bytes | None:
    """Return what tells an encrypted fact from all others; `None` for any other line.

    Each is encrypted with a nonce of its own, so that two that are equal are one, and its
    copy.  Of an entry a copy adds nothing: it is there, or was erased.  Raises one of
    `BAD_JSON`.
    """
    if "encrypted" not in tree or tree["kind"] == "entry":
        return None
    return hashlib.sha256(base64.b64decode(tree["encrypted"], validate=True)).digest()


@define
class Heard:
    """The encrypted facts that were heard, each with the place of its first batch."""

    _first: dict[bytes, Place] = field(factory=dict)

    def is_copy(self, tree: Json, batch: Place) -> bool:
        """Whether a line stood in an earlier batch; batches come in their order."""
        found = mark(tree)
        return found is not None and self._first.setdefault(found, batch) != batch

    def forget(self) -> None:
        """Begin anew."""
        self._first.clear()
