"""The commands about evidence say what they found, and their exit status can be relied on."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.tsa import Authority
from support.vaults import entries

from mailarchive._cli import main
from mailarchive.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Runs a command in a folder with a vault in it; gives status, output and errors."""
    monkeypatch.chdir(tmp_path)
    with Vault(tmp_path / "v", keys=None, pack_size=8_000) as vault:
        for n in range(0, 30, 10):
            vault.put_many(entries(10, start=n))
    capsys.readouterr()

    def work(*words: str) -> tuple[int, str, str]:
        status = main(list(words))
        said = capsys.readouterr()
        return status, said.out, said.err

    return work


def _key(said: str) -> str:
    (line,) = [line for line in said.splitlines() if "verifier key" in line]
    return line.split()[-1]


def test_sealing_prints_what_to_keep(run: Run, tmp_path: Path) -> None:
    """A first seal makes a key, writes the checkpoint, and a second finds nothing new."""
    status, said, _ = run("seal", "v", "--signer", "signer")
    assert (status, said.splitlines()[0]) == (0, "Sealed 33 lines, 33 of them new.")
    assert "Keep a copy elsewhere" in said

    status, said, _ = run("seal", "v", "--signer", "signer", "--out", "kept.txt")

    assert (status, said.splitlines()[0]) == (0, "Sealed 33 lines, 0 of them new.")
    saved = tmp_path / "v" / "volumes" / "0001" / "log" / "checkpoint"
    assert (tmp_path / "kept.txt").read_bytes() == saved.read_bytes()


def test_a_seal_looks_first_where_the_checkpoint_goes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sealed for a place that is none; and what fails later hides no new key."""
    assert run("seal", "v", "--signer", "signer", "--out", "nodir/x")[0] == 2
    assert not (tmp_path / "signer").exists()

    monkeypatch.setattr("mailarchive._cli.evidence.check_file", lambda _: None)
    status, said, error = run("seal", "v", "--signer", "signer", "--out", "nodir/x")
    assert status == 1
    assert _key(said)
    assert "a file cannot be written" in error


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("v", "a folder stands where the file should be"),
        ("nodir/x", "the folder that it should be in is not there"),
        ("file/x", "a file stands where the folder should be"),
        ("closed/x", "this user may not write to closed"),
    ],
)
def test_a_place_for_a_file_is_refused_with_the_reason(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, words: str
) -> None:
    """In the words in which a vault's place is refused, whoever runs it: root may write to all."""
    (tmp_path / "file").touch()
    (tmp_path / "closed").mkdir()
    monkeypatch.setattr("mailarchive._cli._places._writable", lambda path: path.name != "closed")
    status, _, error = run("seal", "v", "--signer", "signer", "--out", out)

    assert status == 2
    assert f"the file to write: {words}" in error
    assert not (tmp_path / "signer").exists()


def test_anchors_are_told_apart_and_failures_count(run: Run, tmp_path: Path) -> None:
    """Each anchor is told by its name; one that failed makes the exit status no success."""
    subprocess.run(["git", "init", "--quiet", tmp_path / "repository"], check=True)
    (tmp_path / "tsa").mkdir()
    with Authority(tmp_path / "tsa") as authority:
        status, said, _ = run(
            "seal", "v", "--signer", "signer", "--anchor-file", "a", "--anchor-file", "b",
            "--anchor-git", "repository", "--anchor-tsa", authority.url,
            "--tsa-roots", "tsa/root.pem",
        )  # fmt: skip
    assert status == 0, said
    for name in ("file a", "file b", "git repository", f"time-stamp {authority.url}"):
        assert f"{name} " in said
    assert said.count("has it") == 4
    assert len(list(tmp_path.glob("[ab]/*.checkpoint"))) == 2

    status, said, _ = run("seal", "v", "--signer", "signer", "--anchor-git", "nowhere")
    assert status == 1
    assert "Sealed 33 lines" in said


def test_a_vault_that_was_taken_back_is_not_sealed(run: Run, tmp_path: Path) -> None:
    """The command ends in one line that says so, and signs nothing."""
    shutil.copytree(tmp_path / "v", tmp_path / "old")
    with Vault(tmp_path / "v") as vault:
        vault.put_many(entries(5, start=50))
    run("seal", "v", "--signer", "signer")

    status, said, error = run("seal", "old", "--signer", "signer")

    assert (status, said) == (1, "")
    assert "lines of the log were signed, and only 33 are there" in error
    assert error.count("\n") == 1
    assert run("seal", "v", "--signer", "v/signer")[0] == 2


