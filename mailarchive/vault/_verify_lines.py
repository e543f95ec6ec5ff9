"""Naming lines that nobody wrote who has the vault's keys, and entries that cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailarchive._model import Span
from mailarchive.vault._lines import FORGED, forgery, mark
from mailarchive.vault._manifest import BAD_JSON, Fact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeAlias

    from mailarchive._model import Digest
    from mailarchive.vault._lines import Lines
    from mailarchive.vault._manifest import Manifest
    from mailarchive.vault._record import Json
    from mailarchive.vault._recovery import Where

    Forged: TypeAlias = tuple[str, str, int, str]
    """The kind of the finding, the pack, where its manifest stands, and words."""


class LineCheck:
    """Looks at the lines of every batch of a vault, in whatever order they come."""

    def __init__(self, lines: Lines) -> None:
        """Tell by `lines` what is genuine."""
        self._lines = lines
        self._said: dict[bytes, list[tuple[Digest, str]]] = {}

    def batch(self, manifest: Manifest) -> Iterator[Forged]:
        """Yield what is forged in a batch; a line that cannot be read is named elsewhere."""
        if not self._is_worth_it(manifest):
            return
        for number in range(1 + manifest.head.objects, len(manifest.lines)):
            try:
                tree = manifest.tree(number)
                tree = {**tree, "kind": str(tree["kind"])}
                if self._lines.is_forged(tree):
                    yield FORGED, manifest.head.pack, manifest.offset, forgery(tree["kind"])
                else:
                    self._note(manifest, tree)
            except BAD_JSON:
                continue

    def copies(self, found: Iterable[Where]) -> Iterator[Forged]:
        """Yield each fact that stood in an earlier one of the batches that count, in order."""
        order = {where.digest: where for where in found}
        place = {digest: n for n, digest in enumerate(order)}
        for said in self._said.values():
            counting = {batch: kind for batch, kind in said if batch in place}
            for batch in sorted(counting, key=place.__getitem__)[1:]:
                where = order[batch]
                yield FORGED, where.pack, where.offset, forgery(counting[batch])

    def _is_worth_it(self, manifest: Manifest) -> bool:
        """In a plain vault nothing is encrypted, which its bytes can tell."""
        plain = manifest.is_plain and b'"encrypted"' not in manifest.data
        return self._lines.is_encrypted or not plain

    def _note(self, manifest: Manifest, tree: Json) -> None:
        found = mark(tree)
        if found is not None:
            self._said.setdefault(found, []).append((manifest.digest, tree["kind"]))


def has_outside(manifest: Manifest) -> bool:
    """Whether an entry of a batch has an original that is no part of its message."""
    return any(
        not span.start <= span.end <= record.size
        for _, record in manifest.contents
        if not isinstance(record, Fact)
        for span in record.originals
        if isinstance(span, Span)
    )
