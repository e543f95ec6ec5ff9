"""What comes out of a vault is what the user sees, to the byte, in a form that others read."""

from __future__ import annotations

import contextlib
import errno
import mailbox
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import bagit
import pytest
from attrs import evolve
from support.vaults import entries, entry, journaled, mail, to

from mailarchive import Provenance, Role, SourceMessage, UserId, _durable
from mailarchive._exporting import Bag
from mailarchive._model import Fidelity
from mailarchive.errors import ConfigurationError, SinkError, SinkUnavailable, StateError
from mailarchive.export import Exported, Form, export
from mailarchive.sources.files import EmlFolder, Maildir, Mbox
from mailarchive.vault import Vault, View
from mailarchive.vault.proofs import InclusionProof
from mailarchive.vault.signing import FileSigner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mailarchive._exporting import Found
    from mailarchive.abc import Source

ALICE, BOB, CAROL = map(UserId, ("alice", "bob", "carol"))
AWKWARD = [
    b"",
    b"no header\n",
    b"From me\nFrom you\n>From them\n",
    b"a: b\r\n\r\n\0 \r bare \n\n",
    b"a: \xff\xfe\r\n\r\n\x80" + b"long" * 2_000,
]


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    """A vault with what is worth exporting."""
    with Vault(tmp_path / "acme.vault", keys=None) as vault:
        vault.put_many(entries(3))
        fork = mail(1).replace(b"Subject", b"Received: by x\r\nSubject")
        vault.put(entry(fork, key="fork"))
        vault.put(entry(mail(1), key="again"))
        vault.put(
            journaled(
                mail(7, extra=b"Bcc: hidden@example.com\r\n"),
                [to("bob@example.com"), to("hidden@example.com", Role.BCC)],
            )
        )
        vault.put_many([entry(raw, key=f"odd{n}") for n, raw in enumerate(AWKWARD)])
        yield vault


def seen(vault: Vault, user: UserId = BOB) -> list[bytes]:
    """Return everything that the user can read, each different fork once."""
    return sorted(
        content
        for each in vault.view(user).messages()
        for content in {each.content(copy) for copy in range(each.copies)}
    )


def read(source: Source) -> list[bytes]:
    """Return what a source of files hands over."""
    with source:
        return sorted(
            item.raw
            for folder in source.folders()
            for page in source.scan(folder)
            for item in source.fetch(page.refs)
            if isinstance(item, SourceMessage)
        )


SOURCES = {Form.EML: EmlFolder, Form.MAILDIR: Maildir, Form.MBOX: Mbox, Form.BAG: EmlFolder}


@pytest.mark.parametrize("form", list(Form))
def test_what_is_exported_is_what_the_user_sees(vault: Vault, tmp_path: Path, form: Form) -> None:
    """Every form, read by our own source of it, gives each fork back to the byte."""
    target = tmp_path / "out"

    done = export(vault.view(BOB), target, form)

    assert (done.written, done.present, done.ok) == (len(seen(vault)), 0, True)
    data = target / "data" if form is Form.BAG else target
    if form is not Form.MBOX:
        assert read(SOURCES[form](data)) == seen(vault)
    assert not any(b"hidden" in path.read_bytes() for path in tmp_path.glob("out/**/*.eml"))


@pytest.mark.parametrize("form", [Form.EML, Form.MAILDIR, Form.MBOX])
def test_again_it_writes_nothing(vault: Vault, tmp_path: Path, form: Form) -> None:
    """An export goes on where it was, and adds what is new."""
    first = export(vault.view(BOB), tmp_path / "out", form)

    again = export(vault.view(BOB), tmp_path / "out", form)
    vault.put(entry(mail(50), key="50"))
    more = export(vault.view(BOB), tmp_path / "out", form)

    assert (again.written, again.present) == (0, first.written)
    assert (more.written, more.present) == (1, first.written)


