"""The laws of a run: what it archives, accounts for, and leaves alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from typing_extensions import override

from mailarchive import (
    Address,
    Archived,
    CoverageGap,
    Decoded,
    Envelope,
    Failed,
    Folder,
    Quarantined,
    Rejected,
    Skipped,
    UserId,
    Vanished,
)
from mailarchive._cli.progress import render
from mailarchive.archiver import Batching, Removal, give_up, release
from mailarchive.attribution import (
    CatchAll,
    CreateUsers,
    HoldUnowned,
    mailbox_owner,
    recipients_only,
)
from mailarchive.decoding import JournalMailbox
from mailarchive.errors import (
    AuthenticationFailed,
    CheckpointInvalid,
    DirectoryError,
    MailboxNotFound,
    MalformedReport,
    ReceiptMismatch,
    SinkUnavailable,
    SourceError,
    SourceUnavailable,
    StateError,
    Throttled,
)
from mailarchive.events import (
    BatchStored,
    CheckpointLost,
    FolderFailed,
    FolderStarted,
    PageDone,
    PageListed,
    RunFinished,
    RunStarted,
)
from mailarchive.retry import RetryingSource
from mailarchive.testing import messages, reports
from mailarchive.testing.memory import MemorySink, MemorySource, NoUsers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from support.world import World

    from mailarchive import ArchiveEntry, Page, Receipt
    from mailarchive.events import Event


def test_everything_listed_is_archived_to_the_byte(world: World) -> None:
    """Each message of each folder is in the sink, byte for byte, in the order listed."""
    messages = world.fill(25) + world.fill(3, "Sent")

    report = world.run()

    assert messages == world.archived()
    assert (report.listed, report.stored, report.failed, report.folders) == (28, 28, 0, 2)
    assert report.ok


def test_a_second_run_archives_only_what_is_new(world: World) -> None:
    """The checkpoint resumes after what is done, and nothing is read twice."""
    world.fill(25)
    world.run()
    new = world.mail(99)
    world.source.add(new)

    report = world.run()

    assert (report.listed, report.stored) == (1, 1)
    assert new == world.archived()[-1]


def test_losing_all_checkpoints_archives_nothing_twice(world: World) -> None:
    """(3) A run may repeat; the archive does not."""
    world.fill(25)
    world.run()
    world.state.saved.clear()

    report = world.run()

    assert (report.listed, report.stored, report.present) == (25, 0, 25)
    assert len(world.sink.entries) == 25


def test_a_new_epoch_lists_the_folder_anew_and_says_so(world: World) -> None:
    """A token that means nothing any more costs a listing and loses nothing."""
    world.fill(12)
    world.run()
    world.source.new_epoch("INBOX")
    world.source.add(world.mail(99))
    told: list[Event] = []

    report = world.run(observer=told.append)

    assert report.listed == 13
    assert [folder.name for folder in report.relisted] == ["INBOX"]
    assert any(isinstance(event, CheckpointLost) for event in told)
    assert "INBOX: what was listed before cannot be told from what is new" in render(report)
    assert world.run().listed == 0


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_token_that_means_nothing_is_forgotten_at_once(world: World, dry_run: bool) -> None:
    """(1) Where the folder is empty by now no page is saved, and the loss is told once."""
    refs = [world.source.add(world.mail(number)) for number in range(12)]
    world.run()
    for ref in refs:
        world.source.lose(ref)
    world.source.new_epoch("INBOX")

    reports = [world.run(dry_run=dry_run), world.run(dry_run=dry_run)]

    assert [len(report.relisted) for report in reports] == [1, int(dry_run)]
    assert (world.state.saved[-1].token is None) is not dry_run


def test_an_unavailable_item_waits_on_the_retry_list_until_it_is_readable(world: World) -> None:
    """(1) The checkpoint passes it only with the reason; a later run takes it first."""
    refs = [world.source.add(world.mail(number)) for number in range(12)]
    world.source.break_item(refs[3], "conversion failed")

    report = world.run()
    assert (report.stored, report.failed, report.waiting, report.ok) == (11, 1, 1, False)

    assert world.run().retried == 0  # not due yet
    world.wait()
    report = world.run()
    assert (report.retried, report.listed, report.failed, report.waiting) == (1, 0, 1, 1)
    assert world.state.saved[-1].retry[0].attempts == 2

    world.source.break_item(refs[3], None)
    report = world.run(retry_now=True)
    assert (report.retried, report.stored, report.waiting, report.ok) == (1, 1, 0, True)
    assert len(world.sink.entries) == 12


def test_the_wait_doubles_up_to_a_day(world: World) -> None:
    """A poison message costs less and less, and is never forgotten."""
    ref = world.source.add(world.mail(1))
    world.source.break_item(ref, "poison", permanent=True)
    world.run()
    waits = []
    for _ in range(12):
        retry = world.state.saved[-1].retry[0]
        waits.append((retry.not_before - world.now).total_seconds())
        world.now = retry.not_before
        world.run()

    assert [300.0 * 2**n for n in range(9)] == waits[:9]
    assert {86400.0} == set(waits[9:])


def test_an_operator_can_give_a_message_up(world: World) -> None:
    """Giving up takes it off the list for good, and the next run is ok again."""
    ref = world.source.add(world.mail(1))
    world.source.break_item(ref, "poison", permanent=True)
    world.run()

    given = give_up(world.state, ref)

    assert ref == given.ref
    assert world.run().ok
    with pytest.raises(StateError):
        give_up(world.state, ref)


def test_what_is_gone_before_it_is_read_has_vanished(world: World) -> None:
    """A ref that the source leaves out is accounted for as vanished."""
    refs = [world.source.add(world.mail(number)) for number in range(3)]

    def fuse(step: str) -> None:
        if step == "source: fetch":
            world.source.lose(refs[1])

    world.source.fuse = fuse
    with world.archiver().outcomes() as run:
        outcomes = list(run)

    assert [refs[1]] == [each.ref for each in outcomes if isinstance(each, Vanished)]
    assert (run.report.listed, run.report.stored, run.report.vanished) == (3, 2, 1)
    assert run.report.adds_up


def test_select_skips_with_its_reason(world: World) -> None:
    """A message for which `select` gives a reason is skipped and accounted for."""
    world.fill(4)

    with world.archiver(
        select=lambda m: "odd" if b"Subject: 3" in m.raw else None
    ).outcomes() as run:
        skipped = [each.why for each in run if isinstance(each, Skipped)]

    assert skipped == ["odd"]
    assert run.report.stored == 3


def refusing(raw: bytes, /) -> Decoded:
    """Refuse one message with a typed error and one with a crash."""
    if b"Subject: 1\r" in raw:
        raise MalformedReport("no original")
    if b"Subject: 2\r" in raw:
        raise ZeroDivisionError
    return Decoded(Envelope())


def test_what_cannot_be_decoded_goes_to_the_quarantine_whole(world: World) -> None:
    """A decode error concerns one message, and so does a decoder that breaks."""
    messages = world.fill(4)

    report = world.run(decoder=refusing)

    held = {message.raw: reason for message, reason in world.quarantine.held.values()}
    assert {messages[1], messages[2]} == set(held)
    assert held[messages[1]].startswith("malformed-report")
    assert "ZeroDivisionError" in held[messages[2]]
    assert (report.stored, report.quarantined, report.defects, report.ok) == (2, 2, 1, False)


class Picky(MemorySink):
    """A sink that takes no message with an odd subject."""

    @override
    def _put_many(self, entries: Sequence[ArchiveEntry]) -> Iterable[Receipt | Rejected]:
        for entry in entries:
            odd = b"Subject: 1\r" in entry.raw
            yield Rejected(entry.id, "too odd") if odd else self._put(entry)


def test_what_the_archive_refuses_goes_to_the_quarantine(world: World) -> None:
    """A refused entry is kept whole with the sink's reason, and the others go on."""
    world.sink = Picky()
    world.fill(3)

    report = world.run()

    assert (report.stored, report.quarantined) == (2, 1)
    ((message, reason),) = world.quarantine.held.values()
    assert b"Subject: 1\r" in message.raw
    assert "too odd" in reason


