"""The contract of a sink is worth something: each law fails for a sink that breaks it."""

from __future__ import annotations

import fcntl
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from typing_extensions import override

from mailarchive import Durability, Sink
from mailarchive.errors import ConfigurationError, SinkError
from mailarchive.testing import sink_laws, sink_report
from mailarchive.testing.__main__ import main
from mailarchive.testing._traced import why_not_traced
from mailarchive.testing.broken_sinks import BROKEN, Broken, ForgetsTheFolder, OneFileEach
from mailarchive.testing.memory import MemorySink
from mailarchive.testing.sink_contract import LawWaived, SinkContract
from mailarchive.testing.sink_report import Result
from mailarchive.testing.source_contract import SourceContract

QUICK = (sink_laws.an_entry_is_stored_once, sink_laws.acknowledged_means_on_the_medium)

WAIVED = """
from functools import partial

import pytest

from mailarchive.testing.broken_sinks import ForgetsTheFolder
from mailarchive.testing.sink_contract import SinkContract


class TestMine(SinkContract):
    waivers = {"acknowledged_means_on_the_medium": "a network disk"}

    @pytest.fixture
    def open_sink(self, request, tmp_path):
        if "on_the_medium" not in request.node.name:
            pytest.skip("one law is enough")
        return partial(ForgetsTheFolder, tmp_path)
"""


@pytest.mark.parametrize(
    "broken", BROKEN, ids=[f"{each.sink.__name__}-{each.law.__name__}" for each in BROKEN]
)
def test_a_broken_sink_is_caught_by_the_law_that_names_its_fault(
    broken: Broken, tmp_path: Path
) -> None:
    """And what the law says has the words for it."""
    with pytest.raises(AssertionError) as caught:
        broken.law(partial(broken.sink, tmp_path))

    assert broken.fault in str(caught.value).partition("\n")[0]


