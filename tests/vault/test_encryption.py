"""An encrypted vault: nothing in clear on the disk, and the same laws with keys as without."""

from __future__ import annotations

import json
import pickle
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.vaults import entry, everything, journaled, mail, receipts, to

from mailarchive import (
    Digest,
    Stored,
    UserId,
    _crypt,
)
from mailarchive.errors import (
    ConfigurationError,
    Erased,
    KeyUnavailable,
    MailArchiveError,
    SinkError,
    Unsupported,
)
from mailarchive.testing.fuse import Crash, Fuse
from mailarchive.users import StaticMap
from mailarchive.vault import FileKeys, FileSigner, KeyProvider, Selection, Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from support.vaults import OpenVault

    from mailarchive import ArchiveEntry

ALICE, BOB, CAROL = UserId("alice-the-user"), UserId("bob-the-user"), UserId("carol-the-user")
OWNERS: Mapping[str, tuple[str, ...]] = {ALICE: ("alice@example.com",), BOB: ("bob@example.com",)}
PROGRAM = Path(__file__).parents[2] / "docs" / "examples" / "verify_vault.py"
BODY = b"The pelican is a large bird, and a secretive one.\r\n"
PLAIN = (
    *(b"alice@", b"bob@", b"carol@", b"example.com", b"-the-user", b"pelican", b"secretive"),
    *(b"message 1", b"message 2", b"the plan", b"journal-one", b"case-17", b"litigation"),
)
"""What stands in the mail and the facts of these tests, and must stand in no file."""


def _entries(count: int, *, start: int = 0) -> list[ArchiveEntry]:
    return [
        entry(
            mail(n, body=BODY), owners=OWNERS, key=f"{n}", source="journal-one", path=("Pelicans",)
        )
        for n in range(start, start + count)
    ]


def _report(n: int = 7, *, encoded: bool = True) -> ArchiveEntry:
    recipients = [to("bob@example.com")]
    return journaled(mail(n, body=BODY), recipients, key=f"r{n}", encoded=encoded, owners=OWNERS)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> FileKeys:
    """Keys in a file, elsewhere than any vault."""
    return FileKeys.create(tmp_path_factory.mktemp("keys") / "acme.key")


@pytest.fixture
def filled(folder: Path, keys: FileKeys) -> Path:
    """A closed vault with six messages, a hold and a sealed log."""
    with Vault(folder, keys=keys) as vault:
        receipts(vault.put_many([*_entries(5), _report()]))
        keeper = vault.keeper("counsel", "litigation")
        keeper.hold("case-17", Selection(users=[BOB], until=None))
        keeper.release("case-17")
        vault.seal(FileSigner(folder.parent / "signer"))
    return folder


def _stored_bytes(folder: Path) -> Iterable[tuple[Path, bytes]]:
    return [(file, file.read_bytes()) for file in folder.rglob("*") if file.is_file()]


def _assert_nothing_in_clear(folder: Path) -> None:
    for file, data in _stored_bytes(folder):
        lower = data.lower()
        assert not [word for word in PLAIN if word in lower], file.name


# -- nothing in clear ---------------------------------------------------------------------


def test_no_file_holds_anything_of_a_mail(folder: Path, keys: FileKeys) -> None:
    """No subject, body, address, user, folder, matter or actor is in any file, also meanwhile."""
    with Vault(folder, keys=keys) as vault:
        vault.put_many([*_entries(30), _report()])
        assert vault.view(BOB).count(words="pelican", text="message") == 30
        assert vault.reattribute(StaticMap({"carol@example.com": CAROL})) == 0
        vault.keeper("counsel", "litigation").hold("case-17", Selection(users=[BOB]))
        vault.auditor("counsel", "litigation").users()
        _assert_nothing_in_clear(folder)
    _assert_nothing_in_clear(folder)
    assert len(list(_stored_bytes(folder))) >= 4


def test_no_digest_of_a_mail_is_in_clear(filled: Path) -> None:
    """Whoever has a mail at hand finds neither its digest nor its entry's id in the vault."""
    known = [digest for each in _entries(5) for digest in (each.raw_digest, each.id)]
    for file, data in _stored_bytes(filled):
        for digest in known:
            assert digest.value not in data, file.name
            assert digest.hex.encode() not in data, file.name


