"""The real command, with a real client, and a signal to end it."""

from __future__ import annotations

import os
import re
import signal
import smtplib
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import journal
from support.smtp import ADDRESS

from mailarchive import UserId, Vault

if TYPE_CHECKING:
    from pathlib import Path

JOB = """
[source]
kind = "smtp"
port = 0
security = "plain"
allow_plaintext = true
addresses = { file = "addresses" }
[users]
csv = "users.csv"
[vault]
path = "acme.vault"
encryption = "none"
"""


def _port(process: subprocess.Popen[str]) -> int:
    """Return the port that the command says it listens on, whatever it says before."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.match(r"Listening on port (\d+)\.", line):
            return int(found[1])
    pytest.fail("it ended before it listened")


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_what_was_answered_is_in_the_archive_however_it_ends(
    stop: signal.Signals, tmp_path: Path
) -> None:
    """Also after SIGKILL: a 250 is a promise that needs nobody to be alive."""
    (tmp_path / "addresses").write_text(ADDRESS)
    (tmp_path / "users.csv").write_text(journal.CSV)
    (tmp_path / "archive.toml").write_text(JOB)
    mails = list(journal.mailbox(5))
    command = [sys.executable, "-m", "mailarchive", "receive", str(tmp_path / "archive.toml")]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            with smtplib.SMTP("127.0.0.1", _port(process), timeout=20) as client:
                for mail in mails:
                    client.sendmail("", [ADDRESS], mail.raw)
            process.send_signal(stop)
            said, _ = process.communicate(timeout=60)
            status = process.returncode
        finally:
            process.kill()

    if stop is not signal.SIGKILL:
        assert status == 0
        assert "5 messages arrived" in " ".join(said.split())
    with Vault(tmp_path / "acme.vault") as vault:
        assert vault.verify("content").ok
        for user in journal.USERS:
            mine = [mail for mail in mails if user in mail.users]
            assert vault.view(UserId(user)).count() == len(mine)
