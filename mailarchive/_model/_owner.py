"""The users of an archive, and whose a message is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NewType

from attrs import field, frozen

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


@frozen
class Owner:
    """A user who may see a message, and the addresses in it that made them one."""

    user: UserId
    addresses: frozenset[Address] = field(default=frozenset(), repr=lambda them: f"<{len(them)}>")


def _by_user(owners: Iterable[Owner]) -> tuple[Owner, ...]:
    return tuple(sorted(owners, key=lambda owner: owner.user))


@frozen
class Ownership:
    """Whose a message is, and the addresses that nobody knew."""

    owners: tuple[Owner, ...] = field(default=(), converter=_by_user)
    unresolved: frozenset[Address] = field(default=frozenset(), repr=lambda them: f"<{len(them)}>")

    @property
    def users(self) -> frozenset[UserId]:
        """Every user who may see the message."""
        return frozenset(owner.user for owner in self.owners)
