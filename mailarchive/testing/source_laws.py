"""The laws of a `Source`, each a plain function that needs no pytest.

Each takes a `SourceWorld`, fresh and empty, and returns `None`, or a text that says what the
source does not promise (or, a `NotTried`, which hand its world lacks), or raises
`AssertionError` with a text that names the fault::

    every_byte_is_handed_over(MyWorld())

`source_contract` makes a pytest class of them.  A source that cannot remove has to say so.
"""

from __future__ import annotations

from mailarchive.testing import (
    _source_bytes,
    _source_folders,
    _source_memory,
    _source_moving,
    _source_reading,
    _source_removing,
    _source_trouble,
)
from mailarchive.testing._source_bytes import (
    a_message_id_is_no_identity,
    every_byte_is_handed_over,
    odd_bytes_are_handed_over,
)
from mailarchive.testing._source_folders import (
    each_folder_has_a_path_of_its_own,
    no_folder_is_taken_for_another,
)
from mailarchive.testing._source_kit import Law, SourceWorld, law
from mailarchive.testing._source_mail import Odd, messages
from mailarchive.testing._source_memory import (
    a_large_message_is_held_alone,
    memory_is_bounded_by_a_few_messages,
)
from mailarchive.testing._source_moving import (
    a_folder_that_was_made_anew_is_listed_anew,
    a_scan_goes_on_while_mail_comes_and_goes,
    what_comes_after_a_loss_is_found,
    what_is_too_young_comes_later,
)
from mailarchive.testing._source_reading import (
    a_folder_of_nothing_harms_nothing,
    a_ref_of_nothing_harms_nothing,
    a_run_with_nothing_new_lists_nothing,
    a_token_of_nothing_is_no_checkpoint,
    a_vanished_message_is_left_out,
    an_abandoned_fetch_harms_nothing,
    an_empty_folder_is_no_error,
    names_tell_nobody_and_last,
    opening_and_closing_leaves_nothing_behind,
    reading_leaves_no_trace,
    refs_may_be_asked_for_in_any_order,
    scanning_resumes_right_after_each_token,
    what_comes_later_is_found,
)
from mailarchive.testing._source_removing import (
    a_flagged_message_stays,
    a_message_that_was_changed_stays,
    removing_again_is_harmless,
    removing_takes_exactly_what_has_a_receipt,
    removing_touches_nothing_else,
    what_is_not_what_was_archived_stays,
)
from mailarchive.testing._source_trouble import (
    a_message_that_cannot_be_read_harms_no_other,
    only_our_errors_come_out,
)
from mailarchive.testing._traced import NotTried

__all__ = [
    "LAWS",
    "Law",
    "NotTried",
    "Odd",
    "SourceWorld",
    "a_flagged_message_stays",
    "a_folder_of_nothing_harms_nothing",
    "a_folder_that_was_made_anew_is_listed_anew",
    "a_large_message_is_held_alone",
    "a_message_id_is_no_identity",
    "a_message_that_cannot_be_read_harms_no_other",
    "a_message_that_was_changed_stays",
    "a_ref_of_nothing_harms_nothing",
    "a_run_with_nothing_new_lists_nothing",
    "a_scan_goes_on_while_mail_comes_and_goes",
    "a_token_of_nothing_is_no_checkpoint",
    "a_vanished_message_is_left_out",
    "an_abandoned_fetch_harms_nothing",
    "an_empty_folder_is_no_error",
    "each_folder_has_a_path_of_its_own",
    "every_byte_is_handed_over",
    "law",
    "memory_is_bounded_by_a_few_messages",
    "messages",
    "names_tell_nobody_and_last",
    "no_folder_is_taken_for_another",
    "odd_bytes_are_handed_over",
    "only_our_errors_come_out",
    "opening_and_closing_leaves_nothing_behind",
    "reading_leaves_no_trace",
    "refs_may_be_asked_for_in_any_order",
    "removing_again_is_harmless",
    "removing_takes_exactly_what_has_a_receipt",
    "removing_touches_nothing_else",
    "scanning_resumes_right_after_each_token",
    "what_comes_after_a_loss_is_found",
    "what_comes_later_is_found",
    "what_is_not_what_was_archived_stays",
    "what_is_too_young_comes_later",
]

LAWS: tuple[Law, ...] = (
    *_source_bytes.LAWS,
    *_source_reading.LAWS,
    *_source_moving.LAWS,
    *_source_folders.LAWS,
    *_source_memory.LAWS,
    *_source_trouble.LAWS,
    *_source_removing.LAWS,
)
"""Every law, in the order to read them."""
