"""The laws of a job's file: what is wrong is named with its place, and no secret stands in it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from support.vaults import entries

from mailarchive import UserId, Vault
from mailarchive._cli import _secret, _toml, config, main
from mailarchive.archiver import Removal
from mailarchive.attribution import (
    CatchAll,
    HoldUnowned,
    KeepUnowned,
    all_participants,
    mailbox_owner,
)
from mailarchive.decoding import JournalMailbox, Otherwise, ordinary
from mailarchive.errors import AuthenticationFailed, ConfigurationError
from mailarchive.journal.trust import Action, Policy

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive._cli.config import Job

JOB = """
[source]
kind = "maildir"
path = "journal"
[users]
csv = "users.csv"
[vault]
path = "acme.vault"
encryption = "none"
"""

IMAP = """
[source]
host = "imap.example.com"
user = "journal@example.com"
password = { file = "secret" }
[users]
csv = "users.csv"
[vault]
path = "acme.vault"
encryption = "none"
"""


def job(text: str, here: Path) -> Job:
    """Build the job that the text describes."""
    return config.build(_toml.parse(text, "archive.toml"), here)


@pytest.mark.parametrize(
    ("good", "typo", "hint"),
    [
        ("[vault]\n", "[vualt]\n", "you wrote [vualt]"),
        ("path = ", "pathh = ", "you wrote pathh"),
        ('csv = "users.csv"', 'cvs = "users.csv"', "you wrote cvs"),
    ],
)
def test_what_is_missing_may_be_misspelt(good: str, typo: str, hint: str, tmp_path: Path) -> None:
    """Whoever wrote it wrong sees what they wrote, not that it should be added."""
    assert good in JOB
    with pytest.raises(ConfigurationError) as caught:
        config.build(_toml.parse(JOB.replace(good, typo, 1), "archive.toml"), tmp_path)
    assert caught.value.suggestions == (hint,)


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ('name = "a\\u0000"', "name"),
        ('folders = ["INBOX", "IN\\u0000BOX"]', "folders"),
        ('password = { file = "a\\u0000" }', "[password]: file"),
        ('password = { command = ["a", "\\u0000"] }', "[password]: command"),
        ('rules = [{ to = "a\\u0000" }]', "rules"),
    ],
)
def test_a_nul_is_in_no_name(line: str, where: str) -> None:
    """It is refused where it stands, before anybody is asked for such a file or folder."""
    with pytest.raises(ConfigurationError) as caught:
        _toml.parse(f"[source]\n{line}", "a.toml")

    assert str(caught.value) == f"a.toml: [source]: {where} holds a NUL, which stands in no name"


@pytest.mark.parametrize("secret", ['{ file = "empty" }', '{ command = ["true"] }'])
def test_a_secret_that_is_none_is_said(secret: str, tmp_path: Path) -> None:
    """Where it should have come from, and nothing of the words."""
    (tmp_path / "empty").write_text("\n")
    table = _toml.parse(f"password = {secret}", "archive.toml")
    with pytest.raises(AuthenticationFailed, match=r"password names (gives nothing|failed)"):
        _secret.secret(table, "password", tmp_path)()


def test_the_defaults_are_the_careful_ones(tmp_path: Path) -> None:
    """A journal, everybody named is an owner, unowned mail is kept, nothing is removed."""
    made = job(JOB, tmp_path)

    assert made.decoder == JournalMailbox(Otherwise.ARCHIVE)
    assert made.attribution is all_participants
    assert made.unknown == KeepUnowned()
    assert made.removal == Removal.never()
    assert made.vault == tmp_path / "acme.vault"


def test_every_choice_is_taken(tmp_path: Path) -> None:
    """What the file says is what the job does."""
    made = job(
        JOB.replace('path = "journal"', 'path = "journal"\nmailbox = "alice@example.com"').replace(
            'csv = "users.csv"', 'csv = "users.csv"\nunknown = { catch_all = "post" }'
        )
        + '[decoder]\nkind = "ordinary"\n[removal]\nwhen = "archived"\n',
        tmp_path,
    )

    assert made.decoder is ordinary
    assert made.attribution is mailbox_owner
    assert made.unknown == CatchAll(UserId("post"))
    assert made.removal == Removal.when_archived()


def test_what_a_report_must_show_is_a_table_of_its_own(tmp_path: Path) -> None:
    """Every key of it is an expectation; an empty table expects nothing, and is a policy."""
    trust = """
