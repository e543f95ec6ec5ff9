"""A small file survives a loss of power whole or not at all: what is asked of the kernel."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from mailarchive import Checkpoint, MessageRef, SourceMessage, _durable
from mailarchive.errors import StateError
from mailarchive.quarantine import QuarantineFolder
from mailarchive.state import FileCheckpoints


class Kernel:
    """Notes each sync, with what was there to be synced, and each rename."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, str, int]] = []
        self.refuse: str | None = None
        sync, replace = os.fsync, Path.replace

        def fsync(handle: int) -> None:
            path = Path(f"/proc/self/fd/{handle}").readlink()
            size = 0 if path.is_dir() else os.fstat(handle).st_size
            self.asked.append(("sync", path.name, size))
            if self.refuse == path.name:
                raise OSError(errno.EIO, "")
            sync(handle)

        def rename(path: Path, target: Any) -> Path:
            self.asked.append(("rename", Path(target).name, 0))
            return replace(path, target)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(Path, "replace", rename)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """A kernel that notes what it is asked."""
    return Kernel(monkeypatch)


def _beside(name: str) -> str:
    return f".{name}.{os.getpid()}.tmp"


def test_the_bytes_are_durable_before_the_name_and_the_name_at_the_end(
    kernel: Kernel, tmp_path: Path
) -> None:
    """All bytes are synced under another name, then renamed, then the folder is synced."""
    _durable.write_file(tmp_path / "x", b"data")

    assert kernel.asked == [
        ("sync", _beside("x"), 4),
        ("rename", "x", 0),
        ("sync", tmp_path.name, 0),
    ]
    assert [each.name for each in tmp_path.iterdir()] == ["x"]


def test_a_file_that_could_not_be_synced_never_gets_the_name(
    kernel: Kernel, tmp_path: Path
) -> None:
    """What was there before stays, nothing is left beside it, and no sync is tried again."""
    (tmp_path / "x").write_bytes(b"before")
    kernel.refuse = _beside("x")

    with pytest.raises(OSError, match="5"):
        _durable.write_file(tmp_path / "x", b"data")

    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"before"]
    assert kernel.asked == [("sync", _beside("x"), 4)]


def test_a_new_folder_is_durable_in_the_one_above(kernel: Kernel, tmp_path: Path) -> None:
    """Each that is made, from the outside in; one that is there is left alone."""
    _durable.make_folder(tmp_path / "a" / "b")
    _durable.make_folder(tmp_path / "a" / "b")

    assert kernel.asked == [("sync", tmp_path.name, 0), ("sync", "a", 0)]


def test_a_quarantined_message_is_durable_before_its_record(
    kernel: Kernel, tmp_path: Path
) -> None:
    """The bytes of the mail first, then the note that makes them held, then the receipt."""
    message = SourceMessage(MessageRef("s", "INBOX", "1"), b"From: a@example.com\r\n\r\nbody")
    receipt = QuarantineFolder(tmp_path).hold(message, "why")

    mail, note = f"{receipt.location}.eml", f"{receipt.location}.json"
    names = [(what, name) for what, name, _ in kernel.asked]
    assert names == [
        ("sync", _beside(mail)),
        ("rename", mail),
        ("sync", tmp_path.name),
        ("sync", _beside(note)),
        ("rename", note),
        ("sync", tmp_path.name),
        ("sync", "held"),
        ("sync", tmp_path.name),
    ]
    assert kernel.asked[0][2] == len(message.raw)


def test_a_quarantine_whose_disk_fails_gives_no_receipt(kernel: Kernel, tmp_path: Path) -> None:
    """The message is not held, and the run stops before its checkpoint."""
    message = SourceMessage(MessageRef("s", "INBOX", "1"), b"body")
    kernel.refuse = tmp_path.name

    with pytest.raises(StateError):
        QuarantineFolder(tmp_path).hold(message, "why")
    assert QuarantineFolder(tmp_path).list() == ()


def test_a_checkpoint_is_durable_when_it_is_saved(kernel: Kernel, tmp_path: Path) -> None:
    """Its bytes, its name, its folder; a removal may count on it then."""
    FileCheckpoints(tmp_path / "state").save(Checkpoint("s", "INBOX", "1"))

    made, (sync, beside, size), (rename, name, _), last = kernel.asked
    assert (made, last) == (("sync", tmp_path.name, 0), ("sync", "state", 0))
    assert (sync, beside, rename) == ("sync", _beside(name), "rename")
    assert size == (tmp_path / "state" / name).stat().st_size > 0


def test_only_what_dead_processes_left_is_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that somebody may still be writing stays, and so does all that is no such file."""
    answers = {1: None, 2: PermissionError, 3: ProcessLookupError}

    def kill(process: int, _signal: int) -> None:
        if (error := answers[process]) is not None:
            raise error

    monkeypatch.setattr("os.kill", kill)
    others = ("a.3.tmp", ".a.tmp", ".a.x.tmp", ".a.3.tmp.eml")
    names = (".a.eml.1.tmp", ".a.eml.2.tmp", ".a.eml.3.tmp", *others)
    for name in names:
        (tmp_path / name).touch()

    _durable.clear(tmp_path)

    assert {each.name for each in tmp_path.iterdir()} == set(names) - {".a.eml.3.tmp"}