def test_a_message_has_the_owners_that_the_user_map_names(world: World) -> None:
    """Sender and recipients own it; an address that nobody knows is kept as unresolved."""
    world.source.add(world.mail(1, to="bob@corp.example, eve@elsewhere.example"))

    world.run()

    (entry,) = world.sink.entries.values()
    assert {"alice", "bob"} == entry.ownership.users
    assert {Address("eve@elsewhere.example")} == entry.ownership.unresolved


def test_the_user_map_is_asked_once_a_batch(world: World) -> None:
    """One question holds every address of the batch."""
    world.fill(20)

    world.run(batching=Batching(max_messages=10))

    assert len(world.users.questions) == 2


class Foreseeing(MemorySink):
    """Notes what it is told of, and what it is given."""

    def __init__(self) -> None:
        """Begin with nothing noted."""
        super().__init__()
        self.notes: list[tuple[str, list[bytes]]] = []

    @override
    def _foresee(self, entries: Sequence[ArchiveEntry]) -> None:
        self.notes.append(("foreseen", [entry.raw for entry in entries]))

    @override
    def _put_many(self, entries: Sequence[ArchiveEntry]) -> Iterable[Receipt | Rejected]:
        self.notes.append(("put", [entry.raw for entry in entries]))
        return super()._put_many(entries)


