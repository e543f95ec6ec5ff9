"""Laws of listing and reading: from any token, any ref, at any time, and without a trace."""

from __future__ import annotations

from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from attrs import evolve

from mailarchive._model import Folder, SourceMessage, Unavailable
from mailarchive.errors import CheckpointInvalid, SourceError
from mailarchive.testing._open_files import open_files
from mailarchive.testing._source_kit import (
    NOTHING_LISTED,
    SourceWorld,
    archived,
    is_honest,
    kept,
    last_token,
    law,
    names_nobody,
    pages_of,
    places,
    raws_of,
    read,
    refs_of,
    scanned,
    two_pages,
)
from mailarchive.testing._source_mail import messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailarchive._model import Page
    from mailarchive.abc import Source

_QUIET_RUNS = 4
"""How many runs with nothing new come one after another."""


@law
def scanning_resumes_right_after_each_token(world: SourceWorld) -> None:
    """From any page's token a scan gives what came after that page, and nothing else.

    Also in another process: the second scan is of a source that was made anew.  So that
    there is a page to resume after, more and more messages are delivered until there are
    two pages.  In every folder, where there are several.
    """
    both = [(place, two_pages(place, start=1_000 * n)) for n, place in enumerate(places(world))]
    for place, pages in both:
        _resumes(place, pages)
        world.deliver(messages(2, start=5_000))  # which is nothing to the next folder


def _resumes(world: SourceWorld, pages: Sequence[Page]) -> None:
    keys = [ref.key for ref in refs_of(pages)]
    done = 0
    for page in pages:
        done += len(page.refs)
        with world.source() as again:
            rest = [ref.key for ref in refs_of(pages_of(world, again, page.token))]
        assert rest == keys[done:], "a scan left something out, or gave it twice"


@law
def a_run_with_nothing_new_lists_nothing(world: SourceWorld) -> None:
    """After the last token there is nothing, as long as nothing comes, run after run.

    The token may be another one after each, and then means the same.  A folder has one key in
    all of them, for checkpoints are kept under it.
    """
    world.deliver(messages(3))
    with world.source() as source:
        key = world.folder(source).key
        last = last_token(pages_of(world, source))

        assert not refs_of(pages_of(world, source, last)), "something old was listed as new"
    lengths = [len(last)]
    for _ in range(_QUIET_RUNS):
        with world.source() as again:
            assert world.folder(again).key == key, (
                "a folder has another key in each run: its checkpoint is never found, and it is"
                " listed anew each time"
            )
            last = _still_nothing(world, again, last)
        lengths.append(len(last))
    assert any(after <= before for before, after in pairwise(lengths)), (
        "the last token grows with each run although nothing changed: one day it is too long to"
        " be saved with each page"
    )


def _still_nothing(world: SourceWorld, source: Source, token: str) -> str:
    """List what came after the last token, which is nothing; return the last token by now."""
    try:
        pages = pages_of(world, source, token)
    except CheckpointInvalid as error:
        raise AssertionError(
            "the last token is refused in a later run although nothing changed: all is listed anew"
        ) from error
    assert not refs_of(pages), (
        "the last token means another place in a later run although nothing changed: something"
        " old was listed as new"
    )
    return pages[-1].token if pages else token


@law
def what_comes_later_is_found(world: SourceWorld) -> None:
    """What is delivered after a scan is listed by the next, and only that."""
    world.deliver(messages(3))
    later = messages(2, start=3)
    with world.source() as source:
        last = last_token(pages_of(world, source))
    world.deliver(later)
    with world.source() as source:
        items = [
            item
            for page in scanned(source, world.folder(source), last)
            for item in source.fetch(page.refs)
        ]

    assert sorted(raws_of(items)) == kept(world, later), "what came later is not what was found"


@law
def an_empty_folder_is_no_error(world: SourceWorld) -> None:
    """Nothing is listed, and what comes later is found, from whatever token there is."""
    with world.source() as source:
        pages = pages_of(world, source)
        assert not refs_of(pages), "something was listed in an empty folder"
    world.deliver(messages(2))
    with world.source() as source:
        after = pages[-1].token if pages else None
        found = refs_of(pages_of(world, source, after))

    assert len(found) == len(messages(2)), "what came into an empty folder was not found"


@law
def a_token_of_nothing_is_no_checkpoint(world: SourceWorld) -> None:
    """What was never a token raises `CheckpointInvalid`, and nothing else."""
    world.deliver(messages(1))
    with world.source() as source:
        for token in ("", "no token", "\0", "9" * 400):
            try:
                pages_of(world, source, token)
            except CheckpointInvalid as error:
                is_honest(error)
            else:
                raise AssertionError("a text that is no token was taken for one")


@law
def reading_leaves_no_trace(world: SourceWorld) -> None:
    """Listing and reading change nothing that anybody could see, in no folder."""
    both = places(world)
    for place in both:
        place.deliver(messages(4))
    before = [place.look() for place in both]
    with world.source() as source:
        found = [message for place in both for message in read(place, source)]

    assert len(found) == len(messages(4) * len(both)), "not everything was read"
    assert [place.look() for place in both] == before, "reading changed something"


