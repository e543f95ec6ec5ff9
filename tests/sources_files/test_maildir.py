"""A Maildir: each message once whatever becomes of its name, and nothing moved."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.file_sources import lesser_user, read, trace

from mailarchive import FolderRole, SourceMessage, Unavailable
from mailarchive.errors import AccessDenied, MailboxNotFound
from mailarchive.sources import _files_disk, _files_maildir
from mailarchive.sources.files import Maildir

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

    from mailarchive import MessageRef


def make(place: Path) -> Path:
    """Make an empty Maildir."""
    for part in ("cur", "new", "tmp"):
        (place / part).mkdir(parents=True)
    return place


def snapshot(place: Path) -> dict[str, object]:
    """Return every name below a folder with its bytes and times."""
    return {
        str(p.relative_to(place)): trace(p) if p.is_file() else p.stat().st_mtime_ns
        for p in place.rglob("*")
    }


def test_cur_and_new_are_read_and_stay(tmp_path: Path) -> None:
    """Messages of both parts come with their flags, tmp does not, and nothing is touched."""
    box = make(tmp_path)
    (box / "cur" / "1.a:2,FRS").write_bytes(b"a\n")
    (box / "new" / "2.b").write_bytes(b"b\r\n")
    (box / "tmp" / "3.c").write_bytes(b"half a mess")
    before = snapshot(box)

    items = read(Maildir(box)).items

    found = {i.ref.key: (i.raw, i.flags) for i in items if isinstance(i, SourceMessage)}
    flags = frozenset({"\\Flagged", "\\Answered", "\\Seen"})
    assert {"1.a": (b"a\n", flags), "2.b": (b"b\r\n", frozenset())} == found
    assert before == snapshot(box)


@pytest.mark.parametrize(
    ("info", "flags"),
    [
        ("", set()),
        (":2,", set()),
        (":2,DFPRST", {"\\Draft", "\\Flagged", "$Forwarded", "\\Answered", "\\Seen", "\\Deleted"}),
        (":2,Sab", {"\\Seen"}),
        (":1,S", set()),
        (":", set()),
        (",S=3:2,S", {"\\Seen"}),
    ],
)
def test_flags_are_the_letters_behind_the_name(tmp_path: Path, info: str, flags: set[str]) -> None:
    """Each letter of the standard is its IMAP flag, and any other is left."""
    (make(tmp_path) / "cur" / f"1.a{info}").write_bytes(b"")

    (item,) = read(Maildir(tmp_path)).items

    assert isinstance(item, SourceMessage)
    assert flags == item.flags


@given(
    st.dictionaries(
        st.text("abc%é\udcff \n=,;", min_size=1, max_size=8).filter(
            lambda s: s not in {".", ".."}
        ),
        st.binary(max_size=200),
        max_size=8,
    )
)
def test_bytes_and_names_come_back_as_they_are(
    tmp_path_factory: pytest.TempPathFactory, mails: dict[str, bytes]
) -> None:
    """Any unique name, and any bytes, are a message."""
    box = make(tmp_path_factory.mktemp("maildir"))
    for name, raw in mails.items():
        (box / "cur" / f"{name}:2,S").write_bytes(b"X: " + raw)

    assert sorted(b"X: " + raw for raw in mails.values()) == sorted(read(Maildir(box)).raws)


def test_new_flags_make_no_new_message(tmp_path: Path) -> None:
    """A message that is marked, or moved from new to cur, is not listed again."""
    box = make(tmp_path)
    (box / "new" / "1.a").write_bytes(b"a")
    first = read(Maildir(box))
    (box / "new" / "1.a").rename(box / "cur" / "1.a:2,S")
    (box / "cur" / "2.b:2,").write_bytes(b"b")

    assert read(Maildir(box), first).raws == [b"b"]


def test_a_message_with_an_older_date_and_name_is_found(tmp_path: Path) -> None:
    """What is moved in later is listed, whatever its name and its times say."""
    box = make(tmp_path / "box")
    (box / "cur" / "900.a:2,").write_bytes(b"a")
    first = read(Maildir(box))
    (tmp_path / "100.b").write_bytes(b"b")
    os.utime(tmp_path / "100.b", (1, 1))
    (tmp_path / "100.b").rename(box / "cur" / "100.b:2,S")

    assert read(Maildir(box), first).raws == [b"b"]


def test_a_token_forgets_what_is_gone(tmp_path: Path) -> None:
    """However many messages come and go, a token names those that are there."""
    box = make(tmp_path)
    reading = None
    for number in range(5):
        path = box / "new" / f"{number}.a"
        path.write_bytes(b"a")
        reading = read(Maildir(box), reading)
        path.unlink()

        assert len(reading.tokens["."]) == len("listed/1 ") + 16


def test_a_renamed_message_is_found_again(tmp_path: Path) -> None:
    """Flags set between listing and reading neither lose a message nor its new flags."""
    box = make(tmp_path)
    for name in ("1.a", "2.b"):
        (box / "new" / name).write_bytes(name.encode())
    source = Maildir(box)
    with source:
        (folder,) = source.folders()
        (page,) = source.scan(folder)
        (box / "new" / "1.a").rename(box / "cur" / "1.a:2,F")
        (box / "new" / "2.b").unlink()
        items = list(source.fetch(page.refs))

    assert [(b"1.a", frozenset({"\\Flagged"}))] == [
        (i.raw, i.flags) for i in items if isinstance(i, SourceMessage)
    ]


def test_a_message_is_found_without_a_listing(tmp_path: Path) -> None:
    """A ref of an earlier run, as on a retry list, is enough to read the message."""
    box = make(tmp_path)
    (box / "new" / "1.a").write_bytes(b"a")
    (ref,) = read(Maildir(box)).pages[0].refs
    (box / "new" / "1.a").rename(box / "cur" / "1.a:2,S")

    source = Maildir(box)
    with source:
        (item,) = source.fetch([ref])

    assert isinstance(item, SourceMessage)
    assert item.raw == b"a"


def test_many_missing_messages_cost_one_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of deleted messages is settled by one look at the folder."""
    box = make(tmp_path)
    for number in range(50):
        (box / "cur" / f"{number}.a:2,").write_bytes(b"")
    source = Maildir(box)
    with source:
        (folder,) = source.folders()
        (page,) = source.scan(folder)
        for path in (box / "cur").iterdir():
            path.unlink()
        looked: list[object] = []
        real = os.scandir

        def scandir(path: str) -> object:
            looked.append(path)
            return real(path)

        monkeypatch.setattr(os, "scandir", scandir)
        assert list(source.fetch(page.refs)) == []

    assert len(looked) == 2  # cur and new


