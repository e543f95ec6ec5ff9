"""The contract of a source is worth something: each law fails for a source that breaks it."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from attrs import evolve, field, frozen
from support import broken_memory
from support.imap import QUICK, scripted
from support.imap_worlds import BOTH, ELSEWHERE, LIMITS, OnAScript, OnServer
from typing_extensions import override

from mailarchive import (
    Archived,
    Folder,
    MessageRef,
    Page,
    Removed,
    SourceMessage,
    Unavailable,
    Vanished,
)
from mailarchive.auth import Password
from mailarchive.errors import CheckpointInvalid, SourceUnavailable
from mailarchive.sources.imap import ImapSource, Recheck
from mailarchive.testing import source_laws as laws
from mailarchive.testing.imap_server import ImapServer
from mailarchive.testing.source_contract import SourceContract

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from support.imap import Mailbox

    from mailarchive import RemovalResult
    from mailarchive.abc import Source
    from mailarchive.sources._imap_session import Session
    from mailarchive.testing.source_laws import Law

SERIAL = count()


class LosesOne(ImapSource):
    """Leaves out a message that is there."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        yield from super()._fetch(refs[1:])


class KeysOnMessageId(ImapSource):
    """Takes two mails with one Message-ID for one."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        seen: set[bytes] = set()
        for item in super()._fetch(refs):
            name = item.raw.partition(b"\r\n")[0] if isinstance(item, SourceMessage) else b""
            if not name.startswith(b"Message-ID") or name not in seen:
                yield item
            seen.add(name)


class SwallowsTwins(ImapSource):
    """Takes two mails with the same bytes for one."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        seen: set[bytes] = set()
        for item in super()._fetch(refs):
            if isinstance(item, SourceMessage) and item.raw not in seen:
                seen.add(item.raw)
                yield item


class RunsAhead(ImapSource):
    """Gives every page the token that belongs behind the last one."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        pages = list(super()._scan(folder, after))
        yield from (evolve(page, token=pages[-1].token) for page in pages)


class ListsOnePage(ImapSource):
    """Has no more once a page was full."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        yield next(iter(super()._scan(folder, after)))


class CountsPlaces(ImapSource):
    """Takes the number of messages that it has listed for a place to go on from."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        known = int(after or 0)
        refs = [ref for page in super()._scan(folder, None) for ref in page.refs]
        if refs[known:]:
            yield Page(folder, tuple(refs[known:]), str(len(refs)))


class PilesUp(ImapSource):
    """Opens a file each time, and keeps it."""

    kept: ClassVar[list[object]] = []

    @override
    def _open(self) -> None:
        super()._open()
        self.kept.append(Path(os.devnull).open("rb"))  # noqa: SIM115 - that is what is wrong with it


class Rewrites(ImapSource):
    """Ends lines as it likes."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        for item in super()._fetch(refs):
            if isinstance(item, SourceMessage):
                yield evolve(item, raw=item.raw.replace(b"\r\n", b"\n"))


class ForgetsTheZone(ImapSource):
    """Tells times as the clock on its wall does."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        for item in super()._fetch(refs):
            if isinstance(item, SourceMessage) and item.received_at is not None:
                yield evolve(item, received_at=item.received_at.replace(tzinfo=None))


class CannotBeEmpty(ImapSource):
    """Looks at the last message whether or not there is one."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        pages = list(super()._scan(folder, after))
        assert pages[-1].token
        yield from pages


class StumblesOverRefs(ImapSource):
    """Believes that every ref is one of its own."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        assert all(int(ref.key.split(".")[-1]) >= 0 for ref in refs)
        yield from super()._fetch(refs)


class FindsEverything(ImapSource):
    """Has only one folder, and takes every name for it."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        for page in super()._scan(evolve(folder, key="INBOX"), after):
            refs = tuple(evolve(ref, folder=folder.key) for ref in page.refs)
            yield evolve(page, folder=folder, refs=refs)


