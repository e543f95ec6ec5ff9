"""`[source] kind = "imap"` with `mailboxes`: one login, everybody's mail, each owner's alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailarchive import UserId, Vault
from mailarchive._cli import _toml, config, main
from mailarchive._cli._organisation import Organisation
from mailarchive.errors import ConfigurationError
from mailarchive.sources.imap import ImapSource
from mailarchive.testing.dovecot import MASTERS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support.imap import Numbered

    from mailarchive.testing.dovecot import Dovecot

FIRST = "alice@example.com"
ASKED = 'password = {{ command = ["sh", "-c", "echo x >> asked; {}"] }}'
"""A password that notes how often it was asked for: once for each login."""
GOOD = ASKED.format("cat secret")
ABSENT = [f"b{number}@example.com" for number in range(3)]
"""Who is in the list of users and has no mailbox; they come behind `FIRST`."""
NAMED = 'master_separator = "*"'


def write(
    here: Path, server: Dovecot, whose: Sequence[str], *more: str, which: str = '"all"'
) -> Path:
    """Write a job for the mailboxes of these users, each called by the part before the @."""
    (here / "secret").write_text(f"{MASTERS['admin']}\n")
    rows = [f"{each.partition('@')[0]},Some One,{each}" for each in whose]
    (here / "users.csv").write_text("\n".join(["id,name,addresses", *rows]))
    settings = "\n".join(more if any("password" in each for each in more) else [GOOD, *more])
    file = here / "archive.toml"
    file.write_text(f"""
