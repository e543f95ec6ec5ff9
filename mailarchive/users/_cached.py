"""A map that remembers the answers of a slow one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from attrs import frozen

from mailarchive.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import timedelta

    from mailarchive._model import Address, UserId
    from mailarchive.abc import UserMap


@frozen
class _Answer:
    users: frozenset[UserId]
    at: float


class Cached:
    """Asks another map once in `ttl` for each address, known or not; errors are not kept.

    So a user who is new in a directory is known `ttl` later at the latest.  At most
    `capacity` answers are kept: when there is no room, the old ones go first, then all.
    """

    def __init__(
        self,
        users: UserMap,
        ttl: timedelta,
        *,
        clock: Callable[[], float] = time.monotonic,
        capacity: int = 100_000,
    ) -> None:
        """Wrap `users`; `clock` gives seconds and never goes back."""
        if ttl.total_seconds() < 0 or capacity < 1:
            raise ConfigurationError(
                "a cache needs a time that is not negative and room for an answer",
                suggestions=["give ttl as timedelta(minutes=10), and a capacity of 1 or more"],
            )
        self._users = users
        self._ttl = ttl.total_seconds()
        self._clock = clock
        self._capacity = capacity
        self._answers: dict[Address, _Answer] = {}

    def resolve(self, addresses: Collection[Address], /) -> Mapping[Address, frozenset[UserId]]:
        """Return the users of each known address; raises what the other map raises."""
        now = self._clock()
        found = {address: self._fresh(address, now) for address in addresses}
        missing = frozenset(address for address, users in found.items() if users is None)
        if missing:
            answers = self._users.resolve(missing)
            new = {address: answers.get(address) or frozenset() for address in missing}
            self._keep(new, now)
            found.update(new)
        return {address: users for address, users in found.items() if users}

    def _fresh(self, address: Address, now: float) -> frozenset[UserId] | None:
        answer = self._answers.get(address)
        return answer.users if answer is not None and now - answer.at < self._ttl else None

    def _keep(self, new: Mapping[Address, frozenset[UserId]], now: float) -> None:
        if len(self._answers) + len(new) > self._capacity:
            kept = {
                a: answer for a, answer in self._answers.items() if now - answer.at < self._ttl
            }
            self._answers = kept if len(kept) + len(new) <= self._capacity else {}
        if len(new) <= self._capacity:
            self._answers |= {address: _Answer(users, now) for address, users in new.items()}