class NamesSomebody(ImapSource):
    """Says in every log whose mailbox it is."""

    @override
    def __init__(self, host: str, **settings: Any) -> None:
        super().__init__(host, **settings)
        self.name = "imap:alice@example.com"


class ListsTwice(ImapSource):
    """Begins each scan a little too early."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        if after is not None:
            epoch, uid = after.split(".")
            after = f"{epoch}.{int(uid) - 1}"
        yield from super()._scan(folder, after)


class Skips(ImapSource):
    """Begins each scan a little too late."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        if after is not None and "." in after:
            epoch, uid = after.split(".")
            after = f"{epoch}.{int(uid) + 1}"
        yield from super()._scan(folder, after)


class TakesAnyToken(ImapSource):
    """Begins at the beginning where it does not know where it was."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        try:
            yield from super()._scan(folder, after)
        except CheckpointInvalid:
            yield from super()._scan(folder, None)


class Marks(ImapSource):
    """Marks what it reads."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        session = self._line.session()
        session.tell(b"SELECT INBOX")
        session.tell(b"UID STORE 1 +FLAGS (\\Seen)")
        session.selected = None
        yield from super()._fetch(refs)


class ComplainsOfTheGone(ImapSource):
    """Takes a message that is gone for one that cannot be had."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        missing = set(refs)
        for item in super()._fetch(refs):
            missing.discard(item.ref)
            yield item
        yield from (Unavailable(ref, "not there") for ref in missing)


class GuessesRefs(ImapSource):
    """Hands over the first message for a ref that it never gave."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        for item in super()._fetch([ref for ref in refs if ref.key != "nothing"]):
            yield item
            if isinstance(item, SourceMessage):
                yield from (evolve(item, ref=ref) for ref in refs if ref.key == "nothing")
                refs = []


class ReadsOnce(ImapSource):
    """Hands over nothing more once a reader has stopped half way."""

    stopped = False

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        try:
            for item in super()._fetch(refs):
                if not self.stopped:
                    yield item
        except GeneratorExit:
            self.stopped = True
            raise


class Hoards(ImapSource):
    """Reads a page into memory before it hands over the first message."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        yield from list(super()._fetch(refs))


class Renames(ImapSource):
    """Is called something else each time."""

    @override
    def _open(self) -> None:
        super()._open()
        self.name = f"source-{next(SERIAL)}"


class TakesTheNeighbour(ImapSource):
    """Removes one more than it was told to."""

    @override
    def _remove(self, archived: Sequence[Archived]) -> Iterator[RemovalResult]:
        yield from super()._remove(archived)
        session = self._line.session()
        session.tell(b"SELECT INBOX")
        session.tell(b"UID STORE 1 +FLAGS (\\Deleted)")
        session.tell(b"UID EXPUNGE 1")
        session.selected = None


class ExpungesEverything(ImapSource):
    """Takes away with its own what somebody else has marked, as a plain EXPUNGE does."""

    @override
    def _remove(self, archived: Sequence[Archived]) -> Iterator[RemovalResult]:
        yield from super()._remove(archived)
        session = self._line.session()
        session.tell(b"SELECT INBOX")
        session.tell(b"EXPUNGE")
        session.selected = None


class MarksTheRest(ImapSource):
    """Leaves what stays as if somebody had read and answered it."""

    @override
    def _remove(self, archived: Sequence[Archived]) -> Iterator[RemovalResult]:
        yield from super()._remove(archived)
        session = self._line.session()
        session.tell(b"SELECT INBOX")
        session.tell(b"UID STORE 1:* +FLAGS.SILENT (\\Seen \\Answered)")
        session.selected = None


class RemovesNothing(ImapSource):
    """Says that it did."""

    @override
    def _remove(self, archived: Sequence[Archived]) -> Iterator[RemovalResult]:
        yield from (Removed(each.ref) for each in archived)


class ComparesNothing(ImapSource):
    """Removes whatever has the right number."""

    @override
    def __init__(self, host: str, **settings: Any) -> None:
        super().__init__(host, **settings, recheck=Recheck.SIZE)


class SaysRemovedAgain(ImapSource):
    """Claims what it has not done."""

    @override
    def _remove(self, archived: Sequence[Archived]) -> Iterator[RemovalResult]:
        for result in super()._remove(archived):
            yield Removed(result.ref) if isinstance(result, Vanished) else result


class DisregardsFlags(ImapSource):
    """Removes what somebody wants to come back to."""

    @override
    def _remove(self, archived: Sequence[Archived]) -> Iterator[RemovalResult]:
        session = self._line.session()
        session.tell(b"SELECT INBOX")
        session.tell(b"UID STORE 1:* -FLAGS (\\Flagged)")
        session.selected = None
        yield from super()._remove(archived)


class FetchesFromTheFirst(ImapSource):
    """Lists each folder, and reads the numbers of all of them in the first."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        asked = {evolve(ref, folder="INBOX"): ref for ref in refs}
        for item in super()._fetch(list(asked)):
            yield evolve(item, ref=asked[item.ref])


