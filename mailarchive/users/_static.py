"""A map that is written down in the program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from attrs import field, frozen

from mailarchive._model import Address, UserId
from mailarchive.errors import ConfigurationError
from mailarchive.users._addresses import canonical, checked_separator, look_up

if TYPE_CHECKING:
    from collections.abc import Collection

Users: TypeAlias = str | Iterable[str]


def _book(mapping: Mapping[str, Users]) -> dict[Address, frozenset[UserId]]:
    book: dict[Address, frozenset[UserId]] = {}
    for text, users in mapping.items():
        address = canonical(Address.parse(text))
        owners = frozenset(UserId(user) for user in ([users] if isinstance(users, str) else users))
        if not address.normal or not owners or "" in owners:
            raise ConfigurationError(
                "an address, or the user of one, is empty",
                suggestions=["give every address at least one user id, or leave it out"],
            )
        book[address] = book.get(address, frozenset()) | owners
    return book


@frozen(eq=False)
class StaticMap:
    """Users by the text of their addresses; two spellings of one address add up.

    Raises `ConfigurationError` for an empty address or user.  With `subaddress="+"` mail to
    `bob+news@...` belongs to the users of `bob@...` where it has none of its own.
    """

    mapping: Mapping[Address, frozenset[UserId]] = field(
        converter=_book, repr=lambda them: f"<{len(them)}>"
    )
    subaddress: str = field(default="", kw_only=True, converter=checked_separator)

    def resolve(self, addresses: Collection[Address], /) -> Mapping[Address, frozenset[UserId]]:
        """Return the users of each known address."""
        return look_up(self.mapping, addresses, self.subaddress)
