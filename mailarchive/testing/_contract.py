"""What the contracts of sources and sinks have in common: nobody empties a law by changing it."""

from __future__ import annotations

from inspect import getattr_static
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    import pytest

_HOW_NAMES_ARE_FOUND = frozenset({"__init_subclass__", "__getattribute__"})


@final
class Made:
    """A contract and its laws as they were made, to tell what was changed since."""

    def __init__(
        self, contract: type, laws: ModuleType, hooks: frozenset[str] = frozenset()
    ) -> None:
        """Keep what stands behind each name that is none of the hooks."""
        own = {name for name in vars(contract) if not name.startswith("__")} - hooks
        self._names = {name: getattr_static(contract, name) for name in own | _HOW_NAMES_ARE_FOUND}
        self._module = laws
        self._laws = {law.__name__: law for law in laws.LAWS}

    def changed(self, subject: object) -> list[str]:
        """Return the names that are others in a subclass, or an instance, than they were.

        A law can be emptied by its own name, as a test or in the module of laws, and as well
        by the name of anything behind it.
        """
        names = {
            name for name, was in self._names.items() if getattr_static(subject, name) is not was
        }
        laws = {n for n, law in self._laws.items() if getattr(self._module, n, None) is not law}
        return sorted(names | laws)


def look_before_and_after(request: pytest.FixtureRequest, refuse: Callable[[Any], None]) -> None:
    """Refuse a test whose contract was changed since it was made, or is by its fixtures.

    So that the second look comes after all of them, those that are left are made here.
    """
    refuse(request.instance)
    for name in request.fixturenames:
        if name != request.fixturename:
            request.getfixturevalue(name)
    refuse(request.instance)


def name_of(subject: object) -> str:
    """Return what a class, or that of an instance, is called."""
    return subject.__name__ if isinstance(subject, type) else type(subject).__name__
