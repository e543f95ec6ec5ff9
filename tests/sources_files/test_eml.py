"""A tree of .eml files: every file once, its bytes as they are, and nothing written."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.file_sources import lesser_user, read

from mailarchive import Address, SourceMessage, Unavailable
from mailarchive.errors import (
    AccessDenied,
    CheckpointInvalid,
    ConfigurationError,
    MailboxNotFound,
    SourceError,
    SourceUnavailable,
    Unsupported,
)
from mailarchive.sources._files_disk import modified_at, place_error, read_whole
from mailarchive.sources.files import EmlFolder

HOSTILE = [
    b"plain.eml",
    b"UPPER.EML",
    b"two words.eml",
    b"percent%41.eml",
    b"new\nline.eml",
    b"\xff\xfe.eml",
    "grüße.eml".encode(),
    b"-rf.eml",
    b"~.eml",
    b".hidden.eml",
    b".eml",
    b"a" * 251 + b".eml",
    b"quote'\".eml",
    b"back\\slash.eml",
    b"#?&=;.eml",
]


def write(place: Path, name: bytes, raw: bytes) -> bytes:
    """Write a file whose name need not be text."""
    path = os.path.join(os.fsencode(place), name)  # noqa: PTH118 - a name that is no text
    with open(path, "wb") as file:  # noqa: PTH123 - the same
        file.write(raw)
    return path


def test_every_name_that_a_file_can_have_is_read(tmp_path: Path) -> None:
    """No file name keeps a message from being listed under a key of its own, and read."""
    for name in HOSTILE:
        write(tmp_path, name, b"S: " + name)

    reading = read(EmlFolder(tmp_path))

    assert sorted(b"S: " + name for name in HOSTILE) == sorted(reading.raws)
    refs = [ref for page in reading.pages for ref in page.refs]
    assert len({ref.key for ref in refs}) == len(HOSTILE)
    assert all(ref.key.isascii() and ref.key.isprintable() for ref in refs)


def test_hostile_folder_names_are_folders(tmp_path: Path) -> None:
    """A directory's name, whatever its bytes, is a folder with text for people."""
    for name in (b"\xff", b"a\nb", b"x.eml", b" "):
        os.mkdir(os.path.join(os.fsencode(tmp_path), name))  # noqa: PTH102, PTH118 - bytes
        write(tmp_path / os.fsdecode(name), b"m.eml", name)

    reading = read(EmlFolder(tmp_path))

    assert {b"\xff", b"a\nb", b"x.eml", b" "} == set(reading.raws)
    with EmlFolder(tmp_path) as source:
        for folder in source.folders():
            folder.name.encode("utf-8")


@given(st.lists(st.binary(max_size=2000), max_size=12))
def test_bytes_come_back_as_they_are(
    tmp_path_factory: pytest.TempPathFactory, raws: list[bytes]
) -> None:
    """Whatever bytes a file has are the message's, line ends and all."""
    place = tmp_path_factory.mktemp("eml")
    for number, raw in enumerate(raws):
        (place / f"{number}.eml").write_bytes(raw)

    assert sorted(raws) == sorted(read(EmlFolder(place)).raws)


def test_a_directory_is_a_folder(tmp_path: Path) -> None:
    """The top comes always, a directory below it where it holds messages."""
    (tmp_path / "2024" / "jan").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "2024" / "jan" / "a.eml").write_bytes(b"a")
    (tmp_path / "2024" / "note.txt").write_bytes(b"no mail")

    with EmlFolder(tmp_path) as source:
        folders = source.folders()

    assert [(f.key, f.path) for f in folders] == [(".", (".",)), ("2024/jan", ("2024", "jan"))]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 9])
