"""`[source] kind = "graph"`: one mailbox or an organisation's, from a file to a vault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from attrs import define
from support.graph import ANN, mail
from typing_extensions import override

from mailarchive import UserId, Vault
from mailarchive._cli import _toml, config, main
from mailarchive.archiver import Archiver
from mailarchive.errors import ConfigurationError, SourceUnavailable
from mailarchive.testing.entra_server import EntraServer
from mailarchive.testing.graph_server import GraphServer
from mailarchive.testing.memory import MemorySource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailarchive import Folder, Page, Source

BOB, INFO = "bob@contoso.example", "info@contoso.example"

JOB = """
[source]
kind = "graph"
{whom}
tenant = "{login.tenant}"
client_id = "{login.client_id}"
secret = {{ file = "secret" }}
cloud = {{ login = "{cloud.login}", graph = "{cloud.graph}" }}
ca_file = "{login.ca_file}"
[users]
directory = "graph"
[vault]
path = "contoso.vault"
encryption = "none"
"""


@define
class Tenant:
    """A tenant on loopback, and a folder to archive it in."""

    login: EntraServer
    server: GraphServer
    here: Path

    def write(self, whom: str) -> Path:
        """Write the job that reads these mailboxes."""
        cloud = self.login.cloud(graph=self.server.cloud.graph)
        (self.here / "secret").write_text(f"{self.login.secret}\n")
        file = self.here / "archive.toml"
        file.write_text(JOB.format(whom=whom, login=self.login, cloud=cloud))
        return file

    def seen_by(self, address: str) -> int:
        """How many messages a user sees in the archive."""
        user = self.server.mailbox(address).user["id"]
        with Vault(self.here / "contoso.vault", create=False) as vault:
            return vault.view(UserId(user)).count()


@pytest.fixture
def tenant(tmp_path: Path) -> Iterator[Tenant]:
    """Ann, Bob, a shared mailbox, and accounts that cannot be archived."""
    with EntraServer() as login, GraphServer([ANN, BOB], accept=login.is_good) as server:
        info = server.add_user(INFO, accountEnabled=False, assignedPlans=[])
        info.settings = {"userPurpose": "shared"}
        server.add_user("left@contoso.example", accountEnabled=False)
        server.add_user("guest@partner.example", userType="Guest")
        for whose, count in ((ANN, 3), (BOB, 2), (INFO, 1)):
            for raw in mail(count, start=len(whose) * 10):
                server.mailbox(whose).deliver(raw)
        yield Tenant(login, server, tmp_path)
    assert server.violations == []


def test_one_mailbox_is_archived_and_goes_on(
    tenant: Tenant, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its owner sees it, and the second run finds nothing new."""
    job = str(tenant.write(f'mailbox = "{ANN}"'))
    assert main(["run", job, "--quiet"]) == 0
    assert "3  newly archived" in capsys.readouterr().out
    assert tenant.seen_by(ANN) == 3
    assert main(["verify", str(tenant.here / "contoso.vault")]) == 0
    capsys.readouterr()
    assert main(["run", job, "--quiet"]) == 0

    assert "nothing new" in capsys.readouterr().out


def test_a_dry_run_leaves_nothing_behind(tenant: Tenant) -> None:
    """No vault, and no file beside it."""
    job = tenant.write('mailboxes = "all"')
    before = set(tenant.here.iterdir())
    assert main(["run", str(job), "--quiet", "--dry-run"]) == 0

    assert set(tenant.here.iterdir()) == before


def test_every_mailbox_of_an_organisation_is_archived(
    tenant: Tenant, capsys: pytest.CaptureFixture[str]
) -> None:
    """By an application with a secret of its own; who has no mailbox is told, and no error."""
    job = str(tenant.write('mailboxes = "all"'))
    status = main(["run", job, "--quiet"])
    out = capsys.readouterr().out

    assert status == 0
    assert [tenant.seen_by(each) for each in (ANN, BOB, INFO)] == [3, 2, 1]
    assert "3 mailboxes, 3 in full" in out
    assert "left@contoso.example" in out
    assert "guest" in out
    assert main(["run", job, "--quiet"]) == 0
    assert "0 messages newly archived" in capsys.readouterr().out