class RefusesASecond(OneFileEach):
    """Wants to be alone, and says so; nothing in the contract is against it."""

    alone: BinaryIO | None = None

    @override
    def _open(self) -> None:
        super()._open()
        self.alone = (self.folder.parent / "alone").open("wb")
        try:
            fcntl.flock(self.alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SinkError("open elsewhere", suggestions=["close it there"]) from None

    @override
    def _close(self) -> None:
        if self.alone is not None:
            self.alone.close()


@pytest.mark.parametrize("law", sink_laws.LAWS, ids=lambda law: law.__name__)
def test_a_sink_that_wants_to_be_alone_keeps_every_law(law: sink_laws.Law, tmp_path: Path) -> None:
    """Among them the one that opens an archive in several processes, one after another."""
    if law is not sink_laws.a_large_message_comes_back:
        law(partial(RefusesASecond, tmp_path))


def test_a_maker_that_no_other_interpreter_can_have_is_tried_with_a_fork(tmp_path: Path) -> None:
    """The law holds as far as that, and says how far."""
    law = sink_laws.what_is_acknowledged_is_there_in_a_new_process

    for strange in (lambda: OneFileEach(tmp_path), partial(OneFileEach, Nowhere(tmp_path))):
        said = law(strange)

        assert isinstance(said, sink_laws.Kept)
        assert "in a fork alone" in said
    assert law(partial(OneFileEach, tmp_path)) is None


class Nowhere(type(Path())):  # type: ignore[misc]  # whatever a path is on this system
    """A path that can be pickled, and that no other interpreter makes anything of."""

    @override
    def __reduce__(self) -> Any:
        """As a class that another process cannot import."""
        return int, ("no number",)


def test_a_maker_for_a_new_interpreter_can_be_pickled(tmp_path: Path) -> None:
    """Else it is refused at once, and not taken for a fault of the sink."""
    with pytest.raises(TypeError, match="can be pickled"):
        sink_laws.Spawned(lambda: OneFileEach(tmp_path))


def test_a_law_says_how_many_system_calls_it_tried(tmp_path: Path) -> None:
    """Of how many, since a fault may be in another one."""
    law = sink_laws.a_killed_process_loses_nothing_acknowledged
    few, many = (law(partial(OneFileEach, tmp_path), points=points) for points in (1, 8))

    assert re.fullmatch(r"killed in \d of \d\d system calls", few or "")
    assert few != many


def test_every_law_catches_somebody() -> None:
    """A law that cannot fail is none."""
    assert {broken.law for broken in BROKEN} == set(sink_laws.LAWS)


def test_there_are_many_ways_to_be_broken() -> None:
    """Each of the sinks is another fault."""
    assert len({broken.sink for broken in BROKEN}) >= 30


def test_system_calls_can_be_seen() -> None:
    """Else half of the laws would say that they were not tried."""
    assert why_not_traced() is None


def test_every_law_is_a_test_of_the_contract() -> None:
    """None is forgotten, and each is called by its name."""
    tests = [name for name in vars(SinkContract) if name.startswith("test_")]

    assert tests == [f"test_{law.__name__}" for law in sink_laws.LAWS]


def test_a_law_cannot_be_overridden() -> None:
    """Neither in the class itself nor by a class beside it."""

    class Beside:
        """Has a test of that name that tests nothing."""

        def test_an_entry_is_stored_once(self) -> None:
            """Nothing."""

    with pytest.raises(TypeError, match="test_memory_is_bounded"):
        type("Mine", (SinkContract,), {"test_memory_is_bounded": None})
    with pytest.raises(TypeError, match="test_an_entry_is_stored_once"):
        type("Mine", (Beside, SinkContract), {})


def _nothing(*_: object, **__: object) -> None:
    """Hold no law."""


@pytest.mark.parametrize(
    "name", ["_hold", "__getattribute__", "__init_subclass__", "test_a_message_id_is_no_identity"]
)
@pytest.mark.parametrize("contract", [SinkContract, SourceContract])
def test_what_is_behind_the_laws_cannot_be_overridden(contract: type, name: str) -> None:
    """Else all of them would be kept by what keeps none, be it a sink or a source."""
    with pytest.raises(TypeError, match=f"overrides a law: {name}"):
        type("Mine", (contract,), {name: _nothing})


def test_a_contract_that_tries_nothing_is_refused() -> None:
    """Laws that look at no system call, or at a message of no size, would be kept by all."""
    for nothing in ({"points": 0}, {"largest": 0}):
        with pytest.raises(TypeError, match="tries nothing"):
            type("Mine", (SinkContract,), nothing)


def test_the_hooks_may_be_overridden() -> None:
    """Each of them, and a fixture and tests beside them."""
    mine = {"points": 1, "largest": 1, "seen_by": _nothing, "open_sink": _nothing}

    assert issubclass(type("Mine", (SinkContract,), mine), SinkContract)


@pytest.mark.parametrize(
    "waivers",
    [{"no_such_law": "why not"}, {"memory_is_bounded": ""}, {"memory_is_bounded": " "}],
)
def test_a_waiver_names_a_law_and_a_reason(waivers: dict[str, str]) -> None:
    """Anything else is a mistake."""
    with pytest.raises(TypeError, match="waives what is no law, or for no reason"):
        type("Mine", (SinkContract,), {"waivers": waivers})


def test_a_waived_law_is_expected_to_fail(tmp_path: Path) -> None:
    """It is printed with its reason; and a waiver that is not needed any more is a failure."""
    contract = type(
        "Mine",
        (SinkContract,),
        {"waivers": {"acknowledged_means_on_the_medium": "a network disk"}},
    )()

    with (
        pytest.raises(pytest.xfail.Exception, match="waived: a network disk"),
        pytest.warns(LawWaived, match="on_the_medium is waived: a network disk"),
    ):
        contract.test_acknowledged_means_on_the_medium(partial(ForgetsTheFolder, tmp_path))
    with pytest.raises(pytest.fail.Exception, match="take the waiver away"):
        contract.test_acknowledged_means_on_the_medium(partial(OneFileEach, tmp_path))


@pytest.mark.parametrize("more", [[], ["-W", "error"], ["-W", "ignore"], ["-n", "1"]], ids=str)
def test_a_waiver_is_seen_by_whoever_runs_the_tests(tmp_path: Path, more: list[str]) -> None:
    """With its reason, at the end of a quiet run too, and whatever is done with warnings."""
    file = tmp_path / "test_mine.py"
    file.write_text(WAIVED)

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *more, str(file)]
    ended = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)

    assert ended.returncode == 0, ended.stdout
    assert "LawWaived: acknowledged_means_on_the_medium is waived: a network disk" in ended.stdout