class ReadsTheFirstFolder(FetchesFromTheFirst):
    """Gives what is in the first folder for every other one."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        for page in super()._scan(evolve(folder, key="INBOX"), after):
            refs = tuple(evolve(ref, folder=folder.key) for ref in page.refs)
            yield evolve(page, folder=folder, refs=refs)


class ResumesTheFirst(ImapSource):
    """Takes every token for one of the first folder."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        place = folder if after is None else evolve(folder, key="INBOX")
        for page in super()._scan(place, after):
            refs = tuple(evolve(ref, folder=folder.key) for ref in page.refs)
            yield evolve(page, folder=folder, refs=refs)


class MarksElsewhere(ImapSource):
    """Marks as read what is in another folder."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        _mark_elsewhere(self._line.session())
        yield from super()._fetch(refs)


class RemovesElsewhere(ImapSource):
    """Looks for what it removes in the folder that it had selected last."""

    @override
    def _remove(self, archived: Sequence[Archived]) -> Iterator[RemovalResult]:
        yield from super()._remove(archived)
        _mark_elsewhere(self._line.session())


def _mark_elsewhere(session: Session) -> None:
    session.tell(b"SELECT " + ELSEWHERE.encode())
    session.tell(b"UID STORE 2 +FLAGS.SILENT (\\Seen)")
    session.selected = None


class LetsItsClientOut(ImapSource):
    """Raises what the library below it raises."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        try:
            yield from super()._scan(folder, after)
        except SourceUnavailable:
            raise EOFError from None


class NamesTheMailbox(ImapSource):
    """Says whose mailbox it is that cannot be read."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        try:
            yield from super()._scan(folder, after)
        except SourceUnavailable as error:
            msg = "the mailbox of alice@example.com is away"
            raise SourceUnavailable(msg, suggestions=error.suggestions) from error


class LooksEmpty(ImapSource):
    """Lists nothing from a server that is away."""

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        with suppress(SourceUnavailable):
            yield from super()._scan(folder, after)


class HasNoFolders(ImapSource):
    """Knows no folder of a server that is away."""

    @override
    def _folders(self) -> Iterable[Folder]:
        try:
            return [*super()._folders()]
        except SourceUnavailable:
            return []


class TakesTroubleForGone(ImapSource):
    """Leaves out what a server does not hand over because it is away."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        with suppress(SourceUnavailable):
            yield from super()._fetch(refs)


class GivesUpForGood(ImapSource):
    """Takes an hour's trouble for the end of a message."""

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        left = set(refs)
        try:
            for item in super()._fetch(refs):
                left.discard(item.ref)
                yield item
        except SourceUnavailable:
            yield from (Unavailable(ref, "away", permanent=True) for ref in left)


class TakesTroubleForRemoved(ImapSource):
    """Says that it removed what it could not ask for."""

    @override
    def _remove(self, archived: Sequence[Archived]) -> Iterator[RemovalResult]:
        try:
            yield from super()._remove(archived)
        except SourceUnavailable:
            yield from (Removed(each.ref) for each in archived)


