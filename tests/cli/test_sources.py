"""The laws of `[source]`: each key does what it says, and a wrong one is named."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.journal import CSV
from support.smtp import ADDRESS

from mailarchive import Fidelity, FolderRole
from mailarchive._cli import _toml, config, main
from mailarchive._cli._imap import imap
from mailarchive.auth import ClientCertificate, OAuth, OAuthMechanism, Password
from mailarchive.errors import ConfigurationError
from mailarchive.sources.imap import FolderChoice, ImapSource, Recheck, Ripe
from mailarchive.sources.smtp import SmtpIntake
from mailarchive.testing.certificates import self_signed
from mailarchive.testing.entra_server import EntraServer

if TYPE_CHECKING:
    from pathlib import Path

LOGIN = 'host = "imap.example.com"\nuser = "admin"\n'
PASSWORD = 'password = { file = "secret" }\n'


def source(text: str, here: Path, *, journal: bool = False) -> ImapSource:
    """Build the IMAP source that a table describes."""
    table = _toml.parse(text, "[source]")
    made = imap(table, here, journal=journal)
    table.done()
    assert isinstance(made, ImapSource)
    return made


def chosen(text: str, here: Path, *, journal: bool = False) -> Any:
    """Which folders it takes."""
    return source(LOGIN + PASSWORD + text, here, journal=journal)._choice


def test_the_login_of_a_master_user(tmp_path: Path) -> None:
    """One account, many mailboxes: by name as Dovecot has it, or by SASL as everybody does."""
    (tmp_path / "secret").write_text("pass\n")
    text = LOGIN + PASSWORD + 'mailbox = "bob@example.com"\n'
    plain = source(text, tmp_path)
    master = source(text + 'master_separator = "*"\n', tmp_path)

    assert isinstance(plain._auth, Password)
    assert (plain._named, plain._auth.master_separator) == ("bob@example.com", None)
    assert isinstance(master._auth, Password)
    assert (master._auth.master_separator, master._auth.password()) == ("*", "pass")


def test_the_login_by_token(tmp_path: Path) -> None:
    """With the mechanism that is asked for."""
    made = source(LOGIN + 'token = { file = "t" }\nmechanism = "OAUTHBEARER"\n', tmp_path)

    assert isinstance(made._auth, OAuth)
    assert made._auth.mechanism is OAuthMechanism.OAUTHBEARER


def test_the_login_by_certificate(tmp_path: Path) -> None:
    """The certificate is in the TLS context, and the authority as well."""
    self_signed(tmp_path, ["DNS:imap.example.com"])
    text = 'certificate = "cert.pem"\nkey = "key.pem"\nca_file = "cert.pem"\n'
    made = source(LOGIN + text, tmp_path)

    assert isinstance(made._auth, ClientCertificate)
    assert made._context is not None
    assert len(made._context.get_ca_certs()) == 1


def test_the_login_of_an_application_at_microsoft_365(tmp_path: Path) -> None:
    """The tokens come from the identity platform, and are for Exchange."""
    with EntraServer() as login:
        (tmp_path / "application").write_text(login.secret)
        cloud = login.cloud()
        made = source(
            f"""{LOGIN}mailbox = "shared@contoso.example"
            [auth]
            tenant = "{login.tenant}"
            client_id = "{login.client_id}"
            secret = {{ file = "application" }}
            ca_file = "{login.ca_file}"
            cloud = {{ login = "{cloud.login}", exchange = "{cloud.exchange}" }}
            """,
            tmp_path,
        )

        assert isinstance(made._auth, OAuth)
        assert login.is_good(made._auth.access_token(), cloud.exchange)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", FolderChoice()),
        ('folders = ["INBOX", "Projects/*"]', FolderChoice.only("INBOX", "Projects/*")),
        ('roles = ["inbox", "sent"]', FolderChoice.of(FolderRole.INBOX, FolderRole.SENT)),
        ('without_folders = ["Private/*"]', FolderChoice().excluding("Private/*")),
        ('without_roles = ["junk"]', FolderChoice(without_roles=frozenset({FolderRole.JUNK}))),
        ("without_roles = []", FolderChoice.everything()),
        ("shared = true", FolderChoice(shared=True)),
    ],
)
def test_folders_are_chosen_by_name_and_by_purpose(
    text: str, expected: FolderChoice, tmp_path: Path
) -> None:
    """As the library has it; of a journal nothing is left out."""
    assert chosen(text, tmp_path) == expected
    if not text:
        assert chosen(text, tmp_path, journal=True) == FolderChoice.everything()


def test_messages_wait_by_age_and_by_flag(tmp_path: Path) -> None:
    """All that is set must hold."""
    text = "older_than_days = 30\nwith_flags = ['\\Seen']\nwithout_flags = ['\\Draft', 'keep']\n"
    made = source(LOGIN + PASSWORD + text, tmp_path)

    assert made._ripe == Ripe(
        older_than=timedelta(days=30),
        with_flags=frozenset({"\\seen"}),
        without_flags=frozenset({"\\draft", "keep"}),
    )
    assert source(LOGIN + PASSWORD, tmp_path)._ripe is None


def test_what_the_server_is_and_how_it_is_compared(tmp_path: Path) -> None:
    """For servers that make the bytes anew, or that are wrongly taken for one."""
    text = 'fidelity = "rendered"\nrecheck = "size"\nremove_to = "Archived"\n'
    made = source(LOGIN + PASSWORD + text, tmp_path)

    assert (made._fidelity, made._recheck) == (Fidelity.RENDERED, Recheck.SIZE)
    assert made._remove_to == "Archived"


def test_every_limit_has_its_name(tmp_path: Path) -> None:
    """Whole numbers and seconds."""
    text = "[limits]\npage = 7\nread_timeout = 1.5\nconnect_timeout = 2\n"
    limits = source(LOGIN + PASSWORD + text, tmp_path)._limits

    assert (limits.page, limits.read_timeout, limits.connect_timeout) == (7, 1.5, 2.0)


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ('passwort = { file = "s" }', "unknown key passwort", "did you mean password?"),
        ("", "no login", "password"),
        (PASSWORD + 'token = { file = "t" }', "two logins", ""),
        (PASSWORD + 'master_seperator = "*"', "unknown key", "did you mean master_separator?"),
        (PASSWORD + 'master_separator = "*"', "none is named", "mailbox"),
        (f'{PASSWORD}mailbox = "b@x.org"\nmaster_separator = "123456789"', "longer than", "*"),
        (PASSWORD + 'roles = ["sents"]', "no purpose", "sent"),
        (PASSWORD + "roles = []", "roles is empty", "leave roles out"),
        (PASSWORD + "folders = []", "folders is empty", "leave folders out"),
        (PASSWORD + 'role = ["sent"]', "unknown key role", "did you mean roles?"),
        (PASSWORD + "with_flags = ['Seen']", "backslash", "'\\Seen'"),
        (PASSWORD + "with_flags = ['a b']", "no flag", "keyword"),
        (
            PASSWORD + "with_flags = ['\\Seen']\nwithout_flags = ['\\seen']",
            "have and lack",
            "out of",
        ),
        (PASSWORD + 'remove_to = ""', "remove_to is empty", "leave remove_to out"),
        (PASSWORD + 'named_by = "local-part"', "named_by is for many mailboxes", "mailboxes"),
        (PASSWORD + 'without_mailboxes = ["a@b"]', "without_mailboxes is for many", "mailboxes"),
        (PASSWORD + "older_than = 30", "unknown key", "older_than_days"),
        (PASSWORD + "older_than_days = -1", "negative", ""),
        (PASSWORD + "older_than_days = 1_000_000_000_000", "at most 36_500", ""),
        (PASSWORD + 'fidelity = "exact"', "wire, rendered", ""),
        (PASSWORD + 'recheck = "digest"', "bytes, size", ""),
        (PASSWORD + 'mechanism = "PLAIN"', "unknown key mechanism", ""),
        ('auth = { tenant = "t", client_id = "c" }', "no login", "certificate"),
        ('auth = { tenent = "t" }', "tenant is missing", ""),
        (PASSWORD + 'auth = { tenant = "t" }', "two logins", ""),
        (PASSWORD + "[limits]\npages = 3", "unknown key pages", "did you mean page?"),
        (PASSWORD + "[limits]\npage = 0", "page must be from 1 to 10_000", "it is 500"),
        (PASSWORD + "[limits]\npage = 1.5", "page must be a whole number", ""),
        (PASSWORD + '[limits]\nread_timeout = "1"', "read_timeout must be a number", ""),
        ('certificate = "nowhere.pem"', "certificate or key", "without a passphrase"),
        ('certificate = "nowhere.pem"\nca_file = "nowhere"', "ca_file", "PEM"),
    ],
)
def test_what_is_wrong_with_a_mailbox_is_named(
    text: str, said: str, hint: str, tmp_path: Path
) -> None:
    """With the nearest right thing, where there is one."""
    with pytest.raises(ConfigurationError) as told:
        source(LOGIN + text, tmp_path)

    assert said in str(told.value)
    assert hint in "; ".join(told.value.suggestions)


def job(text: str, here: Path) -> config.Job:
    """Build a whole job around a source."""
    rest = '[users]\ncsv = "users.csv"\n[vault]\npath = "acme.vault"\n'
    return config.build(_toml.parse(f"[source]\n{text}\n{rest}", "archive.toml"), here)


def test_a_folder_to_move_to_needs_a_removal(tmp_path: Path) -> None:
    """A gentler choice of what nobody asked for is a mistake."""
    text = LOGIN + PASSWORD + 'remove_to = "Archived"\n'
    with pytest.raises(ConfigurationError, match="nothing is removed"):
        job(text, tmp_path)

    assert job(text + '[removal]\nwhen = "archived"', tmp_path).removal.enabled


SMTP = """
kind = "smtp"
port = 0
security = "plain"
allow_plaintext = true
addresses = { file = "addresses" }
"""


@pytest.mark.parametrize("place", ['file = "addresses"', 'command = ["cat", "addresses"]'])
def test_addresses_stand_on_lines_of_their_own(place: str, tmp_path: Path) -> None:
    """They are no secret of one line, wherever they come from."""
    (tmp_path / "addresses").write_text(f"{ADDRESS}\nold-{ADDRESS}\n")
    made = job(SMTP.replace('file = "addresses"', place), tmp_path)

    assert isinstance(made.source, SmtpIntake)
    assert made.source._gate.knows(f"old-{ADDRESS}")


def test_a_receiver_is_described_by_a_job_too(tmp_path: Path) -> None:
    """Its addresses and passwords stand in files of their own."""
    self_signed(tmp_path, ["DNS:archive.example"])
    (tmp_path / "addresses").write_text(f"{ADDRESS}\nold-{ADDRESS}\n")
    (tmp_path / "hub").write_text("secret\n")
    made = job(
        'kind = "smtp"\nhost = "0.0.0.0"\ncertificate = "cert.pem"\nkey = "key.pem"\n'
        'addresses = { file = "addresses" }\nnetworks = ["192.0.2.0/24"]\n'
        '[source.logins]\nhub = { file = "hub" }\n[source.limits]\nconnections = 7\n',
        tmp_path,
    )

    assert isinstance(made.source, SmtpIntake)
    assert made.source.port == 25
    assert made.source._gate.knows(f"old-{ADDRESS}")
    assert made.source._gate.is_login("hub", b"secret")
    assert made.source._limits.connections == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('addresses = "journal@archive.example"', "never written here"),
        ('security = "tls"', "starttls, ssl, plain"),
        ("network = []", "unknown key network"),
        ('networks = ["all"]', "network"),
        ("networks = []", "networks is empty, which lets nobody connect"),
        ("[source.logins]", "logins. is empty, which lets nobody log in"),
        ("[source.limits]\nconnection = 1", "unknown key connection"),
        ('[removal]\nwhen = "archived"', "nowhere to be removed"),
    ],
)
def test_what_is_wrong_with_a_receiver_is_named(text: str, said: str, tmp_path: Path) -> None:
    """As everywhere in a job."""
    (tmp_path / "addresses").write_text(ADDRESS)
    key = text.partition(" = ")[0]
    kept = "\n".join(line for line in SMTP.splitlines() if not line.startswith(f"{key} ="))
    with pytest.raises(ConfigurationError, match=said):
        job(f"{kept}\n{text}", tmp_path)


@pytest.mark.parametrize("place", ['{ file = "nowhere" }', '{ command = ["/nowhere/at/all"] }'])
def test_a_login_without_a_secret_is_named_as_the_job_does(place: str, tmp_path: Path) -> None:
    """A login may be called as anybody likes: it is said which table it is in."""
    (tmp_path / "addresses").write_text(ADDRESS)
    with pytest.raises(ConfigurationError, match=r"that logins\.hub names") as caught:
        job(f"{SMTP}[source.logins]\nhub = {place}\n", tmp_path)

    assert "logins.hub." in caught.value.suggestions[0]


@pytest.mark.parametrize(("command", "kind"), [("run", SMTP), ("receive", 'kind="eml"\npath="."')])
def test_what_is_read_is_run_and_what_arrives_is_received(
    command: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other command says which one it is, and touches nothing."""
    (tmp_path / "addresses").write_text(ADDRESS)
    (tmp_path / "users.csv").write_text(CSV)
    rest = '[users]\ncsv = "users.csv"\n[vault]\npath = "acme.vault"\nencryption = "none"\n'
    file = tmp_path / "archive.toml"
    file.write_text(f"[source]\n{kind}\n[decoder]\nkind = 'journal'\n{rest}")

    assert main([command, str(file)]) == 2
    assert "mailarchive r" in capsys.readouterr().err
    assert not (tmp_path / "acme.vault").exists()


def test_a_new_address_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """For the file of addresses."""
    assert main(["new-address", "archive.example"]) == 0
    assert capsys.readouterr().out.endswith("@archive.example\n")
