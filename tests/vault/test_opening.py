"""Opening: what is a vault, what is none, and what must not be touched."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.vaults import entries, entry, mail

from mailarchive import Receipt, UserId
from mailarchive.errors import (
    ConfigurationError,
    MailArchiveError,
    SinkCorrupt,
    SinkError,
    SinkFull,
    SinkNotWritable,
    Unsupported,
)
from mailarchive.vault import Vault, _mounts, _place, _schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.vaults import OpenVault

BOB = UserId("bob")


def _refused(folder: Path, kind: type[MailArchiveError], **settings: object) -> MailArchiveError:
    with pytest.raises(kind) as caught, Vault(folder, keys=None, **settings):  # type: ignore[arg-type]  # passed through
        pass
    assert caught.value.suggestions
    assert str(folder) not in str(caught.value)
    return caught.value


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    """A vault is made where there is none, with the folders above it, for its owner alone."""
    folder = tmp_path / "a" / "b" / "vault"
    with Vault(folder, keys=None):
        assert folder.stat().st_mode & 0o777 == 0o700

    header = json.loads((folder / "vault.json").read_bytes())
    assert (header["format"], header["encryption"]) == (1, "none")


def test_a_missing_folder_is_refused_without_create(tmp_path: Path) -> None:
    """Whoever only wants to read does not make a vault by a slip of the pen."""
    _refused(tmp_path / "x", SinkError, create=False)
    _refused(tmp_path / "x", SinkError, read_only=True)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    """A folder that holds other things is left alone."""
    (tmp_path / "letter.txt").write_text("mine")

    _refused(tmp_path, SinkError)

    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_file_is_no_vault(tmp_path: Path) -> None:
    """A file where the vault, or a folder above it, should be is an error of ours."""
    (tmp_path / "file").write_text("x")

    _refused(tmp_path / "file", SinkError)
    _refused(tmp_path / "file" / "vault", SinkError)


def test_what_a_run_puts_beside_a_vault_is_no_obstacle(tmp_path: Path) -> None:
    """Checkpoints and the quarantine may be there before the vault is."""
    for name in ("state.db", "state.db-wal", "run.lock", ".vault.json.x"):
        (tmp_path / name).write_text("")
    (tmp_path / "quarantine").mkdir()

    with Vault(tmp_path, keys=None) as vault:
        vault.put_many(entries(1))


def test_a_vault_without_its_header_is_not_made_anew(folder: Path, open_vault: OpenVault) -> None:
    """Packs without vault.json are a damaged vault, and never taken for an empty folder."""
    with Vault(folder, keys=None):
        (folder / "vault.json").unlink()

    _refused(folder, SinkCorrupt)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"format": 2}, Unsupported),
        ({"requires": ["encryption"]}, Unsupported),
        ({"encryption": "aes"}, Unsupported),
        ({"compression": "xz"}, Unsupported),
        ({"id": "../../x"}, SinkCorrupt),
        ({"id": 7}, SinkCorrupt),
        ({"format": None}, Unsupported),
        (None, SinkCorrupt),
        ([], SinkCorrupt),
    ],
)
def test_a_header_that_is_not_known_is_refused(
    folder: Path, change: object, kind: type[MailArchiveError]
) -> None:
    """A later format, an unknown suite or a damaged header is refused, and nothing touched."""
    with Vault(folder, keys=None):
        pass
    header = json.loads((folder / "vault.json").read_bytes())
    changed = {**header, **change} if isinstance(change, dict) else change
    (folder / "vault.json").write_text("{" if change is None else json.dumps(changed))

    _refused(folder, kind)


def test_a_vault_that_a_later_release_took_over_is_refused(folder: Path) -> None:
    """A second header says that a later release has written what this one cannot know."""
    with Vault(folder, keys=None):
        (folder / "vault.2.json").write_text("{}")

    _refused(folder, Unsupported)
    _refused(folder, Unsupported, read_only=True)


MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:40 / /mnt/with\\040space rw - nfs4 server:/x rw
31 22 0:41 / /srv/share rw shared:3 - cifs //server/x rw
32 31 8:1 / /srv/share/disk rw - xfs /dev/sdb rw
33 22 0:50 / /mnt/twice rw - ext4 /dev/sdc rw
34 22 0:51 / /mnt/twice rw - fuse.sshfs me@host: rw
35 22 0:52 / /mnt/dav rw - fuse https://host/dav rw
36 22 0:53 / /mnt/own rw - fuse own rw
37 22 0:54 / /mnt/ceph rw - fuse.ceph-fuse ceph-fuse rw
garbage
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/x", "ext4"),
        ("/mnt/with space/vault", "nfs4"),
        ("/srv/share", "cifs"),
        ("/srv/shared", "ext4"),
        ("/srv/share/disk/v", "xfs"),
        ("/mnt/twice/v", "fuse.sshfs"),
        ("/mnt/dav/v", "davfs"),
        ("/mnt/own/v", "fuse"),
    ],
)
def test_the_mount_table_tells_the_file_system(path: str, kind: str) -> None:
    """The longest mount point above a path, and the latest of two, is the one that counts."""
    assert _mounts.file_system(path, MOUNTS) == kind


@pytest.mark.parametrize("path", ["/srv/share", "/mnt/twice", "/mnt/dav", "/mnt/ceph"])
def test_whatever_other_machines_write_to_is_refused(path: str) -> None:
    """By the name that the table of mounts has for it."""
    with pytest.raises(Unsupported, match="network file system"):
        _mounts.refuse_unfit(Path(path), MOUNTS)
    _mounts.refuse_unfit(Path("/mnt/own"), MOUNTS)


def test_a_network_file_system_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system of other machines locks and syncs are not what the vault relies on."""
    table = folder.parent / "mounts"
    table.write_text(f"1 0 0:1 / {folder.parent} rw - nfs4 server:/x rw\n")
    monkeypatch.setattr(_mounts, "MOUNTS", str(table))

    _refused(folder, Unsupported)
    assert not folder.exists()


