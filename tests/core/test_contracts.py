"""The promises that the library keeps around somebody's source or sink."""

from __future__ import annotations

import errno
from itertools import chain, count, repeat
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from support.world import World, mail
from typing_extensions import override

from mailarchive import (
    Archived,
    Digest,
    Fidelity,
    Folder,
    MessageRef,
    Page,
    Receipt,
    Rejected,
    SourceMessage,
    Stored,
    Vanished,
    abc,
)
from mailarchive.errors import (
    AuthenticationFailed,
    ReceiptMismatch,
    SinkError,
    SinkFull,
    SinkNotWritable,
    SourceError,
    SourceUnavailable,
    Unsupported,
)
from mailarchive.testing import entries
from mailarchive.testing.memory import MemorySink, MemorySource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mailarchive import ArchiveEntry, RemovalResult, Unavailable

INBOX = Folder("INBOX", ("INBOX",))
REF = MessageRef("scripted", "INBOX", "1.1")
OTHER = MessageRef("scripted", "INBOX", "1.2")
RECEIPT = Receipt("sink", Digest.of(b"id"), Digest.of(b"raw"), "here")


class Scripted(abc.Source):
    """A source that does what a test says."""

    name = "scripted"

    def __init__(self, **hooks: Callable[..., object]) -> None:
        self.capabilities = evolve(self.capabilities, removes=True)
        self.hooks = hooks
        self.closed = 0

    def _do(self, hook: str, *arguments: object) -> object:
        return self.hooks[hook](*arguments) if hook in self.hooks else []

    @override
    def _open(self) -> None:
        self._do("open")

    @override
    def _close(self) -> None:
        self.closed += 1
        self._do("close")

    @override
    def _folders(self) -> Iterable[Folder]:
        return self._do("folders")  # type: ignore[return-value]  # a test may lie

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterable[Page]:
        return self._do("scan")  # type: ignore[return-value]  # a test may lie

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        yield from self._do("fetch")  # type: ignore[misc]  # a test may lie

    @override
    def _remove(self, archived: Sequence[Archived]) -> Iterable[RemovalResult]:
        return self._do("remove")  # type: ignore[return-value]  # a test may lie


def raising(error: BaseException) -> Callable[..., object]:
    """A hook that raises."""

    def hook(*arguments: object) -> object:
        raise error

    return hook


CALLS: dict[str, Callable[[abc.Source], object]] = {
    "open": lambda source: source.__enter__(),
    "folders": lambda source: source.folders(),
    "scan": lambda source: list(source.scan(INBOX)),
    "fetch": lambda source: list(source.fetch([REF])),
    "remove": lambda source: source.remove([Archived(REF, RECEIPT)]),
    "close": lambda source: source.__enter__().__exit__(None, None, None),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        (ConnectionResetError(errno.ECONNRESET, "ann@corp.example"), SourceUnavailable),
        (KeyError("ann@corp.example"), SourceError),
        (AuthenticationFailed("no"), AuthenticationFailed),
    ],
)
def test_only_our_errors_leave_a_source(
    call: str, foreign: Exception, ours: type[Exception]
) -> None:
    """(7) A foreign error gets a type and keeps its text to itself."""
    source = Scripted(**{call: raising(foreign)})
    with pytest.raises(ours) as caught:
        CALLS[call](source)
    assert "corp.example" not in str(caught.value)


def test_a_source_that_fails_to_open_is_closed() -> None:
    """Nothing is left behind."""
    source = Scripted(open=raising(OSError()))
    with pytest.raises(SourceUnavailable), source:
        pass
    assert source.closed == 1


def test_what_is_entered_again_is_opened_once_and_closed_last() -> None:
    """A run may enter a source that is open: whoever entered first still has it afterwards."""
    opened: list[None] = []
    source = Scripted(open=lambda: opened.append(None))

    for times in (1, 2):
        with source:
            with source, source:
                pass
            assert source.closed == times - 1
            source.folders()
        assert [times] * 2 == [len(opened), source.closed]


def test_what_fails_to_open_is_opened_by_the_next_who_enters() -> None:
    """A failed opening counts for nothing."""
    failing = [SourceUnavailable("away")]

    def open_() -> None:
        if failing:
            raise failing.pop()

    source = Scripted(open=open_)
    with pytest.raises(SourceUnavailable), source:
        raise AssertionError
    with source:
        assert source.closed == 1
    assert source.closed == 1 + 1


def test_an_error_while_closing_hides_none_while_opening() -> None:
    """The first error is the one that a person needs."""
    source = Scripted(open=raising(AuthenticationFailed("no")), close=raising(KeyError()))
    with pytest.raises(AuthenticationFailed), source:
        pass


def test_an_error_while_closing_hides_no_other() -> None:
    """The first error is the one that a person needs."""
    source = Scripted(close=raising(OSError()))
    with pytest.raises(ZeroDivisionError), source:
        raise ZeroDivisionError