def test_a_damaged_checkpoint_is_repaired_with_its_key(run: Run, tmp_path: Path) -> None:
    """Without the key it is named, and the status says that it is still damaged."""
    key = _key(run("seal", "v", "--signer", "signer")[1])
    shutil.copytree(tmp_path / "v", tmp_path / "replica")
    saved = tmp_path / "v" / "volumes" / "0001" / "log" / "checkpoints" / "33"
    saved.write_bytes(b"junk")

    status, said, _ = run("repair", "v", "--from", "replica", "--apply")
    assert status == 1
    assert "checkpoint 33 is damaged, and none can be taken" in said
    assert said.endswith("give --key.\n")
    status, said, _ = run("repair", "v", "--from", "replica", "--key", key)
    assert status == 1
    assert said.startswith("checkpoint 33 is damaged: restore it from the replica\n")
    status, said, _ = run("repair", "v", "--from", "replica", "--key", key, "--apply")
    assert (status, said.splitlines()[-1]) == (0, "1 checkpoint restored.")
    assert run("verify", "v", "--key", key)[0] == 0


def test_verifying_against_what_was_kept(run: Run, tmp_path: Path) -> None:
    """A kept checkpoint and the key select the level; a change is found and the status says so."""
    _, said, _ = run("seal", "v", "--signer", "signer", "--out", "kept.txt")
    key = _key(said)
    (tmp_path / "key.txt").write_text(key + "\n")

    for words in (["--checkpoint", "kept.txt"], ["--key", key], ["--key", "key.txt"]):
        status, said, _ = run("verify", "v", *words)
        assert status == 0
        assert "Verified (log)" in said
        assert "33 of 33 lines are under a checkpoint" in said
    status, said, _ = run("verify", "v", "--level", "log", "--json", "--checkpoint", "kept.txt")
    told = json.loads(said)
    assert (status, told["ok"], told["complete"], told["sealed"]) == (0, True, True, 33)

    (tmp_path / "v" / "volumes" / "0001" / "log" / "tile" / "0" / "000.p" / "33").unlink()
    status, said, _ = run("verify", "v", "--checkpoint", "kept.txt")
    assert status == 1
    assert "log-tile" in said
    status, said, _ = run("rebuild", "v")
    assert (status, said) == (0, "Made anew from the packs; 1 checkpoint kept.\n")
    assert run("verify", "v", "--checkpoint", "kept.txt")[0] == 0


@pytest.mark.parametrize(
    "words",
    [
        ["--checkpoint", "nowhere"],
        ["--checkpoint", "v/vault.json"],
        ["--key", "a+b"],
        ["--key", "nowhere"],
        ["--budget", "soon"],
        ["--budget", "99999999999999999999d"],
        ["--level", "quick", "--key", "x+00+"],
    ],
)
def test_what_cannot_be_compared_is_wrong(run: Run, words: list[str]) -> None:
    """A file or a key that is none, or a time that is none, is a wrong command."""
    status, said, error = run("verify", "v", *words)

    assert (status, said) == (2, "")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["verify", "nowhere", "--json"], "configuration", 2),
        (["verify", "v", "--json", "--checkpoint", "nowhere"], "configuration", 2),
        (["decode", "nowhere.eml", "--json"], "configuration", 2),
    ],
)
def test_who_asks_for_json_gets_it_of_an_error_too(
    run: Run, words: list[str], code: str, expected: int
) -> None:
    """One document on standard output, whatever happens; the line for people stays."""
    status, said, error = run(*words)

    told = json.loads(said)
    assert (status, told["ok"], told["error"]["code"]) == (expected, False, code)
    assert told["error"]["message"] in error
    assert told["error"]["suggestions"]
    assert error.count("\n") == 1


def test_a_key_that_is_none_says_what_one_is(run: Run) -> None:
    """Whoever gave a word for the key, or a file that is not there, learns what was wanted."""
    for words in ("garbage", "nowhere.txt"):
        status, _, error = run("verify", "v", "--key", words)
        assert status == 2
        assert "NAME+HASH+KEY" in error


def test_a_budget_is_used_up_and_gone_on_from(run: Run, tmp_path: Path) -> None:
    """Each call looks at a part and notes how far it came; the last one has seen all."""
    turns, statuses = [], []
    for _ in range(3):
        status, said, _ = run("verify", "v", "--budget", "0s")
        statuses.append(status)
        turns.append("time was up" in said)
    assert (turns, statuses) == ([True, True, False], [0, 0, 0])
    assert json.loads((tmp_path / "v" / "verify.json").read_bytes())["resume"] is None

    (tmp_path / "note").write_text("junk")
    assert "time was up" in run("verify", "v", "--budget", "0s", "--state", "note")[1]
    assert json.loads((tmp_path / "note").read_bytes())["resume"]
    assert "time was up" not in run("verify", "v", "--budget", "1h")[1]
    assert run("verify", "v", "--budget", "1h", "--state", "nowhere/note")[0] == 2


