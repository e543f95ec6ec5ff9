"""An mbox: each message to the byte, whatever stands in it, and resumed where it ended."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.file_sources import lesser_user, read
from support.mbox import FROM, quoted, stored, with_length, written

from mailarchive import MessageRef, SourceMessage, Unavailable
from mailarchive.errors import (
    AccessDenied,
    CheckpointInvalid,
    ConfigurationError,
    MailboxNotFound,
    SourceError,
)
from mailarchive.sources import _files_mbox, _files_mbox_scan
from mailarchive.sources._files_mbox_line import from_line_date
from mailarchive.sources.files import Mbox, MboxVariant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import FileIO
    from pathlib import Path


def file_with(place: Path, content: bytes) -> Path:
    """Write an mbox."""
    path = place / "mbox"
    path.write_bytes(content)
    return path


@contextmanager
def blocks_of(size: int) -> Iterator[None]:
    """Look at so few bytes at once that every boundary falls somewhere."""
    before, _files_mbox_scan.BLOCK = _files_mbox_scan.BLOCK, size
    try:
        yield
    finally:
        _files_mbox_scan.BLOCK = before


lines = st.lists(
    st.sampled_from(
        [
            b"",
            b"From x",
            b"From ",
            b">From y",
            b">>From z",
            b"From",
            b"text",
            b"a" * 40,
            b"\r",
            b"S: 1",
        ]
    ),
    max_size=8,
)
bodies = st.builds(
    lambda some, end: b"".join(line + end for line in some),
    lines,
    st.sampled_from([b"\n", b"\r\n"]),
)
mails = st.builds(
    lambda head, body: b"S: " + head + b"\n\n" + body, st.sampled_from([b"1"]), bodies
)


@given(st.lists(bodies | mails, min_size=1, max_size=5), st.integers(9, 70))
def test_mboxrd_gives_every_message_back(
    tmp_path_factory: pytest.TempPathFactory, raws: list[bytes], block: int
) -> None:
    """What a writer of mboxrd quoted comes back to the byte, whatever lines it had."""
    path = file_with(tmp_path_factory.mktemp("mbox"), written(raws, MboxVariant.MBOXRD))

    with blocks_of(block):
        assert raws == read(Mbox(path, variant=MboxVariant.MBOXRD, page_size=2)).raws


@given(st.lists(bodies | mails, min_size=1, max_size=5), st.integers(9, 70))
def test_mboxo_gives_every_message_as_it_is_stored(
    tmp_path_factory: pytest.TempPathFactory, raws: list[bytes], block: int
) -> None:
    """The bytes between the From_ lines come back unaltered, quoted as they are."""
    path = file_with(tmp_path_factory.mktemp("mbox"), written(raws))

    with blocks_of(block):
        assert [quoted(raw) for raw in raws] == read(Mbox(path)).raws


@given(
    st.lists(mails, min_size=1, max_size=5),
    st.integers(9, 70),
    st.sampled_from([MboxVariant.MBOXCL, MboxVariant.MBOXCL2]),
)
def test_a_content_length_gives_every_message_back(
    tmp_path_factory: pytest.TempPathFactory, raws: list[bytes], block: int, variant: MboxVariant
) -> None:
    """With a right length a message comes back to the byte, From_ lines and all."""
    path = file_with(tmp_path_factory.mktemp("mbox"), written(raws, variant))

    with blocks_of(block):
        assert [stored(raw, variant) for raw in raws] == read(Mbox(path, variant=variant)).raws


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4), st.sampled_from([b"\n", b"\r\n"]))
def test_mboxcl2_needs_no_last_line_end(
    tmp_path_factory: pytest.TempPathFactory, tails: list[bytes], end: bytes
) -> None:
    """Any bytes at all are a body where the length says where it ends."""
    raws = [b"S: 1\n\n" + tail for tail in tails]
    content = b"".join(FROM + with_length(raw) + end for raw in raws)
    path = file_with(tmp_path_factory.mktemp("mbox"), content)

    assert [with_length(raw) for raw in raws] == read(Mbox(path, variant="mboxcl2")).raws


pieces = st.sampled_from(
    [b"From ", b"F", b"Fr", b"From", b"\n", b"\r", b"\n\n", b"x", b"Content-Length: 3\n", b":"]
)


@given(
    st.lists(pieces | st.binary(max_size=9), max_size=20).map(b"".join),
    st.sampled_from(list(MboxVariant)),
    st.integers(9, 70),
)
def test_no_byte_of_a_broken_mbox_is_lost(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, variant: MboxVariant, block: int
) -> None:
    """Whatever follows a From_ line, all of it but separating lines is in some message."""
    content = FROM + junk
    path = file_with(tmp_path_factory.mktemp("mbox"), content)

    with blocks_of(block), Mbox(path, variant=variant) as source:
        (folder,) = source.folders()
        refs = [ref for page in source.scan(folder) for ref in page.refs]
        at = 0
        for ref in refs:
            assert content[at : int(ref.key)] in {b"", b"\n", b"\r\n"}
            at = int(ref.key) + (ref.size or 0)
        assert re.fullmatch(rb"\r?\n?(|Fr?o?m?|From [^\n]*)", content[at:])
        assert len(refs) == len(list(source.fetch(refs)))


@pytest.mark.parametrize("variant", list(MboxVariant))
def test_an_empty_mbox_has_no_message(tmp_path: Path, variant: MboxVariant) -> None:
    """A file of no bytes, or of empty lines, is an mbox without mail."""
    for content in (b"", b"\n", b"\r\n\n"):
        assert read(Mbox(file_with(tmp_path, content), variant=variant)).items == []


def test_a_file_without_a_from_line_is_refused(tmp_path: Path) -> None:
    """A single message, or anything else, is said to be no mbox."""
    for content in (b"Subject: x\n\nhello\n", b"\x00" * 100, b">From x\n", b" From x\n"):
        with pytest.raises(SourceError) as caught, Mbox(file_with(tmp_path, content)):
            pass
        assert caught.value.suggestions


def test_a_line_ends_a_message_only_behind_an_empty_one(tmp_path: Path) -> None:
    """A From_ line in the middle of a paragraph is text, as every writer leaves it."""
    raw = b"S: 1\n\nfirst line\nFrom here on\n"

    assert [raw] == read(Mbox(file_with(tmp_path, FROM + raw))).raws


@pytest.mark.parametrize(
    "claim",
    [b"9999", b"1", b"0", b"99999999999999999999", b"-1", b"abc", b"", b"4\nContent-Length: 5"],
)
@pytest.mark.parametrize("variant", [MboxVariant.MBOXCL, MboxVariant.MBOXCL2])
def test_a_wrong_content_length_is_not_believed(
    tmp_path: Path, variant: MboxVariant, claim: bytes
) -> None:
    """Where no message ends, or where two lengths disagree, the From_ lines decide."""
    raws = [b"S: 1\nContent-Length: " + claim + b"\n\nbody\n", b"S: 2\n\nmore\n"]
    content = b"".join(FROM + raw + b"\n" for raw in raws)

    assert raws == read(Mbox(file_with(tmp_path, content), variant=variant)).raws


def test_a_content_length_hides_no_message_that_a_quoting_writer_wrote(tmp_path: Path) -> None:
    """In mboxcl no claim of a mail makes the next one a part of it."""
    second = FROM + b"S: 2\n\nmore\n\n"
    first = b"S: 1\nContent-Length: %d\n\nbody\n" % len(b"body\n\n" + second[:-1])
    path = file_with(tmp_path, FROM + first + b"\n" + second)

    assert [first, b"S: 2\n\nmore\n"] == read(Mbox(path, variant="mboxcl")).raws
    assert len(read(Mbox(path, variant="mboxcl2")).raws) == 1


@pytest.mark.parametrize("variant", [MboxVariant.MBOXCL, MboxVariant.MBOXCL2])
def test_of_two_lengths_neither_is_believed(tmp_path: Path, variant: MboxVariant) -> None:
    """A mail that brings a length of its own cannot take the next ones in."""
    rest = [b"S: 2\n\nmore\n", b"S: 3\n\nlast\n"]
    ends = [len(b"body\n\n" + written(rest[:count])) - 1 for count in (1, 2)]
    claims = b"".join(b"Content-Length: %d\n" % end for end in ends)
    raws = [b"S: 1\n" + claims + b"\nbody\n", *rest]

    assert raws == read(Mbox(file_with(tmp_path, written(raws)), variant=variant)).raws


def test_a_message_that_grows_after_it_was_listed_is_read_whole(tmp_path: Path) -> None:
    """What was listed in part is not read in part once there is more: it comes next."""
    path = file_with(tmp_path, FROM + b"S: 1\n\nfirst\n")
    with Mbox(path) as source:
        (folder,) = source.folders()
        (page,) = source.scan(folder)
        with path.open("ab") as file:
            file.write(b"second\n\n")

        assert list(source.fetch(page.refs)) == []
        (again,) = source.scan(folder, page.token)
        (item,) = source.fetch(again.refs)
    assert isinstance(item, SourceMessage)
    assert item.raw == b"S: 1\n\nfirst\nsecond\n"


def test_added_mail_is_what_comes_next(tmp_path: Path) -> None:
    """A scan after a token gives exactly what was appended since."""
    raws = [b"S: %d\n\nbody\n" % number for number in range(5)]
    path = file_with(tmp_path, written(raws[:2]))
    first = read(Mbox(path))
    path.write_bytes(written(raws))

    second = read(Mbox(path), first)

    assert raws[:2] == first.raws
    assert raws[2:] == second.raws
    assert read(Mbox(path), second).items == []


@given(st.lists(mails, min_size=1, max_size=6), st.integers(1, 3), st.data())
def test_every_token_resumes_behind_its_page(
    tmp_path_factory: pytest.TempPathFactory, raws: list[bytes], size: int, data: st.DataObject
) -> None:
    """Reading on from any page's token gives the rest, no less and no more."""
    variant = data.draw(st.sampled_from(list(MboxVariant)))
    path = file_with(tmp_path_factory.mktemp("mbox"), written(raws, variant))
    with Mbox(path, variant=variant, page_size=size) as source:
        (folder,) = source.folders()
        pages = list(source.scan(folder))
        for at, page in enumerate(pages):
            rest = [ref for later in pages[at + 1 :] for ref in later.refs]
            assert rest == [ref for p in source.scan(folder, page.token) for ref in p.refs]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("variant", list(MboxVariant))