def test_a_mailbox_that_fails_stops_no_other(
    tenant: Tenant, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told, and the exit status says that not everything is done."""
    tenant.server.mailbox(ANN).broken = (404, "MailboxNotEnabledForRESTAPI")
    status = main(["run", str(tenant.write('mailboxes = "all"')), "--quiet"])
    said = capsys.readouterr()

    assert status == 1
    assert "MailboxNotEnabledForRESTAPI" in said.err
    assert "3 mailboxes, 2 in full" in said.out
    assert [tenant.seen_by(each) for each in (BOB, INFO)] == [2, 1]


def test_what_a_mailbox_had_archived_before_it_broke_is_counted(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The summary of an organisation has what each of its mailboxes reported, to the message."""

    class Breaks(MemorySource):
        """Reads one folder, and then the server goes away."""

        @override
        def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
            if folder.key != "A":
                raise SourceUnavailable("the server is gone")
            yield from super()._scan(folder, after)

    broken = [Breaks()]
    for number, raw in enumerate(mail(4)):
        broken[0].add(raw, folder="AABC"[number])
    made = Archiver.__init__

    def init(self: Archiver, source: Source, *rest: Any, **settings: Any) -> None:
        made(self, broken.pop() if broken else source, *rest, **settings)

    monkeypatch.setattr(Archiver, "__init__", init)

    assert main(["run", str(tenant.write('mailboxes = "all"')), "--quiet"]) == 1
    assert "3 mailboxes, 2 in full\n5 messages newly archived" in capsys.readouterr().out


def test_what_fits_no_folder_of_any_mailbox_is_told(
    tenant: Tenant, capsys: pytest.CaptureFixture[str]
) -> None:
    """What fits one of them is right; a mailbox that cannot be opened says nothing of any."""
    tenant.server.mailbox(ANN).make_folder("Only here")
    tenant.server.mailbox(BOB).broken = (404, "MailboxNotEnabledForRESTAPI")
    whom = 'mailboxes = "all"\nwithout_folders = ["Only here", "Nowhere"]'
    main(["run", str(tenant.write(whom)), "--quiet"])

    assert 'fits no folder, so is it written right? "Nowhere"\n' in capsys.readouterr().out


def test_some_mailboxes_are_archived(tenant: Tenant) -> None:
    """By name, by pattern, by kind; and less some."""
    file = tenant.write('mailboxes = ["*@contoso.example"]\nwithout_mailboxes = ["bob@*"]')
    made = config.load(file).organisation.plan()
    users = tenant.write('mailboxes = "all"\nkinds = ["user"]')
    only = config.load(users).organisation.plan()

    assert [str(each.address) for each in made.taken] == [ANN, INFO]
    assert [str(each.address) for each in only.taken] == [ANN, BOB]


def test_patterns_that_fit_no_mailbox_are_told(
    tenant: Tenant, capsys: pytest.CaptureFixture[str]
) -> None:
    """As those for folders are; the others are archived."""
    file = tenant.write('mailboxes = ["*@contoso.example"]\nwithout_mailboxes = ["bop@*"]')

    assert main(["run", str(file), "--quiet"]) == 0
    assert 'fits no mailbox, so is it written right? "bop@*"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ('mailboxes = ["*@sales.contoso.example"]', "no mailbox of the directory is chosen; "),
        ('mailboxes = "all"\nwithout_mailboxes = ["typo@contoso.example"]', "entry 1 of the list"),
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_choice_that_cannot_be_meant_is_no_success(
    choice: str,
    told: str,
    dry: tuple[str, ...],
    tenant: Tenant,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Only the server can say so, and nothing is made."""
    assert main(["run", str(tenant.write(choice)), "--quiet", *dry]) == 1
    said = capsys.readouterr().err

    assert told in said
    assert "contoso" not in said
    assert not (tenant.here / "contoso.vault").exists()


def test_a_wrong_secret_stops_before_anything_is_touched(
    tenant: Tenant, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what to do, and without the secret."""
    file = tenant.write('mailboxes = "all"')
    (tenant.here / "secret").write_text("hunter2")
    status = main(["run", str(file), "--quiet"])
    said = capsys.readouterr().err

    assert status != 0
    assert "AADSTS7000215" in said
    assert "hunter2" not in said
    assert not (tenant.here / "contoso.vault").exists()


def test_what_waits_is_listed_for_every_mailbox(
    tenant: Tenant, capsys: pytest.CaptureFixture[str]
) -> None:
    """And can be given up."""
    tenant.server.mailbox(BOB).contents()[0].refused = (500, "ErrorMimeContentConversionFailed")
    job = str(tenant.write('mailboxes = "all"'))
    assert main(["run", job, "--quiet"]) == 1
    capsys.readouterr()
    assert main(["retries", job]) == 0
    said = capsys.readouterr().out
    assert "ErrorMimeContentConversionFailed" in said
    assert config.load(tenant.here / "archive.toml").organisation.names in said
    assert main(["retries", job, "--give-up", said.split()[0]]) == 0

    assert main(["run", job, "--quiet"]) == 0


LOGIN = 'tenant = "contoso.example"\nclient_id = "1"\n'
SECRET = LOGIN + 'secret = { file = "s" }\n'


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (LOGIN + 'mailbox = "a@b"', "secret, certificate or device_code is missing"),
        (SECRET + 'mailbox = "a@b"\ncertificate = { file = "c" }', "two logins"),
        (LOGIN + 'mailbox = "a@b"\ndevice_code = true', "stay signed in"),
        (LOGIN + 'mailbox = "a@b"\nsecret = "inline"', "never written here"),
        (SECRET, "mailbox is missing"),
        (SECRET + 'mailbox = "a@b"\nmailboxes = "all"', "contradict"),
        (SECRET + "mailboxes = 3", '"all" or a list'),
        (SECRET + "mailboxes = []", "takes none"),
        (SECRET + 'mailboxes = "all"\nkinds = ["person"]', "kinds must be"),
        (SECRET + 'mailbox = "a@b"\ncloud = "moon"', "cloud must be one of"),
        (SECRET + 'mailbox = "a@b"\ncloud = { graph = "http://evil.example" }', "https://"),
        (SECRET + 'mailbox = "a@b"\nmailboxs = "all"', "unknown key"),
        (SECRET + 'mailbox = "a b"', "no address"),
        (SECRET + 'mailbox = "a@b"\nkinds = ["user"]', "kinds is for many mailboxes"),
        (SECRET + 'without_mailboxes = ["a@b"]', "without_mailboxes is for many mailboxes"),
        (SECRET.replace("contoso.example", "common") + 'mailbox = "a@b"', "one tenant"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, hint: str) -> None:
    """Before anything is asked of anybody."""
    whole = f'[source]\nkind = "graph"\n{text}\n[users]\ncsv = "u"\n[vault]\npath = "v"\n'
    with pytest.raises(ConfigurationError) as caught:
        config.build(_toml.parse(whole, "archive.toml"), tmp_path)

    assert hint in f"{caught.value} {caught.value.suggestions}"


def test_the_directory_of_a_tenant_is_for_its_mail(tmp_path: Path) -> None:
    """A Maildir has none."""
    text = '[source]\nkind = "maildir"\npath = "m"\n[users]\ndirectory = "graph"\n'
    with pytest.raises(ConfigurationError, match="Microsoft 365"):
        config.build(_toml.parse(text + '[vault]\npath = "v"\n', "archive.toml"), tmp_path)


@pytest.mark.parametrize("cloud", ["global", "us-gov", "us-dod", "china"])
@pytest.mark.parametrize(
    "login",
    [
        'secret = { command = ["pass"] }',
        'certificate = { file = "c" }\npassphrase = { file = "p" }',
        'device_code = true\ntoken_cache = "tokens"',
    ],
)
def test_every_login_in_every_cloud_is_a_setting(tmp_path: Path, cloud: str, login: str) -> None:
    """Nothing is asked before the run."""
    text = f'[source]\nkind = "graph"\n{LOGIN}{login}\ncloud = "{cloud}"\nmailboxes = "all"\n'
    text += '[users]\ndirectory = "graph"\n[vault]\npath = "v"\n'

    made = config.build(_toml.parse(text, "archive.toml"), tmp_path)
    assert made.organisation.names.startswith("graph:")
