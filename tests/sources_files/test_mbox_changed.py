"""An mbox that others change: whatever they write, and however, it is read."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.file_sources import Reading, read
from support.mbox import FROM, with_length, written

from mailarchive.errors import CheckpointInvalid
from mailarchive.sources import _files_mbox_listing
from mailarchive.sources._files_mbox_token import Prefix, settled_state
from mailarchive.sources.files import Mbox, MboxVariant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RAWS = [b"S: %d\n\n" % number + b"body\n" * 500 for number in range(20)]
OTHER = [*RAWS[:2], RAWS[2].replace(b"S: 2", b"S: x"), *RAWS[3:]]
LATER = timedelta(hours=1)


def at_rest(path: Path, after: Reading | None = None) -> Reading:
    """Read an mbox that nobody has written to for an hour."""
    return read(Mbox(path, page_size=7, clock=lambda: datetime.now(UTC) + LATER), after)


@pytest.fixture
def mbox(tmp_path: Path) -> Path:
    """An mbox of twenty messages."""
    path = tmp_path / "mbox"
    path.write_bytes(written(RAWS))
    return path


def in_place(path: Path, content: bytes) -> None:
    """Write over the old bytes, and set the old time again."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def by_rename(path: Path, content: bytes) -> None:
    """Put another file in its place, with the old time, as `cp -p` and `mv` do."""
    new = path.with_name("new")
    new.write_bytes(content)
    shutil.copystat(path, new)
    new.replace(path)


@pytest.mark.parametrize("change", [in_place, by_rename])
@pytest.mark.parametrize(
    "content",
    [
        written(OTHER),
        written([*OTHER, b"S: new\n\nbody\n"]),
        written([*RAWS[:-1], RAWS[-1][:-5] + b"BODY\n"]),
        written([RAWS[1], RAWS[0], *RAWS[2:]]),
    ],
    ids=["a message", "a message, and one added", "the end of the last one", "the order"],
)
def test_what_changed_at_the_same_length_is_read(
    mbox: Path, content: bytes, change: Callable[[Path, bytes], None]
) -> None:
    """Whatever part was changed, with its old time or not, and with mail added or not."""
    first = at_rest(mbox)
    change(mbox, content)

    with pytest.raises(CheckpointInvalid):
        at_rest(mbox, first)


@given(*[st.lists(st.sampled_from([b"S: 1\n\na\n", b"S: 2\n\nb\n", b"S\n"]), max_size=5)] * 2)
def test_in_the_end_every_message_was_read(
    tmp_path_factory: pytest.TempPathFactory, before: list[bytes], after: list[bytes]
) -> None:
    """Whatever two states a file had when it was read, no message of either is missing."""
    path = tmp_path_factory.mktemp("changed") / "mbox"
    path.write_bytes(written(before))
    first = at_rest(path)
    path.write_bytes(written(after))
    try:
        second = at_rest(path, first)
    except CheckpointInvalid:
        second = at_rest(path)

    assert set(first.raws + second.raws) == {*before, *after}


