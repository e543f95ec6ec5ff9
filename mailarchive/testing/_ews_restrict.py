"""The restrictions of a search, as far as clients of the EWS server on loopback use them."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Self

from attrs import frozen

from mailarchive.testing._ews_shapes import TYPES, Extended, Head, moment, value_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from xml.etree.ElementTree import Element

    from mailarchive.testing._ews_store import EwsItem

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "IsEqualTo": operator.eq,
    "IsNotEqualTo": operator.ne,
    "IsGreaterThan": operator.gt,
    "IsGreaterThanOrEqualTo": operator.ge,
    "IsLessThan": operator.lt,
    "IsLessThanOrEqualTo": operator.le,
}


@frozen
class Restriction:
    """What an item must be like to be found; `None` finds everything."""

    top: Element | None

    @classmethod
    def of(cls, restriction: Element | None) -> Self:
        """Read the restriction of a request."""
        return cls(None if restriction is None else restriction[0])

    def holds(self, item: EwsItem) -> bool:
        """Return whether an item is found."""
        return self.top is None or _holds(self.top, item)


def _holds(node: Element, item: EwsItem) -> bool:
    kind = node.tag.removeprefix(TYPES)
    if kind in {"And", "Or"}:
        return (all if kind == "And" else any)(_holds(each, item) for each in node)
    if kind == "Not":
        return not _holds(node[0], item)
    value = _value(node[0], item)
    if kind == "Exists" or value is None:
        return value is not None
    constant = node.find(f".//{TYPES}Constant")
    wanted = "" if constant is None else constant.attrib["Value"]
    if kind == "Contains":
        return wanted.lower() in value.lower()
    if value.isdecimal() and wanted.isdecimal():
        return _COMPARE[kind](int(value), int(wanted))
    return _COMPARE[kind](value, wanted)


def _value(path: Element, item: EwsItem) -> str | None:
    if path.tag == f"{TYPES}ExtendedFieldURI":
        return value_of(item, Extended.of(path))
    known: dict[str, Callable[[], str]] = {
        "item:DateTimeReceived": lambda: moment(item.received_at),
        "item:ItemClass": lambda: item.item_class,
        "item:Subject": lambda: Head(item.raw).get("Subject"),
        "message:IsRead": lambda: str(item.read).lower(),
    }
    read = known.get(path.attrib.get("FieldURI", ""))
    return None if read is None else read()
