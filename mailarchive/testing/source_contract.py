"""The laws of a `Source` as a pytest class, for whoever writes one.

Subclass `SourceContract` in a test module and give it a world to live in::

    class TestMySource(SourceContract):
        @pytest.fixture
        def world(self, tmp_path):
            return MyWorld(tmp_path)

A `SourceWorld` is a place with mail in it that the source reads, and hands to change it
behind the source's back.  Where it lacks a hand that a law needs, the test is skipped and
says which; `pytest -ra` lists those.  The laws themselves, which need no pytest, are in
`mailarchive.testing.source_laws`; overriding one, or what is behind it, does not work, be it
after the class was made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from typing_extensions import override

from mailarchive.testing import source_laws as laws
from mailarchive.testing._contract import Made, look_before_and_after, name_of
from mailarchive.testing.source_laws import NotTried, Odd, SourceWorld

if TYPE_CHECKING:
    from mailarchive.testing.source_laws import Law

__all__ = ["Odd", "SourceContract", "SourceWorld"]


class SourceContract:
    """The laws as tests; a subclass has a fixture `world` that returns a fresh world."""

    @override
    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a subclass that overrides a law, or what is behind the laws."""
        super().__init_subclass__(**kwargs)
        _refuse_what_is_no_contract(cls)

    @pytest.fixture(autouse=True)
    def _laws_are_whole(self, request: pytest.FixtureRequest) -> None:
        """Look again before each test: a class can be changed after it was made."""
        look_before_and_after(request, _refuse_what_is_no_contract)

    def _hold(self, law: Law, world: SourceWorld) -> None:
        note = law(world)
        if isinstance(note, NotTried):
            pytest.skip(f"not tried: {note}")
        if note is not None:
            print(f"{law.__name__}: {note}")  # noqa: T201 - pytest shows it on request

    def test_every_byte_is_handed_over(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.every_byte_is_handed_over, world)

    def test_odd_bytes_are_handed_over(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.odd_bytes_are_handed_over, world)

    def test_a_message_id_is_no_identity(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.a_message_id_is_no_identity, world)

    def test_scanning_resumes_right_after_each_token(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.scanning_resumes_right_after_each_token, world)

    def test_a_run_with_nothing_new_lists_nothing(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.a_run_with_nothing_new_lists_nothing, world)

    def test_what_comes_later_is_found(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.what_comes_later_is_found, world)

    def test_what_comes_after_a_loss_is_found(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.what_comes_after_a_loss_is_found, world)

    def test_a_scan_goes_on_while_mail_comes_and_goes(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.a_scan_goes_on_while_mail_comes_and_goes, world)

    def test_a_folder_that_was_made_anew_is_listed_anew(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.a_folder_that_was_made_anew_is_listed_anew, world)

    def test_what_is_too_young_comes_later(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.what_is_too_young_comes_later, world)

    def test_an_empty_folder_is_no_error(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.an_empty_folder_is_no_error, world)

    def test_a_token_of_nothing_is_no_checkpoint(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.a_token_of_nothing_is_no_checkpoint, world)

    def test_reading_leaves_no_trace(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.reading_leaves_no_trace, world)

    def test_a_vanished_message_is_left_out(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.a_vanished_message_is_left_out, world)

    def test_refs_may_be_asked_for_in_any_order(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.refs_may_be_asked_for_in_any_order, world)

    def test_a_ref_of_nothing_harms_nothing(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.a_ref_of_nothing_harms_nothing, world)

    def test_a_folder_of_nothing_harms_nothing(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.a_folder_of_nothing_harms_nothing, world)

    def test_an_abandoned_fetch_harms_nothing(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.an_abandoned_fetch_harms_nothing, world)

    def test_memory_is_bounded_by_a_few_messages(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.memory_is_bounded_by_a_few_messages, world)

    def test_a_large_message_is_held_alone(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.a_large_message_is_held_alone, world)

    def test_names_tell_nobody_and_last(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.names_tell_nobody_and_last, world)

    def test_opening_and_closing_leaves_nothing_behind(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.opening_and_closing_leaves_nothing_behind, world)

    def test_each_folder_has_a_path_of_its_own(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.each_folder_has_a_path_of_its_own, world)

    def test_no_folder_is_taken_for_another(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.no_folder_is_taken_for_another, world)

    def test_only_our_errors_come_out(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.only_our_errors_come_out, world)

    def test_a_message_that_cannot_be_read_harms_no_other(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.a_message_that_cannot_be_read_harms_no_other, world)

    def test_removing_takes_exactly_what_has_a_receipt(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.removing_takes_exactly_what_has_a_receipt, world)

    def test_removing_touches_nothing_else(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.removing_touches_nothing_else, world)

    def test_removing_again_is_harmless(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.removing_again_is_harmless, world)

    def test_a_flagged_message_stays(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.a_flagged_message_stays, world)

    def test_what_is_not_what_was_archived_stays(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.what_is_not_what_was_archived_stays, world)

    def test_a_message_that_was_changed_stays(self, world: SourceWorld) -> None:
        """See the law of that name."""
        self._hold(laws.a_message_that_was_changed_stays, world)


_MADE: Final = Made(SourceContract, laws)


def _refuse_what_is_no_contract(mine: object) -> None:
    """Refuse a subclass, or an instance of one, in which a law is not what it was."""
    changed = _MADE.changed(mine)
    if changed:
        raise TypeError(f"{name_of(mine)} overrides a law: {', '.join(changed)}")
