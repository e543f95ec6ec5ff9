"""The laws of a `Sink` as a pytest class, for whoever writes one.

Subclass `SinkContract` in a test module and say how your sink is made::

    class TestMySink(SinkContract):
        @pytest.fixture
        def open_sink(self, tmp_path):
            return partial(MySink, tmp_path / "archive")

The fixture returns a maker: each call gives a sink, not yet opened, into the same archive,
which is empty before each law.  One that can be pickled, as this `functools.partial` can and a
lambda cannot, is opened in a new interpreter too.  What a sink does not promise, by its
`capabilities`, is not asked of it.  The test of a law that cannot be tried here, such as
without strace, is skipped, with the reason.  A law that it cannot keep is waived by name,
with the reason, and pytest lists it at its end, among the warnings, as `LawWaived`;
overriding a law, or what is behind it, does not work, be it after the class was made::

        waivers = {"a_large_message_comes_back": "the store takes 16 MiB at most"}

The laws themselves, which need no pytest, are in `mailarchive.testing.sink_laws`.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ClassVar, Final, final

import pytest
from typing_extensions import override

from mailarchive.testing import sink_laws as laws
from mailarchive.testing._contract import Made, look_before_and_after, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mailarchive._model import UserId
    from mailarchive.abc import Sink
    from mailarchive.testing.sink_laws import SinkMaker

__all__ = ["LawWaived", "SinkContract"]

_HOOKS: Final = frozenset({"waivers", "largest", "points", "seen_by"})
"""What a subclass may change."""


@final
class LawWaived(UserWarning):
    """A law that a sink does not keep, and need not; the text has the reason."""


class SinkContract:
    """The laws as tests; a subclass has a fixture `open_sink` that returns a maker."""

    waivers: ClassVar[Mapping[str, str]] = {}
    """Names of laws that are not kept, and why; one that is kept after all is an error."""

    largest: ClassVar[int] = 200 << 20
    """Bytes of the large message."""

    points: ClassVar[int] = 6
    """How many system calls of a run are made to fail, or the process to die in."""

    @override
    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a subclass that overrides a law, or waives one that there is not."""
        super().__init_subclass__(**kwargs)
        _refuse_what_is_no_contract(cls)

    @pytest.fixture(autouse=True)
    def _laws_are_whole(self, request: pytest.FixtureRequest) -> None:
        """Look again before each test: a class can be changed after it was made."""
        look_before_and_after(request, _refuse_what_is_no_contract)

    def seen_by(self, sink: Sink, user: UserId) -> Iterable[bytes] | None:
        """Return the messages that a user is shown; overridden where a sink shows any.

        Without it what the sink's method `of(user)` gives, if there is one.
        """
        of: Callable[[UserId], Iterable[bytes]] | None = getattr(sink, "of", None)
        return None if of is None else of(user)

    def _hold(self, law: Any, make: SinkMaker, **settings: Any) -> None:
        waived = self.waivers.get(law.__name__)
        try:
            note = law(make, **settings)
        except AssertionError as broken:
            if waived is not None:
                _tell(f"{law.__name__} is waived: {waived} ({broken})")
                pytest.xfail(f"waived: {waived} ({broken})")
            raise
        if isinstance(note, laws.NotTried):
            pytest.skip(f"not tried: {note}")
        if waived is not None:
            pytest.fail(f"waived ({waived}), and kept all the same: take the waiver away")
        if note is not None:
            print(f"{law.__name__}: {note}")  # noqa: T201 - pytest shows it on request

    def test_an_entry_is_stored_once(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.an_entry_is_stored_once, open_sink)

    def test_other_bytes_of_one_item_are_both_kept(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.other_bytes_of_one_item_are_both_kept, open_sink)

    def test_a_rendered_item_keeps_its_first_bytes(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.a_rendered_item_keeps_its_first_bytes, open_sink)

    def test_a_message_id_is_no_identity(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.a_message_id_is_no_identity, open_sink)

    def test_equal_bytes_of_two_copies_are_both_acknowledged(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.equal_bytes_of_two_copies_are_both_acknowledged, open_sink)

    def test_any_order_and_any_split_gives_one_archive(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.any_order_and_any_split_gives_one_archive, open_sink)

    def test_foreseeing_changes_nothing(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.foreseeing_changes_nothing, open_sink)

    def test_every_byte_comes_back(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.every_byte_comes_back, open_sink)

    def test_a_large_message_comes_back(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.a_large_message_comes_back, open_sink, octets=self.largest)

    def test_a_receipt_says_what_was_stored(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.a_receipt_says_what_was_stored, open_sink)

    def test_nothing_in_a_mail_names_a_place(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.nothing_in_a_mail_names_a_place, open_sink)

    def test_what_is_acknowledged_is_there_in_a_new_process(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.what_is_acknowledged_is_there_in_a_new_process, open_sink)

    def test_a_killed_process_loses_nothing_acknowledged(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.a_killed_process_loses_nothing_acknowledged, open_sink, points=self.points)

    def test_a_lost_reply_harms_nothing(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.a_lost_reply_harms_nothing, open_sink)

    def test_a_failed_put_leaves_nothing_half(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.a_failed_put_leaves_nothing_half, open_sink, points=self.points)

    def test_acknowledged_means_on_the_medium(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.acknowledged_means_on_the_medium, open_sink)

    def test_what_a_dead_writer_left_is_synced_before_it_counts(
        self, open_sink: SinkMaker
    ) -> None:
        """See the law of that name."""
        self._hold(
            laws.what_a_dead_writer_left_is_synced_before_it_counts, open_sink, points=self.points
        )

    def test_a_failed_sync_is_never_asked_again(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.a_failed_sync_is_never_asked_again, open_sink, points=self.points)

    def test_reading_is_as_the_capabilities_say(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.reading_is_as_the_capabilities_say, open_sink)

    def test_what_is_read_is_what_the_receipt_says(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.what_is_read_is_what_the_receipt_says, open_sink)

    def test_a_receipt_of_nothing_is_an_error(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.a_receipt_of_nothing_is_an_error, open_sink)

    def test_several_threads_may_put_at_once(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.several_threads_may_put_at_once, open_sink)

    def test_two_sinks_may_be_open_at_once(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.two_sinks_may_be_open_at_once, open_sink)

    def test_nobody_sees_the_mail_of_others(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.nobody_sees_the_mail_of_others, open_sink, seen_by=self.seen_by)

    def test_an_open_and_a_close_leave_nothing_open(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.an_open_and_a_close_leave_nothing_open, open_sink)

    def test_memory_is_bounded(self, open_sink: SinkMaker) -> None:
        """See the law of that name."""
        self._hold(laws.memory_is_bounded, open_sink)


_MADE: Final = Made(SinkContract, laws, _HOOKS)


def _refuse_what_is_no_contract(mine: SinkContract | type[SinkContract]) -> None:
    """Refuse a subclass, or an instance of one, in which a law is not what it was."""
    changed = _MADE.changed(mine)
    if changed:
        raise TypeError(
            f"{name_of(mine)} overrides a law: {', '.join(changed)}; "
            "a law that a sink cannot keep is named in `waivers`, with the reason"
        )
    if min(mine.points, mine.largest) < 1:
        raise TypeError(f"{name_of(mine)} tries nothing: `points` or `largest` is less than 1")
    unknown = set(mine.waivers) - {law.__name__ for law in laws.LAWS}
    if unknown or not all(reason.strip() for reason in mine.waivers.values()):
        raise TypeError(
            f"{name_of(mine)} waives what is no law, or for no reason: "
            f"{', '.join(sorted(unknown or mine.waivers))}"
        )


def _tell(what: str) -> None:
    """Have pytest say at its end what is waived, whatever else it is told about warnings.

    Of a test that is expected to fail it prints no more than an `x`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("always", LawWaived)
        warnings.warn(what, LawWaived, stacklevel=2)