def test_a_message_that_was_being_added_is_listed_again_whole(
    tmp_path: Path, variant: MboxVariant, line_end: bytes
) -> None:
    """However far the writer was, every message is in the end read whole, and once."""
    raws = [b"S: 1\n\nbody\n", b"S: 2\n\nFromage\n\n\nmore\n", b"S: 3\n\n"]
    expected = [stored(raw.replace(b"\n", line_end), variant) for raw in raws]
    whole = b"".join(FROM + each + line_end for each in expected)
    for cut in range(len(whole)):
        path = file_with(tmp_path, whole[:cut])
        if cut >= len(b"From "):
            first = read(Mbox(path, variant=variant))
            path.write_bytes(whole)
            seen = first.raws + read(Mbox(path, variant=variant), first).raws

            assert expected == [raw for raw in seen if raw in expected]


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda raws: written(raws[1:]),
        lambda raws: written([b"S: 0\nStatus: RO\n\nbody\n", *raws[1:]]),
        lambda raws: written(raws[:2]),
        lambda raws: written(raws)[:-9],
        lambda raws: b"",
        lambda raws: written([raws[0], raws[1], b"S: 9\n\nother\n"]),
    ],
)
def test_a_file_that_was_written_anew_is_listed_anew(
    tmp_path: Path, rewrite: Callable[[list[bytes]], bytes]
) -> None:
    """A deletion, a mark, a shortening: the token means nothing any more, and says so."""
    raws = [b"S: %d\n\n" % number + b"body\n" * 500 for number in range(3)]
    path = file_with(tmp_path, written(raws))
    first = read(Mbox(path))
    path.write_bytes(rewrite(raws))

    with pytest.raises(CheckpointInvalid):
        read(Mbox(path), first)


