"""Getting mail out of a vault, as one of its users sees it.

Each fork of a message is written, once where several have the same bytes.  What a view
withholds is counted and never written.  Names are made of a date, a key of the view and a
number: nothing in a mail names a file.  An export that was broken off goes on where it was.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from mailarchive._exporting import Bag, EmlFolder, Found, Mailbox, Target, check_place
from mailarchive.errors import SinkCorrupt, SinkError, StateError, Unsupported, Withheld
from mailarchive.sinks.files import MaildirTree, MboxFile

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from typing_extensions import Unpack

    from mailarchive._model import Digest
    from mailarchive.vault import Filters, View, ViewedMessage

__all__ = ["Exported", "Form", "export"]

_MESSAGES = 100
_BYTES = 16 << 20
"""What is written at once."""


class Form(StrEnum):
    """What an export looks like."""

    EML = "eml"
    """A folder with a file for each message, `20260301-120000-<key>.eml`."""
    MAILDIR = "maildir"
    """A Maildir, as mail servers and mail programs read it."""
    MBOX = "mbox"
    """One file, quoted as mboxrd so that each byte can be read back."""
    BAG = "bag"
    """A BagIt bag (RFC 8493) of `.eml` files, with their digests and, where the vault is
    sealed, the proof of each that it is in the log."""


@frozen
class Exported:
    """What an export did.

    `messages` counts what the filters chose; a message with several forks is one.
    `written` files are new, `present` ones were there.  `withheld` copies name others that
    this user must not know, `empty` ones are reports that hold no message, `damaged` ones
    could not be read.  `unproven` files of a bag have no proof: they were put after the
    newest seal, or header fields are left out of what this user sees.
    """

    messages: int = 0
    written: int = 0
    present: int = 0
    withheld: int = 0
    empty: int = 0
    damaged: int = 0
    unproven: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything that this user may read is there."""
        return not self.damaged


def _now() -> datetime:
    return datetime.now(UTC)


def export(
    view: View,
    to: str | os.PathLike[str],
    form: Form | str = Form.EML,
    *,
    clock: Callable[[], datetime] = _now,
    **filters: Unpack[Filters],
) -> Exported:
    """Write what the filters choose of a view to `to`, and return what was done.

    A file that is there already stays as it is; a message is there where a file has its very
    bytes, and else gets another name.  Everything is durable when this returns;
    a bag is one only then, and is never added to.  Raises `ConfigurationError` where `to` is
    inside a vault, is of another kind, or holds a bag already, `StateError` where it cannot
    be written, `Unsupported`, and `SinkError`.
    """
    try:
        check_place(Path(to), is_file=Form(form) is Form.MBOX)
        with _target(Path(to), Form(form), view, clock) as target:
            return _Export(view, target).run(filters)
    except OSError as error:
        raise StateError(
            f"cannot write there: {type(error).__name__}",
            suggestions=["give a folder that this user may write to, with room"],
        ) from error


def _target(to: Path, form: Form, view: View, clock: Callable[[], datetime]) -> Target:
    match form:
        case Form.EML:
            return EmlFolder(to)
        case Form.MAILDIR:
            return Mailbox(MaildirTree(to, name="export"))
        case Form.MBOX:
            return Mailbox(MboxFile(to, name="export"))
        case Form.BAG:
            return Bag(to, view.vault, clock().date())


class _Export:
    """One export under way."""

    def __init__(self, view: View, target: Target) -> None:
        self._view = view
        self._target = target
        self._done = Exported()
        self._batch: list[Found] = []
        self._size = 0

    def run(self, filters: Filters) -> Exported:
        for message in self._view.messages(**filters):
            self._add(messages=1)
            for found in self._copies(message):
                self._write(found)
        self._flush()
        return self._done

    def _copies(self, message: ViewedMessage) -> Iterator[Found]:
        """Each different copy of a message; of one that is erased meanwhile what is left."""
        known: set[Digest] = set()
        copy = 0
        while copy < message.copies:
            try:
                read = self._read(Found(message, copy))
            except SinkError:
                left = self._view.get(message.key)
                if left == message:
                    raise
                if left is None:
                    self._add(messages=0 if known else -1)
                    return
                message, copy = left, 0  # the copies behind one that is gone have other numbers
                continue
            copy += 1
            if read is not None and read.digest not in known:
                known.add(read.digest)
                yield read

    def _read(self, found: Found) -> Found | None:
        try:
            return found.read()
        except Withheld:
            self._add(withheld=1)
        except Unsupported:
            self._add(empty=1)
        except SinkCorrupt:
            self._add(damaged=1)
        return None

    def _write(self, found: Found) -> None:
        self._batch.append(found)
        self._size += len(found.content)
        if len(self._batch) >= _MESSAGES or self._size >= _BYTES:
            self._flush()

    def _flush(self) -> None:
        new = self._target.write(self._batch)
        unproven = sum(not each for each in map(self._target.proven, self._batch))
        self._add(written=new, present=len(self._batch) - new, unproven=unproven)
        self._batch, self._size = [], 0

    def _add(self, **counts: int) -> None:
        done = self._done
        self._done = evolve(
            done, **{name: getattr(done, name) + more for name, more in counts.items()}
        )