def test_pages_end_where_they_should(tmp_path: Path, count: int) -> None:
    """Every message is on one page, no page is empty, and each token resumes behind it."""
    for number in range(count):
        (tmp_path / f"{number}.eml").write_bytes(b"%d" % number)

    source = EmlFolder(tmp_path, page_size=4)
    with source:
        (folder,) = source.folders()
        pages = list(source.scan(folder))
        refs = [ref for page in pages for ref in page.refs]

        assert [4] * (count // 4) + [count % 4] * (count % 4 > 0) == [len(p.refs) for p in pages]
        for at, page in enumerate(pages):
            rest = [ref for later in pages[at + 1 :] for ref in later.refs]
            resumed = [r for later in source.scan(folder, page.token) for r in later.refs]
            assert rest == resumed
    assert len(set(refs)) == count


def test_what_tokens_cost_grows_with_the_files_and_not_with_their_square(tmp_path: Path) -> None:
    """All tokens of a listing together are some twenty times the last one, however many files."""
    for count in (100, 2_000):
        place = tmp_path / str(count)
        place.mkdir()
        for number in range(count):
            (place / f"{number}.eml").touch()
        with EmlFolder(place, page_size=1) as source:
            (folder,) = source.folders()
            tokens = [page.token for page in source.scan(folder)]

        assert sum(map(len, tokens)) < 25 * len(tokens[-1])
        assert len(tokens) < 130


def test_the_oldest_file_comes_first(tmp_path: Path) -> None:
    """Files are listed in the order of their times."""
    for name, when in (("a", 300), ("b", 100), ("c", 200)):
        (tmp_path / f"{name}.eml").write_bytes(name.encode())
        os.utime(tmp_path / f"{name}.eml", (when, when))

    assert read(EmlFolder(tmp_path)).raws == [b"b", b"c", b"a"]


def test_a_file_with_an_older_date_is_found(tmp_path: Path) -> None:
    """A file that is added later is listed later, whatever its date or name says."""
    (tmp_path / "m.eml").write_bytes(b"first")
    first = read(EmlFolder(tmp_path))
    (tmp_path / "a.eml").write_bytes(b"second")
    os.utime(tmp_path / "a.eml", (1, 1))

    second = read(EmlFolder(tmp_path), first)

    assert second.raws == [b"second"]


def test_a_file_moved_in_is_found(tmp_path: Path) -> None:
    """A rename, which may keep every time of a file, makes it new to the folder."""
    tree, elsewhere = tmp_path / "tree", tmp_path / "elsewhere"
    tree.mkdir()
    elsewhere.mkdir()
    (elsewhere / "old.eml").write_bytes(b"old")
    os.utime(elsewhere / "old.eml", (1, 1))
    (tree / "m.eml").write_bytes(b"first")
    first = read(EmlFolder(tree))
    (elsewhere / "old.eml").rename(tree / "old.eml")

    assert read(EmlFolder(tree), first).raws == [b"old"]


def test_a_folder_put_in_the_place_of_another_is_read(tmp_path: Path) -> None:
    """Files that come with a whole directory, with all their old times, are found."""
    tree = tmp_path / "tree"
    for name, raw in (("tree/sub", b"one"), ("other", b"two")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / f"{raw.decode()}.eml").write_bytes(raw)
        os.utime(tmp_path / name / f"{raw.decode()}.eml", (1, 1))
    first = read(EmlFolder(tree))
    (tree / "sub").rename(tmp_path / "away")
    (tmp_path / "other").rename(tree / "sub")

    assert read(EmlFolder(tree), first).raws == [b"two"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 2)), max_size=12))
def test_nothing_is_lost_and_nothing_listed_twice(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, int]]
) -> None:
    """However files come, change and go between runs, each state is read exactly once."""
    place = tmp_path_factory.mktemp("eml")
    read_so_far: list[bytes] = []
    reading = None
    written = set()
    for name, what, when in steps:
        path = place / f"{name}.eml"
        if what == 0:
            path.unlink(missing_ok=True)
        else:
            raw = f"{name} {what} {when}".encode() + b"." * (10 * what + when)
            path.write_bytes(raw)
            os.utime(path, (what, what))
            written.add(raw)
            reading = read(EmlFolder(place, page_size=2), reading)
            read_so_far += reading.raws

    assert written == set(read_so_far)


def test_a_changed_file_is_another_copy(tmp_path: Path) -> None:
    """Other bytes under the same name are listed again, with another revision."""
    path = tmp_path / "m.eml"
    path.write_bytes(b"one")
    first = read(EmlFolder(tmp_path))
    path.write_bytes(b"three")

    second = read(EmlFolder(tmp_path), first)

    assert second.raws == [b"three"]
    assert first.items[0].ref.key == second.items[0].ref.key
    assert first.items[0].ref.revision != second.items[0].ref.revision


def test_a_file_that_changes_after_it_was_listed_is_not_read_as_what_was_listed(
    tmp_path: Path,
) -> None:
    """A ref stands for one state: the new state comes with the next scan, not with it."""
    path = tmp_path / "m.eml"
    path.write_bytes(b"one")
    source = EmlFolder(tmp_path)
    with source:
        (folder,) = source.folders()
        (page,) = source.scan(folder)
        path.write_bytes(b"three")

        assert list(source.fetch(page.refs)) == []
        (again,) = source.scan(folder, page.token)
        (item,) = source.fetch(again.refs)
    assert isinstance(item, SourceMessage)
    assert item.raw == b"three"


