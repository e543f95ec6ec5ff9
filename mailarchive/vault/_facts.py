"""Whether a fact says what its kind must say: what does not was written by none of us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailarchive.vault import _keeping, _loading, _manifest
from mailarchive.vault._audit import AuditReading
from mailarchive.vault._decided import places_of
from mailarchive.vault._grants import Grant
from mailarchive.vault._keeping import Hold, Retention
from mailarchive.vault._manifest import BAD_JSON, Fact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mailarchive.vault._lines import Lines
    from mailarchive.vault._manifest import Manifest

_LOADERS: Final[Mapping[str, Callable[[Fact], object]]] = {
    _manifest.READING: AuditReading.load,
    _manifest.GRANTED: Grant.load,
    _manifest.HELD: Hold.load,
    _manifest.RETAINED: Retention.load,
    _manifest.RELEASED: lambda fact: fact.body["matter"],
    _manifest.ERASED: lambda fact: _loading.digest(fact.body["entry"]),
    _manifest.RECLAIMED: lambda fact: list(places_of(fact.body)),
}


def doubts(manifest: Manifest, lines: Lines) -> Iterator[str]:
    """Yield in words what is wrong with facts, as far as `lines` opens them and knows of them."""
    for _, fact in manifest.contents:
        if not isinstance(fact, Fact) or fact.kind not in _LOADERS:
            continue
        tree = {**fact.body, "kind": fact.kind}
        whole = lines.opened(tree)
        forged = lines.is_forged(tree, whole)
        words = None if whole is None or forged else _doubt(Fact(fact.kind, whole))
        if words is not None:
            yield words


def _doubt(fact: Fact) -> str | None:
    try:
        _LOADERS[fact.kind](fact)
    except BAD_JSON:
        return f"a fact, {fact.kind}, that cannot be read: it changes nothing"
    try:
        if fact.kind == _manifest.RETAINED:
            _keeping.end(fact.body)
    except BAD_JSON:
        return "retention whose end cannot be read: it keeps what it covers for ever"
    return None