def test_equal_mail_is_stored_once_and_looks_like_nothing_else(
    open_vault: OpenVault, keys: FileKeys, folder: Path
) -> None:
    """Equal bytes under another id are one object; two vaults have nothing in common."""
    raw = mail(1, body=BODY)
    with Vault(folder.parent / "other.vault", keys=keys) as other:
        (theirs,) = receipts(other.put_many([entry(raw, owners=OWNERS)]))
    vault = open_vault(keys=keys)
    one, two = receipts(vault.put_many([entry(raw, key="1"), entry(raw, key="2")]))

    assert one.location == two.location != theirs.location
    assert one.stored_digest == theirs.stored_digest


# -- the same laws ------------------------------------------------------------------------


def test_everything_reads_as_without_encryption(
    open_vault: OpenVault, folder: Path, keys: FileKeys
) -> None:
    """Views, forks, owners, an auditor, originals: as a vault without encryption has them."""
    mails = [*_entries(4), _report(), _report(8, encoded=False)]
    mails += [entry(mail(9), owners={}, unresolved=("carol@example.com",), key="9")]
    with Vault(folder.parent / "plain.vault", keys=None) as plain:
        plain.put_many(mails)
        expected = {
            user: [(it.subject, it.size, it.content()) for it in plain.view(user).messages()]
            for user in (ALICE, BOB, CAROL)
        }
        entries_ = _audited(plain)
    vault = open_vault(keys=keys)
    receipts(vault.put_many(mails))

    assert expected == {
        user: [(it.subject, it.size, it.content()) for it in vault.view(user).messages()]
        for user in (ALICE, BOB, CAROL)
    }
    assert entries_ == _audited(vault)
    assert vault.view(BOB).count(words="pelican") == len(expected[BOB])


def _audited(vault: Vault) -> list[tuple[object, ...]]:
    found = vault.auditor("me", "to compare").entries()
    return [(it.id, it.raw(), it.originals(), it.ownership) for it in found]


def test_again_is_present_with_the_first_receipt(open_vault: OpenVault, keys: FileKeys) -> None:
    """Put again, also by the next opening, an entry gives its first receipt and no byte."""
    first = receipts(open_vault(keys=keys).put_many(_entries(3)))
    again = receipts(open_vault(keys=keys).put_many(_entries(3)))

    assert {each.outcome for each in again} == {Stored.PRESENT}
    assert [(each.entry_id, each.stored_digest, each.location) for each in first] == [
        (each.entry_id, each.stored_digest, each.location) for each in again
    ]
    assert open_vault(keys=keys).read(again[0]) == _entries(1)[0].raw


def test_a_rebuild_shows_the_same(filled: Path, keys: FileKeys) -> None:
    """The index deleted, and made anew without keys, everybody sees the same."""
    with Vault(filled, keys=keys) as vault:
        before = everything(vault)
    for file in filled.rglob("index.db*"):
        file.unlink()
    with Vault(filled) as vault:
        assert vault.verify("log").ok
    with Vault(filled, keys=keys) as vault:
        after = everything(vault)
        assert vault.verify("content").ok

    assert after == before


def test_two_writers_see_what_each_other_wrote(open_vault: OpenVault, keys: FileKeys) -> None:
    """What another opening puts, grants or erases shows in a view that is open."""
    one, two = open_vault(keys=keys), open_vault(keys=keys)
    view = one.view(BOB)
    (receipt,) = receipts(two.put_many(_entries(1)))
    assert view.count() == 1
    (again,) = receipts(one.put_many(_entries(1)))
    assert again.outcome is Stored.PRESENT
    two.keeper("counsel", "request").erase(receipt.entry_id)

    assert view.count() == 0
    with pytest.raises(Erased):
        one.read(again)