[decoder.trust]
trusted_channel = true
return_paths = ["<journalndr@example.com>"]
authserv_id = "mx.example.com"
own_hosts = ["mx.example.com"]
hops = 2
strips_results = true
tenants = ["example.com"]
on_mismatch = "accept"
on_unproven = "quarantine"
"""
    expected = Policy(
        trusted_channel=True,
        return_paths=frozenset({"journalndr@example.com"}),
        authserv_id="mx.example.com",
        own_hosts=frozenset({"mx.example.com"}),
        hops=2,
        strips_results=True,
        tenants=frozenset({"example.com"}),
        on_mismatch=Action.ACCEPT,
        on_unproven=Action.QUARANTINE,
    )

    assert job(JOB + trust, tmp_path).decoder == JournalMailbox(policy=expected)
    assert job(JOB + "[decoder.trust]\n", tmp_path).decoder == JournalMailbox(policy=Policy())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[source", "no TOML"),
        (JOB.replace("[vault]\n", "[volt]\n"), "path is missing"),
        ('[vault]\npath = "acme.vault"\n', "there is no [source]"),
        (JOB.replace('path = "acme.vault"', ""), "[vault]: path is missing"),
        (JOB.replace('path = "acme.vault"', "path = 3"), "a text in quotes"),
        (JOB.replace('path = "acme.vault"', "path = true"), "a text in quotes"),
        (JOB.replace("maildir", "pop3"), "kind must be one of"),
        (JOB.replace('"maildir"', '"mbox"\nvariant = "mboxx"'), "variant must be one of"),
        (JOB + "[removal]\nwhen = 'always'\n", "when must be one of never, archived"),
        (JOB + "[decoder]\nkind = 'journal'\notherwise = 'drop'\n", "otherwise must be one of"),
        (JOB + "[decoder]\nkind = 'ordinary'\n", "whose mailbox"),
        (JOB + "[decoder.trust]\nhops = 0\n", "[decoder]: [trust]: hops must be at least 1"),
        (JOB + "[decoder.trust]\nhosts = ['mx']\n", "unknown key hosts"),
        (JOB + "[decoder.trust]\non_mismatch = 'drop'\n", "on_mismatch must be one of"),
        (JOB + "removal = 3\n", "unknown key removal"),
        (JOB.replace("[users]", "[users]\nunknown = 'drop'"), "unknown must be"),
        (JOB.replace("[users]", "[users]\nunknown = { catch_all = '' }"), "unknown must be"),
        (JOB.replace("[source]", "[source]\npasswort = 'x'"), "unknown key passwort"),
        (IMAP.replace('host = "imap.example.com"', ""), "host is missing"),
        (IMAP.replace('{ file = "secret" }', '"hunter2"'), "never written here"),
        (IMAP.replace('{ file = "secret" }', "{ command = [] }"), "never written here"),
        (IMAP.replace('{ file = "secret" }', '{ command = ["a", 3] }'), "never written here"),
        (IMAP.replace('{ file = "secret" }', '{ file = "a", command = ["b"] }'), "never"),
        (IMAP.replace("[users]", 'security = "plain"\n[users]'), "clear text"),
        (IMAP.replace("[users]", "folders = [1]\n[users]"), "a list of texts"),
        (IMAP.replace("[users]", 'port = "993"\n[users]'), "a whole number"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str, tmp_path: Path) -> None:
    """The error names the place and the key, and never a value that may be secret."""
    with pytest.raises(ConfigurationError) as caught:
        job(text, tmp_path)

    assert said in str(caught.value)
    assert "hunter2" not in "".join([str(caught.value), *caught.value.suggestions])


def test_a_misspelt_key_finds_its_name(tmp_path: Path) -> None:
    """The suggestion is the key that was meant."""
    with pytest.raises(ConfigurationError) as caught:
        job(
            JOB.replace("csv =", "cvs =").replace("[users]", '[users]\ncsv = "users.csv"'),
            tmp_path,
        )

    assert caught.value.suggestions == ("did you mean csv?",)


def test_unowned_mail_can_be_quarantined(tmp_path: Path) -> None:
    """One of the three choices."""
    made = job(JOB.replace("[users]", '[users]\nunknown = "quarantine"'), tmp_path)

    assert made.unknown == HoldUnowned()


MINE = JOB.replace("[users]", 'mailbox = "bob@example.com"\n[users]').replace(
    "[vault]", '[decoder]\nkind = "ordinary"\n[vault]'
)


@pytest.mark.parametrize(
    ("text", "told", "status"),
    [
        (MINE, False, 0),
        (MINE.replace("bob@", "bbo@"), True, 1),
        (MINE.replace("bob@", "bbo@").replace("csv =", 'unknown = "keep"\ncsv ='), False, 0),
        (
            MINE.replace("bob@", "bbo@").replace(
                "csv =", 'unknown = { catch_all = "rest" }\ncsv ='
            ),
            False,
            0,
        ),
        (
            MINE.replace("bob@", "bbo@").replace("csv =", 'owners = "participants"\ncsv ='),
            False,
            0,
        ),
    ],
)
def test_a_mailbox_that_belongs_to_nobody_is_told_before_and_after(
    text: str,
    told: bool,
    status: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is archived all the same, and no success; where `unknown` says it is meant, it is."""
    for name in ("cur", "new", "tmp"):
        (tmp_path / "journal" / name).mkdir(parents=True)
    raw = b"From: bob@example.com\r\nTo: bob@example.com\r\n\r\nHello\r\n"
    (tmp_path / "journal" / "cur" / "1.x:2,").write_bytes(raw)
    (tmp_path / "users.csv").write_text("id,addresses\nbob,bob@example.com\nrest,\n")
    (tmp_path / "archive.toml").write_text(text)
    for words in (["--dry-run"], [], []):
        assert main(["run", str(tmp_path / "archive.toml"), "--quiet", *words]) == status
        said = capsys.readouterr()
        assert ("[users] does not know" in said.err) is told
        assert "bbo@" not in said.err + said.out
        assert words or ("mailarchive reattribute" in said.out) is told
    with Vault(tmp_path / "acme.vault", read_only=True) as vault:
        assert vault.view(UserId("bob")).count() == ("bbo@" not in text or "owners" in text)


