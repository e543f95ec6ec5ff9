"""The users of an archive, and whose a message is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NewType

from attrs import evolve, field, frozen

from mailarchive._model._unicode import one_spelling

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailarchive._model._address import Address


UserId = NewType("UserId", str)
"""Whom the archive knows a person as; chosen by the directory, never read from a mail."""


@frozen
class User:
    """A person in the directory, with every address that is theirs."""

    id: UserId
    name: str = field(default="", repr=False)
    addresses: tuple[Address, ...] = field(default=(), repr=lambda them: f"<{len(them)}>")


def _is_text(_: object, __: object, value: Any) -> None:
    if not isinstance(value, str):
        msg = "the id of a user is a text"
        raise TypeError(msg)


@frozen
class Owner:
    """A user who may see a message, and the addresses in it that made them one."""

    user: UserId = field(validator=_is_text)
    addresses: frozenset[Address] = field(default=frozenset(), repr=lambda them: f"<{len(them)}>")


def _by_user(owners: Iterable[Owner]) -> tuple[Owner, ...]:
    users: dict[UserId, Owner] = {}
    for owner in sorted(owners, key=lambda owner: owner.user):
        user = UserId(one_spelling(owner.user))
        known = users.get(user)
        more = frozenset() if known is None else known.addresses
        users[user] = evolve(owner, addresses=owner.addresses | more) if more else owner
    return tuple(users.values())


@frozen
class Ownership:
    """Whose a message is, and the addresses that nobody knew.

    It has each user once: one who is given twice has the addresses of both.
    """

    owners: tuple[Owner, ...] = field(default=(), converter=_by_user)
    unresolved: frozenset[Address] = field(default=frozenset(), repr=lambda them: f"<{len(them)}>")

    @property
    def users(self) -> frozenset[UserId]:
        """Every user who may see the message."""
        return frozenset(owner.user for owner in self.owners)