@pytest.mark.parametrize(
    "token", ["", "listed/1 ", "mbox/1 x 0 0", "mbox/2 0 36 0123456789abcdef"]
)
def test_a_token_that_is_none_is_refused(tmp_path: Path, token: str) -> None:
    """Whatever is no token of this file makes it be listed anew."""
    with Mbox(file_with(tmp_path, written([b"a\n"]))) as source:
        (folder,) = source.folders()
        with pytest.raises(CheckpointInvalid):
            list(source.scan(folder, token))


def test_a_file_written_anew_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    """Neither a wrong message nor a page of nonsense comes of a rewriting in between."""
    raws = [b"S: %d\n\nbody %d\n" % (number, number) for number in range(4)]
    path = file_with(tmp_path, written(raws))
    with Mbox(path, page_size=2) as source:
        (folder,) = source.folders()
        scanning = source.scan(folder)
        page = next(scanning)
        path.write_bytes(written([b"S: other\n\nbody\n", *raws]))

        assert list(source.fetch(page.refs)) == []
        with pytest.raises(CheckpointInvalid):
            list(scanning)


def test_a_file_put_in_its_place_is_read_the_next_time(tmp_path: Path) -> None:
    """An open mbox stays the one that was opened, to its end."""
    raws = [b"S: %d\n\nbody\n" % number for number in range(4)]
    path = file_with(tmp_path, written(raws))
    with Mbox(path, page_size=2) as source:
        (folder,) = source.folders()
        items: list[SourceMessage | Unavailable] = []
        for page in source.scan(folder):
            (tmp_path / "other").write_bytes(b"")
            (tmp_path / "other").replace(path)
            items += source.fetch(page.refs)

    assert raws == [item.raw for item in items if isinstance(item, SourceMessage)]


