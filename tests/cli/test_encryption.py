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


@pytest.mark.parametrize("said", [True, False])
def test_a_run_without_encryption_says_so(
    demo: Path, capsys: pytest.CaptureFixture[str], *, said: bool
) -> None:
    """Nothing is decided silently: it stands in the file, or the run says it."""
    text = _encrypted(demo, '"none"')
    (demo / "archive.toml").write_text(text if said else text.replace('encryption = "none"\n', ""))
    capsys.readouterr()
    assert main(["run", "archive.toml", "--quiet"]) == 0
    assert ("not encrypted" in capsys.readouterr().err) is not said


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
