"""Laws of a folder in motion: what comes and goes meanwhile costs nobody anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from mailarchive._model import Removed, SourceMessage
from mailarchive.abc import Source
from mailarchive.errors import CheckpointInvalid, SourceError
from mailarchive.testing._source_kit import (
    SourceWorld,
    archived,
    is_honest,
    lacking,
    last_token,
    law,
    pages_of,
    raws_of,
    read,
    refs_of,
    scanned,
    two_pages,
)
from mailarchive.testing._source_mail import messages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailarchive._model import MessageRef

    Go: TypeAlias = Callable[[SourceWorld, Source, Sequence[SourceMessage]], None]


@law
def what_comes_after_a_loss_is_found(world: SourceWorld) -> None:
    """What is delivered after others went is listed, whichever went: no number is given twice.

    Some in the midst, the newest, or all; taken away by somebody else, or removed by the
    source.  A token that means nothing any more may be refused by `CheckpointInvalid`; then
    the whole folder is listed.  The name of what is gone hands over nothing new.
    """
    with world.source() as source:
        removes = source.capabilities.removes
    ways = [_lose, _remove] if removes else [_lose]
    which = [slice(1, 3), slice(-1, None), slice(None)]
    for number, (go, some) in enumerate((way, some) for way in ways for some in which):
        world.deliver(messages(4, start=10 * number))
        with world.source() as source:
            pages = pages_of(world, source)
            found = {each.ref: each for each in read(world, source)}
            gone = [found[ref] for ref in refs_of(pages)[some]]
            go(world, source, gone)
        later = messages(1, start=10 * number + 9)
        _is_found(world, last_token(pages), [each.ref for each in gone], later)


def _lose(world: SourceWorld, source: Source, gone: Sequence[SourceMessage]) -> None:
    del source
    for each in gone:
        world.lose(each.ref)


def _remove(world: SourceWorld, source: Source, gone: Sequence[SourceMessage]) -> None:
    del world
    results = source.remove([archived(each) for each in gone])
    assert set(results) == {Removed(each.ref) for each in gone}, (
        "what has a receipt was not removed"
    )


def _is_found(
    world: SourceWorld, token: str, gone: Sequence[MessageRef], later: list[bytes]
) -> None:
    world.deliver(later)
    with world.source() as source:
        found = _read_on(world, source, token)
        old = _asked(source, gone)

    assert world.stored(later[0]) in found, "what came after others were taken away was not found"
    assert world.stored(later[0]) not in old, (
        "the name of a message that is gone hands over another one: its number was given again"
    )


def _read_on(world: SourceWorld, source: Source, token: str) -> list[bytes]:
    """Return what a run would read after a token; all of it where the token is refused."""
    try:
        pages = pages_of(world, source, token)
    except CheckpointInvalid as error:
        is_honest(error)
        pages = pages_of(world, source)
    return raws_of([item for page in pages for item in source.fetch(page.refs)])


def _asked(source: Source, refs: Sequence[MessageRef]) -> list[bytes]:
    """Return what names hand over that may mean nothing any more."""
    try:
        items = list(source.fetch(refs))
    except SourceError as error:
        is_honest(error)
        return []
    return [item.raw for item in items if isinstance(item, SourceMessage)]


@law
def a_scan_goes_on_while_mail_comes_and_goes(world: SourceWorld) -> None:
    """What is there from the first page to the last is listed, though others go meanwhile.

    A run removes each page before it asks for the next, people delete, and mail arrives.
    What came during the scan is on a later page, or behind the last token.
    """
    with world.source() as source:
        removes = source.capabilities.removes
    _goes_on(world, _lose, 0)
    if removes:
        _goes_on(world, _remove, 1)


def _goes_on(world: SourceWorld, go: Go, turn: int) -> None:
    start = 1_000 * turn
    with world.source() as source:
        before = refs_of(pages_of(world, source)) if turn else []
    there = refs_of(two_pages(world, start=start, before=len(before)))
    listed, found, token = _scan_in_motion(world, go, messages(2, start=start + 900))
    with world.source() as source:
        found += _read_on(world, source, token)

    passed = set(there) - set(listed)
    assert not passed, (
        f"{len(passed)} of {len(there)} messages were passed over because others went"
        " between two pages"
    )
    assert len(set(listed)) == len(listed), "an item was named on two pages"
    later = {world.stored(raw) for raw in messages(2, start=start + 900)}
    assert later <= set(found), (
        "what came during a scan is on no page, and the last token is behind it"
    )


def _scan_in_motion(
    world: SourceWorld, go: Go, later: list[bytes]
) -> tuple[list[MessageRef], list[bytes], str]:
    """Return what was listed and read, and the last token; of the first pages something goes.

    And one message comes meanwhile to each of these, as long as there are any.
    """
    listed: list[MessageRef] = []
    found: list[bytes] = []
    token = ""
    with world.source() as source:
        for page in scanned(source, world.folder(source)):
            listed, token = [*listed, *page.refs], page.token
            items = [item for item in source.fetch(page.refs) if isinstance(item, SourceMessage)]
            found += [item.raw for item in items]
            if later:
                go(world, source, items[:3])
                world.deliver([later.pop()])
    return listed, found, token


@law
def a_folder_that_was_made_anew_is_listed_anew(world: SourceWorld) -> str | None:
    """A token from before is refused, or lists all of it; an old name stands for no other.

    As with a UIDVALIDITY: where numbers begin again, the epoch tells old ones from new.
    """
    if (note := lacking(world, "renumber")) is not None:
        return note
    world.deliver(messages(4))
    with world.source() as source:
        pages = pages_of(world, source)
        found = {each.ref: each for each in read(world, source)}
    token = last_token(pages)
    first, *before = (found[ref] for ref in refs_of(pages))
    world.lose(first.ref)
    world.renumber()
    world.deliver(messages(1, start=9))
    with world.source() as source:
        anew = _read_on(world, source, token)
        old = {each.ref: _asked(source, [each.ref]) for each in (first, *before)}

    expected = {each.raw for each in before} | {world.stored(messages(1, start=9)[0])}
    assert set(anew) == expected, (
        "the token of a folder that was made anew was taken for one of the new folder"
    )
    for ref, raws in old.items():
        assert raws in ([], [found[ref].raw]), (
            "the name of a message hands over another one since the folder was made anew"
        )
    return None


@law
def what_is_too_young_comes_later(world: SourceWorld) -> str | None:
    """What is left for later is told as waiting, and no token passes it over."""
    with world.source() as source:
        if type(source)._unripe is Source._unripe:  # noqa: SLF001 - whether it has the hook
            return "it leaves nothing for later"
    if (note := lacking(world, "deliver_young")) is not None:
        return note
    world.deliver(messages(3))
    young = messages(2, start=10)
    let_time_pass = world.deliver_young(young)
    with world.source() as source:
        token = last_token(pages_of(world, source))
        waiting = source.unripe()
    let_time_pass()
    with world.source() as source:
        found = _read_on(world, source, token)

    assert waiting == len(young), "what waits until it is old enough is not told by `_unripe`"
    assert {world.stored(raw) for raw in young} <= set(found), (
        "a token passes over what was too young: it is never listed"
    )
    return None


LAWS = (
    what_comes_after_a_loss_is_found,
    a_scan_goes_on_while_mail_comes_and_goes,
    a_folder_that_was_made_anew_is_listed_anew,
    what_is_too_young_comes_later,
)
"""Every one of them, in the order to read them."""
