"""Whoever can write the index can stop the archiver, and cannot make it skip or lose mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from obstore.store import MemoryStore
from support.objects import Here, name_of, receipts, some

from mailarchive import Digest, Stored
from mailarchive.errors import ConfigurationError, SinkCorrupt
from mailarchive.testing.entries import entry, mail
from mailarchive.vault import _object_manifests, _tar
from mailarchive.vault._object_store import Objects
from mailarchive.vault.objects import ObjectVault

if TYPE_CHECKING:
    from mailarchive.testing.postgres import Postgres
    from mailarchive.testing.s3_server import S3Server

_VAULT: Final = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def here(seaweed: S3Server, index: Postgres) -> Here:
    """A new vault on the real store."""
    return Here(seaweed, index)


def altered(here: Here, *changes: str) -> None:
    """Change the index as somebody might who can write the database."""
    for each in changes:
        here.index.sql(each, name_of(here))


def anew(here: Here) -> None:
    """Do what the error says."""
    altered(here, "DROP SCHEMA mailarchive CASCADE")


def planted(coming: Any, *, entry_too: bool) -> list[str]:
    """Rows for a mail that was never stored, of the same shape as one that was."""
    raw, id_ = (rf"'\x{each.hex}'" for each in (coming.raw_digest, coming.id))
    place = (
        f"INSERT INTO mailarchive.object SELECT vault, {raw}, {len(coming.raw)}, stored,"
        " stored_size, pack, start FROM mailarchive.object LIMIT 1"
    )
    line = (
        f"INSERT INTO mailarchive.entry SELECT vault, {id_}, {raw}, pack, line, true"
        " FROM mailarchive.entry LIMIT 1"
    )
    return [place, line] if entry_too else [place]


@pytest.mark.parametrize("read_back", [True, False])
@pytest.mark.parametrize("entry_too", [True, False])
def test_a_mail_to_come_is_not_present_because_a_row_says_so(
    here: Here, *, read_back: bool, entry_too: bool
) -> None:
    """No receipt is given for it, and nothing is stored that rests on such a row."""
    (coming,) = some(1, start=9)
    with here.open(read_back=read_back) as vault:
        vault.put_many(some(2))
        altered(here, *planted(coming, entry_too=entry_too))
        with pytest.raises(SinkCorrupt) as caught:
            vault.put(coming)
        assert len(here.packs()) == 1
    assert "drop the schema mailarchive" in caught.value.suggestions[0]
    anew(here)
    with here.open() as vault:
        (receipt,) = receipts([vault.put(coming)])
        assert receipt.outcome is Stored.STORED
        assert vault.read(receipt) == coming.raw


_OTHER = "(SELECT {} FROM mailarchive.object o WHERE o.raw <> mailarchive.{}.raw LIMIT 1)"


@pytest.mark.parametrize(
    "change",
    [
        "entry SET line = line + 1",
        "entry SET line = 9999",
        "entry SET raw = " + _OTHER.format("raw", "entry"),
        "entry SET pack = " + _OTHER.format("pack", "entry"),
        "entry SET pack = 'no/pack'",
        "object SET pack = " + _OTHER.format("pack", "object"),
        "object SET pack = '../x'",
        "object SET pack = '00000000T000000Z-0000000077-0123456789ab'",
        "object SET start = start + 512",
        "object SET size = size + 1",
        "object SET stored_size = stored_size - 1",
        "object SET stored = " + _OTHER.format("stored", "object"),
    ],
)
def test_a_row_that_was_altered_is_said_and_never_answered_from(here: Here, change: str) -> None:
    """Well-formed as it may be: the manifest in the store says otherwise."""
    with here.open() as vault:
        vault.put_many(some(1))
        vault.put_many(some(1, start=1))
    altered(here, f"UPDATE mailarchive.{change}")
    with here.open() as vault, pytest.raises(SinkCorrupt):
        vault.put_many(some(2))
    anew(here)
    with here.open() as vault:
        assert {each.outcome for each in receipts(vault.put_many(some(2)))} == {Stored.PRESENT}


@pytest.mark.parametrize("change", ["size = size + 1", "start = start + 512"])
def test_a_row_that_was_altered_gives_no_other_bytes(here: Here, change: str) -> None:
    """What is read has the digest of the receipt, or is not given."""
    with here.open() as vault:
        (receipt,) = receipts(vault.put_many(some(1)))
        altered(here, f"UPDATE mailarchive.object SET {change}")
        with pytest.raises(SinkCorrupt):
            vault.read(receipt)


def test_an_entry_of_bytes_in_an_earlier_pack_is_looked_for_in_both(here: Here) -> None:
    """The line is in the one, the place in the other; and both are right."""
    first, second = (entry(mail(1), key=each) for each in "ab")
    with here.open() as vault:
        vault.put(first)
        vault.put(second)
    with here.open() as vault:
        (receipt,) = receipts([vault.put(second)])
        assert receipt.outcome is Stored.PRESENT
        assert vault.read(receipt) == mail(1)


def test_what_is_not_in_the_store_any_more_is_not_present(here: Here) -> None:
    """Though it was when the vault was opened."""
    with here.open() as vault:
        vault.put_many(some(1))
    (pack,) = here.packs()
    with here.open() as vault:
        here.replace(pack, b"")
        with pytest.raises(SinkCorrupt, match="no manifest"):
            vault.put_many(some(1))
        here.delete(pack)
        with pytest.raises(SinkCorrupt, match="is not in the store"):
            vault.put_many(some(1))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE mailarchive.pack SET sequence = 1000000",
        "UPDATE mailarchive.pack SET manifest = sha256('other')",
    ],
)
def test_a_number_that_was_made_up_is_not_counted_on_from(here: Here, change: str) -> None:
    """It would leave a gap between the packs in the store, for good."""
    with here.open() as vault:
        vault.put_many(some(1))
    with here.open() as vault:
        altered(here, change)
        with pytest.raises(SinkCorrupt, match="a newest pack that is none"):
            vault.put_many(some(2))
    assert len(here.packs()) == 1
    anew(here)
    with here.open() as vault:
        outcomes = [each.outcome for each in receipts(vault.put_many(some(2)))]
    assert outcomes == [Stored.PRESENT, Stored.STORED]


def test_manifests_of_any_size_are_found_and_few_are_kept(
    index: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However little is read at first, and however many packs are asked about at a time."""
    monkeypatch.setattr(_object_manifests, "_TAIL", 512)
    monkeypatch.setattr(_object_manifests, "_KEPT", 2)
    store, database, entries = MemoryStore(), index.new_database(), some(20)
    with ObjectVault(store, database) as vault:
        for at in range(0, len(entries), 4):
            vault.put_many(entries[at : at + 4])
    with ObjectVault(store, database) as vault:
        outcomes = {each.outcome for each in receipts(vault.put_many(entries))}
        assert vault._session is not None
        assert len(vault._session.packs.manifests._kept) == 2
    assert outcomes == {Stored.PRESENT}


