"""The laws of the quarantine: kept whole, kept once, let go only for a receipt."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from mailarchive import Digest, MessageRef, SourceMessage, Stored
from mailarchive.errors import KeyUnavailable, StateError
from mailarchive.quarantine import QuarantineFolder
from mailarchive.testing.fuse import Crash, Fuse
from mailarchive.vault import FileKeys

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def message(raw: bytes = b"raw\0\r\n\xff", key: str = "1.1") -> SourceMessage:
    """A message with everything that a source may tell."""
    return SourceMessage(MessageRef("s", "INBOX", key, 3, "r"), raw, NOW, frozenset({"\\Seen"}))


@pytest.fixture(params=["clear", "encrypted"])
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> FileKeys | None:
    """None, or the keys of an encrypted archive."""
    return FileKeys.create(tmp_path / "keys") if request.param == "encrypted" else None


@pytest.fixture
def folder(tmp_path: Path, keys: FileKeys | None) -> QuarantineFolder:
    """An empty quarantine."""
    return QuarantineFolder(tmp_path / "deep" / "quarantine", keys=keys, clock=lambda: NOW)


def _file(tmp_path: Path, kind: str) -> Path:
    """The one file of this kind, however it was written."""
    (found,) = (*tmp_path.rglob(f"*.{kind}"), *tmp_path.rglob(f"*.{kind}.gcm"))
    return found


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
    assert names == {f"{receipt.entry_id.hex}.eml", f"{receipt.entry_id.hex}.json", "held"}
    assert (path / "held").read_text() == f"{receipt.entry_id.hex}\n"
    assert quarantine.read(receipt.entry_id.hex) == message(raw, key)


@pytest.mark.parametrize("id_", ["", "../../etc/passwd", "0" * 64, "0" * 63, "A" * 64, "*"])
def test_an_unknown_id_is_our_error(folder: QuarantineFolder, id_: str) -> None:
    """An id that is no digest names no file."""
    with pytest.raises(StateError, match="no message with this id"):
        folder.read(id_)


def test_damage_is_noticed(folder: QuarantineFolder, tmp_path: Path) -> None:
    """A message whose bytes are not the held ones is not handed over."""
    receipt = folder.hold(message(), "broken")
    _file(tmp_path, "eml").write_bytes(b"other")
    with pytest.raises(StateError):
        folder.read(receipt.entry_id.hex)
    assert [(each.id, each.kind) for each in folder.verify()] == [(receipt.location, "altered")]
    assert folder.verify(contents=False) == ()


def test_a_damaged_record_hides_no_other(folder: QuarantineFolder, tmp_path: Path) -> None:
    """Whatever is wrong with it, it is named, the others are listed, and it can be held anew."""
    receipt = folder.hold(message(), "broken")
    file = _file(tmp_path, "json")
    folder.hold(message(b"another"), "broken too")
    for damage in (b"", b"{}", b"[]", b"null", b'{"format": 9}', b"\xff"):
        file.write_bytes(damage)
        assert [held.reason for held in folder.list()] == ["broken too"]
        assert [(it.id, it.kind) for it in folder.verify()] == [(receipt.location, "unreadable")]
        with pytest.raises(StateError):
            folder.read(receipt.location)

    folder.hold(message(), "broken")
    assert folder.verify() == ()
    assert len(folder.list()) == 2


def test_what_was_taken_away_is_missed(folder: QuarantineFolder, tmp_path: Path) -> None:
    """Its bytes alone, or all of it: both are named, and held again it is whole."""
    receipt = folder.hold(message(), "broken")
    folder.hold(message(b"another"), "broken")
    ours = [path for path in tmp_path.rglob(f"{receipt.location}*") if ".eml" in path.name]
    ours[0].unlink()
    for contents in (True, False):
        faults = folder.verify(contents=contents)
        assert [(it.id, it.kind) for it in faults] == [(receipt.location, "gone")]
    for path in tmp_path.rglob(f"{receipt.location}*"):
        path.unlink()
    assert [(it.id, it.kind) for it in folder.verify()] == [(receipt.location, "missing")]

    folder.hold(message(), "broken")
    assert folder.verify() == ()


def test_nothing_of_a_message_is_in_clear_where_there_are_keys(tmp_path: Path) -> None:
    """Not its bytes, its reason or its place; and without the keys there is only our error."""
    keys = FileKeys.create(tmp_path / "keys")
    path = tmp_path / "q"
    receipt = QuarantineFolder(path, keys=keys).hold(message(b"a secret"), "a reason")

    for file in path.iterdir():
        assert not any(word in file.read_bytes() for word in (b"secret", b"reason", b"INBOX"))
    for other in (None, FileKeys.create(tmp_path / "others")):
        closed = QuarantineFolder(path, keys=other)
        for ask in (closed.list, closed.verify, partial(closed.read, receipt.location)):
            with pytest.raises((StateError, KeyUnavailable)):
                ask()


def test_what_was_held_in_clear_is_read_with_keys(tmp_path: Path) -> None:
    """An older quarantine goes on where its archive is encrypted, or is moved into one."""
    path = tmp_path / "q"
    old = QuarantineFolder(path).hold(message(), "broken")
    quarantine = QuarantineFolder(path, keys=FileKeys.create(tmp_path / "keys"))
    quarantine.hold(message(b"new"), "broken")

    assert {quarantine.read(held.id).raw for held in quarantine.list()} == {message().raw, b"new"}
    quarantine.release(old.location, old)
    assert [held.id for held in quarantine.list()] != [old.location]
    assert not list(path.glob("*.eml"))
    assert quarantine.verify() == ()


def test_files_that_change_places_do_not_open(tmp_path: Path) -> None:
    """What is encrypted is bound to its name."""
    path = tmp_path / "q"
    quarantine = QuarantineFolder(path, keys=FileKeys.create(tmp_path / "keys"))
    for raw in (b"one", b"two"):
        quarantine.hold(message(raw), "broken")
    one, two = sorted(path.glob("*.eml.gcm"))
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)

    assert [each.kind for each in quarantine.verify()] == ["altered", "altered"]


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
    assert not list(tmp_path.rglob("*.eml*"))
    assert folder.verify() == ()
    with pytest.raises(StateError):
        folder.read(receipt.location)


def test_a_message_released_once_is_not_held_again(folder: QuarantineFolder) -> None:
    """It is in the archive; a repeated run changes nothing."""
    receipt = folder.hold(message(), "broken")
    folder.release(receipt.location, receipt)
    again = folder.hold(message(), "broken")

    assert again.outcome is Stored.PRESENT
    assert folder.list() == ()


def test_a_crash_at_any_step_holds_all_or_nothing(tmp_path: Path, keys: FileKeys | None) -> None:
    """What is listed is readable; holding it again completes it."""
    fuse = Fuse()
    QuarantineFolder(tmp_path / "count", keys=keys, fuse=fuse).hold(message(), "broken")
    for at in range(len(fuse.steps)):
        path = tmp_path / str(at)
        with suppress(Crash):
            QuarantineFolder(path, keys=keys, fuse=Fuse(at)).hold(message(), "broken")
        quarantine = QuarantineFolder(path, keys=keys)
        assert all(quarantine.read(held.id) == message() for held in quarantine.list())
        assert quarantine.verify() == ()
        quarantine.hold(message(), "broken")
        assert quarantine.verify() == ()
        assert (path / "held").read_text().split() == [quarantine.list()[0].id]
        assert [quarantine.read(held.id) for held in quarantine.list()] == [message()]


@pytest.mark.parametrize("damage", [None, b"", b"other bytes"])
def test_bytes_that_were_lost_are_put_back(
    folder: QuarantineFolder, tmp_path: Path, damage: bytes | None
) -> None:
    """A receipt says that the bytes are there: held again, what was lost or changed is whole."""
    id_ = folder.hold(message(), "broken").entry_id.hex
    file = _file(tmp_path, "eml")
    file.unlink() if damage is None else file.write_bytes(damage)

    assert folder.hold(message(), "broken").outcome is Stored.PRESENT
    assert folder.read(id_) == message()


def test_what_was_released_is_not_put_back(folder: QuarantineFolder, tmp_path: Path) -> None:
    """A message that went into an archive is not kept twice when it is met again."""
    receipt = folder.hold(message(), "broken")
    folder.release(receipt.entry_id.hex, receipt)

    folder.hold(message(), "broken")
    assert not list(tmp_path.rglob("*.eml*"))


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