def test_a_copy_in_new_and_cur_is_one_message(tmp_path: Path) -> None:
    """The same unique name in both parts is one message: that in cur."""
    box = make(tmp_path)
    (box / "new" / "1.a").write_bytes(b"a")
    (box / "cur" / "1.a:2,S").write_bytes(b"a")

    (item,) = read(Maildir(box)).items

    assert isinstance(item, SourceMessage)
    assert item.flags == {"\\Seen"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cur/3.b:1", "cur/3.b:2"),
        ("cur/2.a:2,", "cur/2.a:2,S"),
        ("new/1.a", "cur/1.a:2,S"),
        ("cur/:1", "cur/:2"),
    ],
)
def test_two_messages_of_one_name_are_two(tmp_path: Path, one: str, other: str) -> None:
    """Files whose names differ behind the colon alone are one only if their bytes are."""
    box = make(tmp_path)
    (box / one).write_bytes(b"one")
    (box / other).write_bytes(b"one")

    assert read(Maildir(box)).raws == [b"one"]

    (box / other).write_bytes(b"other")
    first = read(Maildir(box))
    assert sorted(first.raws) == [b"one", b"other"]
    (box / other).rename(box / "cur" / (other.partition("/")[2].partition(":")[0] + ":2,FS"))
    assert read(Maildir(box), first).items == []


def test_a_message_that_comes_under_a_name_that_was_archived_is_listed(tmp_path: Path) -> None:
    """Whichever of two of one name was there first, the other one is not taken for it."""
    for raws in ([b"a", b"b"], [b"b", b"a"]):
        box = make(tmp_path / raws[0].decode())
        (box / "cur" / "1.x:2,").write_bytes(raws[0])
        first = read(Maildir(box))
        (box / "cur" / "1.x:2,S").write_bytes(raws[1])

        assert raws[1] in read(Maildir(box), first).raws


