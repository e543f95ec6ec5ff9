"""The keys of a mailbox, as an operator sets them, with the real command and a real server."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from support.world import mail

from mailarchive import UserId, Vault
from mailarchive._cli import main
from mailarchive.testing.dovecot import MASTERS

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive.testing.dovecot import Dovecot


def write(folder: Path, server: Dovecot, login: str, rest: str = "") -> Path:
    """Write a job for somebody's own mail and return its path."""
    file = folder / "archive.toml"
    file.write_text(
        f"""
[source]
host = "{server.host}"
port = {server.imaps_port}
ca_file = "{server.ca_file}"
{login}
{rest}
[decoder]
kind = "ordinary"
[users]
csv = "users.csv"
[vault]
path = "acme.vault"
encryption = "none"
"""
    )
    return file


def users(folder: Path, mailbox: str) -> None:
    """The one user there is."""
    (folder / "users.csv").write_text(f"id,name,addresses\nbob,Bob,{mailbox}\n")


def run(file: Path) -> None:
    """As the operator does."""
    assert main(["run", str(file), "--quiet"]) == 0


def seen(folder: Path) -> list[bytes]:
    """What the user sees."""
    with Vault(folder / "acme.vault", read_only=True) as vault:
        return sorted(each.content() for each in vault.view(UserId("bob")).messages())


def folders(server: Dovecot, mailbox: str) -> dict[str, int]:
    """How many messages each folder has."""
    listed = server.doveadm("-f", "tab", "mailbox", "status", "-u", mailbox, "messages", "*")
    rows = [line.split("\t") for line in listed.splitlines()[1:]]
    return {name: int(count) for name, count in rows if count != "0"}


def test_one_account_archives_somebodys_mailbox_and_moves_what_is_archived(
    server: Dovecot, mailbox: str, tmp_path: Path
) -> None:
    """A master user; all folders but junk; what is flagged waits; the rest goes to a folder."""
    ((master, secret),) = MASTERS.items()
    (tmp_path / "secret").write_text(f"{secret}\n")
    users(tmp_path, mailbox)
    ordinary, kept, sent, junk = ([mail(n)] for n in range(4))
    server.put(mailbox, ordinary)
    server.put(mailbox, kept, flags=[r"\Flagged"])
    server.put(mailbox, sent, "Sent Items")
    server.put(mailbox, junk, "Junk")
    server.doveadm("mailbox", "create", "-u", mailbox, "Archived")
    login = f"""
user = "{master}"
password = {{ file = "secret" }}
mailbox = "{mailbox}"
master_separator = "*"
without_roles = ["junk"]
without_flags = ['\\Flagged']
remove_to = "Archived"
"""
    file = write(tmp_path, server, login, '[removal]\nwhen = "archived"')
    run(file)

    assert seen(tmp_path) == sorted(ordinary + sent)
    assert folders(server, mailbox) == {"INBOX": 1, "Junk": 1, "Archived": 2}
    # Somebody takes the flag off; the message has waited and is taken now, and once.
    with server.raw(mailbox) as connection:
        connection.command("SELECT INBOX")
        connection.command(r"UID STORE 1:* -FLAGS (\Flagged)")
    run(file)
    run(file)
    assert seen(tmp_path) == sorted(ordinary + sent + kept)
    assert folders(server, mailbox) == {"Junk": 1, "Archived": 3}


