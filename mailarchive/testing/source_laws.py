"""The laws of a `Source`, each a plain function that needs no pytest.

Each takes a `SourceWorld`, fresh and empty, and returns, or raises `AssertionError` with a
text that names the fault::

    every_byte_is_handed_over(MyWorld())

`source_contract` makes a pytest class of them.  Nothing is skipped: a source that cannot
remove has to say so.
"""

from __future__ import annotations

import tracemalloc
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import closing
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from attrs import evolve

from mailarchive._model import (
    Archived,
    Digest,
    Fidelity,
    Folder,
    Kept,
    MessageRef,
    Receipt,
    Removed,
    SourceMessage,
    Unavailable,
    Vanished,
)
from mailarchive.errors import CheckpointInvalid, MailArchiveError, SourceError, Unsupported
from mailarchive.testing._open_files import open_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailarchive._model import Page, RemovalResult
    from mailarchive.abc import Source

__all__ = [
    "LAWS",
    "Law",
    "SourceWorld",
    "a_flagged_message_stays",
    "a_folder_of_nothing_harms_nothing",
    "a_message_id_is_no_identity",
    "a_ref_of_nothing_harms_nothing",
    "a_run_with_nothing_new_lists_nothing",
    "a_token_of_nothing_is_no_checkpoint",
    "a_vanished_message_is_left_out",
    "an_abandoned_fetch_harms_nothing",
    "an_empty_folder_is_no_error",
    "every_byte_is_handed_over",
    "memory_is_bounded_by_a_few_messages",
    "names_tell_nobody_and_last",
    "opening_and_closing_leaves_nothing_behind",
    "reading_leaves_no_trace",
    "removing_again_is_harmless",
    "removing_takes_exactly_what_has_a_receipt",
    "scanning_resumes_right_after_each_token",
    "what_comes_after_a_loss_is_found",
    "what_comes_later_is_found",
    "what_is_not_what_was_archived_stays",
]

_MEBI = 1 << 20
_ENOUGH_FOR_TWO_PAGES = (12, 60, 520)


class SourceWorld(ABC):
    """A place with mail in it, as the source under test sees it and as it is.

    Fresh and empty for each law.  All mail is in one folder, `folder` picks it.
    """

    @abstractmethod
    def source(self) -> Source:
        """Return a source that reads this place, not yet opened; asked several times."""

    @abstractmethod
    def deliver(self, raws: Sequence[bytes]) -> None:
        """Put messages into the folder; their lines end in CRLF."""

    @abstractmethod
    def lose(self, ref: MessageRef) -> None:
        """Take one message away, as somebody else would."""

    @abstractmethod
    def look(self) -> object:
        """Return everything about the place that reading may not change, to be compared."""

    def flag(self, ref: MessageRef) -> None:
        """Flag one message, as a person does who wants to come back to it.

        Only a source that removes is asked for this.
        """
        raise NotImplementedError

    def stored(self, raw: bytes) -> bytes:
        """Return what the place keeps of a message, where it adds to it: a header of its own."""
        return raw

    def folder(self, source: Source) -> Folder:
        """Return the folder that `deliver` puts messages into."""
        return source.folders()[0]


Law: TypeAlias = Callable[[SourceWorld], None]
"""Returns where the law holds; raises `AssertionError`, whose text names the fault."""


def law(function: Law) -> Law:
    """Make a law of a function: whatever it raises says that the law is broken."""

    @wraps(function)
    def hold(world: SourceWorld) -> None:
        try:
            function(world)
        except MailArchiveError as error:
            raise AssertionError(_said(error)) from error

    return hold


def _said(error: MailArchiveError) -> str:
    """Tell an honest error from a foreign one that `Source` had to give a type."""
    foreign = error.__cause__
    if foreign is not None and not isinstance(foreign, MailArchiveError | OSError):
        return f"the adapter lets a foreign {type(foreign).__name__} out: {error}"
    return f"a call that must succeed raises {type(error).__name__}: {error}"


