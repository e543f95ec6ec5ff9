"""Each law of a source fails for a source in memory that breaks it, and says how."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.broken_memory import (
    BROKEN,
    ENDLESS,
    KeysByTheRun,
    KnowsNoEpoch,
    MovesItsToken,
)
from support.memory_worlds import MemoryWorld
from typing_extensions import override

from mailarchive.testing import source_laws as laws
from mailarchive.testing.memory import MemorySource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailarchive import Folder, MessageRef
    from mailarchive.abc import Source
    from mailarchive.testing.source_laws import Law


@pytest.mark.parametrize(("kind", "law", "said"), BROKEN)
def test_a_source_that_breaks_a_law_fails_it(
    kind: type[MemorySource], law: Law, said: str
) -> None:
    """The law names the fault."""
    with pytest.raises(AssertionError, match=said):
        law(MemoryWorld(kind()))


@pytest.mark.parametrize("law", laws.LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("kind", ENDLESS)
def test_no_law_waits_for_the_end_of_a_scan_that_has_none(
    kind: type[MemorySource], law: Law
) -> None:
    """Each comes to an end, and says so wherever it waited for that of the scan."""
    lists = "scan" in _calls_of(law) and law is not laws.a_token_of_nothing_is_no_checkpoint
    try:
        law(MemoryWorld(kind()))
    except AssertionError as broken:
        said = str(broken)
    else:
        said = ""

    assert ("a scan has no end" in said) is lists


def _calls_of(law: Law) -> set[str]:
    """What a law asks an honest source for."""
    honest = MemorySource()
    law(MemoryWorld(honest))
    return set(honest.calls)


@pytest.mark.parametrize("law", laws.LAWS, ids=lambda law: law.__name__)
def test_a_token_may_be_another_one_after_each_scan(law: Law) -> None:
    """That of a server's deltas is: it breaks no law, as long as it means the same."""
    law(MemoryWorld(MovesItsToken()))


def test_a_folder_has_one_key_in_all_runs() -> None:
    """Its checkpoint is kept under it."""

    class World(MemoryWorld):
        """Takes the first folder, whatever it is called."""

        @override
        def folder(self, source: Source) -> Folder:
            """The first one."""
            return source.folders()[0]

    with pytest.raises(AssertionError, match="another key in each run: its checkpoint is never"):
        laws.a_run_with_nothing_new_lists_nothing(World(KeysByTheRun()))


def test_two_folders_are_not_blamed_for_what_goes_wrong_in_each() -> None:
    """Whoever finds nothing after a token of its own takes no token for another."""

    class Blind(MemorySource):
        """Begins each scan too late."""

        @override
        def _resume(self, box: object, token: str) -> int:
            return super()._resume(box, token) + 1  # type: ignore[arg-type]  # only passed on

    with pytest.raises(AssertionError, match="what came later is not what was found"):
        laws.no_folder_is_taken_for_another(MemoryWorld(Blind()))


def test_what_a_hook_of_the_world_raises_names_the_hook() -> None:
    """The source is not at fault, and the traceback of a law tells a stranger little."""

    class Lost(MemoryWorld):
        """Looks for a folder that is not there."""

        @override
        def folder(self, source: Source) -> Folder:
            """Nothing has this name."""
            return next(each for each in source.folders() if each.key == "nowhere")

    with pytest.raises(AssertionError, match="the world's `folder` raises StopIteration"):
        laws.what_comes_later_is_found(Lost())


class Bare(laws.SourceWorld):
    """A world with the hands alone that every world has."""

    def __init__(self) -> None:
        self.whole = MemoryWorld(KnowsNoEpoch())

    @override
    def source(self) -> Source:
        """The same one."""
        return self.whole.source()

    @override
    def deliver(self, raws: Sequence[bytes]) -> None:
        """The same way."""
        self.whole.deliver(raws)

    @override
    def lose(self, ref: MessageRef) -> None:
        """The same way."""
        self.whole.lose(ref)

    @override
    def look(self) -> object:
        """At the same things."""
        return self.whole.look()


@pytest.mark.parametrize(
    ("law", "hand"),
    [
        (laws.odd_bytes_are_handed_over, "`takes`"),
        (laws.each_folder_has_a_path_of_its_own, "`folder_path`"),
        (laws.a_folder_that_was_made_anew_is_listed_anew, "`renumber`"),
        (laws.a_message_that_was_changed_stays, "`change`"),
        (laws.a_flagged_message_stays, "`flag`"),
        (laws.only_our_errors_come_out, "`broken`"),
        (laws.a_message_that_cannot_be_read_harms_no_other, "`spoiled`"),
    ],
)
def test_a_law_without_its_hand_says_which_is_missing(law: Law, hand: str) -> None:
    """Nothing is passed over in silence."""
    note = law(Bare())

    assert isinstance(note, laws.NotTried)
    assert hand in note


@pytest.mark.parametrize(
    ("law", "hook"),
    [
        (laws.a_folder_that_was_made_anew_is_listed_anew, "renumber"),
        (laws.a_message_that_was_changed_stays, "change"),
        (laws.a_flagged_message_stays, "flag"),
        (laws.only_our_errors_come_out, "broken"),
        (laws.a_message_that_cannot_be_read_harms_no_other, "spoiled"),
        (laws.no_folder_is_taken_for_another, "elsewhere"),
    ],
)
def test_what_nobody_could_do_is_told_with_its_reason(law: Law, hook: str) -> None:
    """That is no hand that is missing: the test is not skipped."""
    world = Bare()
    world.cannot = {hook: "nobody could"}
    note = law(world)

    assert note == "nobody could"
    assert not isinstance(note, laws.NotTried)


def test_a_place_without_flags_is_tried_without_one() -> None:
    """What else is to stay where something is removed stays all the same."""
    assert laws.removing_touches_nothing_else(Bare()) is None


def test_a_source_that_leaves_nothing_for_later_needs_no_young_mail() -> None:
    """Whether it does is said by the hook of the source, not of the world."""
    assert laws.what_is_too_young_comes_later(Bare()) == "it leaves nothing for later"
