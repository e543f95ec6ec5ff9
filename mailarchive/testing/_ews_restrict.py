"""The restrictions of a search, as far as clients of the EWS server on loopback use them."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from attrs import frozen

from mailarchive.testing._ews_shapes import TYPES, Extended, Head, folder_value, moment, value_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from xml.etree.ElementTree import Element

    from mailarchive.testing._ews_store import EwsFolder, EwsItem

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "IsEqualTo": operator.eq,
    "IsNotEqualTo": operator.ne,
    "IsGreaterThan": operator.gt,
    "IsGreaterThanOrEqualTo": operator.ge,
    "IsLessThan": operator.lt,
    "IsLessThanOrEqualTo": operator.le,
}


Lookup: TypeAlias = "Callable[[Element], str | None]"
"""Gives the value of the property that a path stands for."""


@frozen
class Restriction:
    """What must hold for something to be found; `None` finds everything."""

    top: Element | None

    @classmethod
    def of(cls, restriction: Element | None) -> Self:
        """Read the restriction of a request."""
        return cls(None if restriction is None else restriction[0])

    def holds(self, value: Lookup) -> bool:
        """Return whether what has these values is found."""
        return self.top is None or _holds(self.top, value)


def _holds(node: Element, lookup: Lookup) -> bool:
    kind = node.tag.removeprefix(TYPES)
    if kind in {"And", "Or"}:
        return (all if kind == "And" else any)(_holds(each, lookup) for each in node)
    if kind == "Not":
        return not _holds(node[0], lookup)
    value = lookup(node[0])
    if kind == "Exists" or value is None:
        return value is not None
    constant = node.find(f".//{TYPES}Constant")
    wanted = "" if constant is None else constant.attrib["Value"]
    if kind == "Contains":
        return wanted.lower() in value.lower()
    if value.isdecimal() and wanted.isdecimal():
        return _COMPARE[kind](int(value), int(wanted))
    return _COMPARE[kind](value, wanted)


def of_item(item: EwsItem) -> Lookup:
    """Return the values of an item."""
    known: dict[str, Callable[[], str]] = {
        "item:DateTimeReceived": lambda: moment(item.received_at),
        "item:ItemClass": lambda: item.item_class,
        "item:Subject": lambda: Head(item.raw).get("Subject"),
        "message:IsRead": lambda: str(item.read).lower(),
    }

    def lookup(path: Element) -> str | None:
        if path.tag == f"{TYPES}ExtendedFieldURI":
            return value_of(item, Extended.of(path))
        read = known.get(path.attrib.get("FieldURI", ""))
        return None if read is None else read()

    return lookup


def of_folder(folder: EwsFolder) -> Lookup:
    """Return the values of a folder."""
    known = {"folder:DisplayName": folder.name, "folder:FolderClass": folder.folder_class}

    def lookup(path: Element) -> str | None:
        if path.tag == f"{TYPES}ExtendedFieldURI":
            return folder_value(folder, Extended.of(path))
        return known.get(path.attrib.get("FieldURI", ""))

    return lookup
