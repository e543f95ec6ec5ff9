"""A map over a directory of users."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mailarchive.errors import DirectoryError, MailArchiveError
from mailarchive.users._addresses import canonical, checked_separator, look_up

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import timedelta

    from mailarchive._model import Address, UserId
    from mailarchive.abc import Directory


class DirectoryMap:
    """Users by every address that the directory has for them, aliases and X.500 names too.

    The directory is read when the first address is asked for, and kept.  With `max_age` it
    is read again by the first question after that time.  An address of two users, as that
    of a shared mailbox, belongs to both.  With `subaddress="+"` mail to `bob+news@...`
    belongs to the users of `bob@...` where it has none of its own.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        subaddress: str = "",
        max_age: timedelta | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the directory; `clock` gives seconds and never goes back."""
        self._directory = directory
        self._separator = checked_separator(subaddress)
        self._max_age = max_age
        self._clock = clock
        self._book: dict[Address, frozenset[UserId]] | None = None
        self._ids: frozenset[UserId] = frozenset()
        self._read_at = 0.0

    def resolve(self, addresses: Collection[Address], /) -> Mapping[Address, frozenset[UserId]]:
        """Return the users of each known address; raises `DirectoryError`."""
        if self._book is None or self._is_old():
            self.refresh()
        return look_up(self._book or {}, addresses, self._separator)

    def lists(self, user: UserId, /) -> bool:
        """Return whether the directory has such a user, with or without an address.

        Raises `DirectoryError`.
        """
        if self._book is None or self._is_old():
            self.refresh()
        return user in self._ids

    def refresh(self) -> None:
        """Read the directory now; raises `DirectoryError`.

        After an error what was read before stays, and the next question tries again if
        it is too old: an old directory is never taken for a new one.
        """
        now = self._clock()
        try:
            ids, book = self._read()
        except MailArchiveError:
            raise
        except Exception as error:
            raise DirectoryError(
                f"{type(error).__name__} in the directory of users",
                suggestions=["this is a defect of the directory's adapter: report it"],
            ) from error
        self._ids, self._book, self._read_at = ids, book, now

    def _is_old(self) -> bool:
        age = self._clock() - self._read_at
        return self._max_age is not None and age >= self._max_age.total_seconds()

    def _read(self) -> tuple[frozenset[UserId], dict[Address, frozenset[UserId]]]:
        ids: set[UserId] = set()
        owners: dict[Address, set[UserId]] = {}
        for user in self._directory.users():
            if not user.id:
                raise DirectoryError(
                    "a user of the directory has an empty id",
                    suggestions=["give every user an id that stays for good"],
                )
            ids.add(user.id)
            for address in user.addresses:
                owners.setdefault(canonical(address), set()).add(user.id)
        book = {address: frozenset(users) for address, users in owners.items()}
        return frozenset(ids), book
