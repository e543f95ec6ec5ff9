"""A report on which laws a sink keeps, for people to read and for programs.

`python -m mailarchive.testing report MODULE:FACTORY` prints it.  FACTORY takes a fresh
folder and returns a sink, not yet opened; the same folder means the same archive.
"""

from __future__ import annotations

import inspect
import json
import platform
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import field, frozen

from mailarchive.abc import Sink
from mailarchive.errors import ConfigurationError, MailArchiveError
from mailarchive.testing import sink_laws
from mailarchive.testing._elsewhere import NotStarted
from mailarchive.testing._sink_survival import FORKS_ALONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mailarchive._model import SinkCapabilities
    from mailarchive.testing.sink_laws import Law, SinkMaker

__all__ = ["Report", "Result", "Verdict", "report"]

FORMAT: Final = 1

_FORKS_ALONE: Final = (
    "durability across a new process was tried by a fork alone, because the factory cannot be"
    " handed to a new interpreter: make it a function of a module that can be imported, and no"
    " lambda or function in a function"
)


class Result(StrEnum):
    """What became of a law."""

    KEPT = "kept"
    NOT_PROMISED = "not promised"
    NOT_TRIED = "not tried"
    WAIVED = "waived"
    BROKEN = "broken"


@frozen
class Verdict:
    """One law, what became of it, and what is to be said of that."""

    law: str
    says: str
    result: Result
    note: str = ""


@frozen
class Report:
    """Every law of a sink; `holds` where none is broken.

    `made_by` is the class of the sink, `version` that of the package which it is in, and
    `largest` how many bytes the large message had.
    """

    sink: str
    made_by: str
    version: str
    tried_at: datetime
    capabilities: SinkCapabilities
    processes: str
    largest: int
    verdicts: tuple[Verdict, ...] = field(repr=lambda them: f"<{len(them)}>")

    @property
    def holds(self) -> bool:
        """Whether no law is broken; see the others for what is not promised, or was not tried."""
        return not any(each.result is Result.BROKEN for each in self.verdicts)

    @property
    def limitations(self) -> tuple[str, ...]:
        """What was tried less than it could be, and how it is tried in full."""
        forks = any(each.note == FORKS_ALONE for each in self.verdicts)
        return (_FORKS_ALONE,) if forks else ()

    def json(self) -> str:
        """Return the report for programs."""
        tree = {
            "format": FORMAT,
            "sink": self.sink,
            "made by": self.made_by,
            "version": self.version,
            "date": self.tried_at.date().isoformat(),
            "holds": self.holds,
            "capabilities": _capabilities(self.capabilities),
            "other processes": self.processes,
            "limitations": list(self.limitations),
            "largest message": self.largest,
            "ran on": _where(),
            "laws": [
                {
                    "law": each.law,
                    "says": each.says,
                    "result": each.result.value,
                    "note": each.note,
                }
                for each in self.verdicts
            ],
        }
        return json.dumps(tree, indent=2) + "\n"

    def markdown(self) -> str:
        """Return the report for people."""
        counts = {result: sum(v.result is result for v in self.verdicts) for result in Result}
        head = [
            f"# Conformance of the sink `{self.sink}`",
            "",
            "**It keeps the contract.**" if self.holds else "**It breaks the contract.**",
            ", ".join(f"{number} {result}" for result, number in counts.items() if number) + ".",
            "",
            f"- made by: `{self.made_by}`, {self.version}",
            f"- date: {self.tried_at.date().isoformat()}",
            *(f"- {name}: {value}" for name, value in _capabilities(self.capabilities).items()),
            f"- other processes: {self.processes}",
            *(f"- **limitation**: {each}" for each in self.limitations),
            f"- largest message: {self.largest:,} bytes",
            *(f"- {name}: {value}" for name, value in _where().items()),
            "",
            "| law | result | |",
            "|---|---|---|",
        ]
        rows = [
            f"| {each.law.replace('_', ' ')} | {each.result} | {_cell(each.note)} |"
            for each in self.verdicts
        ]
        return "\n".join([*head, *rows]) + "\n"


def _capabilities(capabilities: SinkCapabilities) -> dict[str, object]:
    return {
        "reads": capabilities.reads,
        "durability": capabilities.durability.name.lower(),
        "concurrent puts": capabilities.concurrent_puts,
    }


def _version_of(module: str) -> str:
    """Return the package that a module is in, and its version, where it is installed."""
    from importlib.metadata import packages_distributions, version

    packages = packages_distributions().get(module.partition(".")[0], [])
    return ", ".join(f"{each} {version(each)}" for each in sorted(set(packages))) or (
        "of no installed package"
    )


