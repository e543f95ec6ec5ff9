"""What a command prints, and that nothing it is printed to can break the command.

A run that archived everything has done so, whoever has stopped to read about it.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator


class Output(io.TextIOBase):
    """Passes on what is written until that fails; drops the rest and remembers why.

    A character that the terminal does not know is written as its number.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """Write to `stream`, which is `None` where the process was given no output."""
        super().__init__()
        self._stream = stream
        self.error: OSError | None = None
        self.buffer = _Bytes(self)

    @override
    def write(self, text: str, /) -> int:
        """Write, or drop, the text."""
        if self._stream is not None:
            words = text.encode(self._stream.encoding or "utf-8", "backslashreplace")
            self.attempt(lambda stream: stream.write(words.decode(stream.encoding or "utf-8")))
        return len(text)

    @override
    def flush(self) -> None:
        """Hand over what was written."""
        self.attempt(lambda stream: stream.flush())

    @override
    def isatty(self) -> bool:
        """Whether a person looks on."""
        return self._stream is not None and self._stream.isatty()

    def attempt(self, work: Any) -> None:
        """Do something with the stream while it works."""
        if self._stream is None or self.error is not None:
            return
        try:
            work(self._stream)
        except (OSError, ValueError) as error:
            self.error = error if isinstance(error, OSError) else OSError(errno.EBADF, "closed")
            self._give_up()

    def _give_up(self) -> None:
        """Let the interpreter not try once more, at its end, to write what was left."""
        if self._stream in {sys.__stdout__, sys.__stderr__} and self._stream is not None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


class _Bytes(io.RawIOBase):
    """The same for the bytes of a message."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, data: Any, /) -> int:
        self._output.flush()
        self._output.attempt(lambda stream: stream.buffer.write(data))
        return len(data)


@contextmanager
def guarded() -> Iterator[Output]:
    """Put an `Output` in the place of both outputs while a command runs."""
    before = sys.stdout, sys.stderr
    out, err = Output(before[0]), Output(before[1])
    sys.stdout, sys.stderr = cast("TextIO", out), cast("TextIO", err)
    try:
        yield out
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before