class NeverRecovers(ImapSource):
    """Believes for ever that the server is away, having seen it once."""

    away: SourceUnavailable | None = None

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        if self.away is not None:
            raise self.away
        try:
            yield from super()._fetch(refs)
        except SourceUnavailable as error:
            self.away = error
            raise


@frozen
class Broken(OnAScript):
    """A world whose source breaks a law."""

    kind: type[ImapSource]

    @override
    def source(self) -> Source:
        """The source that breaks it."""
        return self.kind(
            self.server.host,
            port=self.server.port,
            auth=Password("alice@example.com", "secret"),
            security="plain",
            allow_plaintext=True,
            folders=BOTH,
            limits=evolve(QUICK, page=5),
        )


@frozen
class BrokenOnServer(OnServer):
    """The same on a real server."""

    kind: type[ImapSource] = field(kw_only=True)

    @override
    def source(self) -> Source:
        """The source that breaks a law."""
        return self.mailbox.source(self.kind, folders=BOTH, limits=LIMITS)


BROKEN: list[tuple[type[ImapSource], Law, str]] = [
    (LosesOne, laws.every_byte_is_handed_over, "did not come"),
    (Rewrites, laws.every_byte_is_handed_over, "other bytes"),
    (ForgetsTheZone, laws.every_byte_is_handed_over, "without a zone"),
    (KeysOnMessageId, laws.a_message_id_is_no_identity, "same Message-ID"),
    (SwallowsTwins, laws.a_message_id_is_no_identity, "the same bytes"),
    (RunsAhead, laws.scanning_resumes_right_after_each_token, "left something out"),
    (ListsOnePage, laws.scanning_resumes_right_after_each_token, "does not list everything"),
    (CountsPlaces, laws.what_comes_after_a_loss_is_found, "after others were taken away"),
    (PilesUp, laws.opening_and_closing_leaves_nothing_behind, "leaves a file"),
    (ListsTwice, laws.scanning_resumes_right_after_each_token, "gave it twice"),
    (Skips, laws.scanning_resumes_right_after_each_token, "left something out"),
    (ListsTwice, laws.a_run_with_nothing_new_lists_nothing, "listed as new"),
    (Skips, laws.what_comes_later_is_found, "came later"),
    (CannotBeEmpty, laws.an_empty_folder_is_no_error, "foreign IndexError"),
    (TakesAnyToken, laws.a_token_of_nothing_is_no_checkpoint, "taken for one"),
    (Marks, laws.reading_leaves_no_trace, "reading changed something"),
    (ComplainsOfTheGone, laws.a_vanished_message_is_left_out, "simply left out"),
    (GuessesRefs, laws.a_ref_of_nothing_harms_nothing, "never given"),
    (StumblesOverRefs, laws.a_ref_of_nothing_harms_nothing, "foreign ValueError"),
    (FindsEverything, laws.a_folder_of_nothing_harms_nothing, "not there"),
    (ReadsOnce, laws.an_abandoned_fetch_harms_nothing, "dropped"),
    (Hoards, laws.memory_is_bounded_by_a_few_messages, "held as a whole"),
    (Hoards, laws.a_large_message_is_held_alone, "while small ones were read"),
    (Renames, laws.names_tell_nobody_and_last, "changed the name"),
    (NamesSomebody, laws.names_tell_nobody_and_last, "hold an address"),
    (ReadsTheFirstFolder, laws.every_byte_is_handed_over, "other bytes"),
    (FetchesFromTheFirst, laws.every_byte_is_handed_over, "other bytes"),
    (ResumesTheFirst, laws.no_folder_is_taken_for_another, "token of one folder"),
    (ResumesTheFirst, laws.scanning_resumes_right_after_each_token, "left something out"),
    (MarksElsewhere, laws.reading_leaves_no_trace, "reading changed something"),
    (ReadsTheFirstFolder, laws.no_folder_is_taken_for_another, "in another one"),
    (FetchesFromTheFirst, laws.no_folder_is_taken_for_another, "in another one"),
    (RemovesElsewhere, laws.no_folder_is_taken_for_another, "changed another one"),
    (LetsItsClientOut, laws.only_our_errors_come_out, "foreign EOFError"),
    (NamesTheMailbox, laws.only_our_errors_come_out, "may hold an address"),
    (LooksEmpty, laws.only_our_errors_come_out, "taken for an empty one"),
    (HasNoFolders, laws.only_our_errors_come_out, "no folders any more"),
    (TakesTroubleForGone, laws.only_our_errors_come_out, "taken for gone"),
    (GivesUpForGood, laws.only_our_errors_come_out, "given up for good"),
    (TakesTroubleForRemoved, laws.only_our_errors_come_out, "taken for removed"),
    (NeverRecovers, laws.only_our_errors_come_out, "raises SourceUnavailable"),
    (TakesTheNeighbour, laws.removing_takes_exactly_what_has_a_receipt, "something else"),
    (RemovesNothing, laws.removing_takes_exactly_what_has_a_receipt, "still there"),
    (MarksTheRest, laws.removing_takes_exactly_what_has_a_receipt, "not what it was"),
    (ExpungesEverything, laws.removing_touches_nothing_else, "not to be removed was taken away"),
    (MarksTheRest, laws.removing_touches_nothing_else, "or marked"),
    (SaysRemovedAgain, laws.removing_again_is_harmless, "gone already"),
    (DisregardsFlags, laws.a_flagged_message_stays, "flagged message was removed"),
    (ComparesNothing, laws.what_is_not_what_was_archived_stays, "other bytes than archived"),
]
"""Each broken source, the law that it breaks, and words of what the law says of it."""


