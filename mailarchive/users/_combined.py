"""Several maps as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import min_len

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from mailarchive._model import Address, UserId
    from mailarchive.abc import UserMap


def _maps(maps: Iterable[UserMap]) -> tuple[UserMap, ...]:
    return tuple(maps)


@frozen
class FirstOf:
    """The first map that knows an address decides; each is asked only for what is left.

    At least one map; raises `ValueError` for none.
    """

    maps: tuple[UserMap, ...] = field(converter=_maps, validator=min_len(1))

    def resolve(self, addresses: Collection[Address], /) -> Mapping[Address, frozenset[UserId]]:
        """Return the users of each address that some map knows."""
        found: dict[Address, frozenset[UserId]] = {}
        left = frozenset(addresses)
        for users in self.maps:
            if left:
                known = _known(users, left)
                found.update(known)
                left -= known.keys()
        return found


@frozen
class Merged:
    """Every map is asked for everything; an address belongs to all users that any names.

    At least one map; raises `ValueError` for none.
    """

    maps: tuple[UserMap, ...] = field(converter=_maps, validator=min_len(1))

    def resolve(self, addresses: Collection[Address], /) -> Mapping[Address, frozenset[UserId]]:
        """Return all users of each address that some map knows."""
        found: dict[Address, frozenset[UserId]] = {}
        wanted = frozenset(addresses)
        for users in self.maps if wanted else ():
            for address, owners in _known(users, wanted).items():
                found[address] = found.get(address, frozenset()) | owners
        return found


def _known(users: UserMap, wanted: frozenset[Address]) -> dict[Address, frozenset[UserId]]:
    """Return what a map says of what it was asked, and nothing else."""
    answers = users.resolve(wanted)
    return {address: answers[address] for address in wanted if answers.get(address)}
