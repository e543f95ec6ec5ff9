"""`mailarchive demo`: the whole path on a sample journal mailbox, with real numbers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from mailarchive._cli import FAILED, OK, config, reading, sample
from mailarchive._cli._text import columns, counted, safe, size
from mailarchive._cli.progress import Progress
from mailarchive._cli.run import follow
from mailarchive.errors import ConfigurationError
from mailarchive.state import SqliteCheckpoints
from mailarchive.vault import Vault

if TYPE_CHECKING:
    from mailarchive._cli.config import Job
    from mailarchive.archiver import RunReport

JOB = """\
# A job for `mailarchive run`: what the demo archived, and how.
[source]
kind = "maildir"
path = "journal"
name = "sample"

[decoder]
kind = "journal"

[users]
csv = "users.csv"

[vault]
path = "acme.vault"
encryption = "none"
"""

NEXT = """\
Next, for a server of your own: copy archive.toml, and put in place of [source]

  [source]
  kind = "imap"
  host = "imap.example.com"
  user = "journal@example.com"
  password = { file = "journal.password" }

then say who your users are in users.csv, and type

  mailarchive run archive.toml --dry-run
  mailarchive run archive.toml
  mailarchive show acme.vault --user alice"""


def demo(folder: Path | None = None) -> int:
    """Archive the sample, show what everybody sees, verify, and archive once more."""
    folder = _fresh(folder)
    count = sample.write(folder)
    (folder / "archive.toml").write_text(JOB, encoding="utf-8")
    print(f"A sample journal mailbox of {count} messages is in {safe(str(folder))}")
    job = config.load(folder / "archive.toml")
    print("\nThe first run archives it:")
    first = _run(job)
    _seen(job)
    with Vault(job.vault, read_only=True) as vault:
        report = vault.verify("content")
    print(f"\n{reading.verified(report)}")
    print("\nA second run, which was made to forget how far the first one came:")
    again = _run(evolve(job, state=SqliteCheckpoints(folder / "forgetful.db")))
    print(f"\n{NEXT}\n\nRemove {safe(str(folder))} when you have seen enough.")
    whole = first.ok and again.ok and report.ok and again.stored == 0
    return OK if whole else FAILED


def _fresh(folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="mailarchive-demo-"))
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise ConfigurationError(
            f"the folder cannot be made: {type(error).__name__}",
            suggestions=["name a folder that is not there yet"],
        ) from error
    return folder


def _run(job: Job) -> RunReport:
    progress = Progress()
    with job.lock, Vault(job.vault, keys=None) as vault:
        return follow(job.archiver(vault, observer=progress), progress)


def _seen(job: Job) -> None:
    """Print what each user sees, what nobody owns, and what is quarantined."""
    with Vault(job.vault) as vault:
        auditor = vault.auditor("demo", "showing what the sample leaves behind")
        users = sorted(auditor.users())
        print("\nWhat each user sees of it, newest first:")
        for user in users:
            view = vault.view(user)
            print(f"  {user} sees {counted(view.count(), 'message')}, such as")
            rows = [reading.row(each)[1:] for each in view.messages(limit=2)]
            print(columns(rows, "    "))
        print("\nWhat nobody known owns, and only an auditor sees:")
        print(columns([reading.audited(each)[1:] for each in auditor.unowned()]))
    print("\nWhat is quarantined, whole and apart:")
    held = [(each.id[:12], size(each.size), safe(each.reason)) for each in job.quarantine.list()]
    print(columns(held))
