"""What is in the mailboxes of the loopback Graph server, and how it changes."""

from __future__ import annotations

import itertools
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Iterator

WELL_KNOWN = {
    "inbox": "Inbox",
    "drafts": "Drafts",
    "sentitems": "Sent Items",
    "deleteditems": "Deleted Items",
    "junkemail": "Junk Email",
    "archive": "Archive",
}
RECOVERABLE = "recoverableitemsdeletions"
_START = datetime(2026, 11, 1, 12, tzinfo=UTC)


@define
class Item:
    """A message: its bytes, what a listing tells of it, and what is wrong with it."""

    id: str
    raw: bytes = field(repr=False)
    received_at: datetime
    folder: Box = field(repr=False)
    change: int = 0
    read: bool = False
    flagged: bool = False
    draft: bool = False
    refused: tuple[int, str] | None = None
    """Status and code that `$value` answers with each time."""
    breaks: frozenset[str] = frozenset()
    """`delta`, `list`, `id`: the listings that fail for this item."""

    @property
    def change_key(self) -> str:
        """The version of the item."""
        return f"CQAAABYAA{self.change:07d}"

    def told(self, names: list[str]) -> dict[str, Any]:
        """Return these properties, and those that always come."""
        every: dict[str, Any] = {
            "changeKey": self.change_key,
            "receivedDateTime": f"{self.received_at:%Y-%m-%dT%H:%M:%SZ}",
            "isRead": self.read,
            "isDraft": self.draft,
            "flag": {"flagStatus": "flagged" if self.flagged else "notFlagged"},
            "parentFolderId": self.folder.id,
            "subject": "not to be shown",
        }
        etag = f'W/"{self.change_key}"'
        return {"@odata.etag": etag, "id": self.id} | {n: every[n] for n in names if n in every}


@define
class Box:
    """A folder; `journal` has the last change of each id that ever was in it, in order."""

    id: str
    name: str
    parent: str | None = None
    well_known: str | None = None
    hidden: bool = False
    search: bool = False
    others: int = 0
    """Items that are counted and are no messages, such as contacts in Deleted Items."""
    items: dict[str, Item] = field(factory=dict, repr=False)
    journal: dict[str, int] = field(factory=dict, repr=False)
    epoch: int = 1
    """Delta links of another epoch are lost."""
    closes_early: int = 0
    """How many more rounds end after their first page, whatever is left."""

    def note(self, id_: str, number: int) -> None:
        """Put the id at the end of the journal."""
        self.journal.pop(id_, None)
        self.journal[id_] = number


@define
class MailboxStore:
    """One mailbox: its user, its folders and its messages; every hand that changes it."""

    user: dict[str, Any]
    boxes: dict[str, Box] = field(factory=dict)
    items: dict[str, Item] = field(factory=dict, repr=False)
    settings: dict[str, Any] = field(factory=lambda: {"userPurpose": "user"})
    broken: tuple[int, str] | None = None
    """Status and code that everything of this mailbox answers with."""
    answers_as: dict[str, Any] | None = None
    """Another user, whom the server tells in this one's place."""
    _numbers: Iterator[int] = field(factory=lambda: itertools.count(1), repr=False)
    lock: threading.RLock = field(factory=threading.RLock, repr=False)

    def __attrs_post_init__(self) -> None:
        """Have the folders that every mailbox has."""
        for well_known, name in WELL_KNOWN.items():
            self.make_folder(name, well_known=well_known)
        self.make_folder("Deletions", well_known=RECOVERABLE)

    def make_folder(self, name: str, **given: Any) -> Box:
        """Return a new folder; `parent` is the id of the one it is in."""
        box = Box(f"AQMkAD{next(self._numbers):06d}=", name, **given)
        self.boxes[box.id] = box
        return box

    def box(self, key: str) -> Box | None:
        """Return a folder by its id or its well-known name."""
        if key in self.boxes:
            return self.boxes[key]
        return next((each for each in self.boxes.values() if each.well_known == key), None)

    def children(self, parent: str | None) -> list[Box]:
        """Return what a listing of folders can show; recoverable items are in none."""
        return [
            each
            for each in self.boxes.values()
            if each.parent == parent and each.well_known != RECOVERABLE
        ]

    def deliver(self, raw: bytes, folder: str = "inbox", **given: Any) -> Item:
        """Put a message into a folder and return it."""
        with self.lock:
            box, number = self._box(folder), next(self._numbers)
            received = given.pop("received_at", _START + timedelta(seconds=number))
            item = Item(f"AAkALgAA{number:07d}==", raw, received, box, number, **given)
            self.items[item.id] = box.items[item.id] = item
            box.note(item.id, number)
            return item

    def lose(self, id_: str) -> None:
        """Take a message away for good, as a retention policy does."""
        with self.lock:
            item = self.items.pop(id_)
            self._leave(item)

    def move(self, id_: str, folder: str) -> Item:
        """Move a message; its id stays, and its change key does not."""
        with self.lock:
            item, box = self.items[id_], self._box(folder)
            self._leave(item)
            item.folder, item.change = box, next(self._numbers)
            box.items[item.id] = item
            box.note(item.id, item.change)
            return item

    def move_away_and_back(self, id_: str) -> None:
        """Do as Graph does with immutable ids: delta says removed, and never that it is back.

        See microsoftgraph/microsoft-graph-docs, issue 21752.
        """
        with self.lock:
            item = self.items[id_]
            item.folder.note(id_, next(self._numbers))
            item.folder.journal[id_] *= -1  # told as removed, though it is there

    def change(self, id_: str, **given: Any) -> None:
        """Change a message, which gives it another change key."""
        with self.lock:
            item = self.items[id_]
            for name, value in given.items():
                setattr(item, name, value)
            item.change = next(self._numbers)
            item.folder.note(id_, item.change)

    def reset_deltas(self, folder: str = "inbox") -> None:
        """Forget every delta link of a folder given so far."""
        with self.lock:
            self._box(folder).epoch += 1

    def contents(self, folder: str = "inbox") -> list[Item]:
        """Return what is in a folder now."""
        return list(self._box(folder).items.values())

    def _leave(self, item: Item) -> None:
        del item.folder.items[item.id]
        item.folder.note(item.id, next(self._numbers))

    def _box(self, folder: str) -> Box:
        found = self.box(folder)
        assert found is not None, f"no folder {folder}"
        return found
