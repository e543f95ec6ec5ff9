"""The border to foreign code: it is opened once, closed once, and only our errors cross it."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, final

from mailarchive.errors import (
    ConfigurationError,
    MailArchiveError,
    SinkError,
    SinkFull,
    SinkNotWritable,
    SourceError,
    SourceUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import Self


class SourceDefect(SourceError):
    """The adapter of a source did what none may; nothing but this border raises it."""

    def __init__(self, message: str) -> None:
        """Take the sentence; what to do is the same for all."""
        super().__init__(
            message, suggestions=["this is a defect of the source adapter: report it"]
        )


class SinkDefect(SinkError):
    """The same of a sink."""

    def __init__(self, message: str) -> None:
        """Take the sentence; what to do is the same for all."""
        super().__init__(message, suggestions=["this is a defect of the sink: report it"])


@contextmanager
def source_errors(name: str, doing: str) -> Iterator[None]:
    """Let our errors through and give every foreign one a type, and none of its text."""
    try:
        yield
    except MailArchiveError:
        raise
    except OSError as error:
        msg = f"source {name}: connection or file trouble while {doing}: {kind_of(error)}"
        raise SourceUnavailable(
            msg, suggestions=["check that the source is reachable, and run again"]
        ) from error
    except MemoryError as error:
        raise SourceError(
            f"source {name}: no memory left while {doing}",
            suggestions=["give the process more, or lower the source's limit of a message"],
        ) from error
    except Exception as error:
        raise SourceDefect(f"source {name}: {type(error).__name__} while {doing}") from error


@contextmanager
def sink_errors(name: str, doing: str) -> Iterator[None]:
    """The same for a sink; a full disk and a read-only place have classes of their own."""
    try:
        yield
    except MailArchiveError:
        raise
    except OSError as error:
        raise _sink_os_error(name, doing, error) from error
    except MemoryError as error:
        raise SinkError(
            f"sink {name}: no memory left while {doing}",
            suggestions=["give the process more, or put fewer or smaller messages at a time"],
        ) from error
    except Exception as error:
        raise SinkDefect(f"sink {name}: {type(error).__name__} while {doing}") from error


def kind_of(error: Exception) -> str:
    """The class of an error and, of the system's, the symbolic number: its text may say more."""
    number = error.errno if isinstance(error, OSError) else None
    return f"{type(error).__name__} {errno.errorcode.get(number or 0, '')}".rstrip()


def _sink_os_error(name: str, doing: str, error: OSError) -> SinkError:
    where = f"sink {name}: {kind_of(error)} while {doing}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return SinkFull(f"{where}: no room left", suggestions=["make room, then run again"])
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return SinkNotWritable(
            where, suggestions=["give this user the right to write there, or choose another place"]
        )
    return SinkError(where, suggestions=["check the disk and the system's log, then run again"])


class Opened(ABC):
    """Something with a name that is opened, used and closed: the half that both classes share.

    Who enters what is open already, as a run does with a source or a `Tee` with its sinks,
    shares it: the one who entered first closes it, by leaving last.
    """

    name: str
    _entered: int = 0

    def _open(self) -> None:
        """Get ready; after it `capabilities` are right.  Called once, before anything else."""

    def _close(self) -> None:
        """Let go of everything; called once, also after an error."""

    @abstractmethod
    def _guard(self, doing: str) -> AbstractContextManager[None]:
        """Give every foreign error a type while something is being done."""

    @final
    def __enter__(self) -> Self:
        """Get ready; whatever fails is closed again.  Raises our errors alone."""
        if not self._entered:
            self._check_name()
            try:
                with self._guard("opening"):
                    self._open()
            except BaseException:
                with suppress(Exception):  # the first error is the one to tell
                    self._close()
                raise
        self._count(self._entered + 1)
        return self

    def _count(self, entered: int) -> None:
        object.__setattr__(self, "_entered", entered)  # the class may be a frozen one

    def _check_name(self) -> None:
        """Errors, logs and checkpoints name it."""
        name: object = getattr(self, "name", None)
        if not isinstance(name, str) or not name:
            raise ConfigurationError(
                f"{type(self).__name__} has no name",
                suggestions=["set self.name in __init__: a text that never changes"],
            )

    @final
    def __exit__(self, *exc: object) -> None:
        """Close what is open; an error while closing never hides the one that led here."""
        if not self._entered:
            return  # what failed to open is closed already
        self._count(self._entered - 1)
        if self._entered:
            return
        try:
            with self._guard("closing"):
                self._close()
        except MailArchiveError:
            if exc[0] is None:
                raise
