"""A vault that an earlier release wrote is read for ever: every byte, by everybody, as then."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.old_vaults import told
from support.vaults import entries

from mailarchive import UserId
from mailarchive.vault import FileSigner, InclusionProof, Vault, VerifierKey

CORPUS = Path(__file__).parents[1] / "corpus" / "vaults"
VERIFIER = Path(__file__).parents[2] / "docs" / "examples" / "verify_vault.py"
FORMATS = sorted(each.name for each in CORPUS.iterdir())


@pytest.fixture(params=FORMATS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a vault of each format, and of what was kept beside it."""
    shutil.copytree(CORPUS / request.param, tmp_path / "old")
    (tmp_path / "old" / "signer" / "key.pem").chmod(0o600)  # git keeps no such rights
    return tmp_path / "old"


def _key(old: Path) -> VerifierKey:
    return VerifierKey.parse((old / "key.txt").read_text())


def test_the_first_format_is_among_them() -> None:
    """A corpus that is empty would prove nothing."""
    assert "format-1" in FORMATS


def test_everybody_sees_what_they_saw(old: Path) -> None:
    """Views, contents, keys, owners, readings and checkpoints are those of the day it was made."""
    with Vault(old / "vault") as vault:
        found = json.loads(json.dumps(told(vault)))

    expected = json.loads((old / "told.json").read_text())
    assert found["users"] == expected["users"]
    assert found["entries"] == expected["entries"]
    assert found["readings"] == expected["readings"]
    assert found["log"] == expected["log"]


def test_it_is_whole_and_as_it_was_sealed(old: Path) -> None:
    """Each level finds nothing, with the index there and without, under the key of then."""
    with Vault(old / "vault", read_only=True) as vault:
        assert vault.verify("content").findings == ()
        report = vault.verify("log", checkpoints=vault.checkpoints(), key=_key(old))
        assert report.findings == ()
        assert 0 < report.sealed < report.leaves
    with Vault(old / "vault") as vault:
        assert vault.verify("content").findings == ()


def test_an_old_proof_holds(old: Path) -> None:
    """What was proven then is proven now, and the same proof is made again."""
    text, message = (old / "message.tlog-proof").read_text("utf-8"), old / "message.eml"
    proof = InclusionProof.parse(text)
    proof.check(message.read_bytes(), key=_key(old))

    with Vault(old / "vault") as vault:
        (again,) = vault.view(UserId("bob")).messages(text="message 2")
        assert again.content() == message.read_bytes()
        assert again.proof(checkpoint=proof.checkpoint) == proof


def test_it_goes_on(old: Path) -> None:
    """A later release archives into it, and seals it on with the signer of then."""
    signer = FileSigner(old / "signer")
    with Vault(old / "vault") as vault:
        before = vault.checkpoints()[-1]
        vault.put_many(entries(3, start=1000))
        made = vault.seal(signer).checkpoint
        vault.consistency(before, made).check(key=_key(old))
        assert vault.verify("log", checkpoints=[before, made]).findings == ()


def test_it_goes_on_in_another_volume(old: Path) -> None:
    """One that was made before there was a second volume gets one like any other."""
    with Vault(old / "vault", pack_size=1, volume_size=1) as vault:
        vault.put_many(entries(3, start=1000))
        vault.seal(FileSigner(old / "signer"))
        assert vault.verify("log", checkpoints=vault.checkpoints()).findings == ()
    assert list((old / "vault" / "volumes" / "0002" / "packs").glob("*.tar"))


def test_the_program_without_us_reads_it(old: Path, tmp_path: Path) -> None:
    """The short verifier, and tar, find in it what they found then."""
    saved = max((old / "vault").rglob("log/checkpoints/*"), key=lambda each: int(each.name))
    words = [sys.executable, "-I", str(VERIFIER), str(old / "vault"), str(saved)]
    subprocess.run([*words, str(_key(old))], check=True, capture_output=True)
    for pack in (old / "vault").rglob("*.tar"):
        subprocess.run(["tar", "xf", pack, "-C", tmp_path], check=True, capture_output=True)
    assert len(list((tmp_path / "b").iterdir())) >= 8
