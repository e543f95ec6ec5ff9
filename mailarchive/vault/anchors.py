"""Places to leave a checkpoint with, out of reach of whoever has the archive.

An anchor takes a signed checkpoint and gives something in exchange that is kept beside it:
a commit, a time-stamp, a Message-ID.  One that fails is reported and asked again at the
next seal; the seal itself stands.  `mailarchive.vault.timestamps` has one more.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, final

from mailarchive import _durable
from mailarchive.errors import SinkError

if TYPE_CHECKING:
    import smtplib
    from collections.abc import Callable, Sequence

    from mailarchive.vault._note import LogCheckpoint

__all__ = ["Anchor", "FileAnchor", "GitAnchor", "MailAnchor"]

_PATIENCE = 120
"""Seconds that git may take."""
_ELSEWHERE = frozenset(
    {
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_WORK_TREE",
    }
)
"""What git tells its hooks, and what would name another repository than the one we were given."""


class Anchor(Protocol):
    """Takes a checkpoint to a place that whoever has the archive cannot change.

    May raise anything: that is reported as this anchor's failure, by its class and text,
    which must hold no secret.
    """

    @property
    def name(self) -> str:
        """A word for this anchor: small letters, digits, `-` and `.`, at most 64."""
        ...

    def anchor(self, checkpoint: LogCheckpoint) -> bytes:
        """Return the evidence that the checkpoint is there, to be kept beside it."""
        ...


def _file_name(checkpoint: LogCheckpoint) -> str:
    log = hashlib.sha256(checkpoint.origin.encode()).hexdigest()[:16]
    return f"{log}-{checkpoint.size}.checkpoint"


def _leave(path: Path, checkpoint: LogCheckpoint) -> None:
    """Leave a copy at `path`, where none is; raises `OSError`, `SinkError` where another is."""
    data = checkpoint.to_bytes()
    if not os.path.lexists(path):
        _durable.write_file(path, data)
    if not path.is_file() or path.stat().st_size != len(data) or path.read_bytes() != data:
        raise SinkError(
            "another checkpoint of this size stands in the anchor's folder",
            suggestions=["compare the two: one of them shows another history"],
        )


@final
class FileAnchor:
    """A copy in another folder: another disk, a mounted share, a store that keeps versions.

    A file that is there is never replaced.  The evidence is the file's name.
    """

    def __init__(self, folder: str | os.PathLike[str], *, name: str = "file") -> None:
        """Leave copies in `folder`, which is made where it is missing."""
        self._folder = Path(folder)
        self.name: str = name

    def anchor(self, checkpoint: LogCheckpoint) -> bytes:
        """Return the name of the copy; raises `OSError`, `SinkError` where another one stands."""
        _durable.make_folder(self._folder.absolute())
        path = self._folder / _file_name(checkpoint)
        _leave(path, checkpoint)
        return path.name.encode()


@final
class GitAnchor:
    """A commit in a git repository, which is pushed where `remote` is given.

    Nothing but the file of the checkpoint is committed, whatever else is staged there, and
    a file that is there is never replaced.  The evidence is the name of the commit.  Needs
    the program `git`.
    """

    def __init__(
        self,
        repository: str | os.PathLike[str],
        *,
        remote: str | None = None,
        name: str = "git",
    ) -> None:
        """Commit in `repository`, a working tree that exists."""
        self._repository = Path(repository)
        self._remote = remote
        self.name: str = name

    def anchor(self, checkpoint: LogCheckpoint) -> bytes:
        """Return the name of the commit; raises `SinkError` with what git said, `OSError`.

        `SinkError` also where another checkpoint of this size stands, or was committed.
        """
        file = _file_name(checkpoint)
        _leave(self._repository / file, checkpoint)
        self._git("add", "--", file)
        if self._git("status", "--porcelain", "--", file):
            words = f"Checkpoint of {checkpoint.size} lines of {checkpoint.origin}"
            self._git("commit", "--quiet", "--message", words, "--only", "--", file)
        if self._git("show", f"HEAD:./{file}") != checkpoint.to_bytes().strip():
            raise SinkError(
                "git has committed something else than the checkpoint",
                suggestions=[
                    "look for filters and attributes of the repository that change files"
                ],
            )
        if self._remote is not None:
            self._git("push", "--quiet", self._remote, "HEAD")
        return self._git("log", "-1", "--format=%H", "--", file)

    def _git(self, *words: str) -> bytes:
        # A commit has an author, whoever runs this and with whatever configuration.
        author = ("-c", "user.name=mailarchive", "-c", "user.email=mailarchive@localhost")
        signing = ("-c", "commit.gpgSign=false")
        done = subprocess.run(  # noqa: S603 - our own words, a number and a digest; no shell
            ["git", "-C", str(self._repository), *author, *signing, *words],  # noqa: S607 - the user's own git
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=_PATIENCE,
            env={**_environment(), "GIT_TERMINAL_PROMPT": "0"},
        )
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise SinkError(
                f"git {words[0]}: {said[-1] if said else done.returncode}",
                suggestions=["give a working tree of git that this user may commit to"],
            )
        return done.stdout.strip()


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}


@final
class MailAnchor:
    """A mail with the checkpoint attached, to people who keep it.

    The evidence is its Message-ID.
    """

    def __init__(
        self,
        connect: Callable[[], smtplib.SMTP],
        *,
        sender: str,
        to: Sequence[str],
        name: str = "mail",
    ) -> None:
        """Send from `sender` to everybody in `to`.

        `connect` returns a connection that is logged in, if that is asked for.
        """
        self._connect = connect
        self._sender = sender
        self._to = tuple(to)
        self.name: str = name

    def anchor(self, checkpoint: LogCheckpoint) -> bytes:
        """Return the Message-ID; raises `SinkError` where a recipient was refused, `OSError`."""
        mail = EmailMessage()
        mail["From"], mail["To"] = self._sender, ", ".join(self._to)
        mail["Subject"] = f"Checkpoint of {checkpoint.size} lines of {checkpoint.origin}"
        mail["Message-ID"] = made = make_msgid(domain="mailarchive.invalid")
        mail.set_content(
            "Keep the attached file: it shows whether the archive that it is of was changed.\n"
        )
        mail.add_attachment(
            checkpoint.to_bytes(),
            maintype="application",
            subtype="octet-stream",
            filename=_file_name(checkpoint),
        )
        with self._connect() as client:
            refused = client.send_message(mail, self._sender, self._to)
        if refused:
            raise SinkError(f"{len(refused)} of {len(self._to)} recipients were refused")
        return made.encode()