def _is_honest(error: MailArchiveError) -> None:
    """An error that a law expects: one of the adapter's own, with something to do about it."""
    foreign = error.__cause__
    ours = foreign is None or isinstance(foreign, MailArchiveError | OSError)
    assert ours, _said(error)
    assert error.suggestions, f"{type(error).__name__} does not say what to do"


def messages(count: int, *, start: int = 0, octets: int = 0) -> list[bytes]:
    """Return so many messages, all different, each of at least so many octets."""
    line = b"0123456789abcdef" * 4 + b"\r\n"
    return [
        b"From: a@example.com\r\nTo: b@example.com\r\nSubject: message %d\r\n\r\nbody %d\r\n"
        % (number, number)
        + line * (octets // len(line))
        for number in range(start, start + count)
    ]


def _refs(pages: Sequence[Page]) -> list[MessageRef]:
    return [ref for page in pages for ref in page.refs]


def _pages(world: SourceWorld, source: Source, after: str | None = None) -> list[Page]:
    return list(source.scan(world.folder(source), after))


def _raws(items: Sequence[SourceMessage | Unavailable]) -> list[bytes]:
    lacking = [item for item in items if isinstance(item, Unavailable)]
    assert not lacking, "a message that is there was not handed over"
    return [item.raw for item in items if isinstance(item, SourceMessage)]


def _kept(world: SourceWorld, raws: Sequence[bytes]) -> list[bytes]:
    return sorted(map(world.stored, raws))


def _read(world: SourceWorld, source: Source) -> list[SourceMessage]:
    found: list[SourceMessage] = []
    for page in source.scan(world.folder(source)):
        found += [item for item in source.fetch(page.refs) if isinstance(item, SourceMessage)]
    return found


def _archived(message: SourceMessage) -> Archived:
    digest = Digest.of(message.raw)
    return Archived(message.ref, Receipt("contract", digest, digest, "somewhere"))


@law
def every_byte_is_handed_over(world: SourceWorld) -> None:
    """Each message comes once, as the very bytes that were delivered, under its own ref."""
    raws = [
        *messages(5),
        b"Subject: a header and nothing else\r\n\r\n",
        b"Subject: 8bit \xfc\xff\r\n\r\n\x80\r\n",
        *messages(1, start=5, octets=70_000),
    ]
    world.deliver(raws)
    with world.source() as source:
        pages = _pages(world, source)
        refs = _refs(pages)
        items = [item for page in pages for item in source.fetch(page.refs)]
        folder = world.folder(source)

    assert sorted(_raws(items)) == _kept(world, raws), "other bytes, or too few, or too many"
    assert len(set(refs)) == len(refs), "a message was listed twice"
    assert {item.ref for item in items} == set(refs), "what was listed is not what was read"
    places = {(ref.source, ref.folder) for ref in refs}
    assert places == {(source.name, folder.key)}, "a ref names another source or folder"
    assert all(page.folder == folder for page in pages), "a page is of another folder"
    assert all(
        item.received_at is None or item.received_at.tzinfo is not None
        for item in items
        if isinstance(item, SourceMessage)
    ), "a time without a zone means nothing"


@law
def a_message_id_is_no_identity(world: SourceWorld) -> None:
    """Two mails may have one Message-ID, or be equal to the last byte: all of them come."""
    named = b"Message-ID: <one@example.com>\r\n"
    raws = [named + raw for raw in messages(3)] + messages(1, start=9) * 2
    world.deliver(raws)
    with world.source() as source:
        found = _raws(_read(world, source))

    assert len(found) >= len(raws), (
        "one of several mails with the same Message-ID, or the same bytes, was left out"
    )
    assert sorted(found) == _kept(world, raws), "other bytes, or too many"


@law
def scanning_resumes_right_after_each_token(world: SourceWorld) -> None:
    """From any page's token a scan gives what came after that page, and nothing else.

    Also in another process: the second scan is of a source that was made anew.  So that
    there is a page to resume after, more and more messages are delivered until there are
    two pages.
    """
    pages = _two_pages(world)
    keys = [ref.key for ref in _refs(pages)]
    done = 0
    for page in pages:
        done += len(page.refs)
        with world.source() as again:
            rest = [ref.key for ref in _refs(_pages(world, again, page.token))]
        assert rest == keys[done:], "a scan left something out, or gave it twice"


def _two_pages(world: SourceWorld) -> list[Page]:
    """Deliver until a scan takes two pages, and return them all."""
    there = 0
    for count in _ENOUGH_FOR_TWO_PAGES:
        world.deliver(messages(count - there, start=there))
        there = count
        with world.source() as source:
            pages = _pages(world, source)
        assert len(_refs(pages)) == there, "a scan does not list everything"
        if len([page for page in pages if page.refs]) > 1:
            return pages
    raise AssertionError(
        f"{there} messages make one page: give the source of the world small pages, or no law"
        " ever sees where one ends"
    )


@law
def a_run_with_nothing_new_lists_nothing(world: SourceWorld) -> None:
    """After the last token there is nothing, as long as nothing comes."""
    world.deliver(messages(3))
    with world.source() as source:
        last = _pages(world, source)[-1].token

        assert not _refs(_pages(world, source, last)), "something old was listed as new"


@law
def what_comes_later_is_found(world: SourceWorld) -> None:
    """What is delivered after a scan is listed by the next, and only that."""
    world.deliver(messages(3))
    later = messages(2, start=3)
    with world.source() as source:
        last = _pages(world, source)[-1].token
    world.deliver(later)
    with world.source() as source:
        items = [
            item
            for page in source.scan(world.folder(source), last)
            for item in source.fetch(page.refs)
        ]

    assert sorted(_raws(items)) == _kept(world, later), "what came later is not what was found"


@law
def what_comes_after_a_loss_is_found(world: SourceWorld) -> None:
    """What is delivered after others were taken away is listed: a place in a list is no token.

    A token that means nothing any more may be refused by `CheckpointInvalid`; then the whole
    folder is listed.
    """
    world.deliver(messages(4))
    later = messages(1, start=4)
    with world.source() as source:
        pages = _pages(world, source)
    for ref in _refs(pages)[1:3]:
        world.lose(ref)
    world.deliver(later)
    with world.source() as source:
        try:
            new = _pages(world, source, pages[-1].token)
        except CheckpointInvalid as error:
            _is_honest(error)
            new = _pages(world, source)
        found = _raws([item for page in new for item in source.fetch(page.refs)])

    assert world.stored(later[0]) in found, "what came after others were taken away was not found"


@law
def an_empty_folder_is_no_error(world: SourceWorld) -> None:
    """Nothing is listed, and what comes later is found, from whatever token there is."""
    with world.source() as source:
        pages = _pages(world, source)
        assert not _refs(pages), "something was listed in an empty folder"
    world.deliver(messages(2))
    with world.source() as source:
        after = pages[-1].token if pages else None
        found = _refs(_pages(world, source, after))

    assert len(found) == len(messages(2)), "what came into an empty folder was not found"


@law
def a_token_of_nothing_is_no_checkpoint(world: SourceWorld) -> None:
    """What was never a token raises `CheckpointInvalid`, and nothing else."""
    world.deliver(messages(1))
    with world.source() as source:
        for token in ("", "no token", "\0", "9" * 400):
            try:
                _pages(world, source, token)
            except CheckpointInvalid as error:
                _is_honest(error)
            else:
                raise AssertionError("a text that is no token was taken for one")


@law
def reading_leaves_no_trace(world: SourceWorld) -> None:
    """Listing and reading change nothing that anybody could see."""
    world.deliver(messages(4))
    before = world.look()
    with world.source() as source:
        assert len(_read(world, source)) == len(messages(4)), "not everything was read"

    assert world.look() == before, "reading changed something"


@law
def a_vanished_message_is_left_out(world: SourceWorld) -> None:
    """What somebody took away after it was listed is no error, and the rest comes."""
    raws = messages(5)
    world.deliver(raws)
    with world.source() as source:
        refs = _refs(_pages(world, source))
        before = {item.ref: item for item in source.fetch(refs)}
    world.lose(refs[1])
    world.lose(refs[3])
    with world.source() as source:
        items = list(source.fetch(refs))

    left = {item.ref for item in items}
    assert left == {refs[0], refs[2], refs[4]}, "what is gone was not simply left out"
    assert all(item == before[item.ref] for item in items), "a message changed its name"


@law
def a_ref_of_nothing_harms_nothing(world: SourceWorld) -> None:
    """A ref that this source never gave hands over nothing, and the others come."""
    world.deliver(messages(2))
    with world.source() as source:
        refs = _refs(_pages(world, source))
        strange = [evolve(refs[0], key=key) for key in ("nothing", "../../etc/passwd", "0.0")]
        found: list[SourceMessage | Unavailable] = []
        try:
            found += source.fetch([*strange, *refs])
        except SourceError as error:
            _is_honest(error)
        else:
            read = _raws([item for item in found if item.ref in set(refs)])
            assert len(read) == len(refs), "a strange ref kept the others from being read"

    assert not [
        item for item in found if item.ref in set(strange) and isinstance(item, SourceMessage)
    ], "a message was handed over for a ref that was never given"


@law
def a_folder_of_nothing_harms_nothing(world: SourceWorld) -> None:
    """A folder that is not there has no messages, or is an error that says what to do."""
    world.deliver(messages(1))
    with world.source() as source:
        for key in ("nothing", "../..", "nothing\r\nLOGOUT"):
            try:
                found = _refs(list(source.scan(Folder(key, (key,)))))
            except SourceError as error:
                _is_honest(error)
            else:
                assert not found, "something was listed in a folder that is not there"
        assert len(_read(world, source)) == 1, "the others cannot be read any more"


@law
def an_abandoned_fetch_harms_nothing(world: SourceWorld) -> None:
    """A reader that stops half way can begin again, and look elsewhere meanwhile."""
    raws = messages(6, octets=5_000)
    world.deliver(raws)
    with world.source() as source:
        refs = _refs(_pages(world, source))
        with closing(cast("Any", source.fetch(refs))) as half:
            next(half)
        world.folder(source)

        again = sorted(_raws(list(source.fetch(refs))))

    assert again == _kept(world, raws), "after a fetch that was dropped not everything comes"


@law
def memory_is_bounded_by_a_few_messages(world: SourceWorld) -> None:
    """A page is streamed: it is never in memory as a whole."""
    count, octets = 40, _MEBI
    world.deliver(messages(count, octets=octets))
    with world.source() as source:
        refs = _refs(_pages(world, source))
        tracemalloc.start()
        try:
            read = sum(len(item.raw) for item in _messages(source, refs))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert read >= count * octets, "not everything was read"
    assert peak < 8 * octets, "a page was held as a whole"


def _messages(source: Source, refs: Sequence[MessageRef]) -> Iterator[SourceMessage]:
    for item in source.fetch(refs):
        if isinstance(item, SourceMessage):
            yield item


@law
def names_tell_nobody_and_last(world: SourceWorld) -> None:
    """The name of a source holds no address and is the same for every source of the place."""
    first, second = world.source(), world.source()

    assert first.name == second.name, "two sources of one place have two names"
    assert "@" not in first.name, "the name may hold an address"
    with first:
        assert first.name == second.name, "opening changed the name"


@law
def opening_and_closing_leaves_nothing_behind(world: SourceWorld) -> None:
    """A source that is closed holds no file and no connection.  Counted where there is /proc."""
    world.deliver(messages(2))
    _open_and_close(world)
    before = open_files()
    rounds = 8
    for _ in range(rounds):
        _open_and_close(world)

    assert open_files() < before + rounds, "each opening leaves a file or a connection open"


def _open_and_close(world: SourceWorld) -> None:
    with world.source() as source:
        _pages(world, source)


def _removable(world: SourceWorld, source: Source, count: int) -> list[Archived] | None:
    """Deliver and read messages; `None` where the source cannot remove, and says so."""
    world.deliver(messages(count))
    if source.capabilities.removes:
        return [_archived(message) for message in _read(world, source)]
    try:
        source.remove(())
    except Unsupported as error:
        _is_honest(error)
        return None
    raise AssertionError("a source that cannot remove did not say so")


@law
def removing_takes_exactly_what_has_a_receipt(world: SourceWorld) -> None:
    """The others are there afterwards, as they were."""
    with world.source() as source:
        items = _removable(world, source, 6)
        if items is None:
            return
        results = source.remove([items[1], items[4]])

    expected = {Removed(items[1].ref), Removed(items[4].ref)}
    assert set(results) == expected, "what has a receipt was not removed"
    with world.source() as source:
        left = {message.ref for message in _read(world, source)}
    others = {item.ref for item in items} - {items[1].ref, items[4].ref}
    assert left == others, "something else was removed, or what was removed is still there"


@law
def removing_again_is_harmless(world: SourceWorld) -> None:
    """What is gone has vanished, and nothing goes in its place."""
    with world.source() as source:
        items = _removable(world, source, 4)
        if items is None:
            return
        source.remove(items[:2])
    with world.source() as source:
        results = source.remove(items[:2])
        left = len(_read(world, source))

    gone = {Vanished(item.ref) for item in items[:2]}
    assert set(results) == gone, "what was gone already is not said to be"
    assert left == len(items[2:]), "something went in the place of what was gone"


@law
def a_flagged_message_stays(world: SourceWorld) -> None:
    """Somebody wants to come back to it; the reason is told."""
    with world.source() as source:
        items = _removable(world, source, 2)
    if items is None:
        return
    world.flag(items[0].ref)
    with world.source() as source:
        kept, removed = sorted(
            source.remove(items), key=lambda result: isinstance(result, Removed)
        )

    assert isinstance(kept, Kept), "a flagged message was removed"
    assert kept.ref == items[0].ref, "another message than the flagged one was kept"
    assert kept.why, "what is kept is kept for a reason"
    assert removed == Removed(items[1].ref), "a flagged message kept another one"


@law
def what_is_not_what_was_archived_stays(world: SourceWorld) -> None:
    """A receipt for other bytes removes nothing; asked of sources that keep bytes as they came.

    Somebody may have put another message in the place of the one that was archived.
    """
    with world.source() as source:
        items = _removable(world, source, 2)
        if items is None or source.capabilities.fidelity is not Fidelity.WIRE:
            return
        results = source.remove([_with_another_digest(items[0]), items[1]])
        left = {message.ref for message in _read(world, source)}

    assert _of(results, items[0]) == Kept, "a message with other bytes than archived was removed"
    assert _of(results, items[1]) == Removed, "one that changed kept another one"
    assert left == {items[0].ref}, "what was said of a removal is not what became of it"


def _with_another_digest(archived: Archived) -> Archived:
    other = Digest.of(b"another message")
    return evolve(archived, receipt=evolve(archived.receipt, stored_digest=other))


def _of(results: Sequence[RemovalResult], archived: Archived) -> type[RemovalResult]:
    return type(next(each for each in results if each.ref == archived.ref))


LAWS = (
    every_byte_is_handed_over,
    a_message_id_is_no_identity,
    scanning_resumes_right_after_each_token,
    a_run_with_nothing_new_lists_nothing,
    what_comes_later_is_found,
    what_comes_after_a_loss_is_found,
    an_empty_folder_is_no_error,
    a_token_of_nothing_is_no_checkpoint,
    reading_leaves_no_trace,
    a_vanished_message_is_left_out,
    a_ref_of_nothing_harms_nothing,
    a_folder_of_nothing_harms_nothing,
    an_abandoned_fetch_harms_nothing,
    memory_is_bounded_by_a_few_messages,
    names_tell_nobody_and_last,
    opening_and_closing_leaves_nothing_behind,
    removing_takes_exactly_what_has_a_receipt,
    removing_again_is_harmless,
    a_flagged_message_stays,
    what_is_not_what_was_archived_stays,
)
"""Every law, in the order to read them."""
