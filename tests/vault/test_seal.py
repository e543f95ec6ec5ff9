"""What was sealed is signed for ever: nothing is signed that does not go on from it."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from support.vaults import entries, entry, journaled, mail, receipts, to

from mailarchive import UserId
from mailarchive.errors import (
    ConfigurationError,
    HistoryChanged,
    MailArchiveError,
    NotProven,
    SinkCorrupt,
    SinkError,
    SinkNotWritable,
    StateError,
    Unsupported,
)
from mailarchive.testing.fuse import Crash, Fuse
from mailarchive.vault import (
    ConsistencyProof,
    FileSigner,
    InclusionProof,
    LogCheckpoint,
    Vault,
    VerifierKey,
    _tiles,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from support.vaults import Clock, OpenVault

BOB = UserId("bob")


@pytest.fixture
def signer(tmp_path: Path) -> FileSigner:
    """A signer with a folder of its own."""
    return FileSigner(tmp_path / "signer")


def _log(folder: Path) -> Path:
    return folder / "volumes" / "0001" / "log"


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(each): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


# -- what a seal is -----------------------------------------------------------------------


def test_a_seal_covers_every_entry_and_fact(vault: Vault, signer: FileSigner) -> None:
    """There is a leaf for each batch, entry and fact, and the checkpoint is signed over all."""
    vault.put_many(entries(3))
    first = vault.seal(signer)
    vault.put_many(entries(2, start=3))
    vault.auditor("me", "why")
    second = vault.seal(signer)

    assert (first.added, first.checkpoint.size) == (4, 4)
    assert (second.added, second.checkpoint.size) == (5, 9)
    assert signer.verifier(vault.origin).check(second.checkpoint)
    assert second.checkpoint.origin == vault.origin
    assert vault.checkpoints() == (first.checkpoint, second.checkpoint)
    assert signer.latest(vault.origin) == second.checkpoint


def test_with_nothing_new_nothing_is_signed(
    vault: Vault, signer: FileSigner, folder: Path
) -> None:
    """Sealing again gives the same checkpoint and changes no file."""
    vault.put_many(entries(3))
    first = vault.seal(signer)
    before = _tree(_log(folder))

    again = vault.seal(signer)

    assert (again.checkpoint, again.added) == (first.checkpoint, 0)
    assert _tree(_log(folder)) == before


def test_an_empty_vault_can_be_sealed(vault: Vault, signer: FileSigner) -> None:
    """Nothing is a history too, and the next seal goes on from it."""
    assert vault.seal(signer).checkpoint.size == 0
    vault.put_many(entries(1))
    assert vault.seal(signer).checkpoint.size == 2
    assert [each.size for each in vault.checkpoints()] == [0, 2]


def test_the_log_follows_from_the_packs(
    open_vault: OpenVault, signer: FileSigner, folder: Path
) -> None:
    """The tiles deleted, the next seal makes the same ones again, and signs the same root."""
    vault = open_vault(pack_size=4000)
    for n in range(0, 300, 10):
        vault.put_many(entries(10, start=n))
    first = vault.seal(signer)
    before = _tree(_log(folder))
    shutil.rmtree(_log(folder) / "tile")

    assert vault.seal(signer).checkpoint == first.checkpoint
    assert _tree(_log(folder)) == before
    shutil.rmtree(_log(folder))
    assert vault.seal(signer).checkpoint == first.checkpoint
    assert _tree(_log(folder)) == before


def test_partial_tiles_go_when_the_full_one_is_there(
    vault: Vault, signer: FileSigner, folder: Path
) -> None:
    """Of a tile that is full only the full one is kept; older checkpoints are proven from it."""
    vault.put_many(entries(3))
    old = vault.seal(signer).checkpoint
    vault.put_many(entries(300, start=3))
    vault.seal(signer)

    assert not [each for each in (_log(folder) / "tile").rglob("000.p") if "0" in each.parts]
    vault.consistency(old).check(key=signer.verifier(vault.origin))


def test_a_leaf_names_nobody(vault: Vault, signer: FileSigner, folder: Path) -> None:
    """Nothing of a mail, its people or its digests stands in the log, and leaves are small."""
    raw = mail(7)
    put = receipts(vault.put_many([entry(raw, key="7"), entry(raw, key="8")]))
    vault.auditor("Ada Auditor", "request 2026-17")
    vault.seal(signer)

    bundles = [each.read_bytes() for each in (_log(folder) / "tile" / "entries").rglob("*.p/*")]
    text = b"".join(bundles).lower()
    for secret in (
        b"alice",
        b"bob",
        b"example.com",
        b"message 7",
        b"auditor",
        b"2026-17",
        b"journal",
    ):
        assert secret not in text
    for receipt in put:
        assert receipt.stored_digest.hex.encode() not in text
        assert receipt.entry_id.hex.encode() not in text
    leaves = [leaf for data in bundles for leaf in _tiles.unbundle(data)]
    assert max(map(len, leaves)) < 400
    assert len(set(leaves)) == len(leaves)


# -- what cannot be sealed ----------------------------------------------------------------


def test_a_vault_that_was_taken_back_is_not_sealed(
    folder: Path, tmp_path: Path, signer: FileSigner
) -> None:
    """An older copy of the archive, log and all, is refused: its signer knows better."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(2))
        vault.seal(signer)
    shutil.copytree(folder, tmp_path / "old")
    with Vault(folder) as vault:
        vault.put_many(entries(2, start=2))
        newer = vault.seal(signer).checkpoint

    with Vault(tmp_path / "old") as old:
        with pytest.raises(HistoryChanged, match=r"6 lines .* only 3"):
            old.seal(signer)
        old.put_many(entries(9, start=50))
        with pytest.raises(HistoryChanged, match="does not begin"):
            old.seal(signer)
        with pytest.raises(NotProven):
            old.consistency(newer)
    assert signer.latest(newer.origin) == newer


