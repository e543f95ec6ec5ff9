"""A job that reads a mailbox over EWS, as the command line runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.ews import ALICE, SECRET, Desk

from mailarchive import UserId, Vault
from mailarchive._cli import _toml, config, main
from mailarchive.errors import ConfigurationError
from mailarchive.sources.ews import EwsSource

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive.retry import RetryingSource

JOB = """
[source]
kind = "ews"
url = "{url}"
allow_plaintext = true
{login}
access = "{access}"
{more}

[decoder]
kind = "ordinary"

[users]
csv = "users.csv"

[vault]
path = "acme.vault"
encryption = "none"

[removal]
when = "{removal}"
"""
PASSWORD = f'user = "{ALICE}"\npassword = {{ file = "secret" }}'


def job(desk: Desk, here: Path, **parts: str) -> str:
    """Return a job's text, and put what it names into the folder."""
    (here / "users.csv").write_text(f"id,name,addresses\nalice,Alice,{ALICE}\n")
    (here / "secret").write_text(SECRET)
    usual = {"url": desk.server.url, "login": PASSWORD, "access": "own", "more": ""}
    return JOB.format(**{"removal": "never", **usual, **parts})


def test_a_job_archives_and_removes(
    desk: Desk, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """From a file of settings to a vault, and the mailbox is empty afterwards."""
    desk.deliver(4)
    file = tmp_path / "archive.toml"
    file.write_text(job(desk, tmp_path, removal="archived"))

    assert main(["run", str(file)]) == 0
    printed = capfd.readouterr().out
    assert "4  newly archived" in printed
    assert "4  removed at the source" in printed
    assert "Calendar" in printed
    assert not desk.mailbox.folder("inbox").items


def test_every_setting_is_taken(desk: Desk, tmp_path: Path) -> None:
    """Each by its name in the reference."""
    (tmp_path / "ca.pem").write_text("")
    more = f"""
mailbox = "{ALICE}"
method = "basic"
folders = ["Inbox", "Calendar"]
without_folders = ["Inbox/*"]
without_roles = []
stores = ["primary", "archive"]
folder_classes = ["*"]
hidden_folders = true
item_classes = ["IPM.*"]
associated = true
disposal = "SoftDelete"
version = "Exchange2010_SP2"
proxy = "http://127.0.0.1:3128"
name = "mine"

[source.limits]
items = 3
first_backoff = 0.5
"""
    built = config.build(_toml.parse(job(desk, tmp_path, more=more), "archive.toml"), tmp_path)
    retrying: RetryingSource = built.source  # type: ignore[assignment]  # a job that reads
    source = retrying._source

    assert isinstance(source, EwsSource)
    assert source.name == "mine"
    assert source._limits.items == 3
    assert source._contents.folder_classes == ("*",)
    assert source._disposal == "SoftDelete"


def test_a_kerberos_job_needs_no_secret(desk: Desk, tmp_path: Path) -> None:
    """But a mailbox."""
    text = job(desk, tmp_path, login="kerberos = true", more=f'mailbox = "{ALICE}"')

    assert config.build(_toml.parse(text, "archive.toml"), tmp_path).source is not None


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"access": "owner"}, "access must be one of own, delegate, impersonation"),
        ({"login": PASSWORD + "\nkerberos = true"}, "password and kerberos are two logins"),
        ({"login": "kerberos = false"}, "kerberos = false is no login"),
        ({"login": f'user = "{ALICE}"'}, "there is no login"),
        ({"login": "kerberos = true"}, "mailbox is missing"),
        ({"login": 'user = "X\\\\a"\npassword = { file = "secret" }'}, "mailbox is missing"),
        ({"more": 'stores = ["attic"]'}, "stores has a word"),
        ({"more": 'disposal = "Shred"'}, "disposal must be one of"),
        ({"more": "[source.limits]\nitems = 0"}, "items must be from 1 to 1_000"),
        ({"more": 'host = "x"'}, "unknown key host"),
        ({"more": 'without_mailboxes = ["a@b"]'}, "without_mailboxes is for many mailboxes"),
    ],
)
def test_what_is_wrong_is_named(
    desk: Desk, tmp_path: Path, parts: dict[str, str], said: str
) -> None:
    """With the key, before anything is touched."""
    with pytest.raises(ConfigurationError, match=said):
        config.build(_toml.parse(job(desk, tmp_path, **parts), "archive.toml"), tmp_path)
    assert desk.server.calls == []


def test_access_must_be_said(desk: Desk, tmp_path: Path) -> None:
    """It is never guessed."""
    text = job(desk, tmp_path).replace('access = "own"', "")
    with pytest.raises(ConfigurationError, match="access is missing"):
        config.build(_toml.parse(text, "archive.toml"), tmp_path)


def test_the_mailboxes_of_all_users_are_archived_by_impersonation(
    desk: Desk, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One service account, one file: everybody's mail, each owner's for them alone."""
    bob = desk.server.add_mailbox("bob@example.com")
    bob.deliver(b"From: a@example.com\r\nSubject: for Bob\r\n\r\nhello\r\n")
    desk.deliver(3)
    desk.server.add_user("EXAMPLE\\archive", password=SECRET, impersonates=True)
    login = "user = 'EXAMPLE\\archive'\npassword = { file = \"secret\" }"
    file = tmp_path / "archive.toml"
    more = 'mailboxes = "all"\nwithout_mailboxes = ["carol@*"]'
    file.write_text(job(desk, tmp_path, login=login, access="impersonation", more=more))
    rows = [f"alice,Alice,{ALICE}", "bob,Bob,bob@example.com", "carol,Carol,carol@example.com"]
    (tmp_path / "users.csv").write_text("\n".join(["id,name,addresses", *rows]))

    assert main(["run", str(file), "--quiet"]) == 0
    printed = capfd.readouterr().out
    assert "2 mailboxes, 2 in full" in printed
    assert "left out by name" in printed
    with Vault(tmp_path / "acme.vault", create=False) as vault:
        assert [vault.view(UserId(user)).count() for user in ("alice", "bob")] == [3, 1]


def test_one_login_has_one_mailbox_of_its_own(desk: Desk, tmp_path: Path) -> None:
    """Everybody's mailboxes need another access, which is named."""
    text = job(desk, tmp_path, more='mailboxes = "all"')
    with pytest.raises(ConfigurationError) as caught:
        config.build(_toml.parse(text, "archive.toml"), tmp_path)

    assert "impersonation" in " ".join(caught.value.suggestions)
