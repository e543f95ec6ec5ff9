"""What the contracts of sources and sinks have in common: nobody empties a law by overriding."""

from __future__ import annotations

from inspect import getattr_static

_HOW_NAMES_ARE_FOUND = frozenset({"__init_subclass__", "__getattribute__"})


def overridden(contract: type, subclass: type, hooks: frozenset[str] = frozenset()) -> list[str]:
    """Return the names of a contract that a subclass changes, and that are none of its hooks.

    A law can be emptied by its own name, and as well by the name of anything behind it.
    """
    own = {name for name in vars(contract) if not name.startswith("__")} - hooks
    return sorted(
        name
        for name in own | _HOW_NAMES_ARE_FOUND
        if getattr_static(subclass, name) is not getattr_static(contract, name)
    )