def test_a_source_hands_over_only_what_was_asked_for() -> None:
    """A message under another ref could be archived as the wrong one."""
    other = SourceMessage(MessageRef("s", "INBOX", "1.2"), b"")
    with pytest.raises(SourceError, match="not asked for"):
        list(Scripted(fetch=lambda: [other]).fetch([REF]))
    twice = SourceMessage(REF, b"")
    with pytest.raises(SourceError, match="handed over an item twice"):
        list(Scripted(fetch=lambda: [twice, twice]).fetch([REF]))


SAID_AGAIN = pytest.mark.parametrize(
    ("refs", "again"),
    [((), ()), ((REF,), ()), ((REF,), (REF,)), ((REF, OTHER), (OTHER,))],
)
"""A page, and what one behind it may have with the same token that says nothing new."""


@SAID_AGAIN
def test_a_scan_without_an_end_is_refused(
    refs: tuple[MessageRef, ...], again: tuple[MessageRef, ...]
) -> None:
    """Whoever waited for its end would wait for ever, and archive nothing more."""
    pages = chain([Page(INBOX, refs, "1")], repeat(Page(INBOX, again, "1")))
    with pytest.raises(SourceError, match="its token goes no further"):
        list(Scripted(scan=lambda: pages).scan(INBOX))


@SAID_AGAIN
def test_a_scan_with_an_end_may_say_a_page_again(
    refs: tuple[MessageRef, ...], again: tuple[MessageRef, ...]
) -> None:
    """A few times for each, as at its end; nobody is to read anything twice for it."""
    page, after = Page(INBOX, refs, "1"), Page(INBOX, (OTHER,), "2")
    pages = [page, *[evolve(page, refs=again)] * 3, after, *[evolve(after, refs=())] * 3]

    assert list(Scripted(scan=lambda: pages).scan(INBOX)) == [page, after]


def empty(first: int, count: int) -> list[Page]:
    """Return pages that name nothing, each with a token of its own."""
    return [Page(INBOX, (), str(number)) for number in range(first, first + count)]


def test_a_scan_that_names_nothing_for_ever_is_refused() -> None:
    """Its token is another one each time, so no page says the one before it again."""
    pages = (Page(INBOX, (), str(number)) for number in count())
    with pytest.raises(SourceError, match="10000 pages in a row that name nothing"):
        list(Scripted(scan=lambda: pages).scan(INBOX))

    assert next(pages).token == "10001"


def test_a_scan_may_name_nothing_for_long() -> None:
    """A server has told what went away; what it names then begins the count anew."""
    pages = [*empty(0, 10_000), Page(INBOX, (REF,), "new"), *empty(10_000, 10_000)]

    assert list(Scripted(scan=lambda: pages).scan(INBOX)) == pages


def test_a_page_with_the_token_before_it_may_have_something_new() -> None:
    """A token that stays behind repeats something, and loses nothing."""
    pages = [Page(INBOX, (REF,), "1"), Page(INBOX, (OTHER,), "1")]

    assert list(Scripted(scan=lambda: pages).scan(INBOX)) == pages


def test_a_source_may_say_that_an_item_is_gone() -> None:
    """It means what leaving it out means, and costs the items after it nothing."""
    other = MessageRef("s", "INBOX", "1.2")
    items = [Vanished(REF), SourceMessage(other, b"")]
    source = Scripted(fetch=lambda *_: items)

    assert list(source.fetch([REF, other])) == items[1:]


def test_a_source_hands_over_messages_and_nothing_else() -> None:
    """Anything else could end a page before its time."""
    with pytest.raises(SourceError, match="no message"):
        list(Scripted(fetch=lambda *_: [REF]).fetch([REF]))


@pytest.mark.parametrize("answer", [[], [REF], [Vanished(REF)] * 2])
def test_each_removal_is_answered_once(answer: list[object]) -> None:
    """Otherwise the intent could never be confirmed."""
    with pytest.raises(SourceError, match="removal"):
        Scripted(remove=lambda *_: answer).remove([Archived(REF, RECEIPT)])


def test_a_removal_is_answered_for_its_folder() -> None:
    """The same key may stand in two folders, and only one of them was asked about."""
    there = Archived(MessageRef("s", "Sent", REF.key), RECEIPT)
    with pytest.raises(SourceError, match="removal"):
        Scripted(remove=lambda *_: [Vanished(REF)]).remove([there])
    both = [Archived(REF, RECEIPT), there]
    with pytest.raises(SourceError, match="removal"):
        Scripted(remove=lambda *_: [Vanished(REF)] * 2).remove(both)
    answers = (Vanished(there.ref), Vanished(REF))
    assert answers == Scripted(remove=lambda *_: answers).remove(both)