def test_a_run_with_nothing_new_reads_no_old_message(
    mbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose state is known is not compared: only its last message is looked at."""
    first = at_rest(mbox)
    monkeypatch.setattr(Prefix, "upto", lambda *_: pytest.fail("the file was read"))

    assert at_rest(mbox, first).pages == []


def test_a_file_of_another_time_and_the_same_bytes_is_compared_once(
    mbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is listed, and the next run knows its new state."""
    first = at_rest(mbox)
    mbox.chmod(0o600)
    os.utime(mbox, (1, 1))
    second = at_rest(mbox, first)
    monkeypatch.setattr(Prefix, "upto", lambda *_: pytest.fail("the file was read"))
    third = at_rest(mbox, second)

    assert [page.refs for page in second.pages] == [()]
    assert third.pages == []


@pytest.mark.parametrize("age", [0, 5, 9, -100])
def test_a_change_in_the_same_tick_of_the_clock_is_read(
    mbox: Path, monkeypatch: pytest.MonkeyPatch, age: int
) -> None:
    """A file that was just written, or comes from the future, may change and keep its times."""
    written_at = datetime(2024, 1, 4, tzinfo=UTC)
    still = [*mbox.stat()[:7], *[int(written_at.timestamp())] * 3]
    monkeypatch.setattr(
        _files_mbox_listing,
        "settled_state",
        lambda _, now: settled_state(os.stat_result(still), now),
    )
    now = written_at + timedelta(seconds=age)
    first = read(Mbox(mbox, clock=lambda: now))
    in_place(mbox, written(OTHER))

    with pytest.raises(CheckpointInvalid):
        read(Mbox(mbox, clock=lambda: written_at + LATER), first)


def test_a_file_that_came_to_rest_is_compared_once(mbox: Path) -> None:
    """Read while it was young, it is compared by the next run and by none after that."""
    first = read(Mbox(mbox))
    young = read(Mbox(mbox), first)
    second = at_rest(mbox, first)

    assert young.pages == []
    assert [page.refs for page in second.pages] == [()]
    assert at_rest(mbox, second).pages == []


def test_a_page_that_changes_while_it_is_listed_is_not_vouched_for(
    mbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No digest is taken of bytes in which other messages were found."""
    real = Prefix.upto

    def upto(prefix: Prefix, end: int) -> str:
        """Take the digest of what somebody wrote between."""
        in_place(mbox, written([RAWS[0] + RAWS[1], *RAWS[2:]]))
        return real(prefix, end)

    monkeypatch.setattr(Prefix, "upto", upto)

    with pytest.raises(CheckpointInvalid):
        at_rest(mbox)


def test_mail_that_is_added_while_it_is_listed_disturbs_nothing(
    mbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listing ends where the file ended, and the next one goes on from there."""
    added = iter([b"S: new\n\nbody\n"])
    real = Prefix.upto

    def upto(prefix: Prefix, end: int) -> str:
        """Take the digest while somebody delivers."""
        with mbox.open("ab") as file:
            file.write(written(list(added)))
        return real(prefix, end)

    monkeypatch.setattr(Prefix, "upto", upto)
    first = at_rest(mbox)

    assert first.raws == RAWS
    assert at_rest(mbox, first).raws == [b"S: new\n\nbody\n"]


def test_a_file_that_is_cut_short_after_it_was_compared_is_listed_anew(
    mbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the last message is not found any more, nothing is said of those before it."""
    first = read(Mbox(mbox))
    real = Prefix.upto

    def upto(prefix: Prefix, end: int) -> str:
        """Cut the file once its digest is taken."""
        digest = real(prefix, end)
        os.truncate(mbox, 0)
        return digest

    monkeypatch.setattr(Prefix, "upto", upto)

    with pytest.raises(CheckpointInvalid):
        read(Mbox(mbox), first)


def test_a_message_that_is_cut_short_after_it_was_listed_is_left_out(mbox: Path) -> None:
    """Its beginning is there still, and is no message."""
    with Mbox(mbox) as source:
        (folder,) = source.folders()
        (page,) = source.scan(folder)
        os.truncate(mbox, int(page.refs[-1].key) + 2_000)

        assert len(list(source.fetch(page.refs))) == len(RAWS) - 1


def fetched_while_away(path: Path, after: Reading | None, content: bytes) -> Reading:
    """Read while a writer has emptied the file, and then writes all of it anew."""
    reading = Reading(tokens=dict(after.tokens) if after is not None else {})
    with Mbox(path, page_size=7) as source:
        (folder,) = source.folders()
        for page in source.scan(folder, reading.tokens.get(folder.key)):
            os.truncate(path, 0)
            reading.items += source.fetch(page.refs)
            path.write_bytes(content)
            reading.tokens[folder.key] = page.token
    return reading


@pytest.mark.parametrize("known", [0, 10, 19])
@pytest.mark.parametrize("added", [(), (b"S: new\n\nbody\n",)], ids=["as it was", "and more"])
def test_what_was_away_for_a_moment_is_read(
    tmp_path: Path, known: int, added: tuple[bytes, ...]
) -> None:
    """The file begins as it did when it was listed: nothing but the fetch has noticed."""
    path = tmp_path / "mbox"
    path.write_bytes(written(RAWS[:known]))
    first = read(Mbox(path))
    path.write_bytes(written(RAWS))

    second = fetched_while_away(path, first, written([*RAWS, *added]))
    assert second.raws == []
    with pytest.raises(CheckpointInvalid):
        read(Mbox(path), second)
    third = read(Mbox(path))

    assert third.raws == [*RAWS, *added]
    assert read(Mbox(path), third).items == []


def test_what_is_tried_again_and_was_away_for_a_moment_is_read(mbox: Path) -> None:
    """Also where nothing is new, so that no page would say that anything was missed."""
    first = at_rest(mbox)
    refs = [ref for page in first.pages for ref in page.refs]
    with Mbox(mbox) as source:
        (folder,) = source.folders()
        os.truncate(mbox, 0)
        assert list(source.fetch(refs[:1])) == []
        mbox.write_bytes(written(RAWS))
        (page,) = source.scan(folder, first.tokens[folder.key])
        assert page.refs == ()

        with pytest.raises(CheckpointInvalid):
            next(source.scan(folder, page.token))
        assert len([ref for page in source.scan(folder) for ref in page.refs]) == len(RAWS)


def reads_in_the_end(path: Path, whole: bytes, cut: int) -> list[bytes]:
    """Return what was read at last of an mbox that was being written up to there before."""

    def source() -> Mbox:
        return Mbox(path, variant=MboxVariant.MBOXCL2, page_size=1, clock=later)

    def later() -> datetime:
        return datetime.now(UTC) + LATER

    path.write_bytes(whole[:cut])
    first = read(source())
    with path.open("ab") as file:
        file.write(whole[cut:])
    try:
        return first.raws + read(source(), first).raws
    except CheckpointInvalid:
        return read(source()).raws


def test_a_message_that_is_being_added_is_read_whole_whatever_lines_it_has(
    tmp_path: Path,
) -> None:
    """Of `mboxcl2`, where nothing but its length says that such a line does not end it."""
    lines = b"a\n\n" + FROM + b"To: x@corp.example\n\nb\n"
    raws = [b"S: 0\n\nx\n", b"S: 1\n\n" + lines, b"S: 2\n\nz\n"]
    whole = written(raws, MboxVariant.MBOXCL2)

    for cut in range(len(FROM) + 1, len(whole)):
        found = reads_in_the_end(tmp_path / "mbox", whole, cut)
        assert {with_length(each) for each in raws} <= set(found), cut
