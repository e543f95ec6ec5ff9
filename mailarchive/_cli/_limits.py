"""`[source.limits]`: every limit of an adapter under its own name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from mailarchive.errors import ConfigurationError

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
        if given is not None:
            values[each.name] = given
    inner.done()
    try:
        return kind(**values)
    except ConfigurationError:
        raise
    except (TypeError, ValueError) as error:
        name = next((each for each in values if f"'{each}'" in str(error)), "one")
        raise inner.wrong(
            f"{name} is out of its bounds", "see the reference of the limits for what is possible"
        ) from None
