"""What an observer is told while a run goes on; a closed union of frozen values.

Events are for progress and metrics.  They may be lost without harm: what became of each
message is the run's outcomes, and the audit trail is the archive's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from attrs import frozen

if TYPE_CHECKING:
    from mailarchive._model import Folder


@frozen
class RunStarted:
    """A run begins."""

    source: str
    dry_run: bool = False


@frozen
class SourceNotice:
    """The source has something to say to whoever runs it, as that its protocol ends."""

    source: str
    code: str
    message: str


@frozen
class FolderStarted:
    """A folder is about to be listed; `resumed` says that a checkpoint was found."""

    folder: Folder
    resumed: bool


@frozen
class CheckpointLost:
    """The source no longer knows the folder's token; the folder is listed anew."""

    folder: Folder


@frozen
class PageListed:
    """A page of `messages` items begins to be read; `retried` says they are old ones."""

    folder: Folder
    messages: int
    retried: bool = False


@frozen
class BatchStored:
    """A batch has its receipts: `stored` are new, `present` were there already."""

    folder: Folder
    stored: int
    present: int
    size: int


@frozen
class BatchPutOff:
    """A batch that arrived by itself was not taken, for the error with this code."""

    folder: Folder
    messages: int
    code: str


@frozen
class PageDone:
    """A page is accounted for and its checkpoint is saved."""

    folder: Folder
    archived: int
    quarantined: int
    skipped: int
    vanished: int
    failed: int


@frozen
class RemovalDone:
    """Removals at the source were confirmed or refused."""

    folder: Folder
    removed: int
    kept: int


@frozen
class FolderFailed:
    """A folder could not be finished; the run goes on with the next."""

    folder: Folder
    code: str


@frozen
class RunFinished:
    """The run is over; the counts are in its report."""

    source: str
    ok: bool


Event: TypeAlias = (
    RunStarted
    | SourceNotice
    | FolderStarted
    | CheckpointLost
    | PageListed
    | BatchStored
    | BatchPutOff
    | PageDone
    | RemovalDone
    | FolderFailed
    | RunFinished
)
"""Everything an observer may be told."""