def test_who_is_known_later_can_open_it_too(open_vault: OpenVault, keys: FileKeys) -> None:
    """A grant gives the key of the entry to its further owners."""
    vault = open_vault(keys=keys)
    vault.put_many([entry(mail(1, body=BODY), owners={}, unresolved=("carol@example.com",))])
    assert vault.reattribute(StaticMap({"carol@example.com": CAROL})) == 1

    (message,) = open_vault(keys=keys).view(CAROL).messages()
    assert BODY in message.content()


@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=300), st.text(max_size=20), st.integers(1, 70))
def test_what_is_encrypted_comes_back_and_nothing_else_does(
    data: bytes, words: str, chunk: int
) -> None:
    """Bytes come back under their key and place, and under no other; no bit can be changed."""
    key, what = _crypt.new_key(), _crypt.about(words.encode("utf-8", "surrogatepass"))
    often = _crypt.encrypt(key, data, what)
    once = _crypt.encrypt_message(key, data, what, chunk=chunk)

    assert _crypt.decrypt(key, often, what) == data
    assert _crypt.decrypt_message(key, once, what, chunk=chunk) == data
    wrong = [(_crypt.new_key(), what), (key, what + b"x")]
    for other, place in wrong:
        with pytest.raises(ValueError, match="not encrypted"):
            _crypt.decrypt(other, often, place)
        with pytest.raises(ValueError, match="not encrypted"):
            _crypt.decrypt_message(other, once, place, chunk=chunk)
    for cut in (once[:-1], once[: -chunk - 16], once + b"\0", once[:32] + once[chunk + 48 :]):
        with pytest.raises(ValueError, match="not encrypted"):
            _crypt.decrypt_message(key, cut, what, chunk=chunk)


# -- without keys, and with others --------------------------------------------------------


def test_a_vault_verifies_without_keys(filled: Path) -> None:
    """All levels but `content` need none; nothing else can be done, and it says what to do."""
    with Vault(filled) as vault:
        assert all(vault.verify(level).ok for level in ("quick", "stored", "log"))
        closed: list[Callable[[], object]] = [
            lambda: vault.verify("content"),
            lambda: vault.view(BOB),
            lambda: vault.auditor("me", "why"),
            lambda: vault.keeper("me", "why"),
            lambda: vault.put_many(_entries(1)),
            lambda: vault.reattribute(StaticMap({})),
            vault.update_search,
        ]
        for attempt in closed:
            with pytest.raises(KeyUnavailable) as caught:
                attempt()
            assert "--key-file" in caught.value.suggestions[0]
            assert "keys of the vault" in caught.value.suggestions[0]


def test_the_short_verifier_needs_no_keys(filled: Path, keys: FileKeys, tmp_path: Path) -> None:
    """The program of the documentation finds the log of an encrypted vault whole, or not."""
    signer = FileSigner(filled.parent / "signer")
    with Vault(filled, keys=keys) as vault:
        (tmp_path / "checkpoint").write_bytes(vault.checkpoints()[-1].to_bytes())
        key = str(signer.verifier(vault.origin))
    words = [sys.executable, "-I", str(PROGRAM), str(filled), str(tmp_path / "checkpoint"), key]
    assert subprocess.run(words, check=False, capture_output=True).returncode == 0
    (pack,) = filled.rglob("*.tar")
    pack.write_bytes(pack.read_bytes().replace(b'"kind":', b'"kine":'))
    assert subprocess.run(words, check=False, capture_output=True).returncode != 0


def test_a_proof_shows_the_digest_of_the_mail(filled: Path, keys: FileKeys) -> None:
    """The log commits to the very message, and only its keys open the commitment."""
    with Vault(filled, keys=keys) as vault:
        message = next(vault.view(BOB).messages(text="message 3"))
        proof = message.proof()
        proof.check()
        assert [each.value for each in proof.opened] == [Digest.of(message.content()).value]
        whole = next(iter(vault.auditor("me", "why").entries())).proof()
        assert sorted(each.label for each in whole.opened) == ["content", "raw", "record"]


def test_other_keys_open_nothing(filled: Path, tmp_path: Path) -> None:
    """Another key file, and a provider that gives garbage, are refused when it is opened."""
    for other in (FileKeys.create(tmp_path / "other.key"), _Garbage()):
        with pytest.raises(KeyUnavailable), Vault(filled, keys=other):
            pass
    with pytest.raises(KeyUnavailable), Vault(filled, keys=FileKeys(tmp_path / "none.key")):
        pass