@pytest.mark.parametrize("raws", [(b"a", b"b"), (b"b", b"a")])
def test_one_of_two_of_one_name_is_read_as_what_was_listed(
    tmp_path: Path, raws: tuple[bytes, bytes]
) -> None:
    """Where the files changed places between listing and reading each is found again.

    Also where the first to be read is the one in whose place there is another.
    """
    box = make(tmp_path)
    (box / "cur" / "1.x:2,").write_bytes(raws[0])
    (box / "cur" / "1.x:2,S").write_bytes(raws[1])
    source = Maildir(box)
    with source:
        (folder,) = source.folders()
        (page,) = source.scan(folder)
        listed = {ref.key: i.raw for ref in page.refs for i in raws_of(source, ref)}
        (box / "cur" / "1.x:2,").rename(box / "cur" / "1.x:2,F")
        (box / "cur" / "1.x:2,S").rename(box / "cur" / "1.x:2,")

        assert listed == {ref.key: i.raw for ref in page.refs for i in raws_of(source, ref)}
    assert len(listed) == 2


@pytest.mark.parametrize("gone", [["1.x:2,S"], ["1.x:2,", "1.x:2,S"]])
def test_a_message_that_is_renamed_while_it_is_listed_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: list[str]
) -> None:
    """A listing may see the old name beside the new one, and even neither is there then."""
    box = make(tmp_path)
    for name in ("1.x:2,", "1.x:2,S"):
        (box / "cur" / name).write_bytes(b"a")
    real, left = _files_disk.content_of, list(gone)

    def content_of(path: Path) -> str:
        while left:
            (box / "cur" / left.pop()).rename(box / "cur" / "1.x:2,F")
        return real(path)

    monkeypatch.setattr(_files_maildir, "content_of", content_of)
    reading = read(Maildir(box))

    assert reading.raws == [b"a"]
    assert read(Maildir(box), reading).items == []


@pytest.mark.parametrize("times", [1, 2])
def test_a_message_that_is_renamed_while_it_is_read_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """New flags leave the bytes alone, though the system takes down a change of the file."""
    box = make(tmp_path)
    (box / "cur" / "1.x:2,").write_bytes(b"a")
    real, left = _files_disk.read_at, times

    def read_at(file: FileIO, start: int, length: int) -> bytes:
        nonlocal left
        raw = real(file, start, length)
        if left:
            left -= 1
            (name,) = (box / "cur").iterdir()
            # Another time too: the clock may not have gone on since the file was made.
            os.utime(name.rename(f"{name}S"), ns=(left, left))
        return raw

    monkeypatch.setattr(_files_disk, "read_at", read_at)

    assert read(Maildir(box)).raws == [b"a"]