@pytest.mark.parametrize("sequence", ["NULL", "7"])
def test_a_name_that_no_pack_has_is_nowhere_asked_for(here: Here, sequence: str) -> None:
    """Else it would have the vault make objects elsewhere in the bucket."""
    with here.open() as vault:
        vault.put_many(some(1))
        altered(
            here,
            "INSERT INTO mailarchive.pack (vault, name, sequence, manifest) SELECT vault,"
            f" '../../elsewhere', {sequence}, manifest FROM mailarchive.pack",
        )
        with pytest.raises(SinkCorrupt, match="what no vault writes there"):
            vault.put_many(some(2))
    with pytest.raises(SinkCorrupt, match="what no vault writes there"), here.open():
        pass
    assert len(here.packs()) == 1


@pytest.fixture
def stored(index: Postgres) -> tuple[Objects, str, str]:
    """A store with one pack, and what the vault and the pack are called."""
    objects = Objects(MemoryStore(), "")
    with ObjectVault(objects._store, index.new_database()) as vault:
        vault.put_many(some(1))
        assert vault._session is not None
        id_ = vault._session.vault
    ((file, _),) = objects.names(_object_manifests.PACKS)
    return objects, id_, file.removesuffix(".tar")


@pytest.mark.parametrize("behind", [b"", _tar.TRAILER, b"\1" * 512])
def test_a_message_that_looks_like_a_manifest_is_none(
    stored: tuple[Objects, str, str], behind: bytes
) -> None:
    """Whoever sends mail may know what a pack will be called, and can alter the index too."""
    objects, vault, pack = stored
    name = _object_manifests.key(pack)
    sound = objects.get(name)
    assert sound is not None
    text = b'{"kind":"batch"}\n'
    looks_so = b"".join(_tar.member(_tar.MANIFEST.format(Digest.of(text).hex), text))
    objects._store.put(name, looks_so + behind + sound)

    assert _object_manifests.at_the_end(vault, pack, objects).data in sound
    objects._store.put(name, looks_so + b"\1" * 512)
    with pytest.raises(SinkCorrupt, match="no manifest"):
        _object_manifests.at_the_end(vault, pack, objects)


def test_a_manifest_that_is_called_by_another_digest_is_none(
    stored: tuple[Objects, str, str],
) -> None:
    """Though it stands where one must be."""
    objects, vault, pack = stored
    text = b'{"kind":"batch"}\n'
    wrong = _tar.header(_tar.MANIFEST.format(Digest.of(b"").hex), len(text))
    name = _object_manifests.key(pack)
    objects._store.put(name, wrong + text + bytes(_tar.padding(len(text))))
    with pytest.raises(SinkCorrupt, match="no manifest"):
        _object_manifests.at_the_end(vault, pack, objects)


def test_a_manifest_of_another_vault_is_none_of_this(stored: tuple[Objects, str, str]) -> None:
    """Sound as it is: what it says is not of this pack."""
    objects, _, pack = stored
    with pytest.raises(SinkCorrupt, match="belongs elsewhere"):
        _object_manifests.at_the_end(_VAULT, pack, objects)


def test_a_pack_that_goes_between_two_questions_is_missing(
    stored: tuple[Objects, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size was told, and then it was gone."""
    objects, vault, pack = stored
    monkeypatch.setattr(Objects, "part", lambda *_: None)
    with pytest.raises(SinkCorrupt, match="is not in the store"):
        _object_manifests.at_the_end(vault, pack, objects)


def test_what_cannot_be_understood_is_not_repeated() -> None:
    """It has the password in it, and PostgreSQL's client would quote that."""
    vault = ObjectVault(MemoryStore(), "host=127.0.0.1 password=very secret")
    with pytest.raises(ConfigurationError, match="cannot be understood") as caught, vault:
        pass

    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "secret" not in f"{caught.value!r} {caught.value.suggestions}"


def test_only_the_beginning_of_what_should_be_small_is_read() -> None:
    """Whoever can write to the bucket cannot fill the memory of who opens the vault."""
    objects = Objects(MemoryStore(), "")
    objects.create("vault.json", b" " * (8 << 20))

    assert objects.get("vault.json") == b" " * (1 << 16)