class _Garbage:
    """A provider that believes everything."""

    def wrap(self, owner: UserId | None, key: bytes) -> bytes:
        """Forget the key."""
        del owner
        return bytes(len(key))

    def unwrap(self, owner: UserId | None, wrapped: bytes) -> bytes:
        """Give something."""
        del owner, wrapped
        return b"x" * 32


def test_a_provider_that_cannot_unwrap_makes_no_vault_to_put_in(folder: Path) -> None:
    """What would never be read again is not stored."""
    with pytest.raises(KeyUnavailable), Vault(folder, keys=_Garbage()):
        pass
    assert not list(folder.rglob("*.tar"))


def test_encryption_is_decided_once(folder: Path, keys: FileKeys) -> None:
    """Keys for a vault that was made without are an error, never an unencrypted put."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(_entries(1))
    with pytest.raises(ConfigurationError, match="without encryption"), Vault(folder, keys=keys):
        pass


def test_an_older_reader_refuses(filled: Path) -> None:
    """`requires` names what a reader must know; one that does not know this word refuses."""
    header = json.loads((filled / "vault.json").read_bytes())
    assert (header["format"], header["encryption"], header["requires"]) == (
        1,
        "aes-256-gcm",
        ["aes-256-gcm"],
    )
    header["requires"].append("another")
    (filled / "vault.json").write_text(json.dumps(header))
    with pytest.raises(Unsupported), Vault(filled):
        pass


def test_a_user_without_a_key_reads_nothing(filled: Path, keys: FileKeys) -> None:
    """A view opens an entry with its own user's key: no row of an index stands in for one."""
    with Vault(filled, keys=keys) as vault:
        tag = vault._opened().encryption.keys._tag(BOB)  # type: ignore[union-attr]
        with closing(sqlite3.connect(filled / "keys" / "keys.db")) as db, db:
            db.execute("DELETE FROM wrap WHERE owner = ?", (tag,))
        with pytest.raises(KeyUnavailable):
            next(vault.view(BOB).messages()).content()
        assert next(vault.view(ALICE).messages()).content()


# -- damage -------------------------------------------------------------------------------


