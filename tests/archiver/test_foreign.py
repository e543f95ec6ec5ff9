"""(7) Whatever a strategy does, only our errors leave a run, and none of its text does."""

from __future__ import annotations

import errno
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve
from support.world import LocalParts, World
from typing_extensions import override

from mailarchive import Address, Decoded, Digest, Envelope, Span, UserId
from mailarchive.archiver import RetryPlan, give_up
from mailarchive.attribution import CreateUsers
from mailarchive.errors import (
    ConfigurationError,
    DirectoryError,
    MailArchiveError,
    SinkUnavailable,
    StateError,
)
from mailarchive.testing.memory import MemoryCheckpoints, MemoryQuarantine, NoUsers

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailarchive import Checkpoint, Receipt, SourceMessage

SECRET = "ann@corp.example"
FOREIGN: tuple[Exception, ...] = (
    KeyError(SECRET),
    OSError(errno.ENOSPC, SECRET),
    UnicodeDecodeError("ascii", b"\xff", 0, 1, SECRET),
    StopIteration(SECRET),
)


def raising(error: BaseException) -> Callable[..., Any]:
    """A function of anything that raises."""

    def broken(*arguments: object) -> object:
        raise error

    return broken


def answering(answer: object) -> Callable[..., Any]:
    """A function of anything that gives this."""
    return lambda *arguments: answer


class Users(LocalParts):
    """A user map that does what a test says."""

    def __init__(self, does: Callable[..., Any]) -> None:
        super().__init__()
        self.resolve = does  # type: ignore[method-assign]  # what is tested


class Store(MemoryCheckpoints):
    """A checkpoint store with one method that does what a test says."""

    def __init__(self, method: str, does: Callable[..., Any]) -> None:
        super().__init__()
        setattr(self, method, does)


class Hospital(MemoryQuarantine):
    """A quarantine that does what a test says."""

    def __init__(self, does: Callable[..., Any]) -> None:
        super().__init__()
        self.hold = does  # type: ignore[method-assign]  # what is tested


Settings = dict[str, Any]
SEAMS: dict[str, tuple[Callable[[Callable[..., Any]], Settings], type[MailArchiveError]]] = {
    "select": (lambda does: {"select": does}, ConfigurationError),
    "clock": (lambda does: {"clock": does}, ConfigurationError),
    "attribution": (lambda does: {"attribution": does}, DirectoryError),
    "users": (lambda does: {"users": Users(does)}, DirectoryError),
    "create": (
        lambda does: {
            "users": NoUsers(),
            "unknown": CreateUsers(does, frozenset({"corp.example"})),
        },
        DirectoryError,
    ),
    "load": (lambda does: {"state": Store("load", does)}, StateError),
    "save": (lambda does: {"state": Store("save", does)}, StateError),
    "quarantine": (
        lambda does: {"decoder": raising(ValueError()), "quarantine": Hospital(does)},
        StateError,
    ),
}
"""Each strategy of a run with a place where it is asked, and the type of its errors."""


def waiting_world() -> World:
    """A world with mail, one of it on the retry list, so that every strategy is asked."""
    world = World()
    world.fill(3)
    world.source.break_item(world.source.add(world.mail(9)), "not now")
    return world