def _where() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        kit = version("mailarchive")
    except PackageNotFoundError:
        kit = "unknown"
    return {
        "mailarchive": kit,
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
    }


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def report(
    factory: Callable[[Path], Sink],
    *,
    waivers: Mapping[str, str] | None = None,
    largest: int = 200 << 20,
    points: int | None = None,
    spawned: bool = False,
    only: Iterable[Law] = sink_laws.LAWS,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Report:
    """Try every law on a fresh archive of its own and return what became of each.

    `factory` takes a folder that is empty before the law; the same folder means the same
    archive.  With `spawned` the laws' other processes are new interpreters.  `points` is at
    about how many system calls a law tries what it tries at some; each has its own number.

    Raises `ConfigurationError` for a waiver of what is no law, for a message or points of
    no size, for a factory that no other process can have, and what opening a sink raises.
    """
    waived = dict(waivers or {})
    unknown = set(waived) - {law.__name__ for law in sink_laws.LAWS}
    if unknown:
        raise ConfigurationError(
            f"there is no law {', '.join(sorted(unknown))}",
            suggestions=["the names are those in mailarchive.testing.sink_laws.LAWS"],
        )
    if largest < 1:
        raise ConfigurationError(
            "the large message must have a size",
            suggestions=["give a number of MiB of 1 or more, or leave it out for 200"],
        )
    if points is not None and points < 1:
        raise ConfigurationError(
            "a law that tries no system call tries nothing",
            suggestions=["give 1 point or more, or leave it out"],
        )
    settings = {"octets": largest} if points is None else {"octets": largest, "points": points}
    with _archive(factory, spawned=spawned) as make, _made(make) as sink:
        name, capabilities, kind = sink.name, sink.capabilities, type(sink)
    verdicts = []
    for law in only:
        with _archive(factory, spawned=spawned) as make:
            verdicts.append(_verdict(law, make, waived.get(law.__name__), settings))
    return Report(
        sink=name,
        made_by=f"{kind.__module__}.{kind.__qualname__}",
        version=_version_of(kind.__module__),
        tried_at=now(),
        capabilities=capabilities,
        processes="new interpreters" if spawned else "forks, and one new interpreter if it can be",
        largest=largest,
        verdicts=tuple(verdicts),
    )


def _made(make: SinkMaker) -> Sink:
    """Return the first sink that the factory makes; raises `ConfigurationError`."""
    try:
        sink: object = make()
    except MailArchiveError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"the factory raises {type(error).__name__}",
            suggestions=["it is called with one argument, the Path of a folder"],
        ) from error
    if not isinstance(sink, Sink):
        raise ConfigurationError("the factory returns something that is no Sink")
    return sink


class _archive:  # noqa: N801 - used as the function that it is
    """A maker into a folder that goes away afterwards."""

    def __init__(self, factory: Callable[[Path], Sink], *, spawned: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mailarchive-law-"))
        make = partial(factory, self.folder)
        try:
            self.make: SinkMaker = sink_laws.Spawned(make) if spawned else make
        except TypeError as error:
            self.__exit__()
            raise _not_elsewhere() from error

    def __enter__(self) -> SinkMaker:
        return self.make

    def __exit__(self, *exc: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _not_elsewhere() -> ConfigurationError:
    return ConfigurationError(
        "the factory cannot be handed to a new interpreter",
        suggestions=["make it a function of a module that can be imported; no lambda will do"],
    )


def _verdict(
    law: Law, make: SinkMaker, waived: str | None, settings: Mapping[str, int]
) -> Verdict:
    says = (law.__doc__ or "").partition("\n")[0]
    known = inspect.signature(law).parameters
    mine: dict[str, Any] = {name: each for name, each in settings.items() if name in known}
    try:
        note = law(make, **mine)
    except NotStarted as error:
        raise _not_elsewhere() from error
    except AssertionError as broken:
        result = Result.BROKEN if waived is None else Result.WAIVED
        why = str(broken).partition("\n")[0]
        note = why if waived is None else f"{waived} ({why})"
    else:
        result = _result(note)
        if waived is not None and result is not Result.NOT_TRIED:
            result, note = Result.BROKEN, "waived, and kept all the same: take the waiver away"
    return Verdict(law.__name__, says, result, note or "")


def _result(note: str | None) -> Result:
    if note is None or isinstance(note, sink_laws.Kept):
        return Result.KEPT
    return Result.NOT_TRIED if isinstance(note, sink_laws.NotTried) else Result.NOT_PROMISED


def load(name: str) -> Callable[[Path], Sink]:
    """Return the factory that `MODULE:FACTORY` names; raises `ConfigurationError`."""
    from importlib import import_module

    module, _, attribute = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = getattr(import_module(module), attribute)
    except Exception as error:
        raise ConfigurationError(
            f"there is no {name}: {type(error).__name__}",
            suggestions=["write MODULE:FACTORY, as for an import, from the folder of the module"],
        ) from error
    if not callable(found):
        raise ConfigurationError(f"{name} cannot be called")
    return cast("Callable[[Path], Sink]", found)
