"""Sinks that are broken on purpose, each in one way that archives in use are broken in.

`OneFileEach` is sound, and short; every other class here changes one step of it.  `BROKEN`
says which law catches which, and in what words, so that whoever changes a law, or writes
one, can see that it still bites::

    for broken in BROKEN:
        with pytest.raises(AssertionError, match=broken.fault):
            broken.law(partial(broken.sink, folder))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from mailarchive.testing import sink_laws as laws
from mailarchive.testing._broken_lasting import (
    AcknowledgesBeforeSync,
    AcknowledgesFromItsBuffer,
    AsksAgainAfterManySyncs,
    AsksAgainForASync,
    AsksAgainWhenPutAgain,
    BelievesTheDead,
    BelievesTheDeadAfterManySyncs,
    CleansUpWhatIsUncertain,
    DisregardsTheFolder,
    DisregardsTheSync,
    DisregardsTheSyncAfterMany,
    ForgetsTheFolder,
    ForgetsWhenClosed,
    NotesWhatItHasAtTheEnd,
    SyncsTheLastOfABatch,
    WritesInPlace,
)
from mailarchive.testing._broken_nearly import (
    ForgetsWhoseItIs,
    KnowsTheOwners,
    KnowsWhatWasThereAtFirst,
    LeavesBlindCopiesOut,
    LeavesFilesOpenWhenItFails,
    LosesTheEndOfABlock,
    QuotesWhatItRejects,
    SharesItsPlace,
    ShortensIds,
    ShowsTheFirstCopy,
    ShowsTheFirstOwner,
    UnpacksWhatIsPacked,
)
from mailarchive.testing._broken_seldom import (
    BreaksWhenItForesees,
    DisregardsHowMuchWasWritten,
    KeepsWhatItForesees,
    NamesFilesByHash,
    PutsWhatWasForeseenLast,
    QuotesTheMail,
    RaisesItsOwn,
    RejectsWhenTheDiskFails,
    RewritesItsList,
    StoresAPageOfABatch,
    StoresWhatHasItsDigest,
    StoresWhatItForesees,
    TakesForeseenForStored,
)
from mailarchive.testing._broken_storing import (
    AnswersInItsOwnWay,
    BelievesMessageIds,
    ClaimsToRead,
    CountsFromWhenItWasOpened,
    CutsLargeMessages,
    ForgetsTheOldest,
    KeepsEverything,
    KeepsTheLatestCopy,
    KnowsSevenBits,
    LeavesFilesOpen,
    LetsErrorsOut,
    MindsTheEnd,
    NamesFilesAfterMails,
    NormalisesLineEnds,
    OneFileAnItem,
    OverwritesOnConflict,
    Panics,
    PromisesLess,
    QuotesFrom,
    RacesWithItself,
    SaysAnotherDigest,
    ShowsOthersMail,
    StopsAtNul,
    StoresAgain,
    TakesDotsAway,
    VerifiesAgainstItself,
)
from mailarchive.testing._one_file_each import OneFileEach

if TYPE_CHECKING:
    from mailarchive.testing.sink_laws import Law

__all__ = [
    "BROKEN",
    "AcknowledgesBeforeSync",
    "AcknowledgesFromItsBuffer",
    "AnswersInItsOwnWay",
    "AsksAgainAfterManySyncs",
    "AsksAgainForASync",
    "AsksAgainWhenPutAgain",
    "BelievesMessageIds",
    "BelievesTheDead",
    "BelievesTheDeadAfterManySyncs",
    "BreaksWhenItForesees",
    "Broken",
    "ClaimsToRead",
    "CleansUpWhatIsUncertain",
    "CountsFromWhenItWasOpened",
    "CutsLargeMessages",
    "DisregardsHowMuchWasWritten",
    "DisregardsTheFolder",
    "DisregardsTheSync",
    "DisregardsTheSyncAfterMany",
    "ForgetsTheFolder",
    "ForgetsTheOldest",
    "ForgetsWhenClosed",
    "ForgetsWhoseItIs",
    "KeepsEverything",
    "KeepsTheLatestCopy",
    "KeepsWhatItForesees",
    "KnowsSevenBits",
    "KnowsTheOwners",
    "KnowsWhatWasThereAtFirst",
    "LeavesBlindCopiesOut",
    "LeavesFilesOpen",
    "LeavesFilesOpenWhenItFails",
    "LetsErrorsOut",
    "LosesTheEndOfABlock",
    "MindsTheEnd",
    "NamesFilesAfterMails",
    "NamesFilesByHash",
    "NormalisesLineEnds",
    "NotesWhatItHasAtTheEnd",
    "OneFileAnItem",
    "OneFileEach",
    "OverwritesOnConflict",
    "Panics",
    "PromisesLess",
    "PutsWhatWasForeseenLast",
    "QuotesFrom",
    "QuotesTheMail",
    "QuotesWhatItRejects",
    "RacesWithItself",
    "RaisesItsOwn",
    "RejectsWhenTheDiskFails",
    "RewritesItsList",
    "SaysAnotherDigest",
    "SharesItsPlace",
    "ShortensIds",
    "ShowsOthersMail",
    "ShowsTheFirstCopy",
    "ShowsTheFirstOwner",
    "StopsAtNul",
    "StoresAPageOfABatch",
    "StoresAgain",
    "StoresWhatHasItsDigest",
    "StoresWhatItForesees",
    "SyncsTheLastOfABatch",
    "TakesDotsAway",
    "TakesForeseenForStored",
    "UnpacksWhatIsPacked",
    "VerifiesAgainstItself",
    "WritesInPlace",
]


@frozen
class Broken:
    """A broken sink, the law that catches it, and words that are in what the law says."""

    sink: type[OneFileEach]
    law: Law
    fault: str


BROKEN = (
    Broken(StoresAgain, laws.an_entry_is_stored_once, "a second time"),
    Broken(AnswersInItsOwnWay, laws.an_entry_is_stored_once, "ReceiptMismatch"),
    Broken(KnowsTheOwners, laws.an_entry_is_stored_once, "with other owners"),
    Broken(ShortensIds, laws.an_entry_is_stored_once, "a like id"),
    Broken(OneFileAnItem, laws.other_bytes_of_one_item_are_both_kept, "with other bytes"),
    Broken(OverwritesOnConflict, laws.a_rendered_item_keeps_its_first_bytes, "first receipt"),
    Broken(BelievesMessageIds, laws.a_message_id_is_no_identity, "same Message-ID"),
    Broken(
        KeepsTheLatestCopy, laws.equal_bytes_of_two_copies_are_both_acknowledged, "SinkCorrupt"
    ),
    Broken(ForgetsTheOldest, laws.any_order_and_any_split_gives_one_archive, "stored twice"),
    Broken(TakesForeseenForStored, laws.foreseeing_changes_nothing, "only foreseen"),
    Broken(PutsWhatWasForeseenLast, laws.foreseeing_changes_nothing, "were foreseen and put"),
    Broken(StoresWhatItForesees, laws.foreseeing_changes_nothing, "only foreseen"),
    Broken(StoresWhatHasItsDigest, laws.foreseeing_changes_nothing, "only foreseen"),
    Broken(BreaksWhenItForesees, laws.foreseeing_changes_nothing, "NotImplementedError"),
    Broken(StoresAPageOfABatch, laws.foreseeing_changes_nothing, "one of 200"),
    Broken(NormalisesLineEnds, laws.every_byte_comes_back, "bare LF"),
    Broken(StopsAtNul, laws.every_byte_comes_back, "NUL in the body"),
    Broken(KnowsSevenBits, laws.every_byte_comes_back, "every byte there is"),
    Broken(MindsTheEnd, laws.every_byte_comes_back, "a message of one byte"),
    Broken(QuotesFrom, laws.every_byte_comes_back, "From_ lines"),
    Broken(TakesDotsAway, laws.every_byte_comes_back, "begin with a dot"),
    Broken(Panics, laws.every_byte_comes_back, "lets a Panic out"),
    Broken(LeavesBlindCopiesOut, laws.every_byte_comes_back, "take for theirs"),
    Broken(UnpacksWhatIsPacked, laws.every_byte_comes_back, "is gzip"),
    Broken(LosesTheEndOfABlock, laws.every_byte_comes_back, "of 65536 bytes"),
    Broken(CutsLargeMessages, laws.a_large_message_comes_back, "a message of"),
    Broken(QuotesWhatItRejects, laws.a_large_message_comes_back, "holds text of a mail"),
    Broken(SaysAnotherDigest, laws.a_receipt_says_what_was_stored, "ReceiptMismatch"),
    Broken(PromisesLess, laws.a_receipt_says_what_was_stored, "promises less"),
    Broken(NamesFilesAfterMails, laws.nothing_in_a_mail_names_a_place, "a file outside"),
    Broken(
        ForgetsWhenClosed,
        laws.what_is_acknowledged_is_there_in_a_new_process,
        "is not there",
    ),
    Broken(
        NamesFilesByHash,
        laws.what_is_acknowledged_is_there_in_a_new_process,
        "after another process put it",
    ),
    Broken(RewritesItsList, laws.a_killed_process_loses_nothing_acknowledged, "(list)"),
    Broken(
        AcknowledgesFromItsBuffer,
        laws.a_killed_process_loses_nothing_acknowledged,
        "is not there",
    ),
    Broken(WritesInPlace, laws.a_killed_process_loses_nothing_acknowledged, "killed"),
    Broken(NotesWhatItHasAtTheEnd, laws.a_lost_reply_harms_nothing, "a second time"),
    Broken(CleansUpWhatIsUncertain, laws.a_failed_put_leaves_nothing_half, "is not there"),
    Broken(WritesInPlace, laws.a_failed_put_leaves_nothing_half, "after a put that failed"),
    Broken(DisregardsHowMuchWasWritten, laws.a_failed_put_leaves_nothing_half, "part of a write"),
    Broken(
        RejectsWhenTheDiskFails, laws.a_failed_put_leaves_nothing_half, "sound disk would take"
    ),
    Broken(RejectsWhenTheDiskFails, laws.a_failed_sync_is_never_asked_again, "rejected"),
    Broken(RaisesItsOwn, laws.a_failed_put_leaves_nothing_half, "lets a OwnTrouble out"),
    Broken(QuotesTheMail, laws.a_failed_put_leaves_nothing_half, "holds text of a mail"),
    Broken(AcknowledgesBeforeSync, laws.acknowledged_means_on_the_medium, "were synced"),
    Broken(SyncsTheLastOfABatch, laws.acknowledged_means_on_the_medium, "were synced"),
    Broken(ForgetsTheFolder, laws.acknowledged_means_on_the_medium, "names of the files"),
    Broken(AcknowledgesFromItsBuffer, laws.acknowledged_means_on_the_medium, "were synced"),
    Broken(
        BelievesTheDead, laws.what_a_dead_writer_left_is_synced_before_it_counts, "a writer left"
    ),
    Broken(
        BelievesTheDeadAfterManySyncs,
        laws.what_a_dead_writer_left_is_synced_before_it_counts,
        "a writer left",
    ),
    Broken(AsksAgainForASync, laws.a_failed_sync_is_never_asked_again, "second answer"),
    Broken(DisregardsTheSync, laws.a_failed_sync_is_never_asked_again, "all the same"),
    Broken(AsksAgainAfterManySyncs, laws.a_failed_sync_is_never_asked_again, "second answer"),
    Broken(AsksAgainWhenPutAgain, laws.a_failed_sync_is_never_asked_again, "second answer"),
    Broken(DisregardsTheSyncAfterMany, laws.a_failed_sync_is_never_asked_again, "all the same"),
    Broken(DisregardsTheFolder, laws.a_failed_sync_is_never_asked_again, "all the same"),
    Broken(ClaimsToRead, laws.reading_is_as_the_capabilities_say, "and cannot"),
    Broken(VerifiesAgainstItself, laws.what_is_read_is_what_the_receipt_says, "another message"),
    Broken(LetsErrorsOut, laws.a_receipt_of_nothing_is_an_error, "KeyError out"),
    Broken(RacesWithItself, laws.several_threads_may_put_at_once, "threads stored one entry"),
    Broken(SharesItsPlace, laws.several_threads_may_put_at_once, "read by several threads"),
    Broken(CountsFromWhenItWasOpened, laws.two_sinks_may_be_open_at_once, "another sink"),
    Broken(KnowsWhatWasThereAtFirst, laws.two_sinks_may_be_open_at_once, "another sink"),
    Broken(ShowsOthersMail, laws.nobody_sees_the_mail_of_others, "mail of another one"),
    Broken(ShowsTheFirstOwner, laws.nobody_sees_the_mail_of_others, "is not shown"),
    Broken(ShowsTheFirstCopy, laws.nobody_sees_the_mail_of_others, "is not shown"),
    Broken(ForgetsWhoseItIs, laws.nobody_sees_the_mail_of_others, "after opening anew"),
    Broken(LeavesFilesOpen, laws.an_open_and_a_close_leave_nothing_open, "a file open"),
    Broken(
        LeavesFilesOpenWhenItFails,
        laws.an_open_and_a_close_leave_nothing_open,
        "read that fails",
    ),
    Broken(KeepsEverything, laws.memory_is_bounded, "of memory"),
    Broken(KeepsWhatItForesees, laws.memory_is_bounded, "of memory"),
)
"""Which law catches which; every law catches somebody."""
