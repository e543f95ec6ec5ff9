"""How a run goes about it: how much at once, what may be removed, when to try again."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import ge

from mailarchive._model import Durability

if TYPE_CHECKING:
    from typing import Self


@frozen
class Batching:
    """How much is handled at once.

    A batch is cut at `max_messages` or `max_bytes`, and at the end of a page; while one is
    stored the next two are made ready, and `read_ahead` bytes may wait behind them.  Memory
    is bounded by these three and a few times the largest message.
    """

    max_messages: int = field(default=200, validator=ge(1))
    max_bytes: int = field(default=5 << 20, validator=ge(1))
    read_ahead: int = field(default=3 << 20, validator=ge(1))

    def is_full(self, messages: int, size: int) -> bool:
        """Whether a batch of so many messages must be cut before one that makes it `size`."""
        return messages >= self.max_messages or size > self.max_bytes


@frozen
class Removal:
    """When a message may be removed at the source: never, unless this says so.

    A receipt must promise at least `durability`, and its bytes are read back through the
    sink and compared before anything is removed.
    """

    enabled: bool = False
    durability: Durability = Durability.MEDIA

    @classmethod
    def never(cls) -> Self:
        """Leave everything at the source.  The default."""
        return cls()

    @classmethod
    def when_archived(cls, durability: Durability = Durability.MEDIA) -> Self:
        """Remove what is archived at least this durably and was read back."""
        return cls(enabled=True, durability=durability)


@frozen
class RetryPlan:
    """When a message that failed is fetched again: after `first`, twice that, ... `longest`."""

    first: timedelta = timedelta(minutes=5)
    longest: timedelta = timedelta(days=1)

    def wait(self, attempts: int) -> timedelta:
        """Return the wait after so many attempts."""
        doubled = 1 << min(max(attempts - 1, 0), 30)
        return self.longest if self.first > self.longest / doubled else self.first * doubled