def secret(value: str, here: Path) -> str:
    """Read the secret that a table names."""
    return _secret.secret(_toml.parse(f"password = {value}", "t"), "password", here)()


def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    """Without the line end that an editor adds, and with every blank that is part of it."""
    (tmp_path / "secret").write_text(" hunter2 \r\n")

    assert secret('{ file = "secret" }', tmp_path) == " hunter2 "


def test_a_byte_order_mark_is_no_part_of_a_secret(tmp_path: Path) -> None:
    """Editors put one there, and it cannot be seen: no password and no address would fit."""
    (tmp_path / "secret").write_bytes(b"\xef\xbb\xbfhunter2\r\n")

    assert secret('{ file = "secret" }', tmp_path) == "hunter2"


def test_a_secret_comes_from_a_command(tmp_path: Path) -> None:
    """Its first line, with no shell between."""
    command = f"{{ command = ['{sys.executable}', '-c', 'print(\"hunter2; $HOME\")'] }}"

    assert secret(command, tmp_path) == "hunter2; $HOME"


LINES = "hunter2 \r\nuser: bob\n"


@pytest.mark.parametrize(
    ("whole", "expected"), [(False, "hunter2 "), (True, "hunter2 \nuser: bob")]
)
@pytest.mark.parametrize("value", ['{ file = "lines" }', '{ command = ["cat", "lines"] }'])
def test_the_first_line_is_the_secret_wherever_it_comes_from(
    value: str, expected: str, tmp_path: Path, *, whole: bool
) -> None:
    """As password managers have it: what stands below is for people; a key in PEM is all of it."""
    (tmp_path / "lines").write_bytes(LINES.encode())
    table = _toml.parse(f"password = {value}", "t")

    assert _secret.secret(table, "password", tmp_path, whole=whole)() == expected