@law
def a_vanished_message_is_left_out(world: SourceWorld) -> None:
    """What somebody took away after it was listed is no error, and the rest comes."""
    raws = messages(5)
    world.deliver(raws)
    with world.source() as source:
        refs = refs_of(pages_of(world, source))
        before = {item.ref: item for item in source.fetch(refs)}
    world.lose(refs[1])
    world.lose(refs[3])
    with world.source() as source:
        items = list(source.fetch(refs))

    left = {item.ref for item in items}
    assert left == {refs[0], refs[2], refs[4]}, "what is gone was not simply left out"
    for item in items:
        _is_the_same(item, before[item.ref])


def _is_the_same(item: SourceMessage | Unavailable, before: SourceMessage | Unavailable) -> None:
    if isinstance(item, SourceMessage) and isinstance(before, SourceMessage):
        assert item.received_at == before.received_at, "the time of a message changes"
        assert item.flags == before.flags, "the flags of a message change by themselves"
    assert item == before, "a name stands for another message than before"


@law
def refs_may_be_asked_for_in_any_order(world: SourceWorld) -> None:
    """The last first, a few, or none: each hands over what it names, and nothing else."""
    world.deliver(messages(5))
    with world.source() as source:
        refs = refs_of(pages_of(world, source))
        forwards = {item.ref: item for item in source.fetch(refs)}
        backwards = {item.ref: item for item in source.fetch(refs[::-1])}
        one = [item.ref for item in source.fetch(refs[3:4])]
        nothing: list[object] = [*source.fetch([])]
        if source.capabilities.removes:
            nothing += source.remove(())

    assert backwards.keys() == set(refs), "refs in another order than listed were left out"
    for ref, item in forwards.items():
        _is_the_same(backwards[ref], item)
    assert one == refs[3:4], "one of several refs was left out"
    assert not nothing, "where nothing was asked for, something was answered"


@law
def a_ref_of_nothing_harms_nothing(world: SourceWorld) -> None:
    """A ref that this source never gave hands over nothing, and the others come."""
    world.deliver(messages(2))
    with world.source() as source:
        refs = refs_of(pages_of(world, source))
        strange = [evolve(refs[0], key=key) for key in ("nothing", "../../etc/passwd", "0.0")]
        found: list[SourceMessage | Unavailable] = []
        try:
            found += source.fetch([*strange, *refs])
        except SourceError as error:
            is_honest(error)
        else:
            read = raws_of([item for item in found if item.ref in set(refs)])
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
                found = refs_of(list(scanned(source, Folder(key, (key,)))))
            except SourceError as error:
                is_honest(error)
            else:
                assert not found, "something was listed in a folder that is not there"
        assert len(read(world, source)) == 1, "the others cannot be read any more"


@law
def an_abandoned_fetch_harms_nothing(world: SourceWorld) -> None:
    """A reader that stops half way can begin again, and look elsewhere meanwhile."""
    raws = messages(6, octets=5_000)
    world.deliver(raws)
    with world.source() as source:
        refs = refs_of(pages_of(world, source))
        with closing(cast("Any", source.fetch(refs))) as half:
            next(half)
        world.folder(source)

        again = sorted(raws_of(list(source.fetch(refs))))

    assert again == kept(world, raws), "after a fetch that was dropped not everything comes"


@law
def names_tell_nobody_and_last(world: SourceWorld) -> None:
    """The name of a source holds no address and is the same for every source of the place."""
    first, second = world.source(), world.source()

    assert first.name == second.name, "two sources of one place have two names"
    names_nobody(first.name, "the name")
    with first:
        assert first.name == second.name, "opening changed the name"


@law
def opening_and_closing_leaves_nothing_behind(world: SourceWorld) -> None:
    """A source that is closed holds no file and no connection.  Counted where there is /proc.

    Whatever was done in between: listed, read, dropped half way or removed.
    """
    world.deliver(messages(2, octets=5_000))
    _open_and_close(world)
    before = open_files()
    rounds = 16
    for _ in range(rounds):
        _open_and_close(world)

    # A server of this process may take a moment to let go of the last few.
    assert open_files() < before + rounds // 2, "each opening leaves a file or a connection open"


def _open_and_close(world: SourceWorld) -> None:
    with world.source() as source:
        next(source.scan(world.folder(source)), None)  # and no more of it
        refs = refs_of(pages_of(world, source))
        assert refs, NOTHING_LISTED
        next(source.fetch(refs))
        found = [item for item in source.fetch(refs) if isinstance(item, SourceMessage)]
        if source.capabilities.removes:
            source.remove([archived(found[-1])])
            world.deliver(messages(1))


LAWS = (
    scanning_resumes_right_after_each_token,
    a_run_with_nothing_new_lists_nothing,
    what_comes_later_is_found,
    an_empty_folder_is_no_error,
    a_token_of_nothing_is_no_checkpoint,
    reading_leaves_no_trace,
    a_vanished_message_is_left_out,
    refs_may_be_asked_for_in_any_order,
    a_ref_of_nothing_harms_nothing,
    a_folder_of_nothing_harms_nothing,
    an_abandoned_fetch_harms_nothing,
    names_tell_nobody_and_last,
    opening_and_closing_leaves_nothing_behind,
)
"""Every one of them, in the order to read them."""
