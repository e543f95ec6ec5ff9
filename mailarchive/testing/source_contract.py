"""The laws of a `Source`, for whoever writes one.

Subclass `SourceContract` in a test module and give it a world to live in::

    class TestMySource(SourceContract):
        @pytest.fixture
        def world(self, tmp_path):
            return MyWorld(tmp_path)

A `SourceWorld` is a place with mail in it that the source reads, and hands to change it
behind the source's back.  Each law is a function of a world too, for those who do not use
pytest: it returns, or raises `AssertionError`.  Nothing is skipped: a source that cannot
remove has to say so.
"""

from __future__ import annotations

import tracemalloc
from abc import ABC, abstractmethod
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

from attrs import evolve

from mailarchive._model import (
    Archived,
    Digest,
    Kept,
    MessageRef,
    Receipt,
    Removed,
    SourceMessage,
    Unavailable,
    Vanished,
)
from mailarchive.errors import CheckpointInvalid, SourceError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailarchive._model import Folder, Page
    from mailarchive.abc import Source
    from mailarchive.errors import MailArchiveError

__all__ = [
    "LAWS",
    "SourceContract",
    "SourceWorld",
    "a_flagged_message_stays",
    "a_ref_of_nothing_harms_nothing",
    "a_run_with_nothing_new_lists_nothing",
    "a_token_of_nothing_is_no_checkpoint",
    "a_vanished_message_is_left_out",
    "an_abandoned_fetch_harms_nothing",
    "every_byte_is_handed_over",
    "memory_is_bounded_by_a_few_messages",
    "names_tell_nobody_and_last",
    "reading_leaves_no_trace",
    "removing_again_is_harmless",
    "removing_takes_exactly_what_has_a_receipt",
    "scanning_resumes_right_after_each_token",
    "what_comes_later_is_found",
]

_MEBI = 1 << 20


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

    def folder(self, source: Source) -> Folder:
        """Return the folder that `deliver` puts messages into."""
        return source.folders()[0]


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


def _read(world: SourceWorld, source: Source) -> list[SourceMessage]:
    found: list[SourceMessage] = []
    for page in source.scan(world.folder(source)):
        found += [item for item in source.fetch(page.refs) if isinstance(item, SourceMessage)]
    return found


def _says_what_to_do(error: MailArchiveError) -> None:
    assert error.suggestions, "an error says what to do"


def _archived(message: SourceMessage) -> Archived:
    digest = Digest.of(message.raw)
    return Archived(message.ref, Receipt("contract", digest, digest, "somewhere"))


def every_byte_is_handed_over(world: SourceWorld) -> None:
    """Each message comes once, as the very bytes that were delivered, under its own ref."""
    raws = [
        *messages(5),
        b"Subject: 8bit \xfc\xff\r\n\r\n\x80\r\n",
        *messages(1, start=5, octets=70_000),
    ]
    world.deliver(raws)
    with world.source() as source:
        pages = _pages(world, source)
        refs = _refs(pages)
        items = [item for page in pages for item in source.fetch(page.refs)]
        folder = world.folder(source)

    assert sorted(_raws(items)) == sorted(raws), "other bytes, or too few, or too many"
    assert len(set(refs)) == len(refs), "a message was listed twice"
    assert {item.ref for item in items} == set(refs), "what was listed is not what was read"
    assert {(ref.source, ref.folder) for ref in refs} == {(source.name, folder.key)}
    assert all(page.folder == folder for page in pages)
    assert all(
        item.received_at is None or item.received_at.tzinfo is not None
        for item in items
        if isinstance(item, SourceMessage)
    ), "a time without a zone means nothing"


def scanning_resumes_right_after_each_token(world: SourceWorld) -> None:
    """From any page's token a scan gives what came after that page, and nothing else.

    Also in another process: the second scan is of a source that was made anew.
    """
    world.deliver(messages(12))
    with world.source() as source:
        pages = _pages(world, source)
    keys = [ref.key for ref in _refs(pages)]
    done = 0
    for page in pages:
        done += len(page.refs)
        with world.source() as again:
            rest = [ref.key for ref in _refs(_pages(world, again, page.token))]
        assert rest == keys[done:], "a scan left something out, or gave it twice"


def a_run_with_nothing_new_lists_nothing(world: SourceWorld) -> None:
    """After the last token there is nothing, as long as nothing comes."""
    world.deliver(messages(3))
    with world.source() as source:
        last = _pages(world, source)[-1].token

        assert not _refs(_pages(world, source, last))


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

    assert sorted(_raws(items)) == sorted(later)


def a_token_of_nothing_is_no_checkpoint(world: SourceWorld) -> None:
    """What was never a token raises `CheckpointInvalid`, and nothing else."""
    world.deliver(messages(1))
    with world.source() as source:
        for token in ("", "no token", "\0", "9" * 400):
            try:
                _pages(world, source, token)
            except CheckpointInvalid as error:
                _says_what_to_do(error)
            else:
                raise AssertionError("a text that is no token was taken for one")


def reading_leaves_no_trace(world: SourceWorld) -> None:
    """Listing and reading change nothing that anybody could see."""
    world.deliver(messages(4))
    before = world.look()
    with world.source() as source:
        assert len(_read(world, source)) == len(messages(4))

    assert world.look() == before, "reading changed something"


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

    assert {item.ref for item in items} == {refs[0], refs[2], refs[4]}
    assert all(item == before[item.ref] for item in items), "a message changed its name"


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
            _says_what_to_do(error)
        else:
            assert len(_raws([item for item in found if item.ref in set(refs)])) == len(refs)

    assert not [
        item for item in found if item.ref in set(strange) and isinstance(item, SourceMessage)
    ]


