"""Sources in memory that break a law each, and what the law says of it."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import evolve
from typing_extensions import override

from mailarchive import (
    Archived,
    Digest,
    Folder,
    Kept,
    MessageRef,
    Page,
    Removed,
    SourceMessage,
    Unavailable,
)
from mailarchive.errors import CheckpointInvalid, SourceUnavailable
from mailarchive.testing import source_laws as laws
from mailarchive.testing.memory import MemorySource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mailarchive import RemovalResult
    from mailarchive.testing.source_laws import Law


class GivesNumbersAgain(MemorySource):
    """Numbers a message by the highest number that is there, as a table of SQLite does."""

    @override
    def add(self, raw: bytes, *, folder: str = "INBOX", **given: Any) -> MessageRef:
        """Under the number behind the highest."""
        if (box := self._boxes.get(folder)) is not None:
            box.next_uid = max(box.items, default=0) + 1
        return super().add(raw, folder=folder, **given)


class PagesByPlace(MemorySource):
    """Asks for the next page by how many messages it has listed."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        place, start = 0, after
        while refs := self._rest(folder, start)[place : place + 5]:
            place += len(refs)
            yield Page(folder, tuple(refs), refs[-1].key)

    def _rest(self, folder: Folder, after: str | None) -> list[MessageRef]:
        return [ref for page in super()._scan(folder, after) for ref in page.refs]


class RunsToTheEnd(MemorySource):
    """Ends its last page at the newest message there is then, listed or not."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        pages = list(super()._scan(folder, after))
        for page in pages[:-1]:
            yield page
        for page in pages[-1:]:
            box = self._boxes[folder.key]
            yield evolve(page, token=f"{box.epoch}.{box.next_uid - 1}")


class ListsAcrossPages(MemorySource):
    """Begins each page with the last of the one before it."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        last: tuple[MessageRef, ...] = ()
        for page in super()._scan(folder, after):
            yield evolve(page, refs=last + page.refs)
            last = page.refs[-1:]


class MovesItsToken(MemorySource):
    """Says another token in each scan, which means the same: nothing is wrong with it."""

    serial = 0

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        last = after
        for page in super()._scan(folder, after):
            yield page
            last = page.token
        if last is not None:
            yield from self._moved(folder, last.partition("+")[0])

    def _moved(self, folder: Folder, last: str) -> Iterator[Page]:
        self.serial += 1
        yield Page(folder, (), f"{last}+{self.serial}")

    @override
    def _resume(self, box: Any, token: str) -> int:
        return super()._resume(box, token.partition("+")[0])


class NeverComesToRest(MovesItsToken):
    """Lists until its token stays what it was, which it never does."""

    @override
    def _moved(self, folder: Folder, last: str) -> Iterator[Page]:
        while True:
            yield from super()._moved(folder, last)


class GoesRound(MovesItsToken):
    """Begins anew at the end, under another token each time."""

    @override
    def _moved(self, folder: Folder, last: str) -> Iterator[Page]:
        while True:
            for page in MemorySource._scan(self, folder, None):
                self.serial += 1
                yield evolve(page, token=f"{last}+{self.serial}")


class NamesWhatIsNotThere(MovesItsToken):
    """Goes on with the numbers behind the last one, for ever."""

    @override
    def _moved(self, folder: Folder, last: str) -> Iterator[Page]:
        while True:
            self.serial += 100
            some = range(self.serial, self.serial + 100)
            refs = (MessageRef(self.name, folder.key, f"1.{10**6 + n}") for n in some)
            yield Page(folder, tuple(refs), f"{last}+{self.serial}")


class ListsAnewAfterNothing(MovesItsToken):
    """Says a token of the beginning where there was nothing to say."""

    @override
    def _moved(self, folder: Folder, last: str) -> Iterator[Page]:
        found, _, _ = last.partition(".")
        yield Page(folder, (), last if self.serial == 0 else f"{found}.0")
        self.serial += 1


class ForgetsItsToken(MovesItsToken):
    """Knows only the token that it said last, and before that the one of what it listed."""

    @override
    def _resume(self, box: Any, token: str) -> int:
        if "+" in token and not token.endswith(f"+{self.serial}"):
            return super()._resume(box, "forgotten")
        self.serial += 1
        return super()._resume(box, token)