@pytest.mark.parametrize(
    ("hook", "answer"),
    [
        ("folders", ["INBOX"]),
        ("scan", [REF]),
        ("scan", [Page(INBOX, (REF, REF), "1")]),
        ("scan", [Page(Folder("Sent", INBOX.path), (), "1")]),
        ("scan", [Page(INBOX, (), 1)]),  # type: ignore[arg-type]  # a test may lie
        ("scan", [Page(INBOX, ("1.1",), "1")]),  # type: ignore[arg-type]  # the same
        ("scan", [Page(INBOX, (evolve(REF, key=1),), "1")]),  # type: ignore[arg-type]  # the same
        ("scan", [Page(INBOX, (evolve(REF, folder="Sent"),), "1")]),
        ("scan", [Page(INBOX, (evolve(REF, source="another"),), "1")]),
        ("fetch", [SourceMessage(REF, "text")]),  # type: ignore[arg-type]  # a test may lie
        ("fetch", [SourceMessage(REF, bytearray(b"raw"))]),  # type: ignore[arg-type]  # the same
        ("fetch", [SourceMessage(REF, b"", "now")]),  # type: ignore[arg-type]  # the same
    ],
)
def test_what_a_source_says_is_looked_at(hook: str, answer: list[object]) -> None:
    """What no source may say is found where it is said."""
    with pytest.raises(SourceError, match="scripted"):
        CALLS[hook](Scripted(**{hook: lambda *_: answer}))


def test_a_source_that_cannot_remove_says_so() -> None:
    """Before anything is tried."""
    with pytest.raises(Unsupported):
        MemorySource(removes=False).remove([Archived(REF, RECEIPT)])


def entry(number: int = 1) -> ArchiveEntry:
    """An entry as a run makes it."""
    world = World()
    world.source.add(mail(number))
    world.run()
    (made,) = world.sink.entries.values()
    return made


class Breaking(MemorySink):
    """A sink that raises, or answers what it is told."""

    def __init__(self, error: BaseException | None = None, answers: object = ()) -> None:
        super().__init__()
        self.error, self.answers = error, answers

    @override
    def _put_many(self, entries: Sequence[ArchiveEntry]) -> Iterable[Receipt | Rejected]:
        if self.error is not None:
            raise self.error
        return self.answers  # type: ignore[return-value]  # a test may lie


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        (OSError(errno.ENOSPC, "ann@corp.example"), SinkFull),
        (OSError(errno.EDQUOT, ""), SinkFull),
        (PermissionError(errno.EACCES, "ann@corp.example"), SinkNotWritable),
        (OSError(errno.EROFS, ""), SinkNotWritable),
        (OSError(errno.EIO, "ann@corp.example"), SinkError),
        (KeyError("ann@corp.example"), SinkError),
    ],
)
def test_only_our_errors_leave_a_sink(foreign: Exception, ours: type[Exception]) -> None:
    """A full disk and a read-only place have types of their own."""
    with pytest.raises(ours) as caught:
        Breaking(foreign).put(entry())
    assert "corp.example" not in str(caught.value)
    assert caught.value.suggestions  # type: ignore[attr-defined]  # all of ours have them


def test_a_sink_answers_for_every_entry() -> None:
    """No answer is no receipt."""
    with pytest.raises(ReceiptMismatch, match="no answer"):
        Breaking(answers=[]).put(entry())


def test_a_sink_answers_with_receipts() -> None:
    """Anything else is no word that something is stored."""
    one = entry()
    with pytest.raises(SinkError):
        Breaking(answers=[one.id]).put(one)
    with pytest.raises(ReceiptMismatch, match="no receipt"):
        Breaking(answers=[Imposter(one.id)]).put(one)


class Imposter:
    """What looks like a receipt from afar."""

    def __init__(self, entry_id: Digest) -> None:
        self.entry_id = entry_id


class Texts(MemorySink):
    """A sink that gives back a text."""

    @override
    def _read(self, receipt: Receipt) -> bytes:
        return "text"  # type: ignore[return-value]  # a test may lie


def test_what_a_sink_gives_back_is_bytes() -> None:
    """Anything else could compare equal to nothing, or to anything."""

    with pytest.raises(ReceiptMismatch, match="no bytes"):
        Texts().read(RECEIPT)


def test_answers_come_in_the_order_of_the_entries() -> None:
    """Whatever order the sink had."""
    entries = [entry(number) for number in range(3)]
    answers = [Rejected(each.id, "no") for each in reversed(entries)]

    found = Breaking(answers=answers).put_many(entries)
    assert [each.entry_id for each in found] == [each.id for each in entries]


def test_an_id_that_is_in_a_batch_twice_is_handed_to_the_sink_once() -> None:
    """The second one is answered as what is there already, whatever its bytes are."""
    one, again = (
        entries.entry(each, fidelity=Fidelity.RENDERED) for each in (b"first", b"second")
    )
    sink = MemorySink()
    first, second = sink.put_many((one, again))

    assert sink.calls == ["put"]
    assert isinstance(first, Receipt)
    assert second == evolve(first, outcome=Stored.PRESENT)


def test_a_sink_that_cannot_be_read_says_so() -> None:
    """Before anything is tried."""
    with pytest.raises(Unsupported, match="read back"):
        MemorySink(reads=False).read(RECEIPT)