def test_a_report_says_what_became_of_each_law() -> None:
    """Kept, broken with the fault, or waived with the reason."""
    good = sink_report.report(OneFileEach, only=QUICK)
    bad = sink_report.report(ForgetsTheFolder, only=QUICK)
    waived = sink_report.report(
        ForgetsTheFolder,
        only=QUICK,
        waivers={"acknowledged_means_on_the_medium": "a network disk"},
    )

    assert good.holds
    assert [each.result for each in good.verdicts] == [Result.KEPT, Result.KEPT]
    assert not bad.holds
    assert "synced to the medium" in bad.markdown()
    assert waived.holds
    assert "| waived | a network disk (acknowledged before" in waived.markdown()
    assert '"result": "broken"' in bad.json()


def test_a_report_says_which_sink_and_when() -> None:
    """Its class, the package that has it, the day, and what its other processes were."""
    now = datetime(2026, 1, 2, tzinfo=UTC)
    report = sink_report.report(OneFileEach, only=(), now=lambda: now)

    for text in (report.markdown(), report.json()):
        assert "mailarchive.testing._one_file_each.OneFileEach" in text
        assert "2026-01-02" in text
        assert "forks" in text
    assert sink_report._version_of("pytest.nowhere") == f"pytest {version('pytest')}"
    assert sink_report._version_of("nowhere") == "of no installed package"


def test_a_report_says_how_far_a_law_was_tried() -> None:
    """At how many system calls, which `points` chooses, and what was claimed and not tried."""
    law = sink_laws.a_killed_process_loses_nothing_acknowledged
    one, many = (sink_report.report(OneFileEach, only=(law,), points=n) for n in (1, 8))

    assert re.search(r"kept \| killed in \d+ of \d+ system calls", one.markdown())
    assert one.verdicts != many.verdicts
    with pytest.raises(ConfigurationError, match="tries nothing"):
        sink_report.report(OneFileEach, only=(), points=0)


def test_what_a_receipt_claims_and_no_law_tries_is_said() -> None:
    """That other machines have it, and that it was read back."""
    memory = MemorySink(durability=Durability.REPLICATED)
    report = sink_report.report(lambda _: memory, only=(sink_laws.a_receipt_says_what_was_stored,))

    assert "claimed, not tried: that other machines have it too" in report.markdown()