@pytest.mark.parametrize("removal", [Removal.never(), Removal.when_archived()])
def test_a_sink_foresees_each_batch_before_the_one_ahead_is_put(
    world: World, removal: Removal
) -> None:
    """It hears of exactly what will be put, one batch early; before a removal of nothing."""
    messages = world.fill(25)  # pages of ten
    sink = world.sink = Foreseeing()

    world.run(batching=Batching(max_messages=4), removal=removal)

    ends = ((0, 4), (4, 8), (8, 10), (10, 14), (14, 18), (18, 20), (20, 24), (24, 25))
    batches = [messages[a:b] for a, b in ends]
    starts = {3, 6} if removal.enabled else {0}  # the first ones of the later pages
    expected: list[tuple[str, list[bytes]]] = [("foreseen", batches[0])]
    for number, batch in enumerate(batches[1:], 1):
        if number not in starts:
            expected += [("foreseen", batch), ("put", batches[number - 1])]
        else:
            expected += [("put", batches[number - 1]), ("foreseen", batch)]
    assert sink.notes == [*expected, ("put", batches[-1])]


@pytest.mark.parametrize("times", [1, 2])
def test_a_folder_that_changes_while_it_is_first_listed_is_listed_once_more(
    world: World, times: int
) -> None:
    """Within the same run, and no more than once: then it is reported, and the others go on."""
    messages = world.fill(5) + world.fill(2, "Sent")
    whole, left = world.source.scan, [times]

    def scan(folder: Folder, after: str | None = None) -> Iterator[Page]:
        if folder.name == "INBOX" and left[0]:
            left[0] -= 1
            raise CheckpointInvalid("the folder was numbered anew")
        yield from whole(folder, after)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.source, "scan", scan)
        report = world.run()

    assert report.ok is (times == 1)
    assert report.relisted == ()
    assert world.archived() == (messages if times == 1 else messages[5:])