@pytest.mark.parametrize("form", [Form.EML, Form.MAILDIR, Form.MBOX])
def test_a_fork_that_takes_the_place_of_another_is_exported(tmp_path: Path, form: Form) -> None:
    """A name that is taken does not stand for the bytes; and nothing is written twice."""
    first = entry(mail(1), key="1")
    fork = evolve(entry(mail(1, extra=b"X-Fork: 2\r\n"), key="2"), fork_key=first.fork_key)
    out = tmp_path / "out"
    with Vault(tmp_path / "acme.vault", keys=None) as vault:
        vault.put(first)
        export(vault.view(ALICE), out, form)
        vault.put(fork)
        if form is not Form.EML:
            export(vault.view(ALICE), out, form)
        vault.keeper("admin", "request 4").erase(first.id)
        done = [export(vault.view(ALICE), out, form) for _ in range(2)]

    assert [each.written for each in done] == ([1, 0] if form is Form.EML else [0, 0])
    assert read(SOURCES[form](out)) == sorted([first.raw, fork.raw])


def test_a_file_that_was_changed_is_not_what_was_exported(vault: Vault, tmp_path: Path) -> None:
    """The message is written beside it, and the file is left alone."""
    export(vault.view(BOB), tmp_path / "out", text="message 2")
    (file,) = (tmp_path / "out").iterdir()
    changed = file.read_bytes().swapcase()
    file.write_bytes(changed)

    done = export(vault.view(BOB), tmp_path / "out", text="message 2")

    assert (done.written, done.present) == (1, 0)
    assert read(EmlFolder(tmp_path / "out")) == sorted([mail(2), changed])


@pytest.mark.parametrize("form", [Form.EML, Form.BAG])
def test_what_was_not_synced_is_not_there(
    vault: Vault, tmp_path: Path, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder whose sync failed holds no file that the next export would believe."""

    def fails(folder: Path) -> None:
        if list(folder.glob("*.eml")):
            raise OSError(errno.EIO, "injected")

    with monkeypatch.context() as patch:
        patch.setattr("mailarchive._durable.sync_folder", fails)
        with pytest.raises(StateError, match="OSError"):
            export(vault.view(BOB), tmp_path / "out", form, text="message 2")

    assert not list(tmp_path.glob("out/**/*.eml"))
    assert export(vault.view(BOB), tmp_path / "out", form, text="message 2").written == 1


@pytest.mark.parametrize("form", [Form.EML, Form.BAG])
def test_an_export_goes_on_where_one_was_killed(
    vault: Vault, tmp_path: Path, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed export was writing goes away; it made a bag impossible to finish."""
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    folder = tmp_path / "out" / ("data" if form is Form.BAG else "")
    folder.mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: killed.pid)
        patch.setattr("pathlib.Path.replace", _dies)
        patch.setattr("pathlib.Path.unlink", lambda *_, **__: None)  # who is killed clears nothing
        with pytest.raises(KeyboardInterrupt):
            _durable.write_file(folder / "20260201-000000-key.eml", mail(2))
    (left,) = folder.iterdir()
    assert left.read_bytes() == mail(2)

    assert export(vault.view(BOB), tmp_path / "out", form, text="message 1").written == 2

    assert not left.exists()


def _dies(_from: Path, _to: Path) -> None:
    raise KeyboardInterrupt


def test_python_reads_the_mailboxes(vault: Vault, tmp_path: Path) -> None:
    """The standard library finds as many messages in a Maildir and an mbox."""
    count = export(vault.view(BOB), tmp_path / "maildir", "maildir").written
    export(vault.view(BOB), tmp_path / "mbox", "mbox")

    assert len(mailbox.Maildir(tmp_path / "maildir")) == count
    with contextlib.closing(mailbox.mbox(tmp_path / "mbox")) as box:
        assert len(box) == count


def test_only_what_the_filters_choose(vault: Vault, tmp_path: Path) -> None:
    """The filters of a view are those of an export."""
    done = export(vault.view(BOB), tmp_path / "out", text="message 2")

    assert (done.messages, done.written) == (1, 1)
    assert read(EmlFolder(tmp_path / "out")) == [mail(2)]