def test_without_keys_db_it_says_what_to_restore(filled: Path, keys: FileKeys) -> None:
    """Missing, cut, empty, garbage or another vault's: an error that names the copy."""
    file = filled / "keys" / "keys.db"
    data = file.read_bytes()
    with Vault(filled.parent / "other.vault", keys=keys):
        pass
    other = (filled.parent / "other.vault" / "keys" / "keys.db").read_bytes()
    for damaged in (None, b"", data[:4096], data[: len(data) // 2 + 7], b"x" * len(data), other):
        file.unlink(missing_ok=True)
        if damaged is not None:
            file.write_bytes(damaged)
        with pytest.raises(KeyUnavailable) as caught, Vault(filled, keys=keys):
            pass
        assert "keys.db" in "".join([str(caught.value), *caught.value.suggestions])
    file.write_bytes(data)
    with Vault(filled, keys=keys) as vault:
        assert vault.view(BOB).count() == 6


def test_lost_keys_are_named_and_nothing_is_put(filled: Path, keys: FileKeys) -> None:
    """An older keys.db: what it opens is shown, `content` says so, and a put is refused."""
    old = (filled / "keys" / "keys.db").read_bytes()
    with Vault(filled, keys=keys) as vault:
        vault.put_many(_entries(2, start=20))
    (filled / "keys" / "keys.db").write_bytes(old)
    with Vault(filled, keys=keys) as vault:
        assert vault.view(BOB).count() == 6
        assert [it.kind for it in vault.verify("content").findings if it.kind == "key"]
        assert vault.verify("log").ok
        with pytest.raises(KeyUnavailable, match="keys of 2 entries"):
            vault.put_many(_entries(2, start=20))


def test_swapped_wraps_open_nothing(filled: Path, keys: FileKeys) -> None:
    """The wrapped keys of two entries, swapped, open neither of them, and say so."""
    with closing(sqlite3.connect(filled / "keys" / "keys.db")) as db, db:
        (one, first), (two, second) = db.execute(
            "SELECT key, wrapped FROM wrap WHERE owner = x'' LIMIT 2"
        ).fetchall()
        swap = "UPDATE wrap SET wrapped = ? WHERE key = ? AND owner = x''"
        db.executemany(swap, [(second, one), (first, two)])
    with Vault(filled, keys=keys) as vault:
        assert vault.view(BOB).count() == 4
        assert "key" in [it.kind for it in vault.verify("content").findings]


def test_a_flipped_bit_is_an_error(filled: Path, keys: FileKeys) -> None:
    """In a stored message it is found without keys, and no reader gives other bytes."""
    (pack,) = filled.rglob("*.tar")
    data = bytearray(pack.read_bytes())
    data[512 + 5] ^= 1
    pack.write_bytes(data)
    with Vault(filled, keys=keys) as vault:
        assert not vault.verify("stored").ok
        with pytest.raises(SinkError):
            _contents(vault, BOB)


def _contents(vault: Vault, user: UserId) -> list[bytes]:
    return [message.content() for message in vault.view(user).messages()]


def test_a_repair_without_keys_brings_everything_back(filled: Path, keys: FileKeys) -> None:
    """A copy of the vault restores a damaged manifest, and what it holds is seen again."""
    copy = filled.parent / "copy.vault"
    shutil.copytree(filled, copy)
    (pack,) = filled.rglob("*.tar")
    data = pack.read_bytes()
    pack.write_bytes(data.replace(b'"kind":"entry"', b'"kind":"entri"'))
    with Vault(filled, keys=keys) as vault, Vault(copy) as replica:
        assert vault.view(BOB).count() == 0
        with pytest.raises(SinkError, match="could be taken for new"):
            vault.put_many(_entries(1))
        vault.repair(vault.plan_repair(replica), replica, actor="Ada", reason="disk")
        assert len(_contents(vault, BOB)) == 6
        (again,) = receipts(vault.put_many(_entries(1)))
        assert again.outcome is Stored.PRESENT


def test_a_damaged_message_that_is_put_again_can_be_read_again(
    filled: Path, keys: FileKeys
) -> None:
    """What is stored anew is opened by the entry that was there before."""
    (pack,) = filled.rglob("*.tar")
    data = bytearray(pack.read_bytes())
    data[100] ^= 0xFF
    pack.write_bytes(data)
    for file in filled.rglob("index.db*"):
        file.unlink()
    with Vault(filled, keys=keys) as vault:
        vault.put_many(_entries(5))
        assert len(_contents(vault, BOB)) == 6


def test_an_index_alone_destroys_no_key(filled: Path, keys: FileKeys) -> None:
    """Keys go by a fact that stands in a pack; whoever forges an index destroys nothing."""
    with closing(sqlite3.connect(next(filled.rglob("index.db")))) as db, db:
        db.execute("UPDATE entry SET erased = 1")
    with Vault(filled, keys=keys) as vault:
        vault.rebuild()
        assert len(_contents(vault, BOB)) == 6
        assert vault.verify("content").ok


def test_a_forged_batch_is_an_error_of_ours(filled: Path, keys: FileKeys) -> None:
    """A row that cannot be does not make a view fall over."""
    with closing(sqlite3.connect(next(filled.rglob("index.db")))) as db, db:
        db.execute(
            "INSERT INTO batch SELECT 99, 99, x'00', pack, offset, at, 1 FROM batch LIMIT 1"
        )
    with Vault(filled, keys=keys) as vault, pytest.raises(MailArchiveError):
        vault.view(BOB).count()


# -- erasing ------------------------------------------------------------------------------


def test_what_is_erased_cannot_be_opened_from_an_old_copy(filled: Path, keys: FileKeys) -> None:
    """With its keys destroyed, a message is gone from copies of the packs too."""
    copy = filled.parent / "copy.vault"
    shutil.copytree(filled, copy)
    gone, *_ = _entries(5)
    with Vault(filled, keys=keys) as vault:
        vault.keeper("counsel", "request").erase(gone.id)
        assert vault.view(BOB).count() == 5
        assert vault.verify("content").ok
    shutil.copy(filled / "keys" / "keys.db", copy / "keys" / "keys.db")
    with Vault(copy, keys=keys) as vault:
        assert gone.raw not in [each.content() for each in vault.view(BOB).messages()]
        assert vault.view(BOB).count() == 5
    with Vault(filled, keys=keys) as vault:
        assert vault.keeper("me", "why").status(gone.id).erased
        assert next(iter(vault.auditor("me", "why").entries())).erased
        (answer,) = vault.put_many([gone])
        assert "erased" in getattr(answer, "reason", "")
        assert vault.verify("content").ok
    _assert_nothing_in_clear(filled)


def test_bytes_that_another_entry_needs_are_still_opened(
    open_vault: OpenVault, keys: FileKeys
) -> None:
    """Each entry has the key of its message: erasing one takes nothing from another."""
    vault, raw = open_vault(keys=keys), mail(1, body=BODY)
    one, two = entry(raw, owners={ALICE: ()}, key="1"), entry(raw, owners={BOB: ()}, key="2")
    vault.put_many([one])
    vault.put_many([two])
    done = vault.keeper("counsel", "request").erase(one.id)

    assert done.overwritten == ()
    assert next(vault.view(BOB).messages()).content() == raw
    assert vault.view(ALICE).count() == 0


# -- crashes ------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_crash_at_any_step_loses_no_key(tmp_path: Path, keys: FileKeys) -> None:
    """What has a receipt can be read after a crash at any step; what is erased is gone."""
    gone = _entries(1)[0]

    def run(folder: Path, fuse: Callable[[str], None], seen: dict[object, bytes]) -> None:
        with Vault(folder, keys=keys, fuse=fuse) as vault:
            for batch in ([*_entries(2)], [_report(), *_entries(3)]):
                for receipt in vault.put_many(batch):
                    seen[receipt] = next(it.raw for it in batch if it.id == receipt.entry_id)
            vault.keeper("counsel", "request").erase(gone.id)

    steps = Fuse().count(lambda fuse: run(tmp_path / "count", fuse, {}))
    for n in range(steps):
        seen: dict[object, bytes] = {}
        folder = tmp_path / str(n)
        with pytest.raises(Crash):
            run(folder, Fuse(n), seen)
        with Vault(folder, keys=keys) as vault:
            for receipt, raw in seen.items():
                with suppress(Erased):
                    assert vault.read(receipt) == raw  # type: ignore[arg-type]
            report = vault.verify("content")
            assert report.ok, report.findings
        with suppress(MailArchiveError):  # what was erased is rejected
            run(folder, lambda step: None, {})
        with Vault(folder, keys=keys) as vault:
            assert vault.view(BOB).count() == 3
            assert vault.verify("log").ok
        _assert_nothing_in_clear(folder)


# -- key files ----------------------------------------------------------------------------


def test_a_key_file_is_private_and_never_replaced(tmp_path: Path) -> None:
    """It is its owner's alone, is made once, and one that others can read is refused."""
    path = tmp_path / "acme.key"
    keys = FileKeys.create(path)
    assert (path.stat().st_mode & 0o777, path.stat().st_size) == (0o600, 32)
    with pytest.raises(ConfigurationError):
        FileKeys.create(path)
    path.chmod(0o644)
    with pytest.raises(KeyUnavailable, match="read by others"):
        keys.wrap(None, b"k" * 32)


def test_nothing_secret_is_in_a_repr_or_a_pickle(tmp_path: Path) -> None:
    """A provider can be handed to another process, and carries no key."""
    path = tmp_path / "acme.key"
    keys: KeyProvider = FileKeys.create(path)
    secret = path.read_bytes()
    wrapped = keys.wrap(BOB, b"k" * 32)

    assert secret not in pickle.dumps(keys)
    assert pickle.loads(pickle.dumps(keys)).unwrap(BOB, wrapped) == b"k" * 32
    assert repr(secret)[2:-1] not in repr(keys)
    with pytest.raises(KeyUnavailable):
        keys.unwrap(ALICE, wrapped)
