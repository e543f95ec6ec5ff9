"""The main job: a journal mailbox on a real server, into a vault where each sees their own."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import pytest
from support import job, journal
from support.inbox import contents

from mailarchive import Digest, UserId, Vault
from mailarchive._cli import _vaults, main
from mailarchive.errors import SinkError
from mailarchive.headers import without
from mailarchive.testing.messages import bounce, message
from mailarchive.testing.reports import recipient, report

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive.testing.dovecot import Dovecot

REPORTS = 2000
BCC = frozenset({"bcc"})


def archive(file: Path) -> None:
    """Run the job of the file as the command line does, and expect all to be well."""
    assert main(["run", str(file), "--quiet"]) == 0


@pytest.mark.parametrize("security", ["ssl", "starttls", "plain"])
def test_two_thousand_reports_reach_exactly_their_users(
    security: str, server: Dovecot, mailbox: str, tmp_path: Path
) -> None:
    """Every original comes back to the byte, to those whom its report names and to no other."""
    mails = list(journal.mailbox(REPORTS, seed=len(security)))
    server.put(mailbox, [mail.raw for mail in mails])
    archive(job.write(tmp_path, server, mailbox, security=security))

    with Vault(tmp_path / "acme.vault", read_only=True) as vault:
        for user in journal.USERS:
            seen = {view.subject: view for view in vault.view(UserId(user)).messages()}
            mine = [mail for mail in mails if user in mail.users]
            assert len(seen) == len(mine) == vault.view(UserId(user)).count()
            for mail in mine:
                view = seen[_subject(mail.original)]
                hidden = mail.bcc and user not in mail.senders
                expected = without(mail.original, BCC) if hidden else mail.original
                assert view.content() == expected
                assert view.redacted is hidden
        assert vault.verify("content").ok
    with Vault(tmp_path / "acme.vault") as vault:
        auditor = vault.auditor("test", "comparing every byte")
        everything = {entry.raw(): entry.originals() for entry in auditor.entries()}
        assert everything == {mail.raw: (mail.original,) for mail in mails}


def _subject(original: bytes) -> str:
    (line,) = [line for line in original.split(b"\r\n") if line.startswith(b"Subject: ")]
    return line.removeprefix(b"Subject: ").decode()


def test_a_second_run_stores_nothing_and_a_lost_state_neither(
    server: Dovecot, mailbox: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once with the checkpoint, once without it: no message is archived twice."""
    server.put(mailbox, [mail.raw for mail in journal.mailbox(30)])
    file = job.write(tmp_path, server, mailbox)
    archive(file)
    capsys.readouterr()
    archive(file)
    assert "nothing new" in capsys.readouterr().out
    (tmp_path / "acme.vault" / "state.db").unlink()
    archive(file)

    assert "30  in the archive already" in capsys.readouterr().out


def test_a_view_gives_nothing_of_another_user(
    server: Dovecot, mailbox: str, tmp_path: Path
) -> None:
    """Not by list, count, search, key or digest, nor by a Message-ID that two mails share."""
    secret = message(
        sender="u1@corp.example", to=["u2@corp.example"], subject="Salaries", message_id="<x@y>"
    )
    public = message(
        sender="u1@corp.example", to=["u0@corp.example"], subject="Lunch", message_id="<x@y>"
    )
    reports = [
        report(secret, recipients=[recipient("u2@corp.example")]),
        report(public, recipients=[recipient("u0@corp.example")]),
    ]
    server.put(mailbox, reports)
    archive(job.write(tmp_path, server, mailbox))

    with Vault(tmp_path / "acme.vault", read_only=True) as vault:
        (theirs,) = vault.view(UserId("u2")).messages()
        mine = vault.view(UserId("u0"))
        assert [each.subject for each in mine.messages()] == ["Lunch"]
        assert mine.count() == 1
        assert mine.count(text="Salaries") == 0
        assert list(mine.messages(text="u2@corp")) == []
        known = [theirs.key, Digest.of(secret).hex, Digest.of(reports[0]).hex, "<x@y>", "", "1"]
        assert [mine.get(key) for key in known] == [None] * len(known)
        with pytest.raises(SinkError):
            list(mine.messages(after=theirs.key))


ONE, TWO, THREE = (f"u{n}@corp.example" for n in (1, 2, 3))
LIST = "everybody@corp.example"
FORKS = [message(sender=ONE, to=[TWO], subject="Plan", headers=[("Received", x)]) for x in "ab"]
LISTED = message(sender="ann@elsewhere.example", to=[LIST], subject="Listed")
STRANGE = message(sender="ann@elsewhere.example", to=["bob@elsewhere.example"], subject="Strange")
RETURNED = message(sender=TWO, to=[ONE], bcc=[THREE], subject="Returned")
OF_THREE = recipient(THREE, "bcc")
TRUTH = {
    "two forks": [
        report(FORKS[0], recipients=[recipient(TWO)]),
        report(FORKS[1], recipients=[OF_THREE]),
    ],
    "a list": [
        report(LISTED, recipients=[recipient(each, expanded=LIST) for each in (TWO, THREE)])
    ],
    "nobody's": [report(STRANGE, recipients=["bob@elsewhere.example"])],
    "a bounce": [bounce(report(RETURNED, recipients=[recipient(ONE), OF_THREE]))],
}
"""What came to the journal mailbox, and whom it names."""