def test_a_factory_that_no_other_interpreter_can_have_is_no_fault_of_the_sink(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The report cannot be made with `--spawn`, and is made without."""
    assert main(["report", f"{__name__}:LAMBDA", "--spawn"]) == 2
    assert "cannot be handed to a new interpreter" in capsys.readouterr().err
    with pytest.raises(ConfigurationError, match="new interpreter"):
        sink_report.report(
            partial(_in_nowhere, Nowhere()),
            spawned=True,
            only=(sink_laws.a_lost_reply_harms_nothing,),
        )


def test_a_report_that_was_tried_by_forks_alone_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In its head, with what to do about it: a row among thirty is passed over."""
    law = (sink_laws.what_is_acknowledged_is_there_in_a_new_process,)

    def local(folder: Path) -> Sink:
        return OneFileEach(folder)

    for factory in (LAMBDA, local):
        short = sink_report.report(factory, only=law)
        head, _, _ = short.markdown().partition("| law |")
        assert "- **limitation**: durability across a new process was tried by a fork" in head
        assert "make it a function of a module that can be imported" in head
        assert json.loads(short.json())["limitations"] == list(short.limitations)
        assert short.holds
    for whole in (
        sink_report.report(OneFileEach, only=law),
        sink_report.report(OneFileEach, only=law, spawned=True),
        sink_report.report(LAMBDA, only=()),
        sink_report.report(lambda _: MemorySink(), only=law),
    ):
        assert "limitation" not in whole.markdown()
        assert json.loads(whole.json())["limitations"] == []
    assert main(["report", f"{__name__}:LAMBDA", "--largest", "1", "--points", "1"]) == 0
    assert "- **limitation**: durability across a new process" in capsys.readouterr().out


def _in_nowhere(_: Path, folder: Path) -> Sink:
    return OneFileEach(folder)


LAMBDA = lambda folder: OneFileEach(folder)  # noqa: E731, PLW0108 - what somebody may write


def test_a_waiver_that_is_not_needed_breaks_the_report() -> None:
    """Else it would stand there for ever."""
    report = sink_report.report(
        OneFileEach, only=QUICK, waivers={"an_entry_is_stored_once": "why not"}
    )

    assert not report.holds


def test_the_command_prints_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    """And its exit status says whether the contract is kept."""
    name = "mailarchive.testing.broken_sinks"

    assert main(["report", f"{name}:OneFileEach", "--largest", "1"]) == 0
    assert "**It keeps the contract.**" in capsys.readouterr().out
    assert main(["report", f"{name}:StopsAtNul", "--largest", "1", "--json"]) == 1
    assert '"holds": false' in capsys.readouterr().out
    assert main(["report", f"{name}:NoSuchSink"]) == 2
    assert "MODULE:FACTORY" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    ["", ":", "nowhere:make", "json:loads", "os:getcwd", "json:nothing", "os:sep", "pathlib:Path"],
)
def test_what_cannot_be_tried_is_said(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In a sentence, and by the exit status; never by a traceback."""
    assert main(["report", name]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_what_could_not_be_seen_is_not_said_to_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without strace the laws about system calls were not tried, and the report says so."""
    monkeypatch.setenv("PATH", "/nowhere")
    why_not_traced.cache_clear()
    try:
        report = sink_report.report(OneFileEach, only=QUICK)
    finally:
        monkeypatch.undo()
        why_not_traced.cache_clear()

    assert [each.result for each in report.verdicts] == [Result.KEPT, Result.NOT_TRIED]
    assert "strace is not installed" in report.markdown()


@pytest.mark.parametrize("waivers", [{}, {"acknowledged_means_on_the_medium": "a network disk"}])
def test_what_could_not_be_tried_is_neither_passed_nor_failed(
    waivers: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The test is skipped and says why, and no waiver is told to be needless."""
    contract = type("Mine", (SinkContract,), {"waivers": waivers})()
    monkeypatch.setenv("PATH", "/nowhere")
    why_not_traced.cache_clear()
    try:
        with pytest.raises(pytest.skip.Exception, match="not tried: strace is not installed"):
            contract.test_acknowledged_means_on_the_medium(partial(OneFileEach, tmp_path))
        report = sink_report.report(OneFileEach, only=QUICK[1:], waivers=waivers)
    finally:
        monkeypatch.undo()
        why_not_traced.cache_clear()

    assert [each.result for each in report.verdicts] == [Result.NOT_TRIED]
    assert report.holds


def test_the_laws_need_no_pytest() -> None:
    """They are plain functions, and so is the report."""
    program = (
        "import sys; import mailarchive.testing.sink_report, mailarchive.testing.broken_sinks;"
        "sys.exit('pytest' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
