"""An encrypted vault on the command line: decided in the job's file, and said when it is made."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from mailarchive._cli import _toml, config, main
from mailarchive.errors import ConfigurationError
from mailarchive.vault import Vault

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the demo leaves behind, its archive taken away, with a key beside it."""
    folder = tmp_path / "demo"
    assert main(["demo", "--folder", str(folder)]) == 0
    shutil.rmtree(folder / "acme.vault")
    monkeypatch.chdir(folder)
    assert main(["new-key", "acme.key"]) == 0
    return folder


def _encrypted(folder: Path, value: str = '{ key_file = "acme.key" }') -> str:
    text = (folder / "archive.toml").read_text()
    return re.sub(r"(?m)^encryption = .*$", f"encryption = {value}", text)


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str], demo: Path) -> str:
    """What making an encrypted archive says."""
    (demo / "archive.toml").write_text(_encrypted(demo))
    capsys.readouterr()
    assert main(["run", "archive.toml", "--quiet"]) == 0
    return capsys.readouterr().err


def test_a_run_encrypts_and_says_so_once(
    demo: Path, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first run says what it decided; the archive opens with the key file alone."""
    assert "new and encrypted" in printed
    assert main(["run", "archive.toml", "--quiet"]) == 0
    assert "new and" not in capsys.readouterr().err
    assert main(["--key-file", "acme.key", "show", "acme.vault", "--user", "alice"]) == 0
    assert "@" in capsys.readouterr().out
    assert main(["show", "acme.vault", "--user", "alice"]) == 2
    assert "encrypted" in capsys.readouterr().err
    assert main(["verify", "acme.vault"]) == 0
    with Vault(demo / "acme.vault") as vault:
        assert vault.verify("log").ok


def test_what_is_quarantined_is_encrypted_and_verified_too(
    demo: Path, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It lies beside the mail, opens with the same keys, and is missed when it is gone."""
    del printed
    kept = sorted((demo / "acme.vault" / "quarantine").glob("*.gcm"))
    assert len(kept) == 2
    assert main(["--key-file", "acme.key", "quarantine", "acme.vault"]) == 0
    assert "original_missing" in capsys.readouterr().out
    assert main(["quarantine", "acme.vault"]) == 1
    assert "--key-file" in capsys.readouterr().err
    assert main(["verify", "acme.vault"]) == 0
    assert "not looked at" in capsys.readouterr().out
    verify = ["--key-file", "acme.key", "verify", "acme.vault"]
    assert main(verify) == 0
    assert "1 message held: whole" in capsys.readouterr().out

    for file in kept:
        file.unlink()

    assert main(verify) == 1
    assert "missing" in capsys.readouterr().out
    assert main(["--key-file", "acme.key", "quarantine", "acme.vault"]) == 1
    assert capsys.readouterr().out.startswith("1 message not as held: see mailarchive verify")
    assert main([*verify, "--json"]) == 1
    tree = json.loads(capsys.readouterr().out)
    assert tree["ok"] is False
    assert [each["kind"] for each in tree["quarantine"]["faults"]] == ["missing"]


def _undecided(folder: Path) -> str:
    return re.sub(r"(?m)^encryption = .*\n", "", (folder / "archive.toml").read_text())


def test_a_new_vault_is_refused_until_the_job_decides(
    demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit status 2, both ways out, and nothing written; a dry run says it too."""
    (demo / "archive.toml").write_text(_undecided(demo))
    before = sorted(demo.rglob("*"))
    run = ["run", "archive.toml", "--quiet"]
    for command in (run, [*run, "--dry-run"], ["--key-file", "acme.key", *run]):
        capsys.readouterr()
        assert main(command) == 2
        told = capsys.readouterr().err
        assert 'encryption = "none"' in told
        assert "[vault]" in told
        assert 'encryption = { key_file = "FILE" }' in told
        assert "mailarchive new-key FILE" in told
    assert sorted(demo.rglob("*")) == before


def test_a_receiver_is_refused_before_it_listens(
    demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would make the vault as a run does."""
    (demo / "addresses").write_text("journal-8Kq2@example.com\n")
    smtp = 'kind = "smtp"\naddresses = { file = "addresses" }\nport = 0\nsecurity = "plain"'
    rest = _undecided(demo).partition("[decoder]")[2]
    more = 'allow_plaintext = true\nnetworks = ["127.0.0.0/8"]'
    (demo / "archive.toml").write_text(f"[source]\n{smtp}\n{more}\n[decoder]{rest}")
    before = sorted(demo.rglob("*"))
    capsys.readouterr()

    assert main(["receive", "archive.toml"]) == 2

    told = capsys.readouterr()
    assert 'encryption = "none"' in told.err
    assert sorted(demo.rglob("*")) == before


def test_a_vault_that_is_made_where_there_was_none_is_told_once(
    demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A path with a slip in it, or a disk that is not mounted, would begin a second archive."""
    (demo / "archive.toml").write_text(_encrypted(demo, '"none"').replace("acme.", "acne."))
    capsys.readouterr()
    assert main(["run", "archive.toml", "--quiet", "--dry-run"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["run", "archive.toml", "--quiet"]) == 0

    said = capsys.readouterr().err
    assert f"No vault is at {demo / 'acne.vault'}, so a new one is made." in said
    assert "mounted" in said
    assert main(["run", "archive.toml", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_a_vault_that_is_said_not_to_be_encrypted_is_made_without_a_word_of_keys(
    demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stands in the file; and once the vault is there the file need not say it."""
    (demo / "archive.toml").write_text(_encrypted(demo, '"none"'))
    capsys.readouterr()
    assert main(["run", "archive.toml", "--quiet"]) == 0
    assert "key" not in capsys.readouterr().err
    (demo / "archive.toml").write_text(_undecided(demo))
    assert main(["run", "archive.toml", "--quiet"]) == 0
    assert main(["run", "archive.toml", "--quiet", "--dry-run"]) == 0


def test_an_encrypted_vault_opens_with_the_key_file_of_the_command(
    demo: Path, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job that says nothing runs with it, and says what is missing without it."""
    del printed
    (demo / "archive.toml").write_text(_undecided(demo))
    assert main(["--key-file", "acme.key", "run", "archive.toml", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["run", "archive.toml", "--quiet"]) == 2
    assert "the vault is encrypted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("made", "said", "told"),
    [
        ('{ key_file = "acme.key" }', '"none"', "the vault is encrypted"),
        ('"none"', '{ key_file = "acme.key" }', "made without encryption"),
    ],
)
def test_a_job_that_says_otherwise_than_its_vault_is_refused(
    demo: Path, capsys: pytest.CaptureFixture[str], made: str, said: str, told: str
) -> None:
    """It was decided when the vault was made, and is told before anything is read."""
    (demo / "archive.toml").write_text(_encrypted(demo, made))
    assert main(["run", "archive.toml", "--quiet"]) == 0
    (demo / "archive.toml").write_text(_encrypted(demo, said))
    for how in ([], ["--dry-run"]):
        capsys.readouterr()
        assert main(["run", "archive.toml", "--quiet", *how]) == 2
        assert told in capsys.readouterr().err


def test_a_source_that_cannot_be_opened_leaves_no_vault(
    demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A first run that fails may be decided anew: there is nothing to take away first."""
    shutil.rmtree(demo / "journal")
    assert main(["run", "archive.toml", "--quiet"]) == 2
    assert not (demo / "acme.vault").exists()


@pytest.mark.parametrize(
    "value",
    ['"aes"', "true", "{ }", '{ key_file = "acme.vault/a.key" }', '{ key_file = "a", x = 1 }'],
)
def test_what_cannot_be_meant_is_refused(demo: Path, value: str) -> None:
    """A misspelt choice makes no vault at all, and no key lies in the vault that it opens."""
    with pytest.raises(ConfigurationError):
        config.build(_toml.parse(_encrypted(demo, value), "archive.toml"), demo)


def test_a_key_file_is_never_replaced(demo: Path) -> None:
    """Whoever makes a key twice still has the first one."""
    before = (demo / "acme.key").read_bytes()
    assert main(["new-key", "acme.key"]) == 2
    assert (demo / "acme.key").read_bytes() == before
