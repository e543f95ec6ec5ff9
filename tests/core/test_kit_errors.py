"""What somebody is told who gets the interface wrong."""

from __future__ import annotations

import pickle
import sys
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from mailarchive import Address, Archiver, Receipt, Sink, UserId
from mailarchive._guarding import sink_errors, source_errors
from mailarchive.errors import (
    ConfigurationError,
    DirectoryError,
    ReceiptMismatch,
    SinkError,
    SourceError,
)
from mailarchive.sinks import sink
from mailarchive.testing import s3_server, sink_laws, sink_report
from mailarchive.testing.__main__ import USAGE, main
from mailarchive.testing._sink_kit import fails_well
from mailarchive.testing._source_kit import is_honest
from mailarchive.testing.dovecot import ServerMissing
from mailarchive.testing.entries import entry, mail
from mailarchive.testing.memory import (
    MemoryCheckpoints,
    MemoryQuarantine,
    MemorySink,
    MemorySource,
)
from mailarchive.users import StaticMap

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager

    from mailarchive import ArchiveEntry


class Nameless(Sink):
    """Forgets what it is called."""

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        raise NotImplementedError


def nameless(folder: object) -> Sink:
    """The factory of one."""
    del folder
    return Nameless()


def test_what_has_no_name_says_so_when_it_is_opened() -> None:
    """Errors, logs and checkpoints name it."""
    with pytest.raises(ConfigurationError, match="Nameless has no name"), Nameless():
        pass


@pytest.mark.parametrize("start", [s3_server.moto, s3_server.rclone, s3_server.seaweedfs])
def test_a_server_of_s3_without_its_client_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, start: Callable[[], AbstractContextManager[object]]
) -> None:
    """Nobody could make a bucket in it: it is not started, nor waited for."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ServerMissing, match="pip install 'boto3'"), start():
        pass


def test_a_report_on_what_cannot_be_tried_is_no_verdict(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The exit status tells it from a law that is broken."""
    assert main(["report", f"{__name__}:nameless"]) == USAGE
    assert main(["report", f"{__name__}:nameless", "--largest", "0"]) == USAGE
    assert "must have a size" in capsys.readouterr().err


def test_an_honest_error_may_send_people_to_whoever_made_the_place() -> None:
    """What the kits take for a broken promise is known by its class, and not by its words."""
    hint = ["report it to the help desk's maker"]
    is_honest(SourceError("the help desk answers nonsense", suggestions=hint))
    unreadable = SinkError("the archive answers nonsense", suggestions=hint)
    unreadable.__cause__ = ValueError()
    fails_well(unreadable, "a put")

    with pytest.raises(SourceError) as of_source, source_errors("s", "listing"):
        raise ValueError
    with pytest.raises(SinkError) as of_sink, sink_errors("s", "storing"):
        raise ValueError
    with pytest.raises(AssertionError, match="lets a foreign ValueError out"):
        is_honest(of_source.value)
    with pytest.raises(AssertionError, match="lets a ValueError out"):
        fails_well(of_sink.value, "a put")
    with (
        pytest.raises(SinkError, match="no memory left") as of_memory,
        sink_errors("s", "storing"),
    ):
        raise MemoryError
    fails_well(of_memory.value, "a put")
    for each in (of_source.value, of_sink.value):
        again = pickle.loads(pickle.dumps(each))
        assert (type(again), str(again), again.suggestions) == (
            type(each),
            str(each),
            each.suggestions,
        )


@pytest.mark.parametrize("answer", [None, [None], ["a receipt"]])
def test_an_answer_that_is_none_is_called_so(answer: Any) -> None:
    """A hook without a `return` is the usual reason."""

    class Silent(MemorySink):
        """Answers nothing that is an answer."""

        @override
        def _put_many(self, entries: Any) -> Any:
            return answer

    with Silent() as silent, pytest.raises(ReceiptMismatch, match="no receipt"):
        silent.put(entry(mail(1)))

    @sink("silent")
    def nothing(each: ArchiveEntry) -> Any:
        return answer

    with nothing, pytest.raises(ReceiptMismatch, match="no receipt"):
        nothing.put(entry(mail(1)))


def test_a_law_takes_a_maker() -> None:
    """And says so to who gives it a sink."""
    with pytest.raises(TypeError, match="takes a maker"):
        sink_laws.an_entry_is_stored_once(MemorySink())  # type: ignore[arg-type]  # the mistake


def test_a_report_says_how_large_a_message_was_tried(tmp_path: Any) -> None:
    """A report that was made with a small one must not look like another."""
    memory = MemorySink()
    done = sink_report.report(lambda _: memory, largest=3, only=())

    assert "largest message: 3 bytes" in done.markdown()
    assert '"largest message": 3' in done.json()


def run(**parts: Any) -> Archiver:
    """A run over two messages in memory."""
    source = MemorySource()
    for number in (1, 2):
        source.add(mail(number))
    users = parts.pop("users", StaticMap({}))
    state, quarantine = MemoryCheckpoints(), MemoryQuarantine()
    return Archiver(source, MemorySink(), users, state=state, quarantine=quarantine, **parts)


@pytest.mark.parametrize("decoder", [lambda raw: raw.no_such_name, lambda raw: None])
def test_a_decoder_that_breaks_is_no_success(decoder: Any) -> None:
    """The mail is safe in the quarantine, and whoever runs it must look."""
    archiver = run(decoder=decoder)
    with archiver.sink:
        report = archiver.run()

    assert (report.quarantined, report.defects, report.ok) == (2, 2, False)
    assert report.adds_up


def test_a_user_map_that_answers_for_texts_is_broken() -> None:
    """Its answers would fit no address, and all mail would be nobody's."""

    class ByText:
        """Answers for how addresses are written."""

        def resolve(self, addresses: Collection[Address], /) -> Any:
            """Take each for its text."""
            return {each.spec: frozenset({UserId("bob")}) for each in addresses}

    archiver = run(users=ByText())
    with archiver.sink, pytest.raises(DirectoryError, match="no Address"):
        archiver.run()