def test_a_file_that_is_away_while_it_is_read_is_listed_when_it_is_back(tmp_path: Path) -> None:
    """What could not be found is taken back, so that no checkpoint passes it for good."""
    path, away = tmp_path / "m.eml", tmp_path / "away"
    path.write_bytes(b"m")
    source = EmlFolder(tmp_path)
    with source:
        (folder,) = source.folders()
        tokens = []
        for page in source.scan(folder):
            if page.refs:
                path.rename(away)
                assert list(source.fetch(page.refs)) == []
            tokens.append(page.token)
        away.rename(path)

        (again,) = source.scan(folder, tokens[-1])
        assert [i.raw for i in source.fetch(again.refs) if isinstance(i, SourceMessage)] == [b"m"]


def test_a_deleted_file_is_left_out(tmp_path: Path) -> None:
    """What is gone is left out and stops nothing, nor does a ref that never was."""
    for name in "ab":
        (tmp_path / f"{name}.eml").write_bytes(name.encode())
    source = EmlFolder(tmp_path)
    with source:
        (folder,) = source.folders()
        (page,) = source.scan(folder)
        (tmp_path / "a.eml").unlink()
        items = list(source.fetch(page.refs))
    assert [item.raw for item in items if isinstance(item, SourceMessage)] == [b"b"]


def test_a_disk_that_is_taken_away_makes_no_message_gone(tmp_path: Path) -> None:
    """Files that are missing because their tree is another one are never taken for deleted."""
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "m.eml").write_bytes(b"m")
    source = EmlFolder(tree)
    with source:
        _, folder = source.folders()
        (page,) = source.scan(folder)
        tree.rename(tmp_path / "unmounted")
        with pytest.raises(SourceUnavailable):
            list(source.fetch(page.refs))
        (tree / "sub").mkdir(parents=True)
        with pytest.raises(SourceUnavailable):
            list(source.fetch(page.refs))


def test_a_folder_that_was_deleted_leaves_its_messages_out(tmp_path: Path) -> None:
    """A directory deleted from the same disk is gone with what was in it."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "m.eml").write_bytes(b"m")
    source = EmlFolder(tmp_path)
    with source:
        _, folder = source.folders()
        (page,) = source.scan(folder)
        (tmp_path / "sub" / "m.eml").unlink()
        (tmp_path / "sub").rmdir()

        assert list(source.fetch(page.refs)) == []


def test_an_unreadable_file_is_unavailable_and_the_others_come() -> None:
    """One file without permission is said to be unavailable for now, and stops nothing."""
    with lesser_user() as place:
        for name in "ab":
            (place / f"{name}.eml").write_bytes(name.encode())
        (place / "a.eml").chmod(0)
        reading = read(EmlFolder(place))

    refused = [item for item in reading.items if isinstance(item, Unavailable)]
    assert reading.raws == [b"b"]
    assert [(i.reason, i.permanent) for i in refused] == [("not readable: EACCES", False)]


def test_an_unreadable_directory_is_a_folder_that_fails() -> None:
    """A directory that may not be listed is reported as a folder, and the others are read."""
    with lesser_user() as place:
        (place / "sub").mkdir()
        (place / "sub" / "m.eml").write_bytes(b"m")
        (place / "sub").chmod(0)
        with EmlFolder(place) as source:
            top, sub = source.folders()
            assert list(source.scan(top)) == []
            with pytest.raises(AccessDenied) as caught:
                list(source.scan(sub))
            (place / "sub").chmod(0o444)  # names may be read, and nothing about them
            with pytest.raises(AccessDenied):
                list(source.scan(sub))

    assert caught.value.suggestions


def test_an_unreadable_tree_is_said_at_once() -> None:
    """A top folder that may not be listed cannot be opened."""
    with lesser_user() as place:
        place.chmod(0)
        with pytest.raises(AccessDenied) as caught, EmlFolder(place):
            pass
        place.chmod(0o755)

    assert str(place) not in str(caught.value)


def test_what_is_no_ordinary_file_is_unavailable(tmp_path: Path) -> None:
    """A named pipe that is called like a message is refused and never waited for."""
    os.mkfifo(tmp_path / "pipe.eml")

    (item,) = read(EmlFolder(tmp_path)).items

    assert isinstance(item, Unavailable)
    assert item.permanent


def test_a_link_inside_the_tree_is_followed(tmp_path: Path) -> None:
    """A link to a message of the tree is a message; a loop of directories is none."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "m.eml").write_bytes(b"m")
    (tmp_path / "link.eml").symlink_to("sub/m.eml")
    (tmp_path / "sub" / "up").symlink_to("..")

    assert read(EmlFolder(tmp_path)).raws == [b"m", b"m"]