class KeysByTheRun(MemorySource):
    """Has another key for a folder whenever it is opened."""

    runs = 0

    @override
    def _open(self) -> None:
        self.runs += 1

    @override
    def _folders(self) -> Iterable[Folder]:
        return [evolve(each, key=f"{each.key} {self.runs}") for each in super()._folders()]

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        for page in super()._scan(evolve(folder, key=folder.key.partition(" ")[0]), after):
            refs = tuple(evolve(ref, folder=folder.key) for ref in page.refs)
            yield evolve(page, folder=folder, refs=refs)


class Changes(MemorySource):
    """Hands over something else than there is."""

    @staticmethod
    def made(raw: bytes) -> bytes:
        """What it makes of a message."""
        return raw

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        for item in super()._fetch(refs):
            yield (
                evolve(item, raw=self.made(item.raw)) if isinstance(item, SourceMessage) else item
            )


def changing(made: Callable[[bytes], bytes]) -> type[MemorySource]:
    """A source that makes this of each message."""
    return type("Changing", (Changes,), {"made": staticmethod(made)})


class HidesTheEmpty(MemorySource):
    """Takes a message of no octets for none."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        return (item for item in super()._fetch(refs) if getattr(item, "raw", b"x"))


class GuessesSizes(MemorySource):
    """Tells the same size of every message."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        for page in super()._scan(folder, after):
            yield evolve(page, refs=tuple(evolve(ref, size=1) for ref in page.refs))


class ReadsForwardsAlone(MemorySource):
    """Leaves out what comes before what it has read."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        highest = -1
        for ref in refs:
            number = int(ref.key.partition(".")[2])
            if number > highest:
                highest = number
                yield from super()._fetch([ref])


class NeedsSomething(MemorySource):
    """Looks at the first of no refs."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        assert refs[0].key
        yield from super()._fetch(refs)


class TellsTheTimeOfDay(MemorySource):
    """Tells when a message was read for when it came."""

    serial = 0

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        for item in super()._fetch(refs):
            self.serial += 1
            now = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=self.serial)
            yield evolve(item, received_at=now) if isinstance(item, SourceMessage) else item


class LengthensItsToken(MemorySource):
    """Writes into the token that it was asked once more."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        before, mark, runs = (after or "").partition("+")
        for page in super()._scan(folder, before or None):
            before = page.token
            yield page
        yield Page(folder, (), f"{before}+{runs}{mark}")


class RemovesWhenItCloses(MemorySource):
    """Says at once that something is removed, and does it at the end, as POP3 at its QUIT."""

    later: tuple[Archived, ...] = ()

    @override
    def _remove(self, archived: Sequence[Archived]) -> Iterator[RemovalResult]:
        self.later = tuple(archived)
        return (Removed(each.ref) for each in archived)

    @override
    def _close(self) -> None:
        list(super()._remove(self.later))
        super()._close()


class PassesOverGaps(MemorySource):
    """Lists five numbers at a time, and ends where none of them is there."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        last = int((after or "1.0").split(".")[1])
        listed = [ref for page in super()._scan(folder, None) for ref in page.refs]
        there = {int(ref.key.split(".")[1]): ref for ref in listed}
        while refs := [there[uid] for uid in range(last + 1, last + 6) if uid in there]:
            last += 5
            yield Page(folder, tuple(refs), f"1.{last}")


class PassesOverTheUnreadable(MemorySource):
    """Leaves out what it cannot read, as if it were gone."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        return (each for each in super()._fetch(refs) if isinstance(each, SourceMessage))


class StopsAtTheUnreadable(MemorySource):
    """Reads nothing behind what it cannot read."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        for item in super()._fetch(refs):
            yield item
            if isinstance(item, Unavailable):
                return


class GivesUpTheUnreadable(MemorySource):
    """Never tries again what it could not read once."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        for item in super()._fetch(refs):
            yield evolve(item, permanent=True) if isinstance(item, Unavailable) else item


class ReadsTheUnreadable(MemorySource):
    """Hands over nothing but a name in the place of what it cannot read."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        for item in super()._fetch(refs):
            yield SourceMessage(item.ref, b"") if isinstance(item, Unavailable) else item


class GivesNoReason(MemorySource):
    """Says of what it cannot read that it cannot read it, and not why."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        for item in super()._fetch(refs):
            yield evolve(item, reason="") if isinstance(item, Unavailable) else item


class PassesOverTheMarked(MemorySource):
    """Takes for gone what somebody only means to take away."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        for page in super()._scan(folder, after):
            refs = (ref for ref in page.refs if "\\Deleted" not in self.flags(ref))
            yield evolve(page, refs=tuple(refs))


