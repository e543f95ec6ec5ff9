"""`[sink]`: mail goes to another archive, or into the vault and to it."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from mailarchive import SourceMessage
from mailarchive._cli import _toml, config, main
from mailarchive.errors import ConfigurationError
from mailarchive.sources.files import EmlFolder, Maildir, Mbox
from mailarchive.testing.dovecot import dovecot
from mailarchive.testing.postgres import postgres
from mailarchive.testing.s3_server import moto

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive import Source

JOB = """
[source]
kind = "eml"
path = "mail"
[decoder]
kind = "ordinary"
[users]
csv = "users.csv"
owners = "participants"
"""
RAWS = [
    b"From: alice@example.com\r\nTo: bob@example.com\r\nSubject: %d\r\n\r\nFrom here\r\n" % number
    for number in range(3)
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with mail in it, and a list of users."""
    (tmp_path / "mail").mkdir()
    for number, raw in enumerate(RAWS):
        (tmp_path / "mail" / f"{number}.eml").write_bytes(raw)
    (tmp_path / "users.csv").write_text("id,name,addresses\nalice,Alice,alice@example.com\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(here: Path, tables: str, *, status: int = 0) -> None:
    """Run a job with these tables."""
    (here / "job.toml").write_text(JOB + tables)
    assert main(["run", "job.toml", "--quiet"]) == status


def read(source: Source) -> list[bytes]:
    """Return every message of a source."""
    with source:
        (folder,) = source.folders()
        refs = [ref for page in source.scan(folder) for ref in page.refs]
        return sorted(each.raw for each in source.fetch(refs) if isinstance(each, SourceMessage))


@pytest.mark.parametrize("kind", ["eml", "maildir", "mbox"])
def test_mail_goes_into_files_alone(
    kind: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a vault; a second run without its checkpoints stores nothing twice."""
    tables = f'[sink]\nkind = "{kind}"\npath = "out"\nstate = "state"\n'
    run(here, tables)
    (here / "state" / "state.db").unlink()
    capsys.readouterr()
    run(here, tables)

    sources: dict[str, Source] = {
        "eml": EmlFolder(here / "out"),
        "maildir": Maildir(here / "out"),
        "mbox": Mbox(here / "out", variant="mboxrd"),
    }
    if kind == "eml":
        found = sorted(each.read_bytes() for each in (here / "out").rglob("*.eml"))
    else:
        found = read(sources[kind])
    assert found == RAWS
    assert not (here / "acme.vault").exists()


def test_mail_goes_into_the_vault_and_beside_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both have all of it, and the vault shows it."""
    vault = '[vault]\npath = "acme.vault"\nencryption = "none"\n'
    run(here, vault + '[sink]\nkind = "mbox"\npath = "out.mbox"\n')
    capsys.readouterr()

    assert main(["show", "acme.vault", "--user", "alice"]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= len(RAWS)
    assert read(Mbox(here / "out.mbox", variant="mboxrd")) == RAWS


def test_mail_is_removed_where_it_was_read_back_from_the_files(here: Path) -> None:
    """A folder of files can be read back; a source that cannot remove says so."""
    tables = '[sink]\nkind = "mbox"\npath = "out"\nstate = "state"\n[removal]\nwhen = "archived"\n'
    run(here, tables, status=2)

    assert len(list((here / "mail").iterdir())) == len(RAWS)


def test_mail_is_handed_over_by_lmtp(here: Path) -> None:
    """To a real server; and with removal on the job is refused before anything is done."""
    with dovecot() as server:
        user = server.new_user()
        tables = f"""
[sink]
kind = "lmtp"
host = "{server.host}"
port = {server.lmtp_port}
recipients = ["{user}"]
ledger = "handed.db"
state = "state"
"""
        run(here, tables)
        (here / "state" / "state.db").unlink()
        run(here, tables)
        files = [
            each for each in (server.folder / "home" / user).rglob("*") if "new" in each.parts
        ]
        assert len([each for each in files if each.is_file()]) == len(RAWS)
        run(here, tables + '[removal]\nwhen = "archived"\n', status=2)


def test_mail_goes_into_an_object_store(here: Path) -> None:
    """With its secrets in files, and its state in a folder."""
    with postgres() as index, moto() as server:
        (here / "key").write_text(server.secret_key + "\n")
        (here / "database").write_text(index.new_database() + "\n")
        bucket = server.new_bucket()
        run(
            here,
            f"""
[sink]
kind = "objects"
bucket = "{bucket}"
endpoint = "{server.url}"
allow_plaintext = true
access_key = "{server.access_key}"
secret_key = {{ file = "key" }}
database = {{ file = "database" }}
prefix = "mail"
state = "state"
""",
        )
        with server.client() as client:
            found = client.list_objects_v2(Bucket=bucket, Prefix="mail/volumes/")["Contents"]
        assert len(found) == 1


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ("[sink]\nkind = 'mbox'\npath = 'x'\n", "state is missing"),
        ("[sink]\npath = 'x'\n", "kind must be one of eml, maildir, mbox, lmtp, objects"),
        ("[sink]\nkind = 'tape'\n", "kind must be one of"),
        ("[sink]\nkind = 'mbox'\nstate = 'x'\n", "path is missing"),
        ("[sink]\nkind = 'mbox'\npath = 'x'\nstate = 'x'\nports = 1\n", "unknown key ports"),
        (
            "[vault]\npath = 'v'\n[sink]\nkind = 'mbox'\npath = 'x'\nstate = 'x'\n",
            "state is kept in the vault",
        ),
        ("[sink]\nkind = 'lmtp'\nhost = 'h'\n", "recipients is missing"),
        ("[sink]\nkind = 'objects'\nbucket = 'b'\n", "database must name a file or a command"),
        (
            (
                "[sink]\nkind = 'objects'\nbucket = 'b'\n"
                "database = { file = 'd' }\nsecret_key = 's'\n"
            ),
            "secret_key must name a file or a command",
        ),
    ],
)
def test_what_is_wrong_with_a_sink_is_named(tables: str, words: str, here: Path) -> None:
    """With its place in the file."""
    with pytest.raises(ConfigurationError, match=r"\[sink\]") as caught:
        config.build(_toml.parse(JOB + tables, "job.toml"), here)

    assert words in str(caught.value)


def test_an_authority_that_is_not_there_is_named(here: Path) -> None:
    """When the sink is made."""
    tables = """
[sink]
kind = "lmtp"
host = "127.0.0.1"
recipients = ["a@b"]
ledger = "l"
starttls = true
ca_file = "none.pem"
state = "s"
"""
    job = config.build(_toml.parse(JOB + tables, "job.toml"), here)
    with pytest.raises(ConfigurationError, match="ca_file"):
        job.archive()
    shutil.rmtree(here / "s", ignore_errors=True)


def test_a_part_that_is_not_installed_is_named(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the line that installs it."""
    for name in [each for each in sys.modules if each.startswith("mailarchive.vault.")]:
        if "object" in name:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "obstore", None)
    (here / "x").write_text("x")
    run(
        here,
        "[sink]\nkind = 'objects'\nbucket = 'b'\naccess_key = 'a'\nstate = 's'\n"
        "secret_key = { file = 'x' }\ndatabase = { file = 'x' }\n",
        status=2,
    )

    assert "pip install 'mailarchive[objects]'" in capsys.readouterr().err
