"""The law of the exit status: 2 where something is written wrong and nothing was done, else 1."""

from __future__ import annotations

import os
import shutil
import socket
from typing import TYPE_CHECKING, Any

import pytest
from support import journal
from support.file_sources import lesser_user
from support.smtp import ADDRESS
from typing_extensions import override

from mailarchive._cli import main
from mailarchive.archiver import Archiver
from mailarchive.errors import ConfigurationError
from mailarchive.testing.certificates import self_signed
from mailarchive.testing.dovecot import free_port
from mailarchive.testing.imap_server import ImapServer
from mailarchive.testing.memory import MemorySource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mailarchive import MessageRef, SourceMessage, Unavailable

FILES = 'kind = "eml"\npath = "mail"\n'
IMAP = (
    'host = "127.0.0.1"\nport = PORT\nsecurity = "plain"\nallow_plaintext = true\n'
    'user = "bob@example.com"\n'
)
PASSWORD = 'password = { file = "secret" }\n'
GRAPH = 'kind = "graph"\nmailbox = "bob@example.com"\ntenant = "t.example"\nclient_id = "c"\n'
SMTP = 'kind = "smtp"\nport = 0\nsecurity = "plain"\nallow_plaintext = true\n'
EWS = (
    'kind = "ews"\nurl = "https://127.0.0.1:PORT/EWS/Exchange.asmx"\nuser = "s"\n'
    'password = { file = "secret" }\naccess = "impersonation"\n'
)
REST = '[users]\ncsv = "users.csv"\n[vault]\npath = "acme.vault"\nencryption = "none"\n'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a message to archive, a list of users and a password; the test is there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mail").mkdir()
    (tmp_path / "users.csv").write_text(journal.CSV)
    (tmp_path / "secret").write_text("hunter2\n")
    (mail,) = journal.mailbox(1)
    (tmp_path / "mail" / "1.eml").write_bytes(mail.raw)
    return tmp_path


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What is said on standard error: a line, without secrets."""
    said = capsys.readouterr().err
    assert said.startswith("mailarchive: ")
    assert said.count("\n") == 1
    assert "hunter2" not in said
    return said


WRONG_JOBS = {
    "no TOML": "[source",
    "an unknown key": f"[source]\n{FILES}pth = 1\n{REST}",
    "no folder of mail": f'[source]\nkind = "eml"\npath = "nowhere"\n{REST}',
    "a file for a folder": f'[source]\nkind = "maildir"\npath = "users.csv"\n{REST}',
    "a folder that is no Maildir": f'[source]\nkind = "maildir"\npath = "mail"\n{REST}',
    "no mbox": f'[source]\nkind = "mbox"\npath = "nowhere"\n{REST}',
    "no mbox but another file": f'[source]\nkind = "mbox"\npath = "users.csv"\n{REST}',
    "no list of users": f"[source]\n{FILES}{REST.replace('users.csv', 'nowhere')}",
    "a list of nothing": f"[source]\n{FILES}{REST.replace('users.csv', 'secret')}",
    "a file for a vault": f"[source]\n{FILES}{REST.replace('acme.vault', 'users.csv')}",
    "the kernel's place for a vault": f"[source]\n{FILES}{REST.replace('acme', '/proc/acme')}",
    "a mailbox of nobody": (
        f'[source]\n{EWS}mailboxes = ["bob@example.com", "bbo@example.com"]\n{REST}'
    ),
    "a mailbox of nobody to leave out": (
        f'[source]\n{EWS}mailboxes = "all"\nwithout_mailboxes = ["bbo@example.com"]\n{REST}'
    ),
    "mailboxes of nobody": f'[source]\n{EWS}mailboxes = ["*@sales.example.com"]\n{REST}',
    "another folder for a vault": f"[source]\n{FILES}{REST.replace('acme.vault', 'mail')}",
    "no key file": f"[source]\n{FILES}{REST}".replace('"none"', '{ key_file = "nowhere" }'),
    "no password": f"[source]\n{IMAP}{PASSWORD.replace('secret', 'nowhere')}{REST}",
    "an empty password": f"[source]\n{IMAP}{PASSWORD.replace('secret', 'empty')}{REST}",
    "no token": f'[source]\n{IMAP}token = {{ file = "nowhere" }}\n{REST}',
    "no authority": f'[source]\n{IMAP}{PASSWORD}ca_file = "nowhere"\n{REST}'.replace(
        '"plain"', '"ssl"'
    ),
    "an authority that is none": f'[source]\n{IMAP}{PASSWORD}ca_file = "secret"\n{REST}'.replace(
        '"plain"', '"ssl"'
    ),
    "no certificate": f'[source]\n{IMAP}certificate = "nowhere"\n{REST}',
    "no secret of an application": f'[source]\n{GRAPH}secret = {{ file = "nowhere" }}\n{REST}',
    "no authority of a proxy": (
        f'[source]\n{GRAPH}secret = {{ file = "secret" }}\nca_file = "nowhere"\n{REST}'
    ),
    "a login too many": f'[source]\n{IMAP}{PASSWORD}token = {{ file = "secret" }}\n{REST}',
    "a catch-all that is nobody": f"[source]\n{FILES}{REST}".replace(
        "[users]", '[users]\nunknown = { catch_all = "u99" }'
    ),
    "no ending": f"[source]\n{FILES}suffixes = []\n{REST}",
    "an ending for an mbox": f'[source]\nkind = "mbox"\npath = "m"\nsuffixes = [".m"]\n{REST}',
    "removal where none is": f'[source]\n{FILES}{REST}[removal]\nwhen = "archived"\n',
    "no secret of a store": (
        f'[source]\n{FILES}{REST}[sink]\nkind = "objects"\nbucket = "b"\naccess_key = "a"\n'
        'secret_key = { file = "nowhere" }\ndatabase = { file = "secret" }\n'
    ),
    "a receiver": f'[source]\n{SMTP}addresses = {{ file = "secret" }}\n{REST}',
}


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize("name", WRONG_JOBS)
def test_a_job_that_is_written_wrong_is_status_two_and_does_nothing(
    name: str, dry: Sequence[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file itself, or what it names: a vault, a lock or a connection is never made."""
    (here / "empty").write_text("\n")
    # Nothing may be asked of this port: whoever asks is refused, which is status 1.
    text = WRONG_JOBS[name].replace("PORT", str(free_port()))
    (here / "archive.toml").write_text(text)
    before = sorted(here.rglob("*"))

    assert main(["run", "archive.toml", "--quiet", *dry]) == 2
    assert one_line(capsys)
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("no addresses", 'file = "secret"', 'file = "nowhere"'),
        ("no list of users", "users.csv", "nowhere"),
        ("no certificate", '"plain"', '"ssl"\ncertificate = "nowhere"\nkey = "nowhere"'),
    ],
)
def test_a_receiver_that_is_written_wrong_is_status_two(
    name: str, old: str, new: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing listens, and nothing is made."""
    del name
    text = f'[source]\n{SMTP}addresses = {{ file = "secret" }}\n{REST}'
    (here / "archive.toml").write_text(text.replace(old, new))
    before = sorted(here.rglob("*"))

    assert main(["receive", "archive.toml", "--quiet"]) == 2
    assert one_line(capsys)
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("host", ["nohost.invalid", "192.0.2.1"])
def test_a_receiver_that_can_listen_nowhere_is_status_two(
    host: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The host is wrong, which no second try mends; no vault is made for it."""
    (here / "addresses").write_text(f"{ADDRESS}\n")
    text = f'[source]\n{SMTP}host = "{host}"\naddresses = {{ file = "addresses" }}\n{REST}'
    (here / "archive.toml").write_text(text)
    before = sorted(here.rglob("*"))

    assert main(["receive", "archive.toml", "--quiet"]) == 2
    assert "set host to an address of this machine" in one_line(capsys)
    assert sorted(here.rglob("*")) == before


def test_a_receiver_whose_port_is_taken_is_status_one(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever has it may be on the way out; no vault is made before."""
    (here / "addresses").write_text(f"{ADDRESS}\n")
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = SMTP.replace("port = 0", f"port = {other.getsockname()[1]}")
        text = f'[source]\n{taken}addresses = {{ file = "addresses" }}\n{REST}'
        (here / "archive.toml").write_text(text)

        assert main(["receive", "archive.toml", "--quiet"]) == 1
    assert "EADDRINUSE" in one_line(capsys)
    assert not (here / "acme.vault").exists()


def test_what_has_another_ending_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of other files is not passed over without a word, and a job may name them."""
    (here / "mail" / "1.eml").rename(here / "mail" / "1.msg")
    text = f"[source]\n{FILES}{REST}"
    (here / "archive.toml").write_text(text)
    assert main(["run", "archive.toml", "--quiet"]) == 0
    told = capsys.readouterr().out
    assert "not reached: files whose names do not end in .eml, 1 of them; nothing, where" in told

    (here / "archive.toml").write_text(text.replace(FILES, FILES + 'suffixes = [".msg"]\n'))
    assert main(["run", "archive.toml", "--quiet"]) == 0
    told = capsys.readouterr().out
    assert "1  newly archived" in told
    assert "not reached" not in told


@pytest.mark.parametrize(
    ("kind", "place"), [("maildir", "1.eml"), ("eml", "1.eml"), ("mbox", ".")]
)
def test_a_kind_that_the_path_is_not_is_said_in_words_of_the_job(
    kind: str, place: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the file calls them, and not as a program does."""
    text = f'[source]\nkind = "{kind}"\npath = "mail/{place}"\n{REST}'
    (here / "archive.toml").write_text(text)

    assert main(["run", "archive.toml", "--quiet"]) == 2
    assert "eml and maildir are folders, mbox is one file" in one_line(capsys)


CLOSED = {
    "the vault": ("acme.vault", 0, "read acme.vault"),
    "a vault to write to": ("acme.vault", 0o555, "write to acme.vault"),
    "the state in it": ("acme.vault/state.db", 0o444, "write to state.db"),
    "its packs": ("acme.vault/volumes/0001/packs", 0o555, "write to packs"),
    "the lock": ("acme.vault.lock", 0, "write to acme.vault.lock"),
}


@pytest.mark.parametrize("name", CLOSED)
def test_a_vault_that_this_user_may_not_write_to_is_named_before_a_run(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dry run says no where the run would fail: by the setting, and by what is closed."""
    path, mode, told = CLOSED[name]
    with lesser_user() as place:
        _archived_in(place, monkeypatch)
        (place / path).chmod(mode)
        for dry in ([], ["--dry-run"]):
            capsys.readouterr()
            assert main(["run", "archive.toml", "--quiet", *dry]) == 2
            said = one_line(capsys)
            assert f"[vault] path: this user may not {told}; its permissions" in said
            assert str(place) not in said


@pytest.mark.parametrize(
    "setting",
    [
        '[vault]\npath = "closed/a"\nencryption = "none"',
        '[sink]\nkind = "eml"\npath = "e"\nstate = "closed/a"',
    ],
)
def test_a_folder_that_this_user_may_not_fill_is_named_before_a_run(
    setting: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The vault, or the state of a job without one, could not be made in it."""
    with lesser_user() as place:
        _archived_in(place, monkeypatch)
        (place / "closed").mkdir(mode=0o555)
        users = '[users]\ncsv = "users.csv"'
        (place / "other.toml").write_text(f"[source]\n{FILES}{users}\n{setting}\n")
        for dry in ([], ["--dry-run"]):
            capsys.readouterr()
            assert main(["run", "other.toml", "--quiet", *dry]) == 2
            said = one_line(capsys)
            assert "this user may not write to closed; its permissions" in said
            assert ("[sink] state: " if "sink" in setting else "[vault] path: ") in said


@pytest.mark.parametrize(
    "words",
    [
        ["show", "acme.vault", "--user", "u1"],
        ["verify", "acme.vault"],
        ["export", "acme.vault", "--user", "u1", "--to", "out"],
        ["quarantine", "acme.vault"],
        ["retries", "archive.toml"],
        ["reattribute", "archive.toml"],
        ["seal", "open.vault", "--signer", "acme.vault/s"],
    ],
    ids=" ".join,
)
def test_a_vault_of_another_user_is_named(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not for want of room that it cannot be read."""
    with lesser_user() as place:
        _archived_in(place, monkeypatch)
        shutil.copytree("acme.vault", "open.vault")
        (place / "acme.vault").chmod(0)
        capsys.readouterr()

        assert main(words) == 2
        said = one_line(capsys)
        assert "permissions" in said
        assert "room" not in said
        assert words[-1].rpartition("/")[2] in said or "acme.vault" in said


@pytest.mark.parametrize(
    "words",
    [
        ["export", "acme.vault", "--user", "u1", "--to", "closed/out"],
        ["export", "acme.vault", "--user", "u1", "--to", "closed", "--form", "bag"],
        ["export", "acme.vault", "--user", "u1", "--to", "closed/out.mbox", "--form", "mbox"],
        ["seal", "acme.vault", "--signer", "closed/signer"],
    ],
    ids=" ".join,
)
def test_a_place_that_this_user_may_not_fill_is_named(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the vault of a run is: nothing was tried, and the command is to be mended."""
    with lesser_user() as place:
        _archived_in(place, monkeypatch)
        (place / "closed").mkdir(mode=0o555)
        capsys.readouterr()

        assert main(words) == 2
        assert "this user may not write to closed; its permissions" in one_line(capsys)


@pytest.mark.parametrize(
    "words",
    [
        ["run", "archive.toml", "--quiet"],
        ["run", "archive.toml", "--quiet", "--dry-run"],
        ["export", "acme.vault", "--user", "u1", "--to", "acme.vault"],
    ],
    ids=" ".join,
)
def test_a_disk_that_is_mounted_to_be_read_only_is_no_matter_of_permissions(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The kernel does so after an error of the disk; whose the folder is does not count then."""
    with lesser_user() as place:
        _archived_in(place, monkeypatch)
        (place / "acme.vault").chmod(0o555)
        real = os.statvfs(place)
        read_only = os.statvfs_result((*real[:8], real.f_flag | os.ST_RDONLY, real.f_namemax))
        monkeypatch.setattr("os.statvfs", lambda path: read_only)
        capsys.readouterr()

        assert main(words) == 2
        said = one_line(capsys)
        assert "the disk of acme.vault is mounted to be read only; mount it for writing" in said
        assert "permissions" not in said
        (place / "acme.vault").chmod(0o755)


def _archived_in(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go to a folder with a job that has run there."""
    monkeypatch.chdir(place)
    (place / "mail").mkdir()
    (place / "users.csv").write_text(journal.CSV)
    (mail,) = journal.mailbox(1)
    (place / "mail" / "1.eml").write_bytes(mail.raw)
    (place / "archive.toml").write_text(f"[source]\n{FILES}{REST}")
    assert main(["run", "archive.toml", "--quiet"]) == 0


@pytest.mark.parametrize("path", [".", "/"])
def test_a_path_without_a_name_is_said_as_it_was_written(
    path: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder in the place of the job."""
    del here

    assert main(["run", path]) == 2
    assert one_line(capsys).startswith(f"mailarchive: {path} cannot be read: IsADirectoryError")


def test_an_encrypted_vault_that_the_job_calls_plain_is_told_what_to_write(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the words of a job."""
    assert main(["new-key", "acme.key"]) == 0
    job = f"[source]\n{FILES}{REST}"
    (here / "archive.toml").write_text(job.replace('"none"', '{ key_file = "acme.key" }'))
    assert main(["run", "archive.toml", "--quiet"]) == 0
    (here / "archive.toml").write_text(job)
    capsys.readouterr()

    assert main(["run", "archive.toml", "--quiet"]) == 2
    assert "encryption = { key_file = ... } in [vault] of a job" in one_line(capsys)


def test_a_job_that_was_tried_and_failed_is_status_one(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Perhaps the next run succeeds; nothing of the job need be mended."""
    text = f"[source]\n{IMAP}{PASSWORD}{REST}".replace("PORT", str(free_port()))
    (here / "archive.toml").write_text(text)

    assert main(["run", "archive.toml", "--quiet"]) == 1
    assert "nothing listens" in one_line(capsys)
    assert not (here / "acme.vault").exists()


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["false"], 1),
        (["true"], 1),
        (["/nowhere/at/all"], 2),
        (["sh", "-c", "kill -INT $PPID; exit 1"], 130),
        (["sh", "-c", "kill -TERM $PPID; exit 1"], 143),
    ],
    ids=str,
)
def test_a_command_for_a_secret_that_fails_is_written_wrong_only_where_it_cannot_be_started(
    command: list[str], status: int, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is run at the login; a signal that ends it too, as Ctrl-C does, is what is told."""
    with ImapServer({"INBOX": []}) as server:
        secret = f"password = {{ command = {command} }}\n"
        text = f"[source]\n{IMAP}{secret}{REST}".replace("PORT", str(server.port))
        (here / "archive.toml").write_text(text)
        assert main(["run", "archive.toml", "--quiet"]) == status
    said = one_line(capsys)

    assert ("stopped" if status > 2 else "the command that password names") in said
    assert not (here / "acme.vault").exists()


def test_what_is_left_of_a_vault_is_no_new_one(
    archived: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is damaged, and nobody is asked how to make it."""
    (archived / "acme.vault" / "vault.json").unlink()
    job = archived / "archive.toml"
    job.write_text(job.read_text().replace('encryption = "none"\n', ""))
    capsys.readouterr()

    assert main(["run", "archive.toml", "--quiet"]) == 1
    assert "vault.json" in one_line(capsys)


def test_a_command_that_cannot_be_started_is_written_wrong(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is started at the login, so this alone is told after the server was asked."""
    self_signed(here, ["DNS:archive.example"])
    text = f'[source]\n{SMTP}addresses = {{ command = ["/nowhere/at/all"] }}\n{REST}'
    (here / "archive.toml").write_text(text)

    assert main(["receive", "archive.toml"]) == 2
    assert one_line(capsys)


WRONG_COMMANDS = [
    ["run", "nowhere.toml"],
    ["run", "."],
    ["run", ".."],
    ["run", "/"],
    ["run", "mail"],
    ["retries", "nowhere.toml"],
    ["reattribute", "nowhere.toml"],
    ["receive", "nowhere.toml"],
    ["show", "no.vault", "--user", "u1"],
    ["show", "mail", "--user", "u1"],
    ["show", "users.csv", "--user", "u1"],
    ["export", "no.vault", "--user", "u1", "--to", "out"],
    ["seal", "acme.vault", "--signer", "signer", "--out", "nowhere/checkpoint"],
    ["seal", "acme.vault", "--signer", "signer", "--out", "mail"],
    ["seal", "acme.vault", "--signer", "users.csv"],
    ["verify", "acme.vault", "--budget", "1m", "--state", "nowhere/state"],
    ["prove", "acme.vault", "f" * 12, "--user", "u1", "--out", "nowhere/proof"],
    ["verify", "no.vault"],
    ["verify", "mail"],
    ["quarantine", "no.vault"],
    ["quarantine", "mail"],
    ["quarantine", "no.vault", "--release", "ab"],
    ["kept", "no.vault"],
    ["expired", "no.vault"],
    ["hold", "no.vault", "m", "--all", "--actor", "a", "--reason", "r"],
    ["rebuild", "no.vault"],
    ["repair", "acme.vault", "--from", "no.vault"],
    ["--key-file", "nowhere.key", "show", "acme.vault", "--user", "u1"],
    ["decode", "nowhere.eml"],
    ["new-key", "secret"],
    ["new-address", "not a domain"],
    ["new-address", ""],
    ["new-address", "foo@bar"],
]


@pytest.fixture
def archived(here: Path) -> Path:
    """The same after a first run."""
    (here / "archive.toml").write_text(f"[source]\n{FILES}{REST}")
    assert main(["run", "archive.toml", "--quiet"]) == 0
    return here


@pytest.mark.parametrize("words", WRONG_COMMANDS, ids=" ".join)
def test_a_command_that_is_written_wrong_is_status_two(
    words: list[str], archived: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it names is not there, or is something else; nothing is made of it."""
    before = sorted(archived.rglob("*"))
    capsys.readouterr()

    assert main(words) == 2
    assert one_line(capsys)
    assert sorted(archived.rglob("*")) == before


WRONG_PLACES = {
    "eml": ["users.csv", "users.csv/below", "acme.vault", "acme.vault/out"],
    "maildir": ["users.csv"],
    "mbox": ["users.csv", "mail", "acme.vault/out"],
    "bag": ["users.csv", "bag"],
}


@pytest.mark.parametrize("form", WRONG_PLACES)
def test_an_export_to_a_wrong_place_is_status_two(
    form: str, archived: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Something else stands there, or a vault around it; nothing is made of it."""
    (archived / "bag").mkdir()
    (archived / "bag" / "bagit.txt").touch()

    def there() -> list[Path]:
        # SQLite keeps two files beside an index that was opened to be read.
        return [each for each in sorted(archived.rglob("*")) if "index.db-" not in each.name]

    before = there()
    capsys.readouterr()
    for to in WRONG_PLACES[form]:
        words = ["export", "acme.vault", "--user", "u1", "--to", to, "--form", form]
        assert main(words) == 2
        assert one_line(capsys)
    assert there() == before


@pytest.mark.parametrize(
    "words",
    [
        ["show", "acme.vault", "--user", "u1", "--message", "f" * 12],
        ["quarantine", "acme.vault", "--release", "abc"],
        ["retries", "archive.toml", "--give-up", "abc"],
        ["show", "acme.vault", "--user", "nobody"],
        ["export", "acme.vault", "--user", "nobody", "--to", "out"],
        ["erase", "acme.vault", "0" * 64, "--actor", "a", "--reason", "r"],
        ["hold", "acme.vault", "m", "--user", "nobody", "--actor", "a", "--reason", "r"],
    ],
    ids=" ".join,
)
def test_what_was_looked_for_and_is_not_there_is_status_one(
    words: list[str], archived: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The archive was opened and asked, and nothing is made for what is not in it."""
    before = sorted(each for each in archived.iterdir())
    capsys.readouterr()

    assert main(words) == 1
    assert one_line(capsys)
    assert sorted(each for each in archived.iterdir()) == before


@pytest.mark.parametrize("name", ["--words", "--text", "--sender", "--folder"])
@pytest.mark.parametrize("command", [["show"], ["export", "--to", "out"]], ids=lambda it: it[0])
def test_an_empty_filter_is_written_wrong(name: str, command: list[str], archived: Path) -> None:
    """A shell variable that is not set must not choose all mail, nor none."""
    for empty in ("", " "):
        with pytest.raises(SystemExit) as ended:
            main([*command, "acme.vault", "--user", "u1", name, empty])
        assert ended.value.code == 2
    assert not (archived / "out").exists()


def test_what_turns_out_wrong_after_mail_was_read_is_status_one(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A certificate that ends in the middle of a run, say: something was done by then."""

    class Ends(MemorySource):
        """Reads one folder, and at the next one finds that it is not configured right."""

        @override
        def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
            if any(ref.folder == "B" for ref in refs):
                raise ConfigurationError("the certificate is not trusted")
            return super()._fetch(refs)

    source = Ends()
    (mail,) = journal.mailbox(1)
    source.add(mail.raw, folder="A")
    source.add(mail.raw, folder="B")
    made = Archiver.__init__

    def init(self: Archiver, _: object, *rest: Any, **settings: Any) -> None:
        made(self, source, *rest, **settings)

    monkeypatch.setattr(Archiver, "__init__", init)
    (here / "archive.toml").write_text(f"[source]\n{FILES}{REST}")

    assert main(["run", "archive.toml", "--quiet"]) == 1
    assert "not trusted" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["lost+found", "quarantine"])
def test_a_dry_run_takes_for_new_what_a_run_does(
    here: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A disk that was just made for the vault has a folder of its own."""
    (here / "acme.vault" / name).mkdir(parents=True)
    (here / "archive.toml").write_text(f"[source]\n{FILES}{REST}")

    assert main(["run", "archive.toml", "--quiet", "--dry-run"]) == 0
    assert not capsys.readouterr().err
    assert main(["run", "archive.toml", "--quiet"]) == 0
    assert "so a new one is made" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["show", "--user", "u1"], ["verify"], ["kept"], ["rebuild"]])
def test_the_state_of_a_job_is_no_vault(
    here: Path, capsys: pytest.CaptureFixture[str], words: Sequence[str]
) -> None:
    """A quarantine can be in it, and nothing else that a command could look at."""
    (here / "state").mkdir()
    (here / "state" / "state.db").touch()

    assert main([words[0], "state", *words[1:]]) == 2
    assert one_line(capsys) == "mailarchive: the folder is no vault; check the path\n"
    assert main(["quarantine", "state"]) == 0