def test_what_was_read_before_the_source_failed_is_archived(world: World) -> None:
    """A page that is read counts, be the next one listed never again."""
    messages = world.fill(25)
    whole = world.source.scan

    def scan(folder: Folder, after: str | None = None) -> Iterator[Page]:
        for number, page in enumerate(whole(folder, after)):
            if number:
                raise SourceError("the second page cannot be listed")
            yield page

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.source, "scan", scan)
        report = world.run(batching=Batching(max_messages=4))

    assert not report.ok
    assert world.archived() == messages[:10]
    again = world.run()
    assert again.listed == len(messages) - 10
    assert world.archived() == messages


class FailsAhead(MemorySink):
    """Fails at what it need not do."""

    @override
    def _foresee(self, entries: Sequence[ArchiveEntry]) -> None:
        raise ZeroDivisionError


def test_a_sink_that_cannot_work_ahead_ends_no_run(world: World) -> None:
    """Foreseeing changes nothing; what counts is the put that follows."""
    messages = world.fill(25)
    world.sink = FailsAhead()

    assert world.run().ok
    assert world.archived() == messages


def test_a_dry_run_foresees_nothing(world: World) -> None:
    """What is never put is not told of."""
    world.fill(3)
    sink = world.sink = Foreseeing()

    world.run(dry_run=True)

    assert not sink.notes


def test_recipients_only_leaves_the_sender_out(world: World) -> None:
    """The attribution decides which addresses make an owner."""
    world.fill(1)
    world.run(attribution=recipients_only)

    (entry,) = world.sink.entries.values()
    assert {"bob"} == entry.ownership.users


def test_a_mailbox_belongs_to_its_owner_whatever_the_headers_say(world: World) -> None:
    """What a mail says of itself makes nobody an owner of a personal mailbox."""
    world.source.mailbox = Address("Carol@corp.example")
    world.fill(1)
    world.run(attribution=mailbox_owner)

    (entry,) = world.sink.entries.values()
    assert {"carol"} == entry.ownership.users


def test_a_message_that_nobody_owns_is_archived_unowned(world: World) -> None:
    """It is never dropped for want of an owner."""
    world.fill(2)

    report = world.run(users=NoUsers())

    assert (report.stored, report.unowned) == (2, 2)


def test_a_catch_all_user_gets_what_nobody_owns(world: World) -> None:
    """And nothing else."""
    world.fill(1)
    world.run(users=NoUsers(), unknown=CatchAll(UserId("post")))

    (entry,) = world.sink.entries.values()
    assert {"post"} == entry.ownership.users


def test_unowned_messages_can_be_held(world: World) -> None:
    """With `HoldUnowned` they are quarantined instead."""
    world.fill(2)

    report = world.run(users=NoUsers(), unknown=HoldUnowned())

    assert (report.stored, report.quarantined) == (0, 2)


def test_unknown_addresses_of_the_own_domain_can_become_users(world: World) -> None:
    """Each is created once, and an address from elsewhere never is."""
    created: list[Address] = []

    def create(address: Address) -> UserId:
        created.append(address)
        return UserId(f"new-{len(created)}")

    for _ in range(15):
        world.source.add(world.mail(len(created), to="bob@corp.example, eve@elsewhere.example"))
    world.run(users=NoUsers(), unknown=CreateUsers(create, frozenset({"Corp.Example"})))

    assert {Address("alice@corp.example"), Address("bob@corp.example")} == set(created)
    assert len(created) == 2
    assert all({"new-1", "new-2"} == e.ownership.users for e in world.sink.entries.values())


class BrokenMap:
    """A user map with a defect."""

    def resolve(self, addresses: Collection[Address], /) -> Mapping[Address, frozenset[UserId]]:
        """Break."""
        raise KeyError(addresses)


def test_a_broken_user_map_stops_the_run_with_our_error(world: World) -> None:
    """Nothing is stored without knowing whose it is."""
    world.fill(1)
    with pytest.raises(DirectoryError, match="KeyError"):
        world.run(users=BrokenMap())

    assert world.sink.entries == {}
    assert world.state.saved == []