@pytest.mark.parametrize(("kind", "law", "said"), BROKEN)
def test_a_source_that_breaks_a_law_fails_it(kind: type[ImapSource], law: Law, said: str) -> None:
    """The law names the fault; no other source is needed to see that it can fail."""
    with ImapServer({"INBOX": []}) as server, pytest.raises(AssertionError, match=said):
        law(Broken(server, kind))


@pytest.mark.parametrize("kind", [ExpungesEverything, MarksTheRest, TakesTheNeighbour])
def test_what_a_removal_does_to_others_is_seen_on_a_real_server(
    mailbox: Mailbox, kind: type[ImapSource]
) -> None:
    """A server that does as it is told tells what was done to the others."""
    with pytest.raises(AssertionError, match="not to be removed was taken away"):
        laws.removing_touches_nothing_else(BrokenOnServer(mailbox, kind=kind))


def test_a_world_without_a_second_page_is_told_so() -> None:
    """Where nobody sees the end of a page, nobody sees what is wrong with it."""

    class Large(OnAScript):
        """Has pages that no law fills."""

        @override
        def source(self) -> Source:
            """With everything on one."""
            return scripted(self.server, limits=evolve(QUICK, page=10_000))

    with ImapServer({"INBOX": []}) as server, pytest.raises(AssertionError, match="small pages"):
        laws.scanning_resumes_right_after_each_token(Large(server))


def test_a_law_that_was_not_tried_is_told(mailbox: Mailbox) -> None:
    """Where nobody can break the place the test is skipped, and says which hand is missing."""

    class TestUnbreakable(SourceContract):
        """The laws of a world without a door to shut."""

    world = OnServer(mailbox)

    assert isinstance(laws.only_our_errors_come_out(world), laws.NotTried)
    with pytest.raises(pytest.skip.Exception, match=r"not tried: .* `broken`"):
        TestUnbreakable().test_only_our_errors_come_out(world)


def test_every_law_has_somebody_who_breaks_it() -> None:
    """A law that cannot fail is none."""
    assert {law for _, law, _ in [*BROKEN, *broken_memory.BROKEN]} == set(laws.LAWS)


def test_a_law_cannot_be_overridden() -> None:
    """A test of the same name would stand in its place and see nothing."""
    name = "test_every_byte_is_handed_over"
    with pytest.raises(TypeError, match=name):
        type("TestMine", (SourceContract,), {name: lambda self: None})
