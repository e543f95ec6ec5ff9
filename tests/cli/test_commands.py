"""The commands on what the demo leaves behind, used as a person would."""

from __future__ import annotations

import json
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve
from support.vaults import entry, mail
from typing_extensions import override

from mailarchive import MessageRef, Retry, UserId, Vault
from mailarchive._cli import config, main
from mailarchive._cli._text import safe, size
from mailarchive._cli.progress import Progress
from mailarchive.errors import SinkError
from mailarchive.testing.messages import message
from mailarchive.testing.reports import recipient, report
from mailarchive.vault import Keeper, Selection

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the demo leaves behind; copied for each test that changes it."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    assert main(["demo", "--folder", str(folder)]) == 0
    return folder


@pytest.fixture
def demo(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the demo's folder, to which the test has gone."""
    shutil.copytree(made, tmp_path / "demo")
    monkeypatch.chdir(tmp_path / "demo")
    return tmp_path / "demo"


def run(capfdbinary: pytest.CaptureFixture[bytes], *words: str, status: int = 0) -> bytes:
    """Run a command, expect its exit status, and return what it printed."""
    capfdbinary.readouterr()
    assert main(words) == status
    sys.stdout.flush()
    return capfdbinary.readouterr().out


def test_the_demo_takes_its_numbers_from_the_archive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it prints of each user is what the vault says; a second run stores nothing."""
    assert main(["demo", "--folder", str(tmp_path / "new")]) == 0
    printed = capsys.readouterr().out

    with Vault(tmp_path / "new" / "acme.vault", read_only=True) as vault:
        for user in ("alice", "bob", "carol", "dave", "erin"):
            assert f"{user} sees {vault.view(UserId(user)).count()} messages" in printed
    assert "Is anybody there?" in printed
    assert "original_missing" in printed
    assert "whole and unaltered" in printed
    assert "284  in the archive already" in printed


def test_the_demo_takes_no_folder_that_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It never works in something that is not its own."""
    assert main(["demo", "--folder", str(tmp_path)]) == 2
    assert "not there yet" in capsys.readouterr().err


def test_show_lists_and_prints_to_the_byte(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A key from the list gives the message, exactly as the view does."""
    listed = run(capfdbinary, "show", "acme.vault", "--user", "erin", "--limit", "3").decode()
    lines = listed.splitlines()
    assert lines[0].startswith("erin sees ")
    assert "raise --limit" in lines[-1]
    key = lines[1].split()[0]

    printed = run(capfdbinary, "show", "acme.vault", "--user", "erin", "--message", key)
    with Vault(demo / "acme.vault", read_only=True) as vault:
        found = vault.view(UserId("erin")).get(key)
        assert found is not None
        assert printed == found.content()
    run(capfdbinary, "show", "acme.vault", "--user", "bob", "--message", key, status=1)


def test_show_finds_text(demo: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Only messages with the text are listed and counted."""
    found = run(capfdbinary, "show", "acme.vault", "--user", "bob", "--text", "two ways")

    assert found.decode().startswith("bob sees 1 message.")


def test_a_search_says_what_it_passed_over(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """What is too large to be searched in full is no damage, and is told all the same."""
    with Vault(tmp_path / "v", keys=None) as vault:
        vault.put(entry(mail(1)))
        vault.put(entry(mail(2, body=b"word " * (1 << 20)), key="2"))
    found = run(capfdbinary, "show", str(tmp_path / "v"), "--user", "bob", "--words", "hello")

    assert found.decode().startswith("bob sees 1 message")
    assert found.decode().endswith("  1 were not searched in full\n")


def test_nothing_found_is_said_in_its_own_words(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A filter that matches nothing, and somebody whom the archive does not know at all."""
    del demo
    found = run(capfdbinary, "show", "acme.vault", "--user", "bob", "--text", "no such thing")
    assert found == b"Nothing that bob sees is as asked for.\n"
    assert main(["show", "acme.vault", "--user", "bop"]) == 1
    assert b"this user owns no message in this archive; " in capfdbinary.readouterr().err


@pytest.mark.parametrize("limit", ["0", "-1", "many"])
def test_a_limit_is_a_number_from_one_on(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes], limit: str
) -> None:
    """Anything else is a wrong command, not an empty or an endless list."""
    del demo
    with pytest.raises(SystemExit) as ended:
        main(["show", "acme.vault", "--user", "bob", "--limit", limit])
    assert ended.value.code == 2
    assert b"from 1 on" in capfdbinary.readouterr().err


def test_an_auditor_lists_every_entry_with_its_id(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """What is listed can be named to `erase` and `--message`."""
    who = ("--auditor", "ann", "--reason", "why")
    listed = run(capfdbinary, "show", "acme.vault", *who, "--every", "--limit", "9").decode()

    head, *rows, rest = listed.splitlines()
    assert head.startswith("284 archived in all")
    assert "275 more" in rest
    with Vault(demo / "acme.vault") as vault:
        ids = [each.id.hex[:12] for each in vault.auditor("ann", "why").entries()][:9]
    assert [row.split()[0] for row in rows] == ids


def test_an_auditor_sees_all_and_is_put_on_record(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """With a reason; without one nothing is shown."""
    run(capfdbinary, "show", "acme.vault", "--auditor", "Ann", status=2)
    printed = run(capfdbinary, "show", "acme.vault", "--auditor", "Ann", "--reason", "a test")

    assert b"284 archived in all" in printed
    assert b"Is anybody there?" in printed
    with Vault(demo / "acme.vault") as vault:
        readings = vault.auditor("me", "looking").readings()
    assert ("Ann", "a test") in [(each.actor, each.reason) for each in readings]


def test_export_writes_each_fork_of_each_message_once(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Every file is what the view gives, copies with other bytes too; again writes nothing."""
    words = ("export", "acme.vault", "--user", "alice", "--to", "out/deep")
    printed = run(capfdbinary, *words)
    with Vault(demo / "acme.vault", read_only=True) as vault:
        seen = list(vault.view(UserId("alice")).messages())
        expected = {each.content(n) for each in seen for n in range(each.copies)}
    files = [file.read_bytes() for file in (demo / "out" / "deep").iterdir()]
    assert sorted(files) == sorted(expected)
    assert len(files) > len(seen)
    said = f"{len(seen)} messages: {len(files)} files written, 0 were there.\n"
    assert printed.decode() == said

    again = run(capfdbinary, *words).decode()
    assert again == f"{len(seen)} messages: 0 files written, {len(files)} were there.\n"


def test_every_copy_of_a_message_can_be_printed(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """`--copy` counts from one to what the list says, and no further."""
    with Vault(demo / "acme.vault", read_only=True) as vault:
        (seen,) = vault.view(UserId("alice")).messages(text="two ways")
        copies = [seen.content(n) for n in range(2)]
    words = ("show", "acme.vault", "--user", "alice", "--message", seen.key)

    assert copies[0] != copies[1]
    assert [run(capfdbinary, *words, "--copy", str(n)) for n in (1, 2)] == copies
    assert run(capfdbinary, *words) == copies[0]
    for number in ("0", "3", "-1"):
        run(capfdbinary, *words, "--copy", number, status=1)


def test_export_goes_on_after_a_damaged_message(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The others are written, the damage is said, and the status is no success."""
    (pack,) = (demo / "acme.vault").rglob("*.tar")
    data = bytearray(pack.read_bytes())
    data[data.index(b"b/") + 600] ^= 0xFF
    pack.chmod(0o600)
    pack.write_bytes(data)

    damaged = 0
    for user in ("alice", "bob", "carol", "dave", "erin"):
        capfdbinary.readouterr()
        status = main(["export", "acme.vault", "--user", user, "--to", user])
        printed = capfdbinary.readouterr().out.decode()
        assert status == ("damaged" in printed)
        assert len(list((demo / user).iterdir())) > 20
        damaged += status
    assert damaged


def test_an_auditor_reads_any_entry_whole(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """By the beginning of its id, as the list shows it; what names none is an error."""
    who = ("--auditor", "Ann", "--reason", "a test")
    with Vault(demo / "acme.vault") as vault:
        entry = next(vault.auditor("me", "comparing").unowned())
        content = entry.content()

    assert run(capfdbinary, "show", "acme.vault", *who, "--message", entry.id.hex[:12]) == content
    for beginning in ("", "xyz", "f" * 64):
        run(capfdbinary, "show", "acme.vault", *who, "--message", beginning, status=1)


def test_a_quarantine_of_no_vault_is_no_empty_one(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A misspelt path must not say that all is well."""
    assert run(capfdbinary, "quarantine", "acme.vualt", status=2) == b""


def test_export_to_a_file_is_our_error(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """One line that says what stands there, and nothing is written."""
    words = ("export", "acme.vault", "--user", "alice", "--to", "users.csv")
    assert main(words) == 2
    assert b"a file stands where" in capfdbinary.readouterr().err


def test_verify_names_what_was_altered(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A flipped byte is found, named, and the exit status says so."""
    assert b"whole and unaltered" in run(capfdbinary, "verify", "acme.vault")
    whole = json.loads(run(capfdbinary, "verify", "acme.vault", "--json"))
    assert (whole["entries"], whole["findings"]) == (284, [])

    (pack,) = (demo / "acme.vault").rglob("*.tar")
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    assert b"finding" in run(capfdbinary, "verify", "acme.vault", status=1)


def test_a_quarantined_message_can_be_read_and_released(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Released for one user it is in that user's view, and no longer quarantined."""
    listed = run(capfdbinary, "quarantine", "acme.vault").decode()
    id_ = listed.split()[0]
    raw = run(capfdbinary, "quarantine", "acme.vault", "--read", id_)
    assert b"X-MS-Journal-Report" in raw

    run(capfdbinary, "quarantine", "acme.vault", "--release", id_, "--owner", "carol")
    assert run(capfdbinary, "quarantine", "acme.vault") == b"Nothing is quarantined.\n"
    with Vault(demo / "acme.vault", read_only=True) as vault:
        contents = [each.content() for each in vault.view(UserId("carol")).messages()]
        assert raw in contents
    run(capfdbinary, "quarantine", "acme.vault", "--read", id_, status=1)


def test_a_dry_run_makes_nothing(demo: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Neither a vault nor a checkpoint nor a lock, and it says what would be."""
    shutil.rmtree(demo / "acme.vault")
    (demo / "acme.vault.lock").unlink()
    before = sorted(demo.iterdir())
    printed = run(capfdbinary, "run", "archive.toml", "--dry-run", "--quiet")

    assert b"285  messages listed" in printed
    assert b"284  would be archived" in printed
    assert b"1  would be quarantined" in printed
    assert b"skipped" not in printed
    assert sorted(demo.iterdir()) == before


def test_quarantine_can_fail_a_run(demo: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Only where that is asked for."""
    for status, words in ((0, ()), (1, ("--fail-on-quarantine",))):
        shutil.rmtree(demo / "acme.vault")
        run(capfdbinary, "run", "archive.toml", "--quiet", *words, status=status)


@pytest.mark.parametrize("users", [None, "", "id,name\nalice,Alice\n"])
def test_users_that_cannot_be_read_are_said_also_when_nothing_is_new(
    users: str | None, demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job that would fail tomorrow does not say today that all is well."""
    (demo / "users.csv").unlink()
    if users is not None:
        (demo / "users.csv").write_text(users)

    assert main(["run", "archive.toml", "--quiet"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_vault_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Looking makes no vault."""
    for words in (["show", "--user", "u"], ["verify"], ["quarantine", "--release", "ab"]):
        assert main([words[0], str(tmp_path / "none"), *words[1:]]) in {1, 2}
        assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_decode_speaks_to_people_and_to_programs(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The same facts both ways."""
    file = tmp_path / "report.eml"
    original = message(subject="Größe")
    file.write_bytes(report(original, recipients=[recipient("bob@x.example", "bcc")]))

    printed = run(capfdbinary, "decode", str(file)).decode()
    assert "Bcc" in printed
    assert "Größe" in printed
    tree = json.loads(run(capfdbinary, "decode", str(file), "--json"))
    assert tree["recipients"][0]["address"] == "bob@x.example"


@pytest.mark.parametrize(
    ("raw", "status", "said"),
    [
        (message(), 0, "No journal report"),
        (report(defects=["original_missing"]), 1, "quarantined"),
        (report(defects=["original_missing"]), 1, "bob@example.com"),
    ],
)
def test_decode_says_what_is_no_report(
    raw: bytes,
    status: int,
    said: str,
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """Ordinary mail is no fault; a broken report is."""
    file = tmp_path / "mail.eml"
    file.write_bytes(raw)

    assert said in run(capfdbinary, "decode", str(file), status=status).decode()
    assert json.loads(run(capfdbinary, "decode", str(file), "--json", status=status))


def test_decode_of_no_file_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback."""
    assert main(["decode", "/nowhere/at/all"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_nothing_that_came_in_a_mail_steers_the_terminal() -> None:
    """Escapes, line breaks and marks that turn a line around are made visible."""
    assert safe("a\x1b[31m\r\n\u202eb\0") == "a\\x1b[31m\\x0d\\x0a\\x202eb\\x00"
    assert safe("long " * 9, 10) == "long long…"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 KB"), (2e15, "2000.0 TB")]
)
def test_sizes_are_for_people(count: float, text: str) -> None:
    """Three digits or so."""
    assert size(count) == text


def test_retries_are_listed_and_given_up(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """What waits is named with its reason, makes a run fail, and can be given up."""
    assert run(capfdbinary, "retries", "archive.toml") == b"Nothing waits.\n"
    job = config.load(demo / "archive.toml")
    (checkpoint,) = job.state.all()
    ref = MessageRef(checkpoint.source, checkpoint.folder, "poison")
    waiting = Retry(ref, "conversion failed", 3, datetime(2126, 1, 1, tzinfo=UTC))
    job.state.save(evolve(checkpoint, retry=(waiting,)))
    said = run(capfdbinary, "run", "archive.toml", "--quiet", status=1)
    assert b"See what waits: mailarchive retries" in said

    listed = run(capfdbinary, "retries", "archive.toml").decode()
    id_, *rest = listed.split()
    words = ". poison 3 tries next 2126-01-01 00:00 UTC conversion failed"
    assert rest == words.split()
    run(capfdbinary, "retries", "archive.toml", "--give-up", "abc", status=1)
    job.state.save(evolve(checkpoint, retry=(evolve(waiting, attempts=1),)))
    assert b" 1 try  " in run(capfdbinary, "retries", "archive.toml")
    run(capfdbinary, "retries", "archive.toml", "--give-up", id_)
    assert run(capfdbinary, "retries", "archive.toml") == b"Nothing waits.\n"
    run(capfdbinary, "run", "archive.toml", "--quiet")


def test_what_is_held_back_is_not_taken_for_mail_of_nobody(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Where a trust setting holds back nearly all, the few that are left say nothing of users."""
    text = (demo / "archive.toml").read_text().replace("acme.vault", "new.vault")
    (demo / "users.csv").write_text("id,addresses\nx,somebody@else.example\n")
    strict = text.replace("[users]", '[decoder.trust]\non_unproven = "quarantine"\n[users]')
    (demo / "strict.toml").write_text(strict)
    said = run(capfdbinary, "run", "strict.toml", "--quiet").decode()
    assert "284  quarantined" in said
    assert "[users]" not in said
    assert said.endswith("and why: mailarchive quarantine new.vault\n")

    (demo / "lax.toml").write_text(text.replace("new.vault", "lax.vault"))
    said = run(capfdbinary, "run", "lax.toml", "--quiet").decode()
    assert "Nobody owns what was archived: does [users] know" in said
    assert said.endswith("and why: mailarchive quarantine lax.vault\n")


def test_a_damaged_state_is_moved_away_as_is_advised(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The file is named, and without it everything is listed again and nothing stored twice."""
    state = demo / "acme.vault" / "state.db"
    state.write_bytes(b"no database at all, but long enough to be looked at" * 9)
    assert main(["run", "archive.toml", "--quiet"]) == 1
    assert b"move state.db away" in capfdbinary.readouterr().err
    state.rename(demo / "away")

    said = run(capfdbinary, "run", "archive.toml", "--quiet")
    assert b"284  in the archive already" in said
    assert b"newly archived" not in said


def test_progress_shows_one_line_that_grows() -> None:
    """On a terminal it is one line; in a log there are few."""
    import io

    from mailarchive import Folder
    from mailarchive.events import (
        BatchStored,
        CheckpointLost,
        FolderFailed,
        FolderStarted,
        PageDone,
    )

    class Terminal(io.StringIO):
        """A terminal, as far as anybody asks."""

        @override
        def isatty(self) -> bool:
            """Say so."""
            return True

    folder = Folder("INBOX", ("INBOX",))
    for out, lines in ((Terminal(), 3), (io.StringIO(), 2)):
        times = iter(range(100))
        progress = Progress(out, clock=lambda times=times: next(times) * 1.0)  # type: ignore[misc]  # bound early
        progress(FolderStarted(folder, resumed=False))
        for _ in range(5):
            progress(BatchStored(folder, 10, 0, 1000))
        progress(PageDone(folder, 50, quarantined=1, skipped=3, vanished=1, failed=1))
        progress(CheckpointLost(folder))
        progress(FolderFailed(folder, "source"))
        progress.close()
        assert out.getvalue().count("\n") == lines
        assert "INBOX" in out.getvalue()
        assert not out.isatty() or "INBOX: 56 messages" in out.getvalue()


def test_holds_and_erasing_from_the_command_line(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """What is held cannot be erased; what is over can, and is gone from the list."""
    who = ("--actor", "officer", "--reason", "case")
    assert run(capfdbinary, "kept", "acme.vault") == b"Nothing was decided: all is kept.\n"
    capfdbinary.readouterr()
    assert main(["expired", "acme.vault"]) == 0
    nothing = capfdbinary.readouterr()
    assert (nothing.out, nothing.err.count(b"\n")) == (b"", 1)
    _retention_is_over()
    run(capfdbinary, "hold", "acme.vault", "m 1", "--user", "alice", "--since", "2020-01-01", *who)
    kept = run(capfdbinary, "kept", "acme.vault").decode()
    assert "held for m 1" in kept
    assert "mail of alice since 2020-01-01" in kept
    assert "kept until 2021-01-01" in kept
    *ids, total = run(capfdbinary, "expired", "acme.vault").decode().splitlines()
    assert total.startswith(f"{len(ids)} messages, ")
    assert total.endswith("each goes for all of its owners.")
    id_, day, _, _, *owners = ids[0].split()
    assert (len(id_), len(day), bool(owners)) == (12, 10, True)
    with Vault("acme.vault") as vault:
        before = {user: vault.view(UserId(user)).count() for user in ("alice", "bob")}
        held = next(
            each.id
            for each in vault.auditor("x", "y").entries()
            if "alice" in each.ownership.users
        )

    run(capfdbinary, "retain", "acme.vault", "--for-ever", *who, status=2)
    run(capfdbinary, "hold", "acme.vault", "m", "--all", "--user", "bob", *who, status=2)
    run(capfdbinary, "erase", "acme.vault", held.hex[:12], *who, status=1)
    run(capfdbinary, "erase", "acme.vault", held.hex[:4], *who, status=2)
    run(capfdbinary, "erase", "acme.vault", "nonsense", *who, status=2)
    wrong = ("--since", "2024-01-05", "--until", "2024-01-01")
    run(capfdbinary, "hold", "acme.vault", "m", *wrong, *who, status=2)
    run(capfdbinary, "hold", "acme.vault", " ", "--user", "bob", *who, status=2)
    run(capfdbinary, "erase", "acme.vault", *who, status=2)
    with pytest.raises(SystemExit):
        main(["retain", "acme.vault", "--all", *who])
    foretold = run(capfdbinary, "erase", "acme.vault", "--expired", "--dry-run", *who).decode()
    assert foretold.splitlines() == [*ids, total]
    erased = run(capfdbinary, "erase", "acme.vault", "--expired", *who).decode()

    assert erased.startswith(f"{len(ids)} messages erased")
    with Vault("acme.vault") as vault:
        assert vault.view(UserId("alice")).count() == before["alice"]
        assert vault.view(UserId("bob")).count() < before["bob"]
        assert vault.verify("content").ok
    auditor = ("--auditor", "officer", "--reason", "case")
    every = run(capfdbinary, "show", "acme.vault", *auditor, "--every", "--limit", "999").decode()
    assert every.count("(erased)") == len(ids)
    run(capfdbinary, "release", "acme.vault", "m 1", *who)
    run(capfdbinary, "release", "acme.vault", "m 1", *who, status=1)
    assert run(capfdbinary, "expired", "acme.vault")


def _retention_is_over() -> None:
    """Let somebody have said, years ago, that all mail is kept until 2021."""
    with Vault("acme.vault", clock=lambda: LONG_AGO) as vault:
        vault.keeper("officer", "case").retain(Selection(), until=datetime(2021, 1, 1, tzinfo=UTC))


def test_a_retention_says_what_it_ends_for(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A time that is over is refused; and of a user's mail that of others stays."""
    who = ("--actor", "officer", "--reason", "schedule")
    retain = ("retain", "acme.vault", *who)
    run(capfdbinary, *retain, "--user", "bob", "--keep-until", "2020-01-01", status=2)
    assert run(capfdbinary, "kept", "acme.vault") == b"Nothing was decided: all is kept.\n"
    said = run(capfdbinary, *retain, "--user", "bob", "--days", "9").decode()
    assert "mail of bob.\n  What others own too stays" in said
    assert "may be erased now" not in said
    with Vault(demo / "acme.vault", clock=lambda: LONG_AGO) as vault:
        vault.put(entry(mail(1), key="1", owners={"frank": ("frank@example.com",)}))
        vault.put(entry(mail(2), key="2", owners={"frank": (), "carol": ()}))
    said = run(capfdbinary, *retain, "--user", "frank", "--days", "9").decode()
    assert "  1 message of it may be erased now, each for all of its owners" in said
    listed = run(capfdbinary, "expired", "acme.vault").decode()
    assert listed.splitlines()[0].endswith("136 bytes  frank")


def test_a_retention_is_said_to_be_kept_whatever_becomes_of_the_count(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is on record by then, and nothing takes it back."""
    del demo

    def broken(*_: object) -> None:
        raise SinkError("the index cannot be read")

    monkeypatch.setattr(Keeper, "expired", broken)
    who = ("--actor", "officer", "--reason", "schedule")

    said = run(capfdbinary, "retain", "acme.vault", "--all", "--days", "9", *who, status=1)

    assert said == b"Kept 9 days: all mail.\n"
    assert b"kept 9 days" in run(capfdbinary, "kept", "acme.vault")


@pytest.mark.parametrize("nobody", ["", " "])
@pytest.mark.parametrize(
    "words",
    [
        ("hold", "no.vault", "m", "--actor", "a", "--reason", "b", "--new-user", "--user"),
        ("retain", "no.vault", "--for-ever", "--actor", "a", "--reason", "b", "--user"),
        ("quarantine", "no.vault", "--release", "1", "--new-user", "--owner"),
        ("show", "no.vault", "--user"),
        ("prove", "no.vault", "key", "--user"),
        ("export", "no.vault", "--to", "there", "--user"),
    ],
)
def test_an_empty_text_is_no_user(
    capfdbinary: pytest.CaptureFixture[bytes], words: tuple[str, ...], nobody: str
) -> None:
    """It is often a variable that is not set, and a hold of nobody's mail would hold nothing."""
    with pytest.raises(SystemExit) as raised:
        main([*words, nobody])

    assert raised.value.code == 2
    assert b"an empty text is no user" in capfdbinary.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("run", ""),
        ("show", "", "--user", "alice"),
        ("export", "acme.vault", "--user", "alice", "--to", " "),
        ("seal", "acme.vault", "--signer", ""),
        ("verify", "acme.vault", "--state", ""),
        ("kept", ""),
    ],
)
def test_an_empty_text_is_no_path(
    capfdbinary: pytest.CaptureFixture[bytes],
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would be the folder that one is in: an export filled it with mail."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as raised:
        main(words)

    assert raised.value.code == 2
    assert b"an empty text is no path" in capfdbinary.readouterr().err


def test_a_user_who_owns_nothing_is_taken_for_misspelt(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Nothing is decided or given by a wrong id, unless it is said to be right."""
    who = ("--actor", "officer", "--reason", "case")
    id_ = run(capfdbinary, "quarantine", "acme.vault").decode().split()[0]
    wrong = (
        ("hold", "acme.vault", "m", "--user", "alcie", *who),
        ("retain", "acme.vault", "--for-ever", "--user", "bob", "--user", "alcie", *who),
        ("quarantine", "acme.vault", "--release", id_, "--owner", "alcie"),
    )
    for words in wrong:
        assert run(capfdbinary, *words, status=1) == b""
    assert run(capfdbinary, "kept", "acme.vault") == b"Nothing was decided: all is kept.\n"
    assert id_ in run(capfdbinary, "quarantine", "acme.vault").decode()
    for words in wrong:
        run(capfdbinary, *words, "--new-user")
    assert b"mail of alcie" in run(capfdbinary, "kept", "acme.vault")
    with Vault(demo / "acme.vault", read_only=True) as vault:
        assert vault.view(UserId("alcie")).count() == 1


@pytest.mark.parametrize("place", range(5))
def test_which_user_is_misspelt_is_told_by_the_order_that_was_typed(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes], place: int
) -> None:
    """The id itself may be an address, and is not in the error."""
    del demo
    users = ["alice", "bob", "carol", "dave"]
    users.insert(place, "alcie")
    typed = [word for user in users for word in ("--user", user)]
    who = ("--actor", "officer", "--reason", "case")

    assert main(["hold", "acme.vault", "m", *typed, *who]) == 1
    said = capfdbinary.readouterr().err.decode()
    assert f"user {place + 1} of 5 owns no message" in said
    assert "alcie" not in said


def test_what_is_erased_already_is_said_so(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Again is no failure, and no second erasure; what was never there is not there."""
    who = ("--actor", "officer", "--reason", "request")
    with Vault(demo / "acme.vault") as vault:
        one = next(iter(vault.auditor("x", "y").entries())).id.hex
    words = ("erase", "acme.vault", one, *who)
    assert one[:12] in run(capfdbinary, *words, "--dry-run").decode()
    assert run(capfdbinary, *words).startswith(b"1 message erased, ")
    assert run(capfdbinary, *words) == b"1 message had been erased already.\n"
    run(capfdbinary, "erase", "acme.vault", "0" * 64, *who, status=1)


def test_nothing_that_was_asked_for_is_passed_over(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """An answer to another question than the one that was asked is a wrong one."""
    auditor = ("--auditor", "officer", "--reason", "case")
    for filtered in (("--words", "zebra"), ("--since", "2030-01-01"), ("--folder", "INBOX")):
        run(capfdbinary, "show", "acme.vault", *auditor, *filtered, status=2)
        run(capfdbinary, "show", "acme.vault", *auditor, "--every", *filtered, status=2)
    backwards = ("--since", "2026-02-01", "--until", "2026-01-01")
    for useless in (("--every",), ("--reason", "case"), ("--copy", "1"), backwards):
        run(capfdbinary, "show", "acme.vault", "--user", "alice", *useless, status=2)
    run(capfdbinary, "export", "acme.vault", "--user", "alice", "--to", "o", *backwards, status=2)
    run(capfdbinary, "show", "acme.vault", *auditor, "--message", "0", "--copy", "1", status=2)
    run(capfdbinary, "quarantine", "acme.vault", "--owner", "alice", status=2)
    key = run(capfdbinary, "show", "acme.vault", "--user", "alice").split()[4].decode()
    for copy in ("0", "9"):
        run(
            capfdbinary, "show", "acme.vault", "--user", "alice", "--message", key,
            "--copy", copy, status=1,
        )  # fmt: skip
    run(
        capfdbinary, "show", "acme.vault", "--user", "alice", "--message", key,
        "--text", "zebra", status=2,
    )  # fmt: skip
    run(capfdbinary, "export", "acme.vault", "--user", "alcie", "--to", "out", status=1)
    assert not Path("out").exists()
    run(capfdbinary, "verify", "no.vault", status=2)


def test_what_is_exported_is_for_its_owner_alone(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """It is mail, in whatever form."""
    for form in ("eml", "maildir", "mbox", "bag"):
        to = Path("out") / form
        run(
            capfdbinary, "export", "acme.vault", "--user", "alice", "--to", str(to), "--form", form
        )
        files = [to] if to.is_file() else [each for each in to.rglob("*") if each.is_file()]
        assert {each.stat().st_mode & 0o077 for each in files} == {0}


def test_a_missing_pack_is_not_forgotten_by_a_rebuild(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The index is all that still knows of it."""
    for pack in Path("acme.vault").rglob("*.tar"):
        pack.rename(pack.name)
    run(capfdbinary, "rebuild", "acme.vault", status=1)
    run(capfdbinary, "verify", "acme.vault", status=1)
    run(capfdbinary, "rebuild", "acme.vault", "--without-missing")
    run(capfdbinary, "verify", "acme.vault")


@pytest.mark.parametrize("what", ["garbage", "folder"])
def test_an_index_that_cannot_be_read_is_rebuilt(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes], what: str
) -> None:
    """The command itself needs no index: what stands in its place makes way."""
    index = Path("acme.vault/volumes/0001/index.db")
    index.unlink()
    if what == "folder":
        index.mkdir()
    else:
        index.write_bytes(b"no database" * 1000)
    run(capfdbinary, "rebuild", "acme.vault")
    run(capfdbinary, "verify", "acme.vault", "--level", "content")
    run(capfdbinary, "show", "acme.vault", "--user", "alice")


def test_a_dry_run_tells_what_a_run_would_say_of_the_vault(
    demo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A promise of success that the run then refuses is none."""
    job = Path("archive.toml")
    sound = job.read_text()
    job.write_text(sound.replace('path = "acme.vault"', 'path = "users.csv"'))
    run(capfdbinary, "run", "archive.toml", "--dry-run", status=2)
    keys = 'path = "new.vault"\nencryption = { key_file = "no.key" }'
    job.write_text(sound.replace('path = "acme.vault"', keys))
    for dry in (("--dry-run",), ()):
        run(capfdbinary, "run", "archive.toml", *dry, status=2)
    assert not Path("new.vault").exists()
