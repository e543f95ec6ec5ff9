"""A checkpoint is left elsewhere, with evidence that it is there; what fails harms no seal."""

from __future__ import annotations

import os
import shutil
import smtplib
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.controller import Controller
from attrs import evolve
from support.tsa import Authority
from support.vaults import entries

from mailarchive.errors import ConfigurationError, NotProven, SinkError
from mailarchive.vault import FileSigner, LogCheckpoint, Vault
from mailarchive.vault.anchors import FileAnchor, GitAnchor, MailAnchor
from mailarchive.vault.timestamps import TimestampAnchor, check_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailarchive.vault import Seal
    from mailarchive.vault.anchors import Anchor


@pytest.fixture
def signer(tmp_path: Path) -> FileSigner:
    """A signer with a folder of its own."""
    return FileSigner(tmp_path / "signer")


@pytest.fixture
def filled(vault: Vault) -> Vault:
    """A vault with something in it."""
    vault.put_many(entries(3))
    return vault


def _evidence(folder: Path, name: str) -> bytes:
    (found,) = (folder / "volumes" / "0001" / "log" / "anchors").glob(f"*/{name}")
    return found.read_bytes()


def _anchored(seal: Seal) -> dict[str, str | None]:
    return {each.anchor: each.failure for each in seal.anchored}


def test_a_file_elsewhere_holds_the_checkpoint(
    filled: Vault, signer: FileSigner, folder: Path, tmp_path: Path
) -> None:
    """The copy is the signed note, to the byte, and is never replaced by another."""
    anchor = FileAnchor(tmp_path / "elsewhere" / "deep")

    seal = filled.seal(signer, [anchor])

    (copy,) = (tmp_path / "elsewhere" / "deep").iterdir()
    assert _anchored(seal) == {"file": None}
    assert seal.anchored[0].ok
    assert LogCheckpoint.parse(copy.read_bytes()) == seal.checkpoint
    assert _evidence(folder, "file").decode() == copy.name
    copy.write_bytes(b"another")
    with pytest.raises(SinkError, match="another checkpoint of this size"):
        anchor.anchor(seal.checkpoint)
    assert copy.read_bytes() == b"another"


@pytest.mark.parametrize("what", ["fifo", "link", "folder", "large"])
def test_what_is_no_copy_is_not_read(
    filled: Vault, signer: FileSigner, tmp_path: Path, what: str
) -> None:
    """Nobody who can write in the anchor's folder makes a seal wait for ever, or fill memory."""
    copies = tmp_path / "copies"
    anchor = FileAnchor(copies)
    filled.seal(signer, [anchor])
    (copy,) = copies.iterdir()
    copy.unlink()
    if what == "fifo":
        os.mkfifo(copy)
    elif what == "link":
        copy.symlink_to("/dev/zero")
    elif what == "folder":
        copy.mkdir()
    else:
        with copy.open("wb") as file:
            file.truncate(1 << 40)

    with pytest.raises(SinkError, match="another checkpoint of this size"):
        anchor.anchor(filled.checkpoints()[0])


class _Failing:
    """An anchor that fails as often as it is told."""

    def __init__(self, name: Any = "flaky", *, times: int = 1) -> None:
        self.name = name
        self.asked = 0
        self._times = times

    def anchor(self, checkpoint: LogCheckpoint) -> bytes:
        self.asked += 1
        if self.asked <= self._times:
            raise ConnectionError("the cable is out")
        return b"here"


def test_an_anchor_that_fails_loses_no_seal_and_is_asked_again(
    filled: Vault, signer: FileSigner, tmp_path: Path
) -> None:
    """A failure is in the report; the next seal, with nothing new, asks that anchor alone."""
    flaky, file = _Failing(times=2), FileAnchor(tmp_path / "copies")

    seals = [filled.seal(signer, [flaky, file]) for _ in range(4)]

    failure = "ConnectionError: the cable is out"
    assert [_anchored(each)["flaky"] for each in seals] == [failure, failure, None, None]
    assert {_anchored(each)["file"] for each in seals} == {None}
    assert flaky.asked == 3
    assert len({each.checkpoint for each in seals}) == 1
    assert filled.checkpoints() == (seals[0].checkpoint,)