def test_a_history_that_was_altered_is_not_sealed(
    folder: Path, tmp_path: Path, signer: FileSigner
) -> None:
    """Other mail under the same vault's name, with a log that fits it, is refused."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(3))
        vault.seal(signer)
        vault.put_many(entries(1, start=9))
    identity = (folder / "vault.json").read_bytes()
    shutil.rmtree(folder)
    (folder / "volumes/0001/packs").mkdir(parents=True)
    (folder / "vault.json").write_bytes(identity)

    with Vault(folder) as vault:
        vault.put_many(entries(7, start=1))
        with pytest.raises(HistoryChanged):
            vault.seal(signer)
        vault.seal(FileSigner(tmp_path / "another"))
        with pytest.raises(HistoryChanged):
            vault.seal(signer)


def test_a_vault_with_a_hole_is_not_sealed(folder: Path, signer: FileSigner, clock: Clock) -> None:
    """Where a batch is missing it must be repaired first: its place cannot be given away."""
    with Vault(folder, keys=None, pack_size=1, clock=clock) as vault:
        for n in range(3):
            vault.put_many(entries(1, start=n))
            clock.advance(seconds=1)
    sorted(folder.rglob("*.tar"))[1].unlink()
    for file in folder.rglob("index.db*"):
        file.unlink()

    with Vault(folder) as vault, pytest.raises(SinkCorrupt, match="batch 3 does not follow"):
        vault.seal(signer)


def test_a_signer_inside_of_the_vault_is_refused(vault: Vault, folder: Path) -> None:
    """What the signer remembers must not go back in time together with the archive."""
    with pytest.raises(ConfigurationError, match="inside the vault"):
        vault.seal(FileSigner(folder / "keys" / "signer"))


def test_a_vault_for_reading_is_not_sealed(
    vault: Vault, open_vault: OpenVault, signer: FileSigner
) -> None:
    """Sealing writes, and a vault that was opened for reading says so."""
    vault.put_many(entries(1))
    reader = open_vault(read_only=True)

    with pytest.raises(SinkNotWritable):
        reader.seal(signer)
    assert reader.checkpoints() == ()
    with pytest.raises(Unsupported, match="does not cover this yet"):
        next(reader.view(BOB).messages()).proof()


class _Strange:
    """A signer that does as it is told, or something else."""

    def __init__(self, work: Callable[[LogCheckpoint], LogCheckpoint]) -> None:
        self._work = work

    def latest(self, origin: str) -> LogCheckpoint | None:
        return None

    def sign(self, checkpoint: LogCheckpoint, proof: Sequence[bytes]) -> LogCheckpoint:
        return self._work(checkpoint)


def test_a_strange_signer_is_an_error_of_ours(vault: Vault, folder: Path) -> None:
    """A signer that fails, or signs something else, leaves no checkpoint behind."""
    vault.put_many(entries(1))

    def other(checkpoint: LogCheckpoint) -> LogCheckpoint:
        return LogCheckpoint(checkpoint.origin, checkpoint.size + 1, checkpoint.root)

    with pytest.raises(SinkError, match="ZeroDivisionError"):
        vault.seal(_Strange(lambda checkpoint: 1 // 0))  # type: ignore[arg-type,return-value] # hostile on purpose
    with pytest.raises(HistoryChanged, match="another checkpoint"):
        vault.seal(_Strange(other))
    assert vault.checkpoints() == ()
    assert not (_log(folder) / "checkpoint").exists()


# -- the signer ---------------------------------------------------------------------------


def test_a_signer_keeps_its_files_to_itself(vault: Vault, signer: FileSigner) -> None:
    """Key and memory are for their owner alone, and openssl reads the key."""
    vault.seal(signer)

    assert signer.folder.stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_mode & 0o777 for each in signer.folder.iterdir()} == {0o600}
    said = subprocess.run(
        ["openssl", "pkey", "-in", signer.folder / "key.pem", "-noout", "-text_pub"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "ED25519" in said.upper()


def test_a_signer_with_a_bad_key_signs_nothing(vault: Vault, signer: FileSigner) -> None:
    """A key that others can read, that is none, or that went away, is an error, not a new one."""
    vault.put_many(entries(1))
    vault.seal(signer)
    vault.put_many(entries(1, start=1))
    key = signer.folder / "key.pem"
    key.chmod(0o644)
    with pytest.raises(ConfigurationError, match="read by others"):
        vault.seal(signer)
    key.chmod(0o600)
    rsa = subprocess.run(["openssl", "genrsa", "1024"], check=True, capture_output=True).stdout
    for data in (b"", b"no key", rsa):
        key.write_bytes(data)
        with pytest.raises(ConfigurationError, match="no private key of Ed25519"):
            vault.seal(signer)
    key.unlink()
    with pytest.raises(ConfigurationError, match="its key is gone"):
        vault.seal(signer)


def test_a_signer_without_its_memory_signs_nothing(vault: Vault, signer: FileSigner) -> None:
    """What was signed last, damaged or of another log, is an error, and not forgotten."""
    vault.put_many(entries(1))
    made = vault.seal(signer).checkpoint
    vault.put_many(entries(1, start=1))
    (memory,) = signer.folder.glob("*.checkpoint")
    for data in (b"", b"x", made.to_bytes().replace(b"vault/", b"vault/x")):
        memory.write_bytes(data)
        with pytest.raises(StateError, match="cannot be read"):
            vault.seal(signer)


def test_a_signer_that_cannot_write_is_an_error(vault: Vault, tmp_path: Path) -> None:
    """A folder that is a file is said to be one."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StateError, match=r"ENOTDIR|EEXIST"):
        vault.seal(FileSigner(tmp_path / "file"))