def an_abandoned_fetch_harms_nothing(world: SourceWorld) -> None:
    """A reader that stops half way can begin again, and look elsewhere meanwhile."""
    raws = messages(6, octets=5_000)
    world.deliver(raws)
    with world.source() as source:
        refs = _refs(_pages(world, source))
        with closing(cast("Any", source.fetch(refs))) as half:
            next(half)
        world.folder(source)

        assert sorted(_raws(list(source.fetch(refs)))) == sorted(raws)


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

    assert read >= count * octets
    assert peak < 8 * octets, "a page was held as a whole"


def _messages(source: Source, refs: Sequence[MessageRef]) -> Iterator[SourceMessage]:
    for item in source.fetch(refs):
        if isinstance(item, SourceMessage):
            yield item


def names_tell_nobody_and_last(world: SourceWorld) -> None:
    """The name of a source holds no address and is the same for every source of the place."""
    first, second = world.source(), world.source()

    assert first.name == second.name
    assert "@" not in first.name
    with first:
        assert first.name == second.name, "opening changed the name"


def _removable(world: SourceWorld, source: Source, count: int) -> list[Archived] | None:
    """Deliver and read messages; `None` where the source cannot remove, and says so."""
    world.deliver(messages(count))
    if source.capabilities.removes:
        return [_archived(message) for message in _read(world, source)]
    try:
        source.remove(())
    except Unsupported as error:
        _says_what_to_do(error)
        return None
    raise AssertionError("a source that cannot remove did not say so")


def removing_takes_exactly_what_has_a_receipt(world: SourceWorld) -> None:
    """The others are there afterwards, as they were."""
    with world.source() as source:
        items = _removable(world, source, 6)
        if items is None:
            return
        results = source.remove([items[1], items[4]])

    assert set(results) == {Removed(items[1].ref), Removed(items[4].ref)}
    with world.source() as source:
        left = {message.ref for message in _read(world, source)}
    assert left == {item.ref for item in items} - {items[1].ref, items[4].ref}


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

    assert set(results) == {Vanished(item.ref) for item in items[:2]}
    assert left == len(items[2:])


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

    assert isinstance(kept, Kept)
    assert kept.ref == items[0].ref
    assert kept.why
    assert removed == Removed(items[1].ref)


LAWS = (
    every_byte_is_handed_over,
    scanning_resumes_right_after_each_token,
    a_run_with_nothing_new_lists_nothing,
    what_comes_later_is_found,
    a_token_of_nothing_is_no_checkpoint,
    reading_leaves_no_trace,
    a_vanished_message_is_left_out,
    a_ref_of_nothing_harms_nothing,
    an_abandoned_fetch_harms_nothing,
    memory_is_bounded_by_a_few_messages,
    names_tell_nobody_and_last,
    removing_takes_exactly_what_has_a_receipt,
    removing_again_is_harmless,
    a_flagged_message_stays,
)
"""Every law, in the order to read them."""


class SourceContract:
    """The laws as tests; a subclass has a fixture `world` that returns a fresh world."""

    def test_every_byte_is_handed_over(self, world: SourceWorld) -> None:
        """See the law of that name."""
        every_byte_is_handed_over(world)

    def test_scanning_resumes_right_after_each_token(self, world: SourceWorld) -> None:
        """See the law of that name."""
        scanning_resumes_right_after_each_token(world)

    def test_a_run_with_nothing_new_lists_nothing(self, world: SourceWorld) -> None:
        """See the law of that name."""
        a_run_with_nothing_new_lists_nothing(world)

    def test_what_comes_later_is_found(self, world: SourceWorld) -> None:
        """See the law of that name."""
        what_comes_later_is_found(world)

    def test_a_token_of_nothing_is_no_checkpoint(self, world: SourceWorld) -> None:
        """See the law of that name."""
        a_token_of_nothing_is_no_checkpoint(world)

    def test_reading_leaves_no_trace(self, world: SourceWorld) -> None:
        """See the law of that name."""
        reading_leaves_no_trace(world)

    def test_a_vanished_message_is_left_out(self, world: SourceWorld) -> None:
        """See the law of that name."""
        a_vanished_message_is_left_out(world)

    def test_a_ref_of_nothing_harms_nothing(self, world: SourceWorld) -> None:
        """See the law of that name."""
        a_ref_of_nothing_harms_nothing(world)

    def test_an_abandoned_fetch_harms_nothing(self, world: SourceWorld) -> None:
        """See the law of that name."""
        an_abandoned_fetch_harms_nothing(world)

    def test_memory_is_bounded_by_a_few_messages(self, world: SourceWorld) -> None:
        """See the law of that name."""
        memory_is_bounded_by_a_few_messages(world)

    def test_names_tell_nobody_and_last(self, world: SourceWorld) -> None:
        """See the law of that name."""
        names_tell_nobody_and_last(world)

    def test_removing_takes_exactly_what_has_a_receipt(self, world: SourceWorld) -> None:
        """See the law of that name."""
        removing_takes_exactly_what_has_a_receipt(world)

    def test_removing_again_is_harmless(self, world: SourceWorld) -> None:
        """See the law of that name."""
        removing_again_is_harmless(world)

    def test_a_flagged_message_stays(self, world: SourceWorld) -> None:
        """See the law of that name."""
        a_flagged_message_stays(world)