def test_a_link_that_leads_out_is_refused_and_said(tmp_path: Path) -> None:
    """Bytes outside the tree are never read, and what leads there is never silent."""
    tree, outside = tmp_path / "tree", tmp_path / "tree-outside"
    tree.mkdir()
    outside.mkdir()
    (outside / "secret.eml").write_bytes(b"secret")
    (tree / "link.eml").symlink_to(outside / "secret.eml")
    (tree / "loop.eml").symlink_to("loop.eml")
    (tree / "nowhere.eml").symlink_to("missing")
    (tree / "folder").symlink_to(outside)

    source = EmlFolder(tree)
    with source:
        top, linked = source.folders()
        (page, *_) = source.scan(top)
        items = list(source.fetch(page.refs))
        with pytest.raises(AccessDenied):
            list(source.scan(linked))

    assert {"link.eml", "loop.eml"} == {i.ref.key for i in items if isinstance(i, Unavailable)}
    assert len(items) == 2


def test_a_link_to_nothing_is_counted_and_read_once_it_leads_somewhere(tmp_path: Path) -> None:
    """It is no message, so no run lists it and finds it gone, and none is silent about it."""
    (tmp_path / "here.eml").write_bytes(b"here")
    (tmp_path / "link.eml").symlink_to("away")
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "link.eml").symlink_to("../away")
    source = EmlFolder(tmp_path)

    first = read(source)
    (gap,) = source.gaps()
    again = read(source, first)

    assert (first.raws, len(first.pages), again.pages) == ([b"here"], 1, [])
    assert (gap.code, gap.count) == ("links-to-nothing", 2)
    assert "away" not in str(gap)

    (tmp_path / "away").write_bytes(b"back")
    back = read(source, first)

    assert back.raws == [b"back", b"back"]
    assert list(source.gaps())[1:] == []


def test_a_missing_tree_says_what_to_do(tmp_path: Path) -> None:
    """A path that is not there, or is a file, gives a typed error that holds no path."""
    (tmp_path / "file").write_bytes(b"")
    for name, kind in (("missing-bob@example.com", MailboxNotFound), ("file", SourceError)):
        with pytest.raises(kind) as caught, EmlFolder(tmp_path / name):
            pass
        assert caught.value.suggestions
        assert str(tmp_path) not in str(caught.value)
        assert "@" not in str(caught.value)


def test_files_with_another_ending_are_counted(tmp_path: Path) -> None:
    """What is passed over is told by number and never by name, where there is no mail too."""
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    for name in ("1.msg", "2.MSG", "bob@example.com.emlx", "sub/deep/note", "sub/m.eml"):
        (tmp_path / name).write_bytes(b"m")
    (tmp_path / "up").symlink_to("sub")
    with EmlFolder(tmp_path) as source:
        source.folders()
        source.folders()
        (gap,) = source.gaps()

    assert (gap.code, gap.count) == ("other-endings", 4)
    assert "do not end in .eml, 4 of them" in gap.message
    assert "bob" not in str(gap)


def test_the_endings_are_the_callers_to_choose(tmp_path: Path) -> None:
    """Some, in either case, or every one there is; without any there would be no message."""
    for name in ("1.eml", "2.MSG", "3"):
        (tmp_path / name).write_bytes(name.encode())
    for suffixes, expected, passed in (
        ([".msg"], [b"2.MSG"], 2),
        ([".MSG", ".eml"], [b"1.eml", b"2.MSG"], 1),
        ([""], [b"1.eml", b"2.MSG", b"3"], 0),
    ):
        source = EmlFolder(tmp_path, suffixes=suffixes)
        assert sorted(read(source).raws) == expected
        with source:
            assert sum(gap.count or 0 for gap in source.gaps()) == passed
    with pytest.raises(ConfigurationError):
        EmlFolder(tmp_path, suffixes=())


@pytest.mark.parametrize("text", [".eml", ""])
def test_endings_that_are_one_text_are_refused(tmp_path: Path, text: str) -> None:
    """Every file that ends in one of its letters would be a message."""
    with pytest.raises(ConfigurationError, match="one text"):
        EmlFolder(tmp_path, suffixes=text)