@pytest.mark.parametrize("name", ["", "../x", "A", "a/b", "x" * 65, ".", "a\0", 5])
def test_an_anchor_with_a_strange_name_is_reported(
    filled: Vault, signer: FileSigner, folder: Path, name: Any
) -> None:
    """The name of an anchor names a file, so that only plain ones are taken."""
    seal = filled.seal(signer, [_Failing(name, times=0)])

    assert not seal.anchored[0].ok
    assert not (folder / "volumes" / "0001" / "log" / "anchors").exists()


# -- git ----------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working tree with another file staged, and no configuration of a user's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    path = tmp_path / "repository"
    subprocess.run(["git", "init", "--quiet", path], check=True)
    (path / "other").write_text("mine")
    subprocess.run(["git", "-C", path, "add", "other"], check=True)
    return path


def _git(repository: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", repository, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_a_commit_holds_the_checkpoint(
    filled: Vault, signer: FileSigner, folder: Path, repository: Path
) -> None:
    """Each checkpoint is a commit of its own file alone; again it is the same commit."""
    first = filled.seal(signer, [GitAnchor(repository)])
    assert _anchored(first) == {"git": None}
    commit = _evidence(folder, "git").decode()
    filled.put_many(entries(1, start=5))
    second = filled.seal(signer, [GitAnchor(repository)])

    assert _git(repository, "rev-list", "--count", "HEAD") == "2"
    files = _git(repository, "show", "--name-only", "--format=", commit).splitlines()
    assert len(files) == 1
    kept = subprocess.run(
        ["git", "-C", repository, "show", f"{commit}:{files[0]}"], check=True, capture_output=True
    ).stdout
    assert LogCheckpoint.parse(kept) == first.checkpoint
    assert "other" in _git(repository, "diff", "--cached", "--name-only")
    again = GitAnchor(repository).anchor(second.checkpoint).decode()
    assert again == _git(repository, "rev-parse", "HEAD")


def test_a_commit_of_another_history_is_refused(
    filled: Vault, signer: FileSigner, repository: Path
) -> None:
    """A second checkpoint of one size replaces nothing: that there are two is what it shows."""
    checkpoint = filled.seal(signer, [GitAnchor(repository)]).checkpoint
    head = _git(repository, "rev-parse", "HEAD")

    with pytest.raises(SinkError, match="another checkpoint of this size"):
        GitAnchor(repository).anchor(evolve(checkpoint, root=bytes(32)))

    assert _git(repository, "rev-parse", "HEAD") == head
    assert _git(repository, "status", "--porcelain", "--untracked-files=no") == "A  other"


def test_what_git_makes_something_else_of_is_no_evidence(
    filled: Vault, signer: FileSigner, repository: Path
) -> None:
    """A filter of the repository changes what is committed, and not the file."""
    (repository / ".gitattributes").write_text("*.checkpoint filter=less")
    _git(repository, "config", "filter.less.clean", "head -n 1")

    seal = filled.seal(signer, [GitAnchor(repository)])

    assert "committed something else" in str(_anchored(seal)["git"])