def test_one_folder_that_fails_is_reported_and_the_others_go_on(world: World) -> None:
    """(10) The report names it and is not ok."""
    world.fill(2, "A")
    world.fill(2, "B")
    world.source.break_folder("A", MailboxNotFound("gone", suggestions=["look"]))

    report = world.run()

    assert (report.failures[0].folder.name, report.failures[0].code) == ("A", "mailbox-not-found")
    assert report.stored == 2
    assert not report.ok


def test_a_refused_login_stops_the_run(world: World) -> None:
    """Trying the next folder could lock the account."""
    world.fill(2, "A")
    world.fill(2, "B")
    world.source.break_folder("A", AuthenticationFailed("no"))
    with pytest.raises(AuthenticationFailed):
        world.run()

    assert world.sink.entries == {}


@pytest.mark.parametrize("kind", [SourceUnavailable, Throttled])
def test_a_source_that_is_gone_twice_in_a_row_stops_the_run(
    world: World, kind: type[SourceError]
) -> None:
    """One folder may break a server's connection; two in a row are the server itself.

    One that asks for a pause is not asked for the next hundred folders meanwhile.
    """
    for name in "ABCD":
        world.fill(1, name)
    world.source.break_folder("A", kind("gone"))
    world.source.break_folder("C", kind("gone"))
    assert len(world.run().failures) == 2
    world.source.break_folder("B", kind("gone"))
    with pytest.raises(kind):
        world.run()


def test_a_sink_that_fails_stops_the_run_before_the_checkpoint(world: World) -> None:
    """What has no receipt is not passed."""
    world.fill(25)

    def fuse(step: str) -> None:
        if step == "sink: put" and len(world.sink.entries) == 15:
            raise SinkUnavailable("gone")

    world.sink.fuse = fuse
    with pytest.raises(SinkUnavailable):
        world.run()
    assert world.state.saved[-1].token == "1.10"

    world.sink.fuse = lambda step: None
    report = world.run()
    assert (report.listed, report.stored, report.present) == (15, 10, 5)


class Lying(MemorySink):
    """A sink whose receipts are of other bytes."""

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        return evolve(super()._put(entry), stored_digest=entry.id)


def test_a_receipt_of_other_bytes_stops_the_run(world: World) -> None:
    """(4) An archive that stores something else cannot be trusted with the next message."""
    world.sink = Lying()
    world.fill(1)
    with pytest.raises(ReceiptMismatch):
        world.run()

    assert world.state.saved == []


def test_a_dry_run_changes_nothing_and_says_what_would_be(world: World) -> None:
    """It stores, saves, holds and removes nothing, and its counts add up."""
    world.fill(4)

    with world.archiver(decoder=refusing, dry_run=True).outcomes() as run:
        whys = [each.why for each in run if isinstance(each, Skipped)]

    assert sum(why == "dry run: would be archived" for why in whys) == 2
    assert sum(why.startswith("dry run: would be quarantined: ") for why in whys) == 2
    assert run.report.adds_up
    assert (run.report.would_archive, run.report.would_quarantine, run.report.skipped) == (2, 2, 4)
    assert run.report.size == sum(map(len, world.source.contents())) - sum(
        len(raw) for raw in world.source.contents() if b"Subject: 1" in raw or b"Subject: 2" in raw
    )
    assert (world.sink.entries, world.quarantine.held, world.state.saved) == ({}, {}, [])
    assert len(world.source.contents()) == 4


def test_a_dry_run_tells_what_is_left_out_from_what_would_be_archived(world: World) -> None:
    """What `select` leaves out is skipped in every run; the rest only in this one."""
    world.fill(4)
    settings = {"select": lambda m: "odd" if b"Subject: 3" in m.raw else None}

    dry = world.run(dry_run=True, **settings)
    wet = world.run(**settings)

    assert (dry.skipped, dry.would_archive, dry.size) == (4, wet.stored, wet.size)
    assert (wet.skipped, wet.would_archive, wet.would_quarantine) == (1, 0, 0)