@pytest.mark.parametrize(
    "settings", [{"compression_level": 99}, {"pack_size": 0}, {"volume_size": 0}]
)
def test_a_setting_that_cannot_be_is_refused(folder: Path, settings: dict[str, int]) -> None:
    """A setting out of bounds is said at once, before anything is made."""
    _refused(folder, ConfigurationError, **settings)


# -- places that cannot be written --------------------------------------------------------


def test_a_vault_that_may_not_be_written_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder without the right to write is told at opening, and can still be read."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(2))
    monkeypatch.setattr(_place, "_writable", lambda handle: False)

    _refused(folder, SinkNotWritable)
    with Vault(folder, read_only=True) as vault:
        assert vault.view(BOB).count() == 2


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM])
@pytest.mark.parametrize("step", ["make folder", "create file"])
def test_a_place_where_no_vault_can_be_made_says_so(folder: Path, step: str, number: int) -> None:
    """Where the system refuses a folder or a file, the error is the one for that."""

    def fuse(name: str) -> None:
        if name == step:
            raise OSError(number, os.strerror(number))

    _refused(folder, SinkNotWritable, fuse=fuse)


def test_a_full_disk_says_so_before_half_a_batch_is_written(
    open_vault: OpenVault, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a batch has no room, nothing of it is written, and there is no heap of torn packs."""
    vault = open_vault()
    vault.put_many(entries(2))
    before = {pack: pack.stat().st_size for pack in folder.rglob("*.tar")}
    monkeypatch.setattr("mailarchive.vault._disk.free_space", lambda handle: 1000)

    for _ in range(3):
        with pytest.raises(SinkFull):
            vault.put_many(entries(2, start=5))

    assert {pack: pack.stat().st_size for pack in folder.rglob("*.tar")} == before
    monkeypatch.undo()
    vault.put_many(entries(7))
    assert vault.view(BOB).count() == 7


# -- links and strange files --------------------------------------------------------------


@pytest.mark.parametrize("name", ["volumes", "volumes/0001", "volumes/0001/packs"])
def test_a_link_inside_leads_nowhere(folder: Path, tmp_path: Path, name: str) -> None:
    """A symbolic link in the place of a folder of the vault is refused, for reading too."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(1))
    elsewhere = tmp_path / "elsewhere"
    (folder / name).rename(elsewhere)
    (folder / name).symlink_to(elsewhere)

    _refused(folder, SinkCorrupt)
    _refused(folder, SinkCorrupt, read_only=True)


@pytest.mark.parametrize("name", ["vault.json", "volumes/0001/index.db"])
def test_a_linked_file_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    """Neither the header nor the index is read or written through a symbolic link."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(1))
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")

    _refused(folder, SinkCorrupt)


def test_the_vault_itself_may_be_linked_to(folder: Path, tmp_path: Path) -> None:
    """A vault may stand on another disk, behind one link."""
    (tmp_path / "real").mkdir()
    folder.symlink_to(tmp_path / "real")

    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(1))
    assert (tmp_path / "real" / "vault.json").exists()


def _link(pack: Path) -> None:
    pack.rename(pack.with_suffix(".moved"))
    pack.symlink_to(pack.with_suffix(".moved"))


def _pipe(pack: Path) -> None:
    pack.unlink()
    os.mkfifo(pack)


@pytest.mark.parametrize("replace", [_link, _pipe])
def test_only_a_file_is_a_pack(
    open_vault: OpenVault, folder: Path, replace: Callable[[Path], None]
) -> None:
    """A link or a pipe in the place of a pack is no pack: named, not read, not waited for."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(1))
    (pack,) = folder.rglob("*.tar")
    replace(pack)
    vault = open_vault()
    (seen,) = vault.view(BOB).messages()

    with pytest.raises(SinkCorrupt):
        seen.content()
    assert [finding.kind for finding in vault.verify().findings][:1] == ["missing-pack"]
    with pytest.raises(SinkCorrupt, match="is missing"):
        vault.rebuild()
    assert not vault.verify().ok, "the refusal has not made anybody forget it"
    vault.rebuild(without_missing=True)
    assert (vault.view(BOB).count(), vault.verify().ok) == (0, True)


@pytest.mark.parametrize("way", ["missing", "cut"])
def test_no_receipt_is_given_for_bytes_that_are_gone(
    open_vault: OpenVault, folder: Path, way: str
) -> None:
    """What is put again is present only where it is: a run that repeats must not be told so."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(3))
    (pack,) = folder.rglob("*.tar")
    if way == "missing":
        pack.unlink()
    else:
        os.truncate(pack, 2000)
    vault = open_vault()

    with pytest.raises(SinkCorrupt, match="is missing, or ends before"):
        vault.put_many(entries(3))
    with pytest.raises(SinkCorrupt, match="is missing, or ends before"):
        vault.rebuild()
    (new,) = vault.put_many(entries(1, start=7))
    assert isinstance(new, Receipt)


def _unable_to_write(folder: Path, code: str) -> str:
    """Run code as somebody who may read the folder and not write to it, root or not."""
    places = [folder, *folder.rglob("*")]
    for place in places:
        place.chmod(0o555 if place.is_dir() else 0o444)
    drop = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
    words = [*(drop if os.getuid() == 0 else ()), sys.executable, "-c", code]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout
    finally:
        for place in places:
            place.chmod(0o700 if place.is_dir() else 0o600)


def test_a_vault_that_nobody_may_write_to_can_be_verified(folder: Path) -> None:
    """A medium that cannot be written has no room for what SQLite keeps beside an index."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(3))
    (index,) = folder.rglob("index.db")
    before = sorted(path.name for path in index.parent.iterdir())
    code = (
        "import sys; from mailarchive import Vault\n"
        f"with Vault({str(folder)!r}, read_only=True) as vault:\n"
        "    print([vault.verify(level).ok for level in ('quick', 'content', 'log')])\n"
        "    print(vault.view('bob').count())\n"
    )
    done = _unable_to_write(folder, code)

    assert done == "[True, True, True]\n3\n"
    assert sorted(path.name for path in index.parent.iterdir()) == before


def test_other_files_among_the_packs_are_passed_over(open_vault: OpenVault, folder: Path) -> None:
    """What is not named like a pack is not opened as one."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(1))
    packs = folder / "volumes" / "0001" / "packs"
    for name in ("notes.txt", "x.tar", ".20260301T120000Z-1-0123456789ab.tar", "evil.tar.gz"):
        (packs / name).write_bytes(b"x" * 1000)
    vault = open_vault()
    vault.rebuild()

    assert vault.verify("content").ok


# -- the index ----------------------------------------------------------------------------


def _index(folder: Path) -> Path:
    return folder / "volumes" / "0001" / "index.db"


def _spoil(folder: Path) -> None:
    _index(folder).write_bytes(b"no database" * 1000)


def _other_vault(folder: Path) -> None:
    with Vault(folder.with_name("other"), keys=None) as other:
        other.put(entry(mail()))
    _index(folder).write_bytes(_index(folder.with_name("other")).read_bytes())


def _trigger(folder: Path) -> None:
    with closing(sqlite3.connect(_index(folder))) as index, index:
        index.execute("CREATE TRIGGER t AFTER INSERT ON entry BEGIN DELETE FROM owner; END")
    index.close()


def _one_more_table(folder: Path) -> None:
    with closing(sqlite3.connect(_index(folder))) as index, index:
        index.execute("CREATE TABLE more (x)")
    index.close()


@pytest.mark.parametrize("spoil", [_spoil, _other_vault, _trigger, _one_more_table])
def test_an_index_that_is_not_ours_is_refused(folder: Path, spoil: Callable[[Path], None]) -> None:
    """A damaged, foreign or rigged index is named, not used; the packs can still be read."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(3))
    spoil(folder)

    error = _refused(folder, SinkCorrupt)

    assert "index.db" in error.suggestions[0]
    with Vault(folder, read_only=True) as vault:
        assert vault.view(BOB).count() == 3
        assert {finding.kind for finding in vault.verify().findings} == {"index"}
    _index(folder).unlink()
    with Vault(folder) as vault:
        assert vault.view(BOB).count() == 3
        assert vault.verify().ok


def test_an_index_of_another_version_is_made_anew(folder: Path) -> None:
    """The index is derived: one of another release is thrown away and made again."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(3))
    with closing(sqlite3.connect(_index(folder))) as index, index:
        index.execute("CREATE TABLE more (x)")
        index.execute(f"PRAGMA user_version = {_schema.VERSION + 1}")
    index.close()

    with Vault(folder) as vault:
        assert vault.view(BOB).count() == 3
        assert vault.verify().ok


def test_reading_needs_no_index_and_no_right_to_write(folder: Path) -> None:
    """A vault on a medium that cannot be written is read and verified from its packs alone."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(3))
    _index(folder).unlink()
    before = sorted(folder.rglob("*"))

    with Vault(folder, read_only=True) as vault:
        assert [each.content() for each in vault.view(BOB).messages()] == [
            mail(n) for n in (2, 1, 0)
        ]
        assert vault.verify("content").ok
    assert sorted(folder.rglob("*")) == before


def test_reading_while_another_writes(open_vault: OpenVault) -> None:
    """Who reads sees what is committed, and makes no pack."""
    writer = open_vault()
    writer.put_many(entries(1))
    reader, other = open_vault(read_only=True), open_vault()

    writer.put_many(entries(3))

    assert reader.view(BOB).count() == other.view(BOB).count() == 3
    assert reader.verify("content").ok


def test_two_that_make_a_vault_at_once_make_one(folder: Path) -> None:
    """A vault gets one id, also where two processes find the folder empty."""
    with Vault(folder, keys=None) as one, Vault(folder, keys=None) as two:
        assert one.name == two.name


@pytest.mark.parametrize("name", ["volumes", "volumes/0001", "volumes/0001/packs"])
@pytest.mark.parametrize("read_only", [False, True])
def test_no_archive_is_begun_in_place_of_one_that_is_not_there(
    tmp_path: Path, name: str, read_only: bool
) -> None:
    """Where `vault.json` stands and the packs do not, their disk is not mounted: it is said."""
    folder = tmp_path / "vault"
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(2))
    away = (folder / name).rename(tmp_path / "away")

    _refused(folder, SinkCorrupt, read_only=read_only)

    assert not (folder / name).exists()
    away.rename(folder / name)
    with Vault(folder, read_only=read_only) as vault:
        assert vault.view(UserId("bob")).count() == 2


@pytest.mark.parametrize("name", ["volumes", "volumes/0001", "volumes/0001/packs"])
def test_a_vault_that_was_only_begun_is_made(tmp_path: Path, name: str) -> None:
    """A crash before `vault.json` left folders with nothing in them: they are the new vault's."""
    (tmp_path / "vault" / name).mkdir(parents=True)

    with Vault(tmp_path / "vault", keys=None) as vault:
        vault.put_many(entries(2))
        assert vault.verify("content").ok