def test_a_commit_is_made_where_it_was_told_and_nowhere_else(
    filled: Vault, signer: FileSigner, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever seals in a hook of git has variables that name the hook's repository."""
    other = repository.with_name("hooked")
    subprocess.run(["git", "init", "--quiet", other], check=True)
    with monkeypatch.context() as hook:
        hook.setenv("GIT_DIR", str(other / ".git"))
        hook.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
        seal = filled.seal(signer, [GitAnchor(repository)])

    assert _anchored(seal) == {"git": None}
    assert _git(repository, "rev-list", "--count", "HEAD") == "1"
    assert _git(other, "rev-list", "--count", "--all") == "0"


def test_a_commit_is_pushed(
    filled: Vault, signer: FileSigner, repository: Path, tmp_path: Path
) -> None:
    """With a remote the commit is there too; a remote that is not there is a failure."""
    subprocess.run(["git", "init", "--quiet", "--bare", tmp_path / "bare"], check=True)
    _git(repository, "remote", "add", "origin", str(tmp_path / "bare"))

    seal = filled.seal(
        signer,
        [GitAnchor(repository, remote="origin"), GitAnchor(repository, remote="no", name="no")],
    )

    assert _anchored(seal)["git"] is None
    assert "git push" in str(_anchored(seal)["no"])
    head = _git(repository, "rev-parse", "HEAD")
    assert head in _git(tmp_path / "bare", "for-each-ref", "--format=%(objectname)")


def test_a_folder_that_is_no_repository_is_reported(
    filled: Vault, signer: FileSigner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What git says is in the report, and so is that there is no git."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "plain").mkdir()
    said = _anchored(filled.seal(signer, [GitAnchor(tmp_path / "plain")]))["git"]
    assert "not a git repository" in str(said)
    monkeypatch.setenv("PATH", "")
    assert "FileNotFoundError" in str(
        _anchored(filled.seal(signer, [GitAnchor(tmp_path / "plain")]))["git"]
    )


# -- mail ---------------------------------------------------------------------------------


class _Postbox:
    """Takes mail for everybody but nobody@example.com."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []

    async def handle_RCPT(  # noqa: N802 - the name that aiosmtpd asks for
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if address.startswith("nobody"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - the name that aiosmtpd asks for
        self, server: Any, session: Any, envelope: Any
    ) -> str:
        self.mails.append(envelope.content)
        return "250 OK"


@pytest.fixture
def postbox() -> Iterator[tuple[_Postbox, int]]:
    """A mail server on loopback, and its port."""
    box = _Postbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, port
    controller.stop()


def test_a_mail_holds_the_checkpoint(
    filled: Vault, signer: FileSigner, folder: Path, postbox: tuple[_Postbox, int]
) -> None:
    """The checkpoint arrives attached, to the byte; the evidence is the mail's Message-ID."""
    import email

    box, port = postbox
    anchor = MailAnchor(
        lambda: smtplib.SMTP("127.0.0.1", port),
        sender="archive@example.com",
        to=["notary@example.com"],
    )

    seal = filled.seal(signer, [anchor])

    assert _anchored(seal) == {"mail": None}
    (mail,) = map(email.message_from_bytes, box.mails)
    (attached,) = [part for part in mail.walk() if part.get_filename()]
    data = attached.get_payload(decode=True)
    assert isinstance(data, bytes)
    assert LogCheckpoint.parse(data) == seal.checkpoint
    assert mail["Message-ID"] == _evidence(folder, "mail").decode()


def test_a_refused_recipient_is_reported(
    filled: Vault, signer: FileSigner, postbox: tuple[_Postbox, int]
) -> None:
    """One recipient of two refused, or no server at all, is a failure without an address."""
    _, port = postbox

    def anchor(port: int, name: str) -> MailAnchor:
        to = ["notary@example.com", "nobody@example.com"]
        return MailAnchor(
            lambda: smtplib.SMTP("127.0.0.1", port), sender="a@example.com", to=to, name=name
        )

    seal = filled.seal(signer, [anchor(port, "one"), anchor(1, "none")])

    assert "1 of 2 recipients" in str(_anchored(seal)["one"])
    assert "ConnectionRefusedError" in str(_anchored(seal)["none"])
    assert "example.com" not in str(_anchored(seal))


# -- time-stamps --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    """A time-stamp authority."""
    with Authority(tmp_path_factory.mktemp("tsa")) as made:
        yield made


@pytest.fixture
def stamped(
    filled: Vault, signer: FileSigner, authority: Authority
) -> tuple[Vault, LogCheckpoint]:
    """A vault whose checkpoint has a time-stamp."""
    seal = filled.seal(signer, [TimestampAnchor(authority.url, roots=authority.root)])
    assert _anchored(seal) == {"rfc3161": None}
    return filled, seal.checkpoint


def test_a_time_stamp_holds_for_the_checkpoint(
    stamped: tuple[Vault, LogCheckpoint], authority: Authority, folder: Path, tmp_path: Path
) -> None:
    """The token says when the authority saw this very checkpoint; openssl says so too."""
    _, checkpoint = stamped
    token = _evidence(folder, "rfc3161")

    seen = check_timestamp(token, checkpoint, authority.root)

    assert seen.tzinfo is not None
    files = {"token": token, "checkpoint": checkpoint.to_bytes(), "root": authority.root}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    command = "openssl ts -verify -in token -data checkpoint -CAfile root"
    said = subprocess.run(
        command.split(), cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "OK" in said.stdout + said.stderr


_GRANTED_AND_NOTHING_ELSE = bytes.fromhex("30053003020100")
"""A TimeStampResp (RFC 3161, 2.4.2) of a status alone."""


def test_a_time_stamp_of_something_else_is_not_taken(
    stamped: tuple[Vault, LogCheckpoint],
    authority: Authority,
    signer: FileSigner,
    folder: Path,
    tmp_path: Path,
) -> None:
    """Another checkpoint, another root, a changed token or none at all proves nothing."""
    vault, checkpoint = stamped
    token = _evidence(folder, "rfc3161")
    vault.put_many(entries(1, start=7))
    other = vault.seal(signer).checkpoint
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other")
    changed = bytearray(token)
    changed[-5] ^= 1

    for data, of, roots in [
        (token, other, authority.root),
        (token, checkpoint, stranger.root),
        (bytes(changed), checkpoint, authority.root),
        (b"", checkpoint, authority.root),
        (b"no token", checkpoint, authority.root),
        (_GRANTED_AND_NOTHING_ELSE, checkpoint, authority.root),
    ]:
        with pytest.raises((NotProven, SinkError)):
            check_timestamp(data, of, roots)
    with pytest.raises(ConfigurationError):
        check_timestamp(token, checkpoint, b"no certificate")
    stranger._server.server_close()


def test_an_authority_that_answers_wrongly_is_reported(
    filled: Vault, signer: FileSigner, authority: Authority, tmp_path: Path
) -> None:
    """An old answer, junk, an unknown root or silence is a failure, and the seal stands."""
    (tmp_path / "stranger").mkdir()
    stranger = Authority(tmp_path / "stranger")
    stranger._server.server_close()
    old: list[bytes] = []
    anchors: list[Anchor] = [
        TimestampAnchor(authority.url, name="first"),
        TimestampAnchor(authority.url, name="replayed"),
        TimestampAnchor(authority.url, name="junk"),
        TimestampAnchor(authority.url, roots=stranger.root, name="unknown"),
        TimestampAnchor(stranger.url, name="silent", timeout=5),
    ]

    def spoil(answer: bytes) -> bytes:
        old.append(answer)
        return {2: old[0], 3: b"junk"}.get(len(old), answer)

    authority.spoil = spoil
    try:
        said = _anchored(filled.seal(signer, anchors))
    finally:
        authority.spoil = lambda answer: answer

    assert said["first"] is None
    assert "answers another question" in str(said["replayed"])
    assert "no answer of a time-stamp authority" in str(said["junk"])
    assert "root that is trusted" in str(said["unknown"])
    assert "SinkUnavailable" in str(said["silent"])
    assert len(filled.checkpoints()) == 1


def test_nobody_else_is_asked(
    filled: Vault, signer: FileSigner, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a proxy in the environment nor an answer that points elsewhere is followed."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    assert _anchored(filled.seal(signer, [TimestampAnchor(authority.url)])) == {"rfc3161": None}
    asked, authority.redirect = authority.asked, authority.url
    try:
        said = _anchored(filled.seal(signer, [TimestampAnchor(authority.url, name="moved")]))
    finally:
        authority.redirect = None
    assert "SinkUnavailable" in str(said["moved"])
    assert authority.asked == asked + 1


def test_other_addresses_and_roots_are_refused() -> None:
    """Nothing but http and https is asked, and roots must be certificates."""
    for url in ("file:///etc/passwd", "ftp://example.com", ""):
        with pytest.raises(ConfigurationError):
            TimestampAnchor(url)
    with pytest.raises(ConfigurationError):
        TimestampAnchor("http://127.0.0.1/", roots=b"none")


def test_without_the_extra_the_import_says_what_to_install() -> None:
    """Whoever lacks the package is told the line that installs it."""
    code = "import sys; sys.modules['rfc3161_client'] = None; import mailarchive.vault.timestamps"
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert "pip install 'mailarchive[timestamps]'" in done.stderr
    assert shutil.which("openssl")