def test_a_key_names_nothing_outside_the_tree(tmp_path: Path) -> None:
    """A ref that no listing gave, such as one that climbs, is gone and reads nothing."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tmp_path / "secret.eml").write_bytes(b"secret")
    (tree / "m.eml").write_bytes(b"m")
    source = EmlFolder(tree)
    with source:
        (folder,) = source.folders()
        (page,) = source.scan(folder)
        ref = page.refs[0]
        for key in ("../secret.eml", "..%2Fsecret.eml", "/etc/passwd", "", ".", "a/../m.eml", "%"):
            forged = type(ref)(ref.source, ref.folder, key, None, ref.revision)
            assert list(source.fetch([forged])) == []
        for key in ("..", "/etc", "sub/..", "%2e%2e"):
            forged = type(ref)(ref.source, key, "m.eml", None, ref.revision)
            with pytest.raises(SourceError):
                list(source.fetch([forged]))


def test_a_token_of_another_source_is_refused(tmp_path: Path) -> None:
    """A token that says nothing about files makes the folder be listed anew."""
    with EmlFolder(tmp_path) as source:
        (folder,) = source.folders()
        with pytest.raises(CheckpointInvalid):
            list(source.scan(folder, "7.12"))


def test_a_name_stays_and_shows_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default name depends on the absolute path alone and does not show it."""
    place = tmp_path / "bob@example.com"
    place.mkdir()
    monkeypatch.chdir(tmp_path)

    name = EmlFolder(place).name

    assert EmlFolder("bob@example.com").name == name
    assert EmlFolder(str(place) + "/").name == name
    assert EmlFolder(tmp_path).name != name
    assert EmlFolder(place, name="import").name == "import"
    assert "bob" not in name
    assert name.startswith("eml-")


def test_the_source_says_what_it_is(tmp_path: Path) -> None:
    """It hands over stored bytes, cannot remove, and knows the mailbox that it was told."""
    (tmp_path / "m.eml").write_bytes(b"m")
    os.utime(tmp_path / "m.eml", (1_700_000_000, 1_700_000_000))
    mailbox = Address("bob@example.com")
    source = EmlFolder(tmp_path, mailbox=mailbox)

    (item,) = read(source).items

    assert isinstance(item, SourceMessage)
    assert datetime.fromtimestamp(1_700_000_000, UTC) == item.received_at
    assert source.mailbox == mailbox
    assert source.capabilities.fidelity == "wire"
    with pytest.raises(Unsupported):
        source.remove([])


@pytest.mark.parametrize(
    ("seconds", "expected"), [(10**12, None), (-86_400, datetime(1969, 12, 31, tzinfo=UTC))]
)
def test_a_time_that_no_calendar_has_is_none(seconds: int, expected: datetime | None) -> None:
    """A file date far beyond the year 9999, or before 1970, is no trouble."""
    status = os.stat_result([0] * 10, {"st_mtime_ns": seconds * 10**9})

    assert expected == modified_at(status)


def test_a_file_that_is_written_to_while_it_is_read_is_unavailable() -> None:
    """Bytes that do not add up to the file's size are no message, for now."""
    source = EmlFolder("/proc/self", suffixes=("limits",))  # such files say they are empty
    with source:
        top, *_ = source.folders()
        (page,) = source.scan(top)
        (item, *_) = source.fetch(page.refs)

    assert isinstance(item, Unavailable)
    assert not item.permanent


def test_a_file_of_somebody_else_is_read() -> None:
    """Reading without a trace is the owner's right alone; others read all the same."""
    with lesser_user():
        raw, _ = read_whole(Path("/etc/passwd"), 1 << 20)

    assert raw == Path("/etc/passwd").read_bytes()


def test_a_disk_that_fails_may_work_later() -> None:
    """Trouble that is neither absence nor permission is worth another try."""
    error = place_error("eml-0", "folder", OSError(errno.EIO, "broken", "/bob@example.com"))

    assert isinstance(error, SourceUnavailable)
    assert "bob" not in str(error)


def test_reading_leaves_no_trace(tmp_path: Path) -> None:
    """A reading changes no name, no time and no byte of the tree."""
    (tmp_path / "m.eml").write_bytes(b"m")
    os.utime(tmp_path / "m.eml", (1, 2))

    before = (tmp_path / "m.eml").stat()
    read(EmlFolder(tmp_path))

    assert before == (tmp_path / "m.eml").stat()