def test_dropping_the_iterator_loses_nothing(world: World) -> None:
    """(9) Whatever was yielded is accounted for; the rest comes with the next run."""
    messages = world.fill(25)
    with world.archiver().outcomes() as run:
        first = [next(run) for _ in range(3)]
    assert world.source.calls[-1] == "close"
    assert all(isinstance(each, Archived) for each in first)

    world.run()

    assert messages == world.archived()


def test_outcomes_come_only_after_their_checkpoint(world: World) -> None:
    """(9) When the first outcome of a page is seen, its checkpoint is saved already."""
    world.fill(25)
    with world.archiver().outcomes() as run:
        for count, _ in enumerate(run):
            assert f"1.{min((count // 10 + 1) * 10, 25)}" == world.state.saved[-1].token


def test_failed_outcomes_name_the_reason(world: World) -> None:
    """The outcome of an unavailable item says why."""
    ref = world.source.add(world.mail(1))
    world.source.break_item(ref, "conversion failed")
    with world.archiver().outcomes() as run:
        assert [Failed(ref, "conversion failed")] == list(run)


def test_quarantined_outcomes_have_a_receipt(world: World) -> None:
    """The outcome of a quarantined message says where it is kept and why."""
    world.fill(2)
    with world.archiver(decoder=refusing).outcomes() as run:
        (held,) = [each for each in run if isinstance(each, Quarantined)]

    assert held.receipt.entry_id in world.quarantine.held


def test_an_observer_hears_of_each_step_in_order(world: World) -> None:
    """Events tell the course of a run."""
    world.fill(12)
    told: list[Event] = []
    world.run(observer=told.append)

    kinds = [type(event) for event in told]
    assert [
        RunStarted,
        FolderStarted,
        *[PageListed, BatchStored, PageDone] * 2,
        RunFinished,
    ] == kinds


def test_an_observer_that_breaks_is_counted_and_harms_nothing(world: World) -> None:
    """An observer only watches."""
    world.fill(2)

    def broken(event: Event) -> None:
        raise ValueError(event)

    report = world.run(observer=broken)

    assert report.stored == 2
    assert report.observer_errors == 6
    assert report.ok


def test_a_failing_folder_is_told(world: World) -> None:
    """An observer hears of a folder that failed."""
    world.fill(1, "A")
    world.source.break_folder("A", SourceError("broken"))
    told: list[Event] = []
    world.run(observer=told.append)

    assert any(isinstance(event, FolderFailed) and event.code == "source" for event in told)


def test_the_source_is_used_by_one_thread_only(world: World) -> None:
    """Every call to a source, from open to close, comes from one and the same thread."""
    import threading

    threads: set[int] = set()

    def fuse(step: str) -> None:
        threads.add(threading.get_ident())

    world.source.fuse = fuse
    world.fill(25)
    world.run()

    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_batches_are_cut_by_bytes_and_by_count(world: World) -> None:
    """No batch holds more than its bounds, unless one message alone does."""
    sizes: list[int] = []

    class Counting(MemorySink):
        """A sink that notes how much each batch holds."""

        @override
        def _put_many(self, entries: Sequence[ArchiveEntry]) -> Iterable[Receipt | Rejected]:
            sizes.append(sum(len(entry.raw) for entry in entries))
            return super()._put_many(entries)

    world.sink = Counting()
    for number in range(9):
        world.source.add(world.mail(number, size=1000 if number != 4 else 9000))

    world.run(batching=Batching(max_bytes=4000, read_ahead=2000))

    assert all(size <= 4000 for size in sizes if size < 9000)
    assert len(world.sink.entries) == 9