def test_a_file_cut_short_while_it_is_listed_ends_there(tmp_path: Path) -> None:
    """A shrinking file makes a listing neither hang nor crash."""
    path = file_with(tmp_path, written([b"S: %d\n\n" % n + b"x" * 90 + b"\n" for n in range(9)]))
    with blocks_of(64), Mbox(path, page_size=1) as source:
        (folder,) = source.folders()
        scanning = source.scan(folder)
        next(scanning)
        os.truncate(path, 300)

        assert len(list(scanning)) < 9


@pytest.mark.parametrize("left", [20, 60, 3_000])
def test_a_file_cut_short_while_a_message_is_read_gives_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    """However late somebody does it."""
    path = file_with(tmp_path, written([b"S: 1\n\n" + b"x" * 5_000 + b"\n"]))
    real = _files_mbox_scan.ends_at

    def ends_at(file: FileIO, end: int) -> bool:
        answer = real(file, end)
        os.truncate(path, left)
        return answer

    with Mbox(path) as source:
        (folder,) = source.folders()
        (page,) = source.scan(folder)
        monkeypatch.setattr(_files_mbox, "ends_at", ends_at)

        assert list(source.fetch(page.refs)) == []


def test_a_forged_ref_reads_nothing(tmp_path: Path) -> None:
    """A ref that no listing gave is gone."""
    with Mbox(file_with(tmp_path, written([b"a\n", b"b\n"]))) as source:
        (folder,) = source.folders()
        (page,) = source.scan(folder)
        good = page.refs[0]
        for key, revision in (
            ("x", good.revision),
            ("1", good.revision),
            ("0", "3-0"),
            ("0", None),
        ):
            ref = MessageRef(source.name, folder.key, key, None, revision)
            assert list(source.fetch([ref])) == []
        assert len(list(source.fetch([good]))) == 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"From a@b Thu Jan  4 01:02:03 2024", datetime(2024, 1, 4, 1, 2, 3, tzinfo=UTC)),
        (b"From a@b Thu Jan 14 01:02 2024\r", datetime(2024, 1, 14, 1, 2, tzinfo=UTC)),
        (b"From - Thu Jan 04 01:02:03 +0200 2024", datetime(2024, 1, 3, 23, 2, 3, tzinfo=UTC)),
        (
            b"From 17@xxx Thu Jan 04 01:02:03 2024 -0130",
            datetime(2024, 1, 4, 2, 32, 3, tzinfo=UTC),
        ),
        (b"From a Thu Jan  4 01:02:03 CET 2024", datetime(2024, 1, 4, 1, 2, 3, tzinfo=UTC)),
        (
            b'From "Thu Jan  1 00:00:00 1970"@b Thu Jan  4 01:02:03 2024',
            datetime(2024, 1, 4, 1, 2, 3, tzinfo=UTC),
        ),
        (b"From a@b Thu Feb 31 01:02:03 2024", None),
        (b"From a@b Thu Jan  4 25:02:03 2024", None),
        (b"From a@b Sat Jan  1 00:00:00 +0100 0001", None),
        (b"From a@b", None),
        (b"From \xff\xff", None),
    ],
)
def test_the_date_is_that_of_the_from_line(line: bytes, expected: datetime | None) -> None:
    """A date as `asctime` writes it is read, in UTC unless it says otherwise, else none."""
    assert expected == from_line_date(line)