def test_a_message_that_is_written_to_each_time_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked for a few times, and then left to the next run."""
    box = make(tmp_path)
    message = box / "cur" / "1.x:2,"
    message.write_bytes(b"a")
    real, looks = _files_disk.read_at, 0

    def read_at(file: FileIO, start: int, length: int) -> bytes:
        nonlocal looks
        looks += 1
        raw = real(file, start, length)
        message.write_bytes(b"a" * (looks + 1))
        return raw

    monkeypatch.setattr(_files_disk, "read_at", read_at)
    (item,) = read(Maildir(box)).items

    assert isinstance(item, Unavailable)
    assert not item.permanent
    assert looks < 10


def raws_of(source: Maildir, ref: MessageRef) -> Iterator[SourceMessage]:
    """Read one message."""
    return (each for each in source.fetch([ref]) if isinstance(each, SourceMessage))


def test_of_two_of_one_name_the_unreadable_is_said(tmp_path: Path) -> None:
    """A link beside a message of the same name is unavailable, and the message comes."""
    box = make(tmp_path)
    (box / "cur" / "1.x:2,").write_bytes(b"a")
    (box / "cur" / "1.x:2,S").symlink_to("nowhere")
    (box / "cur" / "2.y:2,").write_bytes(b"b")
    (box / "cur" / "2.y:2,S").mkdir()

    reading = read(Maildir(box))

    assert sorted(reading.raws) == [b"a", b"b"]
    assert sum(isinstance(each, Unavailable) for each in reading.items) == 1


def test_files_of_the_mail_server_are_no_messages(tmp_path: Path) -> None:
    """Indexes, lists and hidden files lie around and are ignored."""
    box = make(tmp_path)
    for name in ("dovecot-uidlist", "dovecot.index.log", "subscriptions", "maildirsize"):
        (box / name).write_bytes(b"x")
    (box / "cur" / ".nfs0001").write_bytes(b"x")
    (box / "cur" / "folder").mkdir()
    (box / "cur" / "1.a:2,").write_bytes(b"a")

    assert read(Maildir(box)).raws == [b"a"]


def test_both_folder_layouts_are_read(tmp_path: Path) -> None:
    """Maildir++ folders and nested directories are folders, the top one is the inbox."""
    make(tmp_path)
    for name in (
        ".Sent.2024",
        ".Entw&APw-rfe",
        ".A&-B",
        ".&bad",
        ".&A-x",
        "Work/Deep",
        "a/.b",
        ".Kör",
    ):
        make(tmp_path / name)
        (tmp_path / name / "cur" / "1.a:2,").write_bytes(name.encode())
    (tmp_path / ".imap").mkdir()

    with Maildir(tmp_path) as source:
        folders = {folder.key: folder for folder in source.folders()}

    assert {key: folder.path for key, folder in folders.items()} == {
        ".": ("INBOX",),
        ".Sent.2024": ("Sent", "2024"),
        ".Entw&APw-rfe": ("Entwürfe",),
        ".A&-B": ("A&B",),
        ".&bad": ("&bad",),
        ".&A-x": ("&A-x",),
        ".K%C3%B6r": ("Kör",),
        "Work/Deep": ("Work", "Deep"),
        "a/.b": ("a", "b"),
    }
    assert folders["."].role is FolderRole.INBOX
    assert len(read(Maildir(tmp_path)).raws) == 8


def test_a_maildir_is_found_however_deep(tmp_path: Path) -> None:
    """KMail's hidden directories and every mixture of layouts are gone through."""
    made = {
        "inbox": ("inbox",),
        ".inbox.directory/projects": ("inbox", "projects"),
        ".inbox.directory/.projects.directory/al.pha": ("inbox", "projects", "al.pha"),
        ".v1.5.directory/x": ("v1.5", "x"),
        ".Archive": ("Archive",),
        ".Archive/2020": ("Archive", "2020"),
        ".a.b/.c": ("a", "b", "c"),
        ".deep/.er/.still": ("deep", "er", "still"),
        "Work/.Sub/x": ("Work", "Sub", "x"),
        ".my.directory": ("my", "directory"),
        ".directory": ("directory",),
    }
    for name in made:
        make(tmp_path / name)
        (tmp_path / name / "cur" / "1.a:2,").write_bytes(name.encode())

    with Maildir(tmp_path) as source:
        folders = {folder.key: folder.path for folder in source.folders()}

    assert folders == made
    assert sorted(read(Maildir(tmp_path)).raws) == sorted(name.encode() for name in made)


def test_a_tree_without_an_inbox_of_its_own_is_read(tmp_path: Path) -> None:
    """A folder that only holds Maildirs, as synchronizers write it, has their folders."""
    for name in ("INBOX", "Sent"):
        make(tmp_path / name)

    with Maildir(tmp_path) as source:
        folders = source.folders()

    assert [(f.key, f.role) for f in folders] == [("INBOX", FolderRole.INBOX), ("Sent", None)]


def test_what_is_no_maildir_is_said(tmp_path: Path) -> None:
    """A folder without cur and new anywhere gives a typed error that says what to name."""
    (tmp_path / "x").mkdir()
    for place in (tmp_path, tmp_path / "missing"):
        with pytest.raises(MailboxNotFound) as caught, Maildir(place):
            pass
        assert caught.value.suggestions