def test_a_file_whose_first_line_is_empty_gives_no_secret(tmp_path: Path) -> None:
    """Nothing is searched for further down, and what is there is not shown."""
    (tmp_path / "lines").write_text("\nhunter2\n")

    with pytest.raises(AuthenticationFailed, match="gives nothing") as caught:
        secret('{ file = "lines" }', tmp_path)

    assert caught.value.suggestions == ("put it in the first line",)


@pytest.mark.parametrize(
    "value", ['{ file = "missing" }', '{ command = ["/nowhere"] }', '{ command = ["false"] }']
)
def test_a_secret_that_cannot_be_had_is_our_error(value: str, tmp_path: Path) -> None:
    """It says what to check, and shows neither path nor command."""
    with pytest.raises(AuthenticationFailed) as caught:
        secret(value, tmp_path)

    assert "nowhere" not in str(caught.value)
    assert caught.value.suggestions


@pytest.mark.parametrize("content", [None, b"\xff", b"[source"])
def test_a_bad_file_is_one_line_and_status_two(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, whatever is wrong with the file itself."""
    file = tmp_path / "archive.toml"
    if content is not None:
        file.write_bytes(content)

    assert main(["run", str(file)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("mailarchive: archive.toml ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "latin-1"])
def test_a_job_may_begin_with_a_byte_order_mark(
    codec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As editors save it; in another encoding it is said what to do."""
    (tmp_path / "journal" / "cur").mkdir(parents=True)
    (tmp_path / "journal" / "new").mkdir()
    (tmp_path / "users.csv").write_text("id,addresses\nbob,bob@example.com\n")
    file = tmp_path / "archive.toml"
    file.write_text(f"# Größe\n{JOB}", encoding=codec)

    status = 0 if codec == "utf-8-sig" else 2
    assert main(["run", str(file), "--quiet", "--dry-run"]) == status
    assert ("save it as UTF-8" in capsys.readouterr().err) is (status == 2)


@pytest.mark.parametrize("line", ['path = "journal"', 'csv = "users.csv"', 'path = "acme.vault"'])
@pytest.mark.parametrize("nothing", ["", "  "])
def test_an_empty_text_names_no_place(line: str, nothing: str, tmp_path: Path) -> None:
    """It would be the folder of the job: a variable that is not set archived all that is there."""
    key = line.partition(" = ")[0]
    with pytest.raises(ConfigurationError, match=f"{key} is empty") as caught:
        job(JOB.replace(line, f'{key} = "{nothing}"'), tmp_path)

    assert caught.value.suggestions == (f"write what it is, or leave {key} out",)


def test_a_misspelt_word_is_suggested(tmp_path: Path) -> None:
    """Also where one of a few words is wanted, and not only for keys."""
    with pytest.raises(ConfigurationError) as caught:
        job(JOB.replace("maildir", "mailder"), tmp_path)
    assert caught.value.suggestions == ("did you mean maildir?",)


def test_a_job_says_how_large_a_volume_may_be(tmp_path: Path) -> None:
    """Two writers have a pack each, and here the second one is in a volume of its own."""
    (tmp_path / "journal").mkdir()
    (tmp_path / "users.csv").write_text("address,user\nbob@example.com,bob\n")
    made = job(JOB + "volume_size = 1\n", tmp_path)

    with made.archive() as one, made.archive() as two:
        one.put(entries(1)[0])
        two.put(entries(1, start=9)[0])

    packs = (tmp_path / "acme.vault" / "volumes").glob("*/packs/*.tar")
    assert sorted(pack.parts[-3] for pack in packs) == ["0001", "0002"]


@pytest.mark.parametrize("value", ["0", "-1", '"1 TB"', "1.5"])
def test_a_volume_of_no_size_is_refused(value: str, tmp_path: Path) -> None:
    """It is a number of bytes, and what else is written there is named before anything is made."""
    with pytest.raises(ConfigurationError, match="volume_size"):
        job(JOB + f"volume_size = {value}\n", tmp_path)

    assert not (tmp_path / "acme.vault").exists()