class HandsOverTwice(MemorySource):
    """Hands over each message once more."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        for item in super()._fetch(refs):
            yield from (item, item)


class HoldsTheFolder(MemorySource):
    """Reads every message to list them."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        held = [bytes(bytearray(raw)) for raw in self.contents(folder.key)]
        yield from super()._scan(folder, after)
        del held


class Leaks(MemorySource):
    """Leaves a file open now and then."""

    kept: ClassVar[list[object]] = []

    def leak(self) -> None:
        """Open one more, for ever."""
        self.kept.append(open(os.devnull, "rb"))  # noqa: PTH123, SIM115 - what is wrong with it


class LeaksWhenReading(Leaks):
    """At each message."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        self.leak()
        yield from super()._fetch(refs)


class LeaksWhenDropped(Leaks):
    """Where nobody reads to the end."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        try:
            yield from super()._fetch(refs)
        except GeneratorExit:
            self.leak()
            raise


class LeaksWhenRemoving(Leaks):
    """At each removal."""

    @override
    def _remove(self, archived: Sequence[Archived]) -> Iterator[RemovalResult]:
        self.leak()
        yield from super()._remove(archived)


class RemembersFlags(MemorySource):
    """Believes the flags that it has read."""

    @override
    def _remove(self, archived: Sequence[Archived]) -> Iterator[RemovalResult]:
        seen: dict[MessageRef, frozenset[str]] = getattr(self, "seen", {})
        for each in archived:
            if each.ref in seen:
                self.flag(each.ref, *seen[each.ref])
        yield from super()._remove(archived)

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        for item in super()._fetch(refs):
            if isinstance(item, SourceMessage):
                self.seen = {**getattr(self, "seen", {}), item.ref: item.flags}
            yield item


class RemembersBytes(MemorySource):
    """Compares a receipt with what it has read."""

    read: ClassVar[dict[MessageRef, Digest]] = {}

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        for item in super()._fetch(refs):
            if isinstance(item, SourceMessage):
                self.read[item.ref] = Digest.of(item.raw)
            yield item

    @override
    def _remove_one(self, archived: Archived) -> RemovalResult:
        if self.read.get(archived.ref) != archived.receipt.stored_digest:
            return Kept(archived.ref, "changed")
        self.lose(archived.ref)
        return Removed(archived.ref)


class SaysKept(MemorySource):
    """Removes, and says that it did not."""

    @override
    def _remove_one(self, archived: Archived) -> RemovalResult:
        result = super()._remove_one(archived)
        return Kept(result.ref, "not now") if isinstance(result, Removed) else result


class SaysWhoFlagged(MemorySource):
    """Gives a reason with an address in it."""

    @override
    def _remove_one(self, archived: Archived) -> RemovalResult:
        result = super()._remove_one(archived)
        why = "alice@example.com wants it"
        return Kept(result.ref, why) if isinstance(result, Kept) else result