def test_another_signer_goes_on(vault: Vault, signer: FileSigner, tmp_path: Path) -> None:
    """A new key signs the same history on; each checkpoint is checked with its own key."""
    vault.put_many(entries(2))
    old = vault.seal(signer).checkpoint
    other = FileSigner(tmp_path / "other")
    again = vault.seal(other)
    vault.put_many(entries(1, start=2))
    new = vault.seal(other).checkpoint

    assert (again.added, again.checkpoint.text()) == (0, old.text())
    assert other.verifier(vault.origin).check(new)
    assert not signer.verifier(vault.origin).check(new)
    vault.consistency(old).check()


def test_sealing_in_two_threads_gives_one_history(
    vault: Vault, open_vault: OpenVault, signer: FileSigner
) -> None:
    """Whoever seals at the same time takes turns; all checkpoints are of one history."""
    vaults = [vault, open_vault()]

    def work(n: int) -> None:
        for m in range(5):
            vaults[n].put_many(entries(1, start=n * 100 + m))
            vaults[n].seal(signer)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = vault.checkpoints()
    assert vault.seal(signer).checkpoint.size == 20
    for each in found:
        vault.consistency(each).check(key=signer.verifier(vault.origin))


# -- crashes ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vault that was sealed once and has more since, so much that a tile becomes full."""
    top = tmp_path_factory.mktemp("before")
    with Vault(top / "v", keys=None) as vault:
        vault.put_many(entries(250))
        vault.seal(FileSigner(top / "s"))
        vault.put_many(entries(10, start=300))
    return top


def _seal(before: Path, top: Path, fuse: Callable[[str], None]) -> None:
    """Seal a copy of that vault; every step of vault and signer passes the fuse."""
    shutil.copytree(before, top)
    with Vault(top / "v") as vault:
        vault._disk.fuse = fuse
        vault.seal(FileSigner(top / "s", fuse=fuse))


