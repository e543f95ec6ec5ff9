"""Laws of folders: what is said of one is said of no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailarchive.testing._source_kit import (
    SourceWorld,
    kept,
    last_token,
    law,
    pages_of,
    places,
    raws_of,
    refs_of,
)
from mailarchive.testing._source_mail import messages
from mailarchive.testing._source_removing import come_and_go
from mailarchive.testing._traced import NotTried

if TYPE_CHECKING:
    from mailarchive.abc import Source


@law
def each_folder_has_a_path_of_its_own(world: SourceWorld) -> str | None:
    """Keys and paths are unique, and the path is the one that people know.

    Checkpoints are kept under the key, folders are chosen by the path: where two have one,
    or each has the other's, mail is lost or kept that was not meant.
    """
    both = places(world)
    for place in both:
        place.deliver(messages(1))
    with world.source() as source:
        folders = source.folders()
        paths = [(place.folder(source).path, place.folder_path()) for place in both]

    assert len({each.key for each in folders}) == len(folders), "a folder was listed twice"
    assert len({each.path for each in folders}) == len(folders), "two folders have one path"
    for path, known in paths:
        if known is None:
            return NotTried("the world does not say by `folder_path` what its folder is called")
        assert path == known, "a folder has another path than people know it by"
    return None


@law
def no_folder_is_taken_for_another(world: SourceWorld) -> str | None:
    """Pages, tokens, messages and removals are of the folder that was asked for.

    Two folders get their mail in turns, so that what is first in one is first in the other.
    """
    other = world.elsewhere()
    if other is None:
        return world.cannot.get("elsewhere") or _alone(world)
    here, there = messages(6), messages(3, start=100)
    world.deliver(here[:3])
    other.deliver(there)
    world.deliver(here[3:])
    with world.source() as source:
        _comes_from_its_folder(world, source, here)
        _comes_from_its_folder(other, source, there)
        _goes_on(world, source)
        tokens = [last_token(pages_of(place, source)) for place in (world, other)]
        removes = source.capabilities.removes
    _goes_on_in_its_folder(world, other, tokens)
    if removes:
        _goes_from_its_folder(world, other)
        _goes_from_its_folder(other, world)
    return None


def _alone(world: SourceWorld) -> str:
    with world.source() as source:
        several = len(source.folders()) > 1
    if several:
        return NotTried("the world fills one of several folders: give it `elsewhere`")
    return "the place has one folder alone"


def _comes_from_its_folder(world: SourceWorld, source: Source, raws: list[bytes]) -> None:
    refs = refs_of(pages_of(world, source))
    found = raws_of(list(source.fetch(refs)))
    key = world.folder(source).key

    assert {ref.folder for ref in refs} == {key}, "a ref is of another folder than was listed"
    assert sorted(found) == kept(world, raws), "a folder hands over what is in another one"


def _goes_on(world: SourceWorld, source: Source) -> None:
    """In one folder alone, so that two are not blamed for what goes wrong in each."""
    later = messages(1, start=50)
    token = last_token(pages_of(world, source))
    world.deliver(later)
    found = raws_of(list(source.fetch(refs_of(pages_of(world, source, token)))))
    assert found == kept(world, later), "what came later is not what was found"


def _goes_on_in_its_folder(one: SourceWorld, other: SourceWorld, tokens: list[str]) -> None:
    """The last token of each is asked after both were listed, and mail came to one."""
    later = messages(2, start=200)
    other.deliver(later)
    with one.source() as again:
        old, new = (
            refs_of(pages_of(world, again, token))
            for world, token in zip((one, other), tokens, strict=True)
        )
        found = raws_of(list(again.fetch(new)))

    assert not old, "what came into one folder was listed in another"
    assert len(new) == len(later), "the token of one folder was taken for that of another"
    assert sorted(found) == kept(other, later), "what came into one folder was not found there"


def _goes_from_its_folder(world: SourceWorld, other: SourceWorld) -> None:
    """Removing in one folder leaves the other one as it was."""
    before = other.look()
    come_and_go(world, 2)

    assert other.look() == before, "a removal in one folder changed another one"


LAWS = (each_folder_has_a_path_of_its_own, no_folder_is_taken_for_another)
"""Every one of them, in the order to read them."""
