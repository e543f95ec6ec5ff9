"""The laws of a signal: a run ends where all is accounted for, and says what it did."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import job, journal
from typing_extensions import override

from mailarchive import Vault
from mailarchive._cli import main
from mailarchive._cli._signals import STOPS, Signals, Stopped
from mailarchive._cli.progress import Progress
from mailarchive.events import BatchStored, RunStarted
from mailarchive.testing.dovecot import dovecot

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive.events import Event

JOB = """
[source]
kind = "maildir"
path = "mail"
[users]
csv = "users.csv"
[vault]
path = "acme.vault"
encryption = "none"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job with two folders of three messages each; the test has gone there."""
    monkeypatch.chdir(tmp_path)
    mails = list(journal.mailbox(6))
    for number, mail in enumerate(mails):
        folder = tmp_path / "mail" / ("" if number < 3 else ".Second")
        for name in ("cur", "new", "tmp"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "cur" / f"{number}.x:2,S").write_bytes(mail.raw)
    (tmp_path / "users.csv").write_text(journal.CSV)
    (tmp_path / "archive.toml").write_text(JOB)
    return tmp_path


def signalled(monkeypatch: pytest.MonkeyPatch, kind: type[Event], *signals: int) -> None:
    """Let these signals come at the first event of that kind."""
    left = list(signals)

    class Signalling(Progress):
        """Shows nothing, and gives the signals."""

        @override
        def __call__(self, event: Event) -> None:
            if isinstance(event, kind):
                while left:
                    signal.raise_signal(left.pop(0))

    monkeypatch.setattr("mailarchive._cli.run.Progress", Signalling)


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["TERM", "INT"]
)
def test_a_signal_ends_a_run_where_all_is_accounted_for(
    sent: int,
    status: int,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The page under way is finished and saved, the summary is printed, the rest comes next."""
    before = [signal.getsignal(each) for each in STOPS]
    with monkeypatch.context() as patched:
        signalled(patched, BatchStored, sent)
        assert main(["run", "archive.toml"]) == status
    said = capsys.readouterr()

    assert [signal.getsignal(each) for each in STOPS] == before
    assert "3  messages listed in 1 folder\n" in said.out
    assert "3  newly archived" in said.out
    assert "stopping once this page is accounted for" in said.err
    assert said.err.endswith("mailarchive: stopped; run it again to go on where it was\n")
    assert main(["run", "archive.toml"]) == 0
    again = capsys.readouterr().out
    assert "3  messages listed in 2 folders\n" in again
    assert "in the archive already" not in again
    with Vault(here / "acme.vault", read_only=True, keys=None) as vault:
        assert vault.verify("content").ok


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["verify", "v"], "stopped before the end"),
        (["verify", "v", "--json"], "stopped before the end"),
        (["show", "v", "--user", "u"], "stopped before the end"),
        (["export", "v", "--user", "u", "--to", "o"], "stopped; run it again to go on"),
    ],
    ids=["verify", "verify as JSON", "show", "export"],
)
def test_only_what_goes_on_says_that_it_does(
    words: list[str],
    said: str,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ctrl-C in a command that begins anew the next time promises nothing else."""

    def stopped(_: object, *, or_state: bool) -> None:
        assert not or_state
        raise KeyboardInterrupt

    with Vault(here / "v", keys=None):
        pass
    monkeypatch.setattr("mailarchive._cli._places.check_vault", stopped)
    assert main(words) == 130
    out, err = capsys.readouterr()
    assert err.startswith(f"mailarchive: {said}")
    assert ("--json" in words) == bool(out)
    if out:
        told = json.loads(out)
        assert told == {
            "ok": False,
            "error": {"code": "stopped", "message": said, "suggestions": []},
        }


def test_a_signal_between_two_folders_begins_no_other(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty folder has no page to end at."""
    signalled(monkeypatch, RunStarted, signal.SIGTERM)

    assert main(["run", "archive.toml"]) == 143
    assert "listed" not in capsys.readouterr().out
    assert (here / "acme.vault").exists()


def test_a_second_signal_does_not_wait(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it breaks off is read again by the next run, and stored once."""
    with monkeypatch.context() as patched:
        signalled(patched, BatchStored, signal.SIGTERM, signal.SIGINT)
        assert main(["run", "archive.toml"]) == 130
    assert "newly archived" not in capsys.readouterr().out

    assert main(["run", "archive.toml"]) == 0
    assert "3  in the archive already" in capsys.readouterr().out
    with Vault(here / "acme.vault", read_only=True, keys=None) as vault:
        assert vault.verify("content").ok


def test_a_signal_that_is_ignored_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `nohup`, or behind a shell's `&`, nobody means us."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Signals() as signals:
            signal.raise_signal(signal.SIGINT)
            signals.check()
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(Stopped) as stopped:
                signals.check()
    finally:
        signal.signal(signal.SIGINT, before)

    assert stopped.value.status == 143


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "status"), [("TERM", 143), ("INT", 130)])
def test_the_real_command_ends_so(sent: str, status: int, tmp_path: Path) -> None:
    """The signal comes while it logs in to a real server; the lock is free and nothing is lost."""
    with dovecot() as server:
        user = server.new_user()
        server.put(user, [mail.raw for mail in journal.mailbox(2)])
        file = job.write(tmp_path, server, user)
        told = 'password = { command = ["sh", "-c", "kill -SENT $PPID; cat secret"] }'
        text = file.read_text()
        file.write_text(text.replace('password = { file = "secret" }', told.replace("SENT", sent)))
        words = [sys.executable, "-m", "mailarchive", "run", str(file), "--quiet"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ)

        assert done.returncode == status
        assert done.stderr.endswith("mailarchive: stopped; run it again to go on where it was\n")
        assert "Traceback" not in done.stderr
        file.write_text(text)
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0
        assert "2  newly archived" in done.stdout
