"""What an export can be written to: files, a mailbox, a bag."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, suppress
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen
from typing_extensions import override

from mailarchive import _durable
from mailarchive._model import (
    ArchiveEntry,
    Copy,
    Digest,
    Envelope,
    Fidelity,
    Folder,
    Ownership,
    Receipt,
    Stored,
    entry_id,
)
from mailarchive.errors import (
    ConfigurationError,
    Erased,
    NotProven,
    SinkCorrupt,
    StateError,
    Unsupported,
)
from mailarchive.vault._errors import NoCopy
from mailarchive.vault._tar import is_pack
from mailarchive.vault._volumes import PACKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date
    from typing import Self

    from mailarchive.abc import Sink
    from mailarchive.vault import ViewedMessage


_PRIVATE, _PRIVATE_FOLDER = 0o600, 0o700
"""What is exported is somebody's mail: for whoever exported it alone."""


def check_place(to: Path, *, is_file: bool) -> None:
    """Raise `ConfigurationError` for a place that is none for an export; nothing is made.

    What is exported is in clear, and no part of any vault: it would lie among what is
    encrypted, and `verify` knows nothing of it.
    """
    # By its name and by where links lead.
    for place in (Path(os.path.abspath(to)), Path(os.path.realpath(to))):  # noqa: PTH100 - `absolute` keeps ".."
        if any(_is_vault(each) or _is_volume(each) for each in (place, *place.parents)):
            raise ConfigurationError(
                "an export into a vault would lie among what is archived, in clear",
                suggestions=["give a path outside of it"],
            )
    if is_file and to.is_dir():
        raise ConfigurationError(
            "a folder stands there, and this form is one file",
            suggestions=["give the path of a file, or another form"],
        )
    above = [to.absolute(), *to.absolute().parents][is_file:]
    if not next(each for each in above if each.exists()).is_dir():
        raise ConfigurationError(
            "a file stands where a folder is to be written",
            suggestions=["give the path of a folder, or the form mbox, which is one file"],
        )


def _is_vault(folder: Path) -> bool:
    return (folder / "vault.json").exists() and (folder / "volumes").is_dir()


def _is_volume(folder: Path) -> bool:
    """Whether it has packs of ours: a volume may be on another disk, under any name."""
    try:
        with os.scandir(folder / PACKS) as found:
            return any(each.name.endswith(".tar") and is_pack(each.name[:-4]) for each in found)
    except OSError:
        return False  # no folder, or one that whoever exports may not look into


@frozen(slots=False)
class Found:
    """A copy of a message that is to be written; `content` is empty until it is read."""

    message: ViewedMessage
    copy: int
    content: bytes = field(default=b"", repr=False)

    def read(self) -> Found:
        """Return it with its content; raises what `ViewedMessage.content` does."""
        return evolve(self, content=self.message.content(self.copy))

    @cached_property
    def digest(self) -> Digest:
        """The digest of the content."""
        return Digest.of(self.content)

    @property
    def stem(self) -> str:
        """What files of all copies are called, but for a number: nothing that is in the mail."""
        moment = self.message.date or self.message.received_at
        day = "undated" if moment is None else f"{moment:%Y%m%d-%H%M%S}"
        return f"{day}-{self.message.key}"

    @property
    def name(self) -> str:
        """What a file of it is called where all copies are new, without a suffix."""
        return _numbered(self.stem, self.copy)


def _numbered(stem: str, number: int) -> str:
    return f"{stem}-{number + 1}" if number else stem


class Target(AbstractContextManager["Target"], ABC):
    """Where an export goes; opened, written to and closed once."""

    @override
    def __enter__(self) -> Self:
        return self

    @override
    def __exit__(self, *exc: object) -> None:
        """Finish, unless something went wrong."""

    @abstractmethod
    def write(self, found: Sequence[Found]) -> int:
        """Write them durably; return how many were not there."""

    def proven(self, found: Found) -> bool:
        """Whether it has a proof, or needs none."""
        del found
        return True


class EmlFolder(Target):
    """A folder of `.eml` files; one is there only where a file has its very bytes.

    Which copy of a message is the first may change, so a name says nothing of what is in it.
    """

    def __init__(self, folder: Path) -> None:
        """Write into `folder`, which is made where it is missing."""
        self._folder = folder.absolute()
        _make_folder(self._folder)

    @override
    def __exit__(self, *exc: object) -> None:
        """Make durable also what an export put there that died."""
        if exc[0] is None:
            _durable.sync_folder(self._folder)

    @override
    def write(self, found: Sequence[Found]) -> int:
        """Write what is not there yet."""
        return sum(map(self._write, found))

    def _write(self, found: Found) -> bool:
        names = (_numbered(found.stem, number) for number in count())
        for path in (self._folder / f"{name}.eml" for name in names):
            if not path.exists():
                _write_private(path, found.content)
                return True
            if _holds(path, found.content):
                break
        return False


def _holds(path: Path, content: bytes) -> bool:
    """Whether a file is there and has exactly these bytes."""
    if not path.is_file() or path.stat().st_size != len(content):
        return False
    return path.read_bytes() == content


def _make_folder(folder: Path) -> None:
    """Make a folder for whoever exports alone, or go on in it after an export that died."""
    _durable.make_folder(folder, mode=_PRIVATE_FOLDER)
    _durable.clear(folder)