def _check_sealed(top: Path) -> None:
    """Another seal goes on, and everything ever signed is of that history."""
    signer = FileSigner(top / "s")
    with Vault(top / "v") as vault:
        known = {*vault.checkpoints(), signer.latest(vault.origin)}
        vault.put_many(entries(1, start=900))
        made = vault.seal(signer).checkpoint
        key = signer.verifier(vault.origin)
        for each in {*known, *vault.checkpoints()}:
            assert each is not None
            vault.consistency(each, made).check(key=key)
        message = next(vault.view(BOB).messages(text="message 17"))
        message.proof().check(message.content(), key=key)


@pytest.mark.slow
def test_a_crash_at_any_step_of_a_seal_harms_nothing(before: Path, tmp_path: Path) -> None:
    """After a crash at each step in turn, the next seal continues what was signed."""
    steps = Fuse().count(lambda fuse: _seal(before, tmp_path / "count", fuse))
    assert steps > 25

    for n in range(steps):
        with pytest.raises(Crash):
            _seal(before, tmp_path / str(n), Fuse(n))
        _check_sealed(tmp_path / str(n))


@pytest.mark.slow
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_step_of_a_seal_that_fails_is_an_error(
    before: Path, tmp_path: Path, number: int
) -> None:
    """Whichever step the disk refuses, it is an error of ours, and the next seal continues."""
    steps = Fuse().count(lambda fuse: _seal(before, tmp_path / "count", fuse))

    for n in range(0, steps, 2):
        passed: list[str] = []

        def fuse(step: str, passed: list[str] = passed, n: int = n) -> None:
            passed.append(step)
            if len(passed) == n + 1:
                raise OSError(number, os.strerror(number))

        with suppress(MailArchiveError):
            _seal(before, tmp_path / str(n), fuse)
        _check_sealed(tmp_path / str(n))


# -- proofs -------------------------------------------------------------------------------


def test_one_message_is_proven_alone(vault: Vault, signer: FileSigner) -> None:
    """A user's proof holds for the message under a key or a kept checkpoint, and shows no more."""
    vault.put_many(entries(300))
    sealed = vault.seal(signer).checkpoint
    message = next(vault.view(BOB).messages(text="message 77"))

    proof = message.proof()

    key = signer.verifier(vault.origin)
    proof.check(message.content(), key=key, checkpoint=sealed)
    assert [each.label for each in proof.opened] == ["content"]
    assert "example.com" not in proof.text()
    assert InclusionProof.parse(proof.text()) == proof
    assert proof.text().startswith("c2sp.org/tlog-proof@v1\nextra ")
    assert proof.to_dict()["index"] == proof.index


def test_a_proof_is_of_one_message_and_one_log(
    vault: Vault, signer: FileSigner, tmp_path: Path
) -> None:
    """Another message, key, checkpoint, leaf, place or opening is not proven."""
    vault.put_many(entries(9))
    first = vault.seal(signer).checkpoint
    vault.put_many(entries(1, start=9))
    vault.seal(signer)
    one, two = list(vault.view(BOB).messages(limit=2))
    proof, other = one.proof(), two.proof()
    stranger = FileSigner(tmp_path / "stranger").verifier(vault.origin)
    from attrs import evolve

    wrong: list[tuple[InclusionProof, dict[str, object]]] = [
        (proof, {"message": two.content()}),
        (proof, {"key": stranger}),
        (proof, {"checkpoint": first}),
        (evolve(proof, index=proof.index - 1), {}),
        (evolve(proof, leaf=other.leaf), {}),
        (evolve(proof, path=proof.path[:-1]), {}),
        (evolve(proof, opened=other.opened), {"message": two.content()}),
        (evolve(proof, checkpoint=first), {}),
        (evolve(proof, opened=()), {"message": one.content()}),
        (evolve(proof, opened=(evolve(proof.opened[0], label="batch"),)), {}),
    ]
    for each, settings in wrong:
        with pytest.raises(NotProven):
            each.check(**settings)  # type: ignore[arg-type] # each setting has its own type
    old = two.proof(checkpoint=first)
    old.check(two.content(), checkpoint=first)


def test_a_recipient_proves_the_message_and_not_the_report(
    vault: Vault, signer: FileSigner
) -> None:
    """A journaled message is proven to its recipient without the report that names others."""
    for encoded in (False, True):
        vault.put(journaled(mail(50 + encoded), [to("bob@example.com")], encoded=encoded))
    vault.seal(signer)

    found = list(vault.view(BOB).messages())
    assert len(found) == 2
    for message in found:
        message.proof().check(message.content())
    auditor = vault.auditor("me", "why")
    for each in auditor.entries():
        proof = each.proof()
        proof.check(each.raw())
        proof.check(each.content())
        assert {opened.label for opened in proof.opened} == {"raw", "content", "record"}
        assert InclusionProof.parse(proof.text()) == proof