def test_each_sees_every_message_of_theirs_once_and_as_much_of_it_as_is_theirs(
    server: Dovecot, mailbox: str, tmp_path: Path
) -> None:
    """Forks are one message, members of a list and blind copies see themselves alone."""
    spoiled = report(
        FORKS[0], recipients=[OF_THREE], defects=["marker_missing", "original_missing"]
    )
    server.put(mailbox, [*chain.from_iterable(TRUTH.values()), spoiled])
    archive(job.write(tmp_path, server, mailbox))

    with Vault(tmp_path / "acme.vault") as vault:
        seen = {
            user: {
                each.subject: (each.copies, {str(to.address) for to in each.recipients})
                for each in vault.view(UserId(user)).messages()
            }
            for user in ("u1", "u2", "u3", "u4")
        }
        assert seen == {
            "u1": {"Plan": (2, {TWO, THREE}), "Returned": (1, {ONE})},
            "u2": {"Plan": (1, {TWO}), "Listed": (1, {TWO}), "Returned": (1, {ONE, THREE})},
            "u3": {"Plan": (1, {THREE}), "Listed": (1, {THREE}), "Returned": (1, {ONE, THREE})},
            "u4": {},
        }
        (blind,) = (each for each in vault.view(UserId("u3")).messages() if each.subject == "Plan")
        assert blind.content() == FORKS[1]
        for each in vault.view(UserId("u1")).messages(text="Returned"):
            assert each.content() == without(RETURNED, BCC) != RETURNED
        auditor = vault.auditor("test", "looking for what is nobody's")
        assert [entry.content() for entry in auditor.unowned()] == [STRANGE]
    (held,) = _vaults.quarantine_of(tmp_path / "acme.vault").list()
    assert "resembles" in held.reason


HOSTILE_USERS = ["../../x", "nul\0", "x" * 5000, "ä/..", "", "u0 ", "U0", "%"]


@pytest.mark.parametrize("user", HOSTILE_USERS)
def test_a_strange_user_id_sees_nothing_and_breaks_nothing(
    user: str, server: Dovecot, mailbox: str, tmp_path: Path
) -> None:
    """A user id is a name and no path, pattern or query."""
    server.put(mailbox, [mail.raw for mail in journal.mailbox(3)])
    archive(job.write(tmp_path, server, mailbox))

    with Vault(tmp_path / "acme.vault", read_only=True) as vault:
        assert list(vault.view(UserId(user)).messages()) == []


def test_hostile_mail_is_archived_or_quarantined_with_its_reason(
    server: Dovecot, mailbox: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each ends somewhere, whole, and the counts add up."""
    first = message(subject="One", message_id="<same@id>", sender="u0@corp.example")
    second = message(subject="Two", message_id="<same@id>", sender="u0@corp.example")
    hostile = {
        "no original": report(subject="none", defects=["original_missing"]),
        "a long line": report(message(body="y" * 20_000 + "\r\n", sender="u0@corp.example")),
        "25 MB": report(message(body="z" * (25 << 20) + "\r\n", sender="u0@corp.example")),
        "invalid UTF-8": report(message(body=b"\xff\xfe\xc3(\r\n", sender="u0@corp.example")),
        "one Message-ID": report(first),
        "another with it": report(second),
        "no header at all": b"\r\n\r\nbody\r\n",
        "one empty line": b"\r\n",
        "only a header": b"Subject: x\r\n",
    }
    server.put(mailbox, hostile.values())
    archive(job.write(tmp_path, server, mailbox))

    printed = capsys.readouterr().out
    assert "9  messages listed" in printed
    quarantine = _vaults.quarantine_of(tmp_path / "acme.vault")
    with Vault(tmp_path / "acme.vault") as vault:
        stored = [entry.raw() for entry in vault.auditor("test", "counting").entries()]
        (held,) = quarantine.list()
        assert "original" in held.reason
        assert sorted([*stored, quarantine.read(held.id).raw]) == sorted(hostile.values())
        subjects = {each.subject for each in vault.view(UserId("u0")).messages()}
        assert {"One", "Two"} <= subjects


def test_removal_leaves_what_must_stay(
    server: Dovecot, mailbox: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Archived reports go; the flagged, the quarantined and the ordinary mail stay."""
    mails = [mail.raw for mail in journal.mailbox(20)]
    flagged = report(subject="flagged")
    broken = report(subject="broken", defects=["original_missing"])
    stray = message(subject="stray")
    server.put(mailbox, mails)
    server.put(mailbox, [flagged], flags=["\\Flagged"])
    server.put(mailbox, [broken, stray])
    archive(job.write(tmp_path, server, mailbox, remove=True))

    assert "20  removed at the source" in capsys.readouterr().out
    assert contents(server, mailbox) == sorted([flagged, broken, stray])