def test_one_message_is_proven_and_checked_elsewhere(run: Run, tmp_path: Path) -> None:
    """A proof is checked with the message and what was kept, in a folder without the vault."""
    _, said, _ = run("seal", "v", "--signer", "signer", "--out", "kept.txt")
    key = _key(said)
    _, said, _ = run("show", "v", "--user", "bob", "--text", "message 7")
    message = said.splitlines()[1].split()[0]
    run("export", "v", "--user", "bob", "--to", "out")
    (file,) = [each for each in (tmp_path / "out").iterdir() if message in each.name]

    status, said, _ = run("prove", "v", message, "--user", "bob", "--out", "p.tlog-proof")
    assert (status, "of 33 is this message" in said) == (0, True)
    assert run("prove", "v", message, "--user", "bob")[1] == (tmp_path / "p.tlog-proof").read_text(
        "utf-8"
    )
    shutil.rmtree(tmp_path / "v")

    for words in (["--checkpoint", "kept.txt"], ["--key", key], []):
        status, said, _ = run("check-proof", "p.tlog-proof", str(file), *words)
        assert status == 0
        assert ("agrees with itself" in said) == (not words)
    other = next(each for each in (tmp_path / "out").iterdir() if each != file)
    status, _, error = run("check-proof", "p.tlog-proof", str(other), "--key", key)
    assert (status, "not the one that was archived" in error) == (1, True)
    assert run("check-proof", str(file), str(file))[0] == 2


def test_an_auditor_proves_an_entry_by_its_id(run: Run, tmp_path: Path) -> None:
    """Any beginning of an id that names one entry will do; the auditor is on record."""
    run("seal", "v", "--signer", "signer")
    with Vault(tmp_path / "v", read_only=True) as vault:
        rows = vault._opened().index.rows("SELECT hex(id) FROM entry WHERE n = 5")
    ada = ("--auditor", "Ada", "--reason", "case 7")

    assert run("prove", "v", rows[0][0][:12], *ada)[0] == 0
    assert run("prove", "v", "", *ada)[0] == 1
    assert run("prove", "v", "xyz", *ada)[0] == 1
    assert run("prove", "v", "nothing", "--user", "bob")[0] == 1
    with Vault(tmp_path / "v") as vault:
        readings = vault.auditor("me", "why").readings()
    assert [each.actor for each in readings] == ["Ada"] * 3 + ["me"]


def test_a_repair_is_planned_first_and_then_done(run: Run, tmp_path: Path) -> None:
    """Without --apply nothing changes; with it the vault is whole, and who did it is on record."""
    shutil.copytree(tmp_path / "v", tmp_path / "replica")
    pack = min((tmp_path / "v").rglob("*.tar"))
    data = bytearray(pack.read_bytes())
    data[600] ^= 1
    pack.write_bytes(data)

    assert run("verify", "v")[0] == 1
    status, said, _ = run("repair", "v", "--from", "replica")
    assert status == 1
    assert "restore 1 members" in said
    assert "Nothing is done yet" in said
    assert pack.read_bytes() == data

    status, said, _ = run("repair", "v", "--from", "replica", "--apply", "--actor", "Ada")
    assert (status, "1 pack restored" in said) == (0, True)
    assert run("verify", "v", "--level", "content")[0] == 0
    assert run("repair", "v", "--from", "replica")[:2] == (0, "nothing to repair\n")
    assert run("repair", "v", "--from", "nowhere")[0] == 2


def test_what_only_a_replica_knows_of_is_taken_by_word(run: Run, tmp_path: Path) -> None:
    """It is counted and left; with --newer it comes in."""
    shutil.copytree(tmp_path / "v", tmp_path / "replica")
    with Vault(tmp_path / "replica") as replica:
        replica.put_many(entries(1, start=90))

    status, said, _ = run("repair", "v", "--from", "replica", "--apply")
    assert status == 0
    assert "1 batches that only the replica knows of are left out" in said
    assert "--newer takes them on trust" in said

    status, said, _ = run("repair", "v", "--from", "replica", "--apply", "--newer")
    assert (status, "1 pack restored" in said) == (0, True)
