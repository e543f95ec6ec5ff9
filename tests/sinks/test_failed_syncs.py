"""A sync that failed is never believed when it is repeated: what it was for is written anew."""

from __future__ import annotations

import errno
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from attrs import define, evolve, field

from mailarchive import Receipt, Stored, _durable
from mailarchive.errors import SinkError
from mailarchive.sinks import _files_disk, _files_eml, _files_maildir
from mailarchive.sinks.files import EmlTree, MaildirTree, MboxFile
from mailarchive.testing.entries import entry, mail

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TREES = pytest.mark.parametrize("tree", [EmlTree, MaildirTree])
WHEN = datetime(2020, 2, 29, 12, tzinfo=UTC)
ONE, TWO = (evolve(entry(mail(n), key=str(n)), received_at=WHEN) for n in (1, 2))


@define
class Syncs:
    """Syncs of folders; those that `fails` is true of fail, and all are noted."""

    fails: Callable[[Path], bool] = lambda folder: False
    how: BaseException = field(factory=lambda: OSError(errno.EIO, "injected"))
    done: list[str] = field(factory=list)

    def __call__(self, folder: Path) -> None:
        """Stand in for `sync_folder`."""
        if self.fails(folder):
            raise self.how
        self.done.append(folder.name)


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> Syncs:
    """What becomes of the syncs of the folders of trees."""
    syncs = Syncs()
    for module in (_files_eml, _files_maildir, _durable):
        monkeypatch.setattr(module, "sync_folder", syncs)
    return syncs


def file_of(folder: Path) -> Path:
    """Return the file that the first entry is in."""
    (file,) = folder.rglob(f"{ONE.id.hex}*")
    return file


def holds_mail(folder: Path) -> bool:
    """Whether a folder has an entry's file in it."""
    return any(len(each.name) > len(ONE.id.hex) for each in folder.iterdir())


@TREES
@pytest.mark.parametrize("reopened", [False, True])
@pytest.mark.parametrize("how", [OSError(errno.EIO, "injected"), KeyboardInterrupt()])
def test_a_name_whose_sync_failed_is_made_anew(
    how: BaseException,
    tree: type[EmlTree | MaildirTree],
    tmp_path: Path,
    syncs: Syncs,
    *,
    reopened: bool,
) -> None:
    """By whoever puts next, whatever that is, and whoever failed or died: a new file."""
    syncs.fails, syncs.how = holds_mail, how
    with tree(tmp_path) as sink:
        with pytest.raises((SinkError, KeyboardInterrupt)):
            sink.put(ONE)
        left = file_of(tmp_path).stat()
        syncs.fails = lambda _: False
        if not reopened:
            sink.put(TWO)
    with tree(tmp_path) as sink:
        sink.put(TWO)
        renewed = file_of(tmp_path).stat()
        answer = sink.put(ONE)
        assert isinstance(answer, Receipt)

        assert (answer.outcome, sink.read(answer)) == (Stored.PRESENT, ONE.raw)
    assert renewed.st_ino != left.st_ino
    assert renewed.st_mtime == WHEN.timestamp()
    assert file_of(tmp_path).stat().st_ino == renewed.st_ino
    assert file_of(tmp_path).parent.name in syncs.done


@TREES
def test_what_is_in_doubt_stays_so_until_a_sync_succeeds(
    tree: type[EmlTree | MaildirTree], tmp_path: Path, syncs: Syncs
) -> None:
    """However often it fails, nothing is acknowledged meanwhile, and nothing is lost."""
    syncs.fails = holds_mail
    files = set()
    with tree(tmp_path) as sink:
        for _ in range(4):
            with pytest.raises(SinkError):
                sink.put(ONE)
            files.add(file_of(tmp_path).stat().st_ino)
            assert file_of(tmp_path).read_bytes() == ONE.raw

    assert len(files) > 1


@TREES
def test_what_is_in_doubt_and_gone_holds_nobody_up(
    tree: type[EmlTree | MaildirTree], tmp_path: Path, syncs: Syncs
) -> None:
    """A mail program deleted it, or power was lost."""
    syncs.fails = holds_mail
    with tree(tmp_path) as sink, pytest.raises(SinkError):
        sink.put(ONE)
    file_of(tmp_path).unlink()
    syncs.fails = lambda _: False
    with tree(tmp_path) as sink:
        answers = sink.put_many((TWO, ONE))

    assert [each.outcome for each in answers if isinstance(each, Receipt)] == [Stored.STORED] * 2


def test_a_folder_whose_name_was_not_synced_is_made_anew(tmp_path: Path, syncs: Syncs) -> None:
    """And nothing is in it before its name is durable."""
    with EmlTree(tmp_path) as sink:
        syncs.fails = lambda folder: folder == tmp_path
        with pytest.raises(SinkError):
            sink.put(ONE)
        assert not list(tmp_path.rglob("*.eml"))
        (tmp_path / ONE.id.hex[:2]).mkdir(exist_ok=True)  # as of one who died right then
        with pytest.raises(SinkError):
            sink.put(ONE)
        syncs.fails = lambda _: False
        answer = sink.put(ONE)

    assert isinstance(answer, Receipt)
    assert answer.outcome is Stored.STORED
    assert syncs.done[-2:] == [tmp_path.name, ONE.id.hex[:2]]


def test_what_another_put_into_an_mbox_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sync may have failed there; and the file stays what it was."""
    path = tmp_path / "mail.mbox"
    written: list[bytes] = []
    write_all = _files_disk.write_all

    def noted(handle: int, data: bytes) -> None:
        written.append(data)
        write_all(handle, data)

    with MboxFile(path) as sink:
        sink.put_many((ONE, TWO))
        before = path.read_bytes()
        monkeypatch.setattr(_files_disk, "write_all", noted)
        sink.put_many((ONE, TWO))
        assert not written  # it has synced them itself
    with MboxFile(path) as sink:
        sink.put_many((TWO, ONE))

    assert path.read_bytes() == before
    assert all(each in b"".join(written) for each in before.split(b"\n\n"))