def test_a_released_message_belongs_to_the_named_owners_only(world: World) -> None:
    """Nothing inside a message that could not be trusted makes an owner of it."""
    world.fill(2)
    world.run(decoder=refusing)
    ((message, _),) = world.quarantine.held.values()

    release(message, world.sink, [UserId("carol")])

    released = list(world.sink.entries.values())[-1]
    assert {"carol"} == released.ownership.users
    assert message.raw == released.raw


def test_of_a_released_report_the_owners_see_the_message(world: World) -> None:
    """As any recipient would: the report names everybody, and is none of theirs."""
    original = messages.message(bcc=["dave@corp.example"])
    raw = reports.report(original, recipients=[reports.recipient("dave@corp.example", "bcc")])
    world.source.add(raw)
    world.run(decoder=JournalMailbox(), users=NoUsers(), unknown=HoldUnowned())
    ((message, _),) = world.quarantine.held.values()

    release(message, world.sink, [UserId("carol")])

    (released,) = world.sink.entries.values()
    assert (released.raw, released.content) == (raw, original)
    assert released.provenance.is_report
    assert {"carol"} == released.ownership.users
    assert "released" in released.provenance.defects


def test_of_a_released_report_that_was_not_believed_the_owners_see_the_message(
    world: World,
) -> None:
    """Whatever it was held for: what its text says of others is none of theirs."""
    answer = messages.message(subject="RE: x\r\nBcc: mallory@corp.example")
    world.source.add(reports.report(answer, dialect="managed-folder"))
    world.run(decoder=JournalMailbox())
    ((message, _),) = world.quarantine.held.values()

    release(message, world.sink, [UserId("carol")])

    (released,) = world.sink.entries.values()
    assert released.content == answer
    assert released.provenance.is_report


def test_folders_that_were_left_out_are_said(world: World) -> None:
    """The report names what is at the source and was not asked for."""
    world.fill(1)
    world.source.left_out = (Folder("Junk", ("Junk",)),)

    assert [folder.name for folder in world.run().left_out] == ["Junk"]


def test_what_a_source_cannot_reach_is_said(world: World) -> None:
    """A gap is in the report, also through the decorator that tries again, and is no failure."""

    class Gapped(MemorySource):
        """Has an archive mailbox that nobody can read."""

        @override
        def _gaps(self) -> Iterable[CoverageGap]:
            return [CoverageGap("in-place-archive", "the archive mailbox", count=3)]

    world.source = Gapped()
    world.fill(1)
    report = evolve(world.archiver(), source=RetryingSource(world.source)).run()

    assert [gap.code for gap in report.gaps] == ["in-place-archive"]
    assert report.ok
    assert "not reached: the archive mailbox" in render(report)


def test_what_waits_at_the_source_is_counted_and_fails_nothing(world: World) -> None:
    """Nor does what fits no folder; both go through the decorator that tries again."""

    class Young(MemorySource):
        """Has seen three messages that are not old enough."""

        @override
        def _folders(self) -> Iterable[Folder]:
            self.unmatched = ("Privat/*",)
            return super()._folders()

        @override
        def _unripe(self) -> int:
            return 3

    world.source = Young()
    world.fill(1)
    report = evolve(world.archiver(), source=RetryingSource(world.source)).run()

    assert (report.unripe, report.unmatched) == (3, ("Privat/*",))
    assert report.ok
    assert report.adds_up
    assert "3  not ripe" in render(report)


class Letters:
    """A user map that answers with a text instead of a set of users."""

    def resolve(self, addresses: Collection[Address], /) -> Mapping[Address, frozenset[UserId]]:
        """Answer wrongly."""
        return dict.fromkeys(addresses, "bob")  # type: ignore[arg-type]  # the defect


def test_a_user_map_that_answers_with_a_text_stops_the_run(world: World) -> None:
    """Its letters would become owners."""
    world.fill(1)
    with pytest.raises(DirectoryError):
        world.run(users=Letters())

    assert world.sink.entries == {}