[source]
host = "{server.host}"
port = {server.imaps_port}
ca_file = "{server.ca_file}"
user = "admin"
mailboxes = {which}
{settings}
[users]
csv = "users.csv"
[vault]
path = "acme.vault"
encryption = "none"
""")
    return file


def logins(here: Path) -> int:
    """How often the server was asked to let somebody in."""
    return len((here / "asked").read_text().splitlines())


@pytest.mark.parametrize("how", ["", NAMED], ids=["SASL PLAIN", "by name"])
def test_a_service_account_archives_everybody(
    how: str,
    server: Dovecot,
    numbered: Numbered,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each message is its mailbox's owner's alone, and a second run finds nothing new."""
    ours = [server.new_user() for _ in range(3)]
    mail = numbered(6)
    server.put(ours[0], mail[:3])
    server.put(ours[1], mail[3:5])
    server.put(ours[2], mail[5:])
    more = [*filter(None, [how]), f'without_mailboxes = ["{ours[2]}"]']
    file = write(tmp_path, server, ours, *more)

    assert main(["run", str(file), "--quiet", "--dry-run"]) == 0
    assert not (tmp_path / "acme.vault").exists()
    told = capsys.readouterr().out
    assert "2 mailboxes, 2 in full\n5 messages would be archived" in told
    assert "[removal] is on" not in told
    assert main(["run", str(file), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "2 mailboxes, 2 in full\n5 messages newly archived" in printed
    assert "left out by name" in printed
    with Vault(tmp_path / "acme.vault", create=False) as vault:
        views = [vault.view(UserId(each.partition("@")[0])) for each in ours]
        assert [view.count() for view in views] == [3, 2, 0]
        assert {each.content() for each in views[1].messages()} == set(mail[3:5])
    assert main(["run", str(file), "--quiet"]) == 0
    assert "0 messages newly archived" in capsys.readouterr().out


def test_a_mailbox_goes_on_where_a_job_of_its_own_was(
    server: Dovecot, numbered: Numbered, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its checkpoints have one name, whether it is read alone or with others."""
    user = server.new_user()
    server.put(user, numbered(2))
    alone = write(tmp_path, server, [user])
    alone.write_text(alone.read_text().replace('mailboxes = "all"', f'mailbox = "{user}"'))
    ordinary = '[decoder]\nkind = "ordinary"\n'
    alone.write_text(alone.read_text() + ordinary)
    assert main(["run", str(alone), "--quiet"]) == 0
    capsys.readouterr()
    file = write(tmp_path, server, [user])

    assert main(["run", str(file), "--quiet"]) == 0
    assert "nothing new" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["", NAMED], ids=["SASL PLAIN", "by name"])
def test_who_has_no_mailbox_stops_nobody_else(
    how: str,
    server: Dovecot,
    numbered: Numbered,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Dovecot says that the login is right, and that it opens no mailbox: it is told."""
    last = server.new_user()
    server.put(last, numbered(2))
    file = write(tmp_path, server, [FIRST, *ABSENT, last], how)
    status = main(["run", str(file), "--quiet"])
    said = capsys.readouterr()

    assert status == 1
    assert said.err.count("  not archived: source imap:") == 3
    assert said.err.count("give the login the right to act for this mailbox;") == 3
    assert "5 mailboxes, 2 in full" in said.out
    assert logins(tmp_path) == 5
    with Vault(tmp_path / "acme.vault", create=False) as vault:
        assert vault.view(UserId(last.partition("@")[0])).count() == 2


REFUSED = "case $(wc -l < asked) in {}) echo wrong;; *) cat secret;; esac"
"""A password that is right, but for some of the logins."""


def test_a_login_that_is_refused_for_some_is_tried_where_it_was_good(
    server: Dovecot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other servers only say that it is refused; the others are archived all the same."""
    everybody = sorted([FIRST, *(server.new_user() for _ in range(5))])
    refused = ASKED.format(REFUSED.format("2|3|4"))

    assert main(["run", str(write(tmp_path, server, everybody, refused)), "--quiet"]) == 1
    said = capsys.readouterr()
    assert said.err.count("  not archived: source imap:") == 3
    assert "6 mailboxes, 3 in full" in said.out
    assert logins(tmp_path) == 6 + 1


@pytest.mark.parametrize(("good", "asked"), [(0, 3), (1, 5)], ids=["never", "once"])
def test_a_login_that_is_wrong_is_not_tried_for_everybody(
    good: int, asked: int, server: Dovecot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That could lock the account, however many mailboxes there are."""
    everybody = [FIRST, *(server.new_user() for _ in range(7))]
    wrong = ASKED.format(REFUSED.format("|".join(map(str, range(good + 1, 20)))))

    assert main(["run", str(write(tmp_path, server, everybody, wrong)), "--quiet"]) == 1
    assert logins(tmp_path) == asked
    said = capsys.readouterr().err
    assert "mailarchive: source imap:" in said
    assert ("without_mailboxes" in said) == (not good)
    assert "secret" not in said


def test_every_source_is_as_the_job_says(server: Dovecot, tmp_path: Path) -> None:
    """The same settings for each mailbox, and a name by which its checkpoints are found."""
    more = "folders = [\"INBOX\"]\nwithout_flags = ['\\Flagged']"
    limits = "[source.limits]\npage = 7"
    job = config.load(write(tmp_path, server, [FIRST], NAMED, more, limits))
    assert isinstance(job.source, Organisation)
    (mailbox,) = job.source.plan().taken
    source = job.source.source_of(mailbox)

    assert isinstance(source, ImapSource)
    assert source.mailbox == mailbox.address
    assert (source._limits.page, source._choice.names) == (7, ("INBOX",))
    assert source._ripe is not None
    assert job.has(source.name)
    assert not job.has("imap:other.example/0123456789ab")


@pytest.mark.parametrize(
    ("more", "which", "said"),
    [
        (f'mailbox = "{FIRST}"', '"all"', "contradict"),
        ('name = "mine"', '"all"', "unknown key name"),
        ("", '"every"', 'must be "all" or a list'),
        ("", "[]", "takes none"),
        ('security = "plain"', '"all"', "clear text"),
    ],
)
def test_what_is_wrong_with_them_is_named(
    more: str, which: str, said: str, server: Dovecot, tmp_path: Path
) -> None:
    """Before a vault is made, also where a single source would have told it."""
    file = write(tmp_path, server, [FIRST], more, which=which)
    with pytest.raises(ConfigurationError, match=said):
        config.build(_toml.read(file), tmp_path)


def test_a_mailbox_that_nobody_has_is_a_wrong_job(
    server: Dovecot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told by its place in the list, and no login is made."""
    file = write(tmp_path, server, [FIRST], which='["alcie@example.com"]')

    assert main(["run", str(file), "--quiet"]) == 2
    assert "entry 1 of the list" in capsys.readouterr().err
    assert not (tmp_path / "asked").exists()
