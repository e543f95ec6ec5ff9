"""An mbox: many messages in one file."""

from __future__ import annotations

import errno
import os
import re
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve
from typing_extensions import override

from mailarchive._model import CoverageGap, Folder, MessageRef, Page, SourceMessage, Unavailable
from mailarchive.abc import Source
from mailarchive.errors import ConfigurationError, MailboxNotFound, SourceError
from mailarchive.sources._files_disk import (
    TOP,
    NoFile,
    TooLarge,
    default_name,
    for_people,
    open_quietly,
    place_error,
    read_at,
)
from mailarchive.sources._files_limits import NO_MEMORY, FileLimits
from mailarchive.sources._files_mbox_line import LINE, from_line_date
from mailarchive.sources._files_mbox_listing import Listing
from mailarchive.sources._files_mbox_scan import (
    MboxVariant,
    Scanner,
    ends_at,
    head_digest,
    stamp,
)
from mailarchive.sources._files_tree import PAGE, real

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from io import FileIO

    from mailarchive._model import Address
    from mailarchive.sources._files_disk import StrPath
    from mailarchive.sources._files_mbox_scan import Entry
    from mailarchive.sources._files_mbox_token import Listed

_OFFSET = re.compile(r"[0-9]{1,18}", re.ASCII)
_REVISION = re.compile(r"([0-9]{1,18})-([0-9a-f]{16})", re.ASCII)
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)


def _now() -> datetime:
    return datetime.now(UTC)


class Mbox(Source):
    """The messages of one mbox file, in their order.

    Reads and never writes, and does not lock.  Each message is given back byte for byte as
    it stands between the From_ lines, without the empty line that ends it; only with
    `MboxVariant.MBOXRD` one `>` is taken from lines like `>From `, which such a writer
    put there.  A line that begins `From ` and has no date stays in its message, and `gaps`
    counts it.  Choose the variant of the program that wrote the file; the default alters
    nothing.  `received_at` is the date of the From_ line, in UTC unless it says otherwise.

    An mbox to which mail was added resumes behind the last message that was listed; a
    message that was being added is listed again once it is whole.  Where anything before it
    was changed, as programs do that delete or mark a message, the token raises
    `CheckpointInvalid`, also where the file is as long as it was.
    """

    def __init__(
        self,
        path: StrPath,
        *,
        variant: MboxVariant | str = MboxVariant.MBOXO,
        name: str | None = None,
        mailbox: Address | None = None,
        page_size: int = PAGE,
        limits: FileLimits | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """Take the file; raises `ConfigurationError` for a variant that there is not."""
        self.name: str = name or default_name("mbox", path)
        self.mailbox = mailbox
        self._variant = _variant(variant)
        self._path = Path(path).absolute()
        self._page_size = page_size
        self._limits = limits or FileLimits()
        self._clock = clock
        self._file: FileIO | None = None
        self._doubtful = 0
        self._begun = False
        self._missed = False

    @override
    def _open(self) -> None:
        self._doubtful, self._begun = 0, False
        try:
            self._file = os.fdopen(open_quietly(real(self._path)), "rb", buffering=0)
        except NoFile:
            directory = IsADirectoryError(errno.EISDIR, "")
            raise place_error(self.name, "mbox file", directory) from None
        except OSError as error:
            raise place_error(self.name, "mbox file", error) from error
        size = os.fstat(self._file.fileno()).st_size
        if Scanner(self._file, size, self._variant).top() is None:
            raise SourceError(
                f"source {self.name}: the file is no mbox: it does not begin with a From_ line",
                suggestions=[
                    "single messages are another kind, eml, and stand in a folder",
                    "let a mail program write it anew, where its From_ lines have no date",
                ],
            )

    @override
    def _close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _opened(self) -> FileIO:
        if self._file is None:
            raise SourceError(
                f"source {self.name} is not open", suggestions=["use it in a with statement"]
            )
        return self._file

    @override
    def _folders(self) -> Iterable[Folder]:
        return (Folder(TOP, for_people(self._path.name)),)

    @override
    def _gaps(self) -> Iterator[CoverageGap]:
        if self._doubtful:
            yield CoverageGap(
                "doubtful-from-lines",
                f"{self._doubtful} lines that begin with From and are no From_ line: each stayed "
                "in the message that it stands in",
                (
                    "nothing, where these are sentences of a mail",
                    "let a mail program write the file anew, where they were to separate messages",
                ),
                self._doubtful,
            )
        if self._begun:
            yield CoverageGap(
                "begun-from-line",
                "the file ends within its first line",
                ("run again when its writer has finished; else it is no mbox",),
            )

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        """Yield what the token does not cover.

        An empty page at the end notes the state of a file that was compared and is settled,
        so that it need not be compared again.  Where something listed could not be found, no
        token vouches for it: the file may be as it was once its writer has finished.
        """
        if folder.key != TOP:
            raise MailboxNotFound(
                f"source {self.name}: an mbox is one folder, and this is another one",
                suggestions=["scan what folders() gives"],
            )
        listing = Listing(self.name, self._opened(), self._variant, self._clock)
        listed = None if after is None else listing.resumed(after)
        if listed is None:
            self._doubtful, self._missed = 0, False  # what was listed before is listed again
        entries = listing.entries(listed)
        while some := tuple(islice(entries, self._page_size)):
            listed = listing.upto(some)
            self._doubtful += sum(each.doubtful for each in some)
            refs = tuple(self._ref(folder, each) for each in some)
            yield Page(folder, refs, self._token(listed))
        self._begun = listing.begun
        if listed is not None and (self._missed or listing.state not in {None, listed.state}):
            yield Page(folder, (), self._token(evolve(listed, state=listing.state)))

    def _token(self, listed: Listed) -> str:
        return (listed.in_doubt() if self._missed else listed).token()

    def _ref(self, folder: Folder, entry: Entry) -> MessageRef:
        file, length = self._opened(), entry.length
        revision = f"{length}-{stamp(file, entry.start, length)}"
        return MessageRef(self.name, folder.key, str(entry.start), length, revision)

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        for ref in refs:
            try:
                message = self._read(ref)
            except TooLarge:
                yield Unavailable(ref, self._limits.refusal(), permanent=True)
            except MemoryError:
                yield Unavailable(ref, NO_MEMORY)
            else:
                if message is None:
                    self._missed = True
                else:
                    yield message

    def _read(self, ref: MessageRef) -> SourceMessage | None:
        """Return the message, or `None` where the file has another one there now.

        Raises `TooLarge` before it is read.
        """
        revision = _REVISION.fullmatch(ref.revision or "")
        if revision is None or not _OFFSET.fullmatch(ref.key):
            return None
        start, length = int(ref.key), int(revision[1])
        file = self._opened()
        if stamp(file, start, length) != revision[2] or not ends_at(file, start + length):
            return None
        line, end, _ = read_at(file, start, min(length, LINE)).partition(b"\n")
        head = line + end
        if length - len(head) > self._limits.message_octets:
            raise TooLarge
        raw = read_at(file, start + len(head), length - len(head))
        if len(head) + len(raw) != length or head_digest(head + raw[:LINE]) != revision[2]:
            return None
        if self._variant is MboxVariant.MBOXRD and b">From " in raw:
            raw = _QUOTED.sub(rb"\1", raw)
        return SourceMessage(ref, raw, from_line_date(line))


def _variant(variant: MboxVariant | str) -> MboxVariant:
    try:
        return MboxVariant(variant)
    except ValueError:
        raise ConfigurationError(
            "there is no such variant of mbox",
            suggestions=[f"choose one of {', '.join(MboxVariant)}"],
        ) from None