def test_an_unreadable_folder_fails_alone() -> None:
    """A folder that may not be listed is there, fails, and leaves the others."""
    with lesser_user() as place:
        make(place)
        for name in (".Sent", "Work", ".Half"):
            make(place / name)
        (place / ".Sent").chmod(0)
        (place / "Work").chmod(0)
        (place / ".Half" / "cur").chmod(0)
        failed = []
        with Maildir(place) as source:
            for folder in source.folders():
                try:
                    list(source.scan(folder))
                except AccessDenied:
                    failed.append(folder.key)
        for path in place.iterdir():
            path.chmod(0o755)
        (place / ".Half" / "cur").chmod(0o755)

    assert sorted(failed) == [".Half", ".Sent", "Work"]


def test_a_folder_that_lost_its_parts_fails(tmp_path: Path) -> None:
    """A Maildir without cur and new is an error, not an empty folder."""
    make(tmp_path)
    source = Maildir(tmp_path)
    with source:
        (folder,) = source.folders()
        for part in ("cur", "new"):
            (tmp_path / part).rmdir()
        with pytest.raises(MailboxNotFound):
            list(source.scan(folder))


def test_a_link_is_never_read_through(tmp_path: Path) -> None:
    """A message or folder behind a link that leads out is refused and said."""
    box, outside = make(tmp_path / "box"), make(tmp_path / "outside")
    (outside / "cur" / "1.a:2,").write_bytes(b"secret")
    (box / "cur" / "1.a:2,").symlink_to(outside / "cur" / "1.a:2,")
    (box / ".Linked").symlink_to(outside)
    (box / "plain").symlink_to(outside)

    source = Maildir(box)
    with source:
        inbox, *linked = source.folders()
        (page,) = source.scan(inbox)
        (item,) = source.fetch(page.refs)
        for folder in linked:
            with pytest.raises(AccessDenied):
                list(source.scan(folder))

    assert isinstance(item, Unavailable)
    assert sorted(folder.key for folder in linked) == [".Linked", "plain"]


@pytest.mark.parametrize("part", ["cur", "new"])
def test_a_part_behind_a_link_is_never_read_through(tmp_path: Path, part: str) -> None:
    """Nor is one of the two folders that a folder has its messages in."""
    box, outside = make(tmp_path / "box"), make(tmp_path / "outside")
    (outside / part / "1.a").write_bytes(b"secret")
    (box / part).rmdir()
    (box / part).symlink_to(outside / part)

    with Maildir(box) as source:
        (inbox,) = source.folders()
        with pytest.raises(AccessDenied):
            list(source.scan(inbox))


@pytest.mark.parametrize("where", [".Work", ".Work/cur"])
def test_a_link_put_in_its_place_since_is_never_read_through(tmp_path: Path, where: str) -> None:
    """A message that is tried again was listed by an earlier run, which saw no link."""
    box, outside = make(tmp_path / "box"), make(tmp_path / "outside/.Work")
    (outside / "cur" / "1.a:2,").write_bytes(b"secret")
    (make(box / ".Work") / "cur" / "1.a:2,").write_bytes(b"mine")
    with Maildir(box) as source:
        refs = [
            ref for each in source.folders() for page in source.scan(each) for ref in page.refs
        ]
    (box / where).rename(tmp_path / "away")
    (box / where).symlink_to(tmp_path / "outside" / where)

    with Maildir(box) as source, pytest.raises(AccessDenied):
        list(source.fetch(refs))


def test_a_compressed_message_is_no_mail(tmp_path: Path) -> None:
    """Bytes that the mail server packed are said to be unavailable, not archived as mail."""
    (make(tmp_path) / "cur" / "1.a:2,S").write_bytes(gzip.compress(b"S: a\n\n"))

    (item,) = read(Maildir(tmp_path)).items

    assert isinstance(item, Unavailable)
    assert item.permanent


@pytest.mark.parametrize("sizes", [[499], [500], [500, 1]])
def test_a_page_has_five_hundred(tmp_path: Path, sizes: list[int]) -> None:
    """Pages are full but for the last one, and together have every message once."""
    box = make(tmp_path)
    for number in range(sum(sizes)):
        (box / "new" / f"{number}.a").touch()

    with Maildir(box) as source:
        (folder,) = source.folders()
        pages = list(source.scan(folder))

    assert sizes == [len(page.refs) for page in pages]
    assert sum(sizes) == len({ref.key for page in pages for ref in page.refs})
