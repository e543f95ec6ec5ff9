"""Somebody who can write in the vault's folder can spoil it, and gets nothing else of it."""

from __future__ import annotations

import hashlib
import json
import pickle
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from support import forged
from support.vaults import entries, entry, journaled, mail, receipts, to

from mailarchive import Digest, Receipt, UserId
from mailarchive.errors import (
    SinkCorrupt,
    SinkError,
    SinkFull,
    SinkNotWritable,
    SinkUnavailable,
)
from mailarchive.vault import (
    FileKeys,
    Vault,
    _index,
    _manifest_bounds,
    _packs,
    _record,
    _tar,
    _zstd,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.vaults import OpenVault

BOB = UserId("bob")
NAME = "20260101T000000Z-1-0123456789ab"


def _forge(folder: Path, *lines: dict[str, Any], objects: int = 0, **head: Any) -> Path:
    """Put a pack into a vault that is consistent in itself, with these lines behind its head."""
    identity = json.loads((folder / "vault.json").read_bytes())["id"]
    top = {
        "kind": "batch",
        "format": 1,
        "vault": identity,
        "volume": "0001",
        "pack": NAME,
        "offset": 0,
        "sequence": 2,
        "previous": None,
        "at": "2026-03-01T12:00:00+00:00",
        "objects": objects,
        "salt": "00" * 32,
    }
    data = b"".join(map(_record.as_line, [{**top, **head}, *lines]))
    name = _tar.MANIFEST.format(hashlib.sha256(data).hexdigest())
    pack = folder / "volumes" / "0001" / "packs" / f"{NAME}.tar"
    pack.write_bytes(b"".join(_tar.member(name, data)))
    return pack


def _line(**changes: Any) -> dict[str, Any]:
    return {**_record.dump(_record.record_of(entry(mail(7), key="7"), {})), **changes}


HOSTILE: dict[str, list[dict[str, Any]]] = {
    "an entry without fields": [{"kind": "entry"}],
    "no kind": [{"id": "x"}],
    "a digest that is none": [_line(id="zz")],
    "a short digest": [_line(raw="00")],
    "a size that is text": [_line(size="1")],
    "a size without bounds": [_line(size=1 << 80)],
    "a negative span": [_line(originals=[{"start": -1, "end": 5}])],
    "a subject that is none": [_line(subject={"a": 1})],
    "owners that are none": [_line(owners=[1, 2])],
    "an address that is none": [_line(sender={"a": "1", "b": "2"})],
    "an empty address": [_line(sender={})],
    "a date that is none": [_line(date="yesterday")],
    "no fidelity": [_line(fidelity="perfect")],
    "a poisoned path": [{"kind": "poisoned", "pack": "../../x", "length": 0}],
    "a poisoned length": [{"kind": "poisoned", "pack": NAME, "length": -1}],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_manifest_that_cannot_be_read_harms_nothing(folder: Path, name: str) -> None:
    """Lines that no vault writes are refused with their batch; the vault goes on, and says so."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(2))
    pack = _forge(folder, *HOSTILE[name])
    before = pack.read_bytes()

    with Vault(folder) as vault:
        assert vault.view(BOB).count() == 2
        assert len(receipts(vault.put_many(entries(4)))) == 4
        vault.rebuild()
        assert vault.view(BOB).count() == 4
        vault.put_many(entries(6))
    for file in folder.rglob("index.db*"):
        file.unlink()
    with Vault(folder, read_only=True) as vault:
        assert vault.view(BOB).count() == 6
        report = vault.verify("content")
        assert (NAME, "manifest") in {(each.pack, each.kind) for each in report.findings}
    assert pack.read_bytes() == before


@pytest.mark.parametrize(
    "head",
    [
        {"vault": "0" * 32},
        {"pack": "20260101T000000Z-1-ffffffffffff"},
        {"offset": 4096},
        {"objects": 1},
        {"objects": 1 << 40},
        {"format": 2},
        {"at": "today"},
        {"previous": "x"},
    ],
)
def test_a_head_that_contradicts_its_place_is_refused(folder: Path, head: dict[str, Any]) -> None:
    """A batch of another vault, another pack or another place is not taken in."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(2))
    _forge(folder, _line(), **head)

    with Vault(folder) as vault:
        assert vault.view(BOB).count() == 2
        vault.rebuild()
        assert vault.view(BOB).count() == 2
        assert not vault.verify().ok


def test_an_entry_whose_bytes_are_nowhere_is_named(folder: Path) -> None:
    """An entry that refers to bytes which no pack holds is found, cannot be read, and heals."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(2))
        (last,) = vault._opened().index.rows("SELECT digest FROM batch")
    _forge(folder, _line(), previous=last[0].hex())

    with Vault(folder) as vault:
        assert [each.kind for each in vault.verify("content").findings] == ["missing-object"]
        (seen, *_) = (each for each in vault.view(BOB).messages() if each.subject == "Message 7")
        with pytest.raises(SinkCorrupt):
            seen.content()
        (audited,) = vault.auditor("me", "why").entries(after=2)
        assert audited.location is None

        (receipt,) = receipts([vault.put(entry(mail(7), key="7"))])

        assert vault.read(receipt) == seen.content() == mail(7)
        assert vault.verify("content").ok


def test_a_span_outside_of_its_message_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An original that a manifest puts outside of its message is found, and never cut short."""
    with monkeypatch.context() as patch:
        honest = _record.dump
        patch.setattr(
            _record,
            "dump",
            lambda record: honest(record) | {"originals": [{"start": 5, "end": 1 << 30}]},
        )
        with Vault(folder, keys=None) as vault:
            vault.put(journaled(mail(), [to("bob@example.com")]))

    with Vault(folder) as vault:
        vault.rebuild()
        (seen,) = vault.view(BOB).messages()
        (audited,) = vault.auditor("me", "why").entries()
        assert [each.kind for each in vault.verify("content").findings] == ["span"]
        for read in (seen.content, audited.content, audited.originals):
            with pytest.raises(SinkCorrupt):
                read()


def test_a_frame_that_would_fill_the_memory_is_not_unpacked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame that unpacks to more than the manifest says is refused before it does."""
    bomb = _zstd.compress(bytes(1 << 28), 3)
    with monkeypatch.context() as patch:
        patch.setattr(_zstd, "compress", lambda data, level: bomb)
        with Vault(folder, keys=None) as vault:
            (receipt,) = receipts([vault.put(entry(mail()))])
    with Vault(folder) as vault:
        with pytest.raises(SinkCorrupt):
            vault.read(receipt)
        (finding,) = vault.verify("content").findings
        assert finding.kind == "frame"


@pytest.mark.parametrize("frame", [b"no frame", _zstd.compress(b"another message", 3)])
def test_bytes_that_were_put_there_for_mail_to_come_get_no_receipt(
    folder: Path, frame: bytes
) -> None:
    """Equal bytes are stored once: those that are said to be equal are read before."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(2))
    forged.append_object(folder, mail(9), frame)

    with Vault(folder) as vault:
        with pytest.raises(SinkCorrupt):
            vault.put(entry(mail(9), key="9"))
        (receipt,) = vault.put_many([entry(mail(10), key="10")])
        assert isinstance(receipt, Receipt)
        assert vault.view(UserId("bob")).count() == 3
        assert {each.kind for each in vault.verify("content").findings} <= {"frame", "raw"}


@pytest.mark.parametrize("encrypted", [False, True])
def test_no_second_entry_rests_on_bytes_that_are_damaged(tmp_path: Path, encrypted: bool) -> None:
    """They are read before it gets a receipt, which says that they are there."""
    keys = FileKeys.create(tmp_path / "key") if encrypted else None
    first, second = (entry(mail(1), key=each) for each in "ab")
    with Vault(tmp_path / "v", keys=keys) as vault:
        vault.put(first)
    (pack,) = tmp_path.rglob("*.tar")
    sound = pack.read_bytes()
    with Vault(tmp_path / "v", keys=keys) as vault:
        pack.write_bytes(sound[:560] + bytes([sound[560] ^ 1]) + sound[561:])
        with pytest.raises(SinkCorrupt):
            vault.put(second)
        pack.write_bytes(sound)
        receipt = vault.put(second)
        assert isinstance(receipt, Receipt)
        assert vault.read(receipt) == mail(1)


def test_a_batch_that_claims_a_number_again_is_named(folder: Path) -> None:
    """A pack smuggled in breaks the order of the batches, and is found."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(2))
        vault.put_many(entries(2, start=2))
    _forge(folder, {"kind": "note"}, sequence=2)

    with Vault(folder) as vault:
        assert "rival" in {each.kind for each in vault.verify().findings}


def test_bytes_made_to_look_like_manifests_are_not_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a damage, forged headers cost no time: what they stand on does not name the pack."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(1))
    forged = _tar.header(_tar.MANIFEST.format("0" * 64), 2_000_000) * 5000
    pack = folder / "volumes" / "0001" / "packs" / f"{NAME}.tar"
    pack.write_bytes(b"x" * 512 + forged + bytes(2_000_000))
    read: list[int] = []
    monkeypatch.setattr(_packs.Pack, "content", lambda self, offset, *rest: read.append(offset))

    with Vault(folder) as vault:
        assert vault.view(BOB).count() == 1

    assert read == []


def test_a_damage_can_be_sent_elsewhere(folder: Path) -> None:
    """An error that says what is damaged, and where, survives pickling; it tells no mail."""
    with Vault(folder, keys=None) as vault:
        (receipt,) = receipts([vault.put(entry(mail()))])
        (pack,) = folder.rglob("*.tar")
        pack.write_bytes(pack.read_bytes().replace(b"Hello", b"HELLO").replace(b"\x28\xb5", b"xx"))
        with pytest.raises(SinkCorrupt) as caught:
            vault.read(receipt)

    again = pickle.loads(pickle.dumps(caught.value))

    assert (str(again), again.suggestions) == (str(caught.value), caught.value.suggestions)
    assert (again.kind, again.pack, again.offset) == ("digest", pack.stem, 0)


def test_a_batch_too_large_to_be_read_back_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written that the reader would refuse; many entries become several batches."""
    monkeypatch.setattr("mailarchive.vault._session._MOST_ENTRIES", 3)
    with Vault(folder, keys=None) as vault:
        assert len(receipts(vault.put_many(entries(8)))) == 8
        assert vault.verify("content").batches == 3
        monkeypatch.setattr(_manifest_bounds, "LARGEST", 1000)
        with pytest.raises(SinkError, match="too large"):
            vault.put_many(entries(2, start=20))
        monkeypatch.undo()
        vault.put_many(entries(2, start=20))
        assert vault.verify("content").ok


# -- the index, when the system does not go along -------------------------------------------


def _session_db(vault: Vault) -> sqlite3.Connection:
    return vault._opened().index._db


def test_an_index_without_room_is_a_full_sink(folder: Path) -> None:
    """A batch that the index has no room for is no loss: it is taken in later."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(2))
        _session_db(vault).execute("PRAGMA max_page_count = 1")
        with pytest.raises(SinkFull):
            vault.put_many(entries(300, start=2))
        _session_db(vault).execute("PRAGMA max_page_count = 1000000")

        again = receipts(vault.put_many(entries(300, start=2)))

        assert {each.outcome.value for each in again} == {"present"}
        assert vault.view(BOB).count() == 302
        assert vault.verify("content").ok


def test_an_index_that_another_program_holds_is_worth_another_try(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index that is locked for too long is an error after which one may try again."""
    monkeypatch.setattr(_index, "_PATIENCE", 0.01)
    with (
        Vault(folder, keys=None) as vault,
        closing(sqlite3.connect(folder / "volumes" / "0001" / "index.db")) as other,
    ):
        vault.put_many(entries(1))
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(SinkUnavailable):
            vault.put_many(entries(2))

        other.rollback()
        assert len(receipts(vault.put_many(entries(2)))) == 2
        assert vault.verify("content").ok


def _read_only(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA query_only = ON")


def _damaged(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA writable_schema = ON")
    db.execute("UPDATE sqlite_master SET rootpage = 999999 WHERE name = 'pack'")
    db.execute("PRAGMA writable_schema = RESET")


@pytest.mark.parametrize(
    ("spoil", "kind"), [(_read_only, SinkNotWritable), (_damaged, SinkCorrupt)]
)
def test_what_sqlite_says_gets_a_type_of_ours(
    folder: Path, spoil: Callable[[sqlite3.Connection], None], kind: type[SinkError]
) -> None:
    """An error of the index is told by its number, with something to do about it."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(1))
        spoil(_session_db(vault))

        with pytest.raises(kind) as caught:
            vault.put_many(entries(2, start=1))

        assert caught.value.suggestions


def test_a_medium_that_does_not_give_back_is_a_damage(
    open_vault: OpenVault, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be read is damage: named by `verify`, and an error for who wanted to read."""
    vault = open_vault()
    (receipt,) = receipts([vault.put(entry(mail()))])

    def broken(handle: int, size: int, offset: int) -> bytes:
        raise OSError(5, "input/output error")

    monkeypatch.setattr("mailarchive.vault._disk.read", broken)

    with pytest.raises(SinkCorrupt):
        vault.read(receipt)
    assert {each.kind for each in vault.verify().findings} >= {"unreadable"}


def test_a_manifest_is_the_one_that_the_index_names(vault: Vault) -> None:
    """Where another manifest stands than the index says, nothing of it is read."""
    vault.put_many(entries(1))
    _session_db(vault).execute("UPDATE batch SET digest = zeroblob(32)")
    (seen,) = vault.view(BOB).messages()

    with pytest.raises(SinkCorrupt):
        seen.content()


def test_a_digest_of_the_index_alone_is_not_believed(open_vault: OpenVault, folder: Path) -> None:
    """Where the index names other bytes for an entry, the receipt and the pack contradict it."""
    vault = open_vault()
    mine, other = receipts(vault.put_many(entries(2)))
    db = _session_db(vault)
    db.execute("DELETE FROM object WHERE raw = ?", (mine.stored_digest.value,))
    db.execute(
        "UPDATE object SET raw = ? WHERE raw = ?",
        (mine.stored_digest.value, other.stored_digest.value),
    )

    with pytest.raises(SinkCorrupt):
        vault.read(mine)
    for seen in vault.view(BOB).messages():
        with pytest.raises(SinkCorrupt):
            seen.content()
    assert Digest.of(mail(0)) == mine.stored_digest


@pytest.mark.parametrize(
    "changed",
    [
        {"origin": "mailarchive.vault/" + "0" * 32},
        {"origin": "mailarchive.vault/"},
        {"origin": "a\nb"},
        {"origin": 5},
        {"created": 5},
        {"created": "yesterday"},
    ],
)
def test_a_signer_is_asked_for_no_other_log(folder: Path, changed: dict[str, Any]) -> None:
    """Under another name it would remember nothing, and sign whatever is left of a history."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(2))
    header = folder / "vault.json"
    header.write_text(json.dumps({**json.loads(header.read_text()), **changed}))

    for read_only in (False, True):
        with pytest.raises(SinkCorrupt) as caught, Vault(folder, read_only=read_only):
            pass
        assert "restore vault.json from a copy" in str(caught.value.suggestions)
