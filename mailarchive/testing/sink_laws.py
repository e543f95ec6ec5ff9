"""The laws of a `Sink`, each a plain function that needs no pytest.

Each takes a maker, a callable that returns a sink not yet opened, always into the same
archive, which is empty before the law.  It raises `AssertionError` where the law is broken,
with a text that names the fault; it returns `None` where the law holds (or, a `Kept`, how
far it was tried), or a text that says what the sink does not promise (or, a `NotTried`,
what could not be seen here)::

    a_message_id_is_no_identity(lambda: MySink(folder))

`sink_contract` makes a pytest class of them, and `python -m mailarchive.testing report` a
report to publish.  Some laws work with other processes.  These are forks of this one; for a
sink that cannot live with that, give a `Spawned` maker.  Some laws look at system calls,
with strace on Linux; elsewhere they say that they were not tried.
"""

from __future__ import annotations

from mailarchive.testing import (
    _sink_fidelity,
    _sink_honesty,
    _sink_identity,
    _sink_survival,
    _sink_syncing,
)
from mailarchive.testing._elsewhere import Spawned
from mailarchive.testing._sink_fidelity import (
    ODD,
    a_large_message_comes_back,
    a_receipt_says_what_was_stored,
    every_byte_comes_back,
    nothing_in_a_mail_names_a_place,
)
from mailarchive.testing._sink_honesty import (
    a_receipt_of_nothing_is_an_error,
    an_open_and_a_close_leave_nothing_open,
    memory_is_bounded,
    nobody_sees_the_mail_of_others,
    reading_is_as_the_capabilities_say,
    several_threads_may_put_at_once,
    two_sinks_may_be_open_at_once,
    what_is_read_is_what_the_receipt_says,
)
from mailarchive.testing._sink_identity import (
    a_message_id_is_no_identity,
    a_rendered_item_keeps_its_first_bytes,
    an_entry_is_stored_once,
    any_order_and_any_split_gives_one_archive,
    equal_bytes_of_two_copies_are_both_acknowledged,
    foreseeing_changes_nothing,
    other_bytes_of_one_item_are_both_kept,
)
from mailarchive.testing._sink_kit import Law, SinkMaker
from mailarchive.testing._sink_survival import (
    a_failed_put_leaves_nothing_half,
    a_killed_process_loses_nothing_acknowledged,
    a_lost_reply_harms_nothing,
    what_is_acknowledged_is_there_in_a_new_process,
)
from mailarchive.testing._sink_syncing import (
    a_failed_sync_is_never_asked_again,
    acknowledged_means_on_the_medium,
    what_a_dead_writer_left_is_synced_before_it_counts,
)
from mailarchive.testing._traced import Kept, NotTried

__all__ = [
    "LAWS",
    "ODD",
    "Kept",
    "Law",
    "NotTried",
    "SinkMaker",
    "Spawned",
    "a_failed_put_leaves_nothing_half",
    "a_failed_sync_is_never_asked_again",
    "a_killed_process_loses_nothing_acknowledged",
    "a_large_message_comes_back",
    "a_lost_reply_harms_nothing",
    "a_message_id_is_no_identity",
    "a_receipt_of_nothing_is_an_error",
    "a_receipt_says_what_was_stored",
    "a_rendered_item_keeps_its_first_bytes",
    "acknowledged_means_on_the_medium",
    "an_entry_is_stored_once",
    "an_open_and_a_close_leave_nothing_open",
    "any_order_and_any_split_gives_one_archive",
    "equal_bytes_of_two_copies_are_both_acknowledged",
    "every_byte_comes_back",
    "foreseeing_changes_nothing",
    "memory_is_bounded",
    "nobody_sees_the_mail_of_others",
    "nothing_in_a_mail_names_a_place",
    "other_bytes_of_one_item_are_both_kept",
    "reading_is_as_the_capabilities_say",
    "several_threads_may_put_at_once",
    "two_sinks_may_be_open_at_once",
    "what_a_dead_writer_left_is_synced_before_it_counts",
    "what_is_acknowledged_is_there_in_a_new_process",
    "what_is_read_is_what_the_receipt_says",
]

LAWS: tuple[Law, ...] = (
    *_sink_identity.LAWS,
    *_sink_fidelity.LAWS,
    *_sink_survival.LAWS,
    *_sink_syncing.LAWS,
    *_sink_honesty.LAWS,
)
"""Every law, in the order to read them."""