def test_what_the_source_says_of_itself(tmp_path: Path) -> None:
    """One folder named for the file, a name that shows no path, the date of each message."""
    path = tmp_path / "bob@example.com"
    path.write_bytes(written([b"a\n"]))
    source = Mbox(path)

    (item,) = read(source).items

    with source:
        assert [(f.key, f.path) for f in source.folders()] == [(".", ("bob@example.com",))]
    assert isinstance(item, SourceMessage)
    assert datetime(2024, 1, 4, tzinfo=UTC) == item.received_at
    assert "bob" not in source.name
    assert Mbox(path, name="old").name == "old"


def test_wrong_places_say_what_to_do(tmp_path: Path) -> None:
    """A missing file, a folder and a pipe each give a typed error that holds no path."""
    os.mkfifo(tmp_path / "pipe")
    for name, kind in (("bob@x", MailboxNotFound), (".", SourceError), ("pipe", SourceError)):
        with pytest.raises(kind) as caught, Mbox(tmp_path / name):
            pass
        assert caught.value.suggestions
        assert "@" not in str(caught.value)
        assert str(tmp_path) not in str(caught.value)


def test_a_link_that_the_caller_names_is_followed(tmp_path: Path) -> None:
    """The caller's own path may lead over a link, and one in a circle is an error."""
    file_with(tmp_path, written([b"a\n"]))
    (tmp_path / "link").symlink_to("mbox")
    (tmp_path / "loop").symlink_to("loop")

    assert read(Mbox(tmp_path / "link")).raws == [b"a\n"]
    with pytest.raises(SourceError), Mbox(tmp_path / "loop"):
        pass


def test_a_file_that_may_not_be_read_is_said() -> None:
    """Without permission there is a typed error and a thing to do."""
    with lesser_user() as place:
        file_with(place, written([b"a\n"])).chmod(0)
        with pytest.raises(AccessDenied), Mbox(place / "mbox"):
            pass


def test_an_unknown_variant_is_refused(tmp_path: Path) -> None:
    """A variant that there is not is said at construction."""
    with pytest.raises(ConfigurationError):
        Mbox(tmp_path, variant="mboxx")


def test_a_source_that_is_not_open_says_so(tmp_path: Path) -> None:
    """Listing before opening is refused with a word on how to open."""
    source = Mbox(file_with(tmp_path, written([b"a\n"])))
    (folder,) = source.folders()

    with pytest.raises(SourceError):
        list(source.scan(folder))


def test_reading_leaves_no_trace(tmp_path: Path) -> None:
    """A reading changes no time of the file: mail programs look at them for new mail."""
    path = file_with(tmp_path, written([b"a\n"]))
    os.utime(path, (1, 2))
    before = path.stat()

    read(Mbox(path))

    assert before == path.stat()
