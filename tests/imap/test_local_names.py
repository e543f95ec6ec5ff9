"""Servers that know a mailbox as `alice`: whose it is comes from the job, or from the users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailarchive import Address, UserId, Vault
from mailarchive._cli import _toml, config, main
from mailarchive.auth import Password
from mailarchive.errors import ConfigurationError
from mailarchive.sources.imap import ImapSource
from mailarchive.testing.dovecot import MASTERS, dovecot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailarchive.testing.dovecot import Dovecot

ALICE, BOB = "alice@example.com", "bob@example.com"
OTHER_ALICE = "Alice@sales.example.com"
LOCAL = {"alice": "alice's secret", "bob": "bob's secret", ALICE: "of another mailbox"}
OWN = 'user = "bob"\npassword = { command = ["echo", "bob\'s secret"] }'
MASTER = 'user = "admin"\npassword = { command = ["sh", "-c", "echo x >> asked; cat secret"] }'
EVERYBODY = f'{MASTER}\nnamed_by = "local-part"\nmailboxes = '
MAIL = [b"From: a@example.com\r\nSubject: %d\r\n\r\nbody\r\n" % each for each in range(6)]
ALICES, BOBS, DECOYS = MAIL[:3], MAIL[3:5], MAIL[5:]


@pytest.fixture(scope="module")
def local() -> Iterator[Dovecot]:
    """A Dovecot whose users have no domain, but for one to be taken for another; all have mail."""
    with dovecot(users=LOCAL) as running:
        for user, mail in (("alice", ALICES), ("bob", BOBS), (ALICE, DECOYS)):
            running.put(user, mail)
        yield running


def write(here: Path, server: Dovecot, source: str, *more: str) -> Path:
    """Write a job for Alice, Bob and whose addresses these are; its source is on the server."""
    (here / "secret").write_text(f"{MASTERS['admin']}\n")
    rows = [f"{place},Some One,{each}" for place, each in enumerate([ALICE, BOB, *more])]
    (here / "users.csv").write_text("\n".join(["id,name,addresses", *rows]))
    file = here / "archive.toml"
    file.write_text(f"""
[source]
host = "{server.host}"
port = {server.imaps_port}
ca_file = "{server.ca_file}"
{source}
[decoder]
kind = "ordinary"
[users]
csv = "users.csv"
[vault]
path = "acme.vault"
encryption = "none"
""")
    return file


def seen(here: Path, place: int) -> set[bytes]:
    """What somebody in the list of users sees."""
    with Vault(here / "acme.vault", create=False) as vault:
        return {each.content() for each in vault.view(UserId(str(place))).messages()}


@pytest.mark.parametrize(
    "source",
    [OWN, f'{MASTER}\nmailbox = "bob"', f'{MASTER}\nmailbox = "bob"\nmaster_separator = "*"'],
    ids=["own", "SASL PLAIN", "by name"],
)
def test_a_login_without_a_domain_has_an_owner_by_the_address_beside_it(
    source: str, local: Dovecot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a job for everybody goes on where the one for the mailbox was."""
    alone = write(tmp_path, local, f'{source}\naddress = "{BOB}"')
    assert main(["run", str(alone), "--quiet"]) == 0
    assert (seen(tmp_path, 0), seen(tmp_path, 1)) == (set(), set(BOBS))
    capsys.readouterr()

    together = write(tmp_path, local, f'{EVERYBODY}["{BOB}"]')
    assert main(["run", str(together), "--quiet"]) == 0
    assert "nothing new" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["", 'master_separator = "*"'], ids=["SASL PLAIN", "by name"])
def test_everybody_is_asked_for_by_the_part_before_the_at(
    how: str, local: Dovecot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each has the mail of that mailbox, and nobody that of one with a similar name."""
    file = write(tmp_path, local, f'{EVERYBODY}"all"\n{how}')
    assert main(["run", str(file), "--quiet"]) == 0
    assert "2 mailboxes, 2 in full\n5 messages newly archived" in capsys.readouterr().out
    assert (seen(tmp_path, 0), seen(tmp_path, 1)) == (set(ALICES), set(BOBS))

    assert main(["run", str(file), "--quiet"]) == 0
    assert "0 messages newly archived" in capsys.readouterr().out


@pytest.mark.parametrize("which", ['"all"', f'["{ALICE}", "{BOB}"]'], ids=["both", "one chosen"])
@pytest.mark.parametrize("other", [OTHER_ALICE, "ALICE@b.example", "\uff41lice@b.example"])
def test_two_users_of_one_name_are_refused_before_the_run(
    which: str, other: str, local: Dovecot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One would get the other's mail; who is not asked for may be whom the server knows."""
    file = write(tmp_path, local, EVERYBODY + which, other)

    assert main(["run", str(file), "--quiet"]) == 2
    said = capsys.readouterr().err
    twins = "2 chosen mailboxes have" if which == '"all"' else "1 chosen mailbox has"
    assert f"named_by: {twins} the same part before the @ as another" in said
    assert "without_mailboxes" in said
    assert "example" not in said
    assert not (tmp_path / "asked").exists()
    assert not (tmp_path / "acme.vault").exists()


def test_who_is_left_out_is_no_twin(local: Dovecot, tmp_path: Path) -> None:
    """Whoever wrote the job has said who has no mailbox on this server."""
    left_out = 'without_mailboxes = ["*@sales.example.com"]'
    job = config.load(write(tmp_path, local, f'{EVERYBODY}"all"\n{left_out}', OTHER_ALICE))

    assert {each.key for each in job.organisation.plan().taken} == {ALICE, BOB}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (OWN, "needs to know whose mailbox it is"),
        (f'{OWN}\naddress = "bob"', "address is no address"),
        (f'{OWN}\naddress = ""', "address is empty"),
        (f'{OWN}\nnamed_by = "local-part"', "named_by is for many mailboxes"),
        (f'{EVERYBODY}"all"\naddress = "{BOB}"', "unknown key address"),
        (f'{MASTER}\nmailboxes = "all"\nnamed_by = "local"', "did you mean local-part"),
    ],
)
def test_what_is_wrong_with_a_name_is_told(
    source: str, said: str, local: Dovecot, tmp_path: Path
) -> None:
    """Before a vault is made."""
    file = write(tmp_path, local, source)
    with pytest.raises(ConfigurationError) as caught:
        config.build(_toml.read(file), tmp_path)

    assert said in "; ".join([str(caught.value), *caught.value.suggestions])
    assert BOB not in str(caught.value)


@pytest.mark.parametrize("mailbox", [None, "bob", BOB])
def test_the_address_changes_nothing_but_the_owner(mailbox: str | None) -> None:
    """A source has the same name, by which its checkpoints are found, with it and without."""
    auth, own = Password("admin", "secret"), Address.parse("robert@example.com")
    without = ImapSource("imap.example.com", auth=auth, mailbox=mailbox)
    given = ImapSource("imap.example.com", auth=auth, mailbox=mailbox, address=own)

    assert given.name == without.name
    assert given.mailbox == own
    assert without.mailbox == (Address.parse(BOB) if mailbox == BOB else None)
