"""What the laws of a sink have in common."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from functools import wraps
from itertools import count
from typing import TYPE_CHECKING, Final, ParamSpec, TypeAlias

from attrs import evolve

from mailarchive._guarding import SinkDefect
from mailarchive._model import Digest, Digested, Durability, Receipt, Stored
from mailarchive.abc import Sink
from mailarchive.errors import MailArchiveError, SinkError, Unsupported
from mailarchive.testing._elsewhere import ForeignError, NotStarted
from mailarchive.testing.entries import entry, mail

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailarchive._model import ArchiveEntry, Rejected

SinkMaker: TypeAlias = Callable[[], Sink]
"""Returns a sink, not yet opened, into the one archive that a law has for itself.

The archive is empty before the law; each call gives another sink into the same one.
"""

Law: TypeAlias = Callable[[SinkMaker], str | None]
"""Returns where the law holds, and a text that says what was not promised, so not tried.

Raises `AssertionError` where it is broken; the text names the fault.
"""

P = ParamSpec("P")


def law(function: Callable[P, str | None]) -> Callable[P, str | None]:
    """Make a law of a function: whatever it raises says that the law is broken."""

    @wraps(function)
    def hold(*args: P.args, **kwargs: P.kwargs) -> str | None:
        if args and isinstance(args[0], Sink):
            raise TypeError(
                "a law takes a maker, which it calls for each sink that it needs, and not a"
                " sink: lambda: MySink(folder)"
            )
        try:
            return function(*args, **kwargs)
        except (AssertionError, KeyboardInterrupt, SystemExit, NotStarted):
            raise
        except ForeignError as error:
            raise AssertionError(f"a public method lets a {error} out") from error
        except BaseException as error:
            raise AssertionError(_said("a call that must succeed", error)) from error

    return hold


def _said(doing: str, error: BaseException) -> str:
    if isinstance(error, MailArchiveError):
        return f"{doing} raises {type(error).__name__}: {error}"
    return f"a public method lets a {type(error).__name__} out: {doing}"


SERIAL = count(1)
"""Numbers for keys, so that no two laws mean the same copy."""

MARKED: Final = "q7zebra"
"""A word in a mail that is nowhere else."""

PAYLOAD: Final = 256 << 10
"""Bytes of an entry that is looked for in system calls."""

_OF_A_MAIL: Final = (MARKED, "@example.com")


def marked(number: int, *, octets: int = 0) -> bytes:
    """Return a small message whose subject holds the word."""
    return mail(number, octets=octets).replace(b"Message", MARKED.encode(), 1)


def incompressible(count: int, *, octets: int = 2_000) -> list[ArchiveEntry]:
    """Return entries of which each is written somewhere in full, whatever compresses them."""
    numbers = (next(SERIAL) for _ in range(count))
    return [
        entry(marked(n) + random.Random(n).randbytes(octets), key=f"large-{n}") for n in numbers
    ]


def as_a_run_makes_it(one: ArchiveEntry) -> ArchiveEntry:
    """Return the entry with the digest that a run has taken; some sinks foresee no other."""
    return evolve(one, digested=Digested(one.raw))


def tells_nothing(text: str, what: str) -> None:
    """See that a text which ends in logs has nothing of a mail in it."""
    assert not any(word in text for word in _OF_A_MAIL), f"{what} holds text of a mail"


@contextmanager
def opened(make: SinkMaker, when: str) -> Iterator[Sink]:
    """Open a sink, and say when it could not be opened."""
    with ExitStack() as stack:
        try:
            sink = stack.enter_context(make())
        except MailArchiveError as error:
            raise AssertionError(_said(f"{when}: opening it", error)) from error
        yield sink


def stored(sink: Sink, one: ArchiveEntry, what: str = "a message") -> Receipt:
    """Put an entry that any sink must take, and return its receipt."""
    try:
        answer = sink.put(one)
    except MailArchiveError as error:
        raise AssertionError(_said(f"{what}: a put", error)) from error
    return receipt_of(answer, what)


def receipt_of(answer: Receipt | Rejected, what: str = "a message") -> Receipt:
    """Return the answer, which must be a receipt."""
    assert isinstance(answer, Receipt), f"{what}: it was rejected: {answer.reason}"
    return answer


def receipts_of(answers: Sequence[Receipt | Rejected], what: str = "a message") -> list[Receipt]:
    """Return the answers, all of which must be receipts."""
    return [receipt_of(answer, what) for answer in answers]


def reads(sink: Sink) -> bool:
    """Whether the sink says that it can be read back."""
    return sink.capabilities.reads


def survives(sink: Sink) -> bool:
    """Whether the sink says that what it stores survives the end of the process."""
    return sink.capabilities.durability >= Durability.PROCESS


def read_back(sink: Sink, receipt: Receipt, raw: bytes, what: str) -> None:
    """Read an entry back, where that is promised, and compare it to the byte."""
    if not reads(sink):
        return
    try:
        found = sink.read(receipt)
    except MailArchiveError as error:
        raise AssertionError(_said(f"{what}: reading it back", error)) from error
    assert found == raw, f"{what}: {difference(raw, found)}"


def difference(raw: bytes, found: bytes) -> str:
    """Say how bytes came back, from which one on, and show no more of a message."""
    pairs = enumerate(zip(raw, found, strict=False))
    first = next((at for at, (a, b) in pairs if a != b), min(len(raw), len(found)))
    was, is_ = (f"{each[first]:#04x}" if first < len(each) else "the end" for each in (raw, found))
    return (
        f"{len(raw)} bytes were put and {len(found)} came back,"
        f" the first other one at {first}: {was} became {is_}"
    )


def is_first(again: Receipt, first: Receipt, when: str) -> None:
    """Compare the answer to an entry put again with the first one."""
    assert again.outcome is Stored.PRESENT, f"{when}: the entry was stored a second time"
    assert (again.sink, again.location, again.stored_digest) == (
        first.sink,
        first.location,
        first.stored_digest,
    ), f"{when}: the answer is not the first receipt"
    assert again.durability >= first.durability, f"{when}: the receipt promises less than before"


def fails_well(error: MailArchiveError, doing: str) -> None:
    """See that an error is one of a sink, its own, and says what a person can do."""
    kind = type(error).__name__
    assert isinstance(error, SinkError | Unsupported), f"{doing} raises {kind}, no SinkError"
    cause = error.__cause__
    foreign = cause if isinstance(cause, ForeignError) else type(cause).__name__
    assert not isinstance(error, SinkDefect), (
        f"{doing} lets a {foreign} out of the sink's own code"
    )
    assert error.suggestions, f"{doing}: {kind} says nothing that a person can do"
    tells_nothing(" ".join((str(error), *error.suggestions)), f"{doing}: the {kind}")


def digest_is(receipt: Receipt, raw: bytes, what: str) -> None:
    """Compare a receipt's digest with that of the bytes."""
    assert receipt.stored_digest == Digest.of(raw), f"{what}: the receipt's digest is another one"
