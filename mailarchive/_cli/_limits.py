"""`[source.limits]`: every limit of an adapter under its own name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from mailarchive._bounds import Bounds

if TYPE_CHECKING:
    from mailarchive._cli._toml import Table

L = TypeVar("L")


def limits(table: Table, kind: type[L]) -> L:
    """Return the adapter's limits with those that the table names; its own for the others."""
    inner = table.table("limits")
    values: dict[str, Any] = {}
    for each in attrs.fields(kind):  # type: ignore[arg-type]  # its callers name attrs classes
        whole = isinstance(each.default, int)
        given = inner.get(each.name, int) if whole else inner.number(each.name)
        if given is None:
            continue
        if isinstance(each.validator, Bounds) and given not in each.validator:
            raise inner.wrong(
                f"{each.name} must be {each.validator}",
                f"leave {each.name} out: it is {each.default:_} then",
            )
        values[each.name] = given
    inner.done()
    return kind(**values)