class SaysWhoIsAway(MemorySource):
    """Puts everything off where the place is away, with an address."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        try:
            yield from super()._fetch(refs)
        except SourceUnavailable:
            yield from (Unavailable(ref, "alice@example.com is away") for ref in refs)


class SaysWhoseToken(MemorySource):
    """Refuses a token with an address."""

    @override
    def _resume(self, box: Any, token: str) -> int:
        try:
            return super()._resume(box, token)
        except CheckpointInvalid as error:
            msg = "no token of alice@example.com"
            raise CheckpointInvalid(msg, suggestions=error.suggestions) from None


class KnowsNoEpoch(MemorySource):
    """Takes a number for a name, whatever epoch it is of."""

    @override
    def _resume(self, box: Any, token: str) -> int:
        epoch, _, last = token.partition(".")
        if not epoch.isdecimal():
            return super()._resume(box, token)
        return super()._resume(box, f"{box.epoch}.{last}")


class FindsByNumber(MemorySource):
    """Looks a message up by its number alone."""

    @override
    def _find(self, ref: MessageRef) -> Any:
        box = self._boxes.get(ref.folder)
        found = re.fullmatch("[0-9]+[.]([0-9]+)", ref.key)
        return box.items.get(int(found[1])) if box and found else None


class PassesOverTheYoung(MemorySource):
    """Leaves drafts for later, and ends its page behind them."""

    @override
    def _unripe(self) -> int:
        return sum(
            "\\Draft" in item.flags for box in self._boxes.values() for item in box.items.values()
        )

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        for page in super()._scan(folder, after):
            refs = (ref for ref in page.refs if "\\Draft" not in self.flags(ref))
            yield evolve(page, refs=tuple(refs))


class ForgetsTheYoung(PassesOverTheYoung):
    """Does so, and tells of none that waits."""

    @override
    def _unripe(self) -> int:
        return 0


class ListsFoldersTwice(MemorySource):
    """Names each folder once more."""

    @override
    def _folders(self) -> Iterable[Folder]:
        return [*super()._folders()] * 2


class CallsAllTheSame(MemorySource):
    """Has one path for every folder."""

    @override
    def _folders(self) -> Iterable[Folder]:
        return [evolve(folder, path=("Mail",)) for folder in super()._folders()]


class Renames(MemorySource):
    """Calls each folder what another one is called."""

    @override
    def _folders(self) -> Iterable[Folder]:
        folders = [*super()._folders(), Folder("other", ("other",))]
        paths = [folder.path for folder in folders]
        return [evolve(f, path=path) for f, path in zip(folders, paths[::-1], strict=True)][:-1]


WHOLE, ODD = laws.every_byte_is_handed_over, laws.odd_bytes_are_handed_over


BYTES: list[tuple[str, Callable[[bytes], bytes], Law, str]] = [
    ("dots", lambda raw: raw.replace(b"\n..", b"\n."), WHOLE, "begin with dots"),
    ("the end", lambda raw: raw.partition(b"\r\n.\r\n")[0], WHOLE, "begin with dots"),
    ("From", lambda raw: re.sub(rb"(?m)^>(>*From )", rb"\1", raw), WHOLE, "begin with From"),
    (">From", lambda raw: re.sub(rb"(?m)^(>*From )", rb">\1", raw), WHOLE, "begin with From"),
    ("blanks", lambda raw: re.sub(rb"[ \t]+\r\n", b"\r\n", raw), WHOLE, "blanks at the ends"),
    ("last lines", lambda raw: raw.rstrip(b"\r\n") + b"\r\n", WHOLE, "other bytes"),
    ("folding", lambda raw: re.sub(rb"\r\n[ \t]", b" ", raw), WHOLE, "folded headers"),
    ("Status", lambda raw: re.sub(rb"(?m)^Status:.*\n", b"", raw), WHOLE, "that programs write"),
    ("Bcc", lambda raw: re.sub(rb"(?m)^Bcc:.*\n", b"", raw), WHOLE, "that programs write"),
    ("DOS", lambda raw: raw.partition(b"\x1a")[0], WHOLE, "end mark of DOS"),
    ("998", lambda raw: re.sub(rb"(\w{998})", rb"\1\r\n", raw), WHOLE, "a line of 3,000"),
    ("UTF-8", lambda raw: raw.decode("utf-8", "replace").encode(), WHOLE, "octets above 127"),
    ("NUL", lambda raw: raw.replace(b"\0", b""), ODD, "a NUL"),
    ("CR", lambda raw: re.sub(rb"\r(?!\n)", b"", raw), ODD, "a CR without LF"),
    ("LF", lambda raw: re.sub(rb"(?<!\r)\n", b"\r\n", raw), ODD, "a LF without CR"),
    ("end", lambda raw: raw if raw[-1:] in b"\n" else raw + b"\r\n", ODD, "no line end"),
    ("no header", lambda raw: raw.lstrip(b"\r\n"), ODD, "no header"),
    ("From_", lambda raw: re.sub(rb"\AFrom .*\n", b"", raw), ODD, "a From_ line"),
    ("BOM", lambda raw: raw.removeprefix(b"\xef\xbb\xbf"), ODD, "byte order mark"),
    ("large", lambda raw: raw[: 2 << 20], laws.a_large_message_is_held_alone, "2097152 octets"),
    (
        "large and empty",
        lambda raw: raw[: 2 << 20].ljust(len(raw), b"\0"),
        laws.a_large_message_is_held_alone,
        "other bytes",
    ),
]
"""What is done to bytes, and which law names it how."""

QUIET = laws.a_run_with_nothing_new_lists_nothing
GONE = laws.what_comes_after_a_loss_is_found
MOTION = laws.a_scan_goes_on_while_mail_comes_and_goes
ORDER = laws.refs_may_be_asked_for_in_any_order
FILES = laws.opening_and_closing_leaves_nothing_behind
ANEW = laws.a_folder_that_was_made_anew_is_listed_anew
YOUNG = laws.what_is_too_young_comes_later
PATHS = laws.each_folder_has_a_path_of_its_own
UNREADABLE = laws.a_message_that_cannot_be_read_harms_no_other
REMOVED = laws.removing_takes_exactly_what_has_a_receipt

ENDLESS = (NeverComesToRest, GoesRound, NamesWhatIsNotThere)
"""Sources whose scan has no end, each under tokens that change."""

BROKEN: list[tuple[type[MemorySource], Law, str]] = [
    *((changing(made), law, said) for _, made, law, said in BYTES),
    (HidesTheEmpty, ODD, "1 of 8 messages did not come, the first: no octets"),
    (GuessesSizes, WHOLE, "a size of 1 octets"),
    (HandsOverTwice, WHOLE, "handed over an item twice"),
    (ListsAcrossPages, WHOLE, "named on two pages"),
    (NeverComesToRest, QUIET, "no end: .* name nothing new, and the token changes"),
    (GoesRound, QUIET, "no end: .* name nothing new, and the token changes"),
    (NamesWhatIsNotThere, QUIET, "no end: it names more than 10000 messages"),
    (ListsAnewAfterNothing, QUIET, "another place in a later run although nothing changed"),
    (ForgetsItsToken, QUIET, "refused in a later run although nothing changed"),
    (LengthensItsToken, QUIET, "the last token grows with each run"),
    (PassesOverGaps, FILES, "a scan lists nothing of a folder with mail in it"),
    (PassesOverGaps, GONE, "a scan lists nothing of a folder with mail in it"),
    (RemovesWhenItCloses, REMOVED, "takes place when the source is closed"),
    (GivesNumbersAgain, GONE, "after others were taken away"),
    (PagesByPlace, MOTION, "passed over because others went"),
    (RunsToTheEnd, MOTION, "the last token is behind it"),
    (ReadsForwardsAlone, ORDER, "another order"),
    (NeedsSomething, ORDER, "foreign IndexError"),
    (TellsTheTimeOfDay, laws.a_vanished_message_is_left_out, "time of a message changes"),
    (HoldsTheFolder, laws.memory_is_bounded_by_a_few_messages, "to list a folder"),
    (LeaksWhenReading, FILES, "leaves a file"),
    (LeaksWhenDropped, FILES, "leaves a file"),
    (LeaksWhenRemoving, FILES, "leaves a file"),
    (PassesOverTheMarked, laws.removing_touches_nothing_else, "is passed over"),
    (RemembersFlags, laws.a_flagged_message_stays, "flagged message was removed"),
    (RemembersBytes, laws.a_message_that_was_changed_stays, "changed since was removed"),
    (SaysKept, REMOVED, "said to be kept, and is gone"),
    (SaysWhoFlagged, laws.a_flagged_message_stays, "reason of a Kept may hold an address"),
    (SaysWhoFlagged, laws.what_is_not_what_was_archived_stays, "a Kept may hold an address"),
    (SaysWhoIsAway, laws.only_our_errors_come_out, "an Unavailable may hold an address"),
    (SaysWhoseToken, laws.a_token_of_nothing_is_no_checkpoint, "Invalid may hold an address"),
    (KnowsNoEpoch, ANEW, "token of a folder"),
    (FindsByNumber, ANEW, "name of a message hands over another"),
    (PassesOverTheUnreadable, UNREADABLE, "taken for gone"),
    (StopsAtTheUnreadable, UNREADABLE, "keeps others from being read"),
    (GivesUpTheUnreadable, UNREADABLE, "given up for good"),
    (ReadsTheUnreadable, UNREADABLE, "was handed over"),
    (GivesNoReason, UNREADABLE, "for a reason"),
    (PassesOverTheYoung, YOUNG, "never listed"),
    (ForgetsTheYoung, YOUNG, "not told by `_unripe`"),
    (ListsFoldersTwice, PATHS, "listed twice"),
    (CallsAllTheSame, PATHS, "two folders have one path"),
    (Renames, PATHS, "another path than people know"),
]
"""Each broken source, the law that it breaks, and words of what the law says of it."""
