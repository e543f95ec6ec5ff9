"""A real EWS server, where one is named: the one test of all that may be skipped.

MAILARCHIVE_EWS_URL, MAILARCHIVE_EWS_USER and MAILARCHIVE_EWS_PASSWORD name it; the mailbox
is the user's own, or MAILARCHIVE_EWS_MAILBOX, and nothing in it is changed.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from mailarchive import SourceMessage, Unavailable, Vault, headers
from mailarchive.archiver import Archiver
from mailarchive.auth import Password
from mailarchive.errors import CheckpointInvalid, MailboxNotFound, SourceError
from mailarchive.sources.ews import Access, Contents, EwsLimits, EwsSource, FolderChoice
from mailarchive.testing.memory import MemoryCheckpoints, MemoryQuarantine, MemorySink, NoUsers

URL = os.environ.get("MAILARCHIVE_EWS_URL", "")
USER = os.environ.get("MAILARCHIVE_EWS_USER", "")
MAILBOX = os.environ.get("MAILARCHIVE_EWS_MAILBOX", USER)

pytestmark = pytest.mark.skipif(not URL, reason="MAILARCHIVE_EWS_URL names no server")


def source(**settings: object) -> EwsSource:
    """The mailbox, a few items a page."""
    usual = {
        "url": URL,
        "auth": Password(USER, os.environ.get("MAILARCHIVE_EWS_PASSWORD", "")),
        "access": Access.OWN if MAILBOX == USER else Access.DELEGATE,
        "mailbox": MAILBOX,
        "allow_plaintext": URL.startswith("http:"),
        "folders": FolderChoice.everything(),
        "limits": EwsLimits(page=50),
        "ca_file": os.environ.get("MAILARCHIVE_EWS_CA"),
    }
    return EwsSource(**{**usual, **settings})  # type: ignore[arg-type]  # settings of several types


def test_every_folder_is_listed_and_every_message_read() -> None:
    """Each item listed is handed over or unavailable, and is mail as far as it can be told."""
    listed = 0
    with source() as opened:
        folders = opened.folders()
        for folder in folders:
            for page in opened.scan(folder):
                items = list(opened.fetch(page.refs))
                listed += len(page.refs)
                assert {item.ref for item in items} <= set(page.refs)
                for item in items:
                    if isinstance(item, Unavailable):
                        assert item.reason
                        continue
                    headers.envelope(item.raw)
                    assert item.raw
                    assert item.received_at is None or item.received_at < datetime.now(
                        UTC
                    ) + timedelta(days=1)

    assert folders
    assert any(folder.role == "inbox" for folder in folders)
    assert listed, "an empty mailbox shows nothing: put some messages into it"


def test_a_listing_resumes_after_each_page_without_gap_or_repetition() -> None:
    """In pages of three, from a source that was made anew each time."""
    with source(limits=EwsLimits(page=3)) as opened:
        inbox = next(folder for folder in opened.folders() if folder.role == "inbox")
        whole = [ref.key for page in opened.scan(inbox) for ref in page.refs]
        after: str | None = None
        pieces: list[str] = []
        for _ in range(5):
            with source(limits=EwsLimits(page=3)) as again:
                page = next(iter(again.scan(inbox, after)), None)
            if page is None:
                break
            pieces += [ref.key for ref in page.refs]
            after = page.token

    assert pieces == whole[: len(pieces)]
    assert len(set(whole)) == len(whole)


def test_a_second_run_archives_nothing_new(tmp_path: object) -> None:
    """Nor does one whose checkpoints were lost store anything again."""
    from pathlib import Path

    state, lost = MemoryCheckpoints(), MemoryCheckpoints()
    with Vault(Path(str(tmp_path)) / "real.vault", keys=None) as vault:
        reports = [
            Archiver(source(), vault, NoUsers(), state=s, quarantine=MemoryQuarantine()).run()
            for s in (state, state, lost)
        ]

    first, second, third = reports
    assert not first.failures
    assert first.stored
    assert (second.listed, second.stored) == (0, 0)
    assert third.stored == 0
    assert third.present >= first.stored


def test_reading_marks_nothing() -> None:
    """Flags are what they were, and so are the change keys."""

    def state() -> dict[str, tuple[str | None, frozenset[str]]]:
        with source() as opened:
            inbox = next(folder for folder in opened.folders() if folder.role == "inbox")
            return {
                item.ref.key: (item.ref.revision, item.flags)
                for page in opened.scan(inbox)
                for item in opened.fetch(page.refs)
                if isinstance(item, SourceMessage)
            }

    assert state() == state()


def test_what_is_not_there_is_said_so() -> None:
    """A mailbox, a folder, an item and a checkpoint."""
    nobody = "nobody-at-all-" + MAILBOX
    with pytest.raises(SourceError), source(mailbox=nobody, access=Access.DELEGATE):
        pass
    opened = source(folders=FolderChoice.only("No Such Folder"))
    with pytest.raises(MailboxNotFound), opened:
        opened.folders()
    with source(contents=Contents(associated=True)) as opened:
        inbox = next(folder for folder in opened.folders() if folder.role == "inbox")
        with pytest.raises(CheckpointInvalid):
            list(opened.scan(inbox, "1.0000000000000000.AAAA"))
        refs = [ref for page in opened.scan(inbox) for ref in page.refs][:3]
        assert len(list(opened.fetch(refs))) <= len(refs)


def test_a_run_into_memory_accounts_for_everything() -> None:
    """Its counts add up."""
    report = Archiver(
        source(), MemorySink(), NoUsers(), state=MemoryCheckpoints(), quarantine=MemoryQuarantine()
    ).run()

    assert report.listed == report.stored + report.present + report.failed + report.vanished
    assert report.finished