def test_what_a_user_sees_cut_is_not_proven_to_them(vault: Vault, signer: FileSigner) -> None:
    """A digest over a hidden Bcc would let its reader try names: only the sender gets it."""
    vault.put(entry(mail(1, extra=b"Bcc: eve@example.com\r\n")))
    vault.seal(signer)

    with pytest.raises(Unsupported, match="without some header fields"):
        next(vault.view(BOB).messages()).proof()
    mine = next(vault.view(UserId("alice")).messages())
    mine.proof().check(mine.content())


def test_a_report_without_a_message_has_a_proof_of_the_record(
    vault: Vault, signer: FileSigner
) -> None:
    """Where there is nothing that people read, the auditor proves the report."""
    from mailarchive import Fidelity, Provenance

    vault.put(entry(mail(1), provenance=Provenance(Fidelity.WIRE, is_report=True)))
    vault.seal(signer)
    (only,) = vault.auditor("me", "why").entries()

    proof = only.proof()
    proof.check(only.raw())
    assert {opened.label for opened in proof.opened} == {"raw", "record"}


def test_what_is_not_sealed_yet_has_no_proof(vault: Vault, signer: FileSigner) -> None:
    """A message is proven once a checkpoint covers it, and not before."""
    vault.put_many(entries(1))
    old = vault.seal(signer).checkpoint
    vault.put_many(entries(1, start=1))
    message = next(vault.view(BOB).messages(text="message 1"))

    with pytest.raises(Unsupported, match="does not cover this yet"):
        message.proof()
    vault.seal(signer)
    message.proof().check(message.content())
    with pytest.raises(Unsupported):
        message.proof(checkpoint=old)


def test_a_forged_log_proves_nothing(vault: Vault, signer: FileSigner, folder: Path) -> None:
    """Where tiles were changed there is an error, and no proof that does not hold."""
    vault.put_many(entries(3))
    vault.seal(signer)
    (tile,) = (_log(folder) / "tile" / "0").rglob("*.p/*")
    tile.write_bytes(bytes(len(tile.read_bytes())))

    with pytest.raises(SinkCorrupt, match="not what the checkpoint says"):
        next(vault.view(BOB).messages()).proof()


NO_PROOF = ["", "x", "c2sp.org/tlog-proof@v1\n", "c2sp.org/tlog-proof@v1\nextra e30=\nindex 0\n\n"]


def test_what_is_no_proof_is_refused(vault: Vault, signer: FileSigner) -> None:
    """Text that is no proof is an error of ours, whatever was done to a real one."""
    vault.put_many(entries(3))
    vault.seal(signer)
    text = next(vault.view(BOB).messages()).proof().text()
    changed = [
        text[1:],
        text.replace("index ", "index x"),
        text.replace("index ", "index +"),
        text.replace("index ", "index 0"),
        text.replace("\n\n", "\n"),
        text.replace("extra ", "extra !"),
        text.replace("extra e", "extra \ud800"),
        text[:200],
    ]

    for each in [*NO_PROOF, *changed]:
        with pytest.raises(ConfigurationError):
            InclusionProof.parse(each)


def test_histories_of_two_logs_are_not_consistent(
    vault: Vault, signer: FileSigner, tmp_path: Path
) -> None:
    """A proof of consistency is about one log, and signed by its key."""
    vault.put_many(entries(1))
    one = vault.seal(signer).checkpoint
    vault.put_many(entries(1, start=1))
    proof = vault.consistency(one, vault.seal(signer).checkpoint)
    proof.check(key=signer.verifier(vault.origin))
    with Vault(tmp_path / "other", keys=None) as other:
        two = other.seal(signer).checkpoint

    with pytest.raises(NotProven, match="two different logs"):
        ConsistencyProof(two, one, ()).check()
    with pytest.raises(NotProven, match="not signed"):
        proof.check(key=VerifierKey(vault.origin, bytes(32)))
    assert proof.text().startswith("old 2\n")
    assert proof.to_dict()["old"] == one.to_bytes().decode()


def test_the_library_loads_no_cryptography_before_it_signs() -> None:
    """Opening and reading a vault loads nothing that only signing needs."""
    code = (
        "import sys, mailarchive, mailarchive.vault, mailarchive.vault.anchors;"
        "print([m for m in ('cryptography', 'smtplib', 'rfc3161_client') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
