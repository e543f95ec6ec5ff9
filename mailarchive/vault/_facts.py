"""Whether a fact says what its kind must say: what does not was written by none of us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailarchive.vault import _loading, _manifest
from mailarchive.vault._audit import AuditReading
from mailarchive.vault._decided import places_of
from mailarchive.vault._grants import Grant
from mailarchive.vault._keeping import Hold, Retention
from mailarchive.vault._manifest import BAD_JSON

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailarchive.vault._manifest import Fact

_LOADERS: Final[Mapping[str, Callable[[Fact], object]]] = {
    _manifest.READING: AuditReading.load,
    _manifest.GRANTED: Grant.load,
    _manifest.HELD: Hold.load,
    _manifest.RETAINED: Retention.load,
    _manifest.RELEASED: lambda fact: fact.body["matter"],
    _manifest.ERASED: lambda fact: _loading.digest(fact.body["entry"]),
    _manifest.RECLAIMED: lambda fact: list(places_of(fact.body)),
}


def can_be_read(fact: Fact) -> bool:
    """Whether a fact can be read, as far as it is in clear and of a kind that is known."""
    load = _LOADERS.get(fact.kind)
    try:
        if load is not None and "encrypted" not in fact.body:
            load(fact)
    except BAD_JSON:
        return False
    return True
