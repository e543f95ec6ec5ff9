"""The laws of the quarantine: kept whole, kept once, let go only for a receipt."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from mailarchive import Digest, MessageRef, SourceMessage, Stored
from mailarchive.errors import StateError
from mailarchive.quarantine import QuarantineFolder
from mailarchive.testing.fuse import Crash, Fuse

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def message(raw: bytes = b"raw\0\r\n\xff", key: str = "1.1") -> SourceMessage:
    """A message with everything that a source may tell."""
    return SourceMessage(MessageRef("s", "INBOX", key, 3, "r"), raw, NOW, frozenset({"\\Seen"}))


@pytest.fixture
def folder(tmp_path: Path) -> QuarantineFolder:
    """An empty quarantine."""
    return QuarantineFolder(tmp_path / "deep" / "quarantine", clock=lambda: NOW)


def test_a_held_message_comes_back_whole(folder: QuarantineFolder) -> None:
    """Bytes, flags, time and where it came from are what they were."""
    receipt = folder.hold(message(), "broken")

    (held,) = folder.list()
    assert (held.reason, held.held_at, held.id) == ("broken", NOW, receipt.entry_id.hex)
    assert folder.read(held.id) == message()


def test_the_same_message_is_held_once(folder: QuarantineFolder) -> None:
    """Holding it again gives the same receipt, and keeps the first reason."""
    first = folder.hold(message(), "broken")
    again = folder.hold(message(), "something else")

    assert again == evolve(first, outcome=Stored.PRESENT)
    assert [held.reason for held in folder.list()] == ["broken"]


def test_other_bytes_of_one_item_are_another_message(folder: QuarantineFolder) -> None:
    """Nothing is ever overwritten."""
    folder.hold(message(b"one"), "broken")
    folder.hold(message(b"two"), "broken")

    assert {folder.read(held.id).raw for held in folder.list()} == {b"one", b"two"}


@given(key=st.text(), reason=st.text(), raw=st.binary(max_size=100))
def test_no_name_from_a_mail_reaches_the_file_system(
    tmp_path_factory: pytest.TempPathFactory, key: str, reason: str, raw: bytes
) -> None:
    """Whatever the source calls it, the files are named by digests."""
    path = tmp_path_factory.mktemp("q")
    quarantine = QuarantineFolder(path)
    receipt = quarantine.hold(message(raw, key), reason)

    names = {file.name for file in path.iterdir()}
    assert names == {f"{receipt.entry_id.hex}.eml", f"{receipt.entry_id.hex}.json"}
    assert quarantine.read(receipt.entry_id.hex) == message(raw, key)


@pytest.mark.parametrize("id_", ["", "../../etc/passwd", "0" * 64, "0" * 63, "A" * 64, "*"])
def test_an_unknown_id_is_our_error(folder: QuarantineFolder, id_: str) -> None:
    """An id that is no digest names no file."""
    with pytest.raises(StateError, match="no message with this id"):
        folder.read(id_)


def test_damage_is_noticed(folder: QuarantineFolder, tmp_path: Path) -> None:
    """A message whose bytes are not the held ones is not handed over."""
    receipt = folder.hold(message(), "broken")
    file = tmp_path / "deep" / "quarantine" / f"{receipt.entry_id.hex}.eml"
    file.write_bytes(b"other")
    with pytest.raises(StateError, match="not the one that was held"):
        folder.read(receipt.entry_id.hex)


def test_a_damaged_record_is_our_error(folder: QuarantineFolder, tmp_path: Path) -> None:
    """Whatever is wrong with the files, only our error comes out."""
    receipt = folder.hold(message(), "broken")
    file = tmp_path / "deep" / "quarantine" / f"{receipt.entry_id.hex}.json"
    for damage in (b"", b"{}", b"[]", b"null", b'{"format": 9}', b"\xff"):
        file.write_bytes(damage)
        with pytest.raises(StateError):
            folder.list()


def test_release_needs_a_receipt_of_the_same_bytes(folder: QuarantineFolder) -> None:
    """What is not in an archive is not let go."""
    receipt = folder.hold(message(), "broken")
    with pytest.raises(StateError, match="receipt"):
        folder.release(receipt.location, evolve(receipt, stored_digest=Digest.of(b"other")))

    assert len(folder.list()) == 1


def test_a_released_message_leaves_its_record(folder: QuarantineFolder, tmp_path: Path) -> None:
    """It is gone from the list and from the disk; where it went stays on record."""
    receipt = folder.hold(message(), "broken")
    folder.release(receipt.location, evolve(receipt, sink="vault", location="p1"))

    assert folder.list() == ()
    assert [held.released for held in folder.list(released=True)] == ["vault: p1"]
    assert not list(tmp_path.rglob("*.eml"))
    with pytest.raises(StateError):
        folder.read(receipt.location)


def test_a_message_released_once_is_not_held_again(folder: QuarantineFolder) -> None:
    """It is in the archive; a repeated run changes nothing."""
    receipt = folder.hold(message(), "broken")
    folder.release(receipt.location, receipt)
    again = folder.hold(message(), "broken")

    assert again.outcome is Stored.PRESENT
    assert folder.list() == ()


def test_a_crash_at_any_step_holds_all_or_nothing(tmp_path: Path) -> None:
    """What is listed is readable; holding it again completes it."""
    fuse = Fuse()
    QuarantineFolder(tmp_path / "count", fuse=fuse).hold(message(), "broken")
    for at in range(len(fuse.steps)):
        path = tmp_path / str(at)
        with suppress(Crash):
            QuarantineFolder(path, fuse=Fuse(at)).hold(message(), "broken")
        quarantine = QuarantineFolder(path)
        assert all(quarantine.read(held.id) == message() for held in quarantine.list())
        quarantine.hold(message(), "broken")
        assert [quarantine.read(held.id) for held in quarantine.list()] == [message()]


@pytest.mark.parametrize("damage", [None, b"", b"other bytes"])
def test_bytes_that_were_lost_are_put_back(
    folder: QuarantineFolder, tmp_path: Path, damage: bytes | None
) -> None:
    """A receipt says that the bytes are there: held again, what was lost or changed is whole."""
    id_ = folder.hold(message(), "broken").entry_id.hex
    file = next(tmp_path.rglob("*.eml"))
    file.unlink() if damage is None else file.write_bytes(damage)

    assert folder.hold(message(), "broken").outcome is Stored.PRESENT
    assert folder.read(id_) == message()


def test_what_was_released_is_not_put_back(folder: QuarantineFolder, tmp_path: Path) -> None:
    """A message that went into an archive is not kept twice when it is met again."""
    receipt = folder.hold(message(), "broken")
    folder.release(receipt.entry_id.hex, receipt)

    folder.hold(message(), "broken")
    assert not list(tmp_path.rglob("*.eml"))


def test_only_the_owner_reads_what_is_held(folder: QuarantineFolder, tmp_path: Path) -> None:
    """Mail of nobody known is open to no other user of the machine, whatever the umask."""
    before = os.umask(0)
    try:
        folder.hold(message(), "broken")
    finally:
        os.umask(before)

    where = tmp_path / "deep" / "quarantine"
    for path in (where, *where.iterdir()):
        assert not path.stat().st_mode & 0o077