def _write_private(path: Path, content: bytes) -> None:
    """Write a file for whoever exports alone; where that fails none is left to be believed."""
    try:
        _durable.write_file(path, content, mode=_PRIVATE)
    except OSError:
        with suppress(OSError):  # the first error is the one to tell
            path.unlink()
        raise


class Mailbox(Target):
    """A mailbox in files, written by the sink that keeps such mailboxes."""

    def __init__(self, sink: Sink) -> None:
        """Write into a sink that is not open yet."""
        self._sink = sink

    @override
    def __enter__(self) -> Self:
        try:
            self._sink.__enter__()
        except SinkCorrupt as error:
            raise ConfigurationError(str(error), suggestions=error.suggestions) from error
        return self

    @override
    def __exit__(self, *exc: object) -> None:
        self._sink.__exit__(*exc)

    @override
    def write(self, found: Sequence[Found]) -> int:
        """Write what is not there yet."""
        answers = self._sink.put_many([_entry(each) for each in found])
        return sum(isinstance(each, Receipt) and each.outcome is Stored.STORED for each in answers)


def _entry(found: Found) -> ArchiveEntry:
    """An entry of exactly the bytes that the user sees, whichever copy of the message it is."""
    copy = Copy("export", "", found.stem)
    return ArchiveEntry(
        id=entry_id(copy, found.digest, Fidelity.WIRE),
        raw=found.content,
        raw_digest=found.digest,
        originals=(),
        envelope=Envelope(),
        ownership=Ownership(),
        copy=copy,
        folder=Folder("", ()),
        fork_key=found.digest,
        received_at=found.message.received_at or found.message.date,
    )


class Bag(Target):
    """A BagIt bag (RFC 8493), complete only once its manifests are there.

    Payload files are `data/<name>.eml`; the proof that one is in the vault's log is
    `proofs/<name>.proof`, and all of them are under the newest checkpoint.
    """

    def __init__(self, folder: Path, vault: str, day: date) -> None:
        """Fill `folder` with mail of a vault.

        Raises `ConfigurationError` where it is a bag already.
        """
        self._folder = folder.absolute()
        self._info = {"Bagging-Date": day.isoformat(), "External-Identifier": vault}
        self._payload: dict[str, tuple[str, int]] = {}
        self._tags: dict[str, str] = {}
        if (self._folder / "bagit.txt").exists():
            raise ConfigurationError(
                "there is a bag already, and a bag is never added to",
                suggestions=["give a new folder"],
            )
        for each in (self._folder, self._folder / "data", self._folder / "proofs"):
            _make_folder(each)

    @override
    def __exit__(self, *exc: object) -> None:
        if exc[0] is None:
            self._finish()

    @override
    def write(self, found: Sequence[Found]) -> int:
        """Write what is not there yet."""
        return sum(map(self._write, found))

    def _write(self, found: Found) -> bool:
        name = f"data/{found.name}.eml"
        self._payload[name] = found.digest.hex, len(found.content)
        self._prove(found)
        path = self._folder / name
        if _holds(path, found.content):
            return False
        _write_private(path, found.content)
        return True

    def _prove(self, found: Found) -> None:
        try:
            proof = found.message.proof(found.copy)
            proof.check(found.content)
        except (Unsupported, Erased, NoCopy, NotProven):
            return  # the last three where it was erased since it was read
        text = proof.text()
        name = f"proofs/{found.name}.proof"
        _durable.write_file(self._folder / name, text.encode(), mode=_PRIVATE)
        self._tags[name] = hashlib.sha256(text.encode()).hexdigest()

    @override
    def proven(self, found: Found) -> bool:
        """Whether the proof was written."""
        return f"proofs/{found.name}.proof" in self._tags

    def _finish(self) -> None:
        """Write the tag files, that of the bag itself last: before it there is no bag."""
        strays = {f"data/{each.name}" for each in (self._folder / "data").iterdir()}
        if strays - self._payload.keys():
            raise StateError(
                "there are files in the folder that another export left behind",
                suggestions=["give a new folder"],
            )
        for each in ("data", "proofs"):  # also what an export put there that died
            _durable.sync_folder(self._folder / each)
        size = sum(octets for _, octets in self._payload.values())
        info = {**self._info, "Payload-Oxum": f"{size}.{len(self._payload)}"}
        payload = {name: digest for name, (digest, _) in self._payload.items()}
        self._tag("bag-info.txt", [f"{name}: {value}" for name, value in info.items()])
        self._tag("manifest-sha256.txt", _manifest(payload))
        bagit = self._tag(_BAGIT, ["BagIt-Version: 1.0", "Tag-File-Character-Encoding: UTF-8"])
        self._tag("tagmanifest-sha256.txt", _manifest(self._tags))
        (self._folder / bagit).rename(self._folder / "bagit.txt")
        _durable.sync_folder(self._folder)

    def _tag(self, name: str, lines: Iterable[str]) -> str:
        data = "".join(f"{line}\n" for line in lines).encode()
        self._tags["bagit.txt" if name == _BAGIT else name] = hashlib.sha256(data).hexdigest()
        _durable.write_file(self._folder / name, data, mode=_PRIVATE)
        return name


_BAGIT = "bagit.txt.unfinished"


def _manifest(digests: Mapping[str, str]) -> list[str]:
    return [f"{digest}  {name}" for name, digest in sorted(digests.items())]