@pytest.mark.parametrize("form", list(Form))
def test_what_is_erased_meanwhile_is_passed_over(
    vault: Vault, tmp_path: Path, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that was listed and then erased is no error, and neither is one of two forks."""
    listed = list(vault.view(BOB).messages())
    monkeypatch.setattr(View, "messages", lambda *_, **__: iter(listed))
    gone = [it.id for it in vault.auditor("x", "y").entries() if it.raw() in {mail(1), mail(2)}]
    vault.keeper("x", "y").erase(*gone)

    done = export(vault.view(BOB), tmp_path / "out", form)

    assert (done.messages, done.ok) == (len(listed) - 1, True)
    fork = next(it for it in listed if it.copies > 1)
    assert done.written == len(listed) - 1
    assert vault.view(BOB).get(fork.key) is not None


def test_an_error_that_is_no_erasure_is_told(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is still there and cannot be read now is not passed over."""

    def content(*_: object) -> bytes:
        raise SinkUnavailable("another program holds the index")

    monkeypatch.setattr(View, "_content", content)
    with pytest.raises(SinkUnavailable):
        export(vault.view(BOB), tmp_path / "out")


def test_nobody_exports_what_is_not_theirs(vault: Vault, tmp_path: Path) -> None:
    """A user who owns nothing exports nothing."""
    assert export(vault.view(CAROL), tmp_path / "out") == Exported()
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_withheld_is_counted_and_not_written(vault: Vault, tmp_path: Path) -> None:
    """An opaque original that may name others, and a report without one, leave no file."""
    opaque = b"\xd0\xcf\x11\xe0 hidden@example.com"
    people = [to("carol@example.com"), to("hidden@example.com", Role.BCC)]
    own = {"alice": ("alice@example.com",), "carol": ("carol@example.com",)}
    vault.put(journaled(opaque, people, owners=own, key="opaque"))
    report = Provenance(Fidelity.WIRE, is_report=True)
    vault.put(entry(b"Subject: report\r\n\r\n", owners=own, key="none", provenance=report))

    done = export(vault.view(CAROL), tmp_path / "out")

    assert (done.messages, done.withheld, done.empty, done.written) == (2, 1, 1, 0)
    assert done.ok


# -- bags ---------------------------------------------------------------------------------


def test_a_bag_is_valid_and_proves_what_is_in_it(vault: Vault, tmp_path: Path) -> None:
    """Another program takes the bag for whole; each proof fits its file and the checkpoint."""
    seal = vault.seal(FileSigner(tmp_path / "signer"))
    vault.put(entry(mail(60), key="60"))

    done = export(vault.view(BOB), tmp_path / "bag", Form.BAG, clock=lambda: DAY)

    bag = bagit.Bag(str(tmp_path / "bag"))
    bag.validate()
    assert bag.info["Bagging-Date"] == "2026-03-01"
    assert bag.info["External-Identifier"] == vault.view(BOB).vault
    proofs = sorted((tmp_path / "bag" / "proofs").iterdir())
    assert len(proofs) == done.written - done.unproven
    assert done.unproven == 2  # one not sealed, and one without its Bcc
    for path in proofs:
        message = (tmp_path / "bag" / "data" / f"{path.stem}.eml").read_bytes()
        InclusionProof.parse(path.read_text()).check(message, checkpoint=seal.checkpoint)


DAY = datetime(2026, 3, 1, tzinfo=UTC)


def test_what_is_erased_before_it_is_proven_has_no_other_proof(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read already is written; no proof of the fork that has its number now is."""
    vault.seal(FileSigner(tmp_path / "signer"))
    gone = [it.id for it in vault.auditor("x", "y").entries() if it.raw() in {mail(1), mail(2)}]
    write = Bag.write

    def erasing(self: Bag, found: Sequence[Found]) -> int:
        vault.keeper("x", "y").erase(*gone)
        return write(self, found)

    monkeypatch.setattr(Bag, "write", erasing)
    before = len(seen(vault))
    done = export(vault.view(BOB), tmp_path / "bag", Form.BAG)

    proofs = list((tmp_path / "bag" / "proofs").iterdir())
    assert len(proofs) == done.written - done.unproven
    assert (done.written, done.ok, len(proofs) > 0) == (before, True, True)
    for proof in proofs:
        content = (tmp_path / "bag" / "data" / f"{proof.stem}.eml").read_bytes()
        InclusionProof.parse(proof.read_text()).check(content)


@pytest.mark.parametrize("error", [SinkUnavailable, SinkError])
def test_an_error_of_a_proof_that_is_no_erasure_is_told(
    vault: Vault,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[SinkError],
) -> None:
    """A log that cannot be read is no reason to give a bag without proofs."""

    def proof(*_: object) -> InclusionProof:
        raise error("the log cannot be read")

    monkeypatch.setattr(View, "_proof", proof)
    with pytest.raises(error):
        export(vault.view(BOB), tmp_path / "bag", Form.BAG)


def test_a_changed_bag_is_found_out(vault: Vault, tmp_path: Path) -> None:
    """The bag's own manifests tell what was altered."""
    export(vault.view(BOB), tmp_path / "bag", Form.BAG)
    file = next((tmp_path / "bag" / "data").glob("*.eml"))
    file.write_bytes(b"something else")

    with pytest.raises(bagit.BagValidationError):
        bagit.Bag(str(tmp_path / "bag")).validate()


def test_a_bag_is_never_added_to(vault: Vault, tmp_path: Path) -> None:
    """A second export into it, and one among the files of another, are refused."""
    export(vault.view(BOB), tmp_path / "bag", Form.BAG)
    with pytest.raises(ConfigurationError):
        export(vault.view(BOB), tmp_path / "bag", Form.BAG)

    (tmp_path / "bag" / "bagit.txt").unlink()
    with pytest.raises(StateError):
        export(vault.view(BOB), tmp_path / "bag", Form.BAG, text="message 2")
    assert not (tmp_path / "bag" / "bagit.txt").exists()
    export(vault.view(BOB), tmp_path / "bag", Form.BAG)
    bagit.Bag(str(tmp_path / "bag")).validate()


@pytest.mark.parametrize("form", list(Form))
def test_a_place_that_cannot_be_written_is_our_error(
    vault: Vault, tmp_path: Path, form: Form
) -> None:
    """A file where a folder must be, or a folder where a file must be, is said so."""
    (tmp_path / "file").write_text("x")
    target = tmp_path if form is Form.MBOX else tmp_path / "file" / "out"

    with pytest.raises(ConfigurationError):
        export(vault.view(BOB), target, form)


@pytest.mark.parametrize("begins", ["not an mbox\n", "From somebody else\n\n"])
def test_a_file_of_another_kind_is_no_mbox_of_ours(
    vault: Vault, tmp_path: Path, begins: str
) -> None:
    """It is told before anything is written, and stays as it is."""
    (tmp_path / "file").write_text(begins)

    with pytest.raises(ConfigurationError):
        export(vault.view(BOB), tmp_path / "file", Form.MBOX)
    assert (tmp_path / "file").read_text() == begins


@pytest.mark.parametrize("form", list(Form))
def test_nothing_is_exported_into_a_vault(vault: Vault, tmp_path: Path, form: Form) -> None:
    """Neither by its name, nor by a link or `..`, nor onto it; past it is no matter."""
    there = tmp_path / "acme.vault"
    (tmp_path / "link").symlink_to(there / "volumes", target_is_directory=True)
    (tmp_path / "else" / "where").mkdir(parents=True)
    (there / "moved").symlink_to(tmp_path / "else" / "where", target_is_directory=True)
    before = sorted(there.rglob("*"))

    for place in (
        there,
        there / "out",
        there / "volumes" / "0001" / "packs",
        tmp_path / "link" / "out",
        tmp_path / "else" / ".." / "acme.vault" / "out",
        there / "moved" / "out",
    ):
        with pytest.raises(ConfigurationError, match="into a vault"):
            export(vault.view(BOB), place, form)
    assert sorted(there.rglob("*")) == before
    assert export(vault.view(BOB), there / ".." / "out", form).ok


def test_a_folder_is_no_vault_for_the_name_of_a_file(vault: Vault, tmp_path: Path) -> None:
    """Another program may have a `vault.json`, or keep its own packs."""
    (tmp_path / "else" / "packs").mkdir(parents=True)
    (tmp_path / "else" / "packs" / "textures.tar").write_bytes(b"")
    (tmp_path / "else" / "vault.json").write_text("{}")

    assert export(vault.view(BOB), tmp_path / "else" / "out").ok


@pytest.mark.parametrize("within", ["", "out", "packs", "packs/out"])
def test_nothing_is_exported_into_a_volume_on_another_disk(
    vault: Vault, tmp_path: Path, within: str
) -> None:
    """It is part of a vault also by the path that leads through no vault."""
    disk = tmp_path / "disk2" / "old mail"
    shutil.copytree(tmp_path / "acme.vault" / "volumes" / "0001", disk)

    with pytest.raises(ConfigurationError, match="into a vault"):
        export(vault.view(BOB), disk / within)
    assert export(vault.view(BOB), disk.parent / "out").ok
