"""A ref with a key that its source never gave: forged, or of another one of the same name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailarchive._model import Kept, Unavailable

if TYPE_CHECKING:
    from mailarchive._model import MessageRef

_WHY: Final = "its key is none of this source"


def not_read(ref: MessageRef) -> Unavailable:
    """No server is asked for it, now or later."""
    return Unavailable(ref, _WHY, permanent=True)


def not_removed(ref: MessageRef) -> Kept:
    """Nobody knows which message it would take away."""
    return Kept(ref, _WHY)
