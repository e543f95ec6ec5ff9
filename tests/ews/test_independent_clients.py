"""The server on loopback as clients see it that others wrote: it is no mirror of our own."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import imaplib
import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.ews import ALICE, SECRET, Desk

from mailarchive.testing.dovecot import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = "ews-javascript-api@0.15.3"
DAVMAIL = Path("/usr/share/davmail/davmail.jar")
SECONDS = 60


@pytest.fixture(scope="session")
def node_modules(pytestconfig: pytest.Config) -> Path:
    """The folder of the JavaScript client, installed beside the sources."""
    place = pytestconfig.rootpath / ".servers" / "npm"
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "node_modules" / "ews-javascript-api").exists():
            command = f"npm install --silent --no-fund --no-audit --prefix {place} {CLIENT}"
            subprocess.run(command.split(), check=True, timeout=300)
    return place


def test_a_javascript_client_lists_reads_and_syncs(desk: Desk, node_modules: Path) -> None:
    """It finds every message, and its MIME to the byte."""
    raws = desk.deliver(9)
    script = Path(__file__).with_name("read.js")
    command = ["node", str(script), str(node_modules), desk.server.url, ALICE, SECRET]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)

    assert sorted(base64.b64decode(raw) for raw in seen["raws"]) == sorted(raws)
    assert sorted(seen["subjects"]) == [f"message {number}" for number in range(9)]
    assert sorted(seen["synced"]) == sorted(desk.mailbox.folder("inbox").items)
    assert {"Inbox", "Sent Items", "Calendar"} <= set(seen["names"])


def test_davmail_shows_the_mailbox_over_imap(desk: Desk, tmp_path: Path) -> None:
    """The gateway logs in, finds the folders and every message, and its MIME to the byte."""
    raws = desk.deliver(9)
    with (
        davmail(desk.server.url, tmp_path) as port,
        imaplib.IMAP4("127.0.0.1", port, SECONDS) as client,
    ):
        client.login(ALICE, SECRET)
        _, folders = client.list()
        _, count = client.select("INBOX", readonly=True)
        _, found = client.uid("FETCH", "1:*", "(UID BODY.PEEK[])")

    assert count == [b"9"]
    assert sorted(part[1] for part in found if isinstance(part, tuple)) == sorted(raws)
    assert any(b'"Sent"' in line for line in folders if isinstance(line, bytes))
    assert not any(item.read for item in desk.mailbox.folder("inbox").items.values())


@contextlib.contextmanager
def davmail(url: str, home: Path) -> Iterator[int]:
    """Start DavMail before an EWS server and yield its IMAP port."""
    port = free_port()
    settings = home / "davmail.properties"
    settings.write_text(
        f"davmail.server=true\ndavmail.mode=EWS\ndavmail.url={url}\ndavmail.imapPort={port}\n"
        "davmail.smtpPort=\ndavmail.popPort=\ndavmail.caldavPort=\ndavmail.ldapPort=\n"
        "davmail.bindAddress=127.0.0.1\ndavmail.allowRemote=false\n"
        f"davmail.disableUpdateCheck=true\ndavmail.logFilePath={home}/davmail.log\n"
    )
    java = f"java -Djava.awt.headless=true -Xmx256m -jar {DAVMAIL} -server {settings}"
    with (home / "out").open("w") as out:
        running = subprocess.Popen(
            java.split(), stdout=out, stderr=out, cwd=home, env={**os.environ, "HOME": str(home)}
        )
    try:
        _wait_for(port, running)
        yield port
    finally:
        running.terminate()
        running.wait(SECONDS)


def _wait_for(port: int, running: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and running.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("DavMail did not start")