@pytest.mark.parametrize("error", FOREIGN, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("seam", SEAMS)
def test_a_strategy_that_breaks_gives_an_error_of_ours(seam: str, error: Exception) -> None:
    """Its type says where it was; nothing of the foreign text is in it; a person is advised."""
    settings, ours = SEAMS[seam]

    with pytest.raises(ours) as caught:
        waiting_world().run(**settings(raising(error)))

    assert SECRET not in str(caught.value)
    assert type(error).__name__ in str(caught.value)
    assert caught.value.suggestions
    assert error is caught.value.__cause__


@pytest.mark.parametrize("seam", SEAMS)
def test_an_error_of_ours_passes_as_it_is(seam: str) -> None:
    """A strategy that knows better keeps its type, and with it whether to try again."""
    settings, _ = SEAMS[seam]
    error = SinkUnavailable("later", retry_after=3)

    with pytest.raises(SinkUnavailable) as caught:
        waiting_world().run(**settings(raising(error)))

    assert error is caught.value


ALICE = Address("alice@corp.example")
WRONG: dict[str, tuple[object, ...]] = {
    "select": (True, b"odd", 7),
    "clock": (None, 0, World().now.replace(tzinfo=None)),
    "attribution": (None, "alice@corp.example", [UserId("alice")], [[]]),
    "users": (None, [], {ALICE: "alice"}, {ALICE: None}, {ALICE: {7}}, {ALICE: 7}),
    "create": (None, 7, b"alice"),
    "load": (7, "checkpoint", {}),
    "quarantine": (None, 7),
}


@pytest.mark.parametrize(
    ("seam", "answer"), [(seam, answer) for seam, answers in WRONG.items() for answer in answers]
)
def test_an_answer_of_the_wrong_kind_stops_the_run(seam: str, answer: object) -> None:
    """What no strategy may say is found where it is said, not three steps later."""
    settings, ours = SEAMS[seam]
    world = waiting_world()

    with pytest.raises(ours):
        world.run(**settings(answering(answer)))

    assert world.state.saved == []


def test_a_checkpoint_of_another_folder_is_none_of_this_one() -> None:
    """(1) Its token would pass over mail that nobody has read."""
    world = World()
    world.fill(12)
    world.run()
    (*_, saved) = world.state.saved
    world.source.add(world.mail(99), folder="Sent")

    with pytest.raises(StateError, match="another folder"):
        world.run(state=Store("load", answering(saved)))


class Lossy(MemoryQuarantine):
    """A quarantine that keeps something else."""

    @override
    def hold(self, message: SourceMessage, reason: str, /) -> Receipt:
        """Lie."""
        return evolve(super().hold(message, reason), stored_digest=Digest.of(b"other"))


def test_a_quarantine_that_keeps_other_bytes_is_found_out() -> None:
    """(4) What it says it holds must be what it was given."""

    world = World()
    world.fill(1)
    with pytest.raises(StateError, match="other bytes"):
        world.run(decoder=raising(ValueError()), quarantine=Lossy())
    assert world.state.saved == []


DECODERS: dict[str, object] = {
    "nothing": None,
    "bytes": b"",
    "a pair": (Envelope(), ()),
    "no envelope": Decoded(None),  # type: ignore[arg-type]  # what is tested
    "a span behind the end": Decoded(Envelope(), (Span(0, 1 << 30),)),
    "a span before the start": Decoded(Envelope(), (Span(-5, 3),)),
    "a span inside out": Decoded(Envelope(), (Span(3, 2),)),
    "an original that is text": Decoded(Envelope(), ("text",)),  # type: ignore[arg-type]  # the same
    "no originals": Decoded(Envelope(), None),  # type: ignore[arg-type]  # the same
}


@pytest.mark.parametrize("answer", DECODERS.values(), ids=DECODERS)
def test_a_decoder_that_returns_nonsense_poisons_one_message(answer: object) -> None:
    """It is held whole with a reason, and the run goes on."""
    world = World()
    messages = world.fill(3)

    def decoder(raw: bytes, /) -> Decoded:
        return answer if raw == messages[1] else Decoded(Envelope())  # type: ignore[return-value]  # what is tested

    report = world.run(decoder=decoder)

    assert (report.stored, report.quarantined, report.defects, report.ok) == (2, 1, 1, False)
    ((message, reason),) = world.quarantine.held.values()
    assert messages[1] == message.raw
    assert "the decoder broke" in reason


@pytest.mark.parametrize("method", ["load", "save"])
def test_giving_up_lets_only_our_errors_out(method: str) -> None:
    """An operator's command asks the same store."""
    world = waiting_world()
    world.run()
    retry = world.state.saved[-1].retry[0]

    broken = Store(method, raising(OSError(errno.EIO, SECRET)))
    broken.saved = world.state.saved

    with pytest.raises(StateError, match="EIO") as caught:
        give_up(broken, retry.ref)
    assert SECRET not in str(caught.value)


def test_no_wait_is_too_long_to_be_counted() -> None:
    """Doubling a day thirty times is more than a `timedelta` holds; the bound holds first."""
    plan = RetryPlan(first=timedelta(days=1), longest=timedelta(days=7))

    waits = [plan.wait(attempts) for attempts in (1, 2, 3, 4, 31, 10_000)]

    assert [each.days for each in waits] == [1, 2, 4, 7, 7, 7]


def test_a_user_map_may_answer_with_any_set() -> None:
    """What is looked at is what it holds, not its class."""
    world = World()
    world.fill(1)
    world.run(users=Users(answering({ALICE: {UserId("alice")}})))

    (entry,) = world.sink.entries.values()
    assert {"alice"} == entry.ownership.users


def test_saving_is_asked_with_the_checkpoint_alone() -> None:
    """The store sees what the run saw: nothing stands between them but the guard."""
    world = World()
    world.fill(1)
    seen: list[Checkpoint] = []
    world.run(state=Store("save", seen.append))

    assert [(each.source, each.folder) for each in seen] == [("memory", "INBOX")]


@pytest.mark.parametrize("role", ["source", "sink"])
def test_what_is_no_source_or_sink_is_refused_before_a_run(world: World, role: str) -> None:
    """A path, or a function that was not decorated, is said to be no part; its text is not."""
    setattr(world, role, SECRET)

    with pytest.raises(ConfigurationError, match=f"the {role} is a str") as caught:
        world.archiver()

    assert SECRET not in str(caught.value)