def test_what_waits_and_what_fits_no_folder_is_in_the_summary(
    server: Dovecot, mailbox: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also when nothing is new; neither makes the run fail, and the patterns are the job's."""
    users(tmp_path, mailbox)
    (tmp_path / "secret").write_text(f"{server.password}\n")
    server.put(mailbox, [mail(0), mail(1)])
    login = f"""
user = "{mailbox}"
password = {{ file = "secret" }}
folders = ["INBOX", "Project/*"]
without_folders = ["Privat/*", "INBOX/*"]
older_than_days = 30
"""
    file = write(tmp_path, server, login)
    for _ in range(2):
        run(file)
        said = capsys.readouterr().out
        assert "2  not ripe" in said
        assert 'is it written right? "INBOX/*", "Privat/*", "Project/*"' in said


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_mailbox_of_which_no_folder_is_chosen_is_no_success(
    dry: tuple[str, ...],
    server: Dovecot,
    mailbox: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing of it would ever be archived, and each run would say that all is well."""
    users(tmp_path, mailbox)
    (tmp_path / "secret").write_text(f"{server.password}\n")
    server.put(mailbox, [mail(0)])
    login = f'user = "{mailbox}"\npassword = {{ file = "secret" }}\nfolders = ["Projects/*"]'

    assert main(["run", str(write(tmp_path, server, login)), "--quiet", *dry]) == 1
    said = capsys.readouterr().out
    assert 'is it written right? "Projects/*"' in said
    assert "no folder is chosen" in said
    assert "accounted for" not in said


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_a_token_is_read_from_a_file_at_each_run(
    mechanism: str, server: Dovecot, mailbox: str, tmp_path: Path
) -> None:
    """Whoever renews it writes the file."""
    users(tmp_path, mailbox)
    login = f'user = "{mailbox}"\ntoken = {{ file = "token" }}\nmechanism = "{mechanism}"'
    file = write(tmp_path, server, login)
    for number in range(2):
        token = f"{mechanism}-{mailbox}-{number}"
        server.tokens[token] = mailbox
        (tmp_path / "token").write_text(token)
        server.put(mailbox, [mail(number)])
        run(file)
        del server.tokens[token]

    assert seen(tmp_path) == sorted([mail(0), mail(1)])


def test_a_wrong_token_is_one_line(
    server: Dovecot, mailbox: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says what to look at."""
    users(tmp_path, mailbox)
    (tmp_path / "token").write_text("expired")
    file = write(tmp_path, server, f'user = "{mailbox}"\ntoken = {{ file = "token" }}')

    assert main(["run", str(file), "--quiet"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "scope" in said
    assert base64.b64encode(b"expired").decode() not in said


def test_the_summary_says_why_something_was_not_removed(
    server: Dovecot, mailbox: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the words of the source, with the number of messages that each is about."""
    (tmp_path / "secret").write_text(f"{server.password}\n")
    users(tmp_path, mailbox)
    server.put(mailbox, [mail(1)])
    server.put(mailbox, [mail(2), mail(3)], flags=[r"\Flagged"])
    login = f'user = "{mailbox}"\npassword = {{ file = "secret" }}'
    file = write(tmp_path, server, login, '[removal]\nwhen = "archived"\n')

    assert main(["run", str(file), "--dry-run"]) == 0
    assert "[removal] is on: a run removes at the source" in capsys.readouterr().out
    assert main(["run", str(file)]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "1 removed at the source" in lines
    assert "2 not removed: flagged" in lines
    assert not [line for line in lines if "other reasons" in line]


def test_what_was_archived_before_removal_was_on_is_removed_once_it_is_listed_anew(
    server: Dovecot, mailbox: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run looks at what is new; without its state it finds the rest present, and removes it."""
    (tmp_path / "secret").write_text(f"{server.password}\n")
    users(tmp_path, mailbox)
    server.put(mailbox, [mail(1), mail(2)])
    login = f'user = "{mailbox}"\npassword = {{ file = "secret" }}'
    run(write(tmp_path, server, login))
    file = write(tmp_path, server, login, '[removal]\nwhen = "archived"\n')

    run(file)
    assert folders(server, mailbox) == {"INBOX": 2}
    (tmp_path / "aside").mkdir()
    for each in (tmp_path / "acme.vault").glob("state.db*"):
        each.rename(tmp_path / "aside" / each.name)
    capsys.readouterr()
    run(file)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "2 in the archive already" in lines
    assert "2 removed at the source" in lines
    assert folders(server, mailbox) == {}
    assert seen(tmp_path) == sorted([mail(1), mail(2)])
